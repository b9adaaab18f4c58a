//! Which datagrams are taken at all: [`Sieve`] drops the rest before quinn sees them.
//!
//! A datagram of many small pieces costs quinn the square of its size: each piece counts for the memory of the whole
//! datagram, and what is too much by that count is sorted and copied again. 60,000 bytes take 0.7 s of CPU time so, and
//! nobody needs a key or an address of his own to send them. The square of what an Ethernet frame holds is small.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::address::canonical;
use super::limits::MAX_DATAGRAM_BYTES;

/// Addresses on this machine that may send datagrams beyond [`MAX_DATAGRAM_BYTES`]: those that this node has dialled, by
/// how many of its connections go there. One that connects to this node only asks, for which a frame is enough.
#[derive(Debug, Default)]
pub(super) struct LargeSenders {
    addresses: Mutex<BTreeMap<SocketAddr, usize>>,
}

/// Leave to send large datagrams, as long as this is not dropped.
#[derive(Debug)]
pub(super) struct LargeSender {
    senders: Arc<LargeSenders>,
    address: SocketAddr,
}

impl LargeSenders {
    /// Takes large datagrams from `address` from now on, if it is on this machine.
    pub(super) fn add(self: &Arc<Self>, address: SocketAddr) -> Option<LargeSender> {
        let address = canonical(address);
        if !is_here(address.ip()) {
            return None;
        }
        *self.lock().entry(address).or_default() += 1;
        Some(LargeSender { senders: Arc::clone(self), address })
    }

    /// Whether datagrams of `bytes` each are taken from `address`.
    fn takes(&self, address: SocketAddr, bytes: usize) -> bool {
        bytes <= usize::from(MAX_DATAGRAM_BYTES)
            || (is_here(address.ip()) && self.lock().contains_key(&canonical(address)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, usize>> {
        // The counts are whole at every point where a panic could poison them.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LargeSender {
    fn drop(&mut self) {
        let mut addresses = self.senders.lock();
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

/// Whether `ip` is an address of this machine that nobody elsewhere can use. The kernel drops such senders from a line.
pub(super) fn is_here(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// A socket that drops datagrams which are too large for their sender.
#[derive(Debug)]
pub(super) struct Sieve {
    socket: Arc<dyn AsyncUdpSocket>,
    senders: Arc<LargeSenders>,
}

impl Sieve {
    pub(super) fn new(socket: Arc<dyn AsyncUdpSocket>, senders: Arc<LargeSenders>) -> Self {
        Self { socket, senders }
    }
}

impl AsyncUdpSocket for Sieve {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.socket.poll_recv(cx, bufs, metas))?;
        for meta in metas.iter_mut().take(count) {
            // The kernel may hand over several of one sender in one piece, each of `stride` bytes but the last.
            if !self.senders.takes(meta.addr, meta.stride.min(meta.len)) {
                // Nothing is left of it to read.
                meta.len = 0;
            }
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn large_datagrams_are_taken_from_dialled_peers_on_this_machine_alone() {
        let senders = Arc::new(LargeSenders::default());
        let most = usize::from(MAX_DATAGRAM_BYTES);
        let (here, there) = (address("127.0.0.1:7000"), address("8.8.8.8:7000"));
        assert!(senders.takes(here, most) && senders.takes(there, most));
        assert!(!senders.takes(here, most + 1) && !senders.takes(there, most + 1));
        let leave = [senders.add(here), senders.add(here)];
        assert!(senders.add(there).is_none() && !senders.takes(there, most + 1), "dialled, and elsewhere");
        assert!(senders.takes(here, 65_000) && senders.takes(address("[::ffff:127.0.0.1]:7000"), 65_000));
        assert!(!senders.takes(address("127.0.0.1:7001"), 65_000), "another program");
        let [first, second] = leave;
        drop(first);
        assert!(senders.takes(here, 65_000), "another connection goes there");
        drop(second);
        assert!(!senders.takes(here, most + 1) && senders.lock().is_empty());
    }

    /// Hands out one batch: two datagrams in one piece, and one alone.
    #[derive(Debug)]
    struct Batch;

    impl AsyncUdpSocket for Batch {
        fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            #[derive(Debug)]
            struct Ready;
            impl UdpPoller for Ready {
                fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                    Poll::Ready(Ok(()))
                }
            }
            Box::pin(Ready)
        }

        fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [IoSliceMut<'_>],
            metas: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            for (meta, (len, stride)) in metas.iter_mut().zip([(3000, 1472), (2944, 1500), (1472, 1472)]) {
                *meta = RecvMeta { addr: address("8.8.8.8:1"), len, stride, ecn: None, dst_ip: None };
            }
            Poll::Ready(Ok(3))
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(address("127.0.0.1:9"))
        }

        fn max_transmit_segments(&self) -> usize {
            7
        }

        fn max_receive_segments(&self) -> usize {
            8
        }

        fn may_fragment(&self) -> bool {
            false
        }
    }

    #[test]
    fn each_datagram_of_a_batch_is_measured_and_the_rest_is_the_sockets() {
        let sieve = Arc::new(Sieve::new(Arc::new(Batch), Arc::default()));
        let mut metas = [RecvMeta::default(); 4];
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Ok(3)) = sieve.poll_recv(&mut cx, &mut [], &mut metas) else { panic!("a batch is there") };
        assert_eq!(metas.map(|meta| meta.len), [3000, 0, 1472, 0]);
        assert_eq!(sieve.local_addr().unwrap(), address("127.0.0.1:9"));
        assert_eq!((sieve.max_transmit_segments(), sieve.max_receive_segments(), sieve.may_fragment()), (7, 8, false));
        let nothing =
            Transmit { destination: address("8.8.8.8:1"), ecn: None, contents: &[], segment_size: None, src_ip: None };
        assert_eq!(sieve.try_send(&nothing).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(matches!(sieve.create_io_poller().as_mut().poll_writable(&mut cx), Poll::Ready(Ok(()))));
    }
}
