//! The blocking client: messages, its two halves, and the end of a connection.

mod support;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use support::{
    Echo, PATIENCE, logged, noise, on_each_driver, prose, read_frame, read_request, serve,
    serve_with, switching,
};
use throng::{
    CloseCause, CloseCode, Conn, DriverKind, Limits, Message,
    client::blocking::{self, Connector, Error, OwnedMessage, WebSocket, Writer},
    protocol::ProtocolError,
};

on_each_driver!(
    messages_of_every_length_come_back,
    a_message_is_sent_on_while_it_is_lent,
    two_threads_two_directions,
    many_threads_write,
    close_codes_go_both_ways,
    a_timeout_costs_nothing,
);

// ---- Against our own server ----

fn messages_of_every_length_come_back(driver: DriverKind) {
    let server = serve_with(driver, Echo, |builder| builder.limits(roomy()));
    let mut socket = open(server.address(), |connector| connector.limits(roomy()));
    for len in [0, 1, 7, 125, 126, 127, 65_535, 65_536, 65_537, 200_000, 1 << 20] {
        let (text, bytes) = (prose(len), noise(len, len as u64));
        socket.send(&text).unwrap();
        assert_eq!(socket.read(), Ok(Some(Message::Text(&text))), "{len}");
        socket.send(&bytes).unwrap();
        assert_eq!(socket.read_owned(), Ok(Some(OwnedMessage::Binary(bytes))), "{len}");
    }
    socket.close(CloseCode::NORMAL, "").unwrap();
}

fn a_message_is_sent_on_while_it_is_lent(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut socket = open(server.address(), |connector| connector);
    let writer = socket.writer();
    socket.send("round and round").unwrap();
    for _ in 0..100 {
        let message = socket.read().unwrap().unwrap();
        assert_eq!(message, Message::Text("round and round"));
        writer.send(message).unwrap();
    }
    let kept = OwnedMessage::from(socket.read().unwrap().unwrap());
    socket.send(&kept).unwrap();
    assert_eq!(socket.read_owned(), Ok(Some(kept)));
}

fn two_threads_two_directions(driver: DriverKind) {
    let server = serve(driver, Echo);
    let (mut reader, writer) = open(server.address(), |connector| connector).split();
    let writing = thread::spawn(move || {
        (0..20_000).for_each(|n| writer.send(&format!("message {n}")).unwrap());
        writer.close(CloseCode::NORMAL, "all is said");
    });
    for n in 0..20_000 {
        assert_eq!(reader.read(), Ok(Some(Message::Text(&format!("message {n}")))));
    }
    assert_eq!(reader.read(), Ok(None));
    assert_eq!(reader.close_cause(), Some(CloseCause::Local(CloseCode::NORMAL)));
    writing.join().unwrap();
}

