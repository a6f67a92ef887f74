//! The blocking client on its way to an open WebSocket: what it says, where it goes, how long it
//! waits, and what it does not put up with.

mod support;

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use support::{Echo, PATIENCE, on_each_driver, read_request, serve, serve_with, switching};
use throng::{
    Conn, DriverKind, Handler, Message, Request, Response, Upgrade,
    client::blocking::{ConnectError, Connector, Phase, Proxy, ProxyError},
    protocol::handshake::{Acceptance, ReplyError},
};

on_each_driver!(
    what_is_said_arrives,
    a_refusal_can_be_read,
    a_unix_socket,
    through_a_proxy_to_our_server,
);

// ---- What is said ----

fn what_is_said_arrives(driver: DriverKind) {
    /// Tells what it was asked for, in a header.
    #[derive(Clone)]
    struct Mirror;

    impl Handler for Mirror {
        type Data = ();

        fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
            let said = |name| request.header(name).unwrap_or("-").to_owned();
            let all = [
                request.target().to_owned(),
                said("Host"),
                said("Cookie"),
                said("Authorization"),
                request.subprotocols().collect::<Vec<_>>().join("+"),
            ];
            let acceptance = Acceptance::new().subprotocol("v1").header("X-Said", &all.join(" | "));
            Upgrade::accept_as(acceptance)
        }

        fn on_message(&mut self, _conn: &mut Conn<'_, ()>, _message: Message<'_>) {}
    }

    let server = serve(driver, Mirror);
    let socket = Connector::to(&format!("ws://{}/chat?room=7#here", server.address()))
        .header("Authorization", "Bearer x")
        .cookie("a", "1")
        .cookie("b", "\"2\"")
        .host("example.com")
        .subprotocol("v2")
        .subprotocol("v1")
        .connect()
        .unwrap();
    assert_eq!(socket.subprotocol(), Some("v1"));
    let said = "/chat?room=7 | example.com | a=1; b=\"2\" | Bearer x | v2+v1";
    assert_eq!(socket.header("x-said"), Some(said));
}

