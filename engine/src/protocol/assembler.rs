//! Fragments to messages, control frames in between (RFC 6455 §5.4).
//!
//! ```text
//!   text, binary           continuation, final
//!   ────────────▶ message ─────────────────────▶ Incoming::Message or Extended
//!                  │   ▲
//!                  └───┘ continuation
//!
//!   close, ping, pong ──────────────────────────▶ Incoming::Close, Ping or Pong, at any time
//! ```

use super::{
    control::CloseFrame,
    error::ProtocolError,
    header::{FrameHeader, Rsv},
    limits::Limits,
    mask::MaskingKey,
    message::Message,
    opcode::Opcode,
    utf8::{self, Utf8Validator},
};
use crate::simd;

/// What the peer said: a whole message, or a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A message.
    Message(Message<'a>),
    /// A message with reserved bits, for the extension that owns them to transform. Text is not known
    /// to be UTF-8 before that.
    Extended {
        /// Text or binary.
        opcode: Opcode,
        /// The reserved bits of its first frame.
        rsv: Rsv,
        /// What the extension is to transform.
        payload: &'a [u8],
    },
    /// A ping, to be answered by a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong: the answer to a ping, or unasked for.
    Pong(&'a [u8]),
    /// The closing handshake, perhaps with a reason.
    Close(Option<CloseFrame<'a>>),
}

impl<'a> Incoming<'a> {
    /// What a payload means that is complete and unmasked, by the `opcode` and the `rsv` of its first
    /// frame.
    ///
    /// This is where text is checked to be UTF-8 and a Close frame to be well-formed. For a whole frame
    /// outside of a fragmented message it is all that is left to do after [`FrameHeader::check`] and
    /// [`Limits::message_len_max`]. A continuation means nothing by itself: an error. Copies nothing.
    #[inline]
    pub fn new(opcode: Opcode, rsv: Rsv, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        match opcode {
            Opcode::Text | Opcode::Binary if !rsv.is_empty() => {
                Ok(Self::Extended { opcode, rsv, payload })
            }
            Opcode::Text => utf8::validate(payload).map(|text| Self::Message(Message::Text(text))),
            Opcode::Binary => Ok(Self::Message(Message::Binary(payload))),
            Opcode::Ping => Ok(Self::Ping(payload)),
            Opcode::Pong => Ok(Self::Pong(payload)),
            Opcode::Close => CloseFrame::parse(payload).map(Self::Close),
            Opcode::Continuation => Err(ProtocolError::UnexpectedContinuation),
        }
    }
}

/// Puts messages together from frames, and lets control frames through in between.
///
/// For each frame: [`start`](Self::start) with its header, [`push`](Self::push) for each piece of its
/// payload, [`finish`](Self::finish). The message grows in a buffer of the caller's, always the same
/// one; a control frame's payload is kept here. After an error the connection is to be failed.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    begun: Option<Begun>,
    frame: Option<Frame>,
    /// At the beginning of a text whenever no text message has begun.
    utf8: Utf8Validator,
    control: Control,
}

/// A message that has begun.
#[derive(Clone, Copy, Debug)]
struct Begun {
    opcode: Opcode,
    rsv: Rsv,
    frame_count: u32,
    /// What its headers announced so far.
    len: u64,
}

/// The frame that has begun.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// A fragment of the message.
    Data { fin: bool },
    /// A control frame.
    Control(Opcode),
}

/// The payload of a control frame.
#[derive(Clone, Debug)]
struct Control {
    bytes: [u8; FrameHeader::CONTROL_LEN_MAX],
    len: u8,
}

impl Assembler {
    /// A frame begins. `message` is where its message grows, and is cleared for a new one.
    ///
    /// This is where fragments are held to their order, and the message to its limits: by what the
    /// header announces, before any of it is buffered.
    ///
    /// # Panics
    ///
    /// If the last frame was not finished.
    pub fn start(
        &mut self,
        header: &FrameHeader,
        limits: &Limits,
        message: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        assert!(self.frame.is_none(), "`finish` the last frame before the next one starts");
        let begun = match (header.opcode, &mut self.begun) {
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(ProtocolError::ExpectedContinuation);
            }
            (Opcode::Text | Opcode::Binary, vacant @ None) => {
                message.clear();
                vacant.insert(Begun::new(header.opcode, header.rsv))
            }
            (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
            (Opcode::Continuation, Some(begun)) => begun,
            (control, _) => {
                self.control.len = 0;
                self.frame = Some(Frame::Control(control));
                return Ok(());
            }
        };
        begun.announce(header.payload_len, limits)?;
        self.frame = Some(Frame::Data { fin: header.fin });
        Ok(())
    }

    /// The next piece of the frame's payload, unmasked. Data is copied to the end of `message`, which
    /// grows by what arrived and never by what a header promised.
    ///
    /// Text fails on the first byte that UTF-8 cannot go on with (RFC 6455 §8.1), unless an extension
    /// has yet to transform it.
    ///
    /// # Panics
    ///
    /// If no frame was started.
    pub fn push(&mut self, payload: &[u8], message: &mut Vec<u8>) -> Result<(), ProtocolError> {
        if let Frame::Control(_) = self.frame.expect(NOT_STARTED) {
            return self.control.push(payload);
        }
        self.pushed(payload)?;
        simd::append(message, payload);
        Ok(())
    }

