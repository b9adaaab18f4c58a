//! The table of objects that hosts hold handles to. A handle is a number: place, kind and generation. A place's
//! generation rises with each object, so that a released handle never leads to another object, and looking a wrong one up
//! reads no memory that isn't there.

use std::any::Any;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::failure::Failure;
use crate::objects::Kind;
use crate::status::Status;
use crate::types::hs2_handle;

/// Bits of a handle that say its place: 16 million objects at a time.
const PLACE_BITS: u32 = 24;
const MAX_OBJECTS: usize = 1 << PLACE_BITS;

/// Something that a host may hold a handle to.
pub(crate) trait Object: Any + Send + Sync {
    /// Its kind; no two types have the same.
    const KIND: Kind;
}

struct Entry {
    kind: Kind,
    object: Arc<dyn Any + Send + Sync>,
    references: u32,
    poisoned: bool,
}

#[derive(Default)]
struct Slot {
    /// Of the object that is here, or that will be next.
    generation: u32,
    entry: Option<Entry>,
}

struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

static TABLE: RwLock<Table> = RwLock::new(Table { slots: Vec::new(), free: Vec::new() });

// No call panics while it holds the lock; were it otherwise, each entry is still whole.
fn read() -> RwLockReadGuard<'static, Table> {
    TABLE.read().unwrap_or_else(PoisonError::into_inner)
}

fn write() -> RwLockWriteGuard<'static, Table> {
    TABLE.write().unwrap_or_else(PoisonError::into_inner)
}

fn handle(place: usize, kind: Kind, generation: u32) -> hs2_handle {
    u64::from(generation) << 32 | (kind as u64) << PLACE_BITS | place as u64
}

fn place(handle: hs2_handle) -> usize {
    (handle & (MAX_OBJECTS as u64 - 1)) as usize
}

fn stale(handle: hs2_handle) -> Failure {
    if handle == 0 {
        return Failure::argument("handle", "is 0, which is no object");
    }
    Failure::new(Status::StaleHandle, format!("handle {handle:#018x} was released, or was never given out"))
}

impl Slot {
    fn holds(&self, place: usize, handle: hs2_handle) -> bool {
        self.entry.as_ref().is_some_and(|entry| self::handle(place, entry.kind, self.generation) == handle)
    }
}

impl Table {
    fn entry(&self, handle: hs2_handle) -> Result<&Entry, Failure> {
        let slot = self.slots.get(place(handle)).filter(|slot| slot.holds(place(handle), handle));
        slot.and_then(|slot| slot.entry.as_ref()).ok_or_else(|| stale(handle))
    }

    fn entry_mut(&mut self, handle: hs2_handle) -> Result<&mut Entry, Failure> {
        let slot = self.slots.get_mut(place(handle)).filter(|slot| slot.holds(place(handle), handle));
        slot.and_then(|slot| slot.entry.as_mut()).ok_or_else(|| stale(handle))
    }
}

/// Keeps `object`, with one reference, until that is released.
pub(crate) fn insert<T: Object>(object: T) -> Result<hs2_handle, Failure> {
    let object: Arc<dyn Any + Send + Sync> = Arc::new(object);
    let mut table = write();
    let place = match table.free.pop() {
        Some(place) => place,
        None if table.slots.len() >= MAX_OBJECTS => {
            return Err(Failure::new(Status::TooMany, "16 million objects are held: release some"));
        }
        None => {
            table.slots.push(Slot { generation: 1, entry: None });
            table.slots.len() - 1
        }
    };
    let slot = &mut table.slots[place];
    slot.entry = Some(Entry { kind: T::KIND, object, references: 1, poisoned: false });
    Ok(handle(place, T::KIND, slot.generation))
}

