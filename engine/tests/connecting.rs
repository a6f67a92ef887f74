//! The client's end: connecting, and the opening handshake.

mod support;

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use support::{
    Echo, PATIENCE, Seen, client, client_with, on_each_driver, peer, read_frame, read_request,
    serve, serve_with, switching, to,
};
use throng::{
    CloseCause, CloseCode, Conn, Connections, DriverKind, Handler, Message, Remote, Request,
    Timeouts, Upgrade,
    client::{Connect, ConnectError, FailedResponse},
    protocol::{
        Role,
        handshake::{AcceptKey, Acceptance, ReplyError, Response, select_subprotocol},
    },
};

on_each_driver!(
    a_subprotocol_is_agreed_upon,
    a_refusal_is_readable,
    a_refusal_that_ends_with_the_connection,
    a_refusal_in_pieces,
    an_answer_to_someone_else,
    an_answer_that_is_no_http,
    an_answer_that_never_comes,
    an_answer_a_byte_at_a_time,
    frames_in_the_same_segment_as_the_answer,
    nobody_listens,
    an_address_that_is_nobodys,
    what_cannot_be_said,
    source_addresses,
    two_thousand_at_once,
    a_unix_socket,
    from_another_thread,
    both_ends_on_one_reactor,
    given_up_while_it_connects,
    private_descriptor_tables,
);

// ---- The opening handshake ----

/// Chooses `v1`, if it is offered.
#[derive(Clone)]
struct Choosy;

impl Handler for Choosy {
    type Data = ();

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        if request.header("Authorization") != Some("me") {
            let refusal = Response::text(401, "who are you?\n").header("WWW-Authenticate", "Basic");
            return Upgrade::refuse(refusal);
        }
        match select_subprotocol(request, &["v1"]) {
            Some(chosen) => Upgrade::accept_as(Acceptance::new().subprotocol(chosen)),
            None => Upgrade::accept(),
        }
    }
}

fn a_subprotocol_is_agreed_upon(driver: DriverKind) {
    let server = serve(driver, Choosy);
    let client = client(driver);
    let connect = to(server.address()).header("Authorization", "me");
    let rows: [(&[&str], Option<&str>); 3] =
        [(&[], None), (&["v2"], None), (&["v2", "v1"], Some("v1"))];
    for (offered, chosen) in rows {
        let offer = |connect: Connect, name: &&str| connect.subprotocol(name);
        client.connect(&offered.iter().fold(connect.clone(), offer));
        assert!(matches!(client.next(), Seen::Connected));
        assert!(matches!(client.next(), Seen::Reply(101, got) if got.as_deref() == chosen));
        assert!(matches!(client.next(), Seen::Opened));
    }
    let (connect, theirs) = peer(|mut stream| {
        let (_, accept) = read_request(&mut stream);
        let answer = switching(&accept, "Sec-WebSocket-Protocol: v3\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let error = client.fail(&connect.subprotocol("v1"));
    assert!(matches!(error, ConnectError::Failed(ReplyError::SubprotocolNotOffered)), "{error}");
    theirs.join().unwrap();
}

fn a_refusal_is_readable(driver: DriverKind) {
    let server = serve(driver, Choosy);
    let client = client(driver);
    let refused = client.refused(&to(server.address()));
    assert_eq!((refused.status, &refused.reason[..]), (401, "Unauthorized"));
    assert_eq!(refused.header("www-authenticate"), Some("Basic"));
    assert_eq!(refused.body, b"who are you?\n");
}

fn a_refusal_that_ends_with_the_connection(driver: DriverKind) {
    let (connect, theirs) = peer(|mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\ncome ").unwrap();
        stream.write_all(b"back later").unwrap();
    });
    let refused = client(driver).refused(&connect);
    assert_eq!((refused.status, &refused.body[..]), (503, &b"come back later"[..]));
    theirs.join().unwrap();
}

fn a_refusal_in_pieces(driver: DriverKind) {
    let (connect, theirs) = peer(|mut stream| {
        read_request(&mut stream);
        stream.set_nodelay(true).unwrap();
        for byte in b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone" {
            stream.write_all(&[*byte]).unwrap();
            thread::sleep(Duration::from_micros(100));
        }
        stream.read_to_end(&mut Vec::new()).unwrap_or_default();
    });
    let client = client(driver);
    let refused = client.refused(&connect);
    assert_eq!((refused.status, &refused.body[..]), (404, &b"gone"[..]));
    theirs.join().unwrap();

    // A body without an end is cut off.
    let (connect, theirs) = peer(|mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 500 Oh\r\n\r\n").unwrap();
        let _ = stream.write_all(&[b'x'; 100_000]);
        stream.read_to_end(&mut Vec::new()).unwrap_or_default();
    });
    assert_eq!(client.refused(&connect).body.len(), FailedResponse::BODY_LEN_MAX);
    theirs.join().unwrap();
}

