//! Peers that read slowly, or not at all: what waits for them is bounded, and nobody else notices.

mod support;

use std::{sync::mpsc, thread};

use support::{
    Client, Event, Frame, Log, PATIENCE, Serving, logged, noise, on_each_driver, serve_with,
};
use throng::{
    CloseCause, CloseCode, Conn, DriverKind, Message, Overflow, SendQueue, Sent, ServerBuilder,
};

on_each_driver!(
    one_who_never_reads_among_others_who_do,
    the_slow_one_is_told_when_it_reads_at_last,
    the_newest_is_dropped,
    above_high_water_and_drained,
    a_backlog_arrives_in_order,
    a_long_message_in_a_short_queue,
    many_pings_of_a_blocked_peer_cost_one_pong,
    a_pong_passes_the_data_that_waits,
    a_close_waits_behind_the_data,
    a_broadcast_waits_for_no_one,
    pings_to_a_blocked_peer_are_bounded,
);

/// More than the kernel holds for one connection, both ends together.
const BACKLOG_LEN: usize = 16 << 20;

const QUEUE: SendQueue =
    SendQueue { len_max: 64 << 20, high_water: 1 << 20, overflow: Overflow::Close };

/// A server with this send queue, that is told by each message what to do.
fn stage(driver: DriverKind, queue: SendQueue) -> (Serving, Log) {
    let (handler, log) = logged(obey);
    (serve_with(driver, handler, |builder: ServerBuilder| builder.send_queue(queue)), log)
}

/// Knows a few orders, and sends back what is none.
fn obey(conn: &mut Conn<'_, ()>, message: Message<'_>) {
    match message {
        Message::Text("fill") => {
            for n in 0.. {
                if conn.queued_len() > BACKLOG_LEN {
                    conn.send(&format!("that was all: {n}"));
                    break;
                }
                // Some that are its own, some that are shared.
                if n % 3 == 0 {
                    conn.connections().broadcast(&numbered(n));
                } else {
                    conn.send(&numbered(n));
                }
            }
        }
        Message::Text("close") => conn.close(CloseCode::new(4000), "enough"),
        message => {
            conn.send(message);
        }
    }
}

/// A message that is unlike all others. They are of very different lengths.
fn numbered(n: usize) -> Vec<u8> {
    let len = [20, 1000, 30, 16_000, 3000, 100_000, 70][n % 7];
    [&(n as u64).to_be_bytes()[..], &noise(len, n as u64)].concat()
}

/// Reads what `fill` sent, up to its last word; pongs are set aside, with the number of messages
/// before them.
fn expect_fill(client: &mut Client) -> (usize, Vec<(usize, Frame)>) {
    let mut pongs = Vec::new();
    for n in 0.. {
        let frame = loop {
            match client.frame() {
                pong if pong.opcode == 10 => pongs.push((n, pong)),
                frame => break frame,
            }
        };
        if frame.opcode == 1 {
            assert_eq!(frame, Frame::text(&format!("that was all: {n}")));
            return (n, pongs);
        }
        assert_eq!(frame, Frame::binary(&numbered(n)));
    }
    unreachable!("numbers do not end")
}

fn chats(client: &mut Client) {
    client.send(&Frame::text("is anybody there?"));
    client.expect(&Frame::text("is anybody there?"));
}

/// A client whose connection is blocked: it asked for more than fits, and reads nothing yet.
fn blocked(server: &Serving) -> Client {
    let mut client = Client::connect_narrow(server.address(), 4096).opened();
    let before = server.remote().total().blocked_sends;
    client.send(&Frame::text("fill"));
    server.until("the socket is full", |counts| counts.blocked_sends > before);
    client
}

/// Sends messages that are sent back, and reads none of them, until the server has had enough.
fn send_until(client: &mut Client, is_enough: impl Fn() -> bool) -> usize {
    let mut count = 0;
    while !is_enough() {
        let message = [&(count as u64).to_be_bytes()[..], &[b'x'; 20_000]].concat();
        client.send(&Frame::binary(&message));
        count += 1;
        assert!(count < 10_000, "the kernel does not hold as much");
    }
    count
}

fn one_who_never_reads_among_others_who_do(driver: DriverKind) {
    let (server, log) = stage(driver, SendQueue::default());
    let mut others: Vec<_> = (0..10).map(|_| server.open()).collect();
    let mut slow = Client::connect_narrow(server.address(), 4096).opened();
    for n in 0.. {
        send_until(&mut slow, || true);
        if server.remote().total().slow_consumers > 0 {
            break;
        }
        let message = Frame::binary(&noise(20_000, n));
        slow.send(&message);
        chats(&mut others[n as usize % 10]);
    }
    assert_eq!(log.closed(), CloseCause::SlowConsumer);
    others.iter_mut().for_each(chats);
    let counts = server.remote().total();
    assert_eq!((counts.slow_consumers, counts.closed), (1, 1));
}