#[test]
fn what_cannot_be_said_is_not_sent() {
    let to = || Connector::to("ws://127.0.0.1:1/");
    for (connector, is_setting) in [
        (Connector::to("http://host/"), true),
        (Connector::to("ws://me:secret@host/"), true),
        (to().cookie("a;b", "1"), true),
        (to().cookie("a", "1; b=2"), true),
        (to().header("X", "a\r\nb"), false),
        (to().header("Sec-WebSocket-Key", "mine"), false),
        (to().host("a\r\nX: b"), false),
        (to().subprotocol("a, b"), false),
    ] {
        let error = connector.connect().unwrap_err();
        match error {
            ConnectError::Setting(_) if is_setting => {}
            ConnectError::Request(_) if !is_setting => {}
            error => panic!("{error:?}"),
        }
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_tls_the_feature_is_named() {
    let error = Connector::to("wss://127.0.0.1:1/").connect().unwrap_err().to_string();
    assert!(error.contains("feature `tls`"), "{error}");
}

fn a_refusal_can_be_read(driver: DriverKind) {
    #[derive(Clone)]
    struct Refuses;

    impl Handler for Refuses {
        type Data = ();

        fn on_upgrade(&mut self, _request: &Request<'_>) -> Upgrade<()> {
            Upgrade::refuse(Response::text(403, "members only").header("X-Why", "you know"))
        }

        fn on_message(&mut self, _conn: &mut Conn<'_, ()>, _message: Message<'_>) {}
    }

    let server = serve(driver, Refuses);
    let error = Connector::to(&format!("ws://{}/", server.address())).connect().unwrap_err();
    let ConnectError::Refused(response) = error else { panic!("{error:?}") };
    assert_eq!((response.status, response.header("x-why")), (403, Some("you know")));
    assert_eq!(response.body, b"members only");
}

// ---- Hostile servers ----

#[test]
fn answers_that_open_nothing() {
    type Check = fn(&ConnectError) -> bool;
    let failed: fn(ReplyError, &ConnectError) -> bool =
        |expected, error| matches!(error, ConnectError::Failed(error) if *error == expected);
    let cases: &[(&str, Check)] = &[
        ("SSH-2.0-OpenSSH_9\r\n\r\n", |_| true),
        ("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", |error| {
            matches!(error, ConnectError::Failed(ReplyError::MissingAccept))
        }),
        ("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection", |error| {
            matches!(error, ConnectError::Lost { phase: Phase::Opening, .. })
        }),
        ("", |error| matches!(error, ConnectError::Lost { phase: Phase::Opening, .. })),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ncut",
            |error| matches!(error, ConnectError::Refused(response) if response.body == b"cut"),
        ),
    ];
    for &(answer, check) in cases {
        let (url, theirs) = server(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let error = Connector::to(&url).connect().unwrap_err();
        assert!(check(&error), "{answer:?}: {error:?}");
        theirs.join().unwrap();
    }
    let many = "X: y\r\n".repeat(65);
    let long = format!("X: {}\r\n", "y".repeat(9000));
    for (accept, more, expected) in [
        (Some("AAAAAAAAAAAAAAAAAAAAAAAAAAA="), "", ReplyError::WrongAccept),
        (None, "Sec-WebSocket-Protocol: v3\r\n", ReplyError::SubprotocolNotOffered),
        (None, "Sec-WebSocket-Extensions: x\r\n", ReplyError::ExtensionNotOffered),
        (None, &many, ReplyError::TooManyHeaders),
        (None, &long, ReplyError::HeadTooLong),
    ] {
        let more = more.to_owned();
        let (url, theirs) = server(move |mut stream| {
            let (_, ours) = read_request(&mut stream);
            stream.write_all(switching(accept.unwrap_or(&ours), &more).as_bytes()).unwrap();
        });
        let error = Connector::to(&url).subprotocol("v1").connect().unwrap_err();
        assert!(failed(expected, &error), "{expected:?}: {error:?}");
        theirs.join().unwrap();
    }
}

// ---- Time ----

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let short = Some(Duration::from_millis(50));
    for describe in [
        |connector: Connector, limit| connector.handshake_timeout(limit),
        |connector: Connector, limit| connector.total_timeout(limit),
    ] {
        let (url, theirs) = server(wait_for_the_end);
        let error = describe(Connector::to(&url), short).connect().unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut(Phase::Opening)), "{error:?}");
        theirs.join().unwrap();
    }
}

#[test]
fn the_end_of_a_page_in_chunks_is_its_end() {
    let (url, theirs) = server(|mut stream| {
        read_request(&mut stream);
        let head = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"5\r\nno WS\r\n0\r\n\r\n").unwrap();
        wait_for_the_end(stream);
    });
    // It would wait for as long as the server does.
    let error = Connector::to(&url).handshake_timeout(None).total_timeout(None).connect();
    let ConnectError::Refused(response) = error.unwrap_err() else { panic!("not refused") };
    assert_eq!(response.body, b"5\r\nno WS\r\n0\r\n\r\n");
    theirs.join().unwrap();
}

#[test]
fn dripping_does_not_help() {
    let (url, theirs) = server(|mut stream| {
        read_request(&mut stream);
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    });
    let connector = Connector::to(&url).handshake_timeout(Some(Duration::from_millis(100)));
    let error = connector.connect().unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut(Phase::Opening)), "{error:?}");
    theirs.join().unwrap();
}

#[test]
fn a_proxy_that_says_nothing_is_not_waited_for() {
    for scheme in ["http", "socks5"] {
        let (address, theirs) = listen(wait_for_the_end);
        let error = Connector::to("ws://nowhere.invalid/")
            .proxy(Proxy::to(&format!("{scheme}://{address}")).unwrap())
            .handshake_timeout(Some(Duration::from_millis(50)))
            .connect()
            .unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut(Phase::Proxy)), "{error:?}");
        theirs.join().unwrap();
    }
}

