//! The server's half of the opening handshake, as a client reads it (RFC 6455 §4.1, RFC 9112 §4).

use std::fmt;

use thiserror::Error;

use super::{AcceptKey, HandshakeError, HeaderSlot, Proposal, tokens};
#[cfg(feature = "deflate")]
use crate::protocol::extension::deflate::AnswerError;
use crate::protocol::extension::{Offer, Offers};

/// A server's answer: its status and headers. Everything is borrowed; reading allocates nothing.
///
/// ```
/// use throng::protocol::handshake::{AcceptKey, Proposal, Reply, ReplyError, header_slots};
///
/// let head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
/// let mut slots = header_slots::<64>();
/// let reply = Reply::parse(head, &mut slots)?;
/// assert_eq!((reply.status(), reply.header("content-length")), (403, Some("0")));
/// let proposal = Proposal::new("example.com", "/");
/// let expected = AcceptKey::new("dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(reply.check_upgrade(&proposal, &expected), Err(ReplyError::Status(403)));
/// # Ok::<(), ReplyError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    status: u16,
    reason: &'a str,
    headers: &'a [httparse::Header<'a>],
}

/// A rule that a server's answer broke. A client then fails the connection (RFC 6455 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The first bytes are no answer of HTTP/1.
    #[error("the answer is not HTTP/1.1: is this the port of a web server?")]
    NotHttp,
    /// The head of the answer is longer than the limit.
    #[error("the head of the answer is too long")]
    HeadTooLong,
    /// There are more headers than the limit.
    #[error("the answer has too many headers")]
    TooManyHeaders,
    /// A header line is malformed.
    #[error("a header of the answer is malformed")]
    InvalidHeader,
    /// The status is not 101.
    #[error("the server answered {0} instead of 101")]
    Status(u16),
    /// `Upgrade` does not say `websocket`.
    #[error("the answer does not say `Upgrade: websocket`")]
    MissingUpgrade,
    /// `Connection` does not name `Upgrade`.
    #[error("the answer does not say `Connection: Upgrade`")]
    MissingConnectionUpgrade,
    /// There is no `Sec-WebSocket-Accept`, or more than one.
    #[error("the answer does not have one Sec-WebSocket-Accept")]
    MissingAccept,
    /// `Sec-WebSocket-Accept` does not answer our key.
    #[error("the answer's Sec-WebSocket-Accept is not the one for our key")]
    WrongAccept,
    /// The server chose a subprotocol that was not offered, or more than one.
    #[error("the server chose a subprotocol that was not offered")]
    SubprotocolNotOffered,
    /// The server uses an extension that was not offered, or one several times.
    #[error("the server uses an extension that was not offered")]
    ExtensionNotOffered,
    /// `Sec-WebSocket-Extensions` is malformed.
    #[error("the answer's Sec-WebSocket-Extensions is malformed")]
    InvalidExtensions,
    /// The server's terms for permessage-deflate do not fit what was offered (RFC 7692 §7.1).
    #[cfg(feature = "deflate")]
    #[error("the server's terms for permessage-deflate do not fit the offer: {0}")]
    InvalidDeflate(AnswerError),
}

impl<'a> Reply<'a> {
    /// Reads `head`, up to and with its empty line. Each header takes one of `slots`: their number is
    /// the limit.
    ///
    /// # Errors
    ///
    /// What is no answer of HTTP/1. Whether it opens a WebSocket is left to
    /// [`check_upgrade`](Self::check_upgrade).
    pub fn parse(head: &'a [u8], slots: &'a mut [HeaderSlot<'a>]) -> Result<Self, ReplyError> {
        let mut parsed = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        match parser.parse_response_with_uninit_headers(&mut parsed, head, slots) {
            Ok(httparse::Status::Complete(len)) if len == head.len() => {}
            Ok(_) => return Err(ReplyError::NotHttp),
            Err(httparse::Error::TooManyHeaders) => return Err(ReplyError::TooManyHeaders),
            Err(
                httparse::Error::HeaderName
                | httparse::Error::HeaderValue
                | httparse::Error::NewLine,
            ) => return Err(ReplyError::InvalidHeader),
            Err(_) => return Err(ReplyError::NotHttp),
        }
        let (Some(status), Some(reason)) = (parsed.code, parsed.reason) else {
            return Err(ReplyError::NotHttp);
        };
        Ok(Self { status, reason, headers: parsed.headers })
    }

    /// Holds the answer against RFC 6455 §4.1: that it accepts `proposal`, with `expected` as the
    /// answer to its key. No extension was offered, so none may be used.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn check_upgrade(
        &self,
        proposal: &Proposal,
        expected: &AcceptKey,
    ) -> Result<(), ReplyError> {
        self.check_upgrade_but_extensions(proposal, expected)?;
        match self.extensions().next() {
            Some(_) => Err(ReplyError::ExtensionNotOffered),
            None => Ok(()),
        }
    }

