//! [`Answers`]: the questions that the peer has put, and what is sent of their answers next.
//!
//! Short answers overtake longer ones: news of the tip must not wait behind a download. Of the long ones, the first that
//! was given is the first that is whole.

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::error::Violation;
use super::frame::{Kind, PIECE_BYTES};
use super::stream_code::StreamCode;
use crate::limits::MAX_REQUEST_BYTES;
use crate::sorted::Sorted;

/// Answers up to this many bytes overtake longer ones.
pub(super) const SHORT_ANSWER_BYTES: usize = 64 << 10;

/// A question of the peer's.
#[derive(Debug)]
enum Asked {
    /// The host has not answered yet.
    Waiting,
    /// The rest of the answer, which is still to be sent.
    Sending(Bytes),
    /// Given up, which the peer has to be told.
    Reset(StreamCode),
}

/// A frame of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) kind: Kind,
    pub(super) id: u32,
    pub(super) content: Bytes,
}

/// The peer's questions, each until the last frame of its answer was sent.
#[derive(Debug)]
pub(super) struct Answers {
    open: Sorted<u32, Asked>,
    last: u32,
    max: u16,
    resets: VecDeque<u32>,
    short: VecDeque<u32>,
    long: VecDeque<u32>,
}

impl Answers {
    /// Takes `max` questions at a time.
    pub(super) fn new(max: u16) -> Self {
        let queue = VecDeque::new;
        Self { open: Sorted::new(), last: 0, max, resets: queue(), short: queue(), long: queue() }
    }

    /// The peer put a question of so many bytes.
    pub(super) fn asked(&mut self, id: u32, bytes: usize) -> Result<(), Violation> {
        if id <= self.last {
            return Err(Violation::AskOrder);
        }
        if self.open.len() >= usize::from(self.max) {
            return Err(Violation::TooManyAsks);
        }
        if bytes > MAX_REQUEST_BYTES {
            return Err(Violation::LongAsk);
        }
        self.last = id;
        self.open.insert(id, Asked::Waiting);
        Ok(())
    }

    /// The peer has no more use for an answer. Whether there was one on its way, or in the making.
    pub(super) fn cancelled(&mut self, id: u32) -> Result<bool, Violation> {
        if id > self.last {
            return Err(Violation::NeverAsked);
        }
        // One that has just ended is no fault: both were on their way.
        Ok(self.give_up(id, StreamCode::Cancelled))
    }

    /// The host's answer. Whether the question was still open.
    pub(super) fn answer(&mut self, id: u32, answer: Bytes) -> bool {
        let Some(asked @ Asked::Waiting) = self.open.get_mut(&id) else { return false };
        let queue = if answer.len() <= SHORT_ANSWER_BYTES { &mut self.short } else { &mut self.long };
        queue.push_back(id);
        *asked = Asked::Sending(answer);
        true
    }

    /// The answer is given up. Whether the question was open.
    pub(super) fn give_up(&mut self, id: u32, code: StreamCode) -> bool {
        match self.open.get_mut(&id) {
            Some(asked @ (Asked::Waiting | Asked::Sending(_))) => {
                *asked = Asked::Reset(code);
                self.resets.push_back(id);
                self.short.retain(|&other| other != id);
                self.long.retain(|&other| other != id);
                true
            }
            Some(Asked::Reset(_)) | None => false,
        }
    }

    /// Whether there is something to send.
    pub(super) fn has_pieces(&self) -> bool {
        !(self.resets.is_empty() && self.short.is_empty() && self.long.is_empty())
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> Option<Piece> {
        if let Some(id) = self.resets.pop_front() {
            let Some(Asked::Reset(code)) = self.open.remove(&id) else { return None };
            return Some(Piece { kind: Kind::Reset, id, content: Bytes::copy_from_slice(&[code.to_wire()]) });
        }
        let queue = if self.short.is_empty() { &mut self.long } else { &mut self.short };
        let id = *queue.front()?;
        let Some(Asked::Sending(left)) = self.open.get_mut(&id) else { return None };
        if left.len() > PIECE_BYTES {
            return Some(Piece { kind: Kind::Data, id, content: left.split_to(PIECE_BYTES) });
        }
        let content = core::mem::take(left);
        queue.pop_front();
        self.open.remove(&id);
        Some(Piece { kind: Kind::End, id, content })
    }
}
