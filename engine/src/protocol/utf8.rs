//! Is it UTF-8? Asked of a whole message, or of its pieces as they come (RFC 6455 §8.1).

use super::error::ProtocolError;
use crate::simd;

/// The text that `bytes` are, or [`ProtocolError::InvalidUtf8`]. Copies nothing.
#[inline]
pub fn validate(bytes: &[u8]) -> Result<&str, ProtocolError> {
    simd::validate_utf8(bytes).map_err(|_| ProtocolError::InvalidUtf8)
}

/// Validates text that arrives in pieces, which may end in the middle of a character.
///
/// Fails on the first byte that no valid text could go on with, even if nothing follows it yet. To
/// that end it remembers the bytes of a character that is not complete, at most three; the default is
/// at the beginning of a text.
///
/// ```
/// use throng::protocol::utf8::Utf8Validator;
///
/// let mut validator = Utf8Validator::default();
/// validator.push(b"caf\xC3")?;
/// validator.push(b"\xA9")?;
/// validator.finish()?;
///
/// validator.push(b"\xED")?;
/// validator.push(b"\xA0").expect_err("a surrogate, whatever its third byte would be");
/// # Ok::<(), throng::protocol::ProtocolError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8Validator {
    /// The first bytes of a character; the fourth place is free until it is completed.
    begun: [u8; 4],
    begun_len: u8,
}

impl Utf8Validator {
    /// Goes on with `bytes`. After an error the validator is at the beginning of another text.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), ProtocolError> {
        if self.begun_len > 0 {
            let missing_len = character_len(self.begun[0]) - usize::from(self.begun_len);
            let (next, rest) = bytes.split_at(missing_len.min(bytes.len()));
            self.add(next)?;
            bytes = rest;
        }
        let (whole, begun) = bytes.split_at(bytes.len() - incomplete_len(bytes));
        validate(whole)?;
        self.add(begun)
    }

    /// Ends the text, which is an error in the middle of a character. The next `push` begins another.
    pub fn finish(&mut self) -> Result<(), ProtocolError> {
        match std::mem::take(self).begun_len {
            0 => Ok(()),
            _ => Err(ProtocolError::InvalidUtf8),
        }
    }

    /// Adds bytes to the character that is begun, or begins one.
    fn add(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let Self { mut begun, begun_len } = std::mem::take(self);
        let len = usize::from(begun_len) + bytes.len();
        begun[usize::from(begun_len)..len].copy_from_slice(bytes);
        match str::from_utf8(&begun[..len]) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(ProtocolError::InvalidUtf8),
            Err(_) => {
                *self = Self { begun, begun_len: len as u8 };
                Ok(())
            }
        }
    }
}

/// How many bytes at the end look like a character whose last bytes are yet to come: 0 to 3.
///
/// Only a first look, by the length that the character's first byte announces.
fn incomplete_len(bytes: &[u8]) -> usize {
    let is_first = |byte: &u8| *byte & 0xC0 != 0x80;
    let last_three = &bytes[bytes.len().saturating_sub(3)..];
    let Some(index) = last_three.iter().rposition(is_first) else { return 0 };
    let len = last_three.len() - index;
    if len < character_len(last_three[index]) { len } else { 0 }
}

/// The length of a character, as its first byte announces it.
fn character_len(first: u8) -> usize {
    match first {
        0x00..=0xBF => 1,
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every edge of the table in RFC 3629 §4: shortest and longest forms, surrogates, the last
    /// character there is, and what comes after it.
    const EDGES: &[&[u8]] = &[
        b"\x00",
        b"\x7F",
        b"\x80",
        b"\xBF",
        b"\xC0",
        b"\xC1\xBF",
        b"\xC2\x80",
        b"\xC2\x7F",
        b"\xDF\xBF",
        b"\xDF\xC0",
        b"\xE0\x80",
        b"\xE0\x9F\xBF",
        b"\xE0\xA0\x80",
        b"\xE1\x80\xC0",
        b"\xEC\xBF\xBF",
        b"\xED\x9F\xBF",
        b"\xED\xA0",
        b"\xED\xBF\xBF",
        b"\xEE\x80\x80",
        b"\xEF\xBF\xBF",
        b"\xF0\x80",
        b"\xF0\x8F\xBF\xBF",
        b"\xF0\x90\x80\x80",
        b"\xF0\x90\x80\x7F",
        b"\xF1\x80\x80\xC0",
        b"\xF3\xBF\xBF\xBF",
        b"\xF4\x8F\xBF\xBF",
        b"\xF4\x90",
        b"\xF5",
        b"\xFF",
    ];

    /// Feeds `pieces`, and holds the verdict after each against what `std` says of all so far.
    fn check<'a>(pieces: impl Iterator<Item = &'a [u8]>) {
        let (mut validator, mut text) = (Utf8Validator::default(), Vec::new());
        for piece in pieces {
            text.extend_from_slice(piece);
            let can_go_on = match str::from_utf8(&text) {
                Ok(_) => true,
                Err(error) => error.error_len().is_none(),
            };
            assert_eq!(validator.push(piece).is_ok(), can_go_on, "{text:02X?} after {piece:02X?}");
            if !can_go_on {
                assert_eq!(validator, Utf8Validator::default());
                return;
            }
        }
        assert_eq!(validator.finish().is_ok(), str::from_utf8(&text).is_ok(), "{text:02X?}");
        assert_eq!(validator, Utf8Validator::default());
    }

    /// Feeds `text` in two pieces, cut at every place, and a byte at a time.
    fn check_every_cut(text: &[u8]) {
        for cut in 0..=text.len() {
            check([&text[..cut], &text[cut..]].into_iter());
        }
        check(text.chunks(1));
    }

    #[test]
    fn edges_alone_and_in_company() {
        for edge in EDGES {
            check_every_cut(edge);
            check_every_cut(&[b"\xE2\x82\xAC", *edge, b"a"].concat());
            for other in EDGES {
                check_every_cut(&[*edge, *other].concat());
            }
        }
    }

    #[test]
    fn every_two_bytes_fail_at_once_or_not_at_all() {
        for first in 0..=0xFF {
            for second in 0..=0xFF {
                check([[first].as_slice(), &[second]].into_iter());
                check([[first, second].as_slice()].into_iter());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn split_anywhere(
            parts in prop::collection::vec(
                prop_oneof![
                    4 => any::<String>().prop_map(String::into_bytes),
                    1 => prop::sample::select(EDGES).prop_map(<[u8]>::to_vec),
                    1 => any::<[u8; 3]>().prop_map(Vec::from),
                ],
                0..6,
            ),
            piece_len in 1_usize..40,
        ) {
            let text = parts.concat();
            check(text.chunks(piece_len));
            check(text.chunks(1));
        }
    }
}
