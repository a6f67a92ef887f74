//! Every way in which a connection can end: what the peer sees of it, and what the application is
//! told.

mod support;

use std::{collections::HashMap, io::ErrorKind, sync::mpsc, thread, time::Duration};

use support::{
    Client, Event, Frame, Log, PATIENCE, Serving, logged, noise, on_each_driver, request, serve,
    serve_with,
};
use throng::{
    CloseCause, CloseCode, Conn, Deadline, DriverKind, Handler, Message, Sent, ServerBuilder,
    Timeouts, protocol::ProtocolError,
};

on_each_driver!(
    the_peer_closes,
    we_close,
    we_close_with_what_may_not_be_sent,
    both_close_at_once,
    both_close_at_about_the_same_time,
    the_peer_closes_in_the_middle_of_a_message,
    close_frames_that_break_the_rules,
    frames_that_break_the_rules,
    what_follows_a_close_is_ignored,
    what_crosses_our_close_is_ignored,
    a_peer_that_never_answers_our_close,
    a_peer_that_closes_and_never_reads,
    a_peer_that_talks_on_after_it_failed,
    an_end_without_a_close,
    a_reset,
    half_closed_and_still_owed_answers,
    half_closed_in_the_middle_of_a_message,
    failed_by_us,
    aborted,
    what_was_sent_before_a_close_arrives,
    closed_on_opening,
    what_is_sent_on_closing_is_dropped,
    every_opened_connection_closes_once,
);

/// Does what it is told: `close CODE REASON`, `fail`, `abort`, or anything else to be sent back.
fn puppet(conn: &mut Conn<'_, ()>, message: Message<'_>) {
    let Message::Text(text) = message else {
        conn.send(message);
        return;
    };
    if let Some(order) = text.strip_prefix("close ") {
        let (code, reason) = order.split_once(' ').unwrap_or((order, ""));
        conn.close(CloseCode::new(code.parse().unwrap()), reason);
    } else if text == "fail" {
        conn.send("not what I expected");
        conn.fail(CloseCode::new(4002), "against the house rules");
    } else if text == "abort" {
        conn.abort();
    } else {
        conn.send(text);
    }
}

fn stage(driver: DriverKind) -> (Serving, Log) {
    let (handler, log) = logged(puppet);
    (serve(driver, handler), log)
}

/// The last words are said in this time.
fn hurried(builder: ServerBuilder) -> ServerBuilder {
    let close = Duration::from_millis(250);
    builder.timeouts(Timeouts { close, ..Timeouts::default() })
}

fn the_peer_closes(driver: DriverKind) {
    let (server, log) = stage(driver);
    let rows = [
        (Frame::whole(8, b""), None),
        (Frame::close(1000, ""), Some(1000)),
        (Frame::close(1000, "so long, and thanks for all the 🐟"), Some(1000)),
        (Frame::close(1001, ""), Some(1001)),
        (Frame::close(1014, ""), Some(1014)),
        (Frame::close(3000, ""), Some(3000)),
        (Frame::close(4999, &"x".repeat(123)), Some(4999)),
    ];
    for (frame, code) in rows {
        let mut client = server.open();
        client.send(&frame);
        match code {
            Some(code) => client.expect(&Frame::close(code, "")),
            None => client.expect(&Frame::whole(8, b"")),
        }
        client.expect_end();
        assert_eq!(log.closed(), CloseCause::Peer(code.map(CloseCode::new)));
    }
}

fn we_close(driver: DriverKind) {
    let (server, log) = stage(driver);
    for answer in [Frame::close(4000, ""), Frame::close(1000, "as you like"), Frame::whole(8, b"")]
    {
        let mut client = server.open();
        client.send(&Frame::text("close 4000 enough"));
        client.expect(&Frame::close(4000, "enough"));
        client.send(&answer);
        client.expect_end();
        assert_eq!(log.closed(), CloseCause::Local(CloseCode::new(4000)));
    }
}

