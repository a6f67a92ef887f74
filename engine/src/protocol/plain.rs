//! The frame that most frames are, in as few instructions as it takes (RFC 6455 §5.2).
//!
//! ```text
//!   1000 0001  1 length   ┄┄┄┄┄┄┄┄  key    payload      a masked text or binary message,
//!   1000 0010  1 126      length    key    payload      whole, of at most 64 KiB
//! ```
//!
//! Two comparisons tell such a frame from all others, which [`FrameHeader`](super::FrameHeader)
//! takes apart field by field. What both understand, they understand alike: the tests hold them
//! against each other.

use super::{error::ProtocolError, mask::MaskingKey, message::Message, utf8};

/// Takes a message off the front of `input`, if it lies there whole in one plain frame, and unmasks it
/// in place. For servers: who receives it expects it to be masked.
///
/// `None`: whatever it is, the general way can tell, and nothing was taken. An error is one of the
/// text. A message longer than `len_max` bytes is not plain.
#[inline]
pub(crate) fn plain_message<'a>(
    input: &mut &'a mut [u8],
    len_max: usize,
) -> Result<Option<Message<'a>>, ProtocolError> {
    // One load for the whole header. (What is shorter than that is not worth the hurry.)
    let Some(&bytes) = input.first_chunk() else { return Ok(None) };
    let bits = u64::from_le_bytes(bytes);
    let [first, second, ..] = bytes;
    let (header_len, len) = match second.wrapping_sub(MASKED) {
        len @ 0..=125 => (6, usize::from(len)),
        126 => (8, usize::from(((bits >> 16) as u16).swap_bytes())),
        _ => return Ok(None),
    };
    let key = (bits >> (8 * header_len - 32)) as u32;
    let is_minimal = header_len == 6 || len > 125;
    let is_message = first == FINAL_TEXT || first == FINAL_BINARY;
    if !is_message || !is_minimal || len > len_max || len > input.len() - header_len {
        return Ok(None);
    }
    let (frame, rest) = std::mem::take(input).split_at_mut(header_len + len);
    *input = rest;
    let payload = &mut frame[header_len..];
    MaskingKey::new(key.to_le_bytes()).apply(payload, 0);
    match first {
        FINAL_TEXT => utf8::validate(payload).map(|text| Some(Message::Text(text))),
        _ => Ok(Some(Message::Binary(payload))),
    }
}

const FINAL_TEXT: u8 = 0x81;
const FINAL_BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{FrameHeader, Incoming, Opcode, Role, Rsv, append_frame},
        *,
    };

    /// What the general way makes of a frame that lies whole at the front of `input`.
    fn general<'a>(
        input: &mut &'a mut [u8],
        len_max: usize,
    ) -> Result<Option<Incoming<'a>>, ProtocolError> {
        let Some((header, header_len)) = FrameHeader::decode(input)? else { return Ok(None) };
        header.check(Role::Server, Rsv::NONE)?;
        let len = header.payload_len as usize;
        if len > len_max || len > input.len() - header_len || !header.fin {
            return Ok(None);
        }
        let (frame, rest) = std::mem::take(input).split_at_mut(header_len + len);
        *input = rest;
        let payload = &mut frame[header_len..];
        header.mask.expect("checked").apply(payload, 0);
        Incoming::new(header.opcode, Rsv::NONE, payload).map(Some)
    }

    /// Whatever the plain way takes, the general way takes alike.
    fn agree(bytes: &[u8], len_max: usize) -> bool {
        let (mut one, mut other) = (bytes.to_vec(), bytes.to_vec());
        let (mut plain, mut whole) = (&mut one[..], &mut other[..]);
        match plain_message(&mut plain, len_max) {
            Ok(None) => {
                assert_eq!(plain, bytes, "nothing was taken");
                return false;
            }
            Ok(Some(message)) => {
                let expected = general(&mut whole, len_max);
                assert_eq!(expected, Ok(Some(Incoming::Message(message))));
                assert_eq!(plain, whole);
            }
            Err(error) => assert_eq!(general(&mut whole, len_max), Err(error)),
        }
        true
    }

    fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let key = MaskingKey::new([7, 200, 31, 4]);
        append_frame(&mut frame, true, Rsv::NONE, opcode, Some(key), payload);
        frame
    }

    #[test]
    fn every_length_up_to_64_kib_is_taken() {
        for len in (2..300).chain([16_384, 65_534, 65_535]) {
            for opcode in [Opcode::Text, Opcode::Binary] {
                let mut bytes = frame(opcode, &vec![b'x'; len]);
                assert!(agree(&bytes, usize::MAX), "{len}");
                assert!(!agree(&bytes, len - 1), "longer than it may be");
                bytes.extend_from_slice(&frame(Opcode::Ping, b"next"));
                assert!(agree(&bytes, len));
                assert!(!agree(&bytes[..len + 5], usize::MAX), "cut off");
            }
        }
    }

    #[test]
    fn anything_else_is_left() {
        let mut fragment = frame(Opcode::Text, b"first");
        fragment[0] &= 0x7F;
        let mut reserved = frame(Opcode::Binary, b"compressed");
        reserved[0] |= 0x40;
        let unmasked = b"\x82\x08unmasked".to_vec();
        let mut too_many = frame(Opcode::Binary, &[0; 126]);
        too_many[3] = 125;
        let others = [
            fragment,
            reserved,
            unmasked,
            too_many,
            frame(Opcode::Ping, b"are you there"),
            frame(Opcode::Close, b"\x03\xE8done"),
            frame(Opcode::Binary, &[0; 0x1_0000]),
        ];
        for bytes in others {
            assert!(!agree(&bytes, usize::MAX), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_it_takes_the_general_way_takes_alike(
            first in prop::sample::select(vec![0x80, 0x81, 0x82, 0x01, 0x88, 0xC1, 0x83]),
            second: u8,
            rest in prop::collection::vec(any::<u8>(), 0..300),
            len_max in 0_usize..300,
        ) {
            agree(&[&[first, second], &rest[..]].concat(), len_max);
        }
    }
}
