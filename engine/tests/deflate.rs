//! permessage-deflate over a real socket, at the server's end (RFC 7692): what is agreed on, what
//! comes back, and what ends a connection.
#![cfg(feature = "deflate")]

mod support;

use std::sync::mpsc;

use support::{
    Client, Deflating, Echo, Event, Frame, Log, PATIENCE, Serving, dedicated, echo, logged, noise,
    on_each_driver, prose, request, serve, serve_with, shared,
};
use throng::{
    Acceptance, CloseCause, Conn, ConnId, Connections, Deflate, DeflateMode, DriverKind, Handler,
    Limits, Message, Overflow, Request, SendQueue, Sent, Ticket, Upgrade, WindowBits,
    protocol::{ProtocolError, extension::deflate::Compressor},
};

on_each_driver!(
    what_is_agreed_on,
    nobody_asked_the_server,
    every_length_comes_back,
    messages_refer_to_those_before,
    fragments_with_control_frames_between,
    one_byte_at_a_time,
    many_at_once,
    what_was_not_agreed_on,
    bits_where_they_must_not_be,
    what_is_no_deflate,
    what_is_no_text,
    a_message_of_exactly_the_limit_and_one_more,
    a_bomb,
    sent_as_it_is,
    short_and_incompressible_messages_stay_as_they_are,
    declined_for_one_connection,
    decided_later,
    a_budget_is_kept_and_given_back,
    a_panic_costs_its_own_connection_only,
    pausing,
    what_is_dropped_is_in_nobodys_history,
);

/// Both modes, and three windows.
fn modes() -> [Deflate; 4] {
    [shared(), dedicated(9), dedicated(12), dedicated(15)]
}

fn serve_deflate<H>(driver: DriverKind, handler: H, deflate: &Deflate) -> Serving
where
    H: Handler + Clone + Send + Sync,
{
    serve_with(driver, handler, |builder| builder.deflate(deflate.clone()))
}

/// An echo of messages up to a mebibyte, and the log of its other callbacks.
fn serve_logged(driver: DriverKind, deflate: &Deflate) -> (Serving, Log) {
    let (handler, log) = logged(echo);
    let limits = Limits { message_len_max: 1 << 20, ..Limits::default() };
    let server =
        serve_with(driver, handler, |builder| builder.deflate(deflate.clone()).limits(limits));
    (server, log)
}

/// What the server answers to an offer.
fn answer(client: &mut Client, offer: &str) -> Option<String> {
    client.send_bytes(request(&format!("Sec-WebSocket-Extensions: {offer}\r\n")).as_bytes());
    client.expect_opened().header("Sec-WebSocket-Extensions").map(str::to_owned)
}

/// A message by itself, compressed as zlib or libdeflate would in a window of 32 KiB.
fn compressed(message: &[u8]) -> Vec<u8> {
    let everything = Deflate { threshold_len: 0, ..Deflate::default() };
    let terms = {
        let budget = throng::protocol::extension::deflate::Budget::new(0);
        let offers = throng::protocol::extension::Offers::new("permessage-deflate");
        let (_, agreed) =
            everything.negotiate(offers.map_while(Result::ok), &budget).expect("it is offered");
        agreed.agreement.server
    };
    Compressor::new(&everything).compress(message, terms, None).expect("it gets shorter").to_vec()
}

fn what_is_agreed_on(driver: DriverKind) {
    const ALONE: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (deflate, offer, expected) in [
        (shared(), "permessage-deflate; client_max_window_bits", Some(ALONE.to_owned())),
        (
            shared(),
            "x-other, permessage-deflate; server_max_window_bits=7, \
             permessage-deflate; server_max_window_bits=10",
            Some(format!("{ALONE}; server_max_window_bits=10")),
        ),
        (shared(), "permessage-deflate; client_max_window_bits=16", None),
        (shared(), "permessage-deflate; unheard_of", None),
        (shared(), "x-webkit-deflate-frame", None),
        (
            dedicated(12),
            "permessage-deflate; client_max_window_bits",
            Some("permessage-deflate; client_max_window_bits=12".to_owned()),
        ),
        (
            dedicated(12),
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
            Some("permessage-deflate; server_max_window_bits=9; client_max_window_bits=10".into()),
        ),
        (
            dedicated(12),
            "permessage-deflate",
            Some("permessage-deflate; client_no_context_takeover".into()),
        ),
        (
            dedicated(15),
            "permessage-deflate; server_no_context_takeover",
            Some("permessage-deflate; server_no_context_takeover".into()),
        ),
    ] {
        let server = serve_deflate(driver, Echo, &deflate);
        let mut client = server.connect();
        assert_eq!(answer(&mut client, offer), expected, "{offer}");
        client.send(&Frame::text("and it is open"));
        client.expect(&Frame::text("and it is open"));
    }
}

