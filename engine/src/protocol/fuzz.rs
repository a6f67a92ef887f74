//! Laws that hold for any bytes whatever, for the fuzzer and for `tests/framing.rs`.
//!
//! The first bytes of `data` choose who receives and how the stream is cut, the rest is the stream.

use super::{
    Assembler, CloseCode, Decoder, Event, FrameHeader, Incoming, Limits, MaskingKey, Opcode,
    ProtocolError, Role, Rsv,
};

/// Whatever the bytes, the machines only ever answer; and a whole frame means the same to the short
/// way, without the machines.
pub fn decode(data: &[u8]) {
    let Some((setup, _, stream)) = Setup::new(data) else { return };
    let (said, failure) = setup.receive(stream, stream.len());
    let mut rest = stream.to_vec();
    let mut rest = &mut rest[..];
    for expected in said {
        let Some(found) = setup.receive_whole_frame(&mut rest) else { return };
        assert_eq!(found, Ok(expected));
    }
    if let Some(found) = setup.receive_whole_frame(&mut rest) {
        let error = found.expect_err("the machines said nothing more");
        assert_eq!(Some(error), failure);
    }
}

/// Split anywhere: a stream means the same in any pieces as it does whole.
pub fn decode_split(data: &[u8]) {
    let Some((setup, piece_len, stream)) = Setup::new(data) else { return };
    let whole = setup.receive(stream, stream.len());
    assert_eq!(whole, setup.receive(stream, piece_len), "in pieces of {piece_len}");
    assert_eq!(whole, setup.receive(stream, 1), "a byte at a time");
}

/// Masked in any two pieces and at any alignment, a payload is what it is masked byte by byte.
pub fn mask(data: &[u8]) {
    let Some((&[a, b, c, d, start, cut], payload)) = data.split_first_chunk() else { return };
    let payload = &payload[usize::from(start).min(payload.len())..];
    let cut = usize::from(cut).min(payload.len());
    let key = MaskingKey::new([a, b, c, d]);
    let expected: Vec<u8> =
        payload.iter().zip([a, b, c, d].iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let mut masked = payload.to_vec();
    let (first, second) = masked.split_at_mut(cut);
    key.apply(first, 0);
    key.apply(second, cut);
    assert_eq!(masked, expected);
    let mut copied = vec![0; payload.len()];
    key.copy(&mut copied, payload, 0);
    assert_eq!(copied, expected);
}

/// A receiver of streams.
struct Setup {
    receiver: Role,
    allowed: Rsv,
    limits: Limits,
}

/// What [`Incoming`] says, kept.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Message { opcode: Opcode, rsv: Rsv, payload: Vec<u8> },
    Close(Option<(CloseCode, String)>),
}

impl Setup {
    fn new(data: &[u8]) -> Option<(Self, usize, &[u8])> {
        let (&[flags, piece_len], stream) = data.split_first_chunk()?;
        let setup = Self {
            receiver: if flags & 1 == 0 { Role::Server } else { Role::Client },
            allowed: if flags & 2 == 0 { Rsv::NONE } else { Rsv::RSV1 },
            limits: Limits { message_len_max: 300, continuation_count_max: 5, ..Limits::default() },
        };
        Some((setup, usize::from(piece_len).max(1), stream))
    }

    /// What was said in `stream`, received in pieces of `piece_len` bytes, and how it failed if it did.
    fn receive(&self, stream: &[u8], piece_len: usize) -> (Vec<Said>, Option<ProtocolError>) {
        let mut said = Vec::new();
        let mut decoder = Decoder::new(self.receiver, self.allowed);
        let (mut assembler, mut message) = (Assembler::default(), Vec::new());
        let mut stream = stream.to_vec();
        let outcome = stream.chunks_mut(piece_len.max(1)).try_for_each(|mut piece| {
            while let Some(event) = decoder.decode(&mut piece)? {
                match event {
                    Event::Header(header) => {
                        assembler.start(&header, &self.limits, &mut message)?;
                    }
                    Event::Payload { bytes, last } => {
                        assembler.push(bytes, &mut message)?;
                        if last {
                            said.extend(assembler.finish(&message)?.map(Said::new));
                        }
                    }
                }
            }
            Ok(())
        });
        (said, outcome.err())
    }

    /// What the frame at the start of `stream` says, which moves on; `None` if the frame is not whole
    /// or not alone.
    fn receive_whole_frame(&self, stream: &mut &mut [u8]) -> Option<Result<Said, ProtocolError>> {
        let (header, header_len) = match FrameHeader::decode(stream) {
            Ok(found) => found?,
            Err(error) => return Some(Err(error)),
        };
        if let Err(error) = header.check(self.receiver, self.allowed) {
            return Some(Err(error));
        }
        if !header.fin || header.payload_len > self.limits.message_len_max as u64 {
            return None;
        }
        let len = header_len + header.payload_len as usize;
        let payload = &mut stream.split_off_mut(..len)?[header_len..];
        if let Some(key) = header.mask {
            key.apply(payload, 0);
        }
        Some(Incoming::new(header.opcode, header.rsv, payload).map(Said::new))
    }
}

impl Said {
    fn new(incoming: Incoming<'_>) -> Self {
        let (opcode, rsv, payload) = match incoming {
            Incoming::Message(message) => (message.opcode(), Rsv::NONE, message.as_bytes()),
            Incoming::Extended { opcode, rsv, payload } => (opcode, rsv, payload),
            Incoming::Ping(payload) => (Opcode::Ping, Rsv::NONE, payload),
            Incoming::Pong(payload) => (Opcode::Pong, Rsv::NONE, payload),
            Incoming::Close(frame) => {
                return Self::Close(frame.map(|frame| (frame.code, frame.reason.to_owned())));
            }
        };
        Self::Message { opcode, rsv, payload: payload.to_vec() }
    }
}