#[test]
fn dialing_has_an_end() {
    let (full, _held) = full_listener();
    let error = Connector::to("ws://host/")
        .addresses([full])
        .dial_timeout(Some(Duration::from_millis(50)))
        .connect()
        .unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut(Phase::Dialing)), "{error:?}");
}

// ---- Addresses ----

#[test]
fn a_dead_address_is_passed_over() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (silent, _held) = full_listener();
    for first in [&[refused][..], &[silent], &[silent, refused, refused]] {
        let (address, theirs) = listen(accept);
        let mut addresses = first.to_vec();
        addresses.push(address);
        let socket = Connector::to("ws://host/").addresses(addresses).connect().unwrap();
        drop(socket);
        theirs.join().unwrap();
    }
    let error = Connector::to("ws://host/").addresses([refused, refused]).connect().unwrap_err();
    let ConnectError::Dial { address, source } = error else { panic!("{error:?}") };
    assert_eq!((address, source.kind()), (refused.to_string(), io::ErrorKind::ConnectionRefused));
    let error = Connector::to("ws://host/").addresses([]).connect().unwrap_err();
    assert!(matches!(error, ConnectError::Dial { .. }), "{error:?}");
}

#[test]
fn names_are_looked_up() {
    let (address, theirs) = listen(accept);
    let socket = Connector::to(&format!("ws://localhost:{}/", address.port())).connect();
    drop(socket.unwrap());
    theirs.join().unwrap();
    let error = Connector::to("ws://nowhere.invalid/").connect().unwrap_err();
    let ConnectError::Resolve { host, .. } = error else { panic!("{error:?}") };
    assert_eq!(host, "nowhere.invalid");
}

#[test]
fn it_comes_from_where_it_is_told_to() {
    let (address, theirs) = listen(|mut stream| {
        let from = stream.peer_addr().unwrap();
        accept_now(&mut stream);
        from
    });
    let source = Ipv4Addr::new(127, 0, 0, 9).into();
    let connector = Connector::to(&format!("ws://{address}/")).source(source).nodelay(false);
    drop(connector.connect().unwrap());
    assert_eq!(theirs.join().unwrap().ip(), source);
}

fn a_unix_socket(driver: DriverKind) {
    let path =
        std::env::temp_dir().join(format!("throng-blocking-{}-{driver}", std::process::id()));
    let name = format!("unix:{}", path.display());
    let server = serve_with(driver, Echo, |builder| builder.listen(&name));
    let mut socket = Connector::to("ws://host/").unix(&path).connect().unwrap();
    socket.send("over there?").unwrap();
    assert_eq!(socket.read(), Ok(Some(Message::Text("over there?"))));
    drop(server);
    let error = Connector::to("ws://host/").unix("/nowhere").connect().unwrap_err();
    assert!(error.to_string().starts_with("cannot connect to unix:/nowhere"), "{error}");
}

#[test]
fn a_dialer_of_ones_own() {
    let path = std::env::temp_dir().join(format!("throng-dialer-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let theirs = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        tungstenite::accept(stream).unwrap().read().unwrap()
    });
    let at = path.clone();
    let connector = Connector::to("ws://host:81/").dialer(move |destination| {
        assert_eq!((destination.host, destination.port), ("host", 81));
        assert!(destination.timeout.is_some());
        Ok(Box::new(std::os::unix::net::UnixStream::connect(&at)?))
    });
    connector.connect().unwrap().send("hello").unwrap();
    assert_eq!(theirs.join().unwrap(), tungstenite::Message::text("hello"));
    std::fs::remove_file(path).unwrap();

    let connector = connector.dialer(|_| Err(io::ErrorKind::TimedOut.into()));
    let error = connector.connect().unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut(Phase::Dialing)), "{error:?}");
}

// ---- Proxies ----

