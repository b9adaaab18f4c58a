//! When to stop: on Ctrl-C, when asked to terminate, or when the demo that started this process is gone.
//!
//! A thread of its own listens, so that nothing that peers make the others do can keep a signal waiting.

use std::io::Read as _;
use std::process;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::args::Parent;
use crate::error::CliError;

/// How long a node may take to stop: enough to store what is at hand and to say goodbye to peers. An end at any moment
/// loses nothing that was acknowledged, as after a power cut, so what takes longer is not waited for.
const NODE_PATIENCE: Duration = Duration::from_millis(2500);

/// Exit code of a node that was not waited for.
const CUT_SHORT: i32 = 1;

/// Listens from now on; the future ends when this process should stop.
pub(crate) fn stop_signal(parent: &Parent) -> Result<impl Future<Output = ()> + use<>, CliError> {
    listen(parent, || {})
}

/// The same for a node, which ends within 3 s whatever holds it up.
pub(crate) fn stop_node(parent: &Parent) -> Result<impl Future<Output = ()> + use<>, CliError> {
    listen(parent, || {
        thread::sleep(NODE_PATIENCE);
        eprintln!(
            "hs2-sync: not everything could be closed in time; what was acknowledged is stored, the rest comes again"
        );
        process::exit(CUT_SHORT);
    })
}

/// Listens on a thread that goes on with `then` when it has told that this process should stop.
fn listen(parent: &Parent, then: fn()) -> Result<impl Future<Output = ()> + use<>, CliError> {
    let failed = |source| CliError::System { what: "signals can't be listened to", source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let asked = {
        let _inside = runtime.enter();
        asked_to_stop(parent).map_err(failed)?
    };
    let (told, stop) = oneshot::channel();
    thread::Builder::new()
        .name("hs2-signals".to_owned())
        .spawn(move || {
            runtime.block_on(asked);
            // Fails where nobody waits any more, as the process is at its end already.
            let _ = told.send(());
            then();
        })
        .map_err(failed)?;
    Ok(async move {
        if stop.await.is_err() {
            // The thread tells before it ends.
            std::future::pending::<()>().await;
        }
    })
}

/// Ends when this process is asked to stop. Must be called within a runtime.
fn asked_to_stop(parent: &Parent) -> std::io::Result<impl Future<Output = ()> + use<>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[cfg(unix)]
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let orphaned = parent.until_stdin_closes.then(stdin_closed).transpose()?;
    Ok(async move {
        let orphaned = async {
            match orphaned {
                // An error means that the thread is gone, which it is when standard input has ended.
                Some(closed) => drop(closed.await),
                None => std::future::pending().await,
            }
        };
        #[cfg(unix)]
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = orphaned => {}
        }
        #[cfg(not(unix))]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = orphaned => {}
        }
    })
}

/// Ends when standard input does. The thread can't be interrupted; it ends with the process.
fn stdin_closed() -> std::io::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut ignored = [0; 64];
        while stdin.read(&mut ignored).is_ok_and(|read| read > 0) {}
        let _ = sender.send(());
    })?;
    Ok(receiver)
}
