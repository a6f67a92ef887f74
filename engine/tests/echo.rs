//! Messages of every kind come back byte for byte, whatever way they take.

mod support;

use std::{
    collections::HashSet,
    env, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    path::PathBuf,
    process, thread,
    time::Instant,
};

use support::{
    Client, Echo, Frame, PATIENCE, Serving, logged, noise, on_each_driver, prose, request, serve,
    serve_with,
};
use throng::{Conn, DriverKind, Limits, ListenAddr, Message, Server};
use tungstenite::Message as TheirMessage;

on_each_driver!(
    messages_of_every_length,
    sixteen_mebibytes,
    ten_thousand_messages_in_one_go,
    one_frame_a_turn,
    three_hundred_connections_at_once,
    long_messages_of_many_at_once,
    fragments_with_control_frames_in_between,
    a_byte_at_a_time,
    a_stream_cut_in_two_at_every_place,
    frames_in_the_same_segment_as_the_request,
    tungstenite_at_the_other_end,
    ipv6,
    a_unix_socket,
    what_lies_in_the_way_of_a_unix_socket,
    several_addresses_at_once,
    adopted_listeners,
    shared_listeners,
    three_reactors,
    a_reactor_pinned_to_a_core,
    private_descriptor_tables,
);

fn messages_of_every_length(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut client = server.open();
    for len in [0, 1, 2, 3, 7, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1 << 20] {
        for frame in [Frame::text(&prose(len)), Frame::binary(&noise(len, len as u64))] {
            client.send(&frame);
            client.expect(&frame);
        }
    }
}

fn sixteen_mebibytes(driver: DriverKind) {
    let limits = Limits { message_len_max: 16 << 20, ..Limits::default() };
    let server = serve_with(driver, Echo, |builder| builder.limits(limits));
    let mut client = server.open();
    let frame = Frame::binary(&noise(16 << 20, 1));
    client.send(&frame);
    client.expect(&frame);
    client.send(&Frame::text("and then?"));
    client.expect(&Frame::text("and then?"));
}

fn ten_thousand_messages_in_one_go(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut client = server.open();
    let frames: Vec<_> = (0..10_000).map(|n| Frame::text(&format!("message {n}"))).collect();
    let mut sender = client.another_hold();
    let bytes = Frame::stream(&frames);
    let sending = thread::spawn(move || sender.send_bytes(&bytes));
    frames.iter().for_each(|frame| client.expect(frame));
    sending.join().unwrap();
    let counts = server.remote().total();
    assert_eq!((counts.messages_in, counts.messages_out), (10_000, 10_000));
}

fn one_frame_a_turn(driver: DriverKind) {
    let server = serve_with(driver, Echo, |builder| builder.turn_frames_max(1));
    let mut clients = [server.open(), server.open()];
    for round in 0..20 {
        // The fragments of a message, and the parts of a frame, are then dealt with apart.
        let bytes = Frame::stream(&medley());
        for client in &mut clients {
            client.send_bytes(&bytes[..bytes.len() - round]);
        }
        for client in &mut clients {
            client.send_bytes(&bytes[bytes.len() - round..]);
            expect_medley(client);
        }
    }
}

fn three_hundred_connections_at_once(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut clients: Vec<_> = (0..300).map(|_| server.open()).collect();
    let message = |round: usize, n: usize| Frame::binary(&noise(n + 1, (round * 1000 + n) as u64));
    for round in 0..5 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(&message(round, n));
        }
    }
    for round in 0..5 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.expect(&message(round, n));
        }
    }
    assert_eq!(server.remote().total().connections, 300);
}

fn long_messages_of_many_at_once(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut clients: Vec<_> = (0..150).map(|_| server.open()).collect();
    let message = |n: usize| Frame::binary(&noise(100_000, n as u64));
    // In pieces, so that all of them are half received at the same time.
    let messages: Vec<_> = (0..clients.len()).map(|n| message(n).masked()).collect();
    for start in (0..messages[0].len()).step_by(30_000) {
        for (client, message) in clients.iter_mut().zip(&messages) {
            client.send_bytes(&message[start..message.len().min(start + 30_000)]);
        }
    }
    for (n, client) in clients.iter_mut().enumerate() {
        client.expect(&message(n));
    }
}

