//! What a peer may ask of us, to the byte, and how long it may take.

mod support;

use std::{sync::mpsc, thread, time::Duration};

use support::{
    Client, Echo, Event, Frame, Log, Serving, echo, logged, noise, on_each_driver, serve,
    serve_with,
};
use throng::{
    CloseCause, Conn, Deadline, DriverKind, Handler, Limits, Message, SendQueue, Server,
    ServerBuilder, Timeouts, protocol::ProtocolError,
};

on_each_driver!(
    lengths_that_only_a_header_has,
    a_message_of_exactly_the_limit_and_one_more,
    fragments_of_exactly_the_limit_and_one_more,
    as_many_fragments_as_may_be_and_one_more,
    a_flood_of_empty_fragments,
    a_flood_of_pings_without_reading,
    a_flood_beside_a_whisper,
    a_message_begun_and_never_finished,
    a_message_that_trickles_too_slowly,
    a_slow_sender_within_the_limits,
    silence_is_asked_about_and_then_ended,
    a_ping_that_is_not_answered,
    silence_that_answers_pings,
    a_lifetime,
    a_timer,
    half_received_messages_within_their_memory,
    output_within_its_memory,
    no_limits,
    settings_that_make_no_sense,
);

fn logged_echo(
    driver: DriverKind,
    settings: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> (Serving, Log) {
    let (handler, log) = logged(echo);
    (serve_with(driver, handler, settings), log)
}

fn chats(client: &mut Client) {
    client.send(&Frame::text("is anybody there?"));
    client.expect(&Frame::text("is anybody there?"));
}

fn lengths_that_only_a_header_has(driver: DriverKind) {
    let (server, log) = logged_echo(driver, |builder| builder);
    let rows = [
        ((1 << 20) + 1, ProtocolError::MessageTooBig),
        (u64::from(u32::MAX), ProtocolError::MessageTooBig),
        (1 << 32, ProtocolError::MessageTooBig),
        (1 << 62, ProtocolError::MessageTooBig),
        (i64::MAX as u64, ProtocolError::MessageTooBig),
        (1 << 63, ProtocolError::LengthTooLarge),
        (u64::MAX, ProtocolError::LengthTooLarge),
    ];
    for (len, error) in rows {
        for first in [0x81, 0x82, 0x02] {
            let mut client = server.open();
            // Not a byte of payload has to arrive for it.
            client.send_bytes(&Frame::announce(first, len));
            client.expect_close(error.close_code().value());
            client.expect_end();
            assert_eq!(log.closed(), CloseCause::Failed(error), "{len}");
        }
    }
    // In the second fragment, too: what counts is the sum.
    let mut client = server.open();
    client.send(&Frame::fragment(2, b"a beginning"));
    client.send_bytes(&Frame::announce(0x80, u64::MAX >> 1));
    client.expect_close(1009);
}

fn a_message_of_exactly_the_limit_and_one_more(driver: DriverKind) {
    // 5 and 100 arrive whole, 200,000 does not fit in a receive buffer.
    for len in [5, 100, 126, 70_000, 200_000] {
        let limits = Limits { message_len_max: len, ..Limits::default() };
        let (server, log) = logged_echo(driver, |builder| builder.limits(limits));
        let mut client = server.open();
        for message in [noise(len, 1), noise(len - 1, 2), Vec::new()] {
            client.send(&Frame::binary(&message));
            client.expect(&Frame::binary(&message));
        }
        client.send(&Frame::binary(&noise(len + 1, 3)));
        client.expect_close(1009);
        client.expect_end();
        assert_eq!(log.closed(), CloseCause::Failed(ProtocolError::MessageTooBig), "{len}");
    }
}

fn fragments_of_exactly_the_limit_and_one_more(driver: DriverKind) {
    let limits = Limits { message_len_max: 1000, ..Limits::default() };
    let (server, log) = logged_echo(driver, |builder| builder.limits(limits));
    let message = noise(1001, 4);
    for fragment_len in [1, 7, 100, 999, 1000] {
        let mut client = server.open();
        let frames = Frame::fragments(2, &message[..1000], fragment_len);
        client.send_bytes(&Frame::stream(&frames));
        client.expect(&Frame::binary(&message[..1000]));
        let frames = Frame::fragments(2, &message, fragment_len);
        client.send_bytes(&Frame::stream(&frames));
        client.expect_close(1009);
        client.expect_end();
        assert_eq!(log.closed(), CloseCause::Failed(ProtocolError::MessageTooBig));
    }
}

fn as_many_fragments_as_may_be_and_one_more(driver: DriverKind) {
    // One begins the message, and 65,536 go on with it.
    for (count, is_fine) in [(65_537, true), (65_538, false)] {
        let (server, log) = logged_echo(driver, |builder| builder);
        let mut client = server.open();
        let message = noise(count, 5);
        client.send_bytes(&Frame::stream(&Frame::fragments(2, &message, 1)));
        if is_fine {
            client.expect(&Frame::binary(&message));
            chats(&mut client);
        } else {
            client.expect_close(1009);
            assert_eq!(log.closed(), CloseCause::Failed(ProtocolError::TooManyFragments));
        }
    }
}

/// Sends `bytes` from another thread, as far as the server lets it, while `others` chat.
fn flood(mut client: Client, bytes: Vec<u8>, others: &mut [Client]) -> Client {
    let flooding = thread::spawn(move || {
        let _ = client.try_send_bytes(&bytes);
        client
    });
    while !flooding.is_finished() {
        others.iter_mut().for_each(chats);
    }
    flooding.join().unwrap()
}

fn a_flood_of_empty_fragments(driver: DriverKind) {
    let (server, log) = logged_echo(driver, |builder| builder);
    let mut others: Vec<_> = (0..3).map(|_| server.open()).collect();
    let mut bytes = Frame::fragment(1, b"").masked();
    bytes.extend(Frame::fragment(0, b"").masked().repeat(100_000));
    let mut client = flood(server.open(), bytes, &mut others);
    client.expect_close(1009);
    assert_eq!(log.closed(), CloseCause::Failed(ProtocolError::TooManyFragments));
    others.iter_mut().for_each(chats);
}

fn a_flood_of_pings_without_reading(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut others: Vec<_> = (0..3).map(|_| server.open()).collect();
    let slow = Client::connect_narrow(server.address(), 4096).opened();
    let bytes = Frame::ping(&[b'?'; 125]).masked().repeat(100_000);
    let mut client = flood(slow, bytes, &mut others);
    client.send(&Frame::close(1000, ""));
    // It is not failed for it, and gets as many pongs as it cares to read; but none is kept for it
    // beyond the last.
    let frames = client.frames_to_the_end();
    let (close, pongs) = frames.split_last().unwrap();
    assert_eq!(close, &Frame::close(1000, ""));
    assert!(pongs.iter().all(|pong| *pong == Frame::pong(&[b'?'; 125])));
    assert!((1..=100_000).contains(&pongs.len()));
    others.iter_mut().for_each(chats);
}

fn a_flood_beside_a_whisper(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut others: Vec<_> = (0..3).map(|_| server.open()).collect();
    let client = server.open();
    let mut reader = client.another_hold();
    let frames: Vec<_> = (0..20_000).map(|n| Frame::text(&n.to_string())).collect();
    let bytes = Frame::stream(&frames);
    let reading = thread::spawn(move || frames.iter().for_each(|frame| reader.expect(frame)));
    flood(client, bytes, &mut others);
    reading.join().unwrap();
}

/// Everything is over soon.
fn hurried(builder: ServerBuilder) -> ServerBuilder {
    let soon = Duration::from_millis(500);
    builder.timeouts(Timeouts { message: Some(soon), close: soon, ..Timeouts::default() })
}

fn a_message_begun_and_never_finished(driver: DriverKind) {
    let (server, log) = logged_echo(driver, hurried);
    let text = Frame::text("to be continued").masked();
    let beginnings = [
        text[..text.len() - 1].to_vec(),
        // The header alone.
        Frame::announce(0x82, 100_000),
        Frame::fragment(1, b"to be").masked(),
        Frame::stream(&[Frame::fragment(1, b"to be"), Frame::ping(b"wait for it")]),
        // A control frame is a message, too.
        Frame::announce(0x89, 5),
    ];
    // All at once: they wait for the same clock.
    let mut clients: Vec<_> = beginnings.iter().map(|_| server.open()).collect();
    for (client, beginning) in clients.iter_mut().zip(&beginnings) {
        chats(client);
        client.send_bytes(beginning);
    }
    for client in &mut clients {
        let frame = client.frame();
        let frame = if frame.opcode == 10 { client.frame() } else { frame };
        assert_eq!(frame.close_parts().map(|(code, _)| code), Some(1008));
        client.expect_end();
    }
    for _ in &clients {
        assert_eq!(log.closed(), CloseCause::TimedOut(Deadline::Message));
    }
}

fn a_message_that_trickles_too_slowly(driver: DriverKind) {
    let (server, log) = logged_echo(driver, hurried);
    let mut client = server.open();
    let bytes = Frame::binary(&noise(1000, 6)).masked();
    // Never silent for long, and never done.
    let is_over = || log.rest().iter().any(|event| matches!(event, Event::Closed(..)));
    let sent_len = bytes.chunks(1).take_while(|byte| {
        thread::sleep(Duration::from_millis(20));
        client.try_send_bytes(byte).is_ok() && !is_over()
    });
    assert!(sent_len.count() < bytes.len(), "it got away with it");
    client.expect_close(1008);
    assert_eq!(server.remote().total().timeouts, 1);
}

fn a_slow_sender_within_the_limits(driver: DriverKind) {
    let soon = Some(Duration::from_secs(1));
    let timeouts = Timeouts { message: soon, idle: soon, ping: None, ..Timeouts::default() };
    let server = serve_with(driver, Echo, |builder| builder.timeouts(timeouts));
    let mut client = server.open();
    // Longer than any of the limits taken together; but each message, and each pause, is shorter.
    for n in 0..3 {
        let frame = Frame::text(&format!("no hurry, {n}"));
        for byte in frame.masked() {
            thread::sleep(Duration::from_millis(25));
            client.send_bytes(&[byte]);
        }
        client.expect(&frame);
    }
}

fn silence_is_asked_about_and_then_ended(driver: DriverKind) {
    let timeouts = Timeouts {
        ping: Some(Duration::from_millis(250)),
        idle: Some(Duration::from_secs(1)),
        ..Timeouts::default()
    };
    let (server, log) = logged_echo(driver, |builder| builder.timeouts(timeouts));
    let mut client = server.open();
    client.expect(&Frame::ping(b""));
    // One ping is enough.
    client.expect_close(1001);
    client.expect_end();
    assert_eq!(log.closed(), CloseCause::TimedOut(Deadline::Idle));
    assert_eq!(server.remote().total().timeouts, 1);
}

fn a_ping_that_is_not_answered(driver: DriverKind) {
    let quarter = Some(Duration::from_millis(250));
    let timeouts = Timeouts { ping: quarter, pong: quarter, ..Timeouts::default() };
    let (server, log) = logged_echo(driver, |builder| builder.timeouts(timeouts));
    let mut client = server.open();
    client.expect(&Frame::ping(b""));
    client.expect_close(1001);
    client.expect_end();
    assert_eq!(log.closed(), CloseCause::TimedOut(Deadline::Pong));
}

fn silence_that_answers_pings(driver: DriverKind) {
    let timeouts = Timeouts {
        ping: Some(Duration::from_millis(250)),
        idle: Some(Duration::from_secs(1)),
        ..Timeouts::default()
    };
    let (server, log) = logged_echo(driver, |builder| builder.timeouts(timeouts));
    let mut client = server.open();
    let id = log.opened();
    for _ in 0..3 {
        client.expect(&Frame::ping(b""));
        client.send(&Frame::pong(b""));
        assert_eq!(log.next(), Event::Pong(Vec::new()));
    }
    chats(&mut client);
    client.send(&Frame::whole(8, b""));
    client.expect(&Frame::whole(8, b""));
    assert_eq!(log.next(), Event::Closed(id, CloseCause::Peer(None)));
}

fn a_lifetime(driver: DriverKind) {
    let lifetime = Some(Duration::from_millis(500));
    let timeouts = Timeouts { lifetime, ..Timeouts::default() };
    let (server, log) = logged_echo(driver, |builder| builder.timeouts(timeouts));
    let mut client = server.open();
    chats(&mut client);
    client.expect_close(1001);
    client.expect_end();
    assert_eq!(log.closed(), CloseCause::TimedOut(Deadline::Lifetime));
}

/// Sets and unsets timers.
#[derive(Clone)]
struct Alarm(mpsc::Sender<&'static str>);

impl Handler for Alarm {
    type Data = u32;

    fn on_message(&mut self, conn: &mut Conn<'_, u32>, message: Message<'_>) {
        match message {
            Message::Text("set") => conn.set_timer(Duration::ZERO),
            Message::Text("set and unset") => {
                conn.set_timer(Duration::ZERO);
                conn.set_timer(None);
            }
            // The later one holds.
            _ => {
                conn.set_timer(Duration::from_secs(3600));
                conn.set_timer(Duration::from_millis(100));
            }
        }
    }

    fn on_timer(&mut self, conn: &mut Conn<'_, u32>) {
        *conn.data_mut() += 1;
        let count = conn.data().to_string();
        conn.send(&count);
        if *conn.data() == 2 {
            conn.set_timer(Duration::ZERO);
        }
        let _ = self.0.send("rang");
    }
}

fn a_timer(driver: DriverKind) {
    let (told, rings) = mpsc::channel();
    let server = serve(driver, Alarm(told));
    let mut client = server.open();
    client.send(&Frame::text("set"));
    client.expect(&Frame::text("1"));
    client.send(&Frame::text("set again"));
    // Set once more by the callback itself.
    client.expect(&Frame::text("2"));
    client.expect(&Frame::text("3"));
    client.send(&Frame::text("set and unset"));
    client.send(&Frame::text("set"));
    client.expect(&Frame::text("4"));
    assert_eq!(rings.try_iter().count(), 4);
    // A timer of someone who leaves is not heard of again.
    client.send(&Frame::text("set"));
    client.reset();
    server.until("it is forgotten", |counts| counts.connections == 0);
}

fn half_received_messages_within_their_memory(driver: DriverKind) {
    let (server, log) = logged_echo(driver, |builder| builder.memory_max(1 << 20));
    let mut other = server.open();
    // Half a message takes a buffer of 256 KiB, so that four fit at the most.
    let half = |n| Frame::fragment(2, &noise(200_000, n));
    let mut clients = Vec::new();
    while server.remote().total().closed == 0 {
        let before = server.remote().total();
        let mut client = server.open();
        client.send(&half(clients.len() as u64));
        clients.push(client);
        server.until("a half, or an end", |counts| {
            counts.closed > 0 || counts.bytes_in > before.bytes_in + 200_000
        });
        assert!(clients.len() < 10, "the memory has no end");
    }
    assert_eq!(log.closed(), CloseCause::OutOfMemory);
    let mut last = clients.pop().unwrap();
    last.expect_close(1013);
    last.expect_end();
    assert!(clients.len() >= 2, "{}", clients.len());
    // Nobody else is worse off, and what is done makes room.
    chats(&mut other);
    for (client, n) in clients.iter_mut().zip(0..) {
        client.send(&Frame::whole(0, b"the rest"));
        let message = [noise(200_000, n), b"the rest".to_vec()].concat();
        client.expect(&Frame::binary(&message));
    }
    let mut next = server.open();
    next.send(&half(6));
    next.send(&Frame::whole(0, b""));
    next.expect(&Frame::binary(&noise(200_000, 6)));
}

fn output_within_its_memory(driver: DriverKind) {
    let (handler, log) = logged(|conn, message| {
        for n in 0..if message == Message::Text("flood") { 32 } else { 0 } {
            conn.send(&noise(1 << 20, n));
        }
        conn.send(message);
    });
    let send_queue = SendQueue { len_max: usize::MAX, ..SendQueue::default() };
    let server =
        serve_with(driver, handler, |builder| builder.memory_max(8 << 20).send_queue(send_queue));
    let mut other = server.open();
    let mut client = server.open();
    client.send(&Frame::text("flood"));
    assert_eq!(log.closed(), CloseCause::OutOfMemory);
    client.frames_to_the_end();
    // It took all there was, and has given it back.
    chats(&mut other);
    let message = Frame::binary(&noise(1 << 20, 7));
    other.send(&message);
    other.expect(&message);
}

fn no_limits(driver: DriverKind) {
    let limits = Limits {
        message_len_max: usize::MAX,
        continuation_count_max: u32::MAX,
        head_len_max: usize::MAX,
        header_count_max: 256,
        body_len_max: usize::MAX,
    };
    let timeouts = Timeouts {
        handshake: None,
        ping: None,
        pong: None,
        idle: None,
        message: None,
        send: None,
        close: Duration::MAX,
        lifetime: Some(Duration::MAX),
    };
    let server = serve_with(driver, Echo, |builder| {
        builder.limits(limits).timeouts(timeouts).memory_max(usize::MAX).turn_frames_max(usize::MAX)
    });
    let mut client = server.open();
    chats(&mut client);
    let message = noise(3 << 20, 8);
    client.send_bytes(&Frame::stream(&Frame::fragments(2, &message, 1 << 20)));
    client.expect(&Frame::binary(&message));
}

fn settings_that_make_no_sense(driver: DriverKind) {
    let limits = |limits: Limits| move |builder: ServerBuilder| builder.limits(limits);
    let queue = SendQueue { len_max: 0, ..SendQueue::default() };
    let base = Limits::default;
    type Settings = Box<dyn FnOnce(ServerBuilder) -> ServerBuilder>;
    let rows: [(Settings, &str); 8] = [
        (Box::new(|builder| builder.reactors(0)), "reactors"),
        (Box::new(|builder| builder.reactors(100_000)), "reactors"),
        (Box::new(|builder| builder.turn_frames_max(0)), "turn_frames_max"),
        (Box::new(|builder| builder.send_queue(queue)), "send_queue.len_max"),
        (Box::new(limits(Limits { head_len_max: 0, ..base() })), "limits.head_len_max"),
        (Box::new(limits(Limits { header_count_max: 9999, ..base() })), "limits.header_count_max"),
        (Box::new(|builder| builder.listen("no port")), "listen"),
        (Box::new(|builder| builder.listen("unix:")), "listen"),
    ];
    for (settings, name) in rows {
        let builder = Server::builder().driver(driver).listen("127.0.0.1:0");
        let complaint = settings(builder).build().unwrap_err().to_string();
        assert!(complaint.starts_with(name), "{complaint}");
    }
    let complaint = Server::builder().driver(driver).build().unwrap_err().to_string();
    assert!(complaint.starts_with("listen"), "{complaint}");
}
