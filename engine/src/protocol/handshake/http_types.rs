//! To and from the types of the crate [`http`](https://docs.rs/http): for code that has them already.
//!
//! All of it allocates. A handler that needs three headers reads them from the
//! [`Request`](super::Request) for nothing.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use super::{AcceptKey, Acceptance, HttpVersion, Request, Response, ResponseError};

/// The head of a request as it would have arrived: what [`Request::parse`] reads. So a request that
/// another server has parsed goes through the same checks as one of our own.
///
/// A request of HTTP/2 becomes one that [`Request::parse`] refuses: it is upgraded in another way
/// (RFC 8441).
pub fn http_head<B>(request: &http::Request<B>) -> Vec<u8> {
    let mut head = Vec::with_capacity(1024);
    let line = format!("{} {} {:?}\r\n", request.method(), request.uri(), request.version());
    head.extend_from_slice(line.as_bytes());
    for (name, value) in request.headers() {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(piece);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

impl Request<'_> {
    /// A copy as a request of the crate `http`, with its body.
    ///
    /// # Errors
    ///
    /// What that crate does not take for a method, a URI or a header, and a browser does not send.
    pub fn to_http(&self) -> Result<http::Request<Bytes>, http::Error> {
        let version = match self.version() {
            HttpVersion::Http10 => http::Version::HTTP_10,
            HttpVersion::Http11 => http::Version::HTTP_11,
        };
        let target = Uri::try_from(self.target())?;
        let request = http::Request::builder().method(self.method()).uri(target).version(version);
        self.headers()
            .fold(request, |request, (name, value)| request.header(name, value))
            .body(Bytes::copy_from_slice(self.body()))
    }
}

impl Response {
    /// A copy as a response of the crate `http`. The server that sends it adds what frames the body.
    ///
    /// # Errors
    ///
    /// Those of [`encode`](Self::encode).
    pub fn to_http(&self) -> Result<http::Response<Bytes>, ResponseError> {
        let status = StatusCode::from_u16(self.status())
            .map_err(|_| ResponseError::InvalidStatus(self.status()))?;
        let mut response = http::Response::new(self.body.clone());
        *response.status_mut() = status;
        append(response.headers_mut(), self.headers.lines()?)?;
        Ok(response)
    }
}

/// Leaves out `Content-Length` and `Transfer-Encoding`, which are written anew.
impl<B: Into<Bytes>> From<http::Response<B>> for Response {
    fn from(response: http::Response<B>) -> Self {
        let (parts, body) = response.into_parts();
        let is_ours = |name| name != header::CONTENT_LENGTH && name != header::TRANSFER_ENCODING;
        let headers = parts.headers.iter().filter(|(name, _)| is_ours(*name));
        headers
            .fold(Self::new(parts.status.as_u16()), |response, (name, value)| {
                response.header(name.as_str(), text(value))
            })
            .body(body)
    }
}

impl Acceptance {
    /// Adds headers, as [`header`](Self::header) does each.
    #[must_use]
    pub fn http_headers(self, headers: &HeaderMap) -> Self {
        headers
            .iter()
            .fold(self, |acceptance, (name, value)| acceptance.header(name.as_str(), text(value)))
    }

    /// The `101` as a response of the crate `http`, for another server to send; the connection may then be
    /// adopted.
    ///
    /// # Errors
    ///
    /// Those of [`encode`](Self::encode).
    pub fn to_http(&self, key: &AcceptKey) -> Result<http::Response<()>, ResponseError> {
        let mut lines = Vec::new();
        self.encode(key, &mut lines)?;
        let mut response = http::Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let (_, headers) = split_once(&lines, b"\r\n").unwrap_or_default();
        append(response.headers_mut(), headers)?;
        Ok(response)
    }
}

/// Adds header lines that are known to be well-formed, up to an empty one.
fn append(headers: &mut HeaderMap, mut lines: &[u8]) -> Result<(), ResponseError> {
    while let Some((line, rest)) = split_once(lines, b"\r\n")
        && let Some((name, value)) = split_once(line, b": ")
    {
        let said = |bytes| String::from_utf8_lossy(bytes).into();
        let parsed = header::HeaderName::from_bytes(name)
            .map_err(|_| ResponseError::InvalidHeaderName { name: said(name) })?;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| ResponseError::InvalidHeaderValue { name: said(name) })?;
        headers.append(parsed, value);
        lines = rest;
    }
    Ok(())
}