fn many_threads_write(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut socket = open(server.address(), |connector| connector);
    let writers: Vec<_> = (0..4_u8)
        .map(|id| {
            let writer = socket.writer();
            thread::spawn(move || {
                (0..50).for_each(|n| writer.send(&vec![id; 500 * n]).unwrap());
            })
        })
        .collect();
    let mut seen = [0; 4];
    for _ in 0..200 {
        let Some(Message::Binary(bytes)) = socket.read().unwrap() else { panic!("not binary") };
        assert!(bytes.iter().all(|&byte| byte == bytes[0]), "frames do not mix");
        if let Some(&id) = bytes.first() {
            seen[usize::from(id)] += 1;
        }
    }
    assert_eq!(seen, [49; 4]);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

fn close_codes_go_both_ways(driver: DriverKind) {
    let (handler, log) = logged(|conn: &mut Conn<'_, ()>, message: Message<'_>| {
        if message == Message::Text("please go") {
            conn.close(CloseCode::new(4001), "as you like");
        }
    });
    let server = serve(driver, handler);
    let mut socket = open(server.address(), |connector| connector);
    log.opened();
    socket.close(CloseCode::new(4000), "enough").unwrap();
    assert_eq!(log.closed(), CloseCause::Peer(Some(CloseCode::new(4000))));
    assert_eq!(socket.close_cause(), Some(CloseCause::Local(CloseCode::new(4000))));
    assert_eq!(socket.read(), Ok(None), "and so it stays");
    let over = Error::Ended(CloseCause::Local(CloseCode::new(4000)));
    assert_eq!(socket.send("too late"), Err(over));

    let mut socket = open(server.address(), |connector| connector);
    log.opened();
    socket.send("please go").unwrap();
    assert_eq!(socket.read(), Ok(None));
    let cause = CloseCause::Peer(Some(CloseCode::new(4001)));
    assert_eq!((socket.close_cause(), socket.close_reason()), (Some(cause), "as you like"));
    assert_eq!(log.closed(), CloseCause::Local(CloseCode::new(4001)));
    assert_eq!(socket.ping(b"late"), Err(Error::Ended(cause)));
    socket.close(CloseCode::NORMAL, "later still").unwrap();
}

fn a_timeout_costs_nothing(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut socket = open(server.address(), |connector| connector);
    socket.set_read_timeout(Some(Duration::from_millis(5)));
    assert_eq!(socket.read(), Err(Error::TimedOut));
    assert_eq!(socket.read(), Err(Error::TimedOut));
    socket.set_read_timeout(Some(PATIENCE));
    socket.send("still here").unwrap();
    assert_eq!(socket.read(), Ok(Some(Message::Text("still here"))));
}

// ---- Against somebody else's ----

#[test]
fn tungstenite_at_the_other_end() {
    let (url, theirs) = server(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        loop {
            match socket.read() {
                Ok(message @ (tungstenite::Message::Text(_) | tungstenite::Message::Binary(_))) => {
                    socket.send(tungstenite::Message::Ping(vec![1, 2, 3].into())).unwrap();
                    socket.send(message).unwrap();
                }
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => break,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let mut socket = blocking::connect(&url).unwrap();
    for len in [0, 5, 1000, 70_000] {
        socket.send(&prose(len)).unwrap();
        assert_eq!(socket.read(), Ok(Some(Message::Text(&prose(len)))));
    }
    socket.close(CloseCode::NORMAL, "bye").unwrap();
    theirs.join().unwrap();
}

#[test]
fn what_comes_with_the_answer_is_a_message() {
    let (url, theirs) = server(|mut stream| {
        accept_with(&mut stream, "", b"\x81\x05early\x89\x02hi");
        assert_eq!(read_frame(&mut stream).2, b"hi", "a pong");
        stream.write_all(b"\x88\x00").unwrap();
        assert_eq!(read_frame(&mut stream).0, 8);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "and no more");
    });
    let mut socket = blocking::connect(&url).unwrap();
    assert_eq!(socket.read(), Ok(Some(Message::Text("early"))));
    assert_eq!(socket.read(), Ok(None));
    assert_eq!(socket.close_cause(), Some(CloseCause::Peer(None)));
    theirs.join().unwrap();
}

#[test]
fn half_a_message_survives_a_timeout() {
    let (go_on, wait) = mpsc::channel();
    let (url, theirs) = server(move |mut stream| {
        accept_with(&mut stream, "", b"\x01\x03abc\x80");
        wait.recv().unwrap();
        stream.write_all(b"\x03def").unwrap();
        let _ = stream.read(&mut [0; 16]).unwrap();
    });
    let mut socket = blocking::connect(&url).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20)));
    assert_eq!(socket.read(), Err(Error::TimedOut));
    go_on.send(()).unwrap();
    socket.set_read_timeout(None);
    assert_eq!(socket.read(), Ok(Some(Message::Text("abcdef"))));
    drop(socket);
    theirs.join().unwrap();
}

#[test]
fn frames_are_masked_with_fresh_keys() {
    let (url, theirs) = server(|mut stream| {
        accept_with(&mut stream, "", b"");
        let keys: std::collections::HashSet<_> =
            (0..50).map(|_| read_frame(&mut stream).1).collect();
        assert!(keys.len() > 45, "{keys:?}");
    });
    let mut socket = blocking::connect(&url).unwrap();
    (0..50).for_each(|_| socket.send("same").unwrap());
    theirs.join().unwrap();
}

