//! The 2 to 14 bytes in front of a payload (RFC 6455 §5.2).
//!
//! ```text
//!   byte 0             byte 1            0, 2 or 8 bytes   0 or 4 bytes
//!  ┌───┬───┬────────┐ ┌────┬──────────┐ ┌───────────────┐ ┌─────────────┐
//!  │FIN│RSV│ opcode │ │MASK│ length   │ │ longer length │ │ masking key │
//!  │ 1 │ 3 │   4    │ │ 1  │ 0…125    │ │ if 126 or 127 │ │ if MASK     │
//!  └───┴───┴────────┘ └────┴──────────┘ └───────────────┘ └─────────────┘
//! ```
//!
//! Reading one takes two steps, for two kinds of rules: [`FrameHeader::decode`] knows those that hold
//! for any frame, [`FrameHeader::check`] those that depend on who reads and on what was negotiated.

use std::ops::{BitOr, Deref};

use super::{error::ProtocolError, mask::MaskingKey, opcode::Opcode};

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Receives masked frames and sends them unmasked.
    Server,
    /// Receives unmasked frames and sends them masked.
    Client,
}

/// The three reserved bits, which extensions give a meaning to (RFC 6455 §5.2, §9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rsv(u8); // the bits stand where they stand in byte 0

impl Rsv {
    /// No bit.
    pub const NONE: Self = Self(0);
    /// The first bit: "this message is compressed", with permessage-deflate (RFC 7692 §6).
    pub const RSV1: Self = Self(0x40);
    /// The second bit.
    pub const RSV2: Self = Self(0x20);
    /// The third bit.
    pub const RSV3: Self = Self(0x10);

    const MASK: u8 = Self::RSV1.0 | Self::RSV2.0 | Self::RSV3.0;

    /// Whether all bits of `other` are among these.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// These bits and those of `other`; `|` says the same outside of constants.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether no bit is set.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Rsv {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

/// What stands in front of a payload (RFC 6455 §5.2).
///
/// ```
/// use throng::protocol::{FrameHeader, Opcode, Role, Rsv};
///
/// // RFC 6455 §5.7: a masked text message of five bytes, so far only in part.
/// let received = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f];
/// let (header, len) = FrameHeader::decode(&received)?.expect("six bytes are enough");
/// assert_eq!((header.opcode, header.fin, header.payload_len, len), (Opcode::Text, true, 5, 6));
/// header.check(Role::Server, Rsv::NONE)?;
///
/// assert_eq!(header.encode()[..], received[..len]);
/// # Ok::<(), throng::protocol::ProtocolError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this is the last fragment of its message, which is also the first one if the message
    /// is not fragmented.
    pub fin: bool,
    /// The reserved bits that are set.
    pub rsv: Rsv,
    /// What the payload is for.
    pub opcode: Opcode,
    /// The key that masks the payload; every client masks, no server does (§5.1).
    pub mask: Option<MaskingKey>,
    /// Length of the payload in bytes, below 2⁶³. Whatever it claims, nothing is allocated for it.
    pub payload_len: u64,
}

impl FrameHeader {
    /// Longest encoding, in bytes.
    pub const LEN_MAX: usize = 14;

    /// Longest payload of a control frame, in bytes (§5.5).
    pub const CONTROL_LEN_MAX: usize = 125;

