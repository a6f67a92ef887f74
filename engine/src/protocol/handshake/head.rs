//! Where the head of a request ends (RFC 9112 §2.1).

use super::{HandshakeError, tokens};

/// Finds the end of a request's head in bytes that arrive piece by piece.
///
/// It remembers how far it has looked, eight bytes in all, and looks at no byte twice: a head that
/// arrives one byte at a time costs what it costs whole. It *finds*, and leaves judging to
/// [`Request::parse`]; only what cannot become an HTTP/1 request is refused here, as early as that
/// is certain, so that nobody waits for the rest of a TLS handshake.
///
/// ```
/// use throng::protocol::handshake::{HandshakeError, HeadScanner};
///
/// let mut scanner = HeadScanner::default();
/// assert_eq!(scanner.find_end(b"GET / HTTP/1.1\r\n", 8192), Ok(None));
/// assert_eq!(scanner.find_end(b"GET / HTTP/1.1\r\n\r\nmore", 8192), Ok(Some(18)));
///
/// let client_hello = b"\x16\x03\x01\x02\x00\x01";
/// let refused = HeadScanner::default().find_end(client_hello, 8192);
/// assert_eq!(refused, Err(HandshakeError::TlsOnPlainPort));
/// ```
///
/// [`Request::parse`]: super::Request::parse
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScanner {
    scanned_len: u32,
    request_line_seen: bool,
}

impl HeadScanner {
    /// The length of the head, with the empty line that ends it; `None` while that has not arrived.
    ///
    /// `bytes` is everything received so far: what the last call saw, and what came after it. A head
    /// is at most `limit` bytes long. After `Some` or an error the same call answers the same again.
    ///
    /// # Errors
    ///
    /// [`HeadTooLong`](HandshakeError::HeadTooLong) when `limit` bytes hold no end;
    /// [`TlsOnPlainPort`](HandshakeError::TlsOnPlainPort) and
    /// [`InvalidRequestLine`](HandshakeError::InvalidRequestLine) when this is no HTTP/1 at all.
    pub fn find_end(
        &mut self,
        bytes: &[u8],
        limit: usize,
    ) -> Result<Option<usize>, HandshakeError> {
        if self.scanned_len == 0 {
            check_first_byte(bytes)?;
        }
        let reach = bytes.len().min(limit).min(u32::MAX as usize);
        let mut at = self.scanned_len as usize;
        while let Some(line_len) = find_line_feed(bytes.get(at..reach).unwrap_or_default()) {
            let line_feed = at + line_len;
            if !self.request_line_seen {
                check_request_line(&bytes[..line_feed])?;
                self.request_line_seen = true;
            } else if ends_empty_line(&bytes[..line_feed]) {
                return Ok(Some(line_feed + 1));
            }
            at = line_feed + 1;
            self.scanned_len = at as u32;
        }
        if reach < bytes.len() || reach == limit {
            return Err(HandshakeError::HeadTooLong);
        }
        self.scanned_len = reach as u32;
        Ok(None)
    }
}

/// Refuses what cannot begin a request: a method is a token (RFC 9110 §9.1). Nothing is skipped
/// before it, since a connection carries one request and nothing can have been left over.
pub(super) fn check_first_byte(bytes: &[u8]) -> Result<(), HandshakeError> {
    match bytes.first() {
        Some(&TLS_HANDSHAKE) => Err(HandshakeError::TlsOnPlainPort),
        Some(&byte) if !tokens::is_token_byte(byte) => Err(HandshakeError::InvalidRequestLine),
        _ => Ok(()),
    }
}

/// Refuses a first line that names no HTTP version: it is some other protocol's greeting.
fn check_request_line(line: &[u8]) -> Result<(), HandshakeError> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.last_chunk::<9>() {
        Some([b' ', b'H', b'T', b'T', b'P', b'/', _, b'.', _]) => Ok(()),
        _ => Err(HandshakeError::InvalidRequestLine),
    }
}

/// Whether the LF that follows `head` ends an empty line. LF without CR counts as a line's end here,
/// lest a client that sends it wait for an answer; `Request::parse` is the one to refuse it.
fn ends_empty_line(head: &[u8]) -> bool {
    head.ends_with(b"\n\r") || head.ends_with(b"\n")
}

