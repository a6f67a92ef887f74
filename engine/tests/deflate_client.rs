//! permessage-deflate at the client's end (RFC 7692): with servers of our own, and with such as
//! answer what they should not.
#![cfg(feature = "deflate")]

mod support;

use std::io::Write;

use support::{
    Calling, Echo, Seen, client_with, dedicated, noise, on_each_driver, peer, prose, read_frame,
    read_request, serve, serve_with, shared, switching, to,
};
use throng::{
    CloseCause, ConnId, Deflate, DeflateMode, DriverKind, WindowBits,
    client::ConnectError,
    protocol::{ProtocolError, extension::deflate::AnswerError, handshake::ReplyError},
};

on_each_driver!(
    every_mode_with_every_other,
    a_server_that_declines,
    a_server_that_knows_nothing_of_it,
    what_is_offered,
    what_was_not_offered,
    what_cannot_be_inflated,
    a_budget_is_kept_and_given_back,
);

fn calling(driver: DriverKind, deflate: &Deflate) -> Calling {
    client_with(driver, |builder| builder.deflate(deflate.clone()))
}

fn is_deflated(client: &Calling, id: ConnId) -> bool {
    client.ask(move |connections| connections.conn(id).expect("it is open").is_deflated())
}

/// Messages of all lengths go there and come back.
#[track_caller]
fn chat(client: &Calling, id: ConnId) {
    for len in [0, 1, 63, 64, 500, 65_535, 65_536, 300_000] {
        client.send(id, prose(len));
        let Seen::Text(text) = client.next() else { panic!("{len} bytes") };
        assert!(text == prose(len), "{len} bytes");
        client.send(id, noise(len, 1));
        let Seen::Binary(bytes) = client.next() else { panic!("{len} bytes") };
        assert!(bytes == noise(len, 1), "{len} bytes");
    }
}

fn every_mode_with_every_other(driver: DriverKind) {
    let modes = || [shared(), dedicated(9), dedicated(12), dedicated(15)];
    for theirs in modes() {
        let server = serve_with(driver, Echo, |builder| builder.deflate(theirs.clone()));
        for ours in modes() {
            let client = calling(driver, &ours);
            let id = client.open(&to(server.address()));
            assert!(is_deflated(&client, id), "{ours:?} with {theirs:?}");
            chat(&client, id);

            // Ten messages that are alike: more than half of their bytes stay at home.
            let before = client.remote.total();
            for n in 0..10 {
                client.send(id, format!("{n} {}", prose(1000)));
                assert!(matches!(client.next(), Seen::Text(_)));
            }
            let after = client.remote.total();
            assert!(after.bytes_out - before.bytes_out < 5000, "{ours:?} with {theirs:?}");
            assert!(after.bytes_in - before.bytes_in < 5000, "{ours:?} with {theirs:?}");
        }
    }
}

fn a_server_that_declines(driver: DriverKind) {
    let server = serve(driver, Echo);
    for ours in [shared(), dedicated(12)] {
        let client = calling(driver, &ours);
        let id = client.open(&to(server.address()));
        assert!(!is_deflated(&client, id));
        chat(&client, id);
    }
}

/// It answers, and says a compressed message all the same.
fn a_server_that_knows_nothing_of_it(driver: DriverKind) {
    let client = calling(driver, &shared());
    let (connect, server) = peer(|mut stream| {
        let (_, accept) = read_request(&mut stream);
        stream.write_all(switching(&accept, "").as_bytes()).unwrap();
        stream.write_all(b"\xC1\x01\x00").unwrap();
        read_frame(&mut stream)
    });
    client.open(&connect);
    let Seen::Closed(cause) = client.next() else { panic!("it is closed") };
    assert_eq!(cause, CloseCause::Failed(ProtocolError::ReservedBits));
    let (opcode, _, payload) = server.join().unwrap();
    assert_eq!((opcode, &payload[..2]), (8, &1002_u16.to_be_bytes()[..]));
}

fn what_is_offered(driver: DriverKind) {
    for (deflate, expected) in [
        (
            Some(shared()),
            Some(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 client_max_window_bits",
            ),
        ),
        (Some(dedicated(15)), Some("permessage-deflate; client_max_window_bits")),
        (
            Some(dedicated(10)),
            Some("permessage-deflate; server_max_window_bits=10; client_max_window_bits=10"),
        ),
        (None, None),
    ] {
        let client = client_with(driver, |builder| match deflate {
            Some(deflate) => builder.deflate(deflate),
            None => builder,
        });
        let (connect, server) = peer(|mut stream| read_request(&mut stream).0);
        client.connect(&connect);
        let head = server.join().unwrap();
        let offer = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        assert_eq!(offer, expected);
        client.failed();
    }
}

