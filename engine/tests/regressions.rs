//! Bugs that were: a test each, and its story.

mod support;

use std::{
    env, fs,
    io::{ErrorKind, Read},
    os::unix::net::UnixStream,
    process,
    time::Duration,
};

use support::{Client, Frame, Serving, logged, on_each_driver, request, serve, serve_with};
use throng::{
    Conn, DriverKind, Handler, Message, Overflow, Request, SendQueue, Sent, Server, Upgrade,
};

on_each_driver!(
    the_end_of_the_stream_overtook_the_input,
    data_followed_a_close,
    a_pong_followed_a_close,
    pings_were_queued_without_end,
    data_that_was_replaced_took_the_server_with_it,
    a_share_of_one_frame_was_never_used,
    building_a_server_interrupted_the_builder,
    a_file_in_the_way_of_a_socket_was_deleted,
);

/// Sends back what it gets, except for `fill`: then more than the kernel holds.
fn obey(conn: &mut Conn<'_, ()>, message: Message<'_>) {
    if message == Message::Text("fill") {
        while conn.queued_len() < 8 << 20 {
            conn.send(&[b'x'; 10_000]);
        }
    } else {
        conn.send(message);
    }
}

/// A client that has asked for too much, and reads nothing so far.
fn blocked(driver: DriverKind) -> (Serving, Client) {
    let queue = SendQueue { len_max: 64 << 20, ..SendQueue::default() };
    let server = serve_with(driver, logged(obey).0, |builder| builder.send_queue(queue));
    let mut client = Client::connect_narrow(server.address(), 4096).opened();
    client.send(&Frame::text("fill"));
    server.until("the socket is full", |counts| counts.blocked_sends > 0);
    (server, client)
}

/// A client sent more frames than one turn takes, and then FIN. With io_uring the end of the stream
/// was reported in the turn in which the rest of its input had been put off; the reactor took the
/// connection for over and threw that rest away, and the answers to it were never given.
fn the_end_of_the_stream_overtook_the_input(driver: DriverKind) {
    let server = serve_with(driver, logged(obey).0, |builder| builder.turn_frames_max(3));
    for count in [4, 7, 100] {
        let mut client = server.open();
        let frames: Vec<_> = (0..count).map(|n| Frame::text(&n.to_string())).collect();
        client.send_bytes(&Frame::stream(&frames));
        client.finish();
        frames.iter().for_each(|frame| client.expect(frame));
        client.expect_end();
    }
}

/// A client closed while output waited for it. The answer to its Close passed that output, which
/// followed after the Close (RFC 6455 §5.5.1: nothing may).
fn data_followed_a_close(driver: DriverKind) {
    let (_server, mut client) = blocked(driver);
    client.send(&Frame::close(1000, ""));
    let frames = client.frames_to_the_end();
    let (close, data) = frames.split_last().unwrap();
    assert_eq!(*close, Frame::close(1000, ""));
    assert!(data.len() >= 800 && data.iter().all(|frame| frame.opcode == 2));
}

/// The same, when a part of a frame had left: the Close was appended to the rest of that frame, and
/// went before a pong that had to wait for it.
fn a_pong_followed_a_close(driver: DriverKind) {
    let server = serve(driver, logged(obey).0);
    // With frames of this length it is likely that the socket takes a part of one.
    let pings = Frame::ping(&[b'?'; 125]).masked().repeat(60_000);
    let mut client = Client::connect_narrow(server.address(), 4096).opened();
    client.send_bytes(&pings);
    client.send(&Frame::close(1000, ""));
    let frames = client.frames_to_the_end();
    assert_eq!(frames.last(), Some(&Frame::close(1000, "")));
    assert_eq!(frames.iter().filter(|frame| frame.opcode == 8).count(), 1);
}

/// Pings that an application sent to a peer which did not read were queued without any bound.
fn pings_were_queued_without_end(driver: DriverKind) {
    let (handler, _log) = logged(|conn, _| {
        while conn.send(&[b'x'; 10_000]) != Sent::Dropped {}
        let before = conn.queued_len();
        let sent = (0..1 << 14).map(|_| conn.ping(&[b'?'; 125])).last();
        assert_eq!(sent, Some(Sent::Dropped));
        assert!(conn.queued_len() < before + 20_000, "{}", conn.queued_len());
    });
    let queue = SendQueue { overflow: Overflow::DropNewest, ..SendQueue::default() };
    let server = serve_with(driver, handler, |builder| builder.send_queue(queue));
    let mut client = server.open();
    client.send(&Frame::text("go"));
    client.send(&Frame::close(1000, ""));
    let frames = client.frames_to_the_end();
    assert_eq!(frames.last(), Some(&Frame::close(1000, "")));
}

/// What the upgrade brings replaces what was there by default.
#[derive(Clone)]
struct Unstable;

#[derive(Debug)]
struct Replaced(bool);

impl Default for Replaced {
    fn default() -> Self {
        Self(true)
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        assert!(!self.0, "what it is by default goes off");
    }
}

impl Handler for Unstable {
    type Data = Replaced;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<Replaced> {
        match request.path() {
            "/replace" => Upgrade::accept().with(Replaced(false)),
            _ => Upgrade::accept(),
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Replaced>, message: Message<'_>) {
        conn.send(message);
    }
}

/// An upgrade that brought data dropped the default value outside of any net: a panic in its `Drop`
/// ended the reactor, with all its connections, and then the process.
fn data_that_was_replaced_took_the_server_with_it(driver: DriverKind) {
    let server = serve(driver, Unstable);
    let mut other = server.open();
    let mut client = server.connect();
    client.send_bytes(request("").replace("chat", "replace").as_bytes());
    assert_eq!(client.answer().status, 500);
    other.send(&Frame::text("still there?"));
    other.expect(&Frame::text("still there?"));
    assert_eq!(server.remote().total().panics, 1);
}

/// With a share of one frame a turn a message in fragments got nowhere: finding out that it needs the
/// long way was counted as a frame, and forgotten by the next turn, which found it out again.
fn a_share_of_one_frame_was_never_used(driver: DriverKind) {
    let server = serve_with(driver, logged(obey).0, |builder| builder.turn_frames_max(1));
    let mut client = server.open();
    client.send_bytes(&Frame::stream(&Frame::fragments(1, b"in pieces", 2)));
    client.expect(&Frame::text("in pieces"));
}

/// Whether io_uring works was tried on the thread that built the server. The kernel takes a ring down
/// some time after it was closed, and interrupts the thread that made it, in whatever call that is by
/// then: a read with a timeout failed with EINTR.
fn building_a_server_interrupted_the_builder(driver: DriverKind) {
    for _ in 0..10 {
        let builder = Server::builder().driver(driver).reactors(1).listen("127.0.0.1:0");
        let _server = builder.build().unwrap();
        let (one, _other) = UnixStream::pair().unwrap();
        one.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
        let error = (&one).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "nothing came, and nothing happened");
    }
}

/// A Unix socket that nobody listens on is removed and bound anew. What told was that connecting was
/// refused: as it is to a regular file, which was then deleted.
fn a_file_in_the_way_of_a_socket_was_deleted(driver: DriverKind) {
    let path = env::temp_dir().join(format!("throng-{}-{driver}-precious", process::id()));
    fs::write(&path, "precious").unwrap();
    let builder = Server::builder().driver(driver).listen(format!("unix:{}", path.display()));
    builder.build().unwrap_err();
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
}
