//! What can be wrong with an opening handshake: the client's half, and what we add to our own.

use thiserror::Error;

/// A rule that a client's request broke: which one, how to put it right, how HTTP answers it.
///
/// Every error is final: write [`response`](Self::response), then close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The bytes are a TLS handshake.
    #[error("this looks like TLS, but this port speaks plain HTTP: use ws://, or the TLS port")]
    TlsOnPlainPort,
    /// The first line is no request line of HTTP/1.
    #[error("the first line is no HTTP/1.1 request line: begin with one like `GET /chat HTTP/1.1`")]
    InvalidRequestLine,
    /// The target is neither a path nor an `http` or `ws` URI.
    #[error("the request target is invalid: send a path that begins with `/`")]
    InvalidTarget,
    /// The version is not HTTP/1.0 or HTTP/1.1.
    #[error("this HTTP version is not supported: use HTTP/1.1")]
    UnsupportedHttpVersion,
    /// The head is longer than the limit.
    #[error("the head of the request is too long: shorten its target, cookies or other headers")]
    HeadTooLong,
    /// There are more headers than the limit.
    #[error("the request has too many headers: send fewer")]
    TooManyHeaders,
    /// A header line is malformed.
    #[error("a header is malformed: write `Name: value`, without control characters")]
    InvalidHeader,
    /// A header goes on in the next line.
    #[error("a header is folded over two lines, which is obsolete: write it in one")]
    FoldedHeader,
    /// A line ends with LF alone.
    #[error("a line of the head ends with LF alone: end every line with CR LF")]
    BareLineFeed,
    /// The bytes given to [`Request::parse`](super::Request::parse) are not exactly one head.
    #[error("the head of the request is incomplete: end it with an empty line")]
    IncompleteHead,
    /// There is no `Host`, or an empty one.
    #[error("the Host header is missing: send one that names this server")]
    MissingHost,
    /// There is more than one `Host`.
    #[error("there is more than one Host header: send one")]
    DuplicateHost,
    /// `Host` is no host and port.
    #[error("the Host header is invalid: send a host name or address, and perhaps a port")]
    InvalidHost,
    /// There is more than one `Content-Length`.
    #[error("there is more than one Content-Length header: send one")]
    DuplicateContentLength,
    /// `Content-Length` is no number.
    #[error("the Content-Length header is invalid: send a decimal number")]
    InvalidContentLength,
    /// `Content-Length` and `Transfer-Encoding` contradict each other.
    #[error("Content-Length and Transfer-Encoding exclude each other: send the former alone")]
    LengthBesideEncoding,
    /// The body is sent in chunks, which we do not read.
    #[error("this server reads no body in chunks: send a Content-Length")]
    LengthRequired,
    /// The body is longer than the limit.
    #[error("the body of the request is too long: send less")]
    BodyTooLong,
    /// The request asks for no WebSocket.
    #[error("this address speaks WebSocket only: send `Upgrade: websocket`, through every proxy")]
    MissingUpgrade,
    /// `Connection` does not name `Upgrade`.
    #[error("the Connection header does not say `Upgrade`: send it, through every proxy")]
    MissingConnectionUpgrade,
    /// A WebSocket was asked for by another method than GET.
    #[error("a WebSocket is opened by GET and no other method: send GET")]
    MethodNotGet,
    /// A WebSocket was asked for over HTTP/1.0.
    #[error("a WebSocket is opened over HTTP/1.1: use it (nginx: `proxy_http_version 1.1`)")]
    HttpVersionTooOld,
    /// There is no `Sec-WebSocket-Key`.
    #[error("the Sec-WebSocket-Key header is missing: send 16 random bytes in base64")]
    MissingKey,
    /// There is more than one `Sec-WebSocket-Key`.
    #[error("there is more than one Sec-WebSocket-Key header: send one")]
    DuplicateKey,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64.
    #[error("the Sec-WebSocket-Key header is invalid: send 16 random bytes in base64")]
    InvalidKey,
    /// `Sec-WebSocket-Version` is missing, or is not 13.
    #[error("this version of the protocol is not supported: send `Sec-WebSocket-Version: 13`")]
    UnsupportedVersion,
    /// There is more than one `Sec-WebSocket-Version`.
    #[error("there is more than one Sec-WebSocket-Version header: send one")]
    DuplicateVersion,
    /// `Sec-WebSocket-Protocol` is no list of tokens.
    #[error("the Sec-WebSocket-Protocol header is malformed: send names, separated by commas")]
    InvalidSubprotocols,
    /// `Sec-WebSocket-Extensions` does not follow its grammar.
    #[error("the Sec-WebSocket-Extensions header is malformed: send `name; parameter=value, …`")]
    InvalidExtensions,
    /// A request for a WebSocket announces a body.
    #[error("a WebSocket request has no body: leave out Content-Length and Transfer-Encoding")]
    UnexpectedBody,
    /// The [`OriginPolicy`](super::OriginPolicy) does not allow the request's `Origin`.
    #[error("the origin policy of this server refuses this origin: ask its operator to list it")]
    OriginNotAllowed,
}

