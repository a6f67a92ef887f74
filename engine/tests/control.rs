//! Control frames, as the application has a say in them.

mod support;

use std::{sync::mpsc, thread, time::Duration};

use support::{
    Client, Event, Frame, Log, PATIENCE, Serving, logged, noise, on_each_driver, serve, serve_with,
};
use throng::{
    CloseCause, CloseCode, CloseFrame, Conn, Deadline, DriverKind, Handler, Message, SendQueue,
    Sent, Timeouts,
};

on_each_driver!(
    a_ping_is_answered_unless_the_handler_says_no,
    pongs_that_nobody_asked_for,
    a_ping_matched_to_its_pong,
    each_connection_has_limits_of_its_own,
    limits_that_change_and_change_back,
    a_peer_that_takes_nothing,
    a_message_where_none_is_taken,
    what_came_along_with_the_refusal,
    a_feed_that_nobody_talks_back_to,
    a_close_is_seen_before_it_is_answered,
    the_answer_to_our_close_is_seen,
);

/// Answers no ping that says "psst": later, and in its own way.
#[derive(Clone)]
struct Reserved;

impl Handler for Reserved {
    type Data = Vec<u8>;

    fn on_ping(&mut self, conn: &mut Conn<'_, Vec<u8>>, payload: &[u8]) -> bool {
        conn.send("heard");
        if payload == b"leave" {
            conn.close(CloseCode::NORMAL, "");
        }
        *conn.data_mut() = payload.to_vec();
        payload != b"psst"
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Vec<u8>>, _message: Message<'_>) {
        let payload = std::mem::take(conn.data_mut());
        assert_eq!(conn.pong(&payload), Sent::Queued);
    }
}

fn a_ping_is_answered_unless_the_handler_says_no(driver: DriverKind) {
    let server = serve(driver, Reserved);
    let mut client = server.open();
    for ping in [&b""[..], b"hello", &[7; 125]] {
        client.send(&Frame::ping(ping));
        client.expect(&Frame::text("heard"));
        client.expect(&Frame::pong(ping));
    }
    client.send(&Frame::ping(b"psst"));
    client.send(&Frame::ping(b"next"));
    client.expect(&Frame::text("heard"));
    client.expect(&Frame::text("heard"));
    client.expect(&Frame::pong(b"next"));
    // In between the fragments of a message, and in pieces.
    client.send(&Frame::fragment(1, b"and "));
    for byte in Frame::ping(b"psst").masked() {
        client.send_bytes(&[byte]);
    }
    client.expect(&Frame::text("heard"));
    client.send(&Frame::whole(0, b"answer it"));
    client.expect(&Frame::pong(b"psst"));
    // Who closes has nothing more to say.
    client.send(&Frame::ping(b"leave"));
    client.expect(&Frame::text("heard"));
    client.expect(&Frame::close(1000, ""));
    client.send(&Frame::close(1000, ""));
    client.expect_end();
}

fn pongs_that_nobody_asked_for(driver: DriverKind) {
    let (told, outcomes) = mpsc::channel();
    let (handler, log) = logged(move |conn, _| {
        told.send([conn.pong(b"alive"), conn.pong(&[1; 200]), conn.pong(b"")]).unwrap();
    });
    let server = serve(driver, handler);
    let mut client = server.open();
    client.send(&Frame::text("go"));
    client.expect(&Frame::pong(b"alive"));
    client.expect(&Frame::pong(&[1; 125]));
    client.expect(&Frame::pong(b""));
    assert_eq!(outcomes.recv().unwrap(), [Sent::Queued; 3]);
    client.send(&Frame::pong(b"likewise"));
    log.opened();
    assert_eq!(log.next(), Event::Pong(b"likewise".to_vec()));
}

/// Measures when told to, and says what it hears.
#[derive(Clone)]
struct Measuring;

impl Handler for Measuring {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        if message == Message::Text("close first") {
            conn.close(CloseCode::NORMAL, "");
            assert_eq!(conn.measure_rtt(), Sent::Closed);
        } else {
            assert_eq!(conn.measure_rtt(), Sent::Queued);
        }
    }

    fn on_pong(&mut self, conn: &mut Conn<'_, ()>, _payload: &[u8]) {
        conn.send("some pong");
    }

    fn on_rtt(&mut self, conn: &mut Conn<'_, ()>, rtt: Duration) {
        assert!(rtt < PATIENCE);
        conn.send("the pong");
    }
}

