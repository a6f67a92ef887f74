//! The client's half of the opening handshake, read in place (RFC 6455 §4.1, RFC 9112 §3).

use std::{fmt, mem::MaybeUninit};

use super::{AcceptKey, HandshakeError, HttpVersion, RequestLine, accept_key, head, tokens};
use crate::protocol::{
    extension::{Offer, Offers},
    utf8,
};

/// Room for one header of a [`Request`]; see [`header_slots`].
pub type HeaderSlot<'a> = MaybeUninit<httparse::Header<'a>>;

/// Room for the headers of a [`Request`], on the caller's stack: 32 bytes each, left uninitialised,
/// so that it costs nothing.
pub const fn header_slots<'a, const N: usize>() -> [HeaderSlot<'a>; N] {
    [const { MaybeUninit::uninit() }; N]
}

/// A request's head, and its body if it has one. Everything is borrowed; reading allocates nothing.
///
/// Names of headers are compared in letters of either case, as HTTP has it. Nothing is decoded: a
/// path keeps its `%20`.
///
/// ```
/// use throng::protocol::handshake::{HandshakeError, Request, header_slots};
///
/// let mut slots = header_slots::<64>();
/// let request = Request::parse(
///     b"GET /chat?room=7 HTTP/1.1\r\nHost: example.com\r\nCookie: id=42; theme=dark\r\n\r\n",
///     &mut slots,
/// )?;
/// assert_eq!((request.path(), request.query()), ("/chat", Some("room=7")));
/// assert_eq!(request.cookie("theme"), Some("dark"));
/// assert_eq!(request.check_upgrade(), Err(HandshakeError::MissingUpgrade));
/// # Ok::<(), HandshakeError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Request<'a> {
    head: &'a [u8],
    line: RequestLine<'a>,
    host: Option<&'a str>,
    headers: &'a [httparse::Header<'a>],
    known: Known<'a>,
    body: &'a [u8],
}