fn we_close_with_what_may_not_be_sent(driver: DriverKind) {
    let (server, log) = stage(driver);
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        let mut client = server.open();
        client.send(&Frame::text(&format!("close {code}")));
        client.expect(&Frame::close(1000, ""));
        client.send(&Frame::close(1000, ""));
        client.expect_end();
        assert_eq!(log.closed(), CloseCause::Local(CloseCode::NORMAL));
    }
    // A reason is cut where a character begins: 122 bytes are left of it.
    let mut client = server.open();
    client.send(&Frame::text(&format!("close 4000 {}", "é".repeat(100))));
    client.expect(&Frame::close(4000, &"é".repeat(61)));
}

fn both_close_at_once(driver: DriverKind) {
    let (server, log) = stage(driver);
    let mut client = server.open();
    // The server reads its order first, and the peer's Close in the same breath.
    let both = [Frame::text("close 4000"), Frame::close(4001, "")];
    client.send_bytes(&Frame::stream(&both));
    client.expect(&Frame::close(4000, ""));
    client.expect_end();
    assert_eq!(log.closed(), CloseCause::Local(CloseCode::new(4000)));
}

fn both_close_at_about_the_same_time(driver: DriverKind) {
    let (server, log) = stage(driver);
    for _ in 0..50 {
        let mut client = server.open();
        let id = log.opened();
        let remote = server.remote().clone();
        let closing = thread::spawn(move || remote.close(id, CloseCode::new(4000), ""));
        client.send(&Frame::close(4001, ""));
        closing.join().unwrap().unwrap();
        let frame = client.frame();
        client.expect_end();
        let (code, _) = frame.close_parts().expect("a Close, and only one");
        let cause = match code {
            4000 => CloseCause::Local(CloseCode::new(4000)),
            _ => CloseCause::Peer(Some(CloseCode::new(4001))),
        };
        assert_eq!(log.next(), Event::Closed(id, cause));
    }
    assert_eq!(log.rest(), []);
}

fn the_peer_closes_in_the_middle_of_a_message(driver: DriverKind) {
    let (server, log) = stage(driver);
    let mut client = server.open();
    client.send(&Frame::fragment(1, b"to be conti"));
    client.send(&Frame::close(1000, ""));
    client.expect(&Frame::close(1000, ""));
    client.expect_end();
    assert_eq!(log.closed(), CloseCause::Peer(Some(CloseCode::NORMAL)));
    assert_eq!(server.remote().total().messages_in, 0);
}

/// Each of these streams ends its connection, for this reason and no other.
fn check_failures(driver: DriverKind, rows: &[(Vec<u8>, ProtocolError)]) {
    let (server, log) = stage(driver);
    for (bytes, error) in rows {
        let mut client = server.open();
        // What went before is answered, what comes after is not.
        client.send(&Frame::text("before"));
        client.expect(&Frame::text("before"));
        client.send_bytes(&[bytes.as_slice(), &Frame::text("after").masked()].concat());
        client.expect_close(error.close_code().value());
        client.expect_end();
        assert_eq!(log.closed(), CloseCause::Failed(*error));
    }
    assert_eq!(server.remote().total().protocol_errors, rows.len() as u64);
}

fn close_frames_that_break_the_rules(driver: DriverKind) {
    let mut rows = vec![
        (Frame::whole(8, b"\x03").masked(), ProtocolError::ClosePayloadTooShort),
        (Frame::whole(8, b"\x03\xE8\xFF").masked(), ProtocolError::InvalidCloseReason),
        (Frame::whole(8, b"\x03\xE8caf\xC3").masked(), ProtocolError::InvalidCloseReason),
        (Frame::close(1000, &"x".repeat(124)).masked(), ProtocolError::ControlTooLong),
        (Frame::fragment(8, b"\x03\xE8").masked(), ProtocolError::FragmentedControl),
        (Frame::close(1000, "").unmasked(), ProtocolError::UnmaskedFrame),
    ];
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        rows.push((Frame::close(code, "").masked(), ProtocolError::InvalidCloseCode(code)));
    }
    check_failures(driver, &rows);
}

