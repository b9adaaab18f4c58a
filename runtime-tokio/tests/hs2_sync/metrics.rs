//! `--metrics`: figures of a running sync and of a running server, scraped as Prometheus does it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use crate::common::{World, copy, hs2_sync, strs, wait_until};

/// A process that shows metrics, and where. Dropped, it is killed.
struct Shown(Child, String);

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command that says on standard error where its metrics are.
fn shown(arguments: &[&str]) -> Shown {
    let mut process = hs2_sync(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = lines.by_ref().find_map(|line| {
        let line = line.unwrap();
        let address = line.strip_prefix("metrics at http://")?.strip_suffix("/metrics")?;
        Some(address.to_owned())
    });
    // What else it says is read, or it would wait for that.
    std::thread::spawn(move || lines.for_each(drop));
    Shown(process, address.unwrap())
}

/// The figures at `address`: each sample with its labels, and its value. Panics where a line is no such thing.
fn scrape(address: &str) -> Vec<(String, f64)> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    let samples = body.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(name.starts_with("hs2_sync_"), "{line}");
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

/// The sum of the samples whose name starts so.
fn sum(samples: &[(String, f64)], start: &str) -> f64 {
    samples.iter().filter(|(name, _)| name.starts_with(start)).map(|(_, value)| value).sum()
}

#[test]
fn a_sync_and_a_server_show_what_they_do() {
    let world = World::new(&["--blocks", "3000", "--payload-bytes", "400"]);
    copy(&world.path("chain"), &world.path("metered"));
    let servers = [world.server("server")];
    // It follows after it has caught up, so that there is time to look.
    let sync = world.sync("late", &servers, &["--follow", "--metrics", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    let sync = shown(&strs(&sync));
    wait_until(|| scrape(&sync.1).iter().any(|(name, value)| name == "hs2_sync_height" && *value >= 3000.0));
    let samples = scrape(&sync.1);
    let label = format!("{{peer=\"{}\"}}", &servers[0].peer.split('/').nth(1).unwrap()[..12]);
    assert!(sum(&samples, &format!("hs2_sync_received_bytes_total{label}")) > 3000.0 * 400.0, "{samples:?}");
    for stage in ["download", "validation", "application"] {
        let name = format!("hs2_sync_stage_seconds_count{{stage=\"{stage}\"}}");
        assert!(sum(&samples, &name) >= 3.0, "{name} in {samples:?}");
    }
    assert!(sum(&samples, &format!("hs2_sync_latency_seconds_count{label}")) >= 1.0, "{samples:?}");
    assert_eq!(sum(&samples, "hs2_sync_target_height"), 3000.0);
    assert_eq!(sum(&samples, "hs2_sync_bottleneck"), 1.0, "one of the classes");

    let (dir, peer) = (world.text("metered"), "127.0.0.1:0");
    let server = shown(&["serve", "--dir", &dir, "--listen", peer, "--metrics", "127.0.0.1:0"]);
    assert_eq!(sum(&scrape(&server.1), "hs2_sync_served_requests"), 0.0);
}