fn nobody_asked_the_server(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut client = server.connect();
    assert_eq!(answer(&mut client, "permessage-deflate; client_max_window_bits"), None);
    client.send(&Frame::text(&prose(1000)));
    client.expect(&Frame::text(&prose(1000)));
}

fn every_length_comes_back(driver: DriverKind) {
    for deflate in modes() {
        let server = serve_deflate(driver, Echo, &deflate);
        let mut peer = Deflating::open(&server, &deflate);
        for len in [0, 1, 63, 64, 65, 125, 126, 127, 4095, 65_535, 65_536, 200_000, 1 << 20] {
            let text = Frame::text(&prose(len));
            peer.send(&text);
            assert_eq!(peer.expect(&text), len >= 64, "{len} bytes");
            let binary = Frame::binary(&noise(len, 7));
            peer.send(&binary);
            peer.expect(&binary);
        }
    }
}

fn messages_refer_to_those_before(driver: DriverKind) {
    for (deflate, most_len) in
        [(shared(), 180), (dedicated(9), 30), (dedicated(12), 30), (dedicated(15), 30)]
    {
        let server = serve_deflate(driver, Echo, &deflate);
        let mut peer = Deflating::open(&server, &deflate);
        // They are much alike, and hardly repeat anything themselves: enough not to be sent as they are,
        // which would leave them out of what later ones refer to.
        let tick =
            |n: u32| Frame::binary(&[&n.to_be_bytes()[..], &[0; 50], &noise(150, 3)].concat());
        for n in 0..50 {
            peer.send(&tick(n));
            peer.expect(&tick(n));
        }
        peer.send(&tick(50));
        let frame = peer.client.frame();
        assert!(frame.payload.len() < most_len, "{} bytes, {deflate:?}", frame.payload.len());
        assert!(frame.compressed);
    }
}

fn fragments_with_control_frames_between(driver: DriverKind) {
    for deflate in modes() {
        let (server, log) = serve_logged(driver, &deflate);
        let mut peer = Deflating::open(&server, &deflate);
        log.opened();
        for (len, cut) in [(1000, 1), (100_000, 50), (500_000, 3000)] {
            let message = Frame::text(&prose(len));
            let compressed = peer.compress(&message);
            let mut fragments = Frame::fragments(1, &compressed.payload, cut);
            fragments[0].compressed = true;
            for (n, fragment) in fragments.iter().enumerate() {
                if n % 7 == 1 {
                    peer.client.send(&Frame::ping(b"between"));
                    peer.client.expect(&Frame::pong(b"between"));
                    assert_eq!(log.next(), Event::Ping(b"between".to_vec()));
                }
                peer.client.send(fragment);
            }
            peer.expect(&message);
        }
        // The last fragment, and perhaps all, may be empty.
        peer.client.send(&Frame::fragment(2, b"").compressed());
        peer.client.send(&Frame::whole(0, b""));
        peer.expect(&Frame::binary(b""));
    }
}

fn one_byte_at_a_time(driver: DriverKind) {
    let server = serve_deflate(driver, Echo, &dedicated(10));
    let mut peer = Deflating::open(&server, &dedicated(10));
    for n in 0..3 {
        let message = Frame::text(&format!("{n} {}", prose(120)));
        for byte in peer.compress(&message).masked() {
            peer.client.send_bytes(&[byte]);
        }
        peer.expect(&message);
    }
}

fn many_at_once(driver: DriverKind) {
    for deflate in modes() {
        let server = serve_deflate(driver, Echo, &deflate);
        let mut peer = Deflating::open(&server, &deflate);
        // Compressed or not, and more of them than one turn's share.
        let messages: Vec<_> =
            (0..500).map(|n| Frame::text(&format!("{n} {}", prose(n % 130)))).collect();
        let frames: Vec<_> = messages.iter().map(|message| peer.compress(message)).collect();
        assert!(frames.iter().any(|frame| !frame.compressed));
        peer.client.send_bytes(&Frame::stream(&frames));
        for message in &messages {
            peer.expect(message);
        }
    }
}

/// The server fails the connection with this code, and says in its log why.
#[track_caller]
fn expect_failed(mut client: Client, log: &Log, error: ProtocolError) {
    client.expect_close(error.close_code().value());
    client.finish();
    client.expect_gone();
    assert_eq!(log.closed(), CloseCause::Failed(error));
}