fn frames_that_break_the_rules(driver: DriverKind) {
    use ProtocolError::*;
    let text = Frame::text("text").masked();
    let with = |at: usize, bits: u8| {
        let mut bytes = text.clone();
        bytes[at] |= bits;
        bytes
    };
    let fragment = Frame::fragment(1, b"frag").masked();
    let length = |bytes: &[u8]| [&[0x82], bytes, &[0; 4]].concat();
    let rows = [
        (with(0, 0x40), ReservedBits),
        (with(0, 0x20), ReservedBits),
        (with(0, 0x10), ReservedBits),
        (Frame::whole(3, b"").masked(), ReservedOpcode(3)),
        (Frame::whole(7, b"").masked(), ReservedOpcode(7)),
        (Frame::whole(11, b"").masked(), ReservedOpcode(11)),
        (Frame::whole(15, b"").masked(), ReservedOpcode(15)),
        (Frame::text("text").unmasked(), UnmaskedFrame),
        (Frame::fragment(9, b"").masked(), FragmentedControl),
        (Frame::ping(&[0; 126]).masked(), ControlTooLong),
        (Frame::pong(&[0; 126]).masked(), ControlTooLong),
        (Frame::whole(0, b"").masked(), UnexpectedContinuation),
        (Frame::fragment(0, b"").masked(), UnexpectedContinuation),
        ([fragment.as_slice(), &text].concat(), ExpectedContinuation),
        (length(&[0xFE, 0, 125]), LengthNotMinimal),
        (length(&[0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]), LengthNotMinimal),
        (length(&[0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0]), LengthTooLarge),
        (Frame::whole(1, b"\xC0\x80").masked(), InvalidUtf8),
        (Frame::whole(1, b"caf\xC3").masked(), InvalidUtf8),
        (Frame::whole(1, &[&noise(70_000, 5)[..], b"\xFF"].concat()).masked(), InvalidUtf8),
        // At the first byte that no text could go on with, though the message does.
        (Frame::fragment(1, b"\xED\xA0").masked(), InvalidUtf8),
        (Frame::stream(&[Frame::fragment(1, b"\xF0\x9F"), Frame::whole(0, b"x")]), InvalidUtf8),
    ];
    check_failures(driver, &rows);
}

fn what_follows_a_close_is_ignored(driver: DriverKind) {
    let (server, log) = stage(driver);
    let mut client = server.open();
    let frames = [
        Frame::text("before"),
        Frame::close(1000, ""),
        Frame::text("after"),
        Frame::ping(b"after"),
        Frame::close(4000, ""),
        Frame::whole(3, b"no rule is broken by what is not read"),
    ];
    client.send_bytes(&Frame::stream(&frames));
    client.expect(&Frame::text("before"));
    client.expect(&Frame::close(1000, ""));
    client.expect_gone();
    assert_eq!(log.closed(), CloseCause::Peer(Some(CloseCode::NORMAL)));
    assert_eq!(log.rest(), []);
}

fn what_crosses_our_close_is_ignored(driver: DriverKind) {
    let (server, log) = stage(driver);
    let mut client = server.open();
    client.send(&Frame::text("close 4000"));
    client.expect(&Frame::close(4000, ""));
    client.send_bytes(&Frame::stream(&Frame::fragments(1, b"underway", 3)));
    client.send(&Frame::ping(b"still there?"));
    client.send(&Frame::text("close 4001"));
    client.send(&Frame::close(1000, ""));
    client.expect_end();
    assert_eq!(log.closed(), CloseCause::Local(CloseCode::new(4000)));
    assert_eq!(server.remote().total().messages_in, 1);
}

fn a_peer_that_never_answers_our_close(driver: DriverKind) {
    let (handler, log) = logged(puppet);
    let server = serve_with(driver, handler, hurried);
    let mut client = server.open();
    client.send(&Frame::text("close 4000"));
    client.expect(&Frame::close(4000, ""));
    client.expect_gone();
    assert_eq!(log.closed(), CloseCause::TimedOut(Deadline::Close));
    server.until("it is forgotten", |counts| counts.connections == 0 && counts.timeouts == 1);
}

fn a_peer_that_closes_and_never_reads(driver: DriverKind) {
    let (handler, log) = logged(|conn, _| {
        conn.send(&noise(16 << 20, 9));
    });
    let server = serve_with(driver, handler, hurried);
    let mut client = Client::connect_narrow(server.address(), 4096).opened();
    client.send_bytes(&Frame::stream(&[Frame::text("go"), Frame::close(1000, "")]));
    // It was told why at once, and the rest is nobody's concern.
    assert_eq!(log.closed(), CloseCause::Peer(Some(CloseCode::NORMAL)));
    server.until("it is forgotten", |counts| counts.connections == 0);
    assert_eq!(log.rest(), []);
}