fn an_answer_to_someone_else(driver: DriverKind) {
    let (connect, theirs) = peer(|mut stream| {
        read_request(&mut stream);
        let accept = AcceptKey::new("dGhlIHNhbXBsZSBub25jZQ==").to_string();
        stream.write_all(switching(&accept, "").as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap_or_default();
    });
    let error = client(driver).fail(&connect);
    assert!(matches!(error, ConnectError::Failed(ReplyError::WrongAccept)), "{error}");
    theirs.join().unwrap();
}

fn an_answer_that_is_no_http(driver: DriverKind) {
    for (answer, expected) in [
        (&b"SSH-2.0-OpenSSH_9\r\n\r\n"[..], ReplyError::NotHttp),
        (&[b'x'; 20_000][..], ReplyError::HeadTooLong),
    ] {
        let (connect, theirs) = peer(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(answer).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap_or_default();
        });
        let error = client(driver).fail(&connect);
        assert!(matches!(error, ConnectError::Failed(error) if error == expected), "{error}");
        theirs.join().unwrap();
    }
    let (connect, theirs) = peer(|mut stream| drop(read_request(&mut stream)));
    let error = client(driver).fail(&connect);
    assert!(matches!(error, ConnectError::Io(_)), "hanging up is no answer: {error}");
    theirs.join().unwrap();
}

fn an_answer_that_never_comes(driver: DriverKind) {
    let timeouts = Timeouts { handshake: Some(Duration::from_millis(300)), ..Timeouts::default() };
    let client = client_with(driver, |builder| builder.timeouts(timeouts));
    let (connect, theirs) = peer(|mut stream| {
        read_request(&mut stream);
        stream.read_to_end(&mut Vec::new()).unwrap_or_default();
    });
    assert!(matches!(client.fail(&connect), ConnectError::TimedOut));
    theirs.join().unwrap();
    assert_eq!(client.remote.total().timeouts, 1);
    // A listener whose queue is full answers nobody.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(address).unwrap();
    assert!(matches!(client.fail(&to(address)), ConnectError::TimedOut));
}

fn an_answer_a_byte_at_a_time(driver: DriverKind) {
    let (connect, theirs) = peer(|mut stream| {
        let (_, accept) = read_request(&mut stream);
        stream.set_nodelay(true).unwrap();
        for byte in (switching(&accept, "") + "\u{1}").as_bytes() {
            stream.write_all(&[*byte]).unwrap();
            thread::sleep(Duration::from_micros(100));
        }
        // The first byte of a frame has been said: a fragment.
        stream.write_all(b"\x02hi\x80\x01!").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap_or_default();
    });
    let client = client(driver);
    client.open(&connect);
    assert!(matches!(client.next(), Seen::Text(text) if text == "hi!"));
    drop(client);
    theirs.join().unwrap();
}

fn frames_in_the_same_segment_as_the_answer(driver: DriverKind) {
    let (connect, theirs) = peer(|mut stream| {
        let (_, accept) = read_request(&mut stream);
        let answer = [switching(&accept, "").as_bytes(), b"\x81\x02hi\x88\x02\x03\xE9"].concat();
        stream.write_all(&answer).unwrap();
        assert_eq!(read_frame(&mut stream).2, 1001_u16.to_be_bytes());
    });
    let client = client(driver);
    client.open(&connect);
    assert!(matches!(client.next(), Seen::Text(text) if text == "hi"));
    let going = CloseCause::Peer(Some(CloseCode::GOING_AWAY));
    assert!(matches!(client.next(), Seen::Closed(cause) if cause == going));
    theirs.join().unwrap();
}