/// The object, if the handle is one of its kind. It lives at least as long as what is returned.
pub(crate) fn get<T: Object>(handle: hs2_handle) -> Result<Arc<T>, Failure> {
    let table = read();
    let entry = table.entry(handle)?;
    if entry.kind != T::KIND {
        let text = format!("the handle is of a {}, not of a {}", entry.kind.name(), T::KIND.name());
        return Err(Failure::new(Status::WrongKind, text));
    }
    if entry.poisoned {
        return Err(Failure::new(Status::Poisoned, "an earlier call with this object panicked: release it"));
    }
    let object = Arc::clone(&entry.object);
    drop(table);
    object.downcast().map_err(|_| Failure::new(Status::WrongKind, "the handle is of another kind"))
}

/// One more reference to an object.
pub(crate) fn retain(handle: hs2_handle) -> Result<(), Failure> {
    let mut table = write();
    let entry = table.entry_mut(handle)?;
    let more = entry.references.checked_add(1);
    entry.references = more.ok_or_else(|| Failure::new(Status::TooMany, "too many references to one object"))?;
    Ok(())
}

/// Gives one reference back; with the last one the handle is stale.
pub(crate) fn release(handle: hs2_handle) -> Result<(), Failure> {
    let mut table = write();
    let entry = table.entry_mut(handle)?;
    entry.references -= 1;
    if entry.references > 0 {
        return Ok(());
    }
    let place = place(handle);
    let slot = &mut table.slots[place];
    let gone = slot.entry.take();
    // A place whose generations are used up stays empty for ever.
    if let Some(next) = slot.generation.checked_add(1) {
        slot.generation = next;
        table.free.push(place);
    }
    drop(table);
    // Not under the lock: an object may hold a hundred megabytes.
    drop(gone);
    Ok(())
}

/// No call uses the object any more.
pub(crate) fn poison(handle: hs2_handle) {
    if let Ok(entry) = write().entry_mut(handle) {
        entry.poisoned = true;
    }
}

/// Objects that are held, for tests and for hosts that look for what they forgot.
pub(crate) fn count() -> usize {
    read().slots.iter().filter(|slot| slot.entry.is_some()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;
    use crate::objects::Config;

    #[test]
    fn a_released_handle_never_leads_to_the_next_object() {
        let first = insert(Config::default()).unwrap();
        release(first).unwrap();
        for _ in 0..3 {
            // Whatever is put in its place.
            let next = insert(Config::default()).unwrap();
            assert_ne!(next, first);
            assert_eq!(get::<Config>(first).map(|_| ()).unwrap_err().status, Status::StaleHandle);
            assert_eq!(release(first).unwrap_err().status, Status::StaleHandle);
            release(next).unwrap();
        }
    }

    #[test]
    fn a_handle_of_another_kind_is_named() {
        let buffer = insert(Buffer::frozen(Vec::new().into())).unwrap();
        let failure = get::<Config>(buffer).map(|_| ()).unwrap_err();
        assert_eq!(failure.status, Status::WrongKind);
        assert_eq!(failure.text, "the handle is of a buffer, not of a config");
        // The kind is part of the number: bending it leads nowhere.
        let bent = buffer ^ (Kind::Buffer as u64 ^ Kind::Config as u64) << PLACE_BITS;
        assert_eq!(get::<Config>(bent).map(|_| ()).unwrap_err().status, Status::StaleHandle);
        release(buffer).unwrap();
    }

    #[test]
    fn an_object_lives_until_its_last_reference_is_released() {
        let config = insert(Config::default()).unwrap();
        retain(config).unwrap();
        release(config).unwrap();
        let held = get::<Config>(config).unwrap();
        release(config).unwrap();
        assert_eq!(retain(config).unwrap_err().status, Status::StaleHandle);
        // A call that runs meanwhile keeps it.
        assert!(held.lock().is_ok());
    }

    #[test]
    fn no_number_is_a_handle_by_chance() {
        for handle in [0, 1, u64::MAX, 1 << 32, 0xdead_beef, u64::MAX << 32] {
            assert!(get::<Config>(handle).is_err() && release(handle).is_err() && retain(handle).is_err(), "{handle}");
        }
    }
}
