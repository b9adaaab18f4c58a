//! Orders to a node that runs, by its own user: a socket in its folder, which takes who may write there.
//!
//! An order is the word `backup `, then the path of the new folder, then the end of what is sent. The answer is a line of
//! JSON. Orders are carried out one after the other.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync_tokio::store::DiskStore;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::error::CliError;
use crate::report::BackupReport;
use crate::screen::tell;

/// Name of the socket in a node's folder.
const SOCKET: &str = "control.sock";

/// First bytes of an order for a backup.
const BACKUP: &[u8] = b"backup ";

/// Longest order that is read, in bytes: twice the longest path.
const MAX_ORDER: u64 = 8 << 10;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// Longest time that an order may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answer of a node to an order.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(BackupReport),
    Failed(String),
}

/// The socket's name, which goes when the node does.
struct Named(PathBuf);

impl Drop for Named {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Takes orders in the folder `dir`, whose store is open, for ever.
pub(crate) async fn take_orders(dir: PathBuf, store: Arc<DiskStore<NativeChain>>) {
    let (listener, _named) = match listen(&dir) {
        Ok(listening) => listening,
        Err(error) => {
            tell(format_args!(
                "no backup can be asked of this node while it runs: {} can't be listened on: {error}",
                dir.join(SOCKET).display()
            ));
            return std::future::pending().await;
        }
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = obey(stream, &store).await {
                    tracing::debug!(%error, "an order was not read, or its answer was not");
                }
            }
            // Too many open files: they are closed some time.
            Err(_) => tokio::time::sleep(PATIENCE).await,
        }
    }
}

fn listen(dir: &Path) -> io::Result<(tokio::net::UnixListener, Named)> {
    let path = dir.join(SOCKET);
    // Nobody else has the store open, so this one is of a node that was killed.
    if fs::symlink_metadata(&path).is_ok_and(|there| there.file_type().is_socket()) {
        fs::remove_file(&path)?;
    }
    let listener = tokio::net::UnixListener::bind(&path)?;
    let named = Named(path);
    fs::set_permissions(&named.0, fs::Permissions::from_mode(0o600))?;
    Ok((listener, named))
}

async fn obey(mut stream: tokio::net::UnixStream, store: &Arc<DiskStore<NativeChain>>) -> io::Result<()> {
    let mut order = Vec::new();
    tokio::time::timeout(PATIENCE, (&mut stream).take(MAX_ORDER).read_to_end(&mut order)).await??;
    let answer = match order.strip_prefix(BACKUP).map(|path| PathBuf::from(OsString::from_vec(path.to_owned()))) {
        Some(to) if to.is_absolute() => {
            let store = Arc::clone(store);
            match tokio::task::spawn_blocking(move || BackupReport::make(&store, &to)).await {
                Ok(Ok(report)) => Answer::Done(report),
                Ok(Err(error)) => Answer::Failed(error.to_string()),
                Err(_) => Answer::Failed("the backup broke off; look at the node's log".to_owned()),
            }
        }
        _ => Answer::Failed("this node's version does not know that order; use the program of its version".to_owned()),
    };
    if let Answer::Done(report) = &answer {
        tell(format_args!("{}", report.describe()));
    }
    let line = serde_json::to_vec(&answer).map_err(io::Error::other)?;
    stream.write_all(&line).await?;
    stream.shutdown().await
}

/// Has the node that runs in the folder `dir` make a backup in `to`, an absolute path.
pub(crate) fn ask_backup(dir: &Path, to: &Path) -> Result<BackupReport, CliError> {
    let asked = || -> io::Result<Answer> {
        let mut stream = UnixStream::connect(dir.join(SOCKET))?;
        stream.write_all(&[BACKUP, to.as_os_str().as_bytes()].concat())?;
        stream.shutdown(Shutdown::Write)?;
        let mut line = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut line)?;
        serde_json::from_slice(&line).map_err(io::Error::from)
    };
    match asked() {
        Ok(Answer::Done(report)) => Ok(report),
        Ok(Answer::Failed(why)) => Err(CliError::NoBackup(why)),
        Err(source) => Err(CliError::NotObeyed { dir: dir.to_owned(), source }),
    }
}