fn the_slow_one_is_told_when_it_reads_at_last(driver: DriverKind) {
    let (server, log) = stage(driver, SendQueue::default());
    let mut slow = Client::connect_narrow(server.address(), 4096).opened();
    let sent_count = send_until(&mut slow, || server.remote().total().slow_consumers > 0);
    assert_eq!(log.closed(), CloseCause::SlowConsumer);
    // What had begun to leave arrives whole and in order, and then the reason why no more does.
    let mut count = 0;
    let code = loop {
        let frame = slow.frame();
        if let Some((code, _reason)) = frame.close_parts() {
            break code;
        }
        assert_eq!(
            (&frame.payload[..8], frame.payload.len()),
            (&u64::to_be_bytes(count)[..], 20_008)
        );
        count += 1;
    };
    assert_eq!(code, 1013);
    assert!(count < sent_count as u64);
    slow.expect_end();
}

fn the_newest_is_dropped(driver: DriverKind) {
    let queue = SendQueue { overflow: Overflow::DropNewest, ..SendQueue::default() };
    let (server, log) = stage(driver, queue);
    let mut slow = Client::connect_narrow(server.address(), 4096).opened();
    let dropped = || server.remote().total().messages_dropped;
    let sent_count = send_until(&mut slow, || dropped() > 50) as u64;
    let counts = server.until("all has arrived", |counts| counts.messages_in == sent_count);
    let mut last = None;
    for _ in 0..sent_count - counts.messages_dropped {
        let frame = slow.frame();
        assert_eq!((frame.opcode, frame.payload.len()), (2, 20_008));
        let number = u64::from_be_bytes(*frame.payload.first_chunk().unwrap());
        assert!(Some(number) > last, "{number} after {last:?}");
        last = Some(number);
    }
    // What was dropped is gone for good, and everything after it is as it should be.
    chats(&mut slow);
    assert_eq!(dropped(), counts.messages_dropped);
    assert_eq!(counts.messages_in, counts.messages_out + counts.messages_dropped);
    assert!(!log.rest().iter().any(|event| matches!(event, Event::Closed(..))));
}

fn above_high_water_and_drained(driver: DriverKind) {
    let (told, outcomes) = mpsc::channel();
    let (handler, log) = logged(move |conn, message| {
        let mut sent: Vec<Sent> =
            (0..BACKLOG_LEN / 100_000).map(|n| conn.send(&noise(100_000, n as u64))).collect();
        sent.push(conn.send(message));
        told.send((sent, conn.queued_len())).unwrap();
    });
    let server = serve_with(driver, handler, |builder| builder.send_queue(QUEUE));
    let mut client = Client::connect_narrow(server.address(), 4096).opened();
    let id = log.opened();
    for round in 1..=2 {
        client.send(&Frame::text("go"));
        let (sent, queued_len) = outcomes.recv_timeout(PATIENCE).unwrap();
        assert!(queued_len > BACKLOG_LEN - (1 << 20), "{queued_len}");
        // The mark is passed once, and everything after that lies above it.
        let first_above = sent.iter().position(|&sent| sent == Sent::AboveHighWater).unwrap();
        assert!((10..15).contains(&first_above), "{first_above} messages of 100,000 bytes");
        assert!(sent[..first_above].iter().all(|&sent| sent == Sent::Queued));
        assert!(sent[first_above..].iter().all(|&sent| sent == Sent::AboveHighWater));

        server.until("the socket is full", |counts| counts.blocked_sends >= round);
        assert_eq!(log.rest(), [], "nothing is drained yet");
        for n in 0..BACKLOG_LEN / 100_000 {
            client.expect(&Frame::binary(&noise(100_000, n as u64)));
        }
        client.expect(&Frame::text("go"));
        assert_eq!(log.next(), Event::Drained(id));
    }
    client.send(&Frame::close(1000, ""));
    client.expect(&Frame::close(1000, ""));
    assert_eq!(log.next(), Event::Closed(id, CloseCause::Peer(Some(CloseCode::NORMAL))));
}

fn a_backlog_arrives_in_order(driver: DriverKind) {
    let (server, _log) = stage(driver, QUEUE);
    let mut client = blocked(&server);
    expect_fill(&mut client);
    chats(&mut client);
    // Again, with a reader that is there all the time.
    client.send(&Frame::text("fill"));
    expect_fill(&mut client);
    chats(&mut client);
}

