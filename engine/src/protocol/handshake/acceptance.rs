//! The `101` that turns a connection into a WebSocket (RFC 6455 §4.2.2).

use super::{
    AcceptKey, Request, ResponseError,
    header_block::{HeaderBlock, write_line},
    tokens,
};
use crate::protocol::extension::{Answer, Offers};

/// The server's yes, with what it has to add: a subprotocol, extensions, headers.
///
/// With nothing added it allocates nothing. What cannot be written (a header with a line end in it,
/// a subprotocol that is no token) is remembered, and [`encode`](Self::encode) reports the first.
///
/// ```
/// use throng::protocol::handshake::{AcceptKey, Acceptance};
///
/// let mut out = Vec::new();
/// let key = AcceptKey::new("dGhlIHNhbXBsZSBub25jZQ==");
/// Acceptance::new().subprotocol("chat").header("X-Shard", "7").encode(&key, &mut out)?;
/// assert_eq!(
///     String::from_utf8_lossy(&out),
///     "HTTP/1.1 101 Switching Protocols\r\n\
///      Upgrade: websocket\r\n\
///      Connection: Upgrade\r\n\
///      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
///      Sec-WebSocket-Protocol: chat\r\n\
///      X-Shard: 7\r\n\r\n",
/// );
/// # Ok::<(), throng::protocol::handshake::ResponseError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    subprotocol: Option<Box<str>>,
    extensions: String,
    headers: HeaderBlock,
    plain: bool,
}

impl Acceptance {
    /// A yes and nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses a subprotocol, one that the client offered: see [`select_subprotocol`], and
    /// [`check_offered`](Self::check_offered). The last choice holds.
    #[must_use]
    pub fn subprotocol(mut self, subprotocol: &str) -> Self {
        if !tokens::is_token(subprotocol) {
            let subprotocol = subprotocol.into();
            self.headers.fail(ResponseError::InvalidSubprotocol { subprotocol });
        }
        self.subprotocol = Some(subprotocol.into());
        self
    }

    /// Agrees on an extension, after those agreed on before. Its answer is what negotiating it with
    /// this request gave (RFC 6455 §9.1).
    #[must_use]
    pub fn extension(mut self, answer: &Answer) -> Self {
        match answer.text() {
            Ok(text) => {
                if !self.extensions.is_empty() {
                    self.extensions.push_str(", ");
                }
                self.extensions.push_str(text);
            }
            Err(fault) => self.headers.fail(fault),
        }
        self
    }

    /// Declines permessage-deflate for this connection, where the server would agree to it.
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Whether permessage-deflate may be agreed on: it was not declined, and not agreed on by hand.
    pub(crate) fn may_deflate(&self) -> bool {
        !self.plain && self.extensions.is_empty()
    }

    /// Adds a header, such as `Set-Cookie`. Those of the handshake itself are written for you.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value, RESERVED);
        self
    }

    /// The subprotocol chosen.
    pub fn chosen_subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Checks that the client offered the subprotocol chosen, and the extensions agreed on: it has to
    /// fail the connection otherwise (RFC 6455 §4.1). With nothing chosen it costs two comparisons.
    ///
    /// # Errors
    ///
    /// [`SubprotocolNotOffered`](ResponseError::SubprotocolNotOffered),
    /// [`ExtensionNotOffered`](ResponseError::ExtensionNotOffered).
    pub fn check_offered(&self, request: &Request<'_>) -> Result<(), ResponseError> {
        if let Some(chosen) = self.chosen_subprotocol()
            && !request.subprotocols().any(|offered| offered == chosen)
        {
            return Err(ResponseError::SubprotocolNotOffered { subprotocol: chosen.into() });
        }
        match self.extensions.as_str() {
            "" => Ok(()),
            _ => self.check_extensions_offered(request),
        }
    }

    /// Appends the `101` to `out`. What follows it on the wire is frames.
    ///
    /// # Errors
    ///
    /// The first thing that was wrong with what was added; then nothing is appended. The fault is
    /// the caller's: the client is owed a `500`.
    pub fn encode(&self, key: &AcceptKey, out: &mut Vec<u8>) -> Result<(), ResponseError> {
        let lines = self.headers.lines()?;
        out.reserve(PREFIX.len() + key.as_bytes().len() + SUFFIX_LEN + lines.len());
        out.extend_from_slice(PREFIX);
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\r\n");
        if let Some(subprotocol) = &self.subprotocol {
            write_line(out, "Sec-WebSocket-Protocol", subprotocol);
        }
        if !self.extensions.is_empty() {
            write_line(out, "Sec-WebSocket-Extensions", &self.extensions);
        }
        out.extend_from_slice(lines);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn check_extensions_offered(&self, request: &Request<'_>) -> Result<(), ResponseError> {
        let mut agreed = Offers::new(&self.extensions).map_while(Result::ok);
        let is_offered = |name| request.extensions().any(|offer| offer.name() == name);
        match agreed.find(|answer| !is_offered(answer.name())) {
            Some(answer) => Err(ResponseError::ExtensionNotOffered { name: answer.name().into() }),
            None => Ok(()),
        }
    }
}

