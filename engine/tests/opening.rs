//! The opening handshake over a real socket: what is accepted, refused, and how late.

mod support;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use support::{
    Answer, Client, Echo, Frame, PATIENCE, Serving, on_each_driver, request, serve, serve_with,
};
use throng::{
    Acceptance, CloseCause, Conn, DriverKind, Handler, Limits, Message, OriginPolicy, Request,
    Response, ServerBuilder, Timeouts, Upgrade,
};

on_each_driver!(
    slow_and_within_the_deadline,
    too_slow,
    silent,
    not_a_request,
    a_head_of_exactly_the_limit_and_one_more,
    too_many_headers,
    the_wrong_version,
    origins,
    plain_http,
    a_body_in_pieces,
    a_body_that_is_too_long,
    a_long_response_to_a_slow_reader,
    asked_by_someone_who_says_no_more,
    http_unless_told_otherwise,
    who_leaves_early_is_forgotten,
    subprotocol_and_headers,
    a_subprotocol_that_nobody_offered,
    a_header_that_cannot_be_said,
    data_from_the_upgrade,
    a_refusal,
    a_panic_in_on_upgrade,
    a_panic_in_on_http,
);

/// The request arrives in this time, or not at all.
fn hurried(builder: ServerBuilder) -> ServerBuilder {
    let handshake = Some(Duration::from_millis(500));
    builder.timeouts(Timeouts { handshake, ..Timeouts::default() })
}

fn slow_and_within_the_deadline(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut client = server.connect();
    for (n, byte) in request("").bytes().enumerate() {
        client.send_bytes(&[byte]);
        server.until("a byte", |counts| counts.bytes_in > n as u64);
    }
    client.expect_opened();
    chats(&mut client);
}

fn too_slow(driver: DriverKind) {
    let server = serve_with(driver, Echo, hurried);
    let mut client = server.connect();
    client.send_bytes(b"GET /chat HTTP/1.1\r\nHost: exam");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("Connection")), (408, Some("close")));
    let counts = server.remote().total();
    assert_eq!((counts.timeouts, counts.responded, counts.opened), (1, 1, 0));
}

fn silent(driver: DriverKind) {
    let server = serve_with(driver, Echo, hurried);
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().status, 408));
    drop(clients);
    server.until("all are forgotten", |counts| counts.connections == 0);
}

fn not_a_request(driver: DriverKind) {
    let server = serve(driver, Echo);
    let client_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3][..], &[7; 500]].concat();
    let rows: [(&[u8], u16, &str); 6] = [
        (&client_hello, 400, "TLS"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", 400, "request line"),
        (b"\0\0\0\0", 400, "request line"),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400, "CR LF"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "Host"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "HTTP/1.1"),
    ];
    for (bytes, status, hint) in rows {
        let mut client = server.connect();
        client.send_bytes(bytes);
        let answer = client.answer();
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(hint), "{answer:?}");
    }
    assert_eq!(server.remote().total().responded, rows.len() as u64);
}

fn a_head_of_exactly_the_limit_and_one_more(driver: DriverKind) {
    let limits = Limits { head_len_max: 1024, ..Limits::default() };
    let server = serve_with(driver, Echo, |builder| builder.limits(limits));
    let head = |len: usize| {
        let filler_len = len - request("X-Filler: \r\n").len();
        request(&format!("X-Filler: {}\r\n", "x".repeat(filler_len)))
    };
    let mut client = server.connect();
    client.send_bytes(head(1024).as_bytes());
    client.expect_opened();
    chats(&mut client);

    for head in [head(1025), head(100_000)] {
        let mut client = server.connect();
        // The answer does not wait for the rest, and the rest does not destroy the answer.
        client.send_bytes(head.as_bytes());
        assert_eq!(client.answer().status, 431);
    }
}

fn too_many_headers(driver: DriverKind) {
    let limits = Limits { header_count_max: 10, ..Limits::default() };
    let server = serve_with(driver, Echo, |builder| builder.limits(limits));
    for (count, status) in [(5, 101), (6, 431)] {
        let mut client = server.connect();
        client.send_bytes(request(&"X-More: 1\r\n".repeat(count)).as_bytes());
        if status == 101 {
            client.expect_opened();
        } else {
            assert_eq!(client.answer().status, status);
        }
    }
}

fn the_wrong_version(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut client = server.connect();
    client.send_bytes(request("").replace("Version: 13", "Version: 8").as_bytes());
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("Sec-WebSocket-Version")), (426, Some("13")));
    assert_eq!(answer.header("Upgrade"), Some("websocket"));
}

