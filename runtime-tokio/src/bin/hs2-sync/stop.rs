//! When to stop: on Ctrl-C, when asked to terminate, or when the demo that started this process is gone.

use std::io::Read as _;

use tokio::sync::oneshot;

use crate::args::Parent;
use crate::error::CliError;

/// Listens from now on; the future ends when this process should stop.
///
/// Must be called within a runtime.
pub(crate) fn stop_signal(parent: &Parent) -> Result<impl Future<Output = ()> + use<>, CliError> {
    let failed = |source| CliError::System { what: "signals can't be listened to", source };
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(failed)?;
    #[cfg(unix)]
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map_err(failed)?;
    let orphaned = parent.until_stdin_closes.then(stdin_closed).transpose().map_err(failed)?;
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
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut ignored = [0; 64];
        while stdin.read(&mut ignored).is_ok_and(|read| read > 0) {}
        let _ = sender.send(());
    })?;
    Ok(receiver)
}
