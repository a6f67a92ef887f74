//! A plain HTTP answer: a refusal, a health check, a page (RFC 9112 §4).

use std::io::Write as _;

use bytes::Bytes;

use super::{
    HandshakeError, ResponseError,
    header_block::{HeaderBlock, write_line},
};

/// An HTTP answer other than the `101`: what a refused client is told, or a page beside the
/// WebSocket.
///
/// It is written with `Content-Length`, and with `Connection: close` unless you say otherwise: a
/// connection carries one request. `Date` is yours to add, since nothing here knows the time.
///
/// A header that cannot be written, one with a line end in it for instance, is remembered, and
/// [`encode`](Self::encode) reports the first of them: no input can smuggle a line into the answer.
///
/// ```
/// use throng::protocol::handshake::Response;
///
/// let mut out = Vec::new();
/// Response::json(200, r#"{"up":true}"#).header("Cache-Control", "no-store").encode(&mut out)?;
/// assert_eq!(
///     String::from_utf8_lossy(&out),
///     "HTTP/1.1 200 OK\r\n\
///      Content-Type: application/json\r\n\
///      Cache-Control: no-store\r\n\
///      Content-Length: 11\r\n\
///      Connection: close\r\n\r\n\
///      {\"up\":true}",
/// );
/// # Ok::<(), throng::protocol::handshake::ResponseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    pub(super) headers: HeaderBlock,
    connection_given: bool,
    pub(super) body: Bytes,
}

impl Response {
    /// An answer without a body. `status` is a final one, 200 to 599; another is an error in
    /// [`encode`](Self::encode).
    pub fn new(status: u16) -> Self {
        let mut headers = HeaderBlock::default();
        if !(200..600).contains(&status) {
            headers.fail(ResponseError::InvalidStatus(status));
        }
        Self { status, headers, connection_given: false, body: Bytes::new() }
    }

    /// An answer in plain text (UTF-8).
    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status).header("Content-Type", "text/plain; charset=utf-8").body(body)
    }

    /// A page.
    pub fn html(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status).header("Content-Type", "text/html; charset=utf-8").body(body)
    }

    /// An answer in JSON, already serialized.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status).header("Content-Type", "application/json").body(body)
    }

    /// Sends the client elsewhere; `status` is 301, 302, 303, 307 or 308. Browsers follow no
    /// redirect of a WebSocket, only of a page.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::new(status).header("Location", location)
    }

    /// Adds a header. The same name may be added again, as `Set-Cookie` needs. `Content-Length` and
    /// `Transfer-Encoding` are written for you.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.connection_given |= name.eq_ignore_ascii_case("Connection");
        self.headers.push(name, value, RESERVED);
        self
    }

    /// Sets the body: a `&'static str`, `String`, `Vec<u8>` or [`Bytes`], none of them copied.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Appends the answer to `out`.
    ///
    /// # Errors
    ///
    /// The first thing that was wrong with a header or the status; then nothing is appended. The
    /// fault is the caller's, and a plain `500` tells the client enough.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), ResponseError> {
        self.encode_head_only(out)?;
        if self.has_body() {
            out.extend_from_slice(&self.body);
        }
        Ok(())
    }

    /// Appends the answer without its body: what a HEAD request is answered with (RFC 9110 §9.3.2).
    ///
    /// # Errors
    ///
    /// Those of [`encode`](Self::encode).
    pub fn encode_head_only(&self, out: &mut Vec<u8>) -> Result<(), ResponseError> {
        let lines = self.headers.lines()?;
        write!(out, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status)).expect(INFALLIBLE);
        out.extend_from_slice(lines);
        if self.has_body() {
            write!(out, "Content-Length: {}\r\n", self.body.len()).expect(INFALLIBLE);
        }
        if !self.connection_given {
            write_line(out, "Connection", "close");
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// `204` and `304` end with their head, whatever they were given (RFC 9112 §6.3).
    fn has_body(&self) -> bool {
        !matches!(self.status, 204 | 304)
    }
}

impl HandshakeError {
    /// The answer for the client: a sentence that says what was wrong and what to do about it, and
    /// the headers that its status calls for. Allocates.
    pub fn response(self) -> Response {
        let response = Response::text(self.status(), format!("{self} ({})\n", self.section()));
        match self.status() {
            405 => response.header("Allow", "GET"),
            // Upgrade is an offer to this connection only, which Connection has to say.
            426 => response
                .header("Upgrade", "websocket")
                .header("Connection", "Upgrade, close")
                .header("Sec-WebSocket-Version", "13"),
            _ => response,
        }
    }
}

/// What frames the message is not for the caller to say: a wrong length is a second answer.
const RESERVED: &[&str] = &["Content-Length", "Transfer-Encoding"];

const INFALLIBLE: &str = "a Vec takes what is written to it";