impl HandshakeError {
    /// The status of the answer (RFC 9110 §15).
    pub const fn status(self) -> u16 {
        match self {
            Self::OriginNotAllowed => 403,
            Self::MethodNotGet => 405,
            Self::LengthRequired => 411,
            Self::BodyTooLong => 413,
            Self::MissingUpgrade | Self::UnsupportedVersion => 426,
            Self::HeadTooLong | Self::TooManyHeaders => 431,
            Self::UnsupportedHttpVersion => 505,
            _ => 400,
        }
    }

    /// Where the broken rule is written.
    pub const fn section(self) -> &'static str {
        match self {
            Self::InvalidRequestLine => "RFC 9112 §3",
            Self::InvalidTarget | Self::MissingHost | Self::DuplicateHost | Self::InvalidHost => {
                "RFC 9112 §3.2"
            }
            Self::UnsupportedHttpVersion => "RFC 9112 §2.3",
            Self::BareLineFeed | Self::IncompleteHead => "RFC 9112 §2.2",
            Self::FoldedHeader => "RFC 9112 §5.2",
            Self::InvalidHeader => "RFC 9112 §5",
            Self::DuplicateContentLength
            | Self::InvalidContentLength
            | Self::LengthBesideEncoding => "RFC 9112 §6.3",
            Self::LengthRequired => "RFC 9112 §6.2",
            Self::HeadTooLong | Self::TooManyHeaders => "RFC 6585 §5",
            Self::BodyTooLong => "RFC 9110 §15.5.14",
            Self::TlsOnPlainPort => "RFC 6455 §3",
            Self::MethodNotGet
            | Self::HttpVersionTooOld
            | Self::MissingUpgrade
            | Self::MissingConnectionUpgrade
            | Self::MissingKey
            | Self::InvalidKey
            | Self::InvalidSubprotocols
            | Self::UnexpectedBody => "RFC 6455 §4.2.1",
            Self::UnsupportedVersion => "RFC 6455 §4.4",
            Self::DuplicateKey => "RFC 6455 §11.3.1",
            Self::DuplicateVersion => "RFC 6455 §11.3.5",
            Self::InvalidExtensions => "RFC 6455 §9.1",
            Self::OriginNotAllowed => "RFC 6455 §10.2",
        }
    }
}

/// Something that an answer, or a client's request, cannot say. The caller's fault, found before
/// anything is written.
///
/// A header that carries a line end could end the head and begin another answer, so whoever could
/// choose its value could speak in our name: no such byte gets through.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// A header's name is no token.
    #[error("header {name:?}: a name is letters, digits and hyphens, without spaces or a colon")]
    InvalidHeaderName {
        /// The name as given.
        name: Box<str>,
    },
    /// A header's value has a control character in it: CR, LF and NUL are the dangerous ones.
    #[error("header {name:?}: its value has a control character in it; leave it out or encode it")]
    InvalidHeaderValue {
        /// The header's name.
        name: Box<str>,
    },
    /// A header that is written for you.
    #[error("header {name:?} is written for you; leave it out")]
    ReservedHeader {
        /// The header's name.
        name: Box<str>,
    },
    /// The status is not that of a final answer.
    #[error("status {0} is no final answer; choose one from 200 to 599")]
    InvalidStatus(u16),
    /// A subprotocol's name is no token (RFC 6455 §4.2.2).
    #[error("subprotocol {subprotocol:?}: a name is letters, digits and hyphens, without commas")]
    InvalidSubprotocol {
        /// The name as given.
        subprotocol: Box<str>,
    },
    /// The client did not offer this subprotocol, and would fail the connection (RFC 6455 §4.1).
    #[error("subprotocol {subprotocol:?} was not offered; choose one that the client offers")]
    SubprotocolNotOffered {
        /// The name as given.
        subprotocol: Box<str>,
    },
    /// The client did not offer this extension, and would fail the connection (RFC 6455 §4.1).
    #[error("extension {name:?} was not offered; agree on one that the client offers")]
    ExtensionNotOffered {
        /// The name of the extension.
        name: Box<str>,
    },
    /// The target of a request is no path.
    #[error("target {target:?}: a path begins with `/` and has no spaces; encode them as %20")]
    InvalidTarget {
        /// The target as given.
        target: Box<str>,
    },
    /// The name of an extension, or of a parameter, or its value, is no token (RFC 6455 §9.1).
    #[error("extension {answer:?}: names and values are letters, digits and hyphens")]
    InvalidExtension {
        /// The answer as it would have been written.
        answer: Box<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_byte() {
        assert_eq!(size_of::<HandshakeError>(), 1);
    }
}