    /// Reads the header at the start of `bytes`, and says how many of them it takes. `None` asks for
    /// more.
    ///
    /// Errors as soon as the bytes show them: a reserved opcode, a fragmented or a long control frame
    /// by the first two, a length in more bytes than it needs or of 2⁶³ and more by the length.
    /// Allocates nothing.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let &[first, second, ..] = bytes else { return Ok(None) };
        let fin = first & FIN != 0;
        let Some(opcode) = Opcode::from_bits(first & OPCODE) else {
            return Err(ProtocolError::ReservedOpcode(first & OPCODE));
        };
        let short_len = second & SHORT_LEN;
        if opcode.is_control() && (!fin || short_len > SHORT_LEN_MAX) {
            return Err(match fin {
                false => ProtocolError::FragmentedControl,
                true => ProtocolError::ControlTooLong,
            });
        }
        let (payload_len, len) = match short_len {
            LEN_IN_2 => {
                let Some(field) = array_at(bytes, 2) else { return Ok(None) };
                match u16::from_be_bytes(field) {
                    ..=LEN_IN_0_MAX => return Err(ProtocolError::LengthNotMinimal),
                    payload_len => (u64::from(payload_len), 4),
                }
            }
            LEN_IN_8 => {
                let Some(field) = array_at(bytes, 2) else { return Ok(None) };
                match u64::from_be_bytes(field) {
                    ..=LEN_IN_2_MAX => return Err(ProtocolError::LengthNotMinimal),
                    LEN_TOO_LARGE.. => return Err(ProtocolError::LengthTooLarge),
                    payload_len => (payload_len, 10),
                }
            }
            _ => (u64::from(short_len), 2),
        };
        let (mask, len) = if second & MASKED != 0 {
            let Some(key) = array_at(bytes, len) else { return Ok(None) };
            (Some(MaskingKey::new(key)), len + 4)
        } else {
            (None, len)
        };
        Ok(Some((Self { fin, rsv: Rsv(first & Rsv::MASK), opcode, mask, payload_len }, len)))
    }

    /// Holds the header against the rules that depend on who receives it and on which reserved bits
    /// the negotiated extensions use.
    ///
    /// An `allowed` bit may be set on the first frame of a message only: never on a continuation,
    /// which shares the first frame's meaning, nor on a control frame (RFC 7692 §6.1).
    #[inline]
    pub fn check(&self, receiver: Role, allowed: Rsv) -> Result<(), ProtocolError> {
        let allowed = match self.opcode {
            Opcode::Text | Opcode::Binary => allowed,
            _ => Rsv::NONE,
        };
        if !allowed.contains(self.rsv) {
            return Err(ProtocolError::ReservedBits);
        }
        match (receiver, self.mask) {
            (Role::Server, None) => Err(ProtocolError::UnmaskedFrame),
            (Role::Client, Some(_)) => Err(ProtocolError::MaskedFrame),
            _ => Ok(()),
        }
    }

    /// The bytes of this header, on the stack.
    #[inline]
    pub fn encode(&self) -> EncodedHeader {
        debug_assert!(self.payload_len < LEN_TOO_LARGE, "a payload of 2⁶³ bytes or more");
        let fin = if self.fin { FIN } else { 0 };
        let first = fin | self.rsv.0 | self.opcode as u8;
        let (second, longer_len, mut len) = match self.payload_len {
            short @ 0..=125 => (short as u8, 0, 2),
            medium @ 126..=0xFFFF => (LEN_IN_2, u64::from((medium as u16).swap_bytes()), 4),
            long => (LEN_IN_8, long.swap_bytes(), 10),
        };
        // One number, put together from its lowest byte on, stays in registers; an array, filled in
        // byte by byte, would not.
        let mut bits = u128::from(first) | u128::from(second) << 8 | u128::from(longer_len) << 16;
        if let Some(key) = self.mask {
            bits |= u128::from(MASKED) << 8;
            bits |= u128::from(u32::from_le_bytes(key.bytes())) << (8 * len);
            len += 4;
        }
        let [bytes @ .., _, _] = bits.to_le_bytes();
        EncodedHeader { bytes, len }
    }

    /// How many bytes [`FrameHeader::encode`] makes: 2 to 14.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        let key_len = if self.mask.is_some() { 4 } else { 0 };
        key_len
            + match self.payload_len {
                0..=125 => 2,
                126..=0xFFFF => 4,
                _ => 10,
            }
    }
}

/// A header as it travels: at most [`FrameHeader::LEN_MAX`] bytes, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct EncodedHeader {
    bytes: [u8; FrameHeader::LEN_MAX],
    len: u8,
}

