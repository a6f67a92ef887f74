//! The small words of HTTP: tokens, optional white space, lists at commas (RFC 6455 §4.3).

/// Whether `text` is a token: one byte or more, none of them a separator (RFC 9110 §5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Whether `byte` may stand in a token.
#[inline]
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[byte as usize]
}

/// Whether `byte` may stand in a header's value (RFC 9110 §5.5): no control character but the tab.
#[inline]
pub(crate) const fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != DELETE) || byte == b'\t'
}

/// `text` without the optional white space around it (RFC 9110 §5.6.3: spaces and tabs).
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The elements of a list at commas. Empty ones are skipped (RFC 9110 §5.6.1.2).
pub(crate) fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(trim).filter(|element| !element.is_empty())
}

/// Whether a list at commas has `token` among its elements, in letters of either case.
#[inline]
pub(crate) fn list_has(list: &[u8], token: &str) -> bool {
    list == token.as_bytes()
        || list
            .split(|&byte| byte == b',')
            .any(|element| element.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether a header's name is `name`, in letters of either case. Nearly every client writes it as the
/// RFC does, and comparing with a constant is a few instructions.
#[inline]
pub(crate) fn is_name(sent: &str, name: &str) -> bool {
    sent == name || sent.eq_ignore_ascii_case(name)
}

const DELETE: u8 = 0x7F;

/// `tchar` of RFC 9110 §5.6.2, as a table: it is asked about every byte of a name.
const TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = matches!(
            byte as u8,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
                | b'`' | b'|' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z'
        );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for (text, expected) in [
            ("websocket", true),
            ("permessage-deflate", true),
            ("v1.chat!#$%&'*+-.^_`|~9", true),
            ("", false),
            ("two words", false),
            ("a,b", false),
            ("a=b", false),
            ("a\"", false),
            ("caf\u{e9}", false),
            ("nul\0", false),
        ] {
            assert_eq!(is_token(text), expected, "{text:?}");
        }
    }

    #[test]
    fn value_bytes() {
        for byte in 0..=u8::MAX {
            let expected = byte == b'\t' || !byte.is_ascii_control();
            assert_eq!(is_value_byte(byte), expected, "{byte:#04x}");
        }
    }

    #[test]
    fn lists() {
        for (list, expected) in [
            ("websocket", &["websocket"][..]),
            (" a ,\tb\t,c ", &["a", "b", "c"]),
            (",, a,,b ,", &["a", "b"]),
            ("", &[]),
            (" , ", &[]),
        ] {
            assert_eq!(elements(list).collect::<Vec<_>>(), expected, "{list:?}");
        }
    }

    #[test]
    fn a_token_in_a_list() {
        for (list, expected) in [
            ("Upgrade", true),
            ("keep-alive, Upgrade", true),
            ("keep-alive,\tUPGRADE\t, x", true),
            ("upgrades", false),
            ("up grade", false),
            ("", false),
        ] {
            assert_eq!(list_has(list.as_bytes(), "upgrade"), expected, "{list:?}");
        }
    }
}
