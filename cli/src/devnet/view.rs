//! [`View`]: a line for each node on the terminal, as it changes.

use console::style;
use indicatif::{ProgressBar, ProgressStyle};

use super::status::MemberStatus;
use crate::screen::{add, has_bars};

/// Lines of the nodes, or nothing where standard error is no terminal.
pub(super) struct View {
    lines: Vec<ProgressBar>,
}

impl View {
    pub(super) fn new(nodes: u64) -> Self {
        if !has_bars() {
            return Self { lines: Vec::new() };
        }
        let line = || {
            let bar = add(ProgressBar::new_spinner());
            bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        };
        let head = line();
        let words = "node  role       height   behind  view     epoch  block age  peers  state";
        head.set_message(style(words).dim().to_string());
        Self { lines: std::iter::once(head).chain((0..nodes).map(|_| line())).collect() }
    }

    /// Shows a node: how it is, or that it doesn't run, and the highest block of all.
    pub(super) fn show(&self, node: usize, status: Option<&MemberStatus>, runs: bool, highest: u64) {
        let Some(line) = self.lines.get(node + 1) else { return };
        line.set_message(line_of(node, status, runs, highest));
    }

    pub(super) fn clear(&self) {
        self.lines.iter().for_each(ProgressBar::finish_and_clear);
    }
}

fn line_of(node: usize, status: Option<&MemberStatus>, runs: bool, highest: u64) -> String {
    let Some(status) = status.filter(|_| runs) else {
        let words = if runs { "starts" } else { "is not there" };
        return format!("{node:>4}  {}", style(words).red());
    };
    let MemberStatus { height, view, epoch, peers, .. } = status;
    let role = if status.validator { "validator" } else { "observer" };
    let behind = highest.saturating_sub(*height);
    let age = status.tip_age_ms.map_or_else(|| "-".to_owned(), |age| format!("{:.1} s", age as f64 / 1000.0));
    let state = match status {
        MemberStatus { failed: Some(reason), .. } => style(reason.clone()).red().bold(),
        MemberStatus { validator: true, votes: true, .. } => style("votes".to_owned()).green(),
        MemberStatus { validator: true, .. } => style(status.waits_for.clone()).yellow(),
        _ if behind > 8 => style(format!("catches up ({})", status.strategy)).yellow(),
        _ => style("follows".to_owned()).cyan(),
    };
    format!("{node:>4}  {role:<9}  {height:<7}  {behind:<6}  {view:<7}  {epoch:<5}  {age:<9}  {peers:<5}  {state}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(status: Option<&MemberStatus>, runs: bool) -> String {
        console::strip_ansi_codes(&line_of(2, status, runs, 120)).into_owned()
    }

    #[test]
    fn a_line_says_what_a_node_does() {
        let status = MemberStatus { height: 100, validator: true, votes: true, view: 130, ..MemberStatus::default() };
        assert!(plain(Some(&status), true).ends_with("votes"));
        let waits = MemberStatus { votes: false, waits_for: "its votes are lost".to_owned(), ..status.clone() };
        assert!(plain(Some(&waits), true).ends_with("its votes are lost"));
        let observer = MemberStatus { validator: false, strategy: "fast".to_owned(), ..status.clone() };
        assert!(plain(Some(&observer), true).ends_with("catches up (fast)"));
        assert!(plain(Some(&status), false).contains("is not there") && plain(None, true).contains("starts"));
    }
}