impl EncodedHeader {
    /// Appends it to `out`. Cheapest if there is room for [`FrameHeader::LEN_MAX`] bytes.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let len = out.len() + usize::from(self.len);
        out.extend_from_slice(&self.bytes); // all of them: two stores instead of a call
        out.truncate(len);
    }

    /// Writes it to the start of `out`, and returns the rest, which the payload is to fill: what is
    /// there is overwritten in part.
    ///
    /// # Panics
    ///
    /// If `out` is too short.
    #[inline]
    pub fn write_to<'a>(&self, out: &'a mut [u8]) -> &'a mut [u8] {
        let len = usize::from(self.len);
        match out.first_chunk_mut() {
            Some(longest) => *longest = self.bytes,
            None => out[..len].copy_from_slice(self),
        }
        &mut out[len..]
    }
}

impl Deref for EncodedHeader {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The `N` bytes from `index` on, if they are there.
#[inline]
fn array_at<const N: usize>(bytes: &[u8], index: usize) -> Option<[u8; N]> {
    bytes.get(index..index + N)?.first_chunk().copied()
}

pub(super) const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const SHORT_LEN: u8 = 0x7F;
/// Longest length that fits in byte 1; a control frame's has to.
const SHORT_LEN_MAX: u8 = FrameHeader::CONTROL_LEN_MAX as u8;
/// The length is in the two bytes that follow.
pub(super) const LEN_IN_2: u8 = 126;
/// The length is in the eight bytes that follow.
pub(super) const LEN_IN_8: u8 = 127;
/// Longest lengths that fit in no further byte, and in two.
const LEN_IN_0_MAX: u16 = SHORT_LEN_MAX as u16;
const LEN_IN_2_MAX: u64 = u16::MAX as u64;
/// "The most significant bit MUST be 0."
const LEN_TOO_LARGE: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decode_says_no_as_soon_as_the_bytes_do() {
        use ProtocolError::*;
        // (the fewest bytes that show it, the rule they break)
        let rows: [(&[u8], _); 14] = [
            (b"\x83\x00", ReservedOpcode(3)),
            (b"\x87\x00", ReservedOpcode(7)),
            (b"\x8B\x00", ReservedOpcode(11)),
            (b"\xFF\xFF", ReservedOpcode(15)),
            (b"\x08\x00", FragmentedControl),
            (b"\x09\xFE", FragmentedControl),
            (b"\x88\x7E", ControlTooLong),
            (b"\x89\xFF", ControlTooLong),
            (b"\x82\x7E\x00\x00", LengthNotMinimal),
            (b"\x82\xFE\x00\x7D", LengthNotMinimal),
            (b"\x82\x7F\x00\x00\x00\x00\x00\x00\x00\x00", LengthNotMinimal),
            (b"\x82\xFF\x00\x00\x00\x00\x00\x00\xFF\xFF", LengthNotMinimal),
            (b"\x82\x7F\x80\x00\x00\x00\x00\x00\x00\x00", LengthTooLarge),
            (b"\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", LengthTooLarge),
        ];
        for (bytes, error) in rows {
            for len in 0..bytes.len() {
                assert_eq!(FrameHeader::decode(&bytes[..len]), Ok(None), "{:02X?}", &bytes[..len]);
            }
            let more = [bytes, &[0; 20]].concat();
            assert_eq!(FrameHeader::decode(bytes), Err(error), "{bytes:02X?}");
            assert_eq!(FrameHeader::decode(&more), Err(error), "{bytes:02X?} and more");
        }
    }

    #[test]
    fn lengths_take_as_few_bytes_as_they_need() {
        // (length, bytes of an unmasked header)
        let rows: [(u64, usize); 8] = [
            (0, 2),
            (125, 2),
            (126, 4),
            (127, 4),
            (0xFFFF, 4),
            (0x1_0000, 10),
            (1 << 62, 10),
            ((1 << 63) - 1, 10),
        ];
        for (payload_len, len) in rows {
            for (mask, key_len) in [(None, 0), (Some(MaskingKey::new([1, 2, 3, 4])), 4)] {
                let opcode = Opcode::Binary;
                let header = FrameHeader { fin: true, rsv: Rsv::NONE, opcode, mask, payload_len };
                assert_eq!(header.encoded_len(), len + key_len);
                check_round_trip(header);
            }
        }
    }