    /// As [`push`](Self::push), for a piece that is masked: data is unmasked as it is copied.
    pub(crate) fn push_masked(
        &mut self,
        payload: &mut [u8],
        key: MaskingKey,
        message: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        if self.is_control() {
            key.apply(payload, 0);
            return self.control.push(payload);
        }
        let from = message.len();
        key.append(message, payload);
        self.pushed(&message[from..])
    }

    /// As [`push`](Self::push), for data that lies in the message already.
    pub(crate) fn pushed(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        match self.begun.is_some_and(Begun::is_plain_text) {
            true => self.utf8.push(payload),
            false => Ok(()),
        }
    }

    /// The frame ends, and with it perhaps a message, of which `message` holds all that was pushed.
    ///
    /// `None` in the middle of a fragmented message. Text is validated a second time, now as a whole,
    /// which is what it takes to lend it as a `str`; nothing is copied.
    ///
    /// # Panics
    ///
    /// If no frame was started.
    pub fn finish<'a>(
        &'a mut self,
        message: &'a [u8],
    ) -> Result<Option<Incoming<'a>>, ProtocolError> {
        match self.frame.take().expect(NOT_STARTED) {
            Frame::Control(opcode) => {
                Incoming::new(opcode, Rsv::NONE, self.control.payload()).map(Some)
            }
            Frame::Data { fin: false } => Ok(None),
            Frame::Data { fin: true } => {
                let Begun { opcode, rsv, .. } =
                    self.begun.take().expect("a data frame starts or continues one");
                Incoming::new(opcode, rsv, message).map(Some)
            }
        }
    }

    /// The data frame ends whose message was not gathered, only [`pushed`](Self::pushed), and with it
    /// perhaps the message: says whether it does.
    pub(crate) fn finish_part(&mut self) -> Result<bool, ProtocolError> {
        let frame = self.frame.take().expect(NOT_STARTED);
        let is_last = matches!(frame, Frame::Data { fin: true });
        if is_last && self.begun.take().is_some_and(Begun::is_plain_text) {
            self.utf8.finish()?;
        }
        Ok(is_last)
    }

    /// Whether the message that has begun is text.
    pub(crate) fn is_text(&self) -> bool {
        self.begun.is_some_and(|begun| begun.opcode == Opcode::Text)
    }

    /// Whether the frame that has begun completes something, so that [`finish`](Self::finish) will
    /// not answer `None`: it is a control frame, or the last fragment of its message.
    pub fn completes(&self) -> bool {
        matches!(self.frame, Some(Frame::Control(_) | Frame::Data { fin: true }))
    }

    /// Whether the frame that has begun is a control frame: its payload is kept here.
    pub fn is_control(&self) -> bool {
        matches!(self.frame, Some(Frame::Control(_)))
    }

    /// How long the message that has begun is to be at least, by the headers of its frames so far. A
    /// claim of the peer's, within the limits that it was held to.
    pub fn announced_len(&self) -> usize {
        self.begun.map_or(0, |begun| usize::try_from(begun.len).unwrap_or(usize::MAX))
    }

    /// Whether neither a frame nor a message has begun.
    pub fn is_idle(&self) -> bool {
        self.frame.is_none() && self.begun.is_none()
    }

    /// Whether a message has begun and not yet ended: the next data frame has to continue it.
    pub fn is_mid_message(&self) -> bool {
        self.begun.is_some()
    }
}

impl Begun {
    fn new(opcode: Opcode, rsv: Rsv) -> Self {
        Self { opcode, rsv, frame_count: 0, len: 0 }
    }

    /// Whether it is text as it stands.
    fn is_plain_text(self) -> bool {
        self.opcode == Opcode::Text && self.rsv.is_empty()
    }

    /// Adds a fragment of `payload_len` bytes, if the limits allow.
    fn announce(&mut self, payload_len: u64, limits: &Limits) -> Result<(), ProtocolError> {
        let len = self.len.checked_add(payload_len);
        let Some(len) = len.filter(|&len| len <= limits.message_len_max as u64) else {
            return Err(ProtocolError::MessageTooBig);
        };
        self.len = len;
        if self.frame_count > limits.continuation_count_max {
            return Err(ProtocolError::TooManyFragments);
        }
        self.frame_count = self.frame_count.saturating_add(1);
        Ok(())
    }
}

impl Control {
    /// Adds `piece`. [`FrameHeader::decode`] let no payload through that is too long; a header from
    /// elsewhere may lie.
    fn push(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        let start = usize::from(self.len);
        let end = start + piece.len();
        let free = self.bytes.get_mut(start..end).ok_or(ProtocolError::ControlTooLong)?;
        free.copy_from_slice(piece);
        self.len = end as u8;
        Ok(())
    }

    fn payload(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Default for Control {
    fn default() -> Self {
        Self { bytes: [0; FrameHeader::CONTROL_LEN_MAX], len: 0 }
    }
}

const NOT_STARTED: &str = "`start` a frame before its payload";