fn through_a_proxy_to_our_server(driver: DriverKind) {
    let server = serve(driver, Echo);
    let port = server.address().port();
    for host in ["127.0.0.1", "localhost"] {
        for scheme in ["http", "socks5"] {
            let (proxy, theirs) = listen(move |stream| match scheme {
                "http" => connect_proxy(stream, None),
                _ => socks5_proxy(stream, None),
            });
            let mut socket = Connector::to(&format!("ws://{host}:{port}/"))
                .proxy(Proxy::to(&format!("{scheme}://{proxy}")).unwrap())
                .connect()
                .unwrap();
            socket.send("through").unwrap();
            assert_eq!(socket.read(), Ok(Some(Message::Text("through"))));
            drop(socket);
            assert_eq!(theirs.join().unwrap(), format!("{host}:{port}"));
        }
    }
}

#[test]
fn a_proxy_wants_to_know_who_we_are() {
    let user = Some(("me", "pass word"));
    for scheme in ["http", "socks5"] {
        let (url, server) = server(accept);
        let (address, proxy) = listen(move |stream| match scheme {
            "http" => connect_proxy(stream, user),
            _ => socks5_proxy(stream, user),
        });
        let proxy_url = format!("{scheme}://me:pass%20word@{address}");
        let connector = Connector::to(&url).proxy(Proxy::to(&proxy_url).unwrap());
        drop(connector.connect().unwrap());
        server.join().unwrap();
        proxy.join().unwrap();

        for credentials in ["", "me:wrong@"] {
            let (address, proxy) = listen(move |stream| match scheme {
                "http" => connect_proxy(stream, user),
                _ => socks5_proxy(stream, user),
            });
            let proxy_url = format!("{scheme}://{credentials}{address}");
            let connector = Connector::to(&url).proxy(Proxy::to(&proxy_url).unwrap());
            match (connector.connect().unwrap_err(), credentials) {
                (ConnectError::Proxy(ProxyError::Refused(response)), _) if scheme == "http" => {
                    assert_eq!(response.status, 407);
                    assert_eq!(response.header("Proxy-Authenticate"), Some("Basic"));
                }
                (ConnectError::Proxy(ProxyError::UserWanted), "") if scheme == "socks5" => {}
                (ConnectError::Proxy(ProxyError::UserRefused), "me:wrong@") => {}
                (error, _) => panic!("{error:?}"),
            }
            proxy.join().unwrap();
        }
    }
}

#[test]
fn addresses_and_names_go_to_the_proxy_as_they_are() {
    for (host, expected) in [
        ("[::1]", "[::1]:81"),
        ("10.1.2.3", "10.1.2.3:81"),
        ("nowhere.invalid", "nowhere.invalid:81"),
    ] {
        for scheme in ["http", "socks5"] {
            let (address, proxy) = listen(move |mut stream| match scheme {
                "http" => {
                    let head = read_head(&mut stream);
                    stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").unwrap();
                    head.split(' ').nth(1).unwrap().to_owned()
                }
                _ => {
                    stream.read_exact(&mut [0; 3]).unwrap();
                    stream.write_all(&[5, 0]).unwrap();
                    let asked = read_socks5_address(&mut stream);
                    stream.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
                    asked
                }
            });
            let error = Connector::to(&format!("ws://{host}:81/"))
                .proxy(Proxy::to(&format!("{scheme}://{address}")).unwrap())
                .connect()
                .unwrap_err();
            let message = match scheme {
                "http" => "the proxy answered 502 Bad Gateway",
                _ => "the proxy could not connect: connection refused",
            };
            assert_eq!(error.to_string(), message);
            assert_eq!(proxy.join().unwrap(), expected);
        }
    }
}

