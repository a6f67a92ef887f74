//! UTF-8 validation (RFC 6455 §8.1, RFC 3629).

use std::fmt;

use simdutf8::basic;

/// The bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Utf8Error;

/// `bytes` as text.
///
/// Neither allocates nor copies. Short ASCII is recognised inline, the rest goes to `simdutf8`.
#[inline]
pub(crate) fn validate_utf8(bytes: &[u8]) -> Result<&str, Utf8Error> {
    if is_short_ascii(bytes) {
        // SAFETY: ASCII is UTF-8.
        return Ok(unsafe { str::from_utf8_unchecked(bytes) });
    }
    basic::from_utf8(bytes).map_err(|_| Utf8Error)
}

impl fmt::Display for Utf8Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not UTF-8")
    }
}

impl std::error::Error for Utf8Error {}

/// Whether `bytes` are at most 64, and all of them ASCII: no loop, and no call.
#[inline]
fn is_short_ascii(bytes: &[u8]) -> bool {
    match bytes.len() {
        65.. => false,
        32.. => are_ends_ascii::<32>(bytes),
        16.. => are_ends_ascii::<16>(bytes),
        8.. => are_ends_ascii::<8>(bytes),
        4.. => are_ends_ascii::<4>(bytes),
        2.. => are_ends_ascii::<2>(bytes),
        1 => are_ends_ascii::<1>(bytes),
        0 => true,
    }
}

/// Whether the first and the last `LEN` bytes are ASCII; the two may overlap.
#[inline(always)]
fn are_ends_ascii<const LEN: usize>(bytes: &[u8]) -> bool {
    let (Some(head), Some(tail)) = (bytes.first_chunk::<LEN>(), bytes.last_chunk::<LEN>()) else {
        return false;
    };
    // Collects the bits of all bytes instead of stopping at one: this becomes a vector instruction.
    head.iter().zip(tail).fold(0, |bits, (a, b)| bits | a | b).is_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn tells_text_from_what_is_not() {
        let rows: &[(&[u8], bool)] = &[
            (b"", true),
            (b"plain", true),
            ("κόσμε".as_bytes(), true),
            (b"a\xf0\x9f\x98", false),    // three of four
            (b"\xe2\x28\xa1", false),     // no continuation
            (b"abc\x80", false),          // a continuation of nothing
            (b"\xc0\xaf", false),         // an overlong slash
            (b"\xed\xa0\x80", false),     // a surrogate
            (b"\xf4\x8f\xbf\xbf", true),  // U+10FFFF
            (b"\xf4\x90\x80\x80", false), // beyond it
        ];
        for &(bytes, valid) in rows {
            for padding in [0, 5, 61, 200] {
                let padded = [&vec![b'.'; padding], bytes].concat();
                assert_eq!(validate_utf8(&padded).is_ok(), valid, "{padding}, {bytes:x?}");
                check(&padded);
            }
        }
    }

    #[test]
    fn finds_one_wrong_byte_at_any_place() {
        for len in 0..=130 {
            let mut bytes = vec![b'x'; len];
            check(&bytes);
            for place in 0..len {
                bytes[place] = 0x80;
                check(&bytes);
                bytes[place] = b'x';
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_std(text in ".{0,200}", cut in 0..400_usize, noise in vec(any::<u8>(), 0..4)) {
            let bytes = text.as_bytes();
            check(bytes);
            check(&bytes[..cut.min(bytes.len())]);
            check(&[&bytes[..cut.min(bytes.len())], &noise].concat());
        }
    }

    /// Against the standard library.
    fn check(bytes: &[u8]) {
        let expected = str::from_utf8(bytes).map_err(|_| Utf8Error);
        assert_eq!(validate_utf8(bytes), expected, "{bytes:x?}");
    }
}
