//! Messages made ready for many: whoever gets one understands it, whatever it agreed to.
#![cfg(feature = "deflate")]

mod support;

use std::sync::mpsc;

use support::{
    Client, Deflating, Event, Frame, Log, Serving, client_with, dedicated, logged, noise,
    on_each_driver, prose, serve_with, shared, to,
};
use throng::{Conn, Deflate, DriverKind, Message, Overflow, Prepared, SendQueue};

on_each_driver!(
    to_everyone,
    to_everyone_on_several_reactors,
    to_servers,
    what_does_not_get_shorter,
    between_other_messages,
    to_who_does_not_read,
);

/// Sends what it is told to everyone, in each of the ways there are.
fn tell_everyone(conn: &mut Conn<'_, ()>, message: Message<'_>) {
    let prepared = Prepared::from(message);
    conn.connections().broadcast(message);
    conn.connections().broadcast(&prepared);
    conn.remote().broadcast(&prepared).unwrap();
    for id in conn.connections().ids() {
        conn.connections().conn(id).expect("it is open").send_prepared(&prepared);
        conn.remote().send(id, &prepared).unwrap();
    }
}

/// How often each gets it, on one reactor.
const TIMES: usize = 5;

/// Those who agreed to compression, to different terms: by themselves, in small windows, and with all
/// that was said before.
struct Crowd {
    plain: Vec<Client>,
    deflated: Vec<Deflating>,
}

impl Crowd {
    fn open(server: &Serving, log: &Log) -> Self {
        let small_windows_and_nothing_taken_over = {
            // A budget of nothing: it asks the server for what a small window needs, and no more.
            let mut settings = dedicated(9);
            if let throng::DeflateMode::Dedicated { budget_len, .. } = &mut settings.mode {
                *budget_len = 0;
            }
            settings
        };
        let plain = [(); 2].map(|()| server.open()).into();
        let deflated = [
            shared(),
            shared(),
            small_windows_and_nothing_taken_over,
            dedicated(9),
            dedicated(12),
            dedicated(15),
        ];
        let deflated = deflated.iter().map(|settings| Deflating::open(server, settings));
        let crowd = Self { plain, deflated: deflated.collect() };
        (0..8).for_each(|_| _ = log.opened());
        crowd
    }

    #[track_caller]
    fn expect(&mut self, message: &Frame, times: usize) {
        for client in &mut self.plain {
            (0..times).for_each(|_| client.expect(message));
        }
        for peer in &mut self.deflated {
            for _ in 0..times {
                peer.expect(message);
            }
        }
    }
}

/// Servers of either kind.
fn servers() -> [Deflate; 3] {
    [shared(), dedicated(9), dedicated(15)]
}

fn messages() -> Vec<Frame> {
    let mut messages = Vec::new();
    for len in [0, 1, 63, 64, 500, 4096, 5000, 70_000, 300_000] {
        messages.push(Frame::text(&prose(len)));
        messages.push(Frame::binary(&noise(len, 5)));
    }
    messages
}

fn to_everyone(driver: DriverKind) {
    for deflate in servers() {
        let (handler, log) = logged(tell_everyone);
        let send_queue = SendQueue { len_max: 4 << 20, ..SendQueue::default() };
        let server = serve_with(driver, handler, |builder| {
            builder.deflate(deflate.clone()).send_queue(send_queue)
        });
        let mut crowd = Crowd::open(&server, &log);
        for message in &messages() {
            crowd.deflated[5].send(message);
            crowd.expect(message, TIMES);
        }
    }
}

fn to_everyone_on_several_reactors(driver: DriverKind) {
    fn tell(conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.remote().broadcast(message).unwrap();
    }
    for deflate in servers() {
        let (handler, log) = logged(tell);
        let server =
            serve_with(driver, handler, |builder| builder.deflate(deflate.clone()).reactors(3));
        let mut crowd = Crowd::open(&server, &log);
        for message in &messages() {
            crowd.plain[0].send(message);
            crowd.expect(message, 1);
        }
    }
}

