//! A decoded value kept beside its bytes, so that many jobs decode it once.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use core::hash::{Hash, Hasher};

use once_cell::race::OnceBox;

/// A cache of one decoded value. It is no part of the value it belongs to: all memos are equal, and clones share.
#[derive(Clone, Default)]
pub struct Memo(Arc<OnceBox<Box<dyn Any + Send + Sync>>>);

impl Memo {
    /// A memo that holds `value` already.
    pub fn with<T: Any + Send + Sync>(value: T) -> Self {
        let memo = Self::default();
        // A new memo is empty, so this can't lose a value.
        let _ = memo.0.set(Box::new(Box::new(value)));
        memo
    }

    /// The value, made by `decode` if this is the first use. Threads that race decode the same bytes; one result stays.
    ///
    /// Returns `Ok(None)` if the memo holds a value of another type, which means that two chains share a reference.
    pub fn get_or_try_init<T, E>(&self, decode: impl FnOnce() -> Result<T, E>) -> Result<Option<&T>, E>
    where
        T: Any + Send + Sync,
    {
        let value = match self.0.get() {
            Some(value) => value,
            None => self
                .0
                .get_or_try_init(|| decode().map(|value| Box::new(Box::new(value) as Box<dyn Any + Send + Sync>)))?,
        };
        Ok(value.downcast_ref())
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "Memo(filled)" } else { "Memo(empty)" })
    }
}

impl PartialEq for Memo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Memo {}

impl Hash for Memo {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
