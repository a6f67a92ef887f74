//! Compressed messages to what they were (RFC 7692 §7.2.2).
//!
//! ```text
//!            begin                 a byte                        a final block
//!          ─────────▶ Fresh ────────────────▶ InBlocks ──────────────────────────▶ Final
//!                                               ▲                                   │
//!                                               └──────────────── a byte ───────────┘
//! ```
//!
//! A message may have several final blocks, each of which ends a byte (§7.2.1): what follows one is
//! inflated as a stream of its own.

use std::fmt;

use zlib_rs::{InflateFlush, Status};

use super::{TAIL, history::History};
use crate::protocol::ProtocolError;

/// Inflates messages, one after another, of any number of connections; or one that comes in pieces.
///
/// 64 KB, whatever it inflates: output comes in slices of 16 KiB at most.
pub struct Inflater {
    stream: zlib_rs::Inflate,
    state: State,
    /// How much longer the message may become.
    room: usize,
    /// The last slice filled `slice`, and there may be more where it came from.
    has_more: bool,
    slice: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    InBlocks,
    Final,
}

impl Inflater {
    /// One that has nothing to inflate.
    pub fn new() -> Self {
        Self {
            stream: zlib_rs::Inflate::new(false, 15),
            state: State::Fresh,
            room: 0,
            has_more: false,
            slice: vec![0; SLICE_LEN].into(),
        }
    }

    /// Inflates a whole message, that is the payloads of its frames, to the end of `out`. With a
    /// `history` it may refer to that, and is added to it.
    ///
    /// `out` grows by what there is, slice by slice, and by `len_max` bytes at most. Text is yet to be
    /// [validated](crate::protocol::utf8::validate).
    ///
    /// # Errors
    ///
    /// [`MessageTooBig`](ProtocolError::MessageTooBig) as soon as there are more than `len_max` bytes,
    /// [`InvalidDeflate`](ProtocolError::InvalidDeflate) where the message is not what DEFLATE
    /// produces. Then `out` has what came before, and the connection is to be failed.
    pub fn message(
        &mut self,
        payload: &[u8],
        history: Option<&mut History>,
        len_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let start = out.len();
        self.begin(history.as_deref(), len_max);
        let mut input = payload;
        while let Some(slice) = self.inflate(&mut input)? {
            out.extend_from_slice(slice);
        }
        self.finish()?;
        if let Some(history) = history {
            history.push(&out[start..]);
        }
        Ok(())
    }

    /// A message begins, which may refer to `history`, and may have `len_max` bytes. What is left of
    /// the last one is forgotten.
    pub fn begin(&mut self, history: Option<&History>, len_max: usize) {
        self.stream.reset(false);
        if let Some(history) = history {
            self.stream
                .set_dictionary(history.bytes())
                .expect("a raw stream takes one at any time");
        }
        self.state = State::Fresh;
        self.room = len_max;
        self.has_more = false;
    }

    /// Inflates the next slice from the front of `input`, which moves on. `None` asks for more input,
    /// and all there was is taken.
    ///
    /// # Errors
    ///
    /// Those of [`message`](Self::message).
    pub fn inflate(&mut self, input: &mut &[u8]) -> Result<Option<&[u8]>, ProtocolError> {
        while !input.is_empty() || self.has_more {
            if self.state == State::Final {
                self.stream.reset(false);
            }
            self.state = State::InBlocks;
            // One byte more than there may be shows that it is too long.
            let slice_len = self.room.saturating_add(1).min(SLICE_LEN);
            let (status, taken_len, len) = self.step(input, slice_len)?;
            *input = &input[taken_len..];
            self.has_more = len == slice_len && status != Status::StreamEnd;
            if status == Status::StreamEnd {
                self.state = State::Final;
            }
            if len > 0 {
                return Ok(Some(&self.slice[..len]));
            }
            if taken_len == 0 && !input.is_empty() {
                return Err(ProtocolError::InvalidDeflate); // it cannot go on, and does not say why
            }
        }
        Ok(None)
    }

    /// The message ends. To be called when [`inflate`](Self::inflate) says `None`.
    ///
    /// # Errors
    ///
    /// [`InvalidDeflate`](ProtocolError::InvalidDeflate) in the middle of a block: something is
    /// missing.
    pub fn finish(&mut self) -> Result<(), ProtocolError> {
        // Nothing at all is how some say an empty message, and a final block without the empty one
        // that should follow is an end as well: neither leaves a doubt.
        if self.state != State::InBlocks {
            return Ok(());
        }
        // The sender took away the end of an empty block. With that put back, another empty block,
        // a final one, is read as such if and only if a block had ended there.
        const END: [u8; 9] = [0x00, 0x00, 0xFF, 0xFF, 0x01, 0x00, 0x00, 0xFF, 0xFF];
        let (status, taken_len, len) = self.step(&END, SLICE_LEN)?;
        let is_end = taken_len == END.len() || taken_len == TAIL.len();
        if status != Status::StreamEnd || !is_end || len > 0 {
            return Err(ProtocolError::InvalidDeflate);
        }
        self.state = State::Final;
        Ok(())
    }

    /// Inflates what fits into `slice_len` bytes: how it went, and what was taken and made.
    fn step(
        &mut self,
        input: &[u8],
        slice_len: usize,
    ) -> Result<(Status, usize, usize), ProtocolError> {
        let (taken, made) = (self.stream.total_in(), self.stream.total_out());
        let slice = &mut self.slice[..slice_len];
        let outcome = self.stream.decompress(input, slice, InflateFlush::SyncFlush);
        let taken_len = (self.stream.total_in() - taken) as usize;
        let made_len = (self.stream.total_out() - made) as usize;
        // What is too long is that first, whatever comes after it.
        self.room = self.room.checked_sub(made_len).ok_or(ProtocolError::MessageTooBig)?;
        let status = outcome.map_err(|_| ProtocolError::InvalidDeflate)?;
        Ok((status, taken_len, made_len))
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, room, .. } = self;
        f.debug_struct("Inflater").field("state", state).field("room", room).finish_non_exhaustive()
    }
}

const SLICE_LEN: usize = 16 * 1024;
