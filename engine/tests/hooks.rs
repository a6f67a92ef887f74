//! What a handler sees of an opening handshake, level by level, and what it can make of it.

mod support;

use std::sync::mpsc;

use support::{Client, PATIENCE, Serving, on_each_driver, request, serve, serve_with};
use throng::{
    Acceptance, Answered, DriverKind, Handler, HandshakeError, Limits, Request, RequestLine,
    Response, Timeouts, Upgrade,
    protocol::{
        Rsv,
        extension::{Answer, Extension, Offer, negotiate},
    },
};

on_each_driver!(
    every_level_in_order,
    every_level_refuses,
    once_however_the_request_arrives,
    refused_before_the_body,
    plain_http_is_looked_at_too,
    a_panic_at_any_level,
    a_refusal_to_head_has_no_body,
    an_extension_of_ones_own,
    an_extension_that_nobody_offered,
    both_halves_byte_for_byte,
    every_error_by_its_name,
    late_and_still_told,
    a_panic_in_on_answered,
);

/// Writes down what it is asked, and refuses or panics where it is told to: by a word that the request
/// has somewhere.
#[derive(Clone)]
struct Doorkeeper(mpsc::Sender<String>);

impl Doorkeeper {
    fn serve(driver: DriverKind) -> (Serving, mpsc::Receiver<String>) {
        let (sender, asked) = mpsc::channel();
        (serve(driver, Self(sender)), asked)
    }

    fn look(&self, level: &str, text: &str) -> Result<(), Response> {
        self.0.send(format!("{level} {text}")).unwrap();
        match text {
            _ if text.contains("panic") => panic!("as asked for"),
            _ if text.contains("forbidden") => {
                Err(Response::text(403, format!("{level}\n")).header("X-Level", level))
            }
            _ => Ok(()),
        }
    }
}

impl Handler for Doorkeeper {
    type Data = ();

    fn on_request_line(&mut self, line: &RequestLine<'_>) -> Result<(), Response> {
        self.look("line", &format!("{} {}", line.method(), line.target()))
    }

    fn on_host(&mut self, host: &str) -> Result<(), Response> {
        self.look("host", host)
    }

    fn on_header(&mut self, name: &str, value: &[u8]) -> Result<(), Response> {
        self.look("header", &format!("{name}={}", value.escape_ascii()))
    }

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        match self.look("upgrade", request.query().unwrap_or_default()) {
            Ok(()) => Upgrade::accept(),
            Err(response) => Upgrade::refuse(response),
        }
    }

    fn on_http(&mut self, request: &Request<'_>) -> Response {
        let body = String::from_utf8_lossy(request.body());
        self.look("http", &body).err().unwrap_or_else(|| Response::text(200, "welcome\n"))
    }
}

fn every_level_in_order(driver: DriverKind) {
    let (server, asked) = Doorkeeper::serve(driver);
    let mut client = server.connect();
    client.send_bytes(request("X-More: caf\u{e9}\r\n").replace("/chat", "/chat?a=1").as_bytes());
    client.expect_opened();
    let asked: Vec<_> = asked.try_iter().collect();
    assert_eq!(asked[0], "line GET /chat?a=1");
    assert_eq!(asked[1], "host server.example.com");
    assert!(asked[2].starts_with("header "), "{asked:?}");
    assert!(asked.contains(&"header Host=server.example.com".to_owned()), "{asked:?}");
    assert_eq!(asked[asked.len() - 2], r"header X-More=caf\xc3\xa9");
    assert_eq!(asked[asked.len() - 1], "upgrade a=1");
}

fn every_level_refuses(driver: DriverKind) {
    let (server, asked) = Doorkeeper::serve(driver);
    let plain = request("X-Key: open\r\n");
    for (from, to, level) in [
        ("/chat", "/forbidden", "line"),
        ("server.example.com", "forbidden.example.com", "host"),
        ("open", "forbidden", "header"),
        ("/chat", "/chat?forbidden", "line"),
        // What is wrong with the handshake itself is found after that.
        ("Version: 13\r\nX-Key: open", "Version: 8\r\nX-Key: forbidden", "header"),
    ] {
        let mut client = server.connect();
        let request = plain.replace(from, to);
        assert_ne!(request, plain);
        client.send_bytes(request.as_bytes());
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("X-Level")), (403, Some(level)), "{request}");
        assert_eq!(answer.body, format!("{level}\n"));
        let last = asked.try_iter().last().unwrap();
        assert!(last.starts_with(level), "nothing is asked behind a refusal: {last}");
    }
    assert_eq!(server.remote().total().opened, 0);
}