/// What the headers say that the protocol itself asks about, gathered in one pass over them.
#[derive(Clone, Copy, Default)]
struct Known<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    has_transfer_encoding: bool,
    upgrade_is_websocket: bool,
    connection_is_upgrade: bool,
    key: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// Reads `head`, exactly the bytes that [`HeadScanner`](super::HeadScanner) measured. Each header
    /// takes one of `slots`: their number is the limit.
    ///
    /// # Errors
    ///
    /// What is no HTTP/1 request, or one that another parser may read differently: see the module's
    /// documentation. Whether it asks for a WebSocket is left to
    /// [`check_upgrade`](Self::check_upgrade).
    #[inline(always)] // into the one place where every request is read
    pub fn parse(head: &'a [u8], slots: &'a mut [HeaderSlot<'a>]) -> Result<Self, HandshakeError> {
        head::check_first_byte(head)?;
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(head, slots) {
            Ok(httparse::Status::Complete(len)) if len == head.len() => {}
            Ok(_) => return Err(HandshakeError::IncompleteHead),
            Err(error) => return Err(explain(error, head)),
        }
        let (Some(method), Some(target), Some(minor)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(HandshakeError::IncompleteHead);
        };
        let headers: &'a [httparse::Header<'a>] = parsed.headers;
        check_line_ends(head, headers)?;
        let known = Known::gather(headers)?;
        let version = if minor == 0 { HttpVersion::Http10 } else { HttpVersion::Http11 };
        if known.host.is_none() && version == HttpVersion::Http11 {
            return Err(HandshakeError::MissingHost);
        }
        let host = known.host.map(check_host).transpose()?;
        let (line, authority) = RequestLine::new(method, target, version)?;
        Ok(Self { head, line, host: authority.or(host), headers, known, body: &[] })
    }

    /// The request with its body, which follows the head on the wire.
    #[must_use]
    pub fn with_body(self, body: &'a [u8]) -> Self {
        Self { body, ..self }
    }

    /// Holds the request against RFC 6455 §4.2.1, and answers its key.
    ///
    /// The `Origin` is not looked at: that is [`OriginPolicy`](super::OriginPolicy)'s to judge.
    ///
    /// Costs a pass over the headers and two blocks of SHA-1; allocates nothing.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn check_upgrade(&self) -> Result<AcceptKey, HandshakeError> {
        let known = &self.known;
        if !known.upgrade_is_websocket {
            return Err(HandshakeError::MissingUpgrade);
        }
        if self.method() != "GET" {
            return Err(HandshakeError::MethodNotGet);
        }
        if self.version() < HttpVersion::Http11 {
            return Err(HandshakeError::HttpVersionTooOld);
        }
        if self.host.is_none_or(str::is_empty) {
            return Err(HandshakeError::MissingHost);
        }
        if !known.connection_is_upgrade {
            return Err(HandshakeError::MissingConnectionUpgrade);
        }
        if known.version != Some(b"13") {
            return Err(HandshakeError::UnsupportedVersion);
        }
        let key = known.key.ok_or(HandshakeError::MissingKey)?;
        if !accept_key::is_well_formed(key) {
            return Err(HandshakeError::InvalidKey);
        }
        if self.has_body()? {
            return Err(HandshakeError::UnexpectedBody);
        }
        self.check_lists()?;
        Ok(AcceptKey::of_bytes(key))
    }

    /// The head as it was parsed: request line, headers, and the empty line that ends them.
    pub fn head(&self) -> &'a [u8] {
        self.head
    }

    /// The first line.
    pub fn line(&self) -> RequestLine<'a> {
        self.line
    }

    /// The method: see [`RequestLine::method`].
    pub fn method(&self) -> &'a str {
        self.line.method()
    }

    /// The request target: see [`RequestLine::target`].
    pub fn target(&self) -> &'a str {
        self.line.target()
    }

    /// The version of HTTP.
    pub fn version(&self) -> HttpVersion {
        self.line.version()
    }

    /// The path of the target, not decoded: see [`RequestLine::path`].
    pub fn path(&self) -> &'a str {
        self.line.path()
    }

    /// The query of the target, not decoded: see [`RequestLine::query`].
    pub fn query(&self) -> Option<&'a str> {
        self.line.query()
    }

    /// The names and values in the query, not decoded: see [`RequestLine::query_params`].
    pub fn query_params(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.line.query_params()
    }

    /// The first value of this name in the query, not decoded: see [`RequestLine::query_param`].
    pub fn query_param(&self, name: &str) -> Option<&'a str> {
        self.line.query_param(name)
    }

    /// The host, and the port if it is not the usual one, that the client believes to speak to: from
    /// the target if that is a whole URI, else from `Host` (RFC 9112 §3.2.2). `None` only for a
    /// request of HTTP/1.0.
    pub fn host(&self) -> Option<&'a str> {
        self.host
    }

    /// The `Origin` of the page that opens the WebSocket (RFC 6454 §7). Only browsers send it, and
    /// only they can be trusted to tell the truth.
    pub fn origin(&self) -> Option<&'a str> {
        self.header("Origin")
    }

    /// The value of the first header of this name, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        str::from_utf8(self.header_bytes(name)?).ok()
    }

    /// The value of the first header of this name, whatever its bytes.
    pub fn header_bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.header_values(name).next()
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

    /// The names and values of all cookies, in order and as sent: quotes belong to a value (RFC 6265
    /// §4.1.1). What has no `=` is no cookie.
    pub fn cookies(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.lists("Cookie")
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.split_once('='))
            .map(|(name, value)| (tokens::trim(name), tokens::trim(value)))
    }

    /// The value of the first cookie of this name: see [`cookies`](Self::cookies).
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        self.cookies().find(|(sent, _)| *sent == name).map(|(_, value)| value)
    }

    /// The subprotocols that the client offers, the ones it likes better first (RFC 6455 §4.1).
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.lists("Sec-WebSocket-Protocol").flat_map(tokens::elements)
    }

    /// The extensions that the client offers, in order (RFC 6455 §9.1). They end where the grammar
    /// is broken, which [`check_upgrade`](Self::check_upgrade) refuses.
    pub fn extensions(&self) -> impl Iterator<Item = Offer<'a>> + use<'a> {
        self.lists("Sec-WebSocket-Extensions").flat_map(Offers::new).map_while(Result::ok)
    }

    /// Whether the client asks for a WebSocket: `Upgrade` names `websocket`. Whether it asks
    /// properly, [`check_upgrade`](Self::check_upgrade) knows.
    pub fn is_upgrade(&self) -> bool {
        self.known.upgrade_is_websocket
    }

    /// The value of `Content-Length`.
    ///
    /// # Errors
    ///
    /// [`InvalidContentLength`](HandshakeError::InvalidContentLength): not digits, or more of them
    /// than memory could hold.
    pub fn content_length(&self) -> Result<Option<usize>, HandshakeError> {
        self.known.content_length.map(decimal).transpose()
    }

    /// How many bytes of body follow the head, at most `len_max`.
    ///
    /// # Errors
    ///
    /// [`LengthRequired`](HandshakeError::LengthRequired) for a body in chunks, which we do not
    /// read; [`BodyTooLong`](HandshakeError::BodyTooLong) beyond `len_max`; those of
    /// [`content_length`](Self::content_length).
    pub fn body_len(&self, len_max: usize) -> Result<usize, HandshakeError> {
        if self.is_chunked() {
            return Err(HandshakeError::LengthRequired);
        }
        match self.content_length()?.unwrap_or(0) {
            len if len > len_max => Err(HandshakeError::BodyTooLong),
            len => Ok(len),
        }
    }

    /// Whether a body follows the head.
    ///
    /// # Errors
    ///
    /// Those of [`content_length`](Self::content_length).
    pub fn has_body(&self) -> Result<bool, HandshakeError> {
        Ok(self.is_chunked() || self.content_length()?.is_some_and(|len| len > 0))
    }

    /// Whether the body is sent in chunks, or encoded otherwise (`Transfer-Encoding`).
    pub fn is_chunked(&self) -> bool {
        self.known.has_transfer_encoding
    }

    /// The body given to [`with_body`](Self::with_body); empty before that.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The values of a header that is a list, as text. One that is not UTF-8 holds nothing we know.
    fn lists<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.header_values(name).filter_map(|value| str::from_utf8(value).ok())
    }

    /// The grammar of the two lists that a client may send, a violation of which we MUST refuse
    /// (RFC 6455 §4.2.1).
    fn check_lists(&self) -> Result<(), HandshakeError> {
        for header in self.headers {
            if tokens::is_name(header.name, "Sec-WebSocket-Extensions") {
                let value = text(header.value, HandshakeError::InvalidExtensions)?;
                Offers::new(value).try_for_each(|offer| offer.map(drop))?;
            } else if tokens::is_name(header.name, "Sec-WebSocket-Protocol") {
                let value = text(header.value, HandshakeError::InvalidSubprotocols)?;
                if !tokens::elements(value).all(tokens::is_token) {
                    return Err(HandshakeError::InvalidSubprotocols);
                }
            }
        }
        Ok(())
    }
}

