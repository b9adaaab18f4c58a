//! Lines, links and their faults.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn millis(at: Instant) -> u64 {
    at.as_micros() / 1000
}

fn drain(net: &mut VirtualNetwork<u32, ()>) -> Vec<(u64, u32)> {
    let mut got = Vec::new();
    while let Some(happening) = net.poll(Instant::from_micros(u64::MAX)) {
        if let Happening::Message { message, .. } = happening {
            got.push((millis(net.now()), message));
        }
    }
    got
}

#[test]
fn a_line_is_shared_by_what_is_sent_at_once() {
    let mut net = VirtualNetwork::new(1, Link::with_latency(10 * MS));
    let server = net.add_node(Line { up: 1_000_000, down: u64::MAX });
    let near = net.add_node(Line::UNLIMITED);
    let far = net.add_node(Line { up: u64::MAX, down: 100_000 });
    net.stream(server, near, 1_000_000, 1);
    net.stream(server, far, 10_000, 2);
    net.stream(server, near, 10_000, 3);
    // The small ones wait for two chunks of the large one, and not for all of it; the receiver's line counts too.
    assert_eq!(drain(&mut net), [(161, 3), (251, 2), (1030, 1)]);
}

#[test]
fn a_partition_holds_streams_and_loses_datagrams() {
    let mut net = VirtualNetwork::new(1, Link::with_latency(MS));
    let (one, other) = (net.add_node(Line::UNLIMITED), net.add_node(Line::UNLIMITED));
    net.set_side(other, 1);
    net.send(one, other, 100, 1);
    let given_up = net.stream(one, other, 100, 2);
    net.stream(one, other, 100, 3);
    net.cancel(given_up);
    assert_eq!(drain(&mut net), []);
    net.heal();
    assert_eq!(drain(&mut net), [(1, 3)]);
}

#[test]
fn faults_happen_about_as_often_as_they_should() {
    let faults = Link {
        loss_ppm: 100_000,
        duplicate_ppm: 100_000,
        reorder_ppm: 100_000,
        reorder_by: 50 * MS,
        ..Link::with_latency(MS)
    };
    let run = |seed| {
        let mut net = VirtualNetwork::new(seed, faults);
        let (one, other) = (net.add_node(Line::symmetric(1_000_000)), net.add_node(Line::UNLIMITED));
        for number in 0..1000 {
            net.send(one, other, 100, number);
        }
        drain(&mut net)
    };
    let got = run(1);
    let mut numbers: Vec<u32> = got.iter().map(|&(_, number)| number).collect();
    assert!(numbers.windows(2).filter(|pair| pair[0] > pair[1]).count() > 50, "some are overtaken");
    let came = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert!((850..950).contains(&numbers.len()), "{} of 1000 came", numbers.len());
    assert!((50..150).contains(&(came - numbers.len())), "{} came twice", came - numbers.len());
    assert_eq!(got, run(1));
    assert_ne!(got, run(2));
}