fn once_however_the_request_arrives(driver: DriverKind) {
    let (server, asked) = Doorkeeper::serve(driver);
    let whole = "POST /log HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789";
    for piece_len in [1, 7, whole.len() - 10, whole.len() - 5, whole.len()] {
        let mut client = server.connect();
        for piece in whole.as_bytes().chunks(piece_len) {
            let before = server.remote().total().bytes_in;
            client.send_bytes(piece);
            server.until("a piece", |counts| counts.bytes_in > before);
        }
        assert_eq!(client.answer().status, 200);
        let asked: Vec<_> = asked.try_iter().collect();
        let expected = [
            "line POST /log",
            "host a",
            "header Host=a",
            "header Content-Length=10",
            "http 0123456789",
        ];
        assert_eq!(asked, expected, "in pieces of {piece_len}");
    }
}

fn refused_before_the_body(driver: DriverKind) {
    let (server, _asked) = Doorkeeper::serve(driver);
    let mut client = server.connect();
    client.send_bytes(b"POST /forbidden HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    assert_eq!(client.answer().status, 403);
}

fn plain_http_is_looked_at_too(driver: DriverKind) {
    let (server, _asked) = Doorkeeper::serve(driver);
    for (head, status) in [
        ("GET / HTTP/1.0\r\n\r\n", 200),
        ("GET /forbidden HTTP/1.0\r\n\r\n", 403),
        ("GET http://forbidden/ HTTP/1.1\r\nHost: a\r\n\r\n", 403),
    ] {
        let mut client = server.connect();
        client.send_bytes(head.as_bytes());
        assert_eq!(client.answer().status, status, "{head}");
    }
}

fn a_panic_at_any_level(driver: DriverKind) {
    let (server, _asked) = Doorkeeper::serve(driver);
    let plain = request("X-Key: open\r\n");
    for (n, (from, to)) in
        [("/chat", "/panic"), ("server.example", "panic.example"), ("open", "panic")]
            .into_iter()
            .enumerate()
    {
        let mut client = server.connect();
        client.send_bytes(plain.replace(from, to).as_bytes());
        assert_eq!(client.answer().status, 500);
        let counts = server.remote().total();
        assert_eq!((counts.panics, counts.opened), (n as u64 + 1, 0));
    }
    server.open();
}

fn a_refusal_to_head_has_no_body(driver: DriverKind) {
    let (server, _asked) = Doorkeeper::serve(driver);
    let mut client = server.connect();
    client.send_bytes(b"HEAD /forbidden HTTP/1.0\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_str()), (403, ""));
}

/// An extension that frames do not show: who agrees on it promises something.
struct Promise;

impl Extension for Promise {
    fn name(&self) -> &'static str {
        "x-promise"
    }

    fn rsv(&self) -> Rsv {
        Rsv::NONE
    }

    fn agree(&self, offer: &Offer<'_>) -> Option<Answer> {
        let days = offer.params().find(|param| param.name == "days")?.value?;
        (days.parse::<u8>().ok()? <= 7).then(|| Answer::new(self.name()).param("days", &days))
    }
}

#[derive(Clone)]
struct Promising;

impl Handler for Promising {
    type Data = ();

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        if request.path() == "/unasked" {
            return Upgrade::accept_as(Acceptance::new().extension(&Answer::new("x-promise")));
        }
        match negotiate(request.extensions(), &Promise) {
            Some(answer) => Upgrade::accept_as(Acceptance::new().extension(&answer)),
            None => Upgrade::accept(),
        }
    }
}

fn an_extension_of_ones_own(driver: DriverKind) {
    let server = serve(driver, Promising);
    for (offers, agreed) in [
        ("", None),
        ("Sec-WebSocket-Extensions: x-promise\r\n", None),
        ("Sec-WebSocket-Extensions: x-promise; days=5\r\n", Some("x-promise; days=5")),
        (
            "Sec-WebSocket-Extensions: x-promise; days=30, x-promise; days=\"7\"\r\n",
            Some("x-promise; days=7"),
        ),
    ] {
        let mut client = server.connect();
        client.send_bytes(request(offers).as_bytes());
        let answer = client.expect_opened();
        assert_eq!(answer.header("Sec-WebSocket-Extensions"), agreed, "{offers}");
    }
}

fn an_extension_that_nobody_offered(driver: DriverKind) {
    let server = serve(driver, Promising);
    let mut client = server.connect();
    client.send_bytes(request("").replace("/chat", "/unasked").as_bytes());
    assert_eq!(client.answer().status, 500);
    assert_eq!(server.remote().total().opened, 0);
}

/// What `on_answered` was shown.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    request: Vec<u8>,
    response: Vec<u8>,
    status: u16,
    error: Option<HandshakeError>,
    text: String,
}

/// Keeps what leaves, and has one page.
#[derive(Clone)]
struct Observer(mpsc::Sender<Shown>);

impl Observer {
    fn serve(driver: DriverKind) -> (Serving, mpsc::Receiver<Shown>) {
        let (sender, shown) = mpsc::channel();
        let limits = Limits { head_len_max: 1000, body_len_max: 10, ..Limits::default() };
        let handshake = Some(std::time::Duration::from_millis(500));
        let timeouts = Timeouts { handshake, ..Timeouts::default() };
        let settings = |builder: throng::ServerBuilder| builder.limits(limits).timeouts(timeouts);
        (serve_with(driver, Self(sender), settings), shown)
    }
}

