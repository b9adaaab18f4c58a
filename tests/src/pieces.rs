//! [`PieceMaker`]: QUIC datagrams full of one-byte pieces, which cost who takes them far more than an honest datagram.
//!
//! They are Initial packets (RFC 9000, section 17.2.2), whose keys follow from a connection id that anyone can read or
//! choose (RFC 9001, section 5.2): no key, no address of one's own and no answer is needed to send them.

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::{Keys, Version};
use rustls::{Error, Side, Tls13CipherSuite};

/// Pieces with gaps between them, so that each has to be kept: close to as many as quinn keeps.
const GAPS: u32 = 900;
/// Bytes of a packet beside its pieces, at most: header and tag.
const OVERHEAD: usize = 64;
/// Bytes of a connection id.
const ID_BYTES: usize = 8;

/// Makes the datagrams of one connection.
pub struct PieceMaker {
    keys: Keys,
    to: Vec<u8>,
    from: [u8; ID_BYTES],
    number: u16,
}

impl PieceMaker {
    /// A client's, to any server. Each `id` is a connection of its own.
    ///
    /// # Errors
    /// None that can be met: the keys follow from the id.
    pub fn client(id: u64) -> Result<Self, Error> {
        let id = id.to_be_bytes();
        Ok(Self { keys: keys(&id, Side::Client)?, to: id.to_vec(), from: id, number: 0 })
    }

    /// A server's, in answer to the `first` datagram of a client.
    ///
    /// # Errors
    /// Where that is no Initial packet.
    pub fn server(first: &[u8]) -> Result<Self, Error> {
        // First byte, version; then each connection id with its length in front.
        let part = |at: usize| {
            let len = usize::from(*first.get(at)?);
            Some((first.get(at + 1..at + 1 + len)?, at + 1 + len))
        };
        let ids = part(5).and_then(|(server, at)| Some((server, part(at)?.0)));
        let (server, client) = ids.ok_or_else(|| Error::General("no Initial packet".into()))?;
        Ok(Self { keys: keys(server, Side::Server)?, to: client.to_vec(), from: [7; ID_BYTES], number: 0 })
    }

    /// Datagrams of `bytes` with the pieces between which there are gaps.
    ///
    /// # Errors
    /// Where `bytes` is too little for a packet.
    pub fn gaps(&mut self, bytes: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut datagrams = Vec::new();
        let mut pieces = Vec::new();
        for number in 0..GAPS {
            let next = piece(1 + 2 * number);
            if pieces.len() + next.len() > room(bytes) {
                datagrams.push(self.packet(&pieces, bytes)?);
                pieces.clear();
            }
            pieces.extend(next);
        }
        datagrams.push(self.packet(&pieces, bytes)?);
        Ok(datagrams)
    }

    /// A datagram of `bytes` that is full of one piece over and over, to be sent after the [`gaps`](Self::gaps).
    ///
    /// # Errors
    /// Where `bytes` is too little for a packet.
    pub fn repeated(&mut self, bytes: usize) -> Result<Vec<u8>, Error> {
        self.packet(&full(Vec::new(), bytes), bytes)
    }

    /// Both in one datagram of `bytes`, of which there must be enough.
    ///
    /// # Errors
    /// Where `bytes` is too little for a packet.
    pub fn whole(&mut self, bytes: usize) -> Result<Vec<u8>, Error> {
        let pieces = (0..GAPS).flat_map(|number| piece(1 + 2 * number)).collect();
        self.packet(&full(pieces, bytes), bytes)
    }