fn fragments_with_control_frames_in_between(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut client = server.open();
    let text = prose(1000);
    // Seven bytes a fragment: characters are cut apart, too.
    let fragments = Frame::fragments(1, text.as_bytes(), 7);
    for (n, fragment) in fragments.iter().enumerate() {
        let payload = format!("ping {n}");
        client.send(fragment);
        client.send(&Frame::ping(payload.as_bytes()));
        client.send(&Frame::pong(b"nobody asked"));
    }
    let mut pings = 0;
    for frame in (0..=fragments.len()).map(|_| client.frame()) {
        if frame.opcode == 10 {
            assert_eq!(frame.payload, format!("ping {pings}").as_bytes());
            pings += 1;
        } else {
            assert_eq!((frame, pings), (Frame::text(&text), fragments.len() - 1));
        }
    }
    assert_eq!(pings, fragments.len());
}

/// Some of everything that a client may say.
fn medley() -> Vec<Frame> {
    let mut frames = vec![Frame::text("hello"), Frame::binary(&noise(130, 2)), Frame::text("")];
    frames.push(Frame::ping(b"?"));
    frames.extend(Frame::fragments(1, "naïve 🦀".as_bytes(), 4));
    frames.extend([Frame::fragment(2, b""), Frame::ping(b""), Frame::whole(0, b"end")]);
    frames
}

/// What an echo answers to [`medley`].
fn expect_medley(client: &mut Client) {
    let answers = [
        Frame::text("hello"),
        Frame::binary(&noise(130, 2)),
        Frame::text(""),
        Frame::pong(b"?"),
        Frame::text("naïve 🦀"),
        Frame::pong(b""),
        Frame::binary(b"end"),
    ];
    answers.iter().for_each(|answer| client.expect(answer));
}

fn a_byte_at_a_time(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut client = server.connect();
    // Nothing waits in between: the kernel may join some, and the reactor sees all sorts of pieces.
    let bytes = [request("").into_bytes(), Frame::stream(&medley())].concat();
    for byte in bytes {
        client.send_bytes(&[byte]);
    }
    client.expect_opened();
    expect_medley(&mut client);
}

fn a_stream_cut_in_two_at_every_place(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut client = server.open();
    let bytes = Frame::stream(&medley());
    for cut in 1..bytes.len() {
        let before = server.remote().total().bytes_in;
        client.send_bytes(&bytes[..cut]);
        server.until("the first half", |counts| counts.bytes_in == before + cut as u64);
        client.send_bytes(&bytes[cut..]);
        expect_medley(&mut client);
    }
}

fn frames_in_the_same_segment_as_the_request(driver: DriverKind) {
    let server = serve(driver, Echo);
    // Whole, and cut off at the end: the rest comes when the server has had its say.
    for rest_len in [0, 1, 3, 20] {
        let mut client = server.connect();
        let bytes = [request("").into_bytes(), Frame::stream(&medley())].concat();
        let (first, rest) = bytes.split_at(bytes.len() - rest_len);
        client.send_bytes(first);
        client.expect_opened();
        client.send_bytes(rest);
        expect_medley(&mut client);
    }
    // More of them than one turn takes.
    let mut client = server.connect();
    let frames: Vec<_> = (0..1000).map(|n| Frame::text(&n.to_string())).collect();
    client.send_bytes(&[request("").into_bytes(), Frame::stream(&frames)].concat());
    client.expect_opened();
    frames.iter().for_each(|frame| client.expect(frame));
}