fn a_peer_that_talks_on_after_it_failed(driver: DriverKind) {
    let (handler, log) = logged(puppet);
    let server = serve_with(driver, handler, hurried);
    let mut client = server.open();
    // All this is on its way before the client can know that it failed. Were the server to hang up at
    // once, the reset could overtake the Close.
    let chatter = Frame::binary(&noise(4 << 20, 6)).masked();
    client.send_bytes(&[Frame::whole(3, b"").masked(), chatter].concat());
    client.expect_close(1002);
    client.expect_end();
    assert_eq!(log.closed(), CloseCause::Failed(ProtocolError::ReservedOpcode(3)));
    // It may stay, but not for ever.
    server.until("it is forgotten", |counts| counts.connections == 0);
}

fn an_end_without_a_close(driver: DriverKind) {
    let (server, log) = stage(driver);
    let mut client = server.open();
    client.finish();
    client.expect_end();
    assert_eq!(log.closed(), CloseCause::Lost(ErrorKind::UnexpectedEof));

    drop(server.open());
    assert_eq!(log.closed(), CloseCause::Lost(ErrorKind::UnexpectedEof));
}

fn a_reset(driver: DriverKind) {
    let (server, log) = stage(driver);
    let client = server.open();
    log.opened();
    client.reset();
    assert_eq!(log.closed(), CloseCause::Lost(ErrorKind::ConnectionReset));
}

fn half_closed_and_still_owed_answers(driver: DriverKind) {
    // The second has more frames than a turn takes, the third more output than a socket does.
    for (count, len) in [(1, 10), (5000, 10), (40, 100_000)] {
        let (server, log) = stage(driver);
        let mut client = server.open();
        let frames: Vec<_> = (0..count).map(|n| Frame::binary(&noise(len, n))).collect();
        let mut sender = client.another_hold();
        let bytes = Frame::stream(&frames);
        let sending = thread::spawn(move || {
            sender.send_bytes(&bytes);
            sender.finish();
        });
        frames.iter().for_each(|frame| client.expect(frame));
        client.expect_end();
        sending.join().unwrap();
        assert_eq!(log.closed(), CloseCause::Lost(ErrorKind::UnexpectedEof));
    }
}

fn half_closed_in_the_middle_of_a_message(driver: DriverKind) {
    let (server, log) = stage(driver);
    let whole = Frame::text("never completed").masked();
    for len in 1..whole.len() {
        let mut client = server.open();
        client.send_bytes(&whole[..len]);
        client.finish();
        client.expect_end();
        assert_eq!(log.closed(), CloseCause::Lost(ErrorKind::UnexpectedEof));
    }
}

/// The answer to our Close is not waited for: the end of the stream follows it.
fn failed_by_us(driver: DriverKind) {
    let (server, log) = stage(driver);
    let mut client = server.open();
    client.send(&Frame::text("fail"));
    client.expect(&Frame::text("not what I expected"));
    client.expect(&Frame::close(4002, "against the house rules"));
    client.expect_end();
    assert_eq!(log.closed(), CloseCause::Local(CloseCode::new(4002)));
}

fn aborted(driver: DriverKind) {
    let (server, log) = stage(driver);
    let mut client = server.open();
    client.send(&Frame::text("abort"));
    client.expect_gone();
    assert_eq!(log.closed(), CloseCause::Aborted);

    let mut client = server.open();
    server.remote().abort(log.opened()).unwrap();
    client.expect_gone();
    assert_eq!(log.closed(), CloseCause::Aborted);
}

