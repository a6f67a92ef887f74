//! Connections that another HTTP server has upgraded.

mod support;

use std::{
    any::Any,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::mpsc,
};

use support::{Client, Frame, PATIENCE, echo, logged, on_each_driver, request, serve, serve_with};
use throng::{
    AdoptError, CloseCause, Conn, Connections, DriverKind, Handler, Limits, Message, RemoteError,
    Shutdown, Upgraded,
};

on_each_driver!(
    it_echoes,
    what_was_read_ahead_comes_first,
    more_read_ahead_than_a_turns_share,
    with_data_of_its_own,
    many_on_several_reactors,
    over_a_unix_socket,
    whoever_is_gone_is_noticed,
    a_violation_in_what_was_read_ahead,
    a_server_that_leaves,
    no_memory_for_what_was_read_ahead,
    not_by_reactors_with_descriptors_of_their_own,
    a_reactor_that_is_not_there,
);

/// A client whose handshake another server has answered, and that server's end of it.
fn upgraded() -> (Client, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Client::connect(listener.local_addr().unwrap());
    let (mut socket, _) = listener.accept().unwrap();
    client.send_bytes(request("").as_bytes());
    let mut head = vec![0; request("").len()];
    socket.read_exact(&mut head).unwrap();
    socket
        .write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )
        .unwrap();
    client.expect_opened();
    (client, socket)
}

fn it_echoes(driver: DriverKind) {
    let (handler, log) = logged(echo);
    let server = serve(driver, handler);
    for is_nonblocking in [false, true] {
        let (mut client, socket) = upgraded();
        socket.set_nonblocking(is_nonblocking).unwrap();
        let upgraded = Upgraded::new(socket).unwrap();
        assert_eq!(upgraded.peer_addr(), client.local_addr());
        server.remote().adopt(upgraded).unwrap();
        let id = log.opened();
        client.send(&Frame::text("hello"));
        client.expect(&Frame::text("hello"));
        server.remote().send(id, "from elsewhere").unwrap();
        client.expect(&Frame::text("from elsewhere"));
        client.send(&Frame::close(1000, "bye"));
        client.expect_close(1000);
        client.expect_end();
        assert!(matches!(log.closed(), CloseCause::Peer(_)));
    }
    let counts = server.remote().total();
    assert_eq!((counts.accepted, counts.opened, counts.responded), (2, 2, 0));
}

fn what_was_read_ahead_comes_first(driver: DriverKind) {
    let (handler, _log) = logged(echo);
    let server = serve(driver, handler);
    let frames: Vec<_> = (0..20).map(|n| Frame::text(&format!("number {n}"))).collect();
    let stream = Frame::stream(&frames);
    for ahead_len in [0, 1, 7, stream.len() / 2, stream.len()] {
        let (mut client, socket) = upgraded();
        let (ahead, behind) = stream.split_at(ahead_len);
        client.send_bytes(behind);
        let upgraded = Upgraded::new(socket).unwrap().read_ahead(ahead.to_vec());
        server.remote().adopt(upgraded).unwrap();
        frames.iter().for_each(|frame| client.expect(frame));
    }
}

fn more_read_ahead_than_a_turns_share(driver: DriverKind) {
    let (handler, _log) = logged(echo);
    let server = serve_with(driver, handler, |builder| builder.turn_frames_max(3));
    let frames: Vec<_> = (0..100).map(|n| Frame::text(&format!("number {n}"))).collect();
    let (mut client, socket) = upgraded();
    let upgraded = Upgraded::new(socket).unwrap().read_ahead(Frame::stream(&frames[..50]));
    client.send_bytes(&Frame::stream(&frames[50..]));
    server.remote().adopt(upgraded).unwrap();
    frames.iter().for_each(|frame| client.expect(frame));
}

/// Adopts what it is sent with a name for it, and greets by that name.
#[derive(Clone)]
struct Hotel(mpsc::Sender<Result<(), AdoptError>>);

struct Guest(Upgraded, String);

impl Handler for Hotel {
    type Data = String;

    fn on_command(
        &mut self,
        connections: &mut Connections<'_, String>,
        command: Box<dyn Any + Send>,
    ) {
        let Ok(guest) = command.downcast::<Guest>() else { return };
        let Guest(upgraded, name) = *guest;
        let adopted = connections.adopt(upgraded, name);
        if let Ok(id) = adopted {
            assert!(connections.conn(id).is_none(), "it is not open yet");
        }
        self.0.send(adopted.map(drop)).unwrap();
    }

    fn on_open(&mut self, conn: &mut Conn<'_, String>) {
        let greeting = format!("welcome, {}", conn.data());
        conn.send(&greeting);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, String>, _message: Message<'_>) {
        let name = conn.data().clone();
        conn.send(&name);
    }
}

fn with_data_of_its_own(driver: DriverKind) {
    let (sender, adopted) = mpsc::channel();
    let server = serve(driver, Hotel(sender));
    let (mut client, socket) = upgraded();
    let ahead = Frame::stream(&[Frame::text("who am I?")]);
    let guest = Guest(Upgraded::new(socket).unwrap().read_ahead(ahead), "Ada".to_owned());
    server.remote().command(0, guest).unwrap();
    assert_eq!(adopted.recv_timeout(PATIENCE).unwrap(), Ok(()));
    client.expect(&Frame::text("welcome, Ada"));
    client.expect(&Frame::text("Ada"));
}