    fn packet(&mut self, frames: &[u8], bytes: usize) -> Result<Vec<u8>, Error> {
        let mut payload = frames.to_vec();
        // Zeros are padding.
        payload.resize(room(bytes), 0);
        let length = u32::try_from(payload.len() + 2 + self.keys.local.packet.tag_len());
        let length = length.map_err(|_| Error::General("a datagram is shorter".into()))?;
        let ids = [&[self.to.len() as u8][..], &self.to, &[ID_BYTES as u8], &self.from].concat();
        // An Initial packet of version 1, with a number of two bytes and no token.
        let start = [&[0xc1][..], &1u32.to_be_bytes(), &ids, &[0], &(length | 0x8000_0000).to_be_bytes()].concat();
        let header = [&start[..], &self.number.to_be_bytes()].concat();
        let tag = self.keys.local.packet.encrypt_in_place(self.number.into(), &header, &mut payload)?;
        self.number = self.number.wrapping_add(1);
        let mut packet = [&header[..], &payload, tag.as_ref()].concat();
        let (first, rest) = packet.split_at_mut(1);
        let (number, sampled) = rest.split_at_mut(start.len() - 1).1.split_at_mut(2);
        // The sample begins where a number of four bytes would end.
        let sample = sampled.get(2..2 + self.keys.local.header.sample_len());
        let sample = sample.ok_or_else(|| Error::General("too short".into()))?;
        self.keys.local.header.encrypt_in_place(sample, &mut first[0], number)?;
        Ok(packet)
    }
}

fn keys(id: &[u8], side: Side) -> Result<Keys, Error> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().and_then(Tls13CipherSuite::quic_suite);
    Ok(suite.ok_or_else(|| Error::General("no QUIC".into()))?.keys(id, side, Version::V1))
}

/// A CRYPTO frame (RFC 9000, section 19.6) of one byte.
fn piece(offset: u32) -> Vec<u8> {
    let offset = match u8::try_from(offset) {
        Ok(short @ 0..64) => vec![short],
        _ => (offset | 0x4000).to_be_bytes()[2..].to_vec(),
    };
    [&[6][..], &offset, &[1, b'x']].concat()
}

/// `pieces`, and the first one over and over as long as it fits.
fn full(mut pieces: Vec<u8>, bytes: usize) -> Vec<u8> {
    let first = piece(1);
    while pieces.len() + first.len() <= room(bytes) {
        pieces.extend(&first);
    }
    pieces
}

/// Bytes for frames in a datagram of `bytes`.
fn room(bytes: usize) -> usize {
    bytes.saturating_sub(OVERHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the protection off a packet of this maker, as its receiver would.
    fn open(packet: &[u8], keys: &Keys, number: u16) -> Vec<u8> {
        let mut packet = packet.to_vec();
        let at = 1 + 4 + 1 + ID_BYTES + 1 + ID_BYTES + 1 + 4;
        let sample = packet[at + 4..at + 20].to_vec();
        let (first, rest) = packet.split_at_mut(1);
        keys.remote.header.decrypt_in_place(&sample, &mut first[0], &mut rest[at - 1..at + 1]).unwrap();
        assert_eq!(packet[at..at + 2], number.to_be_bytes());
        let (header, payload) = packet.split_at_mut(at + 2);
        keys.remote.packet.decrypt_in_place(number.into(), header, payload).unwrap().to_vec()
    }

    #[test]
    fn packets_can_be_read_by_the_other_side_and_fit() {
        let mut client = PieceMaker::client(77).unwrap();
        let of_server = keys(&77u64.to_be_bytes(), Side::Server).unwrap();
        let gaps = client.gaps(1472).unwrap();
        assert!(gaps.len() < 5 && gaps.iter().all(|datagram| datagram.len() <= 1472 && datagram.len() > 1400));
        let frames = open(&gaps[0], &of_server, 0);
        assert_eq!(frames[..12], [6, 1, 1, b'x', 6, 3, 1, b'x', 6, 5, 1, b'x']);
        let number = u16::try_from(gaps.len()).unwrap();
        let repeated = client.repeated(1472).unwrap();
        assert_eq!(open(&repeated, &of_server, number)[..8], [6, 1, 1, b'x', 6, 1, 1, b'x']);
        let whole = client.whole(60_000).unwrap();
        assert!(whole.len() <= 60_000 && whole.len() > 59_900);
        let frames = open(&whole, &of_server, number + 1);
        // After 63, an offset takes two bytes.
        assert_eq!(frames[32 * 4..][..5], [6, 0x40, 65, 1, b'x']);
        let mut server = PieceMaker::server(&gaps[0]).unwrap();
        let answer = server.whole(60_000).unwrap();
        open(&answer, &keys(&77u64.to_be_bytes(), Side::Client).unwrap(), 0);
        assert!(PieceMaker::server(&[0xc1, 0, 0, 0, 1, 8, 1]).is_err());
    }
}