fn tungstenite_at_the_other_end(driver: DriverKind) {
    let server = serve(driver, Echo);
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let url = format!("ws://{}/", server.address());
    let (mut peer, response) = tungstenite::client(url, stream).unwrap();
    assert_eq!(response.status(), 101);
    let messages = [
        TheirMessage::text("hello"),
        TheirMessage::text(""),
        TheirMessage::binary(noise(100_000, 3)),
        TheirMessage::text(prose(70_000)),
    ];
    for message in messages {
        peer.send(message.clone()).unwrap();
        assert_eq!(peer.read().unwrap(), message);
    }
    peer.send(TheirMessage::Ping(b"ping".as_slice().into())).unwrap();
    assert_eq!(peer.read().unwrap(), TheirMessage::Pong(b"ping".as_slice().into()));
    peer.close(None).unwrap();
    assert!(matches!(peer.read(), Ok(TheirMessage::Close(None))));
    assert!(matches!(peer.read(), Err(tungstenite::Error::ConnectionClosed)));
}

/// Sends a message and gets it back.
fn chats(client: &mut Client) {
    client.send(&Frame::text("is anybody there?"));
    client.expect(&Frame::text("is anybody there?"));
}

/// Answers any message with the peer's address.
fn tell_address(conn: &mut Conn<'_, ()>, _message: Message<'_>) {
    let address = conn.peer_addr().map_or("none".into(), |address| address.to_string());
    conn.send(&address);
}

fn ipv6(driver: DriverKind) {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let (handler, _log) = logged(tell_address);
    let builder = Server::builder().driver(driver).reactors(1).listen("[::1]:0");
    let server = Serving::start(builder, handler);
    let mut client = server.open();
    client.send(&Frame::text("who am I?"));
    client.expect(&Frame::text(&client.local_addr().unwrap().to_string()));
}

fn a_unix_socket(driver: DriverKind) {
    let path = socket_path("plain", driver);
    let (handler, _log) = logged(tell_address);
    let listen = format!("unix:{}", path.display());
    let builder = Server::builder().driver(driver).reactors(2).listen(listen);
    let server = Serving::start(builder, handler);
    for _ in 0..10 {
        let mut client = Client::connect_unix(&path).opened();
        client.send(&Frame::text("who am I?"));
        client.expect(&Frame::text("none"));
    }
    drop(server);
    assert!(!path.exists(), "the server cleans up behind itself");
}

fn what_lies_in_the_way_of_a_unix_socket(driver: DriverKind) {
    let path = socket_path("in-the-way", driver);
    let listen = format!("unix:{}", path.display());
    let build = || Server::builder().driver(driver).reactors(1).listen(&listen).build();
    // A socket that nobody listens on any more: taken over.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Serving::start(Server::builder().driver(driver).listen(&listen), Echo);
    chats(&mut Client::connect_unix(&path).opened());
    // One that somebody listens on: left alone.
    let complaint = build().unwrap_err().to_string();
    assert!(complaint.contains(&listen), "{complaint}");
    chats(&mut Client::connect_unix(&path).opened());
    drop(server);
}

fn several_addresses_at_once(driver: DriverKind) {
    let path = socket_path("several", driver);
    let server = serve_with(driver, Echo, |builder| {
        builder.listen("127.0.0.2:0").listen(format!("unix:{}", path.display())).reactors(2)
    });
    let tcp = |address: &ListenAddr| match address {
        ListenAddr::Tcp(address) => Some(*address),
        _ => None,
    };
    let addresses: Vec<SocketAddr> = server.addresses().iter().filter_map(tcp).collect();
    assert_eq!(addresses.len(), 2);
    for _ in 0..5 {
        let mut clients: Vec<_> = addresses.iter().copied().map(Client::connect).collect();
        clients.push(Client::connect_unix(&path));
        clients.into_iter().map(Client::opened).for_each(|mut client| chats(&mut client));
    }
}