fn origins(driver: DriverKind) {
    let listed = OriginPolicy::patterns(["https://*.example.org"]).unwrap();
    let rows = [
        (OriginPolicy::SameHost, "https://server.example.com", 101),
        (OriginPolicy::SameHost, "https://evil.example", 403),
        (OriginPolicy::SameHost, "null", 403),
        (listed.clone(), "https://www.example.org", 101),
        (listed.clone(), "https://server.example.com", 403),
        (listed, "https://example.org.evil.example", 403),
        (OriginPolicy::AnyDangerously, "https://evil.example", 101),
    ];
    for (policy, origin, status) in rows {
        let server = serve_with(driver, Echo, |builder| builder.origin(policy));
        let mut client = server.connect();
        client.send_bytes(request(&format!("Origin: {origin}\r\n")).as_bytes());
        if status == 101 {
            client.expect_opened();
        } else {
            assert_eq!(client.answer().status, status, "{origin}");
        }
        // No browser sent this one.
        chats(&mut server.open());
    }
}

/// Tells what it was asked.
#[derive(Clone)]
struct Site;

impl Handler for Site {
    type Data = ();

    fn on_http(&mut self, request: &Request<'_>) -> Response {
        let body = String::from_utf8_lossy(request.body());
        let (method, path) = (request.method(), request.path());
        let peer = request.peer_addr().expect("it came over TCP");
        Response::text(200, format!("{method} {path} {body}")).header("X-Peer", &peer.to_string())
    }
}

fn ask(server: &Serving, request: &str) -> Answer {
    let mut client = server.connect();
    client.send_bytes(request.as_bytes());
    client.answer()
}

fn plain_http(driver: DriverKind) {
    let server = serve(driver, Site);
    let mut client = server.connect();
    client.send_bytes(b"GET /health?full HTTP/1.1\r\nHost: a\r\n\r\n");
    let peer = client.local_addr().unwrap().to_string();
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "GET /health "));
    assert_eq!(answer.header("X-Peer"), Some(peer.as_str()));

    let answer = ask(&server, "HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("Content-Length"), Some("13"), "as long as GET's would be");

    let post = "POST /log HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(ask(&server, post).body, "POST /log hello");
    // Only one request is answered: this is no web server.
    assert_eq!(ask(&server, &[post, post].concat()).body, "POST /log hello");
    assert_eq!(server.remote().total().responded, 4);
}

fn a_body_in_pieces(driver: DriverKind) {
    let server = serve(driver, Site);
    let request = "POST /log HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789";
    for piece_len in [1, 7, request.len() - 10, request.len() - 5] {
        let mut client = server.connect();
        for piece in request.as_bytes().chunks(piece_len) {
            let before = server.remote().total().bytes_in;
            client.send_bytes(piece);
            server.until("a piece", |counts| counts.bytes_in > before);
        }
        assert_eq!(client.answer().body, "POST /log 0123456789", "in pieces of {piece_len}");
    }
    // Longer than one receive buffer, and just as long as is allowed.
    let body = "x".repeat(64 * 1024);
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    assert_eq!(ask(&server, &[&head, body.as_str()].concat()).body, format!("POST / {body}"));
}

fn a_body_that_is_too_long(driver: DriverKind) {
    let server = serve(driver, Site);
    let announce =
        |len: u64| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
    assert_eq!(ask(&server, &announce(64 * 1024 + 1)).status, 413);
    assert_eq!(ask(&server, &announce(u64::MAX)).status, 413);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(ask(&server, chunked).status, 411);
    // The peer that sends it all the same still reads the answer.
    let all = [announce(1 << 20), "x".repeat(1 << 20)].concat();
    assert_eq!(ask(&server, &all).status, 413);
}

/// Has a lot to say.
#[derive(Clone)]
struct Library;

impl Handler for Library {
    type Data = ();

    fn on_http(&mut self, _request: &Request<'_>) -> Response {
        Response::text(200, "word ".repeat(1 << 20))
    }
}

fn a_long_response_to_a_slow_reader(driver: DriverKind) {
    let timeouts = Timeouts { close: PATIENCE, ..Timeouts::default() };
    let server = serve_with(driver, Library, |builder| builder.timeouts(timeouts));
    let mut client = Client::connect_narrow(server.address(), 4096);
    client.send_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.until("the socket is full", |counts| counts.blocked_sends > 0);
    let answer = client.answer();
    assert!(answer.body == "word ".repeat(1 << 20), "{} bytes", answer.body.len());
}

fn asked_by_someone_who_says_no_more(driver: DriverKind) {
    let server = serve(driver, Site);
    let mut client = server.connect();
    client.send_bytes(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    client.finish();
    assert_eq!(client.answer().body, "POST / hi");

    let server = serve(driver, Echo);
    let mut client = server.connect();
    let frames: Vec<_> = (0..200).map(|n| Frame::text(&n.to_string())).collect();
    client.send_bytes(&[request("").into_bytes(), Frame::stream(&frames)].concat());
    client.finish();
    client.expect_opened();
    frames.iter().for_each(|frame| client.expect(frame));
    client.expect_end();
}

fn http_unless_told_otherwise(driver: DriverKind) {
    let server = serve(driver, Echo);
    let answer = ask(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.header("Upgrade")), (426, Some("websocket")));
}