fn what_was_sent_before_a_close_arrives(driver: DriverKind) {
    let (told, outcomes) = mpsc::channel();
    let (handler, _log) = logged(move |conn, message| {
        let before = [conn.send("one"), conn.send(message)];
        conn.close(CloseCode::new(4000), "");
        let after = [conn.send("two"), conn.ping(b"?")];
        conn.close(CloseCode::new(4001), "");
        assert!(!conn.is_open());
        told.send((before, after)).unwrap();
    });
    let server = serve(driver, handler);
    for len in [0, 100, 500_000] {
        let mut client = server.open();
        let message = Frame::binary(&noise(len, 7));
        client.send(&message);
        client.expect(&Frame::text("one"));
        client.expect(&message);
        client.expect(&Frame::close(4000, ""));
        client.send(&Frame::close(4000, ""));
        client.expect_end();
        let (before, after) = outcomes.recv_timeout(PATIENCE).unwrap();
        assert!(!before.iter().any(|sent| matches!(sent, Sent::Dropped | Sent::Closed)));
        assert_eq!(after, [Sent::Closed, Sent::Closed]);
    }
}

/// Turns everyone away.
#[derive(Clone)]
struct Closed(mpsc::Sender<CloseCause>);

impl Handler for Closed {
    type Data = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.send("we are closed");
        conn.close(CloseCode::TRY_AGAIN_LATER, "until nine");
    }

    fn on_message(&mut self, _conn: &mut Conn<'_, ()>, _message: Message<'_>) {
        panic!("no message is delivered after a close");
    }

    fn on_close(&mut self, conn: &mut Conn<'_, ()>, cause: CloseCause) {
        assert_eq!(conn.send("and another thing"), Sent::Closed);
        conn.close(CloseCode::NORMAL, "");
        conn.abort();
        self.0.send(cause).unwrap();
    }
}

fn closed_on_opening(driver: DriverKind) {
    let (told, causes) = mpsc::channel();
    let server = serve(driver, Closed(told));
    let mut client = server.connect();
    client.send_bytes(&[request("").as_bytes(), &Frame::text("hello?").masked()].concat());
    client.expect_opened();
    client.expect(&Frame::text("we are closed"));
    client.expect(&Frame::close(1013, "until nine"));
    client.send(&Frame::close(1013, ""));
    client.expect_gone();
    let cause = causes.recv_timeout(PATIENCE).unwrap();
    assert_eq!(cause, CloseCause::Local(CloseCode::TRY_AGAIN_LATER));
    assert_eq!(server.remote().total().panics, 0);
}

fn what_is_sent_on_closing_is_dropped(driver: DriverKind) {
    let (told, causes) = mpsc::channel();
    let server = serve(driver, Closed(told));
    let mut client = server.open();
    client.send(&Frame::whole(3, b""));
    let frames = client.frames_to_the_end();
    assert_eq!(frames, [Frame::text("we are closed"), Frame::close(1013, "until nine")]);
    causes.recv_timeout(PATIENCE).unwrap();
}

fn every_opened_connection_closes_once(driver: DriverKind) {
    let (handler, log) = logged(puppet);
    let server = serve_with(driver, handler, hurried);
    let endings: [fn(Client); 10] = [
        |client| drop(client),
        |client| client.reset(),
        |client| client.finish(),
        |mut client| client.send(&Frame::close(1000, "")),
        |mut client| client.send(&Frame::whole(5, b"")),
        |mut client| client.send(&Frame::text("abort")),
        |mut client| client.send(&Frame::text("close 1000")),
        |mut client| {
            client.send_bytes(&Frame::stream(&[Frame::text("abort"), Frame::close(1000, "")]));
            client.reset();
        },
        |mut client| {
            client.send_bytes(&Frame::stream(&[Frame::text("close 1000"), Frame::whole(5, b"")]));
            client.finish();
        },
        |mut client| {
            client.send_bytes(&Frame::fragment(1, b"half").masked());
            client.send(&Frame::close(1000, ""));
            client.reset();
        },
    ];
    for n in 0..100 {
        endings[n % endings.len()](server.open());
    }
    server.until("all are forgotten", |counts| counts.connections == 0);
    let mut open = HashMap::new();
    for event in log.rest() {
        match event {
            Event::Opened(id) => assert_eq!(open.insert(id, true), None, "{id} opens twice"),
            Event::Closed(id, cause) => {
                assert_eq!(open.insert(id, false), Some(true), "{id} closes twice: {cause}");
            }
            _ => {}
        }
    }
    assert_eq!(open.len(), 100);
    assert!(open.values().all(|is_open| !is_open));
}