fn a_ping_matched_to_its_pong(driver: DriverKind) {
    let server = serve(driver, Measuring);
    let mut client = server.open();
    let mut ping = || {
        client.send(&Frame::text("measure"));
        let ping = client.frame();
        assert_eq!((ping.opcode, ping.payload.len()), (9, 16));
        ping.payload
    };
    let (first, second) = (ping(), ping());
    assert_ne!(first, second);
    for (payload, heard) in [
        (&b""[..], "some pong"),
        (&first, "some pong"), // another has been asked since
        (&second[..15], "some pong"),
        (&second, "the pong"),
        (&second, "some pong"),
    ] {
        client.send(&Frame::pong(payload));
        client.expect(&Frame::text(heard));
    }
    client.send(&Frame::text("close first"));
    client.expect(&Frame::close(1000, ""));
}

/// What each connection is to have, by the message that asks for it.
fn limits(conn: &mut Conn<'_, ()>, message: Message<'_>) {
    let Message::Text(text) = message else { return };
    let (soon, now) = (Duration::from_millis(250), conn.timeouts().clone());
    let patient = Timeouts { ping: None, idle: None, lifetime: None, message: None, ..now.clone() };
    match text {
        "patient" => conn.set_timeouts(patient),
        "ping" => conn.set_timeouts(Timeouts { ping: Some(soon), ..patient }),
        "idle" => conn.set_timeouts(Timeouts { idle: Some(soon), ..patient }),
        "lifetime" => conn.set_timeouts(Timeouts { lifetime: Some(soon), ..patient }),
        "message" => conn.set_timeouts(Timeouts { message: Some(soon), ..patient }),
        "close" => {
            conn.set_timeouts(Timeouts { close: soon, ..patient });
            conn.close(CloseCode::NORMAL, "");
        }
        "flood" => {
            conn.set_timeouts(Timeouts { send: Some(soon), ..patient });
            // More than the kernel holds for one connection, both ends together.
            (0..32).for_each(|_| _ = conn.send(&[0; 1 << 20]));
        }
        _ => {}
    }
    conn.send(text);
}

/// A server whose connections are silent for half a second at most, unless they ask for more.
fn impatient(driver: DriverKind) -> (Serving, Log) {
    let idle = Some(Duration::from_millis(500));
    let timeouts = Timeouts { ping: None, idle, ..Timeouts::default() };
    let queue = SendQueue { len_max: 64 << 20, ..SendQueue::default() };
    let (handler, log) = logged(limits);
    (serve_with(driver, handler, |builder| builder.timeouts(timeouts).send_queue(queue)), log)
}

fn each_connection_has_limits_of_its_own(driver: DriverKind) {
    let (server, log) = impatient(driver);
    let mut patient = server.open();
    patient.send(&Frame::text("patient"));
    patient.expect(&Frame::text("patient"));
    log.opened();
    let rows = [
        ("", Deadline::Idle, 1001),
        ("idle", Deadline::Idle, 1001),
        ("lifetime", Deadline::Lifetime, 1001),
        ("message", Deadline::Message, 1008),
        ("close", Deadline::Close, 1000),
    ];
    for (text, deadline, code) in rows {
        let mut client = server.open();
        client.send(&Frame::text(text));
        if text != "close" {
            client.expect(&Frame::text(text));
        }
        if text == "message" {
            client.send(&Frame::fragment(2, b"to be conti"));
        }
        client.expect_close(code);
        assert_eq!(log.closed(), CloseCause::TimedOut(deadline), "{text}");
    }
    patient.send(&Frame::text("here I am"));
    patient.expect(&Frame::text("here I am"));
}

fn limits_that_change_and_change_back(driver: DriverKind) {
    let (server, log) = impatient(driver);
    let mut client = server.open();
    client.send(&Frame::text("ping"));
    client.expect(&Frame::text("ping"));
    for _ in 0..2 {
        client.expect(&Frame::ping(b""));
        client.send(&Frame::pong(b""));
    }
    // Another has come and gone meanwhile, for want of patience.
    client.send(&Frame::text("patient"));
    client.expect(&Frame::text("patient"));
    let mut other = server.open();
    other.expect_close(1001);
    client.send(&Frame::text("idle"));
    client.expect(&Frame::text("idle"));
    client.expect_close(1001);
    client.expect_end();
    assert_eq!(log.closed(), CloseCause::TimedOut(Deadline::Idle));
    assert_eq!(log.closed(), CloseCause::TimedOut(Deadline::Idle));
}

