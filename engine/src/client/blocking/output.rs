//! Messages to frames, and frames to the transport, one after another.

use std::io;

use super::{compression::Deflating, transport::Line, until::Until};
use crate::{
    protocol::{FrameHeader, Message, Opcode, Rsv},
    reactor::MaskingKeys,
};

/// What it takes to write a frame. Whoever has it writes whole ones.
pub(super) struct Output {
    keys: MaskingKeys,
    deflating: Deflating,
    /// A piece of a frame, masked.
    piece: Vec<u8>,
}

impl Output {
    /// With keys that are seeded.
    pub(super) fn new(keys: MaskingKeys, deflating: Deflating) -> Self {
        Self { keys, deflating, piece: Vec::new() }
    }

    /// Writes a message in one frame, compressed if that was agreed on and makes it shorter.
    pub(super) fn message(
        &mut self,
        message: Message<'_>,
        line: &Line,
        until: Until,
    ) -> io::Result<()> {
        let Self { keys, deflating, piece } = self;
        let (rsv, payload) = match deflating.compress(message.as_bytes()) {
            Some(compressed) => (Rsv::RSV1, compressed),
            None => (Rsv::NONE, message.as_bytes()),
        };
        write_frame(keys, piece, (rsv, message.opcode()), payload, line, until)
    }

    /// Writes a control frame, of at most 125 bytes.
    pub(super) fn control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        line: &Line,
        until: Until,
    ) -> io::Result<()> {
        let Self { keys, piece, .. } = self;
        write_frame(keys, piece, (Rsv::NONE, opcode), payload, line, until)
    }
}

/// Writes a frame, masked on the way to a buffer that holds a piece of it: however long the payload
/// is, no more memory is taken.
fn write_frame(
    keys: &mut MaskingKeys,
    piece: &mut Vec<u8>,
    (rsv, opcode): (Rsv, Opcode),
    payload: &[u8],
    line: &Line,
    until: Until,
) -> io::Result<()> {
    let mut key = keys.next();
    let payload_len = payload.len() as u64;
    let header = FrameHeader { fin: true, rsv, opcode, mask: Some(key), payload_len };
    piece.clear();
    piece.extend_from_slice(&header.encode());
    let (first, rest) = payload.split_at(payload.len().min(PIECE_LEN));
    key.append(piece, first);
    key = key.rotated(first.len());
    line.write_all(piece, until)?;
    for next in rest.chunks(PIECE_LEN) {
        piece.clear();
        key.append(piece, next);
        key = key.rotated(next.len());
        line.write_all(piece, until)?;
    }
    Ok(())
}

/// Bytes of payload that are masked and written at a time.
const PIECE_LEN: usize = 64 * 1024;
