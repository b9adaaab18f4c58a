//! Peers of a node: how it finds them, and what it does beside them until it is stopped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync_tokio::discovery::{BOOK_FILE, BookFound};
use hotstuff2_sync_tokio::net::{Network, NetworkEvent, QuicNetwork};
use hotstuff2_sync_tokio::{AddressBook, Discovery, DiscoverySettings};
use tokio::sync::mpsc;

use super::stop::Stop;
use crate::args::{NamedPeer, PeerArgs};
use crate::error::CliError;
use crate::screen::tell;

/// Says so where `network` was to listen by both families and has IPv4 alone.
pub(crate) fn say_families(network: &QuicNetwork, asked: SocketAddr) {
    if let Ok(address) = network.local_addr()
        && address.is_ipv4() != asked.is_ipv4()
    {
        tell(format_args!("this machine has no IPv6: listening at {address}, and peers are reached by IPv4 only"));
    }
}

/// The discovery of the node in `dir`, with its address book. `min_peers` is what it wants at least.
pub(crate) fn discovery(args: &PeerArgs, dir: &Path, seed: u64, min_peers: usize) -> Result<Discovery, CliError> {
    let file: PathBuf = args.peers_file.clone().unwrap_or_else(|| dir.join(BOOK_FILE));
    let (book, found) = AddressBook::open(&file, seed)?;
    if let BookFound::PutAside(aside) = found {
        tell(format_args!(
            "{} is damaged and was moved to {}; peers are found again from those that --peer names",
            file.display(),
            aside.display()
        ));
    }
    let over_quic = |peer: &NamedPeer| if let NamedPeer::Quic(peer) = peer { Some(peer.clone()) } else { None };
    let settings = DiscoverySettings {
        bootstrap: args.named.iter().filter_map(over_quic).collect(),
        file: Some(file),
        port: args.advertise,
        min_peers,
        ..DiscoverySettings::default()
    };
    Ok(Discovery::new(book, settings))
}

/// Keeps connections to the peers of `chain` that were named as listening over TCP.
pub(crate) fn keep_tcp(network: &QuicNetwork, args: &PeerArgs, chain: Hash) {
    for peer in &args.named {
        if let NamedPeer::Tcp(name) = peer {
            network.keep_tcp(name.clone(), chain);
        }
    }
}

/// Keeps connections to the peers that `discovery` finds while `work` goes on, until it ends or `stop` does. Then the
/// address book is saved, and peers are told that this node is gone.
pub(crate) async fn beside_peers(
    stop: &mut Stop,
    work: impl Future<Output = ()>,
    discovery: &Discovery,
    network: &Arc<dyn Network>,
    mut events: mpsc::Receiver<NetworkEvent>,
    config: &SyncConfig,
) {
    let mut finding = discovery.start(network, config, Vec::new(), tell);
    tokio::select! {
        _ = stop.asked() => {}
        () = work => {}
        // A connection that came or went is a reason to look for others.
        () = async {
            while events.recv().await.is_some() {
                discovery.wake();
            }
        } => {}
    }
    finding.stop().await;
    network.close().await;
}