#[test]
fn proxies_that_are_none() {
    for (scheme, answer, expected) in [
        ("http", &b"SSH-2.0-OpenSSH_9\r\n\r\n"[..], "no answer of HTTP/1.1"),
        ("http", b"HTTP/1.1 200 OK\r\n\r\nand more", "no answer of HTTP/1.1"),
        ("http", b"HTTP/1.1 200 O", "lost in the handshake with the proxy"),
        ("http", &[b'x'; 10_000], "too long"),
        ("socks5", b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak SOCKS5"),
        ("socks5", b"\x04\x00", "does not speak SOCKS5"),
        ("socks5", b"\x05\xFF", "wants a user"),
        ("socks5", b"\x05\x00\x05", "lost in the handshake with the proxy"),
        ("socks5", b"\x05\x00\x05\x00\x00\x09", "does not speak SOCKS5"),
        ("socks5", b"\x05\x00\x05\x63\x00\x01", "no meaning"),
    ] {
        let (address, proxy) = listen(move |mut stream| {
            stream.read_exact(&mut [0; 3]).unwrap();
            stream.write_all(answer).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            wait_for_the_end(stream);
        });
        let error = Connector::to("ws://host/")
            .proxy(Proxy::to(&format!("{scheme}://{address}")).unwrap())
            .connect()
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{answer:?}: {error}");
        proxy.join().unwrap();
    }
}

// ---- Redirects ----

#[test]
fn redirects_are_followed_when_asked_to() {
    let (there, theirs) = server(accept);
    let (here, ours) = redirecting(there.clone());
    let error = Connector::to(&here).connect().unwrap_err();
    let ConnectError::Refused(response) = error else { panic!("{error:?}") };
    assert_eq!((response.status, response.header("Location")), (302, Some(&*there)));

    let connector = Connector::to(&here)
        .header("Authorization", "Bearer secret")
        .header("X-Kept", "yes")
        .cookie("session", "secret")
        .host("here.example")
        .redirects(1);
    drop(connector.connect().unwrap());
    let head = theirs.join().unwrap();
    assert!(head.starts_with("GET /here HTTP/1.1\r\n") && head.contains("X-Kept: yes"), "{head}");
    assert!(!head.contains("secret") && !head.contains("here.example"), "{head}");
    assert!(ours.load(SeqCst) >= 2);
}

#[test]
fn on_the_same_host_everything_goes_along() {
    let (address, theirs) = listen_again(|mut stream| {
        let head = read_head(&mut stream);
        if head.starts_with("GET /old/place ") {
            stream.write_all(b"HTTP/1.1 307 x\r\nLocation: ../new?x\r\n\r\n").unwrap();
            return false;
        }
        assert!(head.starts_with("GET /new?x HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("Authorization: secret\r\n"), "{head}");
        true
    });
    let error = Connector::to(&format!("ws://{address}/old/place"))
        .header("Authorization", "secret")
        .redirects(5)
        .connect()
        .unwrap_err();
    assert!(matches!(error, ConnectError::Lost { .. }), "{error:?}");
    theirs.join().unwrap();
}

#[test]
fn redirects_have_an_end() {
    let (address, count) = redirecting("/".to_owned());
    let error = Connector::to(&address).redirects(3).connect().unwrap_err();
    let ConnectError::Redirect { location, reason } = error else { panic!("{error:?}") };
    assert_eq!((&*location, reason), ("/", "there were too many before it"));
    assert_eq!(count.load(SeqCst), 4);
    for location in ["ftp://host/", "", "ws://a b/"] {
        let (address, _count) = redirecting(location.to_owned());
        let error = Connector::to(&address).redirects(1).connect().unwrap_err();
        // An empty reference is the place itself.
        let expected = if location.is_empty() { "too many" } else { "no URL of a WebSocket" };
        assert!(error.to_string().contains(expected), "{location:?}: {error}");
    }
}

// ---- Props ----

fn accept(mut stream: TcpStream) -> String {
    accept_now(&mut stream)
}

fn accept_now(stream: &mut TcpStream) -> String {
    let (head, accept) = read_request(stream);
    stream.write_all(switching(&accept, "").as_bytes()).unwrap();
    head
}

fn wait_for_the_end(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    while matches!(stream.read(&mut bytes), Ok(1..)) {}
}

/// A listener that does with its one connection what it likes.
fn listen<T: Send + 'static>(
    behave: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        behave(stream)
    });
    (address, thread)
}

fn server<T: Send + 'static>(
    behave: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let (address, thread) = listen(behave);
    (format!("ws://{address}/here"), thread)
}