fn adopted_listeners(driver: DriverKind) {
    let path = socket_path("adopted", driver);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    // Who connects before the server runs is served when it does.
    let early = [Client::connect(address), Client::connect_unix(&path)];
    let builder = Server::builder().driver(driver).reactors(2).adopt_tcp(tcp).adopt_unix(unix);
    let server = Serving::start(builder, Echo);
    assert_eq!(server.address(), address);
    let late = [server.connect(), Client::connect_unix(&path)];
    for client in early.into_iter().chain(late) {
        chats(&mut client.opened());
    }
    drop(server);
    // Who opened it may want to go on with it.
    assert!(path.exists(), "an adopted socket is not ours to delete");
    fs::remove_file(&path).unwrap();
}

fn shared_listeners(driver: DriverKind) {
    let server = serve_with(driver, Echo, |builder| builder.reactors(3).shared_listeners(true));
    let mut clients: Vec<_> = (0..60).map(|_| server.open()).collect();
    clients.iter_mut().for_each(chats);
}

fn three_reactors(driver: DriverKind) {
    let (handler, _log) = logged(|conn, _| {
        let reactor = conn.id().reactor().to_string();
        conn.send(&reactor);
    });
    let server = serve_with(driver, handler, |builder| builder.reactors(3));
    let clients: Vec<_> = (0..60).map(|_| server.open()).collect();
    let reactors: HashSet<Frame> = clients
        .into_iter()
        .map(|mut client| {
            client.send(&Frame::text("where?"));
            client.frame()
        })
        .collect();
    // The kernel spreads them: that all 60 end in one place does not happen in this universe.
    assert!(reactors.len() > 1, "{reactors:?}");
    let all: Vec<_> = (0..3).map(|n| Frame::text(&n.to_string())).collect();
    assert!(reactors.iter().all(|reactor| all.contains(reactor)), "{reactors:?}");
    assert_eq!(server.remote().reactor_count(), 3);
}

fn a_reactor_pinned_to_a_core(driver: DriverKind) {
    let allowed = allowed_cores();
    let last = *allowed.last().expect("we run on one");
    let server = serve_with(driver, Echo, |builder| builder.reactors(2).pin([last]));
    chats(&mut server.open());

    let absent = 4095;
    let builder = Server::builder().driver(driver).listen("127.0.0.1:0").pin([absent]);
    let complaint = builder.build().unwrap_err().to_string();
    assert!(complaint.contains("pin") && complaint.contains("4095"), "{complaint}");
}

fn private_descriptor_tables(driver: DriverKind) {
    let path = socket_path("private", driver);
    let adopted = TcpListener::bind("127.0.0.1:0").unwrap();
    let adopted_address = adopted.local_addr().unwrap();
    let server = serve_with(driver, Echo, |builder| {
        let listen = format!("unix:{}", path.display());
        builder.reactors(3).private_descriptors(true).listen(listen).adopt_tcp(adopted)
    });
    let mut clients: Vec<_> = (0..30).map(|_| server.open()).collect();
    clients.extend((0..30).map(|_| Client::connect(adopted_address).opened()));
    clients.extend((0..30).map(|_| Client::connect_unix(&path).opened()));
    clients.iter_mut().for_each(chats);
    let address = server.address();
    drop(clients);
    drop(server);
    let deadline = Instant::now() + PATIENCE;
    for address in [address, adopted_address] {
        // No table of this server keeps a listener. One that the other driver's took from this
        // process meanwhile goes when that server does.
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < deadline, "a table keeps the listener");
        }
    }
}

/// A path for a socket, not taken by anyone.
fn socket_path(name: &str, driver: DriverKind) -> PathBuf {
    env::temp_dir().join(format!("throng-{}-{driver}-{name}.socket", process::id()))
}

/// The cores that this process may use.
fn allowed_cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let number = |text: &str| text.trim().parse::<usize>().unwrap();
    let range = |text: &str| match text.split_once('-') {
        Some((first, last)) => number(first)..number(last) + 1,
        None => number(text)..number(text) + 1,
    };
    list.split(',').flat_map(range).collect()
}