#[test]
fn a_broken_rule_is_told_and_ends_it() {
    let long = [&b"\x82\x7F\0\0\0\0\0\x20\0\0"[..], b"x"].concat();
    for (bytes, error) in [
        (&b"\x81\x81\0\0\0\0x"[..], ProtocolError::MaskedFrame),
        (b"\xC1\x01x", ProtocolError::ReservedBits),
        (b"\x83\x00", ProtocolError::ReservedOpcode(3)),
        (b"\x80\x00", ProtocolError::UnexpectedContinuation),
        (b"\x01\x00\x81\x00", ProtocolError::ExpectedContinuation),
        (b"\x09\x00", ProtocolError::FragmentedControl),
        (b"\x81\x01\xFF", ProtocolError::InvalidUtf8),
        (b"\x88\x01x", ProtocolError::ClosePayloadTooShort),
        (&long, ProtocolError::MessageTooBig),
    ] {
        let bytes = bytes.to_vec();
        let (url, theirs) = server(move |mut stream| {
            accept_with(&mut stream, "", &bytes);
            let (opcode, _, payload) = read_frame(&mut stream);
            assert_eq!(opcode, 8);
            u16::from_be_bytes(payload[..2].try_into().unwrap())
        });
        let mut socket = blocking::connect(&url).unwrap();
        let ended = Error::Ended(CloseCause::Failed(error));
        assert_eq!(socket.read(), Err(ended));
        assert_eq!(socket.read(), Err(ended), "and so it stays");
        assert_eq!(socket.send("too late"), Err(ended));
        assert_eq!(theirs.join().unwrap(), error.close_code().value());
    }
}

#[test]
fn a_lost_connection_is_no_closed_one() {
    let (url, theirs) = server(|mut stream| accept_with(&mut stream, "", b"\x81\x05hel"));
    let mut socket = blocking::connect(&url).unwrap();
    theirs.join().unwrap();
    let lost = Error::Ended(CloseCause::Lost(std::io::ErrorKind::UnexpectedEof));
    assert_eq!(socket.read(), Err(lost));
    assert_eq!(socket.send("hello?"), Err(lost));
    assert_eq!(socket.close(CloseCode::NORMAL, ""), Err(lost));
}

#[test]
fn closing_ends_even_if_the_peer_chatters_on() {
    let (url, theirs) = server(|mut stream| {
        accept_with(&mut stream, "", b"");
        while stream.write_all(b"\x81\x05hello").is_ok() {}
    });
    let mut socket =
        Connector::to(&url).close_timeout(Duration::from_millis(50)).connect().unwrap();
    let cause = CloseCause::TimedOut(throng::Deadline::Close);
    assert_eq!(socket.close(CloseCode::NORMAL, ""), Err(Error::Ended(cause)));
    drop(socket);
    theirs.join().unwrap();
}

#[test]
fn a_peer_that_does_not_read_is_given_up() {
    let (done, wait) = mpsc::channel();
    let (url, theirs) = server(move |mut stream| {
        accept_with(&mut stream, "", b"");
        wait.recv().unwrap();
    });
    let mut socket =
        Connector::to(&url).write_timeout(Some(Duration::from_millis(50))).connect().unwrap();
    let error = (0..1000).find_map(|_| socket.send(&vec![0; 1 << 20]).err());
    let timed_out = Error::Ended(CloseCause::Lost(std::io::ErrorKind::TimedOut));
    assert_eq!(error, Some(timed_out));
    assert_eq!(socket.read(), Err(timed_out));
    done.send(()).unwrap();
    theirs.join().unwrap();
}

