//! The opening handshake through the public interface, as somebody else's reactor would use it.

use std::io::{self, Read, Write};

use proptest::prelude::*;
use throng::protocol::handshake::{
    AcceptKey, Acceptance, HandshakeError, HeadScanner, OriginPolicy, Request, ResponseError,
    header_slots, internal, select_subprotocol,
};

/// What Chrome sends, cookies and all.
const CHROME: &str = "GET /socket?room=7 HTTP/1.1\r\n\
    Host: example.com\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/126.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-US,en;q=0.9\r\n\
    Cookie: session=0123456789abcdef; theme=dark\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// The client's request of RFC 6455 §1.2.
const SAMPLE: &[&str] = &[
    "GET /chat HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Origin: http://server.example.com",
    "Sec-WebSocket-Protocol: chat, superchat",
    "Sec-WebSocket-Version: 13",
];

/// The sample with the line that begins like `line` replaced by it, or `line` added.
fn sample_with(line: &str) -> String {
    let name = |line: &str| line.split([' ', ':']).next().unwrap().to_ascii_lowercase();
    let mut lines: Vec<&str> = SAMPLE.to_vec();
    match lines.iter_mut().find(|old| name(old) == name(line)) {
        Some(old) => *old = line,
        None => lines.push(line),
    }
    lines.join("\r\n") + "\r\n\r\n"
}

fn sample_without(name: &str) -> String {
    let lines: Vec<&str> =
        SAMPLE.iter().copied().filter(|line| !line.starts_with(&format!("{name}:"))).collect();
    assert_eq!(lines.len(), SAMPLE.len() - 1);
    lines.join("\r\n") + "\r\n\r\n"
}

/// A whole server's half: bytes in, the key or the refusal out.
fn check(bytes: &[u8]) -> Result<AcceptKey, HandshakeError> {
    let end = HeadScanner::default().find_end(bytes, 8192)?.expect("a whole head");
    let mut slots = header_slots::<64>();
    let request = Request::parse(&bytes[..end], &mut slots)?;
    let key = request.check_upgrade()?;
    OriginPolicy::default().check(&request)?;
    Ok(key)
}