/// Leaves out what may be a secret and must not end in a log: the query, and what headers say.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("line", &self.line)
            .field("host", &self.host)
            .field("header_count", &self.headers.len())
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Known<'a> {
    fn gather(headers: &[httparse::Header<'a>]) -> Result<Self, HandshakeError> {
        let mut known = Self::default();
        for &httparse::Header { name, value } in headers {
            let is = |known: &str| tokens::is_name(name, known);
            if is("Host") {
                set_once(&mut known.host, value, HandshakeError::DuplicateHost)?;
            } else if is("Upgrade") {
                known.upgrade_is_websocket |= tokens::list_has(value, "websocket");
            } else if is("Connection") {
                known.connection_is_upgrade |= tokens::list_has(value, "Upgrade");
            } else if is("Sec-WebSocket-Key") {
                set_once(&mut known.key, value, HandshakeError::DuplicateKey)?;
            } else if is("Sec-WebSocket-Version") {
                set_once(&mut known.version, value, HandshakeError::DuplicateVersion)?;
            } else if is("Content-Length") {
                let duplicate = HandshakeError::DuplicateContentLength;
                set_once(&mut known.content_length, value, duplicate)?;
            } else if is("Transfer-Encoding") {
                known.has_transfer_encoding = true;
            }
        }
        if known.has_transfer_encoding && known.content_length.is_some() {
            return Err(HandshakeError::LengthBesideEncoding);
        }
        Ok(known)
    }
}

fn set_once<'a>(
    place: &mut Option<&'a [u8]>,
    value: &'a [u8],
    duplicate: HandshakeError,
) -> Result<(), HandshakeError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(duplicate),
    }
}

