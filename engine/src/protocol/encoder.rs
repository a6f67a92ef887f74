//! Messages to frames (RFC 6455 §6.1).

use super::{
    header::{EncodedHeader, FIN, FrameHeader, LEN_IN_2, LEN_IN_8, Rsv},
    mask::MaskingKey,
    opcode::Opcode,
};
use crate::simd;

/// The header of a whole, unmasked message or control frame, as a server sends it.
#[inline]
pub fn frame_header(opcode: Opcode, payload_len: usize) -> EncodedHeader {
    masked_frame_header(opcode, payload_len, None)
}

/// How long the frame of a whole, unmasked message is, in bytes.
#[inline]
pub(crate) fn frame_len(payload_len: usize) -> usize {
    header(Opcode::Binary, payload_len, None).encoded_len() + payload_len
}

/// Fills `frame` with the frame of a whole, unmasked message: what [`append_frame`] does, where the
/// length is known and memory cannot grow.
///
/// # Panics
///
/// If `frame` is not [`frame_len`] long.
#[inline]
pub(crate) fn write_frame(frame: &mut [u8], opcode: Opcode, payload: &[u8]) {
    let first = FIN | opcode as u8;
    match payload.len() {
        len @ 0..=125 => put(frame, [first, len as u8]).copy_from_slice(payload),
        len @ 126..=0xFFFF => {
            let [high, low] = (len as u16).to_be_bytes();
            simd::copy(put(frame, [first, LEN_IN_2, high, low]), payload);
        }
        len => {
            let rest = put(frame, [first, LEN_IN_8]);
            simd::copy(put(rest, (len as u64).to_be_bytes()), payload);
        }
    }
}

/// Writes `bytes` to the start of `out` and returns what is behind them.
#[inline]
fn put<const N: usize>(out: &mut [u8], bytes: [u8; N]) -> &mut [u8] {
    let (start, rest) = out.split_first_chunk_mut().expect("as long as `frame_len` says");
    *start = bytes;
    rest
}

/// The header of a whole message or control frame that is masked with `mask`, as a client sends it;
/// without a key, as [`frame_header`].
#[inline]
pub(crate) fn masked_frame_header(
    opcode: Opcode,
    payload_len: usize,
    mask: Option<MaskingKey>,
) -> EncodedHeader {
    header(opcode, payload_len, mask).encode()
}

#[inline]
fn header(opcode: Opcode, payload_len: usize, mask: Option<MaskingKey>) -> FrameHeader {
    FrameHeader { fin: true, rsv: Rsv::NONE, opcode, mask, payload_len: payload_len as u64 }
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
    append_payload(out, mask, payload);
}

/// Appends a payload to `out`, masked if there is a key.
#[inline]
pub(crate) fn append_payload(out: &mut Vec<u8>, mask: Option<MaskingKey>, payload: &[u8]) {
    match mask {
        None => simd::append(out, payload),
        Some(key) => key.append(out, payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_is_as_appended() {
        for len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, 70_000] {
            let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
            for opcode in [Opcode::Text, Opcode::Binary, Opcode::Pong] {
                let mut appended = Vec::new();
                append_frame(&mut appended, true, Rsv::NONE, opcode, None, &payload);
                let mut written = vec![0; frame_len(len)];
                write_frame(&mut written, opcode, &payload);
                assert_eq!(written, appended);
            }
        }
    }
}
