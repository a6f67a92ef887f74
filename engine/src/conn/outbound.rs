//! Output that has to wait: a bounded queue of frames, and the control frames that pass it by.
//!
//! While the socket takes everything a connection has no outbox: its frames go to the turn's arena.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Tick;
use crate::{
    pool::{BufferPool, Exhausted, Lease},
    protocol::{MaskingKey, Opcode, append_payload, masked_frame_header},
};

/// How much may wait for one connection, and what happens to what does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendQueue {
    /// Bytes that may wait, frame headers included. A message that finds the queue empty is taken
    /// whatever its length, so the bound is this or one message. Default: 1 MiB.
    pub len_max: usize,
    /// Above this many bytes a send answers [`Sent::AboveHighWater`], and `on_drain` follows when
    /// all have left. Never more than `len_max`. Default: 256 KiB.
    pub high_water: usize,
    /// What happens to a message that does not fit. Default: [`Overflow::Close`].
    pub overflow: Overflow,
}

impl Default for SendQueue {
    fn default() -> Self {
        Self { len_max: 1 << 20, high_water: 256 << 10, overflow: Overflow::default() }
    }
}

/// What happens to a message that finds its connection's send queue full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The connection is failed with 1013: who reads too slowly is better off reconnecting.
    #[default]
    Close,
    /// The new message is dropped; what waits stays.
    DropNewest,
}

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sent {
    /// It leaves as soon as the socket takes it.
    Queued,
    /// The same, and more than the high-water mark now waits: hold back until `on_drain`.
    AboveHighWater,
    /// The send queue was full, and the overflow policy dropped it (or closed the connection).
    Dropped,
    /// The connection is closing or gone.
    Closed,
}

/// The send queue of a connection whose socket pushed back.
///
/// Pieces hold whole frames, except for the first when a part of it has left. A pong waits in `urgent`
/// and goes before all pieces but such a first one.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Piece>,
    urgent: Option<Lease>,
    /// Frames that come behind the message that is being sent in parts.
    behind: Option<Lease>,
    len: usize,
    /// A part of the first piece has left: nothing may go before its rest.
    cut_off: bool,
    /// When the socket last would not take more.
    blocked_at: Tick,
}

/// One stretch of output.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Bytes of this connection alone, sent up to `from`.
    Owned { lease: Lease, from: usize },
    /// A frame, or the rest of one, that other connections share.
    Shared(Bytes),
    /// The place of an owned frame of so many bytes, which comes before anything is sent.
    Promised(usize),
}

/// Small frames are gathered in pieces of at least this many bytes, which bounds the number of
/// sends; and pieces are no longer than that if they can help it, which bounds the wait of a pong.
const PIECE_LEN: usize = 16 * 1024;

/// Shared frames of up to this many bytes are gathered like a connection's own.
const COPIED_LEN_MAX: usize = 1024;

impl Outbox {
    /// Adds a frame (or any bytes that belong together) behind all others, its payload masked on the way
    /// if there is a key.
    pub(crate) fn push(
        &mut self,
        header: &[u8],
        payload: &[u8],
        mask: Option<MaskingKey>,
        pool: &mut BufferPool,
    ) -> Result<(), Exhausted> {
        let len = header.len() + payload.len();
        // What joins the rest of a frame would leave before a pong that waits for that rest to leave:
        // and a Close has to be the last.
        let passes_urgent = self.cut_off && self.pieces.len() == 1 && self.urgent.is_some();
        let joins = match self.pieces.back() {
            Some(Piece::Owned { lease, .. }) if !passes_urgent => {
                lease.bytes().len() + len <= PIECE_LEN
            }
            _ => false,
        };
        if !joins {
            let lease = pool.lend(len)?;
            self.pieces.push_back(Piece::Owned { lease, from: 0 });
        }
        let Some(Piece::Owned { lease, .. }) = self.pieces.back_mut() else {
            unreachable!("the last piece is owned: it was, or it was just pushed")
        };
        pool.reserve(lease, len)?;
        lease.bytes_mut().extend_from_slice(header);
        append_payload(lease.bytes_mut(), mask, payload);
        self.len += len;
        Ok(())
    }

    /// Adds a shared frame behind all others. A short one is copied, which costs less than to keep
    /// and send it by itself.
    pub(crate) fn push_shared(
        &mut self,
        frame: Bytes,
        pool: &mut BufferPool,
    ) -> Result<(), Exhausted> {
        if frame.len() <= COPIED_LEN_MAX {
            return self.push(&frame, &[], None, pool);
        }
        self.len += frame.len();
        self.pieces.push_back(Piece::Shared(frame));
        Ok(())
    }