fn who_leaves_early_is_forgotten(driver: DriverKind) {
    let server = serve(driver, Echo);
    let bytes = request("");
    let count = bytes.len().div_ceil(20) as u64;
    for len in (0..bytes.len()).step_by(20) {
        let mut client = server.connect();
        client.send_bytes(&bytes.as_bytes()[..len]);
        if len % 40 == 0 {
            client.finish();
            client.expect_gone();
        } else {
            client.reset();
        }
    }
    server.until("all are forgotten", |counts| counts.connections == 0 && counts.accepted == count);
    assert_eq!(server.remote().total().opened, 0);
}

/// Answers upgrades by the path that was asked for.
#[derive(Clone, Default)]
struct ByPath {
    /// What `on_open` found.
    opened: Arc<Mutex<HashMap<String, String>>>,
}

impl Handler for ByPath {
    type Data = Option<String>;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<Self::Data> {
        let acceptance = Acceptance::new();
        match request.path() {
            "/subprotocol" => {
                Upgrade::accept_as(acceptance.subprotocol("v2").header("X-Shard", "7"))
            }
            "/unheard-of" => Upgrade::accept_as(acceptance.subprotocol("v9")),
            "/split" => Upgrade::accept_as(acceptance.header("X", "a\r\nSet-Cookie: b")),
            "/no" => Upgrade::refuse(Response::text(503, "later\n").header("Retry-After", "5")),
            "/panic" => panic!("as asked for"),
            path => Upgrade::accept().with(Some(path.to_owned())),
        }
    }

    fn on_http(&mut self, _request: &Request<'_>) -> Response {
        panic!("as asked for")
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Self::Data>) {
        let path = conn.data().clone().unwrap_or_default();
        self.opened.lock().unwrap().insert(path, conn.id().to_string());
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Self::Data>, _message: Message<'_>) {
        let path = conn.data_mut().take().unwrap_or_default();
        conn.send(&path);
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Self::Data>, _cause: CloseCause) {
        assert_eq!(conn.data(), &None, "the test has asked for it");
    }
}

impl ByPath {
    fn ask(server: &Serving, path: &str, more: &str) -> Client {
        let mut client = server.connect();
        client.send_bytes(request(more).replace("/chat", path).as_bytes());
        client
    }
}

fn subprotocol_and_headers(driver: DriverKind) {
    let server = serve(driver, ByPath::default());
    let offer = "Sec-WebSocket-Protocol: v1, v2\r\n";
    let answer = ByPath::ask(&server, "/subprotocol", offer).expect_opened();
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), Some("v2"));
    assert_eq!(answer.header("X-Shard"), Some("7"));
}

fn a_subprotocol_that_nobody_offered(driver: DriverKind) {
    let server = serve(driver, ByPath::default());
    let offer = "Sec-WebSocket-Protocol: v1, v2\r\n";
    assert_eq!(ByPath::ask(&server, "/unheard-of", offer).answer().status, 500);
    assert_eq!(server.remote().total().opened, 0);
}

fn a_header_that_cannot_be_said(driver: DriverKind) {
    let server = serve(driver, ByPath::default());
    let answer = ByPath::ask(&server, "/split", "").answer();
    assert_eq!((answer.status, answer.header("Set-Cookie")), (500, None));
    assert_eq!(server.remote().total().opened, 0);
}

fn data_from_the_upgrade(driver: DriverKind) {
    let handler = ByPath::default();
    let opened = handler.opened.clone();
    let server = serve(driver, handler);
    let mut clients: Vec<_> =
        (0..20).map(|n| ByPath::ask(&server, &format!("/room/{n}"), "")).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.expect_opened();
        client.send(&Frame::text("where am I?"));
        client.expect(&Frame::text(&format!("/room/{n}")));
    }
    assert_eq!(opened.lock().unwrap().len(), 20);
}

fn a_refusal(driver: DriverKind) {
    let server = serve(driver, ByPath::default());
    let answer = ByPath::ask(&server, "/no", "").answer();
    assert_eq!((answer.status, answer.body.as_str()), (503, "later\n"));
    assert_eq!(answer.header("Retry-After"), Some("5"));
}

fn a_panic_in_on_upgrade(driver: DriverKind) {
    let server = serve(driver, ByPath::default());
    assert_eq!(ByPath::ask(&server, "/panic", "").answer().status, 500);
    let counts = server.remote().total();
    assert_eq!((counts.panics, counts.opened), (1, 0));
    ByPath::ask(&server, "/subprotocol", "Sec-WebSocket-Protocol: v2\r\n").expect_opened();
}

fn a_panic_in_on_http(driver: DriverKind) {
    let server = serve(driver, ByPath::default());
    assert_eq!(ask(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 500);
    assert_eq!(server.remote().total().panics, 1);
    ByPath::ask(&server, "/subprotocol", "Sec-WebSocket-Protocol: v2\r\n").expect_opened();
}

/// Sends a message and gets it back.
fn chats(client: &mut Client) {
    client.send(&Frame::text("is anybody there?"));
    client.expect(&Frame::text("is anybody there?"));
}