fn a_peer_that_takes_nothing(driver: DriverKind) {
    let (server, log) = impatient(driver);
    let mut client = Client::connect_narrow(server.address(), 4096).opened();
    client.send(&Frame::text("flood"));
    // It goes on talking: that is not what it is expected to do.
    for _ in 0..PATIENCE.as_millis() / 20 {
        let _ = client.try_send_bytes(&Frame::pong(b"so what").masked());
        thread::sleep(Duration::from_millis(20));
        if server.remote().total().timeouts > 0 {
            break;
        }
    }
    assert_eq!(log.closed(), CloseCause::TimedOut(Deadline::Send));
}

/// Only sends: at once, or from the message "enough" on. And what it sends it sends four times.
fn feed(conn: &mut Conn<'_, ()>, message: Message<'_>) {
    conn.send(message);
    if message == Message::Text("enough") {
        conn.refuse_messages();
    }
    (0..3).for_each(|_| _ = conn.send(message));
}

fn a_message_where_none_is_taken(driver: DriverKind) {
    let (handler, log) = logged(feed);
    let server = serve(driver, handler);
    let long = noise(300_000, 1);
    let mut in_pieces = Frame::text("a word").masked();
    in_pieces.truncate(7); // the header, and a byte
    // Each of these is one too many, as soon as its header is there.
    let rows = [
        Frame::text("a word").masked(),
        Frame::text("").masked(),
        Frame::binary(&noise(200, 2)).masked(),
        Frame::fragment(1, b"").masked(),
        in_pieces,
        Frame::announce(0x82, 1 << 19),
        Frame::binary(&long).masked()[..200_000].to_vec(),
        [Frame::ping(b"").masked(), Frame::text("").masked()].concat(),
    ];
    for bytes in rows {
        let mut client = server.open();
        client.send(&Frame::text("enough"));
        (0..4).for_each(|_| client.expect(&Frame::text("enough")));
        let before = server.remote().total();
        let _ = client.try_send_bytes(&bytes);
        let frames = client.frames_to_the_end();
        let close = frames.last().unwrap().close_parts();
        assert_eq!(close, Some((1008, "no messages are taken")));
        assert_eq!(log.closed(), CloseCause::Refused);
        assert_eq!(server.remote().total().messages_in, before.messages_in);
    }
}

fn what_came_along_with_the_refusal(driver: DriverKind) {
    let (handler, log) = logged(feed);
    let server = serve(driver, handler);
    // Whole, and in the middle of another.
    for frames in [
        [Frame::text("before"), Frame::text("enough"), Frame::text("after")],
        [Frame::text("enough"), Frame::fragment(1, b"af"), Frame::whole(0, b"ter")],
        [Frame::fragment(1, b"eno"), Frame::whole(0, b"ugh"), Frame::text("after")],
    ] {
        let mut client = server.open();
        client.send_bytes(&Frame::stream(&frames));
        let mut answers = client.frames_to_the_end();
        assert_eq!(answers.pop().unwrap().close_parts(), Some((1008, "no messages are taken")));
        assert!(!answers.contains(&Frame::text("after")));
        assert_eq!(answers.iter().filter(|&frame| *frame == Frame::text("enough")).count(), 4);
        assert_eq!(log.closed(), CloseCause::Refused);
    }
}

fn a_feed_that_nobody_talks_back_to(driver: DriverKind) {
    let (handler, log) = logged(feed);
    let server = serve(driver, handler);
    let mut client = server.open();
    let id = log.opened();
    client.send(&Frame::text("enough"));
    (0..4).for_each(|_| client.expect(&Frame::text("enough")));
    for n in 0..10 {
        server.remote().send(id, format!("news {n}").as_str()).unwrap();
        client.expect(&Frame::text(&format!("news {n}")));
        server.remote().broadcast("to all").unwrap();
        client.expect(&Frame::text("to all"));
        client.send(&Frame::ping(b"still there?"));
        client.expect(&Frame::pong(b"still there?"));
        client.send(&Frame::pong(b""));
    }
    // What crosses our Close is no reason any more.
    server.remote().close(id, CloseCode::NORMAL, "").unwrap();
    client.expect(&Frame::close(1000, ""));
    client.send(&Frame::text("too late"));
    client.send(&Frame::close(1000, ""));
    client.expect_end();
    assert_eq!(log.closed(), CloseCause::Local(CloseCode::NORMAL));
}

