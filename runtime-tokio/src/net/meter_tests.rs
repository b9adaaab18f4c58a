use std::future::poll_fn;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

#[test]
fn an_account_holds_what_is_ahead_and_no_more() {
    let mut account = Account { left: AHEAD, spent: 0, worth: 0 };
    account.settle(AHEAD, 0).unwrap();
    account.settle(AHEAD + 1000, 1000).unwrap();
    assert_eq!(account.settle(AHEAD + 1300, 1000), Err(300));
    // Earned a hundred times over, and saved up to that much.
    let mut account = Account { left: AHEAD, spent: 0, worth: 0 };
    account.settle(10, 100 * AHEAD).unwrap();
    account.settle(10 + AHEAD, 100 * AHEAD).unwrap();
    assert_eq!(account.settle(20 + AHEAD, 100 * AHEAD), Err(10));
}

#[test]
fn datagrams_and_bytes_of_both_directions_are_worth_something() {
    let mut stats = ConnectionStats::default();
    assert_eq!(worth(&stats), 0);
    (stats.udp_rx.datagrams, stats.udp_tx.datagrams) = (2, 3);
    (stats.udp_rx.bytes, stats.udp_tx.bytes) = (3 << 10, 4 << 10);
    assert_eq!(worth(&stats), 5 * DATAGRAM_WORK + 7 * KIB_WORK);
}

/// A task that takes all that there is, as a connection's does, and says how much it got each time.
fn greedy(mut items: mpsc::UnboundedReceiver<()>, got: mpsc::UnboundedSender<usize>) -> impl Future<Output = ()> {
    poll_fn(move |cx| {
        let mut count = 0;
        loop {
            match items.poll_recv(cx) {
                Poll::Ready(Some(())) => count += 1,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {
                    let _ = got.send(count);
                    return Poll::Pending;
                }
            }
        }
    })
}

#[tokio::test]
async fn a_task_gets_a_few_datagrams_at_a_time_and_all_in_the_end() {
    let senders = Arc::<LargeSenders>::default();
    for large in [None, senders.add("127.0.0.1:1".parse().unwrap())] {
        let (meter, (send, items), (got, mut each)) =
            (Meter::new(large), mpsc::unbounded_channel(), mpsc::unbounded_channel());
        for _ in 0..1000 {
            send.send(()).unwrap();
        }
        let runtime = MeteredRuntime { senders: Arc::default() };
        meter.count(|| runtime.spawn(Box::pin(greedy(items, got))));
        let mut all = 0;
        while all < 1000 {
            let got = timeout(Duration::from_secs(20), each.recv()).await.unwrap().unwrap();
            assert!(got <= meter.at_once(), "{got}");
            all += got;
        }
        // The meter ends with what feeds it.
        drop(send);
        while timeout(Duration::from_secs(20), each.recv()).await.unwrap().is_some() {}
    }
}

#[tokio::test]
async fn only_the_connection_that_is_opened_is_metered() {
    let (meter, runtime) = (Meter::new(None), MeteredRuntime { senders: Arc::default() });
    meter.count(|| ());
    let (send, items) = mpsc::unbounded_channel();
    let (got, mut each) = mpsc::unbounded_channel();
    for _ in 0..100 {
        send.send(()).unwrap();
    }
    runtime.spawn(Box::pin(greedy(items, got)));
    assert!(each.recv().await.unwrap() > meter.at_once());
}

#[tokio::test]
async fn cpu_time_of_a_task_is_counted_and_told() {
    let (meter, runtime) = (Meter::new(None), MeteredRuntime { senders: Arc::default() });
    meter.count(|| {
        runtime.spawn(Box::pin(async {
            let begin = thread_cpu();
            while thread_cpu() < begin + AHEAD + 1000 {}
        }));
    });
    let spent = timeout(Duration::from_secs(20), meter.handshake_overspent()).await.unwrap();
    assert!(spent > AHEAD, "{spent}");
}

#[test]
fn the_documents_say_what_the_constants_are() {
    let page = include_str!("../../../docs/design.md");
    let paid = format!("{DATAGRAM_WORK} µs a datagram and {KIB_WORK} µs a KiB");
    for words in [paid, format!("{} ms\nahead", AHEAD / 1000), format!("up to {AT_ONCE}\ndatagrams under its lock")] {
        assert!(page.contains(&words), "docs/design.md doesn't say: {words}");
    }
}
