//! What a server receives, to messages.

use std::{hint::black_box, mem};

use throng::protocol::{
    Assembler, Decoder, Event, FrameHeader, Incoming, Limits, Opcode, ProtocolError, Role, Rsv,
    append_frame,
};

use super::{Case, KEY};

pub(super) fn cases() -> Vec<Case> {
    vec![
        whole("decode/text 20 B", Opcode::Text, 20),
        whole("decode/text 128 B", Opcode::Text, 128),
        whole("decode/binary 64 B", Opcode::Binary, 64),
        whole("decode/binary 16 KiB", Opcode::Binary, 16 << 10),
        split("decode/text 20 B, split every 7 B", &stream(&[(true, Opcode::Text, 20); 16]), 16, 7),
        split("decode/text 4 × 32 B and a ping", &fragments(), 1, usize::MAX),
        split("decode/binary 16 KiB, split every 1,400 B", &long(), 1, 1400),
    ]
}

/// Frames that lie whole in the buffer, and need neither machine nor copy.
fn whole(name: &'static str, opcode: Opcode, payload_len: usize) -> Case {
    const COUNT: usize = 16;
    let mut stream = stream(&[(true, opcode, payload_len); COUNT]);
    let limits = Limits::default();
    Case::new(name, COUNT, move || {
        let mut input = &mut black_box(&mut stream)[..];
        while !input.is_empty() {
            let _ = black_box(whole_frame(&mut input, &limits));
        }
    })
}

/// The engine's own way for such a frame.
#[inline]
fn whole_frame<'a>(
    input: &mut &'a mut [u8],
    limits: &Limits,
) -> Result<Option<Incoming<'a>>, ProtocolError> {
    let Some((header, header_len)) = FrameHeader::decode(input)? else { return Ok(None) };
    header.check(Role::Server, Rsv::NONE)?;
    if header.payload_len > limits.message_len_max as u64 {
        return Err(ProtocolError::MessageTooBig);
    }
    let (frame, rest) = mem::take(input).split_at_mut(header_len + header.payload_len as usize);
    *input = rest;
    let payload = &mut frame[header_len..];
    if let Some(key) = header.mask {
        key.apply(payload, 0);
    }
    Incoming::new(header.opcode, Rsv::NONE, payload).map(Some)
}

/// `count` messages in pieces of `piece_len` bytes, which take both machines.
fn split(name: &'static str, stream: &[u8], count: usize, piece_len: usize) -> Case {
    let mut stream = stream.to_vec();
    let mut decoder = Decoder::new(Role::Server, Rsv::NONE);
    let mut assembler = Assembler::default();
    let limits = Limits::default();
    let mut message = Vec::new();
    Case::new(name, count, move || {
        for mut input in black_box(&mut stream).chunks_mut(piece_len) {
            while let Some(event) = decoder.decode(&mut input).expect("well-formed") {
                match event {
                    Event::Header(header) => {
                        assembler.start(&header, &limits, &mut message).expect("in order");
                    }
                    Event::Payload { bytes, last } => {
                        assembler.push(bytes, &mut message).expect("valid text");
                        if last {
                            let _ = black_box(assembler.finish(&message));
                        }
                    }
                }
            }
        }
    })
}

/// A text in four fragments with a ping in the middle.
fn fragments() -> Vec<u8> {
    stream(&[
        (false, Opcode::Text, 32),
        (false, Opcode::Continuation, 32),
        (true, Opcode::Ping, 4),
        (false, Opcode::Continuation, 32),
        (true, Opcode::Continuation, 32),
    ])
}

fn long() -> Vec<u8> {
    stream(&[(true, Opcode::Binary, 16 << 10)])
}

/// Masked frames of so many bytes each.
fn stream(frames: &[(bool, Opcode, usize)]) -> Vec<u8> {
    let mut stream = Vec::new();
    for &(fin, opcode, len) in frames {
        append_frame(&mut stream, fin, Rsv::NONE, opcode, Some(KEY), &vec![b'x'; len]);
    }
    stream
}