/// The words beside a status (RFC 9110 §15). Clients ignore them; people reading a trace do not.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(response: &Response) -> Result<String, ResponseError> {
        let mut out = Vec::new();
        response.encode(&mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn answers() {
        for (response, expected) in [
            (
                Response::new(200),
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            ),
            (
                Response::new(599).body("x"),
                "HTTP/1.1 599 \r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
            ),
            (
                Response::html(404, String::from("<p>no")),
                "HTTP/1.1 404 Not Found\r\nContent-Type: text/html; charset=utf-8\r\n\
                 Content-Length: 5\r\nConnection: close\r\n\r\n<p>no",
            ),
            (
                Response::redirect(308, "/new"),
                "HTTP/1.1 308 Permanent Redirect\r\nLocation: /new\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n",
            ),
            (
                Response::new(503).header("connection", "Close").header("Retry-After", "2"),
                "HTTP/1.1 503 Service Unavailable\r\nconnection: Close\r\nRetry-After: 2\r\n\
                 Content-Length: 0\r\n\r\n",
            ),
            (
                Response::new(204).body("ignored"),
                "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
            ),
        ] {
            assert_eq!(encoded(&response).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn head_only_announces_the_body_it_leaves_out() {
        let response = Response::text(200, "hello");
        let whole = encoded(&response).unwrap();
        let mut head = Vec::new();
        response.encode_head_only(&mut head).unwrap();
        assert_eq!(String::from_utf8(head).unwrap() + "hello", whole);
    }

    #[test]
    fn what_cannot_be_said_is_not_half_said() {
        let reserved = |name: &str| ResponseError::ReservedHeader { name: name.into() };
        for (response, expected) in [
            (Response::new(101), ResponseError::InvalidStatus(101)),
            (Response::new(0), ResponseError::InvalidStatus(0)),
            (Response::new(1000), ResponseError::InvalidStatus(1000)),
            (Response::new(200).header("content-length", "7"), reserved("content-length")),
            (
                Response::new(200).header("Transfer-Encoding", "chunked"),
                reserved("Transfer-Encoding"),
            ),
            (
                Response::redirect(302, "/a\r\nSet-Cookie: b=c"),
                ResponseError::InvalidHeaderValue { name: "Location".into() },
            ),
        ] {
            let mut out = b"before".to_vec();
            assert_eq!(response.encode(&mut out), Err(expected));
            assert_eq!(out, b"before");
        }
    }

    const REFUSALS: &[(HandshakeError, u16)] = {
        use HandshakeError::*;
        &[
            (TlsOnPlainPort, 400),
            (InvalidRequestLine, 400),
            (InvalidTarget, 400),
            (UnsupportedHttpVersion, 505),
            (HeadTooLong, 431),
            (TooManyHeaders, 431),
            (InvalidHeader, 400),
            (FoldedHeader, 400),
            (BareLineFeed, 400),
            (IncompleteHead, 400),
            (MissingHost, 400),
            (DuplicateHost, 400),
            (InvalidHost, 400),
            (DuplicateContentLength, 400),
            (InvalidContentLength, 400),
            (LengthBesideEncoding, 400),
            (LengthRequired, 411),
            (BodyTooLong, 413),
            (MissingUpgrade, 426),
            (MissingConnectionUpgrade, 400),
            (MethodNotGet, 405),
            (HttpVersionTooOld, 400),
            (MissingKey, 400),
            (DuplicateKey, 400),
            (InvalidKey, 400),
            (UnsupportedVersion, 426),
            (DuplicateVersion, 400),
            (InvalidSubprotocols, 400),
            (InvalidExtensions, 400),
            (UnexpectedBody, 400),
            (OriginNotAllowed, 403),
        ]
    };

    #[test]
    fn every_refusal_says_what_was_wrong_and_what_to_do() {
        for &(error, status) in REFUSALS {
            assert_eq!(error.status(), status, "{error:?}");
            let mut out = Vec::new();
            error.response().encode(&mut out).expect("our own answers are well-formed");
            let answer = String::from_utf8(out).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(head.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{head}");
            assert!(head.contains("close"), "{head}");
            assert_eq!(head.matches("\r\nConnection: ").count(), 1, "{head}");
            assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
            assert!(body.starts_with(&error.to_string()) && body.contains(": "), "{body}");
            assert!(body.contains(error.section()), "{body}");
        }
    }

    #[test]
    fn the_headers_a_status_calls_for() {
        let answer = |error: HandshakeError| {
            let mut out = Vec::new();
            error.response().encode(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(answer(HandshakeError::MethodNotGet).contains("\r\nAllow: GET\r\n"));
        let upgrade_required = answer(HandshakeError::UnsupportedVersion);
        assert!(upgrade_required.contains("\r\nUpgrade: websocket\r\n"));
        assert!(upgrade_required.contains("\r\nSec-WebSocket-Version: 13\r\n"));
        assert!(upgrade_required.contains("\r\nConnection: Upgrade, close\r\n"));
    }
}