/// What httparse found wrong, in our words.
fn explain(error: httparse::Error, head: &[u8]) -> HandshakeError {
    let is_folded = |pair: &[u8]| matches!(pair, b"\n " | b"\n\t");
    match error {
        httparse::Error::Token | httparse::Error::Status => HandshakeError::InvalidRequestLine,
        httparse::Error::Version => HandshakeError::UnsupportedHttpVersion,
        httparse::Error::TooManyHeaders => HandshakeError::TooManyHeaders,
        _ if head.windows(2).any(is_folded) => HandshakeError::FoldedHeader,
        _ => HandshakeError::InvalidHeader,
    }
}

/// httparse takes LF alone for a line's end; some proxies take it for a byte of the line, and see
/// other headers than we would (RFC 9112 §2.2). Each line but the last ends where a name begins.
fn check_line_ends(head: &[u8], headers: &[httparse::Header<'_>]) -> Result<(), HandshakeError> {
    let ends_line_before = |header: &httparse::Header<'_>| {
        let start = header.name.as_ptr().addr() - head.as_ptr().addr();
        head[..start].ends_with(b"\r\n")
    };
    if head.ends_with(b"\r\n\r\n") && headers.iter().all(ends_line_before) {
        Ok(())
    } else {
        Err(HandshakeError::BareLineFeed)
    }
}

/// A host and perhaps a port (RFC 3986 §3.2), by their letters: no user, no path, no space. An empty
/// one is valid HTTP.
pub(super) fn check_host(host: &[u8]) -> Result<&str, HandshakeError> {
    if host.iter().all(|&byte| HOST_BYTES[usize::from(byte)]) {
        text(host, HandshakeError::InvalidHost)
    } else {
        Err(HandshakeError::InvalidHost)
    }
}

fn text(value: &[u8], otherwise: HandshakeError) -> Result<&str, HandshakeError> {
    utf8::validate(value).map_err(|_| otherwise)
}

/// A number in decimal digits and nothing else: `+1`, which `parse` would take, is two numbers to
/// two parsers (RFC 9112 §6.3).
fn decimal(digits: &[u8]) -> Result<usize, HandshakeError> {
    let text = text(digits, HandshakeError::InvalidContentLength)?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HandshakeError::InvalidContentLength);
    }
    text.parse().map_err(|_| HandshakeError::InvalidContentLength)
}

