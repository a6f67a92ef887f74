//! Clients that are not ours look at prices.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use self::visit::{connect, open, while_up};
use super::{Ticker, server, tick};

#[path = "../visit.rs"]
mod visit;

/// Plays `visit` while the prices change.
fn while_ticking(visit: impl FnOnce(SocketAddr)) {
    while_up(
        server("127.0.0.1:0").unwrap(),
        |_| Ticker,
        |address, remote| {
            let remote = remote.clone();
            thread::spawn(move || tick(&remote, Duration::from_millis(5)));
            visit(address);
        },
    );
}

#[test]
fn everyone_sees_the_same() {
    while_ticking(|address| {
        let (mut early, mut late) = (open(address), open(address));
        let seen = late.read().unwrap();
        let quotes: serde_json::Value = serde_json::from_str(seen.to_text().unwrap()).unwrap();
        assert_eq!(quotes.as_array().map(Vec::len), Some(5), "{quotes}");
        assert_eq!(quotes[0]["symbol"], "ADA");
        while early.read().unwrap() != seen {}
        for _ in 0..20 {
            assert_eq!(early.read().unwrap(), late.read().unwrap());
        }
    });
}

#[test]
fn who_can_inflate_is_sent_less() {
    while_ticking(|address| {
        let (first, plain_len) = frame(&mut request(address, ""));
        assert_eq!(first, 0x81);
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let (first, deflated_len) = frame(&mut request(address, offer));
        assert_eq!(first, 0xC1, "RSV1 says that it is compressed");
        assert!(deflated_len < plain_len, "{deflated_len} bytes of {plain_len}");
    });
}

/// A connection whose handshake is over.
fn request(address: SocketAddr, offer: &str) -> TcpStream {
    let mut socket = connect(address);
    let head = format!(
        "GET / HTTP/1.1\r\nHost: ticker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", answer.escape_ascii());
    socket
}

/// The first byte of a frame that is not long, and the length of its payload.
fn frame(socket: &mut TcpStream) -> (u8, u16) {
    let mut header = [0; 4];
    socket.read_exact(&mut header).unwrap();
    let len = match header[1] {
        126 => u16::from_be_bytes([header[2], header[3]]),
        len => len.into(),
    };
    (header[0], len)
}