/// A peer that does not read before it has said all it has to say, as an echo server that waits: the
/// pongs that we owe it wait as well, and reading does not.
#[test]
fn pongs_wait_for_the_frame_and_reading_does_not_wait_for_them() {
    const LEN: usize = 16 << 20;
    const PINGS: u8 = 200;
    let (url, theirs) = server(|mut stream| {
        accept_with(&mut stream, "", b"");
        // The client is writing …
        let mut header = [0; 14];
        stream.read_exact(&mut header).unwrap();
        assert_eq!(header[..2], [0x82, 0xFF]);
        // … and hears all this, before anybody reads on.
        for n in 0..PINGS {
            stream.write_all(&[0x89, 1, n]).unwrap();
            stream.write_all(&[&[0x82, 0x7E, 0xFF, 0xFF], &[7; 0xFFFF][..]].concat()).unwrap();
        }
        let mut payload = vec![0; LEN];
        stream.read_exact(&mut payload).unwrap();
        let key = &header[10..];
        assert!(payload.iter().zip(key.iter().cycle()).all(|(byte, key)| byte ^ key == 9));
        while read_frame(&mut stream).2 != [PINGS - 1] {}
    });
    let connector = Connector::to(&url);
    let (mut reader, writer) = connector.connect().unwrap().split();
    let writing = thread::spawn(move || writer.send(&vec![9; LEN]));
    let mut count = 0_u8;
    while let Ok(Some(message)) = reader.read() {
        assert_eq!(message.len(), 0xFFFF);
        count += 1;
    }
    assert_eq!(count, PINGS);
    assert_eq!(writing.join().unwrap(), Ok(()));
    theirs.join().unwrap();
}

#[test]
fn halves_go_to_threads() {
    fn is_send<T: Send>() {}
    fn is_shared<T: Send + Sync + Clone>() {}
    is_send::<WebSocket>();
    is_shared::<Writer>();
    is_shared::<Connector>();
}

// ---- Compression ----

#[cfg(feature = "deflate")]
mod deflate {
    use throng::{
        client::blocking::ConnectError,
        protocol::{
            extension::deflate::{
                AnswerError, Compressor, Deflate, DeflateMode, Terms, WindowBits,
            },
            handshake::ReplyError,
        },
    };

    use super::*;

    on_each_driver!(our_own_server_compresses_as_well);

    fn our_own_server_compresses_as_well(driver: DriverKind) {
        let dedicated = || Deflate { mode: DeflateMode::dedicated(), ..Deflate::default() };
        for theirs in [Deflate::default(), dedicated()] {
            let server = serve_with(driver, Echo, |builder| builder.deflate(theirs));
            for ours in [Deflate::default(), dedicated()] {
                let mut socket = open(server.address(), |connector| connector.deflate(ours));
                assert!(socket.header("Sec-WebSocket-Extensions").is_some());
                for len in [0, 1, 63, 64, 1_000, 1_000, 5_000, 70_000] {
                    let (text, bytes) = (prose(len), noise(len, 1));
                    socket.send(&text).unwrap();
                    assert_eq!(socket.read(), Ok(Some(Message::Text(&text))), "{len}");
                    socket.send(&bytes).unwrap();
                    assert_eq!(socket.read(), Ok(Some(Message::Binary(&bytes))), "{len}");
                }
                socket.close(CloseCode::NORMAL, "").unwrap();
            }
        }
    }

    /// `permessage-deflate` as another server does it: takes over, with windows of 15 bits.
    #[test]
    fn compressed_both_ways() {
        for settings in
            [Deflate::default(), Deflate { mode: DeflateMode::dedicated(), ..Deflate::default() }]
        {
            let (url, theirs) = server(|mut stream| {
                let (head, accept) = read_request(&mut stream);
                let offer =
                    head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
                assert!(offer.unwrap().starts_with("permessage-deflate"), "{head}");
                let answer = "permessage-deflate; server_no_context_takeover; \
                              server_max_window_bits=12";
                let answer = format!("Sec-WebSocket-Extensions: {answer}\r\n");
                stream.write_all(switching(&accept, &answer).as_bytes()).unwrap();
                // RFC 7692 §7.2.3.1, "Hello", and once more as it stands.
                stream.write_all(b"\xC1\x07\xF2\x48\xCD\xC9\xC9\x07\x00\x81\x05Hello").unwrap();
                stream.write_all(b"\x41\x03\xF2\x48\xCD\x80\x04\xC9\xC9\x07\x00").unwrap();
                let mut header = [0; 6];
                stream.read_exact(&mut header).unwrap();
                assert_eq!(header[0], 0xC1, "compressed");
                let compressed_len = usize::from(header[1] & 0x7F);
                stream.read_exact(&mut vec![0; compressed_len]).unwrap();
                stream.write_all(b"\x88\x00").unwrap();
                compressed_len
            });
            let mut socket = Connector::to(&url).deflate(settings).connect().unwrap();
            for _ in 0..3 {
                assert_eq!(socket.read(), Ok(Some(Message::Text("Hello"))));
            }
            socket.send(&"abc".repeat(1000)).unwrap();
            assert!(theirs.join().unwrap() < 100);
            assert_eq!(socket.read(), Ok(None));
        }
    }

