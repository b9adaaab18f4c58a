//! Which state is fetched, and what proves it: offers only choose among what is above this node and below what is proven.

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::{BlockPoint, Start};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::Event;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::{AdvertisedSnapshots, PeerStatus, Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour, Honest, Reply, Scripted, StateHost, World, claiming, status_answer};

const MINUTE: Duration = Duration::from_secs(60);

fn chain(blocks: u64, epochs: u64) -> TestChain {
    let spec = ChainSpec { blocks, epochs, snapshot_interval: 500, ..ChainSpec::default() };
    TestChain::with_ledger(spec, 300, 100).unwrap()
}

fn fast() -> SyncConfig {
    SyncConfig { default_strategy: SyncStrategyType::Fast, ..SyncConfig::default() }
}

fn keeping(first: u64, last: u64) -> Honest {
    Honest { states: HeightRange::new(Height::new(first), Height::new(last)), ..Honest::default() }
}

fn world(chain: TestChain, config: SyncConfig) -> (World, StateHost) {
    let host = StateHost::new(chain.chain());
    let start = Start { stages_state: true, ..chain.start() };
    let mut world = World::from(chain, config, start).unwrap();
    world.set_host(host.clone());
    (world, host)
}

/// The heights of the states that were aimed at.
fn aims(world: &World) -> Vec<u64> {
    let aim = |event: &Event| match event {
        Event::StateTarget { height, .. } => Some(height.get()),
        _ => None,
    };
    world.events.iter().filter_map(|(_, event)| aim(event)).collect()
}

/// Claims a tip and a state far above, and proves and gives neither.
fn boaster() -> impl Behaviour {
    Scripted(|request: &Request, chain: &TestChain, _| {
        let height = Height::new(8500);
        let snapshots = Some(AdvertisedSnapshots { oldest: height, newest: height, keys: 1, bytes: 1 });
        let answer = match request {
            Request::Status => status_answer(&PeerStatus { snapshots, ..claiming(chain, 9000, 0) }),
            _ => encode_refusal(Refusal::NotAvailable),
        };
        Reply::After(Duration::from_millis(1), answer)
    })
}

#[test]
fn an_offer_above_what_is_proven_chooses_nothing() {
    let (mut world, host) = world(chain(1100, 1), fast());
    world.join(9, boaster());
    world.join(1, keeping(500, 1000));
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:#?}", world.events);
    assert_eq!(aims(&world), [1000]);
    assert_eq!(host.held.borrow().applied, Height::new(1100));
}

#[test]
fn a_state_below_this_node_is_no_way_up() {
    // It stands at 1,500. Somebody boasts of a state above, but those that are served lie below.
    let source = chain(3000, 1);
    let old = Height::new(1500);
    let host = StateHost::with_state(source.chain(), source.state(old).unwrap().clone(), old);
    let start = Start {
        stages_state: true,
        stored: BlockPoint { height: old, id: source.id(old).unwrap() },
        applied: old,
        epoch: source.epoch_of(old).unwrap().info().to_ref(),
        handovers: Vec::new(),
        ..source.start()
    };
    let mut world = World::from(source, fast(), start).unwrap();
    world.set_host(host.clone());
    world.join(1, keeping(500, 1000));
    world.join(9, boaster());
    world.start();
    world.run_until(MINUTE, |_| false);
    assert_eq!(aims(&world), [], "{:#?}", world.events);
    assert!(world.machine.applied() >= old);
    // One above is what it waited for.
    world.join(2, keeping(2000, 2500));
    assert!(world.run_to_tip(MINUTE), "{:#?}", world.events);
    assert_eq!(aims(&world), [2500]);
}

#[test]
fn a_base_is_proven_by_the_tip_that_it_ends_at() {
    // The state's block and the tip are in one cell, so that only the tip's own proof is there. While the headers that
    // link the two are on their way, another peer proves a higher tip: they don't end there.
    let (mut world, host) = world(chain(1020, 1), fast());
    let mut asked = 0;
    world.join(
        1,
        Scripted(move |request: &Request, chain: &TestChain, _| {
            let reply = Honest { tip: Height::new(1010), ..keeping(1000, 1000) }.reply(request, chain);
            match (request, reply) {
                (Request::Segment { .. }, Reply::After(_, answer)) if asked == 0 => {
                    asked = 1;
                    Reply::After(Duration::from_millis(900), answer)
                }
                (Request::Follow { .. }, _) => Reply::Never,
                (_, reply) => reply,
            }
        }),
    );
    world.start();
    let base = |request: &Request| matches!(request, Request::Segment { .. });
    assert!(world.run_until(MINUTE, |world| world.requests.iter().any(|(_, _, request)| base(request))));
    world.join(2, keeping(1000, 1000));
    assert!(world.run_to_tip(MINUTE), "{:#?}", world.events);
    let held = host.held.borrow();
    let activated = held.activated.as_ref().unwrap();
    assert_eq!(activated.point.height, Height::new(1000));
    // The tip that is handed on with it is the one that its headers end at.
    let tip: Bytes = world.source.respond(&Request::Tip).slice(1..);
    assert_eq!((activated.segment.range().last(), activated.tip.as_ref()), (Height::new(1020), Some(&tip)));
}
