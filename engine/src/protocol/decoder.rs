//! Bytes in, headers and pieces of payload out; stops at any byte (RFC 6455 §5.2, §6.2).
//!
//! ```text
//!               ┌───────── the last byte of the payload ─────────┐
//!               ▼                                                │
//!            Header ── the last byte of the header ──▶ Payload ──┘
//!  "13 bytes of it, at most"                  "how much is left, and the key"
//! ```

use super::{
    error::ProtocolError,
    header::{FrameHeader, Role, Rsv},
    mask::MaskingKey,
};

/// Takes a stream of bytes apart into frames, wherever it was cut on its way.
///
/// It buffers no payload: of what came before it remembers the first bytes of a header, or how much
/// of a payload is left. It checks each frame alone; the order of frames is for
/// [`Assembler`](super::Assembler). 24 bytes; allocates nothing.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    receiver: Role,
    allowed: Rsv,
}

/// What a [`Decoder`] finds.
///
/// Every frame is a `Header` and one or more `Payload`s, of which exactly one is the last: even of an
/// empty payload.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A frame begins; it kept the rules for a single frame.
    Header(FrameHeader),
    /// As much of its payload as there is.
    Payload {
        /// The bytes, unmasked in place; perhaps none.
        bytes: &'a mut [u8],
        /// Whether the frame ends with them.
        last: bool,
    },
}

/// An [`Event`] whose payload is as it came.
#[derive(Debug)]
pub(crate) enum MaskedEvent<'a> {
    Header(FrameHeader),
    /// The bytes, masked with `key` from its first byte on, if there is one.
    Payload {
        bytes: &'a mut [u8],
        key: Option<MaskingKey>,
        last: bool,
    },
}

/// Where in a frame the stream stopped.
#[derive(Clone, Copy, Debug)]
enum State {
    /// In a header, or between frames if no byte of one has come.
    Header { begun: [u8; FrameHeader::LEN_MAX], begun_len: u8 },
    /// In a payload. The key stands as the next byte needs it.
    Payload { remaining: u64, mask: Option<MaskingKey> },
}

impl State {
    const BETWEEN_FRAMES: Self = Self::Header { begun: [0; FrameHeader::LEN_MAX], begun_len: 0 };
}

impl Decoder {
    /// A decoder for what `receiver` receives, at the beginning of a frame. The bits in `allowed` are
    /// those that the negotiated extensions use.
    pub const fn new(receiver: Role, allowed: Rsv) -> Self {
        Self { state: State::BETWEEN_FRAMES, receiver, allowed }
    }

    /// Takes the next event from the front of `input`, which moves on. `None` asks for more input,
    /// and all there was is taken.
    ///
    /// Call it until it says `None`, not just until `input` is empty: the end of an empty payload takes
    /// no byte. After an error the stream has no meaning any more, and the connection is to be failed.
    pub fn decode<'a>(
        &mut self,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        Ok(self.decode_masked(input)?.map(|event| match event {
            MaskedEvent::Header(header) => Event::Header(header),
            MaskedEvent::Payload { bytes, key, last } => {
                if let Some(key) = key {
                    key.apply(bytes, 0);
                }
                Event::Payload { bytes, last }
            }
        }))
    }

    /// As [`decode`](Self::decode), for whoever copies the payload and can unmask it on the way.
    pub(crate) fn decode_masked<'a>(
        &mut self,
        input: &mut &'a mut [u8],
    ) -> Result<Option<MaskedEvent<'a>>, ProtocolError> {
        match &mut self.state {
            State::Header { begun, begun_len } => {
                let Some(header) = decode_header(begun, begun_len, input)? else {
                    return Ok(None);
                };
                header.check(self.receiver, self.allowed)?;
                self.state = State::Payload { remaining: header.payload_len, mask: header.mask };
                Ok(Some(MaskedEvent::Header(header)))
            }
            State::Payload { remaining, mask } => {
                if *remaining > 0 && input.is_empty() {
                    return Ok(None);
                }
                let len = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len());
                let bytes = input.split_off_mut(..len).expect("no longer than the input");
                let key = *mask;
                let last = self.pass(len);
                Ok(Some(MaskedEvent::Payload { bytes, key, last }))
            }
        }
    }

    /// How many bytes of a payload are still to come, and what the next is masked with. None between
    /// frames, and in a header.
    pub(crate) fn remaining(&self) -> (u64, Option<MaskingKey>) {
        match self.state {
            State::Header { .. } => (0, None),
            State::Payload { remaining, mask } => (remaining, mask),
        }
    }

    /// Passes over `len` bytes of the payload, which somebody else takes care of, and says whether the
    /// frame ends with them.
    ///
    /// # Panics
    ///
    /// If fewer are still to come.
    pub(crate) fn pass(&mut self, len: usize) -> bool {
        let State::Payload { remaining, mask } = &mut self.state else {
            panic!("no payload to pass over");
        };
        *mask = mask.map(|key| key.rotated(len));
        *remaining = remaining.checked_sub(len as u64).expect("no more than is to come");
        let is_last = *remaining == 0;
        if is_last {
            self.state = State::BETWEEN_FRAMES;
        }
        is_last
    }

    /// Whether the last frame is complete and no byte of the next has come.
    pub fn is_between_frames(&self) -> bool {
        matches!(self.state, State::Header { begun_len: 0, .. })
    }
}

