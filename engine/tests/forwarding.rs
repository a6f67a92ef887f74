//! Long messages that are sent on as they came: nothing is copied, and nothing shows.

mod support;

use support::{Client, Frame, noise, on_each_driver, serve};
use throng::{CloseCode, Conn, ConnId, DriverKind, Handler, Message, Sent};

on_each_driver!(
    between_other_messages_and_twice,
    only_a_part_of_it,
    to_another_and_to_everyone,
    behind_a_backlog,
    then_closed,
    to_one_who_is_gone_when_it_is_done,
);

const LEN: usize = 300_000;

/// Sends messages on, in the way that the last order said.
#[derive(Clone, Default)]
struct Forwarder {
    order: String,
    ids: Vec<ConnId>,
}

impl Handler for Forwarder {
    type Data = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        self.ids.push(conn.id());
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let Message::Binary(bytes) = message else {
            return self.order = String::from_utf8(message.as_bytes().to_vec()).unwrap();
        };
        match self.order.as_str() {
            "sandwich" => {
                conn.send("before");
                conn.send(message);
                conn.send("between");
                conn.send(message);
                conn.send("after");
            }
            "part" => {
                conn.send(&bytes[1..]);
            }
            "others" => {
                for &id in &self.ids {
                    if let Some(mut other) = conn.connections().conn(id) {
                        other.send(message);
                    }
                }
                conn.connections().broadcast(message);
            }
            "close" => {
                conn.send(message);
                conn.close(CloseCode::new(4000), "that was it");
                assert_eq!(conn.send(message), Sent::Closed);
            }
            "abort" => {
                conn.connections().conn(self.ids[0]).unwrap().send(message);
                conn.connections().abort(self.ids[0]);
                conn.send("aborted");
            }
            "panic" => {
                conn.send(message);
                panic!("as told");
            }
            order => unreachable!("{order}"),
        }
    }
}

fn order(client: &mut Client, order: &str, payload: &[u8]) {
    client.send(&Frame::text(order));
    client.send(&Frame::binary(payload));
}

fn between_other_messages_and_twice(driver: DriverKind) {
    let server = serve(driver, Forwarder::default());
    let mut client = server.open();
    for round in 0..3 {
        let payload = noise(LEN, round);
        order(&mut client, "sandwich", &payload);
        client.expect(&Frame::text("before"));
        client.expect(&Frame::binary(&payload));
        client.expect(&Frame::text("between"));
        client.expect(&Frame::binary(&payload));
        client.expect(&Frame::text("after"));
    }
}

fn only_a_part_of_it(driver: DriverKind) {
    let server = serve(driver, Forwarder::default());
    let mut client = server.open();
    let payload = noise(LEN, 1);
    order(&mut client, "part", &payload);
    client.expect(&Frame::binary(&payload[1..]));
}

fn to_another_and_to_everyone(driver: DriverKind) {
    let server = serve(driver, Forwarder::default());
    let mut clients: Vec<_> = (0..3).map(|_| server.open()).collect();
    let payload = noise(LEN, 2);
    order(&mut clients[2], "others", &payload);
    for client in &mut clients {
        client.expect(&Frame::binary(&payload));
        client.expect(&Frame::binary(&payload));
    }
}

fn behind_a_backlog(driver: DriverKind) {
    let server = serve(driver, Forwarder::default());
    let mut client = server.open();
    let payloads: Vec<_> = (0..3).map(|seed| noise(LEN, seed)).collect();
    client.send(&Frame::text("sandwich"));
    client
        .send_bytes(&Frame::stream(&payloads.iter().map(|p| Frame::binary(p)).collect::<Vec<_>>()));
    client.send(&Frame::ping(b"are you there"));
    let mut frames: Vec<_> = (0..16).map(|_| client.frame()).collect();
    let ping = frames.iter().position(|frame| *frame == Frame::pong(b"are you there")).unwrap();
    frames.remove(ping); // it may pass the data
    for (frames, payload) in frames.chunks(5).zip(&payloads) {
        assert_eq!(frames[1], Frame::binary(payload));
        assert_eq!(frames[3], Frame::binary(payload));
        assert_eq!(frames[4], Frame::text("after"));
    }
}

fn then_closed(driver: DriverKind) {
    let server = serve(driver, Forwarder::default());
    let payload = noise(LEN, 3);
    let mut client = server.open();
    order(&mut client, "close", &payload);
    client.expect(&Frame::binary(&payload));
    client.expect_close(4000);
    let mut client = server.open();
    order(&mut client, "panic", &payload);
    client.expect(&Frame::binary(&payload));
    client.expect_close(1011);
}

fn to_one_who_is_gone_when_it_is_done(driver: DriverKind) {
    let server = serve(driver, Forwarder::default());
    let (mut victim, mut client) = (server.open(), server.open());
    order(&mut client, "abort", &noise(LEN, 4));
    client.expect(&Frame::text("aborted"));
    victim.expect_gone();
}
