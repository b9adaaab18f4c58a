//! [`fence`]: no panic leaves the library. The object that a panicking call worked with is poisoned.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failure::Failure;
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::hs2_handle;

/// Runs what a function does. `subject` is the object that a panic leaves in an unknown state, 0 where there is none.
pub(crate) fn fence(subject: hs2_handle, work: impl FnOnce() -> Result<(), Failure>) -> hs2_status {
    // Nothing of what was touched is used again: it is poisoned.
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        table::poison(subject);
        Err(Failure::new(Status::Panicked, format!("the library panicked: {}", words(&*panic))))
    });
    match result {
        Ok(()) => Status::Ok.number(),
        Err(failure) => {
            failure.remember();
            failure.status.number()
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Config;

    #[test]
    fn a_panic_becomes_a_status_and_poisons_the_object() {
        let config = table::insert(Config::default()).unwrap();
        let other = table::insert(Config::default()).unwrap();
        assert_eq!(fence(config, || panic!("on purpose")), Status::Panicked.number());
        let text = table::get::<Config>(config).map(|_| ()).unwrap_err();
        assert_eq!(text.status, Status::Poisoned);
        assert!(table::get::<Config>(other).is_ok());
        // A poisoned object can still be released, and is gone then.
        table::release(config).unwrap();
        assert_eq!(table::release(config).unwrap_err().status, Status::StaleHandle);
        table::release(other).unwrap();
    }

    #[test]
    fn a_panic_without_an_object_is_a_status_too() {
        assert_eq!(fence(0, || std::panic::panic_any(7)), Status::Panicked.number());
        assert_eq!(fence(0, || Ok(())), 0);
    }
}