fn many_on_several_reactors(driver: DriverKind) {
    let (handler, log) = logged(echo);
    let server = serve_with(driver, handler, |builder| builder.reactors(3));
    let mut clients: Vec<_> = (0..30)
        .map(|_| {
            let (client, socket) = upgraded();
            server.remote().adopt(Upgraded::new(socket).unwrap()).unwrap();
            client
        })
        .collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(&Frame::text(&n.to_string()));
        client.expect(&Frame::text(&n.to_string()));
    }
    let mut counts = [0; 3];
    (0..30).for_each(|_| counts[log.opened().reactor()] += 1);
    assert_eq!(counts, [10; 3]);
}

fn over_a_unix_socket(driver: DriverKind) {
    let (handler, _log) = logged(echo);
    let server = serve(driver, handler);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    let upgraded = Upgraded::new(ours).unwrap();
    assert_eq!(upgraded.peer_addr(), None);
    server.remote().adopt(upgraded).unwrap();
    theirs.write_all(b"\x81\x82\0\0\0\0hi").unwrap();
    let mut answer = [0; 4];
    theirs.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\x81\x02hi");
}

fn whoever_is_gone_is_noticed(driver: DriverKind) {
    let (handler, log) = logged(echo);
    let server = serve(driver, handler);
    let (client, socket) = upgraded();
    let upgraded_socket = Upgraded::new(socket).unwrap();
    drop(client);
    server.remote().adopt(upgraded_socket).unwrap();
    assert!(matches!(log.closed(), CloseCause::Lost(_)));

    // What is no connected socket is not taken.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = Upgraded::new(OwnedFd::from(listener)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.connect(datagrams.local_addr().unwrap()).unwrap();
    let error = Upgraded::new(OwnedFd::from(datagrams)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let (file, _) = std::io::pipe().unwrap();
    assert!(Upgraded::new(OwnedFd::from(file)).is_err());
    server.until("it is forgotten", |counts| counts.connections == 0);
}

fn a_violation_in_what_was_read_ahead(driver: DriverKind) {
    let limits = Limits { message_len_max: 10, ..Limits::default() };
    let (handler, log) = logged(echo);
    let server = serve_with(driver, handler, |builder| builder.limits(limits));
    let (mut client, socket) = upgraded();
    let ahead = Frame::stream(&[Frame::text("short"), Frame::text("longer than ten")]);
    server.remote().adopt(Upgraded::new(socket).unwrap().read_ahead(ahead)).unwrap();
    client.expect(&Frame::text("short"));
    client.expect_close(1009);
    assert!(matches!(log.closed(), CloseCause::Failed(_)));
}

fn a_server_that_leaves(driver: DriverKind) {
    let (sender, adopted) = mpsc::channel();
    let server = serve(driver, Hotel(sender));
    // Who is open keeps the server from ending before the command.
    let mut open = server.open();
    open.expect(&Frame::text("welcome, "));
    let (mut earlier, socket) = upgraded();
    server.remote().adopt(Upgraded::new(socket).unwrap()).unwrap();
    earlier.expect(&Frame::text("welcome, "));
    server.remote().shutdown(Shutdown::default()).unwrap();
    let (mut client, socket) = upgraded();
    let guest = Guest(Upgraded::new(socket).unwrap(), String::new());
    server.remote().command(0, guest).unwrap();
    assert_eq!(adopted.recv_timeout(PATIENCE).unwrap(), Err(AdoptError::Leaving));
    client.expect_gone();
    for client in [&mut open, &mut earlier] {
        client.expect_close(1001);
        client.send(&Frame::close(1001, ""));
        client.expect_end();
    }
    let remote = server.remote().clone();
    server.join();
    let (mut client, socket) = upgraded();
    let gone = remote.adopt(Upgraded::new(socket).unwrap());
    assert_eq!(gone, Err(RemoteError::Gone));
    client.expect_gone();
}

fn no_memory_for_what_was_read_ahead(driver: DriverKind) {
    let (sender, adopted) = mpsc::channel();
    let server = serve_with(driver, Hotel(sender), |builder| builder.memory_max(1000));
    let (mut client, socket) = upgraded();
    let upgraded = Upgraded::new(socket).unwrap().read_ahead(vec![0; 100_000]);
    server.remote().command(0, Guest(upgraded, String::new())).unwrap();
    assert_eq!(adopted.recv_timeout(PATIENCE).unwrap(), Err(AdoptError::OutOfMemory));
    client.expect_gone();
    server.until("it is forgotten", |counts| counts.connections == 0);
}

fn not_by_reactors_with_descriptors_of_their_own(driver: DriverKind) {
    let (handler, _log) = logged(echo);
    let server = serve_with(driver, handler, |builder| builder.private_descriptors(true));
    let (mut client, socket) = upgraded();
    let refused = server.remote().adopt(Upgraded::new(socket).unwrap());
    assert_eq!(refused, Err(RemoteError::PrivateDescriptors));
    client.expect_gone();
}

fn a_reactor_that_is_not_there(driver: DriverKind) {
    let (handler, _log) = logged(echo);
    let server = serve(driver, handler);
    let (mut client, socket) = upgraded();
    let refused = server.remote().adopt_on(7, Upgraded::new(socket).unwrap());
    assert_eq!(refused, Err(RemoteError::NoSuchReactor(7)));
    client.expect_gone();
}