#[test]
fn what_is_accepted() {
    for line in [
        "GET /chat HTTP/1.1",
        "GET ws://server.example.com/chat HTTP/1.1",
        "Upgrade: WebSocket",
        "Upgrade: h2c, websocket",
        "Connection: keep-alive, Upgrade",
        "Connection: upgrade",
        "connection: UPGRADE",
        "Content-Length: 0",
        "Origin: https://server.example.com",
        "Sec-WebSocket-Protocol: chat",
        "Sec-WebSocket-Protocol: a,,b",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x; y=\"1\"",
    ] {
        let key = check(sample_with(line).as_bytes());
        assert_eq!(key.as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{line:?}");
    }
    for absent in ["Origin", "Sec-WebSocket-Protocol"] {
        assert!(check(sample_without(absent).as_bytes()).is_ok(), "{absent}");
    }
    assert!(check(CHROME.as_bytes()).is_ok());
}

#[test]
fn lists_may_be_spread_over_headers() {
    let head =
        SAMPLE.join("\r\n").replace("Upgrade: websocket", "Upgrade: x\r\nUpgrade: websocket")
            + "\r\nConnection: close\r\n\r\n";
    assert!(check(head.as_bytes()).is_ok());
}

#[test]
fn every_rule_and_its_status() {
    use HandshakeError::*;
    for (head, expected, status) in [
        (sample_with("GET /chat HTTP/1.0"), HttpVersionTooOld, 400),
        (sample_with("GET /chat HTTP/2.0"), UnsupportedHttpVersion, 505),
        (sample_with("GET chat HTTP/1.1"), InvalidTarget, 400),
        (sample_with("Host:"), MissingHost, 400),
        (sample_with("Host: a/b"), InvalidHost, 400),
        (sample_with("Host: x\r\nHost: x"), DuplicateHost, 400),
        (sample_without("Host"), MissingHost, 400),
        (sample_with("Upgrade: websockets"), MissingUpgrade, 426),
        (sample_with("Upgrade: h2c"), MissingUpgrade, 426),
        (sample_without("Upgrade"), MissingUpgrade, 426),
        (sample_with("Connection: keep-alive"), MissingConnectionUpgrade, 400),
        (sample_without("Connection"), MissingConnectionUpgrade, 400),
        (sample_without("Sec-WebSocket-Key"), MissingKey, 400),
        (sample_with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE="), InvalidKey, 400),
        (sample_with("Sec-WebSocket-Key: x"), InvalidKey, 400),
        (sample_with("Sec-WebSocket-Key:"), InvalidKey, 400),
        (sample_with("Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: b"), DuplicateKey, 400),
        (sample_without("Sec-WebSocket-Version"), UnsupportedVersion, 426),
        (sample_with("Sec-WebSocket-Version: 8"), UnsupportedVersion, 426),
        (sample_with("Sec-WebSocket-Version: 013"), UnsupportedVersion, 426),
        (sample_with("Sec-WebSocket-Version: 13, 8"), UnsupportedVersion, 426),
        (
            sample_with("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8"),
            DuplicateVersion,
            400,
        ),
        (sample_with("Sec-WebSocket-Protocol: a b"), InvalidSubprotocols, 400),
        (sample_with("Sec-WebSocket-Protocol: \"a\""), InvalidSubprotocols, 400),
        (sample_with("Sec-WebSocket-Protocol: caf\u{e9}"), InvalidSubprotocols, 400),
        (sample_with("Sec-WebSocket-Extensions: a;"), InvalidExtensions, 400),
        (sample_with("Sec-WebSocket-Extensions: a; b=\"c d\""), InvalidExtensions, 400),
        (sample_with("Sec-WebSocket-Extensions: caf\u{e9}"), InvalidExtensions, 400),
        (sample_with("Content-Length: 5"), UnexpectedBody, 400),
        (sample_with("Content-Length: x"), InvalidContentLength, 400),
        (sample_with("Content-Length: 0\r\nContent-Length: 0"), DuplicateContentLength, 400),
        (sample_with("Transfer-Encoding: chunked"), UnexpectedBody, 400),
        (sample_with("Transfer-Encoding: chunked\r\nContent-Length: 5"), LengthBesideEncoding, 400),
        (sample_with("Origin: http://evil.com"), OriginNotAllowed, 403),
        (sample_with("Origin: null"), OriginNotAllowed, 403),
        (sample_with("X: a\n b"), FoldedHeader, 400),
        (sample_with("X: a\nY: b"), BareLineFeed, 400),
        (sample_with("X : a"), InvalidHeader, 400),
        (sample_with(&"X: y\r\n".repeat(64)), TooManyHeaders, 431),
        (sample_with(&format!("X: {}", "y".repeat(8192))), HeadTooLong, 431),
        ("\u{16}\u{3}\u{1}".to_owned(), TlsOnPlainPort, 400),
        ("SSH-2.0-OpenSSH_9.6\r\n".to_owned(), InvalidRequestLine, 400),
    ] {
        let error = check(head.as_bytes()).expect_err(&head);
        assert_eq!((error, error.status()), (expected, status), "{head}");
    }
}

#[test]
fn only_get_opens_a_websocket() {
    for method in ["POST", "HEAD", "PUT", "OPTIONS", "get"] {
        let head = sample_with("GET").replacen("GET", &format!("{method} /chat HTTP/1.1"), 1);
        let error = check(head.as_bytes()).expect_err(method);
        assert_eq!(error, HandshakeError::MethodNotGet, "{method}");
    }
}

#[test]
fn subprotocols_are_the_clients_to_rank() {
    let head = sample_with("Sec-WebSocket-Protocol: v3, v2, v1");
    let mut slots = header_slots::<16>();
    let request = Request::parse(head.as_bytes(), &mut slots).unwrap();
    for (supported, expected) in [
        (&["v1", "v2"][..], Some("v2")),
        (&["v2", "v1"], Some("v2")),
        (&["V3"], None),
        (&["v4"], None),
        (&[], None),
    ] {
        assert_eq!(select_subprotocol(&request, supported), expected, "{supported:?}");
    }
    assert_eq!(Acceptance::new().check_offered(&request), Ok(()));
    assert_eq!(Acceptance::new().subprotocol("v1").check_offered(&request), Ok(()));
    assert_eq!(
        Acceptance::new().subprotocol("v4").check_offered(&request),
        Err(ResponseError::SubprotocolNotOffered { subprotocol: "v4".into() })
    );
}

/// A client's end of a wire: what it reads has been put there, what it writes is kept.
#[derive(Debug, Default)]
struct Wire {
    to_client: Vec<u8>,
    to_server: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.to_client.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = self.to_client.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.to_client[..len]);
        self.to_client.drain(..len);
        Ok(len)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to_server.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_client_that_is_not_ours_agrees() {
    use tungstenite::{client::IntoClientRequest as _, handshake::HandshakeError::Interrupted};

    let mut request = "ws://server.example.com/chat".into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "v2, v1".parse().unwrap());
    let Err(Interrupted(mut client)) = tungstenite::client(request, Wire::default()) else {
        panic!("the client has to wait for us");
    };

    let wire = client.get_mut().get_mut();
    let mut slots = header_slots::<16>();
    let head = std::mem::take(&mut wire.to_server);
    let request = Request::parse(&head, &mut slots).unwrap();
    let key = request.check_upgrade().unwrap();
    let chosen = select_subprotocol(&request, &["v1"]).unwrap();
    Acceptance::new().subprotocol(chosen).encode(&key, &mut wire.to_client).unwrap();

    let (_socket, response) = client.handshake().expect("the client accepts our answer");
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "v1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn an_acceptance_reads_back(
        key in "[A-Za-z0-9+/]{22}==",
        subprotocol in prop::option::of("[a-z0-9.]{1,12}"),
        headers in prop::collection::vec(("X-[A-Za-z0-9-]{0,12}", "([!-~]([ -~\t]{0,20}[!-~])?)?"), 0..6),
    ) {
        let key = AcceptKey::new(&key);
        let mut acceptance = Acceptance::new();
        if let Some(subprotocol) = &subprotocol {
            acceptance = acceptance.subprotocol(subprotocol);
        }
        for (name, value) in &headers {
            acceptance = acceptance.header(name, value);
        }
        let mut out = Vec::new();
        acceptance.encode(&key, &mut out).unwrap();

        let mut slots = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut slots);
        prop_assert_eq!(response.parse(&out), Ok(httparse::Status::Complete(out.len())));
        prop_assert_eq!(response.code, Some(101));
        let mut expected = vec![("Upgrade", "websocket"), ("Connection", "Upgrade")];
        expected.push(("Sec-WebSocket-Accept", &key));
        expected.extend(subprotocol.as_deref().map(|value| ("Sec-WebSocket-Protocol", value)));
        expected.extend(headers.iter().map(|(name, value)| (&**name, &**value)));
        let read: Vec<_> = response
            .headers
            .iter()
            .map(|header| (header.name, str::from_utf8(header.value).unwrap()))
            .collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn an_answer_is_one_answer_whatever_a_header_says(
        name in "\\PC{0,8}|X-[\r\n: a-z\0]{0,8}",
        value in "[\r\n\0\t -~é]{0,24}",
    ) {
        let mut out = Vec::new();
        let acceptance = Acceptance::new().header(&name, &value);
        if acceptance.encode(&AcceptKey::new(""), &mut out).is_ok() {
            let mut slots = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut slots);
            prop_assert_eq!(response.parse(&out), Ok(httparse::Status::Complete(out.len())));
            prop_assert_eq!(response.headers.len(), 4);
        } else {
            prop_assert!(out.is_empty());
        }
    }

    #[test]
    fn any_bytes_get_an_answer_or_patience(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        internal::request(&bytes);
    }

    #[test]
    fn so_do_bytes_that_are_almost_right(
        edits in prop::collection::vec((0..CHROME.len(), any::<u8>()), 0..4),
        cut in 0..=CHROME.len(),
    ) {
        let mut bytes = CHROME.as_bytes().to_vec();
        for (index, byte) in edits {
            bytes[index] = byte;
        }
        internal::request(&bytes);
        internal::request(&bytes[..cut]);
    }
}
