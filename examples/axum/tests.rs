//! A client that is not ours, through axum, to Throng.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use throng::Shutdown;
use tokio::net::TcpListener;
use tungstenite::Message;

use super::{Echo, Server, site};

/// Plays `visit` while the site is up.
fn with_site(visit: impl FnOnce(SocketAddr) + Send + 'static) {
    let throng = Server::builder().without_listeners().reactors(2).build().unwrap();
    let throng = throng.spawn(|_reactor| Echo).unwrap();
    let remote = throng.remote();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let visited = tokio::task::spawn_blocking(move || visit(address));
        tokio::spawn(axum::serve(listener, site(remote.clone())).into_future());
        visited.await.unwrap();
    });
    remote.shutdown(Shutdown { deadline: Duration::ZERO, ..Shutdown::default() }).unwrap();
    throng.join().unwrap();
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

#[test]
fn a_client_chats_with_throng() {
    with_site(|address| {
        for _ in 0..10 {
            let (mut client, answer) =
                tungstenite::client(format!("ws://{address}/ws"), connect(address)).unwrap();
            assert_eq!(answer.status(), 101);
            for text in ["hello", &"long ".repeat(100_000)] {
                client.send(Message::text(text)).unwrap();
                assert_eq!(client.read().unwrap(), Message::text(text));
            }
            client.close(None).unwrap();
            while client.read().is_ok() {}
        }
    });
}

#[test]
fn frames_behind_the_request_are_not_lost() {
    with_site(|address| {
        let mut socket = connect(address);
        let request = "GET /ws HTTP/1.1\r\nHost: site\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let frame = b"\x81\x82\0\0\0\0hi";
        socket.write_all(&[request.as_bytes(), frame].concat()).unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"\x81\x02hi") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            received.push(byte[0]);
        }
        assert!(received.starts_with(b"HTTP/1.1 101 "), "{}", received.escape_ascii());
    });
}

#[test]
fn what_is_no_handshake_is_refused_by_name() {
    with_site(|address| {
        let mut socket = connect(address);
        socket.write_all(b"GET /ws HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
        assert!(answer.contains("this address speaks WebSocket only"), "{answer}");
    });
}