/// The same for one connection after another, until one of them was the last.
fn listen_again(
    is_last: impl Fn(TcpStream) -> bool + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            if is_last(stream) {
                break;
            }
        }
    });
    (address, thread)
}

/// A server that redirects whoever asks, and counts them. It stays for the length of the process.
fn redirecting(location: String) -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let (address, _stays) = listen_again(move |mut stream| {
        read_head(&mut stream);
        counted.fetch_add(1, SeqCst);
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
        false
    });
    (format!("ws://{address}/"), count)
}

/// An address at which the kernel answers nobody: its listener's queue is full, and stays so while
/// what comes with it is held.
fn full_listener() -> (SocketAddr, impl Sized) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
        assert!(held.len() < 10, "its queue has room for one");
    }
    (address, (socket, held))
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// An HTTP proxy for one connection. Says where that was to.
fn connect_proxy(mut stream: TcpStream, user: Option<(&str, &str)>) -> String {
    let head = read_head(&mut stream);
    let authority = head.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(head.lines().next().unwrap(), format!("CONNECT {authority} HTTP/1.1"));
    assert!(head.contains(&format!("\r\nHost: {authority}\r\n")), "{head}");
    // base64 of `me:pass word`
    let is_known = user.is_none() || head.contains("Basic bWU6cGFzcyB3b3Jk\r\n");
    if !is_known {
        let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\
                      Content-Length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
        return authority;
    }
    let target = TcpStream::connect(&authority).unwrap();
    stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: a test\r\n\r\n").unwrap();
    pass_on(stream, target);
    authority
}

/// A SOCKS5 proxy for one connection. Says where that was to.
fn socks5_proxy(mut stream: TcpStream, user: Option<(&str, &str)>) -> String {
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).unwrap();
    let mut ways = vec![0; usize::from(greeting[1])];
    stream.read_exact(&mut ways).unwrap();
    let way = if user.is_some() { 2 } else { 0 };
    if greeting[0] != 5 || !ways.contains(&way) {
        stream.write_all(&[5, 0xFF]).unwrap();
        return String::new();
    }
    stream.write_all(&[5, way]).unwrap();
    if let Some((name, password)) = user {
        let mut version = [0];
        stream.read_exact(&mut version).unwrap();
        assert_eq!(version, [1]);
        let given = [read_field(&mut stream), read_field(&mut stream)];
        let is_known = given == [name, password];
        stream.write_all(&[1, u8::from(!is_known)]).unwrap();
        if !is_known {
            return String::new();
        }
    }
    let authority = read_socks5_address(&mut stream);
    let target = TcpStream::connect(&authority).unwrap();
    stream.write_all(&[5, 0, 0, 3, 2, b'u', b's', 0, 80]).unwrap();
    pass_on(stream, target);
    authority
}

fn read_socks5_address(stream: &mut TcpStream) -> String {
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[..3], [5, 1, 0]);
    let host = match head[3] {
        1 => {
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).unwrap();
            Ipv4Addr::from(bytes).to_string()
        }
        3 => read_field(stream),
        _ => {
            let mut bytes = [0; 16];
            stream.read_exact(&mut bytes).unwrap();
            format!("[{}]", std::net::Ipv6Addr::from(bytes))
        }
    };
    let mut port = [0; 2];
    stream.read_exact(&mut port).unwrap();
    format!("{host}:{}", u16::from_be_bytes(port))
}

/// Text behind a byte that says how long it is.
fn read_field(stream: &mut TcpStream) -> String {
    let mut len = [0];
    stream.read_exact(&mut len).unwrap();
    let mut text = vec![0; usize::from(len[0])];
    stream.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Passes bytes on in both directions, until both have ended.
fn pass_on(one: TcpStream, other: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    };
    let (back, forth) = ((other.try_clone().unwrap(), one.try_clone().unwrap()), (one, other));
    let thread = thread::spawn(move || copy(back.0, back.1));
    copy(forth.0, forth.1);
    thread.join().unwrap();
}
