//! `inspect`: checks a store and says what it holds.

use std::path::Path;

use hotstuff2_sync::chain::native::{Genesis, NativeChain};
use hotstuff2_sync::ids::Epoch;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync_tokio::store::{CheckedState, Damage, DamagedState, DiskStore};

use crate::args::InspectArgs;
use crate::error::CliError;
use crate::node::{head_of, open_store};
use crate::report::{InspectReport, PartReport, StateCheck, conclude, say};

pub(crate) fn run(args: &InspectArgs) -> Result<(), CliError> {
    let report = inspect(&args.dir, args.quick)?;
    let json = args.json.path.as_deref();
    let InspectReport { ok, head, epoch, earliest_height, blocks, handovers, states, damaged } = &report;
    let checked = if *ok { "all checked" } else { "checked but for what is damaged" };
    say(
        json,
        format_args!(
            "head {} {}\nstate root in its header {}\nepoch {epoch}, {handovers} handovers\n{blocks} blocks from height {earliest_height} on, {checked}",
            head.height, head.id, head.state_root,
        ),
    );
    match states.as_deref() {
        None => say(json, format_args!("no state was looked at (--quick)")),
        Some([]) if *ok => say(json, format_args!("no state is kept here: nothing has executed the blocks")),
        Some(states) => {
            for StateCheck { height, computed_state_root, keys } in states {
                say(
                    json,
                    format_args!(
                        "state after block {height}: {keys} keys hash to {computed_state_root}, as its header says"
                    ),
                );
            }
        }
    }
    for PartReport { part, what, .. } in damaged {
        say(json, format_args!("damaged: {part}: {what}"));
    }
    conclude(&report, json, is_sound(&args.dir, &report))
}

/// An error where the report has damage.
pub(crate) fn is_sound(dir: &Path, report: &InspectReport) -> Result<(), CliError> {
    let Some(first) = report.damaged.first() else { return Ok(()) };
    Err(CliError::Damaged { dir: dir.to_owned(), parts: report.damaged.len(), first: first.what.clone() })
}

/// Checks the store in `dir`, which nobody else may have open, and says what it holds. With `quick` without its states.
pub(crate) fn inspect(dir: &Path, quick: bool) -> Result<InspectReport, CliError> {
    let (genesis, store) = open_store(dir)?;
    let mut damaged = look_at_blocks(&store);
    let states = if quick { None } else { Some(look_at_states(&store, &genesis, &mut damaged)?) };
    // Links between segments are for a store that can be read.
    if damaged.is_empty() {
        store.check(|_| {})?;
    }
    let head = head_of(&store, &genesis)?;
    let status = store.status();
    let mut handovers = 0;
    while store.handover(Epoch::new(handovers))?.is_some() {
        handovers += 1;
    }
    let blocks = head.height.saturating_add(1).saturating_sub(status.earliest.get());
    let (epoch, earliest_height) = (status.epoch.get(), status.earliest.get());
    Ok(InspectReport { ok: damaged.is_empty(), head, epoch, earliest_height, blocks, handovers, states, damaged })
}

/// Reads every block, and returns what can't be read.
pub(crate) fn look_at_blocks(store: &DiskStore<NativeChain>) -> Vec<PartReport> {
    let mut after = None;
    while let Some((last, _)) = store.patrol(after) {
        after = Some(last);
    }
    let damage = store.damage();
    let damage = damage.borrow();
    let report = |Damage { part, what }: &Damage| PartReport {
        part: part.to_string(),
        what: what.clone(),
        mended: false,
        from: Vec::new(),
        next_step: None,
    };
    damage.iter().map(report).collect()
}

/// Hashes the states that are kept; what is wrong with one is added to `damaged`.
fn look_at_states(
    store: &DiskStore<NativeChain>,
    genesis: &Genesis,
    damaged: &mut Vec<PartReport>,
) -> Result<Vec<StateCheck>, CliError> {
    let mut sound = Vec::new();
    for state in store.check_states()? {
        let (height, what) = match state {
            Ok(CheckedState { height, root, in_header, keys }) => {
                let in_header = in_header.unwrap_or(genesis.header().state_root);
                if in_header == root {
                    let computed_state_root = root.to_string();
                    sound.push(StateCheck { height: height.get(), computed_state_root, keys });
                    continue;
                }
                (height, format!("its {keys} keys hash to {root}, its header says {in_header}"))
            }
            Err(DamagedState { height, failure }) => (height, failure.to_string()),
        };
        let part = format!("the state after block {height}");
        damaged.push(PartReport { part, what, mended: false, from: Vec::new(), next_step: None });
    }
    Ok(sound)
}