/// Takes a header from the front of `input`, or what there is of it, and remembers that in `begun`.
#[inline]
fn decode_header(
    begun: &mut [u8; FrameHeader::LEN_MAX],
    begun_len: &mut u8,
    input: &mut &mut [u8],
) -> Result<Option<FrameHeader>, ProtocolError> {
    if *begun_len == 0
        && let Some((header, len)) = FrameHeader::decode(input)?
    {
        input.split_off_mut(..len).expect("no longer than the input");
        return Ok(Some(header));
    }
    continue_header(begun, begun_len, input)
}

/// Adds what there is in `input` to the header that is cut off, which may complete it.
fn continue_header(
    begun: &mut [u8; FrameHeader::LEN_MAX],
    begun_len: &mut u8,
    input: &mut &mut [u8],
) -> Result<Option<FrameHeader>, ProtocolError> {
    let known_len = usize::from(*begun_len);
    let fresh_len = input.len().min(FrameHeader::LEN_MAX - known_len);
    let len = known_len + fresh_len;
    begun[known_len..len].copy_from_slice(&input[..fresh_len]);
    let (header, taken_len) = match FrameHeader::decode(&begun[..len])? {
        Some((header, header_len)) => (Some(header), header_len - known_len),
        None => {
            *begun_len = len as u8;
            (None, fresh_len)
        }
    };
    input.split_off_mut(..taken_len).expect("no longer than the input");
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Opcode, append_frame};

    /// What a server makes of `stream` when it comes in pieces of `piece_len` bytes: headers, and
    /// payloads put together again.
    fn decode(stream: &[u8], piece_len: usize) -> Vec<(FrameHeader, Vec<u8>)> {
        let mut decoder = Decoder::new(Role::Server, Rsv::NONE);
        let (mut frames, mut payload, mut begun) = (Vec::new(), Vec::new(), None);
        for piece in stream.to_vec().chunks_mut(piece_len) {
            let mut input = piece;
            while let Some(event) = decoder.decode(&mut input).unwrap() {
                match event {
                    Event::Header(header) => assert_eq!(begun.replace(header), None),
                    Event::Payload { bytes, last } => {
                        payload.extend_from_slice(bytes);
                        if last {
                            frames.push((begun.take().unwrap(), std::mem::take(&mut payload)));
                        }
                    }
                }
                assert_eq!(decoder.is_between_frames(), begun.is_none());
            }
            assert!(input.is_empty(), "`None` takes all there is");
        }
        assert!(decoder.is_between_frames());
        frames
    }

    #[test]
    fn frames_of_every_length_come_out_whole_however_they_are_cut() {
        let key = MaskingKey::new([1, 2, 3, 4]);
        let mut stream = Vec::new();
        let payload_lens = [0, 1, 4, 125, 126, 127, 0, 0xFFFF, 0x1_0000];
        for payload_len in payload_lens {
            let payload: Vec<u8> = (0..payload_len).map(|index| index as u8).collect();
            append_frame(&mut stream, true, Rsv::NONE, Opcode::Binary, Some(key), &payload);
        }
        for piece_len in [1, 2, 3, 7, 13, 14, 15, 1000, stream.len()] {
            let frames = decode(&stream, piece_len);
            assert!(frames.iter().map(|(_, payload)| payload.len()).eq(payload_lens));
            for (header, payload) in frames {
                assert_eq!(header.payload_len, payload.len() as u64);
                assert!(payload.iter().enumerate().all(|(index, byte)| index as u8 == *byte));
            }
        }
    }

    #[test]
    fn an_empty_payload_ends_without_input() {
        let mut decoder = Decoder::new(Role::Client, Rsv::NONE);
        let mut stream = [0x89, 0x00];
        let mut input = &mut stream[..];
        assert!(matches!(decoder.decode(&mut input), Ok(Some(Event::Header(_)))));
        assert!(input.is_empty() && !decoder.is_between_frames());
        let end = Event::Payload { bytes: &mut [], last: true };
        assert_eq!(decoder.decode(&mut input), Ok(Some(end)));
        assert_eq!(decoder.decode(&mut input), Ok(None));
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Decoder>() <= 24);
    }
}