fn what_was_not_agreed_on(driver: DriverKind) {
    let (server, log) = serve_logged(driver, &shared());
    let mut client = server.open();
    client.send(&Frame::text("a message").compressed());
    expect_failed(client, &log, ProtocolError::ReservedBits);
}

fn bits_where_they_must_not_be(driver: DriverKind) {
    let (server, log) = serve_logged(driver, &shared());
    let open = || Deflating::open(&server, &shared()).client;

    let mut client = open();
    client.send(&Frame::fragment(1, &compressed(&[b'x'; 100])).compressed());
    client.send(&Frame::whole(0, b"").compressed());
    expect_failed(client, &log, ProtocolError::ReservedBits);

    for control in [Frame::ping(b"?"), Frame::pong(b"!"), Frame::close(1000, "")] {
        let mut client = open();
        client.send(&control.compressed());
        expect_failed(client, &log, ProtocolError::ReservedBits);
    }
    for bits in [0x20, 0x10, 0x60, 0x50] {
        let mut client = open();
        client.send_bytes(&Frame::announce(0x81 | bits, 0));
        expect_failed(client, &log, ProtocolError::ReservedBits);
    }
}

fn what_is_no_deflate(driver: DriverKind) {
    for deflate in modes() {
        let (server, log) = serve_logged(driver, &deflate);
        let whole = compressed(prose(1000).as_bytes());
        for payload in [
            &[0xFF; 100][..],          // a block of the type that does not exist
            &whole[..whole.len() / 2], // cut off
            &[0x4B, 0x04, 0x12, 0x00], // refers to what came before, of which there is nothing
            &[0x00, 0x05, 0x00, 0, 0], // a stored block whose lengths contradict each other
        ] {
            let mut client = Deflating::open(&server, &deflate).client;
            client.send(&Frame::binary(payload).compressed());
            expect_failed(client, &log, ProtocolError::InvalidDeflate);
        }
    }
}

fn what_is_no_text(driver: DriverKind) {
    let (server, log) = serve_logged(driver, &shared());
    for text in [&b"caf\xE9"[..], b"\xED\xA0\x80", b"cut off: \xF0\x9F\xA6"] {
        let text = [text, &[b' '; 100]].concat();
        let mut client = Deflating::open(&server, &shared()).client;
        client.send(&Frame::binary(&compressed(&text)).compressed());
        assert!(client.frame().compressed, "binary may be anything");
        client.send(&Frame::whole(1, &compressed(&text)).compressed());
        expect_failed(client, &log, ProtocolError::InvalidUtf8);
    }
}

fn a_message_of_exactly_the_limit_and_one_more(driver: DriverKind) {
    for deflate in modes() {
        let (server, log) = serve_logged(driver, &deflate);
        for bytes in [prose(1 << 20).into_bytes(), noise(1 << 20, 1)] {
            let message = Frame::binary(&bytes);
            let mut peer = Deflating::open(&server, &deflate);
            peer.send(&message);
            peer.expect(&message);
            peer.send(&Frame::binary(&[&bytes[..], b"!"].concat()));
            expect_failed(peer.client, &log, ProtocolError::MessageTooBig);
        }
    }
}

/// Four gibibytes in four mebibytes: who inflated all of it would be found out by the time it takes.
fn a_bomb(driver: DriverKind) {
    let handler = logged(echo);
    let server = serve_deflate(driver, handler.0, &shared());
    let log = handler.1;
    let mut bystander = Deflating::open(&server, &shared());
    let mut client = Deflating::open(&server, &shared()).client;
    // A mebibyte of one byte, in a block that is not final and ends a byte.
    let mut mebibyte = zlib_rs::Deflate::new(9, false, 15);
    let mut block = vec![0; 4096];
    mebibyte.compress(&[0; 1 << 20], &mut block, zlib_rs::DeflateFlush::SyncFlush).unwrap();
    block.truncate(mebibyte.total_out() as usize);
    client.send(&Frame::binary(&block.repeat(4096)).compressed());
    expect_failed(client, &log, ProtocolError::MessageTooBig);
    bystander.send(&Frame::text(&prose(100)));
    bystander.expect(&Frame::text(&prose(100)));
}

