//! Laws of compression that hold for any bytes whatever.

use super::{Budget, Compressor, Deflate, Inflater, Terms, WindowBits, history::History};
use crate::protocol::ProtocolError;

/// Any bytes are a message that inflates or does not, within its limit, and alike however they are
/// cut.
pub fn inflate(data: &[u8]) {
    let Some((&[bits, piece_len], payload)) = data.split_first_chunk() else { return };
    let (piece_len, len_max) = (usize::from(piece_len).max(1), 1 << (bits % 20));
    let mut inflater = Inflater::new();
    let mut whole = Vec::new();
    let outcome = inflater.message(payload, None, len_max, &mut whole);
    assert!(whole.len() <= len_max);
    let mut pieced = Vec::new();
    assert_eq!(outcome, in_pieces(&mut inflater, payload, piece_len, len_max, &mut pieced));
    if outcome.is_ok() {
        assert_eq!(whole, pieced);
    }
}

/// Messages that refer to each other inflate to what they were.
pub fn deflate(data: &[u8]) {
    let Some((&[bits, level, cut], data)) = data.split_first_chunk() else { return };
    let window_bits = WindowBits::new(8 + bits % 8).expect("8 to 15");
    let terms = Terms { window_bits, takeover: bits & 0x40 == 0 };
    let (mut sent, mut received) = histories(terms);
    let settings = Deflate { level, threshold_len: 0, ..Deflate::default() };
    let (mut compressor, mut inflater) = (Compressor::new(&settings), Inflater::new());
    for message in data.chunks(usize::from(cut) * 16 + 1) {
        let Some(payload) = compressor.compress(message, terms, sent.as_mut()) else { continue };
        assert!(payload.len() < message.len());
        let mut found = Vec::new();
        inflater
            .message(payload, received.as_mut(), message.len(), &mut found)
            .expect("it was compressed");
        assert_eq!(found, message);
    }
}

fn in_pieces(
    inflater: &mut Inflater,
    payload: &[u8],
    piece_len: usize,
    len_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    inflater.begin(None, len_max);
    for mut piece in payload.chunks(piece_len) {
        while let Some(slice) = inflater.inflate(&mut piece)? {
            out.extend_from_slice(slice);
        }
    }
    inflater.finish()
}

/// What each end remembers of what one of them says.
fn histories(terms: Terms) -> (Option<History>, Option<History>) {
    let budget = Budget::new(2 * terms.window_bits.window_len());
    let sent = History::of_sent(terms.window_bits, &budget).filter(|_| terms.takeover);
    let received = History::of_received(terms.window_bits, &budget).filter(|_| terms.takeover);
    (sent, received)
}
