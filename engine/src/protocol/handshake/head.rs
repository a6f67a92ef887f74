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
    /// A scanner for the head of an answer, as a client reads it. Its first line is left to
    /// [`Reply::parse`](super::Reply::parse).
    pub fn for_reply() -> Self {
        Self { scanned_len: 0, request_line_seen: true }
    }

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
        let whole = &bytes[..reach];
        let mut at = self.scanned_len as usize;
        if !self.request_line_seen {
            at = match whole[at..].iter().position(|&byte| byte == b'\n') {
                None => reach,
                Some(further) => {
                    check_request_line(&whole[..at + further])?;
                    self.request_line_seen = true;
                    at + further + 1
                }
            };
        }
        if let Some(end) = find_empty_line(whole, at) {
            return Ok(Some(end));
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

/// Where the first empty line ends that ends at `from` or later. `from` follows a request line, or is
/// the end of `bytes`.
///
/// LF without CR counts as a line's end here, lest a client that sends it wait for an answer;
/// `Request::parse` is the one to refuse it.
fn find_empty_line(bytes: &[u8], from: usize) -> Option<usize> {
    // Two bytes before the one that may end the line.
    let mut at = from.saturating_sub(2);
    while let Some(chunk) = bytes[at..].first_chunk()
        && !has_close_line_feeds(chunk)
    {
        at += STRIDE;
    }
    let ends_empty_line =
        |three: &[u8]| three[2] == b'\n' && (three[1] == b'\n' || three[..2] == *b"\n\r");
    bytes[at..].windows(3).position(ends_empty_line).map(|index| at + index + 3)
}

/// Whether one of all bytes but the first two is LF, and so is one of the two before it. Written so
/// that the compiler makes vector instructions of it: it is asked about nearly every byte of a head.
fn has_close_line_feeds(chunk: &[u8; 2 + STRIDE]) -> bool {
    let is_line_feed = |index: usize| chunk[index] == b'\n';
    (2..chunk.len()).fold(false, |found, index| {
        found | (is_line_feed(index) & (is_line_feed(index - 1) | is_line_feed(index - 2)))
    })
}

const STRIDE: usize = 32;

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
            limit in 1_usize..400,
            cuts in prop::collection::vec(0_usize..400, 0..6),
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
        fn asking_again_changes_nothing(bytes in heads(), limit in 1_usize..400) {
            let mut scanner = HeadScanner::default();
            let first = scanner.find_end(&bytes, limit);
            prop_assert_eq!(scanner.find_end(&bytes, limit), first);
        }
    }
}