    #[test]
    fn check_knows_who_receives_and_what_was_negotiated() {
        use ProtocolError::*;
        let none = Rsv::NONE;
        let all = Rsv::RSV1 | Rsv::RSV2 | Rsv::RSV3;
        let (masked, unmasked) = (Some(MaskingKey::new([0; 4])), None);
        // (receiver, allowed, opcode, bits set, key, verdict)
        let rows = [
            (Role::Server, none, Opcode::Text, none, masked, Ok(())),
            (Role::Server, none, Opcode::Text, none, unmasked, Err(UnmaskedFrame)),
            (Role::Client, none, Opcode::Text, none, unmasked, Ok(())),
            (Role::Client, none, Opcode::Text, none, masked, Err(MaskedFrame)),
            (Role::Server, none, Opcode::Binary, Rsv::RSV1, masked, Err(ReservedBits)),
            (Role::Server, none, Opcode::Binary, Rsv::RSV1, unmasked, Err(ReservedBits)),
            (Role::Server, Rsv::RSV1, Opcode::Binary, Rsv::RSV1, masked, Ok(())),
            (Role::Server, Rsv::RSV1, Opcode::Binary, none, masked, Ok(())),
            (Role::Server, Rsv::RSV1, Opcode::Binary, Rsv::RSV2, masked, Err(ReservedBits)),
            (Role::Server, Rsv::RSV1, Opcode::Binary, all, masked, Err(ReservedBits)),
            (Role::Server, all, Opcode::Text, all, masked, Ok(())),
            (Role::Server, all, Opcode::Continuation, Rsv::RSV1, masked, Err(ReservedBits)),
            (Role::Server, all, Opcode::Close, Rsv::RSV1, masked, Err(ReservedBits)),
            (Role::Client, all, Opcode::Ping, Rsv::RSV2, unmasked, Err(ReservedBits)),
            (Role::Client, all, Opcode::Pong, Rsv::RSV3, unmasked, Err(ReservedBits)),
        ];
        for (receiver, allowed, opcode, rsv, mask, verdict) in rows {
            let header = FrameHeader { fin: true, rsv, opcode, mask, payload_len: 0 };
            assert_eq!(header.check(receiver, allowed), verdict, "{receiver:?} {header:?}");
        }
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<FrameHeader>() <= 16);
        assert!(size_of::<EncodedHeader>() <= 16);
    }

    /// Decodes what `header` encodes to, after asking for more at each byte before the last.
    fn check_round_trip(header: FrameHeader) {
        let encoded = header.encode();
        assert_eq!(encoded.len(), header.encoded_len());
        for len in 0..encoded.len() {
            assert_eq!(FrameHeader::decode(&encoded[..len]), Ok(None));
        }
        assert_eq!(FrameHeader::decode(&encoded), Ok(Some((header, encoded.len()))));

        let mut appended = b"before".to_vec();
        encoded.append_to(&mut appended);
        assert_eq!(appended, [b"before", &*encoded].concat());
        for rest_len in [0, 1, 20] {
            let mut written = vec![0; encoded.len() + rest_len];
            assert_eq!(encoded.write_to(&mut written).len(), rest_len);
            assert_eq!(written[..encoded.len()], *encoded);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn round_trip(first: u8, key: Option<[u8; 4]>, payload_len: u64, shift in 1_u32..64) {
            let fin = first & FIN != 0;
            let (rsv, mask) = (Rsv(first & Rsv::MASK), key.map(MaskingKey::new));
            let Some(opcode) = Opcode::from_bits(first & OPCODE) else { return Ok(()) };
            let (fin, payload_len) = match opcode.is_control() {
                true => (true, payload_len % 126),
                false => (fin, payload_len >> shift),
            };
            check_round_trip(FrameHeader { fin, rsv, opcode, mask, payload_len });
        }

        /// There is one way to write a header: what can be decoded is what we would have encoded.
        #[test]
        fn round_trip_from_bytes(bytes: [u8; 14]) {
            if let Ok(Some((header, len))) = FrameHeader::decode(&bytes) {
                prop_assert_eq!(&*header.encode(), &bytes[..len]);
            }
        }
    }
}