    /// As [`check_upgrade`](Self::check_upgrade), for a client that offered an extension: whether those
    /// in use fit what was offered is left to it.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn check_upgrade_but_extensions(
        &self,
        proposal: &Proposal,
        expected: &AcceptKey,
    ) -> Result<(), ReplyError> {
        if self.status != 101 {
            return Err(ReplyError::Status(self.status));
        }
        let mut upgrade = self.header_values("Upgrade");
        if !upgrade.next().is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
            || upgrade.next().is_some()
        {
            return Err(ReplyError::MissingUpgrade);
        }
        if !self.header_values("Connection").any(|value| tokens::list_has(value, "upgrade")) {
            return Err(ReplyError::MissingConnectionUpgrade);
        }
        let mut accept = self.header_values("Sec-WebSocket-Accept");
        let (Some(given), None) = (accept.next(), accept.next()) else {
            return Err(ReplyError::MissingAccept);
        };
        if given.trim_ascii() != expected.as_bytes() {
            return Err(ReplyError::WrongAccept);
        }
        let mut chosen = self.header_values("Sec-WebSocket-Protocol");
        match (chosen.next(), chosen.next()) {
            (None, _) => Ok(()),
            (Some(chosen), None)
                if proposal.subprotocols().any(|offered| offered.as_bytes() == chosen) =>
            {
                Ok(())
            }
            _ => Err(ReplyError::SubprotocolNotOffered),
        }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The words beside the status, perhaps none.
    pub fn reason(&self) -> &'a str {
        self.reason
    }

    /// The subprotocol that the server chose, if it chose one (RFC 6455 §4.2.2).
    pub fn subprotocol(&self) -> Option<&'a str> {
        self.header("Sec-WebSocket-Protocol")
    }

    /// The extensions that the server uses, in order (RFC 6455 §9.1): none but those that were offered.
    /// After an error there is nothing more.
    pub fn extensions(&self) -> impl Iterator<Item = Result<Offer<'a>, HandshakeError>> + use<'a> {
        let invalid = Err(HandshakeError::InvalidExtensions);
        self.header_values("Sec-WebSocket-Extensions").flat_map(move |value| {
            let offers = str::from_utf8(value).map(Offers::new);
            let is_invalid = offers.is_err();
            offers.into_iter().flatten().chain(is_invalid.then_some(invalid))
        })
    }

    /// The value of the first header of this name, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.header_values(name).next().and_then(|value| str::from_utf8(value).ok())
    }

    /// The values of all headers of this name, in order.
    pub fn header_values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let of_this_name = move |header: &&httparse::Header<'_>| tokens::is_name(header.name, name);
        self.headers.iter().filter(of_this_name).map(|header| header.value)
    }

    /// All headers, names as sent, in order.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// How many bytes of body follow the head (RFC 9112 §6.3). `None`: it ends with the connection,
    /// or in another way that we do not read.
    pub fn body_len(&self) -> Option<usize> {
        if matches!(self.status, 100..200 | 204 | 304) {
            return Some(0);
        }
        if self.header_values("Transfer-Encoding").next().is_some() {
            return None;
        }
        self.header("Content-Length")?.parse().ok()
    }
}

impl From<HandshakeError> for ReplyError {
    /// What the search for the head's end has to say.
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::HeadTooLong => Self::HeadTooLong,
            _ => Self::NotHttp,
        }
    }
}