    #[test]
    fn what_was_not_offered_is_refused() {
        const AGREED: &str = "permessage-deflate; server_no_context_takeover";
        let not_granted = AnswerError::NotGranted("server_no_context_takeover");
        for (answer, expected) in [
            ("permessage-deflate; x", ReplyError::InvalidDeflate(AnswerError::UnknownParam)),
            ("permessage-deflate", ReplyError::InvalidDeflate(not_granted)),
            (&format!("{AGREED}, {AGREED}"), ReplyError::ExtensionNotOffered),
            ("x-other", ReplyError::ExtensionNotOffered),
            ("a b", ReplyError::InvalidExtensions),
        ] {
            let line = format!("Sec-WebSocket-Extensions: {answer}\r\n");
            let (url, theirs) = server(move |mut stream| accept_with(&mut stream, &line, b""));
            let error = Connector::to(&url).deflate(Deflate::default()).connect().unwrap_err();
            let ConnectError::Failed(error) = error else { panic!("{answer}: {error:?}") };
            assert_eq!(error, expected, "{answer}");
            theirs.join().unwrap();
        }
    }

    #[test]
    fn a_bomb_is_not_inflated() {
        let settings = Deflate::default();
        let terms = Terms { window_bits: WindowBits::MAX, takeover: false };
        let mut compressor = Compressor::new(&settings);
        let bomb = compressor.compress(&vec![0; 8 << 20], terms, None).unwrap().to_vec();
        let (url, theirs) = server(move |mut stream| {
            let answer = "Sec-WebSocket-Extensions: permessage-deflate; \
                          server_no_context_takeover\r\n";
            let mut frame = vec![0xC2, 0x7E];
            frame.extend_from_slice(&(bomb.len() as u16).to_be_bytes());
            frame.extend_from_slice(&bomb);
            accept_with(&mut stream, answer, &frame);
            read_frame(&mut stream)
        });
        let mut socket = Connector::to(&url).deflate(settings).connect().unwrap();
        let too_big = CloseCause::Failed(ProtocolError::MessageTooBig);
        assert_eq!(socket.read(), Err(Error::Ended(too_big)));
        assert_eq!(theirs.join().unwrap().2, 1009_u16.to_be_bytes());
    }
}

// ---- Props ----

fn roomy() -> Limits {
    Limits { message_len_max: 16 << 20, ..Limits::default() }
}

fn open(address: std::net::SocketAddr, describe: impl FnOnce(Connector) -> Connector) -> WebSocket {
    let mut socket = describe(Connector::to(&format!("ws://{address}/"))).connect().unwrap();
    socket.set_read_timeout(Some(PATIENCE));
    socket
}

/// A server that does with its one connection what it likes.
fn server<T: Send + 'static>(
    behave: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/here", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        behave(stream)
    });
    (url, thread)
}

/// Accepts a WebSocket, with more headers, and says more right away.
fn accept_with(stream: &mut TcpStream, more: &str, early: &[u8]) {
    let (_, accept) = read_request(stream);
    let answer = switching(&accept, more);
    stream.write_all(&[answer.as_bytes(), early].concat()).unwrap();
}