fn sent_as_it_is(driver: DriverKind) {
    fn alternate(conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
        assert_eq!(conn.send_uncompressed(message), Sent::Queued);
        conn.send(message);
    }
    for deflate in modes() {
        let server = serve_deflate(driver, logged(alternate).0, &deflate);
        let mut peer = Deflating::open(&server, &deflate);
        for n in 0..3 {
            let message = Frame::text(&format!("{n} {}", prose(500)));
            peer.send(&message);
            let compressed = [(); 3].map(|()| peer.expect(&message));
            assert_eq!(compressed, [true, false, true]);
        }
        let mut plain = server.open();
        plain.send(&Frame::text("plain"));
        (0..3).for_each(|_| plain.expect(&Frame::text("plain")));
    }
}

fn short_and_incompressible_messages_stay_as_they_are(driver: DriverKind) {
    let deflate = Deflate { threshold_len: 200, ..shared() };
    let server = serve_deflate(driver, Echo, &deflate);
    let mut peer = Deflating::open(&server, &deflate);
    for (message, is_compressed) in [
        (vec![b'x'; 199], false),
        (vec![b'x'; 200], true),
        (noise(1000, 1), false),
        (noise(100_000, 1), false),
    ] {
        let message = Frame::binary(&message);
        peer.send(&message);
        assert_eq!(peer.expect(&message), is_compressed);
    }
}

/// Compresses for nobody who asks for `/plain`, and says what came of it.
#[derive(Clone)]
struct Choosy;

impl Handler for Choosy {
    type Data = ();

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        match request.path() {
            "/plain" => Upgrade::accept_as(Acceptance::new().uncompressed()),
            _ => Upgrade::accept(),
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.send(if conn.is_deflated() { "deflated" } else { "plain" });
    }
}

fn declined_for_one_connection(driver: DriverKind) {
    let server = serve_deflate(driver, Choosy, &shared());
    let (_, request) = Deflating::request(&shared());
    let mut client = server.connect();
    client.send_bytes(request.replace("/chat", "/plain").as_bytes());
    assert_eq!(client.expect_opened().header("Sec-WebSocket-Extensions"), None);
    client.expect(&Frame::text("plain"));
    client.send(&Frame::text("a message").compressed());
    client.expect_close(1002);

    Deflating::open(&server, &shared()).expect(&Frame::text("deflated"));
    server.open().expect(&Frame::text("plain"));
}

/// Hands every upgrade to another thread.
#[derive(Clone)]
struct Deferring(mpsc::Sender<Ticket<()>>);

impl Handler for Deferring {
    type Data = ();

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        let (upgrade, ticket) = Upgrade::defer(request);
        self.0.send(ticket).unwrap();
        upgrade
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
    }
}

fn decided_later(driver: DriverKind) {
    for deflate in modes() {
        let (sender, tickets) = mpsc::channel();
        let server = serve_deflate(driver, Deferring(sender), &deflate);
        let (offer, request) = Deflating::request(&deflate);
        let mut client = server.connect();
        // The first message does not wait for the answer; what is agreed on it cannot know.
        let early = Frame::text(&prose(300));
        client.send_bytes(&[request.as_bytes(), &early.masked()].concat());
        tickets.recv_timeout(PATIENCE).unwrap().accept(Acceptance::new()).unwrap();
        let mut peer = Deflating::opened(client, offer);
        assert!(peer.expect(&early));
        peer.send(&early);
        assert!(peer.expect(&early));

        let mut client = server.connect();
        client.send_bytes(request.as_bytes());
        let ticket = tickets.recv_timeout(PATIENCE).unwrap();
        ticket.accept(Acceptance::new().uncompressed()).unwrap();
        assert_eq!(client.expect_opened().header("Sec-WebSocket-Extensions"), None);
    }
}

fn a_budget_is_kept_and_given_back(driver: DriverKind) {
    let mode = DeflateMode::Dedicated {
        server_window_bits: WindowBits::new(12).unwrap(),
        client_window_bits: WindowBits::new(12).unwrap(),
        budget_len: 3 * 4096,
    };
    let deflate = Deflate { mode, ..Deflate::default() };
    let (server, log) = serve_logged(driver, &deflate);
    // Each of them asks for all it can get, and gets what there is.
    let open = || {
        let mut peer = Deflating::open(&server, &dedicated(12));
        log.opened();
        for n in 0..3 {
            let message = Frame::text(&format!("{n} {}", prose(5000)));
            peer.send(&message);
            assert!(peer.expect(&message));
        }
        peer
    };
    let takeover = |peer: &Deflating| {
        let agreement = peer.agreed.agreement;
        (agreement.server.takeover, agreement.client.takeover)
    };
    let [first, second, third] = [(); 3].map(|()| open());
    let all = [&first, &second, &third].map(takeover);
    assert_eq!(all, [(true, true), (true, false), (false, false)]);

    // However a connection ends, and if it never opened.
    let leave = |peer: Deflating, way: fn(&mut Client)| {
        let mut client = peer.client;
        way(&mut client);
        drop(client);
        log.closed();
    };
    leave(first, |client| client.send(&Frame::close(1000, "")));
    let fourth = open();
    leave(second, |client| client.send(&Frame::text("unheard of").compressed()));
    let fifth = open();
    assert_eq!([&fourth, &fifth].map(takeover), [(true, true), (true, false)]);
    leave(fourth, |_| {});
    leave(fifth, |_| {});
    assert_eq!(takeover(&open()), (true, true));
}

