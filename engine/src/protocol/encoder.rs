//! Messages to frames (RFC 6455 §6.1).

use super::{
    header::{EncodedHeader, FrameHeader, Rsv},
    mask::MaskingKey,
    opcode::Opcode,
};
use crate::simd;

/// The header of a whole, unmasked message or control frame, as a server sends it.
#[inline]
pub fn frame_header(opcode: Opcode, payload_len: usize) -> EncodedHeader {
    let payload_len = payload_len as u64;
    FrameHeader { fin: true, rsv: Rsv::NONE, opcode, mask: None, payload_len }.encode()
}

/// Appends a frame to `out`: copies `payload` once, and masks it on the way if there is a key.
///
/// A client passes a fresh `mask` for each frame and a server `None` (RFC 6455 §5.1). Allocates only
/// if `out` has no room for the payload and [`FrameHeader::LEN_MAX`] bytes. Where memory cannot grow,
/// [`EncodedHeader::write_to`] writes the header.
///
/// ```
/// use throng::protocol::{MaskingKey, Opcode, Rsv, append_frame};
///
/// let mut out = Vec::new();
/// append_frame(&mut out, true, Rsv::NONE, Opcode::Text, None, b"Hello");
/// assert_eq!(out, b"\x81\x05Hello");
///
/// out.clear();
/// let key = Some(MaskingKey::new([0x37, 0xfa, 0x21, 0x3d]));
/// append_frame(&mut out, true, Rsv::NONE, Opcode::Text, key, b"Hello");
/// assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
/// ```
#[inline]
pub fn append_frame(
    out: &mut Vec<u8>,
    fin: bool,
    rsv: Rsv,
    opcode: Opcode,
    mask: Option<MaskingKey>,
    payload: &[u8],
) {
    let header = FrameHeader { fin, rsv, opcode, mask, payload_len: payload.len() as u64 };
    out.reserve(FrameHeader::LEN_MAX + payload.len());
    header.encode().append_to(out);
    match mask {
        None => out.extend_from_slice(payload),
        Some(key) => simd::mask_append(out, payload, key.bytes()),
    }
}
