//! [`Asks`]: the questions that this side has put, and their answers as far as they have come.

use alloc::vec::Vec;

use bytes::Bytes;

use super::error::{AskError, Violation};
use super::stream_code::StreamCode;
use crate::sorted::Sorted;

/// Bytes of an answer that may still come after it was cancelled: what a long line holds, with the buffers at its ends.
pub(super) const DRAIN_BYTES: usize = 16 << 20;

/// First size of a buffer in bytes. It doubles from there as bytes really arrive.
const FIRST_BUFFER_BYTES: usize = 4 << 10;

/// An open question.
#[derive(Debug)]
enum Ask {
    /// Its answer is wanted, up to a limit.
    Wanted { limit: usize, answer: Vec<u8> },
    /// Cancelled: the peer may not know yet, and may send so many bytes more.
    Cancelled { left: usize },
}

/// How a question ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Whole(Bytes),
    TooLong,
    Reset(StreamCode),
}

/// The questions, each until its answer has ended on both sides.
#[derive(Debug, Default)]
pub(super) struct Asks {
    open: Sorted<u32, Ask>,
    last: u32,
    max: u16,
}

impl Asks {
    /// The peer takes so many at a time.
    pub(super) fn set_max(&mut self, max: u16) {
        self.max = max;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How many more may be put now.
    pub(super) fn room(&self) -> usize {
        usize::from(self.max).saturating_sub(self.open.len())
    }

    /// Puts a question whose answer may have `limit` bytes. Its number.
    pub(super) fn open(&mut self, limit: usize) -> Result<u32, AskError> {
        if self.room() == 0 {
            return Err(AskError::Full { limit: self.max });
        }
        self.last = self.last.checked_add(1).ok_or(AskError::Exhausted)?;
        self.open.insert(self.last, Ask::Wanted { limit, answer: Vec::new() });
        Ok(self.last)
    }

    /// The answer is not wanted any more. Whether it was until now.
    pub(super) fn cancel(&mut self, id: u32) -> bool {
        match self.open.get_mut(&id) {
            Some(ask @ Ask::Wanted { .. }) => {
                *ask = Ask::Cancelled { left: DRAIN_BYTES };
                true
            }
            _ => false,
        }
    }

    /// A piece of an answer came, its last one or not. How the question has ended by it, if it has.
    pub(super) fn piece(&mut self, id: u32, piece: &[u8], is_last: bool) -> Result<Option<Ended>, Violation> {
        let ask = self.open.get_mut(&id).ok_or(Violation::NeverAsked)?;
        match ask {
            Ask::Wanted { limit, answer } => {
                let bytes = answer.len().saturating_add(piece.len());
                if bytes > *limit {
                    *ask = Ask::Cancelled { left: DRAIN_BYTES };
                    if is_last {
                        self.open.remove(&id);
                    }
                    return Ok(Some(Ended::TooLong));
                }
                if bytes > answer.capacity() {
                    let size = answer.capacity().saturating_mul(2).max(FIRST_BUFFER_BYTES).min(*limit).max(bytes);
                    answer.reserve_exact(size.saturating_sub(answer.len()));
                }
                answer.extend_from_slice(piece);
                if !is_last {
                    return Ok(None);
                }
                let answer = core::mem::take(answer);
                self.open.remove(&id);
                Ok(Some(Ended::Whole(answer.into())))
            }
            Ask::Cancelled { left } => {
                *left = left.checked_sub(piece.len()).ok_or(Violation::StillSending)?;
                if is_last {
                    self.open.remove(&id);
                }
                Ok(None)
            }
        }
    }

    /// The peer gave up. How the question has ended by it, if it was still wanted.
    pub(super) fn reset(&mut self, id: u32, code: StreamCode) -> Result<Option<Ended>, Violation> {
        match self.open.remove(&id).ok_or(Violation::NeverAsked)? {
            Ask::Wanted { .. } => Ok(Some(Ended::Reset(code))),
            Ask::Cancelled { .. } => Ok(None),
        }
    }
}
