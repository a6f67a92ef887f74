//! Messages in parts: handed on as they arrive, and sent bit by bit.

mod support;

use std::io::{self, Cursor, Read, Write};

use support::{Client, Frame, noise, on_each_driver, prose, serve, serve_with};
use throng::{Conn, DriverKind, Handler, Limits, Message, Overflow, Part, SendQueue, Sent};

on_each_driver!(
    a_message_longer_than_any_limit,
    parts_of_every_cut,
    text_that_is_none,
    control_frames_between_the_parts,
    whole_again,
    a_pause_between_the_parts,
    a_stream_is_passed_on,
    messages_wait_behind_the_parts,
    what_continues_nothing,
    a_writer_fragments,
    fragments_of_a_given_length,
    gathered_from_several_places,
    a_hole_closes,
    as_the_peer_takes_it,
);

/// Passes on what arrives in parts, and obeys orders that are text.
#[derive(Clone, Default)]
struct Relay {
    /// Parts since the message began.
    count: usize,
}

impl Handler for Relay {
    type Data = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.receive_in_parts(true);
    }

    fn on_part(&mut self, conn: &mut Conn<'_, ()>, part: Part<'_>) {
        self.count = if part.is_first { 1 } else { self.count + 1 };
        if part.is_first && part.is_last && part.is_text {
            return self.obey(conn, str::from_utf8(part.bytes).unwrap());
        }
        assert_ne!(conn.send_part(part), Sent::Dropped);
        if part.is_last {
            conn.send("that was it");
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
        conn.receive_in_parts(true);
    }

    fn on_timer(&mut self, conn: &mut Conn<'_, ()>) {
        conn.resume_reading();
    }
}

impl Relay {
    fn obey(&mut self, conn: &mut Conn<'_, ()>, order: &str) {
        match order {
            "whole" => conn.receive_in_parts(false),
            "begin" => {
                let part = Part { is_text: true, bytes: b"begun ", is_first: true, is_last: false };
                assert_eq!(conn.send_part(part), Sent::Queued);
                assert_eq!(conn.send_part(part), Sent::Dropped, "one at a time");
                assert!(conn.is_sending_parts());
                conn.send("a message that waits");
                conn.connections().broadcast("another");
                conn.send(&[7; 3000]);
                conn.ping(b"passes");
            }
            "end" => {
                let part =
                    Part { is_text: true, bytes: b"and done", is_first: false, is_last: true };
                assert_eq!(conn.send_part(part), Sent::Queued);
                assert_eq!(conn.send_part(part), Sent::Dropped, "it continues nothing");
            }
            "write" => {
                let mut writer = conn.message_writer(true);
                for n in 0..10_000 {
                    writeln!(writer, "line {n}").unwrap();
                }
                drop(writer);
                let mut writer = conn.message_writer(true);
                writer.write_all(b"the end").unwrap();
                assert_eq!(writer.finish(), Sent::Queued);
                conn.message_writer(false).finish();
            }
            "fragments" => {
                conn.send_fragmented("short", 10);
                conn.send_fragmented("longer than ten", 10);
            }
            "gather" => {
                conn.send_gathered(true, &[b"one, ", b"", b"two, ", b"three"]);
                conn.send_gathered(false, &[&[1; 50_000], &[2; 50_000]]);
            }
            "pause" => {
                conn.pause_reading();
                conn.set_timer(std::time::Duration::from_millis(300));
            }
            order => unreachable!("{order}"),
        }
    }
}

