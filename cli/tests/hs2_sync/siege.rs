//! A short form of the siege: what a server gives to attackers, and that an honest node gets through.

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotstuff2_sync_testkit::pieces::PieceMaker;

use crate::common::{World, hs2_sync, report, strs, terminate};

/// Fifty attackers, each with 64 requests at a time for what costs most.
#[test]
fn attackers_get_no_more_than_configured_and_an_honest_node_gets_through() {
    let siege = ["bench", "siege", "--connections", "50", "--seconds", "1", "--blocks", "2000", "--runs", "1"];
    // Each sync of it must reach the tip, or this fails.
    let report = report(&siege);
    let number =
        |path: &str| report.pointer(path).and_then(serde_json::Value::as_f64).unwrap_or_else(|| panic!("{path}"));
    assert_eq!(number("/connections"), 50.0);
    // They ask for more than they get, whether they are told so or wait for their turn.
    let answers = number("/attackers/answers");
    assert!(answers > 0.0 && number("/attackers/requests") > answers, "{report}");
    // What comes back in the time, and what a full allowance holds.
    let most = |rate: f64| rate * (number("/server/seconds") + 1.0);
    assert!(number("/server/served/work") <= most(number("/work_per_second")), "{report}");
    assert!(number("/server/served/bytes") <= most(number("/bytes_per_second")), "{report}");
    assert!(number("/peak_rss_bytes") <= number("/memory_bound_bytes"), "{report}");
    assert!(number("/server/cache/hits") > 0.0, "{report}");
    // Some hundred and a thousand times as much, if their cost were the square of their bytes.
    assert!(number("/pieces/large_micros") < 10_000.0 && number("/pieces/frame_micros") < 500.0, "{report}");
    assert!(number("/pieces/answer_seconds") < 10.0 && number("/pieces/stop_seconds") < 6.0, "{report}");
}

/// Throws datagrams of one-byte pieces from `socket` to `to`, until `stop` says so.
fn flood(socket: &UdpSocket, to: SocketAddr, datagrams: &[Vec<u8>], stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        for datagram in datagrams {
            // A process that is gone takes none.
            let _ = socket.send_to(datagram, to);
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// How long `process` takes to end when it is asked to.
fn time_to_stop(process: &mut Child) -> Duration {
    let begin = Instant::now();
    terminate(process);
    process.wait().unwrap();
    begin.elapsed()
}

/// What a node has for its end, and what a loaded machine may add to it.
const IN_TIME: Duration = Duration::from_secs(6);

#[test]
fn a_node_ends_in_time_whatever_peers_throw_at_it() {
    let world = World::new(&["--blocks", "100"]);
    // A server, under large datagrams of connections without end and frames of one.
    let mut server = world.server("server");
    let address: SocketAddr = server.address.parse().unwrap();
    let mut maker = PieceMaker::client(1000).unwrap();
    let mut datagrams = maker.gaps(1472).unwrap();
    datagrams.extend((0..1000).map(|_| maker.repeated(1472).unwrap()));
    datagrams.extend((0..100).map(|id| PieceMaker::client(id).unwrap().whole(60_000).unwrap()));
    let (socket, stop) = (UdpSocket::bind("127.0.0.1:0").unwrap(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| flood(&socket, address, &datagrams, &stop));
        std::thread::sleep(Duration::from_secs(1));
        let took = time_to_stop(server.process());
        stop.store(true, Ordering::Relaxed);
        assert!(took < IN_TIME, "{took:?}");
    });

    // A node that dials a liar on this machine, and takes large datagrams from it.
    let liar = UdpSocket::bind("127.0.0.1:0").unwrap();
    let there = liar.local_addr().unwrap().to_string();
    let arguments = world.sync("late", &[], &["--peer", &there, "--patience", "3600"]);
    let mut sync = hs2_sync(&strs(&arguments)).stderr(Stdio::null()).spawn().unwrap();
    let mut first = vec![0; 65_536];
    let (len, client) = liar.recv_from(&mut first).unwrap();
    let mut maker = PieceMaker::server(&first[..len]).unwrap();
    for _ in 0..60 {
        liar.send_to(&maker.whole(60_000).unwrap(), client).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = time_to_stop(&mut sync);
    assert!(took < IN_TIME, "{took:?}");
}