/// Does what the reason of a Close tells it to, and tells what it saw.
#[derive(Clone)]
struct Attentive(mpsc::Sender<Closing>);

#[derive(Debug, PartialEq, Eq)]
enum Closing {
    /// What the Close frame said, and whether the connection was still open.
    Frame(Option<(u16, String)>, bool),
    Closed(CloseCause),
}

impl Handler for Attentive {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, _message: Message<'_>) {
        conn.close(CloseCode::new(4000), "enough");
    }

    fn on_close_frame(&mut self, conn: &mut Conn<'_, ()>, frame: Option<CloseFrame<'_>>) {
        let said = frame.map(|frame| (frame.code.value(), frame.reason.to_owned()));
        self.0.send(Closing::Frame(said, conn.is_open())).unwrap();
        match frame.map(|frame| frame.reason) {
            Some("last words?") => _ = conn.send("yes"),
            Some("another code") => conn.close(CloseCode::new(4444), "as you like"),
            Some("fail") => conn.fail(CloseCode::new(4445), "no"),
            Some("abort") => conn.abort(),
            Some("pause") => conn.pause_reading(),
            Some("panic") => std::panic::resume_unwind(Box::new("told to")),
            _ => {}
        }
        // Whatever was decided, the frame is over.
        assert_eq!(conn.ping(b"") == Sent::Queued, conn.is_open());
    }

    fn on_close(&mut self, _conn: &mut Conn<'_, ()>, cause: CloseCause) {
        self.0.send(Closing::Closed(cause)).unwrap();
    }
}

fn a_close_is_seen_before_it_is_answered(driver: DriverKind) {
    let (told, seen) = mpsc::channel();
    let server = serve(driver, Attentive(told));
    let peer = |code| CloseCause::Peer(Some(CloseCode::new(code)));
    // What the peer says, what it gets, and why it ended.
    let rows = [
        (Some((1000, "bye 🐟")), vec![Frame::ping(b""), Frame::close(1000, "")], peer(1000)),
        (None, vec![Frame::ping(b""), Frame::whole(8, b"")], CloseCause::Peer(None)),
        (
            Some((4001, "last words?")),
            vec![Frame::text("yes"), Frame::ping(b""), Frame::close(4001, "")],
            peer(4001),
        ),
        (Some((4001, "another code")), vec![Frame::close(4444, "as you like")], peer(4001)),
        (
            Some((4001, "fail")),
            vec![Frame::close(4445, "no")],
            CloseCause::Local(CloseCode::new(4445)),
        ),
        (Some((4001, "pause")), vec![Frame::ping(b""), Frame::close(4001, "")], peer(4001)),
        (Some((4001, "panic")), vec![Frame::close(1011, "internal error")], CloseCause::Panicked),
    ];
    for (said, answers, cause) in rows {
        let mut client = server.open();
        let close = said.map_or(Frame::whole(8, b""), |(code, reason)| Frame::close(code, reason));
        client.send(&close);
        answers.iter().for_each(|answer| client.expect(answer));
        client.expect_end();
        let said = said.map(|(code, reason)| (code, reason.to_owned()));
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), Closing::Frame(said, true));
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), Closing::Closed(cause));
    }
    let mut client = server.open();
    client.send(&Frame::close(4001, "abort"));
    client.expect_gone();
    seen.recv_timeout(PATIENCE).unwrap();
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), Closing::Closed(CloseCause::Aborted));
}

fn the_answer_to_our_close_is_seen(driver: DriverKind) {
    let (told, seen) = mpsc::channel();
    let server = serve(driver, Attentive(told));
    let mut client = server.open();
    client.send(&Frame::text("close"));
    client.expect(&Frame::close(4000, "enough"));
    client.send(&Frame::close(4001, "another code"));
    client.expect_end();
    let said = Some((4001, "another code".to_owned()));
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), Closing::Frame(said, false));
    let cause = CloseCause::Local(CloseCode::new(4000));
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), Closing::Closed(cause));
}