/// The first subprotocol that the client offers and the server supports: the client names the ones
/// it likes better first (RFC 6455 §1.9, §4.2.2). Names are compared letter by letter.
///
/// ```
/// # use throng::protocol::handshake::{HandshakeError, Request, header_slots, select_subprotocol};
/// # let mut slots = header_slots::<4>();
/// let request = Request::parse(
///     b"GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol: v3, v2, v1\r\n\r\n",
///     &mut slots,
/// )?;
/// assert_eq!(select_subprotocol(&request, &["v1", "v2"]), Some("v2"));
/// # Ok::<(), HandshakeError>(())
/// ```
pub fn select_subprotocol<'s>(request: &Request<'_>, supported: &[&'s str]) -> Option<&'s str> {
    request
        .subprotocols()
        .find_map(|offered| supported.iter().find(|supported| **supported == offered).copied())
}

const PREFIX: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: ";

/// The two line ends behind the key.
const SUFFIX_LEN: usize = 4;

/// What the handshake says itself, and what a `101` must not say (RFC 9110 §8.6, RFC 9112 §6.1).
const RESERVED: &[&str] = &[
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Content-Length",
    "Transfer-Encoding",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::handshake::header_slots;

    fn encoded(acceptance: &Acceptance) -> Result<String, ResponseError> {
        let mut out = Vec::new();
        acceptance.encode(&AcceptKey::new("dGhlIHNhbXBsZSBub25jZQ=="), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn nothing_added() {
        let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert_eq!(encoded(&Acceptance::new()).as_deref(), Ok(expected));
    }

    #[test]
    fn everything_added() {
        let answer = encoded(
            &Acceptance::new()
                .header("Set-Cookie", "a=1")
                .header("Set-Cookie", "b=2")
                .subprotocol("v1")
                .subprotocol("v2")
                .extension(&Answer::new("x-first"))
                .extension(&Answer::new("x-second").flag("quick").param("bits", "10")),
        );
        let expected = "\r\nSec-WebSocket-Protocol: v2\r\n\
            Sec-WebSocket-Extensions: x-first, x-second; quick; bits=10\r\n\
            Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n";
        assert!(answer.as_deref().unwrap().ends_with(expected), "{answer:?}");
    }

    #[test]
    fn only_what_was_offered() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol: v2, v1\r\n\
            Sec-WebSocket-Extensions: x-a; bits=9, x-b\r\n\r\n";
        let mut slots = header_slots::<4>();
        let request = Request::parse(head, &mut slots).unwrap();
        let extension = |name: &str| Acceptance::new().extension(&Answer::new(name).flag("quick"));
        for (acceptance, expected) in [
            (Acceptance::new(), Ok(())),
            (Acceptance::new().subprotocol("v1"), Ok(())),
            (extension("x-b").extension(&Answer::new("x-a")).subprotocol("v2"), Ok(())),
            (
                Acceptance::new().subprotocol("V1"),
                Err(ResponseError::SubprotocolNotOffered { subprotocol: "V1".into() }),
            ),
            (
                extension("x-a").extension(&Answer::new("x-c")),
                Err(ResponseError::ExtensionNotOffered { name: "x-c".into() }),
            ),
        ] {
            assert_eq!(acceptance.check_offered(&request), expected);
        }
    }

    #[test]
    fn what_cannot_be_said_is_not_half_said() {
        let reserved = |name: &str| ResponseError::ReservedHeader { name: name.into() };
        for (acceptance, expected) in [
            (
                Acceptance::new().header("X", "a\r\nb"),
                ResponseError::InvalidHeaderValue { name: "X".into() },
            ),
            (
                Acceptance::new().subprotocol("a, b"),
                ResponseError::InvalidSubprotocol { subprotocol: "a, b".into() },
            ),
            (
                Acceptance::new().subprotocol("a\r\nX: y"),
                ResponseError::InvalidSubprotocol { subprotocol: "a\r\nX: y".into() },
            ),
            (
                Acceptance::new().extension(&Answer::new("x").param("a", "\r\n")),
                ResponseError::InvalidExtension { answer: "x; a=\r\n".into() },
            ),
            (Acceptance::new().header("upgrade", "h2c"), reserved("upgrade")),
            (
                Acceptance::new().header("Sec-WebSocket-Protocol", "v1"),
                reserved("Sec-WebSocket-Protocol"),
            ),
            (Acceptance::new().header("Content-Length", "0"), reserved("Content-Length")),
        ] {
            assert_eq!(encoded(&acceptance), Err(expected));
        }
    }
}
