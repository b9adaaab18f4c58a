//! `--metrics`: figures of a running sync and of a running server, scraped as Prometheus does it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::{Answer, Refusal, Request};
use hotstuff2_sync_tokio::net::{Identity, Network as _, QuicLimits, QuicNetwork};

use crate::common::{Server, World, copy, hs2_sync, interrupt, strs, wait_until};

/// A process that shows metrics, where, and the first line of its output. Dropped, it is killed.
pub(crate) struct Shown {
    process: Child,
    pub(crate) address: String,
}

impl Shown {
    /// Stops it as its operator does.
    pub(crate) fn stop(&mut self) {
        interrupt(&self.process);
        self.process.wait().unwrap();
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a command that says on standard error where its metrics are.
pub(crate) fn shown(arguments: &[&str]) -> Shown {
    let mut process = hs2_sync(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = lines.by_ref().find_map(|line| {
        let line = line.unwrap();
        let address = line.strip_prefix("metrics at http://")?.strip_suffix("/metrics")?;
        Some(address.to_owned())
    });
    // What else it says is read, or it would wait for that.
    std::thread::spawn(move || lines.for_each(drop));
    Shown { process, address: address.unwrap() }
}

/// Where a server listens, and its key, by its report on standard output.
fn listening(server: &mut Shown) -> (String, String) {
    let mut line = String::new();
    BufReader::new(server.process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let report: serde_json::Value = serde_json::from_str(&line).unwrap();
    let text = |name: &str| report[name].as_str().unwrap().to_owned();
    (text("address"), text("peer_id"))
}

/// What is said of one family of figures, and its samples: each with its labels, and its value.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    kind: String,
    help: String,
    samples: Vec<(String, f64)>,
}

/// All figures of one scrape, by family.
pub(crate) type Scrape = BTreeMap<String, Figures>;

/// The ends of the names of a family's samples, by its kind, as OpenMetrics 1.0 has them.
fn ends(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "info" => &["_info"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        other => panic!("no kind of ours: {other}"),
    }
}

/// The figures at `address` as text, in the format that `accept` asks for.
pub(crate) fn page(address: &str, accept: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: test\r\n{accept}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    body.to_owned()
}

/// Scrapes `address`. Panics where a line is not what the format says.
pub(crate) fn scrape(address: &str) -> Scrape {
    let body = page(address, "Accept: application/openmetrics-text\r\n");
    let body = body.strip_suffix("# EOF\n").expect("it has an end");
    let mut scrape = Scrape::new();
    let mut family = String::new();
    for line in body.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        if let ["#", what, name, rest] = words[..] {
            assert!(name.starts_with("hs2_sync_") || name.starts_with("process_"), "{line}");
            // A family's lines stand together, with what is said of it before its samples.
            assert!(name == family || !scrape.contains_key(name), "{line}");
            family = name.to_owned();
            let figures = scrape.entry(family.clone()).or_default();
            assert!(figures.samples.is_empty(), "{line}");
            let said = match what {
                "HELP" => &mut figures.help,
                "TYPE" => &mut figures.kind,
                "UNIT" => {
                    assert!(name.ends_with(&format!("_{rest}")), "{line}");
                    continue;
                }
                _ => panic!("{line}"),
            };
            assert!(said.is_empty() && !rest.is_empty(), "{line}");
            rest.clone_into(said);
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let figures = scrape.get_mut(&family).unwrap_or_else(|| panic!("{line} belongs to nothing"));
        let bare = name.split('{').next().unwrap();
        assert!(ends(&figures.kind).iter().any(|end| *bare == format!("{family}{end}")), "{line} in {family}");
        assert!(figures.kind == "gauge" || value >= 0.0, "{line}");
        figures.samples.push((name.to_owned(), value));
    }
    for (name, figures) in &scrape {
        assert!(!figures.kind.is_empty() && !figures.help.is_empty(), "{name}: {figures:?}");
    }
    scrape
}

/// The sum of the samples of `family` whose name starts so. A family without samples is not shown.
pub(crate) fn sum(scrape: &Scrape, family: &str, start: &str) -> f64 {
    let Some(figures) = scrape.get(family) else { return 0.0 };
    figures.samples.iter().filter(|(name, _)| name.starts_with(start)).map(|(_, value)| value).sum()
}

pub(crate) fn value(scrape: &Scrape, family: &str) -> f64 {
    sum(scrape, family, family)
}

/// Counts of requests that were answered with data, by a server.
fn served(scrape: &Scrape, kind: &str) -> f64 {
    let start = format!("hs2_sync_served_requests_total{{kind=\"{kind}\",outcome=\"data\"}}");
    sum(scrape, "hs2_sync_served_requests", &start)
}

#[test]
fn a_sync_shows_what_it_does_while_it_does_it() {
    let world = World::new(&["--blocks", "6000", "--payload-bytes", "400"]);
    // So slow that there is time to look.
    copy(&world.path("chain"), &world.path("slow"));
    let slow = [Server::start_with(&world.path("slow"), "127.0.0.1:0", &["--rate", "800000"])];
    let sync = world.sync("late", &slow, &["--follow", "--metrics", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    let sync = shown(&strs(&sync));
    let height = |scrape: &Scrape| value(scrape, "hs2_sync_height");
    let mut first = scrape(&sync.address);
    wait_until(|| {
        first = scrape(&sync.address);
        height(&first) > 0.0
    });
    assert!(height(&first) < 6000.0, "in the middle of it");
    assert_eq!(value(&first, "hs2_sync_target_height"), 6000.0);
    assert_eq!(value(&first, "hs2_sync_peers_connected"), 1.0);
    assert!(value(&first, "hs2_sync_buffered_bytes") > 0.0, "{first:?}");
    let mut last = scrape(&sync.address);
    wait_until(|| {
        let next = scrape(&sync.address);
        for family in ["hs2_sync_height", "hs2_sync_received_bytes", "hs2_sync_quorum_checks"] {
            assert!(value(&next, family) >= value(&last, family), "{family} went back");
        }
        last = next;
        height(&last) >= 6000.0
    });
    let label = format!("{{peer=\"{}\"}}", &slow[0].peer.split('/').nth(1).unwrap()[..12]);
    let received = |scrape| sum(scrape, "hs2_sync_received_bytes", &format!("hs2_sync_received_bytes_total{label}"));
    assert!(received(&last) > received(&first) && received(&last) > 6000.0 * 400.0, "{last:?}");
    for stage in ["download", "validation", "application"] {
        let count = |scrape| {
            let name = format!("hs2_sync_stage_seconds_count{{stage=\"{stage}\"}}");
            sum(scrape, "hs2_sync_stage_seconds", &name)
        };
        assert!(count(&last) > count(&first), "{stage}: {first:?} {last:?}");
    }
    assert!(sum(&last, "hs2_sync_latency_seconds", &format!("hs2_sync_latency_seconds_count{label}")) >= 1.0);
    assert_eq!(value(&last, "hs2_sync_bottleneck"), 1.0, "one of the classes");
}

#[test]
fn a_server_shows_what_it_serves() {
    let world = World::new(&["--blocks", "3000", "--payload-bytes", "400"]);
    let serve = ["serve", "--dir", &world.text("chain"), "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    let mut server = shown(&[&serve[..], &["--json", "-"]].concat());
    let before = scrape(&server.address);
    assert_eq!(value(&before, "hs2_sync_served_requests"), 0.0);
    let (address, id) = listening(&mut server);
    let server_peer = format!("{address}/{id}");
    let arguments = ["sync", "--genesis", &world.genesis(), "--dir", &world.text("late"), "--peer", &server_peer];
    assert!(hs2_sync(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let after = scrape(&server.address);
    assert!(served(&after, "status") >= 1.0, "{after:?}");
    assert!(served(&after, "segment") >= 3.0, "three cells: {after:?}");
    // Blocks come with their headers or apart.
    let bytes_of = |kind: &str| {
        let start = format!("hs2_sync_served_bytes_total{{kind=\"{kind}\"}}");
        sum(&after, "hs2_sync_served_bytes", &start)
    };
    let bytes = bytes_of("segment") + bytes_of("bodies");
    assert!(bytes > 3000.0 * 400.0, "{after:?}");
    let answers = sum(&after, "hs2_sync_serving_seconds", "hs2_sync_serving_seconds_count");
    assert!(answers >= 4.0 && answers <= value(&after, "hs2_sync_served_requests"), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_turned_away_is_counted() {
    let world = World::new(&["--blocks", "1000", "--payload-bytes", "400"]);
    // A hundredth of a core, of which a peer gets half.
    let serve = ["serve", "--dir", &world.text("chain"), "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    let mut server = shown(&[&serve[..], &["--serve-cpu", "1", "--json", "-"]].concat());
    let (address, _) = listening(&mut server);
    let any = "127.0.0.1:0".parse().unwrap();
    let (network, _events) =
        QuicNetwork::bind(any, Identity::generate().unwrap(), QuicLimits::default(), None).unwrap();
    let peer = network.connect(address.parse().unwrap(), None).await.unwrap();
    let range = HeightRange::new(Height::new(1), Height::new(1000)).unwrap();
    let request = Request::Bodies { range, max_bytes: 1 << 20 };
    let limit = request.max_response_bytes() as usize;
    let answers: Vec<_> =
        (0..100).map(|_| tokio::spawn(network.request(peer, request.encode().into(), limit))).collect();
    let mut busy = 0;
    for answer in answers {
        let answer = Answer::decode(answer.await.unwrap().unwrap()).unwrap();
        busy += u32::from(matches!(answer, Answer::Refused(Refusal::Busy { .. })));
    }
    // A request like these may cost some two milliseconds: a few are let in at once, not as many as come.
    assert!(busy >= 50, "{busy}");
    let counted = "hs2_sync_served_requests_total{kind=\"any\",outcome=\"busy\"}";
    let counted = sum(&scrape(&server.address), "hs2_sync_served_requests", counted);
    assert_eq!(counted, f64::from(busy));
}