fn a_panic_costs_its_own_connection_only(driver: DriverKind) {
    let fragile = |conn: &mut Conn<'_, ()>, message: Message<'_>| {
        conn.send(message);
        assert!(!message.as_bytes().starts_with(b"panic"), "as it was told");
    };
    for deflate in modes() {
        let (handler, log) = logged(fragile);
        let server = serve_deflate(driver, handler, &deflate);
        let mut bystander = Deflating::open(&server, &deflate);
        let mut victim = Deflating::open(&server, &deflate);
        let panic = Frame::text(&format!("panic! {}", prose(500)));
        victim.send(&panic);
        victim.expect(&panic);
        victim.client.expect_close(1011);
        assert_eq!(log.closed(), CloseCause::Panicked);
        for n in 0..3 {
            let message = Frame::text(&format!("{n} {}", prose(500)));
            bystander.send(&message);
            bystander.expect(&message);
        }
    }
}

/// Pauses when told to, until a command comes.
#[derive(Clone)]
struct Pausing(mpsc::Sender<ConnId>);

impl Handler for Pausing {
    type Data = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        self.0.send(conn.id()).unwrap();
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        assert!(!conn.is_reading_paused(), "nothing is handed on");
        if message.as_bytes().starts_with(b"pause") {
            conn.pause_reading();
        }
        conn.send(message);
    }

    fn on_command(
        &mut self,
        connections: &mut Connections<'_, ()>,
        command: Box<dyn std::any::Any + Send>,
    ) {
        let mut conn = connections.conn(*command.downcast().unwrap()).expect("it is open");
        conn.send("resumed");
        conn.resume_reading();
    }
}

fn pausing(driver: DriverKind) {
    for deflate in modes() {
        let (sender, opened) = mpsc::channel();
        let server = serve_deflate(driver, Pausing(sender), &deflate);
        let mut peer = Deflating::open(&server, &deflate);
        let id = opened.recv_timeout(PATIENCE).unwrap();
        let messages = ["one", "pause", "two", "pause again", "three"]
            .map(|word| Frame::text(&format!("{word} {}", prose(300))));
        let frames = messages.each_ref().map(|message| peer.compress(message));
        peer.client.send_bytes(&Frame::stream(&frames));
        for part in messages.split_inclusive(|message| message.payload.starts_with(b"pause")) {
            part.iter().for_each(|message| _ = peer.expect(message));
            if part.len() > 1 {
                server.remote().command(id.reactor(), id).unwrap();
                peer.expect(&Frame::text("resumed"));
            }
        }
    }
}

fn what_is_dropped_is_in_nobodys_history(driver: DriverKind) {
    /// Answers with as many messages as the send queue takes, and some that it does not.
    fn flood(conn: &mut Conn<'_, ()>, _message: Message<'_>) {
        let mut queued = 0_u32;
        let mut dropped = 0;
        while dropped < 3 {
            let unlike = noise(20_000, u64::from(queued));
            let message = [&queued.to_be_bytes()[..], &unlike, &unlike[..10_000]].concat();
            match conn.send(&message) {
                Sent::Queued | Sent::AboveHighWater => queued += 1,
                Sent::Dropped => dropped += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    for deflate in modes() {
        let send_queue = SendQueue { overflow: Overflow::DropNewest, ..SendQueue::default() };
        let server = serve_with(driver, logged(flood).0, |builder| {
            builder.deflate(deflate.clone()).send_queue(send_queue)
        });
        let mut peer = Deflating::open(&server, &deflate);
        peer.send(&Frame::text("now"));
        let counts = server.until("drops", |counts| counts.messages_dropped == 3);
        for n in 0..u32::try_from(counts.messages_out).unwrap() {
            let unlike = noise(20_000, u64::from(n));
            let message = [&n.to_be_bytes()[..], &unlike, &unlike[..10_000]].concat();
            peer.expect(&Frame::binary(&message));
        }
    }
}
