//! `peers`: what a node's address book holds.

use std::io;

use hotstuff2_sync_tokio::discovery::{BOOK_FILE, BookEntry, BookError, BootstrapPeer};
use hotstuff2_sync_tokio::{AddressBook, wall_clock};
use serde::Serialize;

use crate::args::PeersArgs;
use crate::error::CliError;
use crate::report::{say, write_json};

#[derive(Serialize)]
struct PeersReport {
    /// What `--peer` named last.
    named: Vec<String>,
    peers: Vec<KnownReport>,
    /// Addresses that others named and where nobody has answered yet.
    candidates: Vec<CandidateReport>,
    bans: Vec<BanReport>,
}

#[derive(Serialize)]
struct KnownReport {
    id: String,
    /// Whether it was named with `--peer`.
    named: bool,
    addresses: Vec<AddressReport>,
}

#[derive(Serialize)]
struct AddressReport {
    address: String,
    /// When it last answered, in milliseconds since 1970.
    last_success: u64,
    /// Dials that failed since.
    failures: u32,
}

#[derive(Serialize)]
struct CandidateReport {
    id: String,
    address: String,
}

#[derive(Serialize)]
struct BanReport {
    id: String,
    /// In milliseconds since 1970.
    until: u64,
}

pub(crate) fn run(args: &PeersArgs) -> Result<(), CliError> {
    let path = args.peers_file.clone().unwrap_or_else(|| args.dir.join(BOOK_FILE));
    // Nothing is chosen here, so any seed will do.
    let book = AddressBook::load(&path, 0).map_err(|error| match error {
        BookError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => CliError::NoBook(path),
        error => CliError::Book(error),
    })?;
    let report = report(&book);
    let json = args.json.path.as_deref();
    let now = wall_clock().get();
    for peer in &report.peers {
        for at in &peer.addresses {
            let named = if peer.named { ", named by --peer" } else { "" };
            let since = now.saturating_sub(at.last_success) / 1000;
            let failed = if at.failures == 0 { String::new() } else { format!(", {} dials failed since", at.failures) };
            say(json, format_args!("{}/{}: answered {since} s ago{failed}{named}", at.address, peer.id));
        }
    }
    report.bans.iter().for_each(|ban| {
        say(json, format_args!("{} is banned for another {} s", ban.id, ban.until.saturating_sub(now) / 1000));
    });
    report.named.iter().for_each(|peer| say(json, format_args!("{peer} was named by --peer and is dialled always")));
    say(json, format_args!("{} peers, {} addresses not tried yet", report.peers.len(), report.candidates.len()));
    json.map_or(Ok(()), |path| write_json(&report, path))
}

fn report(book: &AddressBook) -> PeersReport {
    let addresses = |entry: &BookEntry| {
        let address = entry.addresses.iter().map(|at| AddressReport {
            address: at.address.to_string(),
            last_success: at.last_success.get(),
            failures: at.failures,
        });
        address.collect()
    };
    let peer = |(id, entry): (_, &BookEntry)| -> KnownReport {
        let id: hotstuff2_sync::ids::PeerId = id;
        KnownReport { id: id.to_string(), named: entry.bootstrap, addresses: addresses(entry) }
    };
    let candidate = |peer: hotstuff2_sync::wire::KnownPeer| CandidateReport {
        id: peer.id.to_string(),
        address: peer.address.to_string(),
    };
    let named = |peer: &BootstrapPeer| match peer.id() {
        Some(id) => format!("{peer}/{id}"),
        None => peer.to_string(),
    };
    PeersReport {
        named: book.named().iter().map(named).collect(),
        peers: book.peers().map(peer).collect(),
        candidates: book.candidates().map(candidate).collect(),
        bans: book.bans().map(|(id, until)| BanReport { id: id.to_string(), until: until.get() }).collect(),
    }
}