/// The connections of one client, to servers that agree to different things.
fn to_servers(driver: DriverKind) {
    let (sender, heard) = mpsc::channel();
    let hear = move |_: &mut Conn<'_, ()>, message: Message<'_>| {
        let is_text = matches!(message, Message::Text(_));
        sender.send((is_text, message.as_bytes().to_vec())).unwrap();
    };
    let handler = logged(hear).0;
    let plain = serve_with(driver, handler.clone(), |builder| builder);
    let rest = servers()
        .map(|deflate| serve_with(driver, handler.clone(), |builder| builder.deflate(deflate)));
    for ours in servers() {
        let client = client_with(driver, |builder| builder.deflate(ours));
        client.open(&to(plain.address()));
        rest.iter().for_each(|server| _ = client.open(&to(server.address())));
        for message in messages() {
            let is_text = message.opcode == 1;
            let payload = message.payload.clone();
            client.order(move |connections| {
                let prepared = match is_text {
                    true => Prepared::from(str::from_utf8(&payload).unwrap()),
                    false => Prepared::from(&payload),
                };
                assert_eq!(connections.broadcast(&prepared), 4);
                for id in connections.ids() {
                    connections.conn(id).expect("it is open").send_prepared(&prepared);
                }
            });
            for _ in 0..8 {
                let (is_text, payload) = heard.recv_timeout(support::PATIENCE).unwrap();
                assert!(is_text == (message.opcode == 1) && payload == message.payload);
            }
        }
    }
}

/// It is tried once, and then shared as it is.
fn what_does_not_get_shorter(driver: DriverKind) {
    let (handler, log) = logged(tell_everyone);
    let server = serve_with(driver, handler, |builder| builder.deflate(shared()));
    let mut crowd = Crowd::open(&server, &log);
    let message = Frame::binary(&noise(10_000, 9));
    crowd.plain[0].send(&message);
    for peer in &mut crowd.deflated {
        (0..TIMES).for_each(|_| assert!(!peer.expect(&message)));
    }
}

fn between_other_messages(driver: DriverKind) {
    fn tell(conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let prepared = Prepared::from(message);
        for n in 0..3 {
            conn.send(&format!("{n} {}", prose(200)));
            conn.send_prepared(&prepared);
            conn.send_uncompressed(message);
            conn.ping(b"between");
            conn.connections().broadcast(&prepared);
        }
    }
    for deflate in servers() {
        let (handler, log) = logged(tell);
        let server = serve_with(driver, handler, |builder| builder.deflate(deflate.clone()));
        for ours in [shared(), dedicated(9), dedicated(15)] {
            let mut peer = Deflating::open(&server, &ours);
            log.opened();
            for len in [500, 10_000] {
                let message = Frame::text(&prose(len));
                peer.send(&message);
                for n in 0..3 {
                    assert!(peer.expect(&Frame::text(&format!("{n} {}", prose(200)))));
                    assert!(peer.expect(&message));
                    assert!(!peer.expect(&message), "as it is");
                    assert_eq!(peer.message().0, Frame::ping(b"between"));
                    assert!(peer.expect(&message));
                }
            }
            drop(peer);
            while !matches!(log.next(), Event::Closed(..)) {}
        }
    }
}

/// What its queue does not take is dropped, and what it takes arrives in order.
fn to_who_does_not_read(driver: DriverKind) {
    fn flood(conn: &mut Conn<'_, ()>, _message: Message<'_>) {
        for n in 0..300_u64 {
            let unlike = noise(20_000, n);
            let bytes = [&n.to_be_bytes()[..], &unlike, &unlike[..10_000]].concat();
            conn.connections().broadcast(&bytes);
        }
    }
    for (theirs, ours) in servers().into_iter().zip(servers()) {
        let send_queue = SendQueue { overflow: Overflow::DropNewest, ..SendQueue::default() };
        let server = serve_with(driver, logged(flood).0, |builder| {
            builder.deflate(theirs).send_queue(send_queue)
        });
        let mut peer = Deflating::open(&server, &ours);
        peer.send(&Frame::text("now"));
        let counts = server
            .until("the flood", |counts| counts.messages_out + counts.messages_dropped == 300);
        assert_ne!(counts.messages_dropped, 0);
        let mut last = None;
        for _ in 0..counts.messages_out {
            let (message, _) = peer.message();
            let n = u64::from_be_bytes(message.payload[..8].try_into().unwrap());
            assert!(last < Some(n), "{n} after {last:?}");
            assert!(message.payload[8..20_008] == noise(20_000, n));
            last = Some(n);
        }
    }
}
