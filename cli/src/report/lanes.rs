//! [`Lanes`]: a line for each peer below the bar of a sync: what it brought, how fast, and why it is banned.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use console::style;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::machine::{PeerReport, Progress};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::demo_args::PeerName;
use crate::screen;

/// Most peers that have a lane: those that come first.
const MOST: usize = 8;
/// Time over which a rate is taken.
const RATE_OVER: Duration = Duration::from_millis(500);
/// Digits of a peer's id at the head of its lane.
const ID_DIGITS: usize = 10;

/// The lanes of a sync; none where standard error is no terminal.
pub(crate) struct Lanes {
    names: BTreeMap<PeerId, String>,
    lanes: BTreeMap<PeerId, Lane>,
}

struct Lane {
    bar: ProgressBar,
    /// Bytes that had come at the last measurement of the rate, and when that was.
    measured: (u64, Instant),
    bytes_per_second: f64,
}

impl Lanes {
    /// Lanes that call peers by `names` beside their ids.
    pub(crate) fn new(names: &[PeerName]) -> Self {
        let names = names.iter().map(|name| (name.peer, name.words.clone())).collect();
        Self { names, lanes: BTreeMap::new() }
    }

    /// Whether peers have names, as in a demo, which shows their lanes at the tip too.
    pub(crate) fn are_named(&self) -> bool {
        !self.names.is_empty()
    }

    /// Shows how the peers are now.
    pub(crate) fn show(&mut self, progress: &Progress) {
        if !screen::has_bars() {
            return;
        }
        for peer in &progress.peers {
            if self.lanes.len() < MOST && (peer.connected || peer.banned.is_some()) {
                self.lanes.entry(peer.id).or_insert_with(|| Lane::of(peer.id));
            }
            if let Some(lane) = self.lanes.get_mut(&peer.id) {
                let name = self.names.get(&peer.id).map_or("", String::as_str);
                lane.show(peer, name, progress.target.above(progress.start));
            }
        }
    }

    /// Leaves the lanes on the screen as they were at the end.
    pub(crate) fn finish(&mut self, last: &Progress) {
        self.show(last);
        std::mem::take(&mut self.lanes).values().for_each(|lane| lane.bar.abandon());
    }

    /// Takes the lanes from the screen.
    pub(crate) fn clear(&mut self) {
        std::mem::take(&mut self.lanes).values().for_each(|lane| lane.bar.finish_and_clear());
    }
}

impl Lane {
    fn of(peer: PeerId) -> Self {
        let id = peer.to_string();
        let bar = ProgressBar::new(0).with_style(bar_style("cyan"));
        let bar = screen::add(bar.with_prefix(id.get(..ID_DIGITS).unwrap_or(&id).to_owned()));
        Self { bar, measured: (0, Instant::now()), bytes_per_second: 0.0 }
    }

    fn show(&mut self, peer: &PeerReport, name: &str, whole: u64) {
        let (before, at) = self.measured;
        let took = at.elapsed();
        if took >= RATE_OVER {
            self.bytes_per_second = peer.bytes.saturating_sub(before) as f64 / took.as_secs_f64();
            self.measured = (peer.bytes, Instant::now());
        }
        let words = describe(peer, name, self.bytes_per_second);
        self.bar.set_length(whole.max(1));
        self.bar.set_position(peer.blocks);
        if peer.banned.is_some() {
            self.bar.set_style(bar_style("red"));
            self.bar.set_message(style(words).for_stderr().red().bold().to_string());
        } else {
            self.bar.set_message(words);
        }
    }
}

fn bar_style(colour: &str) -> ProgressStyle {
    ProgressStyle::with_template(&format!("{{prefix:>10.dim}} [{{bar:20.{colour}}}] {{wide_msg}}"))
        .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "))
}

fn describe(peer: &PeerReport, name: &str, bytes_per_second: f64) -> String {
    let what = match peer.banned {
        Some(fault) => format!("BANNED: {fault}"),
        None if !peer.connected => "not connected".to_owned(),
        None => {
            let rate = match bytes_per_second {
                ..1e3 if peer.in_flight > 0 => format!("  {} answers awaited", peer.in_flight),
                ..1e3 => String::new(),
                1e3..1e6 => format!("  {:.0} KB/s", bytes_per_second / 1e3),
                _ => format!("  {:.1} MB/s", bytes_per_second / 1e6),
            };
            format!("{} blocks  {:.1} MB{rate}", HumanCount(peer.blocks), peer.bytes as f64 / 1e6)
        }
    };
    if name.is_empty() { what } else { format!("{name:<6}  {what}") }
}

#[cfg(test)]
mod tests {
    use hotstuff2_sync::chain::Fault;
    use hotstuff2_sync::peers::PeerHealth;

    use super::*;

    #[test]
    fn a_lane_says_what_a_peer_brought_and_why_it_is_banned() {
        let mut peer = PeerReport {
            id: PeerId::from_bytes([1; 32]),
            group: 0,
            connected: true,
            active: true,
            in_flight: 0,
            bytes_per_second: None,
            latency: Duration::ZERO,
            reliability_ppm: 0,
            health: PeerHealth::Healthy,
            blocks: 12_345,
            bytes: 12_500_000,
            false_answers: 0,
            unanswered: 0,
            banned: None,
        };
        assert_eq!(describe(&peer, "slow", 256e3), "slow    12,345 blocks  12.5 MB  256 KB/s");
        assert_eq!(describe(&peer, "", 3.21e6), "12,345 blocks  12.5 MB  3.2 MB/s");
        assert_eq!(describe(&peer, "", 0.0), "12,345 blocks  12.5 MB");
        peer.in_flight = 2;
        assert_eq!(describe(&peer, "", 0.0), "12,345 blocks  12.5 MB  2 answers awaited");
        peer.connected = false;
        assert_eq!(describe(&peer, "honest", 0.0), "honest  not connected");
        peer.banned = Some(Fault::BadCertificate);
        assert_eq!(describe(&peer, "liar", 9.0), format!("liar    BANNED: {}", Fault::BadCertificate));
    }
}
