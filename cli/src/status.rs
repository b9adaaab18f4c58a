//! `status`: what a running node says of itself, asked where it shows its figures.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::args::Json;
use crate::error::CliError;
use crate::report::{conclude, say};
use crate::tip::words;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest answer that is read, in bytes: the figures of a node with all peers take some 50 KiB.
const MAX_ANSWER: u64 = 4 << 20;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Where the node shows its figures, as its `--metrics` says
    #[arg(value_name = "HOST:PORT")]
    address: String,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Report of `status`. A figure that the node doesn't have is left out.
#[derive(Debug, Default, Serialize)]
struct StatusReport {
    /// Whether the node serves, or has caught up with a fresh tip and has peers.
    ready: bool,
    height: Option<u64>,
    target_height: Option<u64>,
    peers: Option<u64>,
    /// Seconds.
    tip_age_seconds: Option<f64>,
    /// Seconds that are left, where there is an estimate.
    eta_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    cpu_seconds: Option<f64>,
    version: Option<String>,
}

/// Asks a node, and fails where it is not ready.
pub(crate) fn run(args: &StatusArgs) -> Result<(), CliError> {
    let failed = |source| CliError::NoStatus { address: args.address.clone(), source };
    let figures = get(&args.address, "/metrics").map_err(failed)?;
    let readiness = get(&args.address, "/readyz").map_err(failed)?;
    let ready = readiness.status == 200;
    let report = report(&figures.body, ready);
    let json = args.json.path.as_deref();
    say(json, format_args!("{}", report.describe()));
    let result = if ready { Ok(()) } else { Err(CliError::NotReady(readiness.body.trim().to_owned())) };
    conclude(&report, json, result)
}

struct Page {
    status: u16,
    body: String,
}

fn get(address: &str, path: &str) -> io::Result<Page> {
    let foreign = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut last = foreign("no such address");
    for at in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&at, PATIENCE) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
                let mut answer = Vec::new();
                stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
                let answer = String::from_utf8(answer).map_err(|_| foreign("the answer is no text"))?;
                let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| foreign("the answer is not HTTP"))?;
                let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
                let status = status.ok_or_else(|| foreign("the answer is not HTTP"))?;
                return Ok(Page { status, body: body.to_owned() });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The report of a node's figures.
fn report(figures: &str, ready: bool) -> StatusReport {
    let value = |name: &str| -> Option<f64> {
        let rest = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        rest?.parse().ok().filter(|value: &f64| value.is_finite())
    };
    let count = |name: &str| value(name).map(|value| value as u64);
    let version = figures.lines().find_map(|line| line.strip_prefix("hs2_sync_build_info{version=\""));
    StatusReport {
        ready,
        height: count("hs2_sync_height"),
        target_height: count("hs2_sync_target_height"),
        peers: count("hs2_sync_peers_connected"),
        tip_age_seconds: value("hs2_sync_tip_age_seconds"),
        eta_seconds: value("hs2_sync_eta_seconds{bound=\"likely\"}"),
        resident_bytes: count("process_resident_memory_bytes"),
        cpu_seconds: value("process_cpu_seconds_total"),
        version: version.and_then(|rest| rest.split('"').next()).map(str::to_owned),
    }
}

impl StatusReport {
    fn describe(&self) -> String {
        let number = |value: Option<u64>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        let age = self.tip_age_seconds.map(|age| words(Duration::from_secs_f64(age.max(0.0))));
        let left = self.eta_seconds.map(|left| format!(", {} left", words(Duration::from_secs_f64(left.max(0.0)))));
        format!(
            "height {} of {}{}\nage of the tip: {}\n{} peers\n{} MiB of memory, {:.1} CPU seconds, version {}",
            number(self.height),
            number(self.target_height),
            left.unwrap_or_default(),
            age.as_deref().unwrap_or("unknown"),
            number(self.peers),
            number(self.resident_bytes.map(|bytes| bytes >> 20)),
            self.cpu_seconds.unwrap_or_default(),
            self.version.as_deref().unwrap_or("unknown"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_by_their_whole_names() {
        let text = "hs2_sync_height_of_another 9\nhs2_sync_height 7\nhs2_sync_tip_age_seconds NaN\n\
                    hs2_sync_build_info{version=\"1.2.3\"} 1\nhs2_sync_eta_seconds{bound=\"likely\"} 90.5\n";
        let report = report(text, true);
        assert_eq!((report.height, report.target_height, report.tip_age_seconds), (Some(7), None, None));
        assert_eq!((report.version.as_deref(), report.eta_seconds), (Some("1.2.3"), Some(90.5)));
        let said = report.describe();
        assert!(said.starts_with("height 7 of unknown, 90 s left\n"), "{said}");
    }
}