    /// Keeps a frame until the message that is being sent in parts has been sent.
    pub(crate) fn keep_behind(
        &mut self,
        header: &[u8],
        payload: &[u8],
        mask: Option<MaskingKey>,
        pool: &mut BufferPool,
    ) -> Result<(), Exhausted> {
        let len = header.len() + payload.len();
        let lease = self.behind.get_or_insert_default();
        pool.reserve(lease, len)?;
        lease.bytes_mut().extend_from_slice(header);
        append_payload(lease.bytes_mut(), mask, payload);
        self.len += len;
        Ok(())
    }

    /// The message in parts has been sent: what was kept behind it follows.
    pub(crate) fn push_behind(&mut self) {
        let lease = self.behind.take();
        self.pieces.extend(lease.map(|lease| Piece::Owned { lease, from: 0 }));
    }

    /// Keeps the place behind all others for a frame of `len` bytes, with which
    /// [`fulfil`](Self::fulfil) follows.
    pub(crate) fn promise(&mut self, len: usize) {
        self.len += len;
        self.pieces.push_back(Piece::Promised(len));
    }

    /// Puts a frame in the place that was kept for it. Gives it back if the place is gone: the queue was
    /// dropped meanwhile.
    pub(crate) fn fulfil(&mut self, frame: Piece) -> Result<(), Piece> {
        let is_promised = |piece: &&mut Piece| matches!(piece, Piece::Promised(_));
        match self.pieces.iter_mut().rev().find(is_promised) {
            Some(place) => {
                debug_assert_eq!(place.len(), frame.len());
                *place = frame;
                Ok(())
            }
            None => Err(frame),
        }
    }

    /// Puts back what a send left over, at `now`: it goes first.
    pub(crate) fn push_rest(&mut self, rest: Piece, now: Tick) {
        self.blocked_at = now;
        self.len += rest.len();
        self.pieces.push_front(rest);
        self.cut_off = true;
    }

    /// Adds a pong that goes before the pieces. It replaces one that waits: of many pings only the last
    /// needs its pong (RFC 6455 §5.5.3).
    pub(crate) fn push_urgent(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        mask: Option<MaskingKey>,
        pool: &mut BufferPool,
    ) -> Result<(), Exhausted> {
        let header = masked_frame_header(opcode, payload.len(), mask);
        let mut lease = match self.urgent.take() {
            Some(lease) => lease,
            None => pool.lend(header.len() + payload.len())?,
        };
        lease.bytes_mut().clear();
        lease.bytes_mut().extend_from_slice(&header);
        append_payload(lease.bytes_mut(), mask, payload);
        self.urgent = Some(lease);
        Ok(())
    }

    /// What to send next, taken out of the queue.
    pub(crate) fn pop(&mut self) -> Option<Piece> {
        if !self.cut_off
            && let Some(lease) = self.urgent.take()
        {
            return Some(Piece::Owned { lease, from: 0 });
        }
        let piece = self.pieces.pop_front()?;
        self.cut_off = false;
        self.len -= piece.len();
        Some(piece)
    }

    /// Drops all whole pieces: only the rest of one that has begun to leave stays.
    pub(crate) fn truncate(&mut self, pool: &mut BufferPool) {
        let keep = usize::from(self.cut_off).min(self.pieces.len());
        for piece in self.pieces.drain(keep..) {
            self.len -= piece.len();
            piece.release(pool);
        }
        if let Some(lease) = self.behind.take() {
            self.len -= lease.bytes().len();
            pool.give_back(lease);
        }
    }

    /// When the socket last would not take more.
    pub(crate) fn blocked_at(&self) -> Tick {
        self.blocked_at
    }

    /// Bytes that wait, without the urgent frame.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.urgent.is_none() && self.behind.is_none()
    }

    /// Gives all buffers back.
    pub(crate) fn release(&mut self, pool: &mut BufferPool) {
        self.pieces.drain(..).for_each(|piece| piece.release(pool));
        for lease in [self.urgent.take(), self.behind.take()].into_iter().flatten() {
            pool.give_back(lease);
        }
        self.len = 0;
        self.cut_off = false;
    }
}

impl Piece {
    /// Bytes that have not left.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Owned { lease, from } => lease.bytes().len() - from,
            Self::Shared(bytes) => bytes.len(),
            Self::Promised(len) => *len,
        }
    }

    /// Sees to it that its buffer counts as lent: a driver's copy of corked bytes does not yet.
    pub(crate) fn count(&mut self, pool: &mut BufferPool) -> Result<(), Exhausted> {
        match self {
            Self::Owned { lease, .. } => pool.adopt(lease),
            Self::Shared(_) | Self::Promised(_) => Ok(()),
        }
    }

    /// Gives its buffer back.
    pub(crate) fn release(self, pool: &mut BufferPool) {
        if let Self::Owned { lease, .. } = self {
            pool.give_back(lease);
        }
    }
}
