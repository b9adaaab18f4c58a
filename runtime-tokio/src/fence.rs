//! [`Fenced`]: an application that can't take the node down with it. A panic becomes an error that says what was said, and
//! an application that has panicked is not called again: nobody knows what state it left itself in.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hotstuff2_sync::ids::Height;

use crate::application::{AppBlock, Application, ExecuteError};

/// An application behind a fence.
pub(crate) struct Fenced {
    inner: Box<dyn Application>,
    /// Where it stood before its last call.
    applied: Height,
    /// What it said when it panicked.
    panic: Option<String>,
}

impl Fenced {
    pub(crate) fn new(inner: Box<dyn Application>) -> Self {
        Self { applied: inner.applied(), inner, panic: None }
    }

    /// Calls the application, unless it has panicked before.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Application) -> Result<T, ExecuteError>,
    ) -> Result<T, ExecuteError> {
        if let Some(panic) = &self.panic {
            return Err(ExecuteError::Panicked(panic.clone()));
        }
        let inner = &mut *self.inner;
        // What a panic leaves half done is never looked at again.
        let called = catch_unwind(AssertUnwindSafe(|| {
            let result = call(inner);
            (inner.applied(), result)
        }));
        match called {
            Ok((applied, result)) => {
                self.applied = applied;
                result
            }
            Err(panic) => {
                let said = message(&*panic);
                self.panic = Some(said.clone());
                Err(ExecuteError::Panicked(said))
            }
        }
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    said.unwrap_or("it gave no text").to_owned()
}

impl Application for Fenced {
    fn applied(&self) -> Height {
        self.applied
    }

    fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.call(|inner| inner.execute(blocks))
    }

    fn adopt(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.call(|inner| inner.adopt(blocks))
    }

    fn uncommitted(&self) -> usize {
        if self.panic.is_some() {
            return 0;
        }
        // Asked for again at once by whatever it is that makes it due, and counted there.
        catch_unwind(AssertUnwindSafe(|| self.inner.uncommitted())).unwrap_or(usize::MAX)
    }

    fn commit(&mut self) -> Result<(), ExecuteError> {
        self.call(Application::commit)
    }

    fn persist(&mut self) -> Result<(), ExecuteError> {
        self.call(Application::persist)
    }

    fn restore(&mut self, height: Height) -> Result<(), ExecuteError> {
        self.call(|inner| inner.restore(height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics in the call with this name, and counts calls.
    struct Brittle {
        breaks: &'static str,
        calls: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    }

    impl Brittle {
        fn call(&self, name: &str) -> Result<(), ExecuteError> {
            self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            assert_ne!(name, self.breaks, "brittle");
            Ok(())
        }
    }

    impl Application for Brittle {
        fn applied(&self) -> Height {
            Height::new(7)
        }

        fn execute(&mut self, _: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
            self.call("execute")
        }

        fn adopt(&mut self, _: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
            self.call("adopt")
        }

        fn uncommitted(&self) -> usize {
            usize::from(self.call("uncommitted").is_ok())
        }

        fn commit(&mut self) -> Result<(), ExecuteError> {
            self.call("commit")
        }

        fn persist(&mut self) -> Result<(), ExecuteError> {
            self.call("persist")
        }

        fn restore(&mut self, _: Height) -> Result<(), ExecuteError> {
            self.call("restore")
        }
    }

    #[test]
    fn an_application_that_panics_is_never_called_again() {
        for breaks in ["execute", "adopt", "commit", "persist", "restore", "nothing"] {
            let calls = std::sync::Arc::default();
            let mut fenced = Fenced::new(Box::new(Brittle { breaks, calls: std::sync::Arc::clone(&calls) }));
            let broken = [
                fenced.execute(&[]).is_err(),
                fenced.adopt(&[]).is_err(),
                fenced.commit().is_err(),
                fenced.persist().is_err(),
                fenced.restore(Height::ZERO).is_err(),
            ];
            let at = ["execute", "adopt", "commit", "persist", "restore"].iter().position(|name| *name == breaks);
            let expected: [bool; 5] = std::array::from_fn(|call| at.is_some_and(|at| call >= at));
            assert_eq!(broken, expected, "{breaks}");
            let said = fenced.execute(&[]);
            match at {
                Some(at) => {
                    assert!(matches!(&said, Err(ExecuteError::Panicked(said)) if said.contains("brittle")), "{said:?}");
                    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), at + 1);
                }
                None => assert!(said.is_ok()),
            }
            assert_eq!(fenced.applied(), Height::new(7));
        }
        let calls = std::sync::Arc::default();
        let fenced = Fenced::new(Box::new(Brittle { breaks: "uncommitted", calls }));
        assert_eq!(fenced.uncommitted(), usize::MAX, "a commit is due, and says what happened or goes well");
    }
}