// ---- Connecting ----

fn nobody_listens(driver: DriverKind) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = client(driver);
    match client.fail(&to(address)) {
        ConnectError::Io(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(client.remote.total().connect_failures, 1);
}

fn an_address_that_is_nobodys(driver: DriverKind) {
    let server = serve(driver, Echo);
    let error = client(driver).fail(&to(server.address()).source([203, 0, 113, 1].into()));
    let is_expected = matches!(&error, ConnectError::Io(error)
        if error.kind() == std::io::ErrorKind::AddrNotAvailable);
    assert!(is_expected, "{error}");
}

fn what_cannot_be_said(driver: DriverKind) {
    let client = client(driver);
    for connect in [
        to(([127, 0, 0, 1], 1).into()).header("X", "a\r\nY: b"),
        to(([127, 0, 0, 1], 1).into()).header("Host", "elsewhere"),
        to(([127, 0, 0, 1], 1).into()).subprotocol("a, b"),
    ] {
        let outcome = client.ask(move |connections| connections.connect(&connect, 7));
        assert!(matches!(outcome, Err(ConnectError::Request(_))), "{outcome:?}");
    }
    assert_eq!(client.remote.total().connects, 0);
}

fn source_addresses(driver: DriverKind) {
    let (handler, seen) = {
        let (sender, seen) = mpsc::channel();
        (Peers(sender), seen)
    };
    let server = serve(driver, handler);
    let client = client(driver);
    let sources: HashSet<_> = (10..20).map(|n| IpAddr::from(Ipv4Addr::new(127, 0, 5, n))).collect();
    for source in &sources {
        client.open(&to(server.address()).source(*source));
    }
    let peers: HashSet<_> =
        sources.iter().map(|_| seen.recv_timeout(PATIENCE).unwrap().unwrap().ip()).collect();
    assert_eq!(peers, sources);
}

/// Tells where its peers are.
#[derive(Clone)]
struct Peers(mpsc::Sender<Option<SocketAddr>>);

impl Handler for Peers {
    type Data = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        self.0.send(conn.peer_addr()).unwrap();
    }
}

