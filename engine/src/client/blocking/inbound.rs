//! Received bytes to messages, without a socket.

use super::compression::Inflating;
use crate::protocol::{
    Assembler, CloseCode, Decoder, Event, Incoming, Limits, Message, ProtocolError, Role,
};

/// What is received, as far as it has been looked at.
pub(super) struct Inbound {
    decoder: Decoder,
    assembler: Assembler,
    limits: Limits,
    inflating: Inflating,
    /// Bytes as they came; those from `start` to `end` have not been looked at.
    input: Box<[u8]>,
    start: usize,
    end: usize,
    /// Where a message grows, and where it is lent from.
    message: Vec<u8>,
}

/// What the peer said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A message, which can be [lent](Inbound::lend). It has to be, before the next is looked for.
    Message,
    Ping(Vec<u8>),
    Pong,
    Close(Option<CloseCode>, String),
}

impl Inbound {
    /// Begins with the bytes that came behind the answer to the opening handshake.
    pub(super) fn new(early: &[u8], limits: Limits, inflating: Inflating) -> Self {
        let mut input = vec![0; INPUT_LEN.max(early.len())].into_boxed_slice();
        input[..early.len()].copy_from_slice(early);
        Self {
            decoder: Decoder::new(Role::Client, inflating.rsv()),
            assembler: Assembler::default(),
            limits,
            inflating,
            input,
            start: 0,
            end: early.len(),
            message: Vec::new(),
        }
    }

    /// Where to receive to, once [`poll`](Self::poll) has asked for more.
    pub(super) fn room(&mut self) -> &mut [u8] {
        (self.start, self.end) = (0, 0);
        &mut self.input
    }

    /// So many bytes have been received.
    pub(super) fn received(&mut self, len: usize) {
        self.end = len;
    }

    /// The next thing that the peer said. `None`: all that was received has been taken in.
    pub(super) fn poll(&mut self) -> Result<Option<Heard>, ProtocolError> {
        loop {
            let mut input = &mut self.input[self.start..self.end];
            let Some(event) = self.decoder.decode(&mut input)? else { return Ok(None) };
            self.start = self.end - input.len();
            match event {
                Event::Header(header) => {
                    let is_large = self.message.capacity() > MESSAGE_LEN_KEPT;
                    let is_short = header.payload_len < MESSAGE_LEN_KEPT as u64;
                    if is_large && is_short && self.assembler.is_idle() {
                        self.message = Vec::new();
                    }
                    self.assembler.start(&header, &self.limits, &mut self.message)?;
                }
                Event::Payload { bytes, last } => {
                    self.assembler.push(bytes, &mut self.message)?;
                    if last && self.assembler.completes() && !self.assembler.is_control() {
                        return Ok(Some(Heard::Message));
                    }
                    if last && let Some(heard) = self.control()? {
                        return Ok(Some(heard));
                    }
                }
            }
        }
    }

    /// Lends the message that has just been heard.
    pub(super) fn lend(&mut self) -> Result<Message<'_>, ProtocolError> {
        match self.assembler.finish(&self.message)? {
            Some(Incoming::Message(message)) => Ok(message),
            Some(Incoming::Extended { opcode, payload, .. }) => {
                self.inflating.message(opcode, payload, self.limits.message_len_max)
            }
            _ => unreachable!("a message was heard"),
        }
    }

    /// The frame that ends is a control frame, or a fragment with more to come.
    fn control(&mut self) -> Result<Option<Heard>, ProtocolError> {
        Ok(self.assembler.finish(&[])?.map(|incoming| match incoming {
            Incoming::Ping(payload) => Heard::Ping(payload.to_owned()),
            Incoming::Pong(_) => Heard::Pong,
            Incoming::Close(None) => Heard::Close(None, String::new()),
            Incoming::Close(Some(frame)) => Heard::Close(Some(frame.code), frame.reason.to_owned()),
            Incoming::Message(_) | Incoming::Extended { .. } => {
                unreachable!("a message is lent, not looked at")
            }
        }))
    }
}

/// Bytes that one call may receive.
const INPUT_LEN: usize = 32 * 1024;

/// The buffer of a longer message is given up when a shorter one begins.
const MESSAGE_LEN_KEPT: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Opcode, Rsv, append_frame};

    fn inbound(early: &[u8]) -> Inbound {
        Inbound::new(early, Limits::default(), Inflating::default())
    }

    #[test]
    fn split_anywhere() {
        let mut stream = Vec::new();
        let mut say = |fin, opcode, payload: &[u8]| {
            append_frame(&mut stream, fin, Rsv::NONE, opcode, None, payload);
        };
        say(false, Opcode::Text, b"hel");
        say(true, Opcode::Ping, b"there?");
        say(true, Opcode::Continuation, b"lo");
        say(true, Opcode::Pong, b"");
        say(true, Opcode::Binary, &[7; 300]);
        say(true, Opcode::Close, b"\x03\xE8bye");
        for piece_len in 1..stream.len() {
            let (mut inbound, mut heard) = (inbound(&[]), Vec::new());
            for piece in stream.chunks(piece_len) {
                inbound.room()[..piece.len()].copy_from_slice(piece);
                inbound.received(piece.len());
                while let Some(one) = inbound.poll().unwrap() {
                    if one == Heard::Message {
                        heard.push(format!("{}", inbound.lend().unwrap().len()));
                    } else {
                        heard.push(format!("{one:?}"));
                    }
                }
            }
            let close = "Close(Some(CloseCode(1000)), \"bye\")";
            assert_eq!(
                heard,
                ["Ping([116, 104, 101, 114, 101, 63])", "5", "Pong", "300", close],
                "{piece_len}"
            );
        }
    }

    #[test]
    fn what_came_early_is_not_lost() {
        let mut stream = Vec::new();
        append_frame(&mut stream, true, Rsv::NONE, Opcode::Text, None, &[b'x'; 50_000]);
        let mut inbound = inbound(&stream);
        assert_eq!(inbound.poll(), Ok(Some(Heard::Message)));
        assert_eq!(inbound.lend().map(Message::len), Ok(50_000));
        assert_eq!(inbound.poll(), Ok(None));
    }
}
