//! `repair`: fetches what can't be read in the store of a stopped node again from peers.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync_tokio::net::{Identity, Network, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{Damage, DiskStore};
use hotstuff2_sync_tokio::{DiscoverySettings, Healer};

use crate::args::{Parent, RepairArgs};
use crate::error::CliError;
use crate::inspect::look_at_blocks;
use crate::node::{
    IDENTITY_FILE, Stop, beside_peers, discovery, keep_tcp, open_store, say_families, stored_genesis, threads,
};
use crate::report::{PartReport, RepairReport, conclude, say};

/// Rest before everything that is left is tried again.
const RETRY: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &RepairArgs) -> Result<(), CliError> {
    let runtime = threads()?;
    let begin = Instant::now();
    let (genesis, store) = open_store(&args.dir)?;
    let store = Arc::new(store);
    let json = args.json.path.as_deref();
    say(json, format_args!("reading all that {} holds", args.dir.display()));
    // The values, and then all bytes of their tables.
    store.check_states()?;
    store.patrol_state()?;
    let mut damaged = look_at_blocks(&store);
    for PartReport { part, what, .. } in &damaged {
        say(json, format_args!("damaged: {part}: {what}"));
    }
    if !damaged.is_empty() {
        runtime.block_on(mend(args, &store, Arc::new(NativeChain::new(&genesis)), &mut damaged))?;
    }
    if damaged.iter().all(|part| part.mended) {
        // How they hang together too.
        store.check(|_| ())?;
    }
    let (parts, left) = (damaged.len(), damaged.iter().filter(|part| !part.mended).count());
    for PartReport { part, next_step, .. } in &damaged {
        if let Some(next_step) = next_step {
            say(json, format_args!("not mended: {part}: {next_step}"));
        }
    }
    if left == 0 {
        say(json, format_args!("all is whole ({parts} parts were damaged)"));
    }
    let report = RepairReport { ok: left == 0, damaged, seconds: begin.elapsed().as_secs_f64() };
    let unmended = || CliError::Unmended { dir: args.dir.clone(), left, parts };
    conclude(&report, json, if left == 0 { Ok(()) } else { Err(unmended()) })
}

/// Mends what it can, until nothing could be mended for as long as the operator waits.
async fn mend(
    args: &RepairArgs,
    store: &Arc<DiskStore<NativeChain>>,
    chain: Arc<NativeChain>,
    damaged: &mut [PartReport],
) -> Result<(), CliError> {
    let mut stop = Stop::of_node(&Parent { until_stdin_closes: false })?;
    let identity = Identity::load_or_generate(args.dir.join(IDENTITY_FILE))?;
    let discovery = discovery(&args.peers, &args.dir, identity.seed(), DiscoverySettings::default().min_peers)?;
    if args.peers.named.is_empty() && discovery.snapshot().is_empty() {
        return Err(CliError::Options("no peer is known yet: name one with --peer HOST:PORT that has what is damaged"));
    }
    let listen = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let (network, events) = QuicNetwork::bind(listen, identity, QuicLimits::default(), None)?;
    say_families(&network, listen);
    keep_tcp(&network, &args.peers, stored_genesis(&args.dir)?.chain_id());
    let network: Arc<dyn Network> = Arc::new(network);
    let mut healer = Healer::new(Arc::clone(store), chain, Arc::clone(&network));
    let work = heal_all(args, store, &mut healer, damaged);
    beside_peers(&mut stop, work, &discovery, &network, events, &SyncConfig::default()).await;
    Ok(())
}

async fn heal_all(
    args: &RepairArgs,
    store: &DiskStore<NativeChain>,
    healer: &mut Healer<NativeChain>,
    damaged: &mut [PartReport],
) {
    let json = args.json.path.as_deref();
    let mut mended_at = Instant::now();
    loop {
        let known: Vec<Damage> = store.damage().borrow().clone();
        if known.is_empty() {
            return;
        }
        for Damage { part, .. } in known.into_iter().rev() {
            let begin = Instant::now();
            let outcome = healer.heal(part).await;
            let Some(report) = damaged.iter_mut().find(|report| report.part == part.to_string()) else { continue };
            match outcome {
                Ok(from) => {
                    (report.mended, report.next_step) = (true, None);
                    report.from = from.iter().map(ToString::to_string).collect();
                    mended_at = Instant::now();
                    let (from, took) = (report.from.join(", "), begin.elapsed().as_secs_f64());
                    say(json, format_args!("mended: {part}, from {from}, in {took:.1} s"));
                }
                Err(why) => report.next_step = Some(why.to_string()),
            }
        }
        if mended_at.elapsed() >= Duration::from_secs(args.patience) {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}
