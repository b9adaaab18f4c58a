//! What the host makes of a state: a wrong root, a slow disk, and the blocks below it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hotstuff2_sync::calls::{Apply, HistoryGap, HistoryPiece, HostError, HostReply, HostWork};
use hotstuff2_sync::config::{SyncConfig, SyncHistory};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::limits::GRID;
use hotstuff2_sync::machine::{Event, HaltReason};
use hotstuff2_sync::ranges::{HeightRange, grid_cell};
use hotstuff2_sync::verify::HandoverLink;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::TestChain;
use hotstuff2_sync_testkit::world::{Applied, Applier, Reply, Scripted, StateHost, World};

use crate::{MINUTE, assert_arrived, chain, fast, honest, world_with};

#[test]
fn final_root_mismatch_is_an_error_with_a_plan() {
    let mismatches =
        |world: &World| world.events.iter().filter(|(_, event)| matches!(event, Event::StateMismatch { .. })).count();
    let (mut world, host) = world_with(chain(1100, 2000), fast());
    host.held.borrow_mut().damage = 2;
    world.join(1, honest());
    world.start();
    assert_arrived(&mut world, &host, 1000);
    assert_eq!(mismatches(&world), 2, "what was lost is found and fetched again");
    assert!(world.bans.is_empty(), "no peer is to blame");

    let (mut world, host) = world_with(chain(1100, 2000), fast());
    host.held.borrow_mut().damage = u32::MAX;
    world.join(1, honest());
    world.start();
    let halted = world.run_until(MINUTE, |world| world.machine.is_halted());
    assert!(halted, "a disk that is bad each time is not tried for ever");
    let said = world.events.iter().any(|(_, event)| matches!(event, Event::Halted(HaltReason::StateRoot { .. })));
    assert!(said, "{:#?}", world.events);
    assert!(host.held.borrow().activated.is_none());
}

/// A host that takes long to make a state live, and counts how often it is asked to.
struct Thorough {
    host: StateHost,
    activations: Rc<Cell<u32>>,
}

impl Applier for Thorough {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        self.host.apply(apply)
    }

    fn replay(&mut self, range: HeightRange) -> Option<(Duration, Applied)> {
        self.host.replay(range)
    }

    fn store(&mut self, links: &[HandoverLink]) -> Option<(Duration, Result<(), HostError>)> {
        self.host.store(links)
    }

    fn state(&mut self, work: &HostWork) -> Option<(Duration, Result<HostReply, HostError>)> {
        let (after, reply) = self.host.state(work)?;
        let HostWork::Activate(_) = work else { return Some((after, reply)) };
        self.activations.set(self.activations.get() + 1);
        Some((Duration::from_secs(30), reply))
    }

    fn history(&mut self, piece: &HistoryPiece) -> Option<(Duration, Result<Option<HistoryGap>, HostError>)> {
        self.host.history(piece)
    }
}

#[test]
fn a_state_is_made_live_once_however_long_that_takes() {
    let (mut world, host) = world_with(chain(1100, 2000), fast());
    let activations = Rc::default();
    world.set_host(Thorough { host: host.clone(), activations: Rc::clone(&activations) });
    world.join(1, honest());
    world.join(2, honest());
    world.start();
    assert_arrived(&mut world, &host, 1000);
    assert_eq!(activations.get(), 1);
}

/// A host that stores history too.
struct Historian {
    host: StateHost,
    source: TestChain,
    stored: Rc<RefCell<Vec<HistoryPiece>>>,
}

fn gap(source: &TestChain, last: Height) -> Option<HistoryGap> {
    let epoch = source.epoch_of(last).filter(|_| last > Height::ZERO)?.info().to_ref();
    let first = grid_cell(last, epoch.range(), GRID)?.first().max(Height::new(1));
    Some(HistoryGap { range: HeightRange::new(first, last)?, last_id: source.id(last)?, epoch })
}

impl Applier for Historian {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        self.host.apply(apply)
    }

    fn replay(&mut self, range: HeightRange) -> Option<(Duration, Applied)> {
        self.host.replay(range)
    }

    fn store(&mut self, links: &[HandoverLink]) -> Option<(Duration, Result<(), HostError>)> {
        self.host.store(links)
    }

    fn state(&mut self, work: &HostWork) -> Option<(Duration, Result<HostReply, HostError>)> {
        let (after, mut reply) = self.host.state(work)?;
        if let (HostWork::Activate(base), Ok(HostReply::Activated { history_gap })) = (work, &mut reply) {
            *history_gap = gap(&self.source, base.point.height);
        }
        Some((after, reply))
    }

    fn history(&mut self, piece: &HistoryPiece) -> Option<(Duration, Result<Option<HistoryGap>, HostError>)> {
        self.stored.borrow_mut().push(piece.clone());
        let below = piece.segment.range().first().prev()?;
        Some((Duration::from_millis(1), Ok(gap(&self.source, below))))
    }
}

#[test]
fn history_is_filled_in_below_the_state_once_the_tip_is_reached() {
    for (history, bodies) in [(SyncHistory::Headers, false), (SyncHistory::Blocks, true)] {
        let source = chain(3100, 100);
        let (mut world, host) = world_with(source.clone(), SyncConfig { history, ..fast() });
        let stored = Rc::new(RefCell::new(Vec::new()));
        world.set_host(Historian { host: host.clone(), source: source.clone(), stored: Rc::clone(&stored) });
        // A liar about history among them.
        world.join(
            8,
            Scripted(|request: &Request, _: &TestChain, reply| match (request, reply) {
                (Request::Segment { certified: false, .. }, Reply::After(after, answer)) => {
                    let mut answer = answer.to_vec();
                    if let Some(byte) = answer.get_mut(200) {
                        *byte ^= 1;
                    }
                    Reply::After(after, answer.into())
                }
                (_, reply) => reply,
            }),
        );
        world.join(1, honest());
        world.start();
        assert!(world.run_to_tip(MINUTE), "{:#?}", world.events);
        assert!(stored.borrow().is_empty());
        let complete = |world: &World| world.events.iter().any(|(_, event)| *event == Event::HistoryComplete);
        assert!(world.run_until(MINUTE, complete), "{:#?} {:?}", world.events, stored.borrow().len());
        let mut next = Height::new(3000);
        for call in stored.borrow().iter() {
            let range = call.segment.range();
            assert_eq!((range.last(), call.segment.last_id()), (next, source.id(next).unwrap()));
            let frames = call.frames.iter().flatten().map(|frame| frame.range);
            let held: u64 = frames.map(HeightRange::count).sum();
            assert_eq!(held, if bodies { range.count() } else { 0 });
            next = range.first().prev().unwrap();
        }
        assert_eq!(next, Height::ZERO, "down to the anchor");
        world.stop();
        assert_eq!(world.machine.progress().buffered_bytes, 0);
    }
}
