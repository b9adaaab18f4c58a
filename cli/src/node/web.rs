//! The light client's page, shown by a node: a folder's files, read once at the start, so that no request can reach
//! anything else; the genesis file; and where the node's WebSockets are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs, io};

use bytes::Bytes;
use hotstuff2_sync::chain::native::Genesis;
use hotstuff2_sync_tokio::genesis_file::genesis_text;
use hotstuff2_sync_tokio::http::{HttpAnswer, HttpBounds, HttpRequest, HttpServer};
use hotstuff2_sync_tokio::net::{Network as _, QuicNetwork};

use crate::args::PageArgs;
use crate::error::CliError;

/// Browsers open a few connections each.
const BOUNDS: HttpBounds = HttpBounds { at_once: 64, patience: Duration::from_secs(60) };
/// Most files of a page, and most bytes of them together.
const MAX_FILES: usize = 256;
/// See [`MAX_FILES`].
const MAX_BYTES: u64 = 32 << 20;
/// How deep folders may lie in each other.
const MAX_DEPTH: usize = 4;

/// Nothing but what this server gives may run or be loaded, and connections may go to nodes. `wasm-unsafe-eval` is what
/// compiling WebAssembly is called; it allows no script.
const HEAD: &str = "Content-Security-Policy: default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
                    img-src 'self' data:; connect-src 'self' ws: wss:; worker-src 'self'; manifest-src 'self'; \
                    base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
                    X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCache-Control: no-cache\r\n";

/// A file of the page.
struct File {
    kind: &'static str,
    body: Bytes,
    /// The same compressed by Brotli, from the file of this name with `.br` behind it.
    brotli: Option<Bytes>,
}

/// A node's listeners for pages, which stop when this is dropped.
pub(crate) struct Pages {
    /// Where it listens for WebSockets.
    pub(crate) ws: Option<SocketAddr>,
    page: Option<HttpServer>,
}

impl Pages {
    /// Where the page is shown.
    pub(crate) fn web(&self) -> Option<SocketAddr> {
        self.page.as_ref().map(HttpServer::local_addr)
    }
}

/// For people: where pages are served.
impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.ws {
            write!(f, ", for pages at ws://{at}")?;
        }
        self.web().map_or(Ok(()), |at| write!(f, ", the page at http://{at}"))
    }
}

/// Serves pages over `network`, as far as `args` say.
pub(crate) async fn serve_pages(network: &QuicNetwork, genesis: &Genesis, args: &PageArgs) -> Result<Pages, CliError> {
    let listen = |at| network.listen_ws(at, genesis.chain_id(), args.ws_origins.clone());
    let ws = args.ws.map(listen).transpose()?;
    let page = match (args.web, &args.web_root) {
        (Some(at), Some(root)) => {
            let own = ws.map(|at| format!("ws://{at}"));
            let url = args.ws_url.clone().or(own);
            let url = url.ok_or(CliError::Options("a page needs WebSockets: name --ws too"))?;
            Some(show_page(at, root, genesis, &url, &network.local_peer().to_string()).await?)
        }
        _ => None,
    };
    Ok(Pages { ws, page })
}

/// Shows the page in `root` at `address`, for the chain of `genesis` and a node whose WebSockets are at `ws`.
async fn show_page(
    address: SocketAddr,
    root: &Path,
    genesis: &Genesis,
    ws: &str,
    peer_id: &str,
) -> Result<HttpServer, CliError> {
    let mut files = read_files(root)?;
    if !files.contains_key("/index.html") {
        return Err(CliError::NoPage(root.to_owned()));
    }
    let json = |body: String| File { kind: "application/json", body: body.into(), brotli: None };
    let text = genesis_text(genesis).map_err(|error| CliError::Page { address, source: error.into() })?;
    let network = serde_json::json!({ "nodes": [{ "url": ws, "peer": peer_id }] });
    files.insert("/genesis.json".to_owned(), json(text));
    files.insert("/network.json".to_owned(), json(network.to_string()));
    let get = move |request: HttpRequest<'_>| {
        let path = if request.path == "/" { "/index.html" } else { request.path };
        let file = files.get(path).ok_or("there is no such file\n")?;
        let brotli = file.brotli.as_ref().filter(|_| request.takes_brotli);
        let body = brotli.unwrap_or(&file.body).clone();
        Ok(HttpAnswer { status: "200 OK", kind: file.kind, head: HEAD, is_brotli: brotli.is_some(), body })
    };
    HttpServer::serve(address, BOUNDS, get).await.map_err(|source| CliError::Page { address, source })
}

/// The files in `root` and its folders, by the path that asks for them.
fn read_files(root: &Path) -> Result<BTreeMap<String, File>, CliError> {
    let mut found = BTreeMap::new();
    let mut left = MAX_BYTES;
    let mut folders = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, path, depth)) = folders.pop() {
        let failed = || CliError::file("read", &folder);
        for entry in fs::read_dir(&folder).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{path}/{name}");
            // Not through links: they may lead anywhere.
            let kind = entry.file_type().map_err(failed())?;
            if kind.is_dir() && depth < MAX_DEPTH {
                folders.push((entry.path(), path, depth + 1));
            } else if kind.is_file() {
                let size = entry.metadata().map_err(failed())?.len();
                left = left.checked_sub(size).ok_or_else(|| too_large(root))?;
                if found.len() >= MAX_FILES {
                    return Err(too_large(root));
                }
                found.insert(path, Bytes::from(read(entry.path())?));
            }
        }
    }
    let kind = |path: &str| kind_of(path).filter(|_| !path.ends_with(".br"));
    let file = |(path, body): (&String, &Bytes)| {
        Some((
            path.clone(),
            File { kind: kind(path)?, body: body.clone(), brotli: found.get(&format!("{path}.br")).cloned() },
        ))
    };
    Ok(found.iter().filter_map(file).collect())
}

fn read(path: PathBuf) -> Result<Vec<u8>, CliError> {
    fs::read(&path).map_err(CliError::file("read", &path))
}

fn too_large(root: &Path) -> CliError {
    let source = io::Error::other(format!("a page has at most {MAX_FILES} files and {} MiB", MAX_BYTES >> 20));
    CliError::file("read", root)(source)
}

/// Content type of a file, by its name; `None` for one that is no part of a page.
fn kind_of(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "json" | "webmanifest" => "application/json",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_lies_in_its_folder_and_nothing_else() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("page");
        fs::create_dir_all(root.join("js")).unwrap();
        for (name, text) in [("index.html", "<p>"), ("js/a.js", "1"), ("js/a.js.br", "b"), ("notes.txt", "no")] {
            fs::write(root.join(name), text).unwrap();
        }
        fs::write(outside.path().join("key.json"), "secret").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(outside.path().join("key.json"), root.join("key.json")).unwrap();
        let files = read_files(&root).unwrap();
        let found: Vec<_> =
            files.iter().map(|(path, file)| (path.as_str(), file.kind, file.brotli.is_some())).collect();
        let (html, script) = ("text/html; charset=utf-8", "text/javascript; charset=utf-8");
        assert_eq!(found, [("/index.html", html, false), ("/js/a.js", script, true)]);
    }

    #[test]
    fn a_page_has_bounds() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..=MAX_FILES {
            fs::write(root.path().join(format!("{number}.js")), "1").unwrap();
        }
        assert!(read_files(root.path()).err().unwrap().to_string().contains("at most 256 files"));
    }
}
