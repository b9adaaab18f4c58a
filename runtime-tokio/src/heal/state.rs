//! The state's part of a healer: the live state subtree by subtree, most of them out of what can still be read, and the
//! snapshots below it as what differs.

use std::sync::Arc;

use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::state::{Prefix, StateAnswer, StateForm, StateItem};
use hotstuff2_sync::verify::{Outcome, Task};
use hotstuff2_sync::wire::Request;

use super::event::HealError;
use super::healer::{Healer, on_thread};
use crate::store::{Activation, LostState, StateChanges, StateStaging as _};

/// Bytes of records that are asked for at once. A larger subtree is shown as a tree, so this is also how much around a
/// damaged block is fetched again.
const STATE_BYTES: u32 = 512 << 10;

impl<C: Chain> Healer<C> {
    /// Writes the state's tables anew. Snapshots that nobody gives any more are dropped, which is logged.
    pub(super) async fn heal_state(&mut self) -> Result<Vec<PeerId>, HealError> {
        if !self.states {
            return Err(HealError::InUse);
        }
        let store = Arc::clone(&self.store);
        let lost = on_thread(move || store.lost_states()).await?.ok_or(HealError::NotInPlace)?;
        let mut from = Vec::new();
        self.fetch_live(lost.live, &mut from).await?;
        let store = Arc::clone(&self.store);
        match on_thread(move || store.replace_state(&lost.live)).await? {
            Activation::Activated => {}
            Activation::RootMismatch { .. } => return Err(HealError::OtherState),
        }
        for snapshot in lost.kept {
            if let Err(error) = self.fetch_snapshot(snapshot, &mut from).await {
                tracing::warn!(%error, height = %snapshot.height, "a snapshot of the state could not be mended and is not kept any more");
            }
        }
        Ok(from)
    }

    /// Stages the live state.
    async fn fetch_live(&mut self, lost: LostState, from: &mut Vec<PeerId>) -> Result<(), HealError> {
        let mut items = vec![StateItem { prefix: Prefix::ROOT, hash: lost.root }];
        while let Some(item) = items.pop() {
            let store = Arc::clone(&self.store);
            if on_thread(move || store.holds(&item)).await? {
                continue;
            }
            match self.ask_state(lost.height, item, from).await? {
                StateAnswer::Tree { below, .. } => items.extend(below),
                StateAnswer::Leaves(leaves) => {
                    let store = Arc::clone(&self.store);
                    on_thread(move || store.stage(&[leaves])).await?;
                }
                StateAnswer::Missing(_) => return Err(HealError::Broken),
            }
        }
        Ok(())
    }

    /// Keeps a snapshot again, by what it has otherwise than the state above.
    async fn fetch_snapshot(&mut self, lost: LostState, from: &mut Vec<PeerId>) -> Result<(), HealError> {
        let store = Arc::clone(&self.store);
        let above = on_thread(move || store.state_above(lost.height)).await?;
        let mut changes = StateChanges::new();
        let mut items = vec![StateItem { prefix: Prefix::ROOT, hash: lost.root }];
        while let Some(item) = items.pop() {
            let (store, view) = (Arc::clone(&self.store), above.clone());
            if let Some(known) = on_thread(move || store.state_changes(&view, &item, None)).await? {
                changes.extend(known);
                continue;
            }
            match self.ask_state(lost.height, item, from).await? {
                StateAnswer::Tree { below, .. } => items.extend(below),
                StateAnswer::Leaves(leaves) => {
                    let (store, view) = (Arc::clone(&self.store), above.clone());
                    let found = on_thread(move || store.state_changes(&view, &item, Some(&leaves))).await?;
                    changes.extend(found.unwrap_or_default());
                }
                StateAnswer::Missing(_) => return Err(HealError::Broken),
            }
        }
        drop(above);
        let store = Arc::clone(&self.store);
        let restored = on_thread(move || store.restore_snapshot(&lost, changes)).await?;
        if restored { Ok(()) } else { Err(HealError::OtherState) }
    }

    /// One subtree, from whoever holds it.
    async fn ask_state(
        &mut self,
        height: Height,
        item: StateItem,
        from: &mut Vec<PeerId>,
    ) -> Result<StateAnswer, HealError> {
        let (form, items, chain) = (StateForm::Leaves, vec![item], Arc::clone(&self.chain));
        let request = Request::State { height, form, items: items.clone(), max_bytes: STATE_BYTES };
        let prove = move |bytes| {
            let task = Task::State { form, items: items.clone(), bytes };
            match task.prove(&*chain)? {
                Outcome::State(mut answers) => answers.pop().ok_or(Fault::Malformed.into()),
                _ => Err(Fault::Malformed.into()),
            }
        };
        let (peer, answer) = self.source.ask(&request, prove).await?;
        if !from.contains(&peer) {
            from.push(peer);
        }
        Ok(answer)
    }
}