/// One message, of whatever frames it comes in.
fn gathered(client: &mut Client) -> (u8, Vec<u8>, usize) {
    let first = client.frame();
    let (opcode, mut payload, mut fin, mut count) = (first.opcode, first.payload, first.fin, 1);
    while !fin {
        let frame = client.frame();
        assert_eq!(frame.opcode, 0);
        payload.extend(frame.payload);
        (fin, count) = (frame.fin, count + 1);
    }
    (opcode, payload, count)
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;

fn a_message_longer_than_any_limit(driver: DriverKind) {
    let limits = Limits { message_len_max: 1000, ..Limits::default() };
    let queue = SendQueue { len_max: 64 << 20, ..SendQueue::default() };
    let server =
        serve_with(driver, Relay::default(), |builder| builder.limits(limits).send_queue(queue));
    let mut client = server.open();
    let message = noise(5_000_000, 1);
    let mut sender = client.another_hold();
    let masked = Frame::binary(&message).masked();
    let sending = std::thread::spawn(move || sender.send_bytes(&masked));
    let (opcode, payload, count) = gathered(&mut client);
    assert!(opcode == BINARY && payload == message && count > 1, "{count} parts");
    client.expect(&Frame::text("that was it"));
    sending.join().unwrap();
}

fn parts_of_every_cut(driver: DriverKind) {
    let server = serve(driver, Relay::default());
    let mut client = server.open();
    let message = prose(300);
    let frames = Frame::fragments(TEXT, message.as_bytes(), 100);
    let bytes = Frame::stream(&frames);
    for cut in (1..bytes.len()).step_by(7) {
        client.send_bytes(&bytes[..cut]);
        std::thread::yield_now();
        client.send_bytes(&bytes[cut..]);
        let (opcode, payload, _) = gathered(&mut client);
        assert_eq!((opcode, payload), (TEXT, message.clone().into_bytes()));
        client.expect(&Frame::text("that was it"));
    }
}

fn text_that_is_none(driver: DriverKind) {
    let server = serve(driver, Relay::default());
    for (first, second) in [(&b"fine"[..], &b"\xff"[..]), (b"\xe2\x82", b"")] {
        let mut client = server.open();
        client.send(&Frame::fragment(TEXT, first));
        let rest = Frame { fin: true, ..Frame::fragment(0, second) };
        client.send(&rest);
        let frames = client.frames_to_the_end();
        assert_eq!(frames.last().unwrap().close_parts().unwrap().0, 1007, "{first:?}");
    }
}

fn control_frames_between_the_parts(driver: DriverKind) {
    let server = serve(driver, Relay::default());
    let mut client = server.open();
    client.send(&Frame::fragment(BINARY, b"first"));
    client.send(&Frame::ping(b"between"));
    client.send(&Frame { fin: true, ..Frame::fragment(0, b"last") });
    client.expect(&Frame::fragment(BINARY, b"first"));
    client.expect(&Frame::pong(b"between"));
    client.expect(&Frame { fin: true, ..Frame::fragment(0, b"last") });
    client.expect(&Frame::text("that was it"));
}

fn whole_again(driver: DriverKind) {
    let server = serve(driver, Relay::default());
    let mut client = server.open();
    client.send(&Frame::text("whole"));
    for frame in Frame::fragments(BINARY, &[5; 100], 30) {
        client.send(&frame);
    }
    client.expect(&Frame::binary(&[5; 100]));
    client.send(&Frame::binary(b"in parts"));
    client.expect(&Frame::binary(b"in parts"));
    client.expect(&Frame::text("that was it"));
}

fn a_pause_between_the_parts(driver: DriverKind) {
    let server = serve(driver, Relay::default());
    let mut client = server.open();
    client.send_bytes(
        &[Frame::text("pause").masked(), Frame::binary(&noise(200_000, 3)).masked()].concat(),
    );
    let (_, payload, _) = gathered(&mut client);
    assert_eq!(payload, noise(200_000, 3));
}

fn a_stream_is_passed_on(driver: DriverKind) {
    let server = serve(driver, Relay::default());
    let mut clients: Vec<_> = (0..20).map(|_| server.open()).collect();
    for step in 0..10 {
        for client in &mut clients {
            let frame = Frame::fragment(if step == 0 { BINARY } else { 0 }, &[step; 1000]);
            client.send(&Frame { fin: step == 9, ..frame });
        }
    }
    for client in &mut clients {
        let (_, payload, _) = gathered(client);
        assert_eq!(payload.len(), 10_000);
    }
}

fn messages_wait_behind_the_parts(driver: DriverKind) {
    let server = serve(driver, Relay::default());
    let mut client = server.open();
    client.send(&Frame::text("begin"));
    client.expect(&Frame::fragment(TEXT, b"begun "));
    client.expect(&Frame::ping(b"passes"));
    client.send(&Frame::ping(b"nothing else yet"));
    client.expect(&Frame::pong(b"nothing else yet"));
    client.send(&Frame::text("end"));
    client.expect(&Frame { fin: true, ..Frame::fragment(0, b"and done") });
    client.expect(&Frame::text("a message that waits"));
    client.expect(&Frame::text("another"));
    client.expect(&Frame::binary(&[7; 3000]));
}

fn what_continues_nothing(driver: DriverKind) {
    let server = serve(driver, Relay::default());
    let mut client = server.open();
    client.send(&Frame { fin: true, ..Frame::fragment(0, b"of what?") });
    client.expect_close(1002);
}

fn a_writer_fragments(driver: DriverKind) {
    let server = serve(driver, Relay::default());
    let mut client = server.open();
    client.send(&Frame::text("write"));
    let expected: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
    let (opcode, payload, count) = gathered(&mut client);
    assert_eq!((opcode, payload), (TEXT, (expected.clone() + "the end").into_bytes()));
    assert_eq!(count, expected.len().div_ceil(16 * 1024) + 1);
    client.expect(&Frame::binary(b""));
}

fn fragments_of_a_given_length(driver: DriverKind) {
    let server = serve(driver, Relay::default());
    let mut client = server.open();
    client.send(&Frame::text("fragments"));
    client.expect(&Frame::text("short"));
    client.expect(&Frame::fragment(TEXT, b"longer tha"));
    client.expect(&Frame { fin: true, ..Frame::fragment(0, b"n ten") });
}

fn gathered_from_several_places(driver: DriverKind) {
    let server = serve(driver, Relay::default());
    let mut client = server.open();
    client.send(&Frame::text("gather"));
    client.expect(&Frame::text("one, two, three"));
    client.expect(&Frame::binary(&[[1; 50_000], [2; 50_000]].concat()));
}

fn a_hole_closes(driver: DriverKind) {
    let queue =
        SendQueue { len_max: 1 << 20, overflow: Overflow::DropNewest, ..SendQueue::default() };
    let server = serve_with(driver, Flood, |builder| builder.send_queue(queue));
    let mut client = Client::connect_narrow(server.address(), 4096).opened();
    client.send(&Frame::text("go"));
    let frames = client.frames_to_the_end();
    assert_eq!(frames.last().unwrap().close_parts().unwrap().0, 1013);
}

/// Sends a message without end.
#[derive(Clone)]
struct Flood;

impl Handler for Flood {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, _message: Message<'_>) {
        let mut is_first = true;
        let bytes = &[0; 100_000];
        while conn.is_open() {
            conn.send_part(Part { is_text: false, bytes, is_first, is_last: false });
            is_first = false;
        }
    }
}

fn as_the_peer_takes_it(driver: DriverKind) {
    let server = serve(driver, Download);
    for mut client in [server.open(), Client::connect_narrow(server.address(), 4096).opened()] {
        client.send(&Frame::text("go"));
        let (_, payload, _) = gathered(&mut client);
        assert!(payload == noise(DOWNLOAD_LEN, 1));
    }
}

const DOWNLOAD_LEN: usize = 5_000_000;

/// Sends something long, 512 KiB at a time.
#[derive(Clone)]
struct Download;

impl Handler for Download {
    type Data = Option<Cursor<Vec<u8>>>;

    fn on_message(&mut self, conn: &mut Conn<'_, Self::Data>, _message: Message<'_>) {
        *conn.data_mut() = Some(Cursor::new(noise(DOWNLOAD_LEN, 1)));
        self.on_drain(conn);
    }

    fn on_drain(&mut self, conn: &mut Conn<'_, Self::Data>) {
        let Some(mut file) = conn.data_mut().take() else { return };
        let mut writer = conn.message_writer(false);
        if io::copy(&mut (&mut file).take(512 << 10), &mut writer).unwrap() < 512 << 10 {
            writer.finish();
        } else {
            drop(writer);
            *conn.data_mut() = Some(file);
        }
    }
}