/// Connects to a server that answers this to the offer, and is told why that is no good.
#[track_caller]
fn refused(client: &Calling, answer: &'static str) -> ReplyError {
    let (connect, server) = peer(move |mut stream| {
        let (_, accept) = read_request(&mut stream);
        let answer = format!("Sec-WebSocket-Extensions: {answer}\r\n");
        let _ = stream.write_all(switching(&accept, &answer).as_bytes());
    });
    let error = client.fail(&connect);
    server.join().unwrap();
    match error {
        ConnectError::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

fn what_was_not_offered(driver: DriverKind) {
    use AnswerError::*;
    const BOTH: &str = "permessage-deflate; server_no_context_takeover, \
                        permessage-deflate; server_no_context_takeover";
    let unfit = ReplyError::InvalidDeflate;
    let client = calling(driver, &shared());
    for (answer, expected) in [
        ("permessage-deflate", unfit(NotGranted("server_no_context_takeover"))),
        (
            "permessage-deflate; server_no_context_takeover; client_max_window_bits",
            unfit(InvalidValue("client_max_window_bits")),
        ),
        (
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=7",
            unfit(InvalidValue("server_max_window_bits")),
        ),
        ("permessage-deflate; server_no_context_takeover; mystery", unfit(UnknownParam)),
        (
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            unfit(RepeatedParam("server_no_context_takeover")),
        ),
        ("x-webkit-deflate-frame", ReplyError::ExtensionNotOffered),
        (
            "permessage-deflate; server_no_context_takeover, x-other",
            ReplyError::ExtensionNotOffered,
        ),
        (BOTH, ReplyError::ExtensionNotOffered),
        ("permessage-deflate;;", ReplyError::InvalidExtensions),
    ] {
        assert_eq!(refused(&client, answer), expected, "{answer}");
    }

    let client = calling(driver, &dedicated(12));
    for (answer, expected) in [
        ("permessage-deflate", NotGranted("server_max_window_bits")),
        ("permessage-deflate; server_max_window_bits=13", NotOffered("server_max_window_bits")),
        (
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=13",
            NotOffered("client_max_window_bits"),
        ),
    ] {
        assert_eq!(refused(&client, answer), unfit(expected), "{answer}");
    }

    // To a client that offers nothing.
    let client = client_with(driver, |builder| builder);
    let error = refused(&client, "permessage-deflate; server_no_context_takeover");
    assert_eq!(error, ReplyError::ExtensionNotOffered);
}

fn what_cannot_be_inflated(driver: DriverKind) {
    let client = calling(driver, &dedicated(15));
    for (payload, error) in [
        (&[0xFF; 20][..], ProtocolError::InvalidDeflate),
        (&[0x4B, 0x04, 0x12, 0x00], ProtocolError::InvalidDeflate), // refers to nothing
        (b"\x00\x01\x00\xFE\xFF\xE9\x00", ProtocolError::InvalidUtf8),
    ] {
        let (connect, server) = peer(move |mut stream| {
            let (_, accept) = read_request(&mut stream);
            let answer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
            stream.write_all(switching(&accept, answer).as_bytes()).unwrap();
            stream.write_all(&[0xC1, payload.len() as u8]).unwrap();
            stream.write_all(payload).unwrap();
            read_frame(&mut stream)
        });
        client.open(&connect);
        let Seen::Closed(cause) = client.next() else { panic!("it is closed") };
        assert_eq!(cause, CloseCause::Failed(error));
        let (opcode, _, payload) = server.join().unwrap();
        assert_eq!((opcode, &payload[..2]), (8, &1007_u16.to_be_bytes()[..]));
    }
}

fn a_budget_is_kept_and_given_back(driver: DriverKind) {
    let mode = DeflateMode::Dedicated {
        server_window_bits: WindowBits::new(12).unwrap(),
        client_window_bits: WindowBits::new(12).unwrap(),
        budget_len: 3 * 4096,
    };
    let client = calling(driver, &Deflate { mode, ..Deflate::default() });
    // Opens a connection to a server that answers `answer`, and says what it was offered.
    let offered = |answer: &'static str| {
        let (connect, server) = peer(move |mut stream| {
            let (head, accept) = read_request(&mut stream);
            stream.write_all(switching(&accept, answer).as_bytes()).unwrap();
            (head, stream)
        });
        let id = client.open(&connect);
        let (head, stream) = server.join().unwrap();
        let offer = head
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: permessage-deflate; "));
        (offer.expect("an offer").to_owned(), id, stream)
    };
    const DECLINED: &str = "";
    const AGREED: &str =
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12\r\n";
    const WINDOWS: &str = "server_max_window_bits=12; client_max_window_bits=12";

    let first = offered(DECLINED);
    let second = offered(AGREED);
    assert_eq!([&first.0, &second.0], [WINDOWS; 2], "what is declined is given back");
    let third = offered(AGREED);
    assert_eq!(third.0, format!("client_no_context_takeover; {WINDOWS}"));
    let fourth =
        offered("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n");
    assert_eq!(
        fourth.0,
        "server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12"
    );

    client.order(move |connections| connections.abort(second.1));
    assert!(matches!(client.next(), Seen::Closed(CloseCause::Aborted)));
    refused(&client, "permessage-deflate; unheard_of");
    assert_eq!(offered(AGREED).0, WINDOWS);
}