/// The index of the first LF, eight bytes at a time.
fn find_line_feed(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    const LINE_FEEDS: u64 = ONES * b'\n' as u64;

    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // A byte is zero exactly where an LF was, and the lowest zero byte borrows from nobody.
        let zero_where_found = u64::from_le_bytes(*word) ^ LINE_FEEDS;
        let found = zero_where_found.wrapping_sub(ONES) & !zero_where_found & HIGHS;
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let rest_index = rest.iter().position(|&byte| byte == b'\n')?;
    Some(words.len() * 8 + rest_index)
}

/// The first byte of a TLS record that carries a ClientHello (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8], limit: usize) -> Result<Option<usize>, HandshakeError> {
        HeadScanner::default().find_end(bytes, limit)
    }

    #[test]
    fn ends_and_refusals() {
        use HandshakeError::*;
        for (bytes, expected) in [
            ("", Ok(None)),
            ("G", Ok(None)),
            ("GET / HTTP/1.1\r\n", Ok(None)),
            ("GET / HTTP/1.1\r\n\r", Ok(None)),
            ("GET / HTTP/1.1\r\n\r\n", Ok(Some(18))),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n\r\n", Ok(Some(27))),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n", Ok(Some(27))),
            // LF alone still ends the head: `Request::parse` says what is wrong with it.
            ("GET / HTTP/1.1\nHost: x\n\n", Ok(Some(24))),
            ("GET / HTTP/1.1\r\nHost: x\n\r\n", Ok(Some(26))),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Ok(Some(18))),
            ("\u{16}\u{3}\u{1}\u{2}", Err(TlsOnPlainPort)),
            ("\r\nGET / HTTP/1.1\r\n\r\n", Err(InvalidRequestLine)),
            (" GET / HTTP/1.1\r\n\r\n", Err(InvalidRequestLine)),
            ("\0", Err(InvalidRequestLine)),
            ("\u{81}", Err(InvalidRequestLine)),
            ("SSH-2.0-OpenSSH_9.6\r\n", Err(InvalidRequestLine)),
            ("GET /\r\n", Err(InvalidRequestLine)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n", Err(InvalidRequestLine)),
        ] {
            assert_eq!(whole(bytes.as_bytes(), 8192), expected, "{bytes:?}");
        }
    }

    #[test]
    fn the_limit_counts_the_empty_line() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(whole(head, head.len()), Ok(Some(head.len())));
        assert_eq!(whole(head, head.len() - 1), Err(HandshakeError::HeadTooLong));
        assert_eq!(whole(&head[..20], 20), Err(HandshakeError::HeadTooLong));
        assert_eq!(whole(&head[..19], 20), Ok(None));
    }

    #[test]
    fn the_scanner_is_tiny() {
        assert_eq!(size_of::<HeadScanner>(), 8);
    }

    /// Something like a head, line ends and all, so that the interesting cases are common.
    fn heads() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "GET / HTTP/1.1",
            "\r\n",
            "\r\n",
            "\n",
            "\r",
            "\r\n\r\n",
            "Host: x",
            "a",
            "\u{16}",
            " ",
        ]);
        (any::<bool>(), prop::collection::vec(piece, 0..24)).prop_map(|(sane, pieces)| {
            let start = if sane { "GET / HTTP/1.1\r\n" } else { "" };
            (start.to_owned() + &pieces.concat()).into_bytes()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn split_anywhere(
            bytes in heads(),
            limit in 1_usize..120,
            cuts in prop::collection::vec(0_usize..120, 0..6),
        ) {
            let mut cuts: Vec<usize> =
                cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([bytes.len()]).collect();
            cuts.sort_unstable();
            let mut scanner = HeadScanner::default();
            let mut pieces = cuts.iter().map(|&cut| scanner.find_end(&bytes[..cut], limit));
            let piecewise = pieces.find(|result| *result != Ok(None)).unwrap_or(Ok(None));
            prop_assert_eq!(piecewise, whole(&bytes, limit));
        }

        #[test]
        fn asking_again_changes_nothing(bytes in heads(), limit in 1_usize..120) {
            let mut scanner = HeadScanner::default();
            let first = scanner.find_end(&bytes, limit);
            prop_assert_eq!(scanner.find_end(&bytes, limit), first);
        }

        #[test]
        fn line_feeds_as_a_plain_search_finds_them(
            bytes in prop::collection::vec(prop::sample::select(vec![9_u8, 10, 11, 0x8A, 0]), 0..40),
        ) {
            let expected = bytes.iter().position(|&byte| byte == b'\n');
            prop_assert_eq!(find_line_feed(&bytes), expected);
        }
    }
}