fn two_thousand_at_once(driver: DriverKind) {
    const COUNT: usize = 2000;
    let server = serve(driver, Echo);
    let client = client(driver);
    let connect = to(server.address());
    let ids = client.ask(move |connections| {
        let begin = |_| connections.connect(&connect, 7).expect("it begins");
        (0..COUNT).map(begin).collect::<Vec<_>>()
    });
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), COUNT);
    let mut opened = 0;
    while opened < COUNT {
        match client.next() {
            Seen::Opened => opened += 1,
            Seen::Connected | Seen::Reply(101, _) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(client.ask(|connections| connections.broadcast("hello")), COUNT);
    for _ in 0..COUNT {
        assert!(matches!(client.next(), Seen::Text(text) if text == "hello"));
    }
}

fn a_unix_socket(driver: DriverKind) {
    let name = format!("throng-client-{}-{driver}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listen = format!("unix:{}", path.display());
    let server = serve_with(driver, Echo, |builder| builder.listen(listen));
    let client = client(driver);
    let id = client.open(&to(server.address()).unix(&path));
    client.send(id, "over a path");
    assert!(matches!(client.next(), Seen::Text(text) if text == "over a path"));
    assert!(client.ask(move |connections| connections.conn(id).unwrap().peer_addr().is_none()));
}

fn from_another_thread(driver: DriverKind) {
    let server = serve(driver, Echo);
    let client = client_with(driver, |builder| builder.reactors(2));
    let connect = to(server.address());
    (0..4).for_each(|_| client.remote.connect(&connect).unwrap());
    client.remote.connect_on(1, &connect).unwrap();
    let opened = (0..15).filter(|_| matches!(client.next(), Seen::Opened)).count();
    assert_eq!(opened, 5);
    let counts = |reactor| client.remote.counters(reactor).unwrap().opened;
    assert_eq!((counts(0), counts(1)), (2, 3), "they take turns");
    let nowhere = client.remote.connect_on(2, &connect);
    assert_eq!(nowhere, Err(throng::RemoteError::NoSuchReactor(2)));
}

/// A server that is its own client's client.
#[derive(Clone)]
struct Relay(Arc<std::sync::OnceLock<Connect>>, mpsc::Sender<(Role, String)>);

impl Handler for Relay {
    type Data = bool;

    fn on_open(&mut self, conn: &mut Conn<'_, bool>) {
        if conn.role() == Role::Client {
            assert!(*conn.data(), "what it was given");
            conn.send("hello, me");
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, bool>, message: Message<'_>) {
        let text = String::from_utf8_lossy(message.as_bytes()).into_owned();
        self.1.send((conn.role(), text)).unwrap();
        if conn.role() == Role::Server {
            conn.send(message);
        }
    }

    fn on_command(
        &mut self,
        connections: &mut Connections<'_, bool>,
        _command: Box<dyn std::any::Any + Send>,
    ) {
        connections.connect(self.0.get().expect("set"), true).expect("it begins");
    }
}

fn both_ends_on_one_reactor(driver: DriverKind) {
    let (sender, heard) = mpsc::channel();
    let place = Arc::new(std::sync::OnceLock::new());
    let server = serve(driver, Relay(place.clone(), sender));
    place.set(to(server.address())).expect("the first time");
    server.remote().command(0, ()).unwrap();
    let next = || heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(next(), (Role::Server, "hello, me".to_owned()));
    assert_eq!(next(), (Role::Client, "hello, me".to_owned()));
}

fn given_up_while_it_connects(driver: DriverKind) {
    let client = client(driver);
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(address).unwrap();
    let connect = to(address);
    // At once, when the driver has not heard of it, and a little later.
    client.ask(move |connections| {
        let id = connections.connect(&connect, 7).expect("it begins");
        connections.abort(id);
    });
    assert!(matches!(client.failed(), ConnectError::Ended(CloseCause::Aborted)));
    let id = client.connect(&to(address));
    client.remote.abort(id).unwrap();
    assert!(matches!(client.failed(), ConnectError::Ended(CloseCause::Aborted)));
    until_empty(&client.remote);
}

fn until_empty(remote: &Remote) {
    let begun = Instant::now();
    while remote.total().connections > 0 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", remote.total());
        thread::sleep(Duration::from_millis(1));
    }
}

fn private_descriptor_tables(driver: DriverKind) {
    let server = serve(driver, Echo);
    let client = client_with(driver, |builder| builder.reactors(2).private_descriptors(true));
    let connect = to(server.address());
    (0..6).for_each(|_| client.remote.connect(&connect).unwrap());
    let opened = (0..18).filter(|_| matches!(client.next(), Seen::Opened)).count();
    assert_eq!(opened, 6);
    client.remote.broadcast("hello").unwrap();
    (0..6).for_each(|_| assert!(matches!(client.next(), Seen::Text(_))));
}

// ---- What it is told to connect to ----

#[test]
fn urls() {
    for url in [
        "ws://127.0.0.1",
        "ws://127.0.0.1/",
        "ws://127.0.0.1:80/a/b?c=d#e",
        "ws://[::1]:9001/chat",
        "ws://[::1]",
        "ws://127.0.0.1:9001?room=7",
        "WS://localhost:9001/",
    ] {
        assert!(Connect::to(url).is_ok(), "{url}: {:?}", Connect::to(url).err());
    }
    for (url, word) in [
        ("wss://127.0.0.1/", "TLS"),
        ("http://127.0.0.1/", "ws://"),
        ("127.0.0.1:9001", "ws://"),
        ("ws:///path", "ws://"),
        ("ws://me:secret@127.0.0.1/", "user"),
        ("ws://127.0.0.1:99999/", "port"),
        ("ws://127.0.0.1:0/", "port"),
        ("ws://127.0.0.1:/", "port"),
        ("ws://127.0.0.1/a b", "ws://"),
        ("ws://nobody.invalid/", "resolved"),
        ("", "ws://"),
    ] {
        let error = Connect::to(url).expect_err(url).to_string();
        assert!(error.contains(word) && error.starts_with("url"), "{url}: {error}");
    }
}

#[test]
fn secrets_of_a_url_stay_out_of_errors() {
    let error = Connect::to("ws://me:secret@127.0.0.1/").unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}
