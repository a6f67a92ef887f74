//! The client's half of the opening handshake, as it is written (RFC 6455 §4.1).

use std::fmt;

use super::{
    RequestKey, ResponseError,
    header_block::{HeaderBlock, write_line},
    tokens,
};
use crate::protocol::extension::Answer;

/// A client's request for a WebSocket: everything but its key, which differs each time.
///
/// What it says is put together as it is described, so that [`encode`](Self::encode) only copies. A
/// header that cannot be written is remembered, and reported there: no input can smuggle a line into
/// the request.
///
/// ```
/// use throng::protocol::handshake::{Proposal, RequestKey};
///
/// let proposal = Proposal::new("example.com", "/chat").subprotocol("v1");
/// let mut out = Vec::new();
/// proposal.encode(&RequestKey::of_nonce(*b"the sample nonce"), &mut out)?;
/// assert_eq!(
///     String::from_utf8_lossy(&out),
///     "GET /chat HTTP/1.1\r\n\
///      Host: example.com\r\n\
///      Upgrade: websocket\r\n\
///      Connection: Upgrade\r\n\
///      Sec-WebSocket-Version: 13\r\n\
///      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
///      Sec-WebSocket-Protocol: v1\r\n\r\n",
/// );
/// # Ok::<(), throng::protocol::handshake::ResponseError>(())
/// ```
#[derive(Clone)]
pub struct Proposal {
    /// From the request line to the name of the key's header.
    prefix: Vec<u8>,
    headers: HeaderBlock,
    /// At commas, as they will be written.
    subprotocols: String,
}

impl Proposal {
    /// A request to `host`, which names the port as well unless it is the usual one, for `target`: a
    /// path, and perhaps a query.
    pub fn new(host: &str, target: &str) -> Self {
        let mut headers = HeaderBlock::default();
        let is_host = |byte| byte > b' ' && tokens::is_value_byte(byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            headers.fail(ResponseError::InvalidHeaderValue { name: "Host".into() });
        }
        if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            headers.fail(ResponseError::InvalidTarget { target: target.into() });
        }
        let mut prefix = Vec::with_capacity(160 + host.len() + target.len());
        for piece in ["GET ", target, " HTTP/1.1\r\nHost: ", host, FIXED] {
            prefix.extend_from_slice(piece.as_bytes());
        }
        Self { prefix, headers, subprotocols: String::new() }
    }

    /// Adds a header. The same name may be added again. Those of the handshake itself are written for
    /// you.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value, RESERVED);
        self
    }

    /// Offers a subprotocol, behind those that are liked better (RFC 6455 §1.9).
    #[must_use]
    pub fn subprotocol(mut self, subprotocol: &str) -> Self {
        if !tokens::is_token(subprotocol) {
            let subprotocol = subprotocol.into();
            self.headers.fail(ResponseError::InvalidSubprotocol { subprotocol });
        }
        if !self.subprotocols.is_empty() {
            self.subprotocols.push_str(", ");
        }
        self.subprotocols.push_str(subprotocol);
        self
    }

    /// The subprotocols that it offers.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        tokens::elements(&self.subprotocols)
    }

    /// Whether it can be said.
    ///
    /// # Errors
    ///
    /// The first thing that was wrong with it. The fault is the caller's.
    pub fn check(&self) -> Result<(), ResponseError> {
        self.headers.lines().map(drop)
    }

    /// Appends the request to `out`, with `key`.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check); then nothing is appended.
    pub fn encode(&self, key: &RequestKey, out: &mut Vec<u8>) -> Result<(), ResponseError> {
        self.encode_with(None, key, out)
    }

    /// The same, with the offer of an extension (RFC 6455 §9.1).
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode), and if the offer cannot be said.
    pub fn encode_with(
        &self,
        offer: Option<&Answer>,
        key: &RequestKey,
        out: &mut Vec<u8>,
    ) -> Result<(), ResponseError> {
        let lines = self.headers.lines()?;
        let offer = offer.map(Answer::text).transpose()?;
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\r\n");
        if !self.subprotocols.is_empty() {
            write_line(out, "Sec-WebSocket-Protocol", &self.subprotocols);
        }
        if let Some(offer) = offer {
            write_line(out, "Sec-WebSocket-Extensions", offer);
        }
        out.extend_from_slice(lines);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// Leaves out what may be a secret: the target, and what headers say.
impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposal").field("subprotocols", &self.subprotocols).finish_non_exhaustive()
    }
}

const FIXED: &str = "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ";

/// What the handshake itself says, and what would announce a body.
const RESERVED: &[&str] = &[
    "Host",
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Content-Length",
    "Transfer-Encoding",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::handshake::{AcceptKey, Request, header_slots};

    fn encoded(proposal: &Proposal) -> Result<Vec<u8>, ResponseError> {
        let mut out = Vec::new();
        proposal.encode(&RequestKey::of_nonce([7; 16]), &mut out)?;
        Ok(out)
    }

    #[test]
    fn a_server_understands_it() {
        let proposal = Proposal::new("[::1]:9001", "/chat?room=7")
            .header("Authorization", "Bearer x")
            .subprotocol("v2")
            .subprotocol("v1");
        let bytes = encoded(&proposal).unwrap();
        let mut slots = header_slots::<16>();
        let request = Request::parse(&bytes, &mut slots).unwrap();
        let accept_key = AcceptKey::new(&RequestKey::of_nonce([7; 16]));
        assert_eq!(request.check_upgrade(), Ok(accept_key));
        assert_eq!((request.host(), request.target()), (Some("[::1]:9001"), "/chat?room=7"));
        assert_eq!(request.header("Authorization"), Some("Bearer x"));
        assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["v2", "v1"]);
    }

    #[test]
    fn what_cannot_be_said_is_not_half_said() {
        let plain = || Proposal::new("host", "/");
        for proposal in [
            Proposal::new("", "/"),
            Proposal::new("a b", "/"),
            Proposal::new("host", "chat"),
            Proposal::new("host", "/a b"),
            Proposal::new("host", "/a\r\nX: y"),
            plain().header("X", "a\r\nb"),
            plain().header("sec-websocket-key", "x"),
            plain().header("Content-Length", "1"),
            plain().subprotocol("a, b"),
        ] {
            assert!(encoded(&proposal).is_err(), "{proposal:?}");
            assert!(proposal.check().is_err(), "{proposal:?}");
        }
        assert!(plain().check().is_ok());
    }
}