fn split_once<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

/// A value as text; one that is none becomes one that cannot be said.
fn text(value: &HeaderValue) -> &str {
    str::from_utf8(value.as_bytes()).unwrap_or("\0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::handshake::{HandshakeError, header_slots};

    fn request() -> http::Request<&'static str> {
        http::Request::get("/chat?room=7")
            .header("Host", "example.com")
            .header("Upgrade", "websocket")
            .header("Connection", "keep-alive, Upgrade")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Version", "13")
            .header("Cookie", "a=1")
            .header("Cookie", "b=2")
            .body("")
            .unwrap()
    }

    #[test]
    fn a_request_there_and_back() {
        let head = http_head(&request());
        let mut slots = header_slots::<16>();
        let parsed = Request::parse(&head, &mut slots).unwrap();
        assert_eq!(parsed.check_upgrade(), Ok(AcceptKey::new("dGhlIHNhbXBsZSBub25jZQ==")));
        assert_eq!((parsed.path(), parsed.query_param("room")), ("/chat", Some("7")));
        assert_eq!(parsed.cookies().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        let back = parsed.with_body(b"body").to_http().unwrap();
        assert_eq!((back.method(), back.uri()), (request().method(), request().uri()));
        assert_eq!((back.headers(), back.version()), (request().headers(), request().version()));
        assert_eq!(&back.body()[..], b"body");
    }

    #[test]
    fn it_is_held_to_the_same_rules() {
        let mut proxied = request();
        *proxied.uri_mut() = Uri::from_static("http://other.example.com/chat");
        let mut second = request();
        *second.version_mut() = http::Version::HTTP_2;
        let mut twice = request();
        twice.headers_mut().append("Host", HeaderValue::from_static("evil.example"));
        for (request, expected) in [
            (proxied, Ok("other.example.com")),
            (second, Err(HandshakeError::UnsupportedHttpVersion)),
            (twice, Err(HandshakeError::DuplicateHost)),
        ] {
            let head = http_head(&request);
            let mut slots = header_slots::<16>();
            let host = Request::parse(&head, &mut slots).map(|request| request.host().unwrap());
            assert_eq!(host, expected);
        }
    }

    #[test]
    fn a_response_there_and_back() {
        let response =
            Response::text(403, "no\n").header("Set-Cookie", "a").header("Set-Cookie", "b");
        let there = response.to_http().unwrap();
        assert_eq!((there.status().as_u16(), &there.body()[..]), (403, &b"no\n"[..]));
        assert_eq!(there.headers().get_all("set-cookie").iter().count(), 2);
        let (mut one, mut other) = (Vec::new(), Vec::new());
        response.encode(&mut one).unwrap();
        Response::from(there).encode(&mut other).unwrap();
        assert_eq!(one.to_ascii_lowercase(), other.to_ascii_lowercase());

        let framed = http::Response::builder().header("Content-Length", "99").body("ok").unwrap();
        let mut out = Vec::new();
        Response::from(framed).encode(&mut out).unwrap();
        assert!(out.ends_with(b"Content-Length: 2\r\nConnection: close\r\n\r\nok"));
        assert!(Response::new(99).to_http().is_err());
        assert!(Response::new(200).header("X", "a\r\nb").to_http().is_err());
    }

    #[test]
    fn an_acceptance_as_another_server_sends_it() {
        let mut more = HeaderMap::new();
        more.insert("x-shard", HeaderValue::from_static("7"));
        let acceptance = Acceptance::new().subprotocol("v1").http_headers(&more);
        let response = acceptance.to_http(&AcceptKey::new("dGhlIHNhbXBsZSBub25jZQ==")).unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", "v1"),
            ("x-shard", "7"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        assert_eq!(response.headers().len(), 5);
        more.insert("x-opaque", HeaderValue::from_bytes(b"\xFF").unwrap());
        let key = AcceptKey::new("");
        assert!(Acceptance::new().http_headers(&more).to_http(&key).is_err());
    }
}