fn a_long_message_in_a_short_queue(driver: DriverKind) {
    let message = noise(8 << 20, 8);
    let expected = Frame::binary(&message);
    let (told, outcomes) = mpsc::channel();
    let (handler, _log) = logged(move |conn, _| {
        told.send([conn.send(&message), conn.send("no room for me")]).unwrap();
    });
    let queue = SendQueue { len_max: 1000, high_water: 1000, overflow: Overflow::DropNewest };
    let server = serve_with(driver, handler, |builder| builder.send_queue(queue));
    let mut client = server.open();
    for _ in 0..3 {
        client.send(&Frame::text("go"));
        let outcomes = outcomes.recv_timeout(PATIENCE).unwrap();
        assert_eq!(outcomes, [Sent::AboveHighWater, Sent::Dropped]);
        client.expect(&expected);
    }
}

fn many_pings_of_a_blocked_peer_cost_one_pong(driver: DriverKind) {
    let (server, log) = stage(driver, QUEUE);
    let mut client = blocked(&server);
    for n in 0..1000_u64 {
        client.send(&Frame::ping(&n.to_be_bytes()));
    }
    log.opened();
    for n in 0..1000_u64 {
        assert_eq!(log.next(), Event::Ping(n.to_be_bytes().to_vec()));
    }
    let (_, pongs) = expect_fill(&mut client);
    let pongs: Vec<_> = pongs.into_iter().map(|(_, pong)| pong).collect();
    assert_eq!(pongs, [Frame::pong(&999_u64.to_be_bytes())]);
}

fn a_pong_passes_the_data_that_waits(driver: DriverKind) {
    let (server, log) = stage(driver, QUEUE);
    let mut client = blocked(&server);
    client.send(&Frame::ping(b"first"));
    log.opened();
    assert_eq!(log.next(), Event::Ping(b"first".to_vec()));
    let (count, pongs) = expect_fill(&mut client);
    let [(before, pong)] = pongs.as_slice() else { panic!("{pongs:?}") };
    assert_eq!(*pong, Frame::pong(b"first"));
    // Before it is what the kernel held already.
    assert!(before * 2 < count, "the pong came after {before} of {count} messages");
}

fn a_close_waits_behind_the_data(driver: DriverKind) {
    let (server, log) = stage(driver, QUEUE);
    let mut client = blocked(&server);
    client.send(&Frame::text("close"));
    client.send(&Frame::ping(b"too late for a pong"));
    let (_, pongs) = expect_fill(&mut client);
    assert_eq!(pongs, []);
    client.expect(&Frame::close(4000, "enough"));
    client.send(&Frame::close(4000, ""));
    client.expect_end();
    assert_eq!(log.closed(), CloseCause::Local(CloseCode::new(4000)));
}

fn a_broadcast_waits_for_no_one(driver: DriverKind) {
    let (server, log) = stage(driver, SendQueue::default());
    let mut others: Vec<_> = (0..5).map(|_| server.open()).collect();
    let mut slow = Client::connect_narrow(server.address(), 4096).opened();
    let mut count = 0;
    while server.remote().total().slow_consumers == 0 {
        let message = noise(100_000, count);
        server.remote().broadcast(&message).unwrap();
        others.iter_mut().for_each(|client| client.expect(&Frame::binary(&message)));
        count += 1;
        assert!(count < 1000, "the kernel does not hold as much");
    }
    assert_eq!(log.closed(), CloseCause::SlowConsumer);
    others.iter_mut().for_each(chats);
    // Its share of the broadcasts was never its own copy, and is intact.
    let reading = thread::spawn(move || slow.frames_to_the_end());
    let frames = reading.join().unwrap();
    let (close, messages) = frames.split_last().unwrap();
    assert_eq!(close.close_parts(), Some((1013, "send queue full")));
    assert!(messages.iter().zip(0..).all(|(frame, n)| frame.payload == noise(100_000, n)));
}

fn pings_to_a_blocked_peer_are_bounded(driver: DriverKind) {
    let (told, outcomes) = mpsc::channel();
    let (handler, _log) = logged(move |conn, _| {
        let outcomes: Vec<_> = (0..20_000).map(|_| conn.ping(&[b'?'; 125])).collect();
        told.send((outcomes, conn.queued_len())).unwrap();
    });
    let queue = SendQueue { len_max: 10_000, ..SendQueue::default() };
    let server = serve_with(driver, handler, |builder| builder.send_queue(queue));
    let mut client = Client::connect_narrow(server.address(), 4096).opened();
    for _ in 0..5 {
        client.send(&Frame::text("go"));
        let (outcomes, queued_len) = outcomes.recv_timeout(PATIENCE).unwrap();
        // A turn's worth of corked output may come on top.
        assert!(queued_len <= 10_000 + (256 << 10), "{queued_len} bytes wait");
        assert_eq!(outcomes.last(), Some(&Sent::Dropped));
    }
}