impl Handler for Observer {
    type Data = ();

    fn on_answered(&mut self, answered: &Answered<'_>) {
        assert!(answered.peer_addr().is_some());
        assert!(!format!("{answered:?}").contains("server.example.com"), "{answered:?}");
        let shown = Shown {
            request: answered.request().to_vec(),
            response: answered.response().to_vec(),
            status: answered.status(),
            error: answered.error(),
            text: answered.to_string(),
        };
        self.0.send(shown).unwrap();
        assert!(answered.status() != 418, "as asked for");
    }

    fn on_http(&mut self, request: &Request<'_>) -> Response {
        match request.path() {
            "/teapot" => Response::text(418, "short and stout\n"),
            "/split" => Response::new(200).header("X", "a\r\nb"),
            _ => Response::text(200, "welcome\n"),
        }
    }
}

fn exchange(server: &Serving, request: &[u8]) -> Client {
    let mut client = server.connect();
    client.send_bytes(request);
    client
}

fn both_halves_byte_for_byte(driver: DriverKind) {
    let (server, shown) = Observer::serve(driver);
    let asked = request("X-More: caf\u{e9}\r\n");
    exchange(&server, asked.as_bytes()).expect_opened();
    let opened = shown.recv_timeout(PATIENCE).unwrap();
    assert_eq!((opened.status, opened.error), (101, None));
    assert_eq!(opened.request, asked.as_bytes());
    assert!(opened.response.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"), "{opened:?}");
    assert!(opened.response.ends_with(b"\r\n\r\n"), "{opened:?}");
    let lines: Vec<_> = opened.text.lines().collect();
    assert_eq!(lines[0], "> GET /chat HTTP/1.1");
    assert!(lines.contains(&r"> X-More: caf\xc3\xa9"), "{lines:?}");
    assert!(lines.contains(&"< Upgrade: websocket"), "{lines:?}");

    let page = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
    let answer = exchange(&server, format!("{page}hi").as_bytes()).answer();
    let plain = shown.recv_timeout(PATIENCE).unwrap();
    assert_eq!((plain.status, plain.error, answer.status), (200, None, 200));
    assert_eq!(plain.request, page.as_bytes());
    assert!(plain.response.ends_with(b"\r\n\r\nwelcome\n"), "{plain:?}");

    // What could not be said is not what was said.
    exchange(&server, b"GET /split HTTP/1.0\r\n\r\n").answer();
    let unsaid = shown.recv_timeout(PATIENCE).unwrap();
    assert_eq!(unsaid.status, 500);
    assert!(unsaid.response.starts_with(b"HTTP/1.1 500 "), "{unsaid:?}");
    assert!(shown.try_recv().is_err());
}

fn every_error_by_its_name(driver: DriverKind) {
    let (server, shown) = Observer::serve(driver);
    let whole = request("");
    let long = request(&format!("X: {}\r\n", "x".repeat(1000)));
    for (bytes, error) in [
        ("\u{16}\u{3}\u{1}".to_owned(), HandshakeError::TlsOnPlainPort),
        ("SSH-2.0-OpenSSH_9.9\r\n".to_owned(), HandshakeError::InvalidRequestLine),
        (long, HandshakeError::HeadTooLong),
        (whole.replace("Host: server.example.com\r\n", ""), HandshakeError::MissingHost),
        (whole.replace("Version: 13", "Version: 8"), HandshakeError::UnsupportedVersion),
        (whole.replace("GET", "PUT"), HandshakeError::MethodNotGet),
        (request("Origin: https://evil.example\r\n"), HandshakeError::OriginNotAllowed),
        (request("Content-Length: 11\r\n"), HandshakeError::BodyTooLong),
    ] {
        let answer = exchange(&server, bytes.as_bytes()).answer();
        let refused = shown.recv_timeout(PATIENCE).unwrap();
        assert_eq!(refused.error, Some(error), "{bytes}");
        assert_eq!((answer.status, refused.status), (error.status(), error.status()));
        assert!(bytes.as_bytes().starts_with(&refused.request), "{refused:?}");
        assert!(!refused.request.is_empty(), "{refused:?}");
    }
}

fn late_and_still_told(driver: DriverKind) {
    let (server, shown) = Observer::serve(driver);
    let mut client = exchange(&server, b"GET /chat HTTP/1.1\r\nHo");
    assert_eq!(client.answer().status, 408);
    let late = shown.recv_timeout(PATIENCE).unwrap();
    assert_eq!((late.status, late.error), (408, None));
    assert_eq!(late.request, b"GET /chat HTTP/1.1\r\nHo");
}

fn a_panic_in_on_answered(driver: DriverKind) {
    let (server, _shown) = Observer::serve(driver);
    assert_eq!(exchange(&server, b"GET /teapot HTTP/1.0\r\n\r\n").answer().status, 418);
    assert_eq!(server.remote().total().panics, 1);
    server.open();
}
