//! Options by which `demo` directs the processes that it starts.

use std::str::FromStr;

use clap::Args;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::machine::Progress;

/// Name of a peer.
#[derive(Debug, Clone)]
pub(crate) struct PeerName {
    pub(crate) peer: PeerId,
    pub(crate) words: String,
}

impl FromStr for PeerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (peer, words) = text.split_once('=').ok_or("a name is PEERID=NAME")?;
        let peer = peer.parse().map_err(|error| format!("{peer}: {error}"))?;
        Ok(Self { peer, words: words.to_owned() })
    }
}

/// Growth of a chain that `gen` has made.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct GrowArgs {
    /// Blocks to add to the chain while it is served, two a second
    #[arg(long, value_name = "N", default_value_t = 0, hide = true)]
    pub(crate) grow: u64,
    /// Time from which on they are added, in milliseconds since 1970
    #[arg(long, value_name = "MILLIS", default_value_t = 0, hide = true)]
    pub(crate) grow_from: u64,
    /// Milliseconds by which each is added before its time
    #[arg(long, value_name = "MILLIS", default_value_t = 0, hide = true)]
    pub(crate) grow_ahead_ms: u64,
}

/// End of following.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Until {
    /// The height from which on it may end.
    pub(crate) height: u64,
    /// How many peers must be banned before.
    pub(crate) bans: usize,
    /// The height at which it ends even without that.
    pub(crate) latest: u64,
}

impl Until {
    /// Whether a follower that is so far has come to its end.
    pub(crate) fn is_over(&self, progress: &Progress) -> bool {
        let banned = progress.peers.iter().filter(|peer| peer.banned.is_some()).count();
        let height = progress.current.get();
        height >= self.latest || (height >= self.height && banned >= self.bans)
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = text.split('/').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([height, bans, latest]) => {
                let bans = usize::try_from(*bans).map_err(|error| error.to_string())?;
                Ok(Self { height: *height, bans, latest: *latest })
            }
            _ => Err("an end is HEIGHT/BANS/LATEST, three numbers".to_owned()),
        }
    }
}

impl std::fmt::Display for Until {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.height, self.bans, self.latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_read_as_it_is_written() {
        let until = Until { height: 3020, bans: 1, latest: 3140 };
        assert_eq!(until.to_string().parse(), Ok(until));
        assert!("3020/1".parse::<Until>().is_err() && "a/b/c".parse::<Until>().is_err());
    }
}