/// Leaves out the headers, which may hold secrets.
impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("header_count", &self.headers.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{ReplyError::*, *};
    use crate::protocol::handshake::{Acceptance, header_slots};

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    const UPGRADE: &str = "Upgrade: websocket";
    const CONNECTION: &str = "Connection: Upgrade";
    const OK: &str = "HTTP/1.1 101 Switching Protocols";

    fn check(lines: &[&str], expected: Result<(), ReplyError>) {
        let head = lines.join("\r\n") + "\r\n\r\n";
        let proposal = Proposal::new("host", "/").subprotocol("v2").subprotocol("v1");
        let mut slots = header_slots::<8>();
        let checked = Reply::parse(head.as_bytes(), &mut slots)
            .and_then(|reply| reply.check_upgrade(&proposal, &AcceptKey::new(KEY)));
        assert_eq!(checked, expected, "{lines:?}");
    }

    #[test]
    fn rules() {
        check(&[OK, UPGRADE, CONNECTION, ACCEPT], Ok(()));
        check(&[OK, "upgrade: WebSocket", "connection: x, upgrade", ACCEPT], Ok(()));
        check(&[OK, UPGRADE, CONNECTION, ACCEPT, "Sec-WebSocket-Protocol: v1"], Ok(()));
        for (lines, error) in [
            (&["HTTP/1.1 200 OK", UPGRADE, CONNECTION, ACCEPT][..], Status(200)),
            (&["HTTP/2 101 x"], NotHttp),
            (&["SSH-2.0-OpenSSH"], NotHttp),
            (&[OK, "a b: c"], InvalidHeader),
            (&[OK, "a:", "b:", "c:", "d:", "e:", "f:", "g:", "h:", "i:"], TooManyHeaders),
            (&[OK, CONNECTION, ACCEPT], MissingUpgrade),
            (&[OK, "Upgrade: h2c, websocket", CONNECTION, ACCEPT], MissingUpgrade),
            (&[OK, UPGRADE, ACCEPT], MissingConnectionUpgrade),
            (&[OK, UPGRADE, "Connection: close", ACCEPT], MissingConnectionUpgrade),
            (&[OK, UPGRADE, CONNECTION], MissingAccept),
            (&[OK, UPGRADE, CONNECTION, ACCEPT, ACCEPT], MissingAccept),
            (&[OK, UPGRADE, CONNECTION, "Sec-WebSocket-Accept: x"], WrongAccept),
            (
                &[OK, UPGRADE, CONNECTION, ACCEPT, "Sec-WebSocket-Protocol: v3"],
                SubprotocolNotOffered,
            ),
            (
                &[OK, UPGRADE, CONNECTION, ACCEPT, "Sec-WebSocket-Protocol: v1, v2"],
                SubprotocolNotOffered,
            ),
            (
                &[OK, UPGRADE, CONNECTION, ACCEPT, "Sec-WebSocket-Extensions: permessage-deflate"],
                ExtensionNotOffered,
            ),
        ] {
            check(lines, Err(error));
        }
    }

    #[test]
    fn it_reads_what_our_server_writes() {
        let mut head = Vec::new();
        Acceptance::new().subprotocol("v1").encode(&AcceptKey::new(KEY), &mut head).unwrap();
        let mut slots = header_slots::<8>();
        let reply = Reply::parse(&head, &mut slots).unwrap();
        assert_eq!(reply.subprotocol(), Some("v1"));
        let proposal = Proposal::new("host", "/").subprotocol("v1");
        assert_eq!(reply.check_upgrade(&proposal, &AcceptKey::new(KEY)), Ok(()));
    }

    #[test]
    fn where_a_body_ends() {
        for (lines, expected) in [
            (&["HTTP/1.1 403 no", "Content-Length: 7"][..], Some(7)),
            (&["HTTP/1.1 403 no"], None),
            (&["HTTP/1.1 204 no"], Some(0)),
            (&["HTTP/1.1 403 no", "Content-Length: 7", "Transfer-Encoding: chunked"], None),
            (&["HTTP/1.1 403 no", "Content-Length: seven"], None),
        ] {
            let head = lines.join("\r\n") + "\r\n\r\n";
            let mut slots = header_slots::<8>();
            let reply = Reply::parse(head.as_bytes(), &mut slots).unwrap();
            assert_eq!(reply.body_len(), expected, "{lines:?}");
        }
    }
}