/// A token's bytes but for those that RFC 3986 §2 keeps out of a host, and some separators: as a
/// table, for it is asked about every byte.
const HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = match byte as u8 {
            b'#' | b'^' | b'`' | b'|' => false,
            b':' | b'[' | b']' | b'(' | b')' | b',' | b';' | b'=' => true,
            byte => tokens::is_token_byte(byte),
        };
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::{HandshakeError::*, *};

    /// Parses, and hands the result to `look`.
    fn with_request<T>(
        head: &str,
        look: impl FnOnce(Result<Request<'_>, HandshakeError>) -> T,
    ) -> T {
        let mut slots = header_slots::<8>();
        look(Request::parse(head.as_bytes(), &mut slots))
    }

    fn head(lines: &[&str]) -> String {
        lines.join("\r\n") + "\r\n\r\n"
    }

    #[test]
    fn what_is_no_request() {
        for (head, expected) in [
            ("", IncompleteHead),
            ("GET / HTTP/1.1\r\n", IncompleteHead),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\nmore", IncompleteHead),
            ("\u{16}\u{3}\u{1}", TlsOnPlainPort),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", InvalidRequestLine),
            ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", InvalidRequestLine),
            ("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", UnsupportedHttpVersion),
            ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", UnsupportedHttpVersion),
            ("PRI * HTTP/2.0\r\n\r\n", UnsupportedHttpVersion),
            ("GET / HTTP/0.9\r\n\r\n", UnsupportedHttpVersion),
            ("GET / http/1.1\r\nHost: x\r\n\r\n", UnsupportedHttpVersion),
            ("GET / HTTP/1.1\r\n\r\n", MissingHost),
            ("GET / HTTP/1.1\r\nHost x\r\n\r\n", InvalidHeader),
            ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", InvalidHeader),
            ("GET / HTTP/1.1\r\n: x\r\n\r\n", InvalidHeader),
            ("GET / HTTP/1.1\r\nHost: x\0y\r\n\r\n", InvalidHeader),
            ("GET / HTTP/1.1\r\nHost: x\ry\r\n\r\n", InvalidHeader),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", FoldedHeader),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n", FoldedHeader),
            ("GET / HTTP/1.1\r\n Host: x\r\n\r\n", FoldedHeader),
            // LF alone, at every place it could stand.
            ("GET / HTTP/1.1\nHost: x\r\n\r\n", BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: x\n\r\n", BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: x\r\n\n", BareLineFeed),
            ("GET / HTTP/1.1\nHost: x\n\n", BareLineFeed),
            ("GET / HTTP/1.0\r\n\n", BareLineFeed),
            ("GET / HTTP/1.0\n\r\n", BareLineFeed),
            ("GET chat HTTP/1.1\r\nHost: x\r\n\r\n", InvalidTarget),
            ("GET * HTTP/1.1\r\nHost: x\r\n\r\n", InvalidTarget),
            ("GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", InvalidTarget),
            ("GET http:///chat HTTP/1.1\r\nHost: x\r\n\r\n", InvalidTarget),
            ("GET http://a@b/ HTTP/1.1\r\nHost: x\r\n\r\n", InvalidHost),
            ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", InvalidHost),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", InvalidHost),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", InvalidHost),
            ("GET / HTTP/1.1\r\nHost: caf\u{e9}\r\n\r\n", InvalidHost),
        ] {
            assert_eq!(with_request(head, |request| request.err()), Some(expected), "{head:?}");
        }
    }

    #[test]
    fn what_may_stand_once() {
        for (headers, expected) in [
            (["Host: x", "host: x"], Some(DuplicateHost)),
            (["Content-Length: 1", "content-length: 1"], Some(DuplicateContentLength)),
            (["Content-Length: 1", "Transfer-Encoding: chunked"], Some(LengthBesideEncoding)),
            (["Transfer-Encoding: chunked", "Content-Length: 1"], Some(LengthBesideEncoding)),
            (["Sec-WebSocket-Key: a", "Sec-WebSocket-Key: a"], Some(DuplicateKey)),
            (["Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"], Some(DuplicateVersion)),
            (["Cookie: a=b", "Cookie: c=d"], None),
        ] {
            let head = head(&["GET / HTTP/1.0", headers[0], headers[1]]);
            assert_eq!(with_request(&head, |request| request.err()), expected, "{headers:?}");
        }
    }

    #[test]
    fn the_slots_are_the_limit() {
        for (count, expected) in [(7, None), (8, None), (9, Some(TooManyHeaders))] {
            let head = "GET / HTTP/1.0\r\n".to_owned() + &"A: b\r\n".repeat(count) + "\r\n";
            assert_eq!(with_request(&head, |request| request.err()), expected, "{count}");
        }
    }

    #[test]
    fn targets() {
        for (target, path, query, host) in [
            ("/", "/", None, "x"),
            ("/chat", "/chat", None, "x"),
            ("/chat?", "/chat", Some(""), "x"),
            ("/chat?a=1&b=?/%20", "/chat", Some("a=1&b=?/%20"), "x"),
            ("//chat", "//chat", None, "x"),
            ("http://y:81/chat?a", "/chat", Some("a"), "y:81"),
            ("WS://y/chat", "/chat", None, "y"),
            ("wss://y", "/", None, "y"),
            ("https://y?a=/", "/", Some("a=/"), "y"),
        ] {
            with_request(&head(&[&format!("GET {target} HTTP/1.1"), "Host: x"]), |request| {
                let request = request.unwrap();
                assert_eq!(request.target(), target);
                assert!(request.head().ends_with(b"Host: x\r\n\r\n"));
                assert_eq!(
                    (request.path(), request.query(), request.host()),
                    (path, query, Some(host)),
                    "{target:?}"
                );
            });
        }
    }

    #[test]
    fn the_forms_that_only_proxies_and_probes_send() {
        for line in ["OPTIONS * HTTP/1.1", "CONNECT y:443 HTTP/1.1"] {
            let target = line.split(' ').nth(1).unwrap();
            with_request(&head(&[line, "Host: x"]), |request| {
                assert_eq!(request.unwrap().path(), target);
            });
        }
    }

    #[test]
    fn headers() {
        let head = head(&[
            "POST / HTTP/1.0",
            "X-One:  first \t",
            "x-one: second",
            "X-Empty:",
            "Cookie: id=42; theme=\"dark\"; empty=",
            "COOKIE:  more = 1 ; id=43",
            "Content-Length: 5",
        ]);
        with_request(&head, |request| {
            let request = request.unwrap().with_body(b"hello");
            assert_eq!((request.method(), request.version()), ("POST", HttpVersion::Http10));
            assert_eq!(request.host(), None);
            assert_eq!(request.header("x-ONE"), Some("first"));
            assert_eq!(request.header_bytes("X-Empty"), Some(&b""[..]));
            assert_eq!(request.header("X-Two"), None);
            assert_eq!(
                request.header_values("X-One").collect::<Vec<_>>(),
                [&b"first"[..], b"second"]
            );
            assert_eq!(request.headers().len(), 6);
            assert_eq!(request.headers().nth(1), Some(("x-one", &b"second"[..])));
            assert_eq!(request.cookie("id"), Some("42"));
            assert_eq!(request.cookie("theme"), Some("\"dark\""));
            assert_eq!(request.cookie("empty"), Some(""));
            assert_eq!(request.cookie("more"), Some("1"));
            assert_eq!(request.cookie("ID"), None);
            assert_eq!(request.cookies().nth(3), Some(("more", "1")));
            assert_eq!(request.cookies().count(), 5);
            assert_eq!(request.body(), b"hello");
            assert!(!request.is_upgrade());
        });
    }

    #[test]
    fn a_log_line_keeps_secrets() {
        let head = head(&["GET /chat?token=secret HTTP/1.0", "Cookie: id=secret"]);
        with_request(&head, |request| {
            let line = format!("{:?}", request.unwrap());
            assert!(line.contains("/chat") && !line.contains("secret"), "{line}");
        });
    }

    #[test]
    fn a_value_that_is_not_utf8_is_bytes() {
        let mut slots = header_slots::<2>();
        let head = b"GET / HTTP/1.0\r\nOrigin: caf\xE9\r\nCookie: a=\xFF\r\n\r\n";
        let request = Request::parse(head, &mut slots).unwrap();
        assert_eq!((request.origin(), request.cookie("a")), (None, None));
        assert_eq!(request.header_bytes("origin"), Some(&b"caf\xE9"[..]));
    }

    #[test]
    fn bodies() {
        for (header, expected) in [
            ("A: b", Ok(0)),
            ("Content-Length: 0", Ok(0)),
            ("Content-Length: 0010", Ok(10)),
            ("Content-Length: 11", Err(BodyTooLong)),
            ("Content-Length: 99999999999999999999999", Err(InvalidContentLength)),
            ("Content-Length: +1", Err(InvalidContentLength)),
            ("Content-Length: -1", Err(InvalidContentLength)),
            ("Content-Length: 1, 1", Err(InvalidContentLength)),
            ("Content-Length: 0x1", Err(InvalidContentLength)),
            ("Content-Length:", Err(InvalidContentLength)),
            ("Transfer-Encoding: chunked", Err(LengthRequired)),
            ("Transfer-Encoding: xchunked", Err(LengthRequired)),
        ] {
            with_request(&head(&["POST / HTTP/1.0", header]), |request| {
                let request = request.unwrap();
                assert_eq!(request.body_len(10), expected, "{header:?}");
                if let Ok(len) = expected {
                    assert_eq!(request.has_body(), Ok(len > 0), "{header:?}");
                }
            });
        }
    }

    #[test]
    fn offers_over_several_headers() {
        let head = head(&[
            "GET / HTTP/1.1",
            "Host: x",
            "Sec-WebSocket-Protocol: v3, v2",
            "Sec-WebSocket-Protocol: ,v1",
            "Sec-WebSocket-Extensions: a; b=1, c",
            "Sec-WebSocket-Extensions: d",
        ]);
        with_request(&head, |request| {
            let request = request.unwrap();
            assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["v3", "v2", "v1"]);
            let names: Vec<_> = request.extensions().map(|offer| offer.name()).collect();
            assert_eq!(names, ["a", "c", "d"]);
        });
    }
}
