//! A client that is not ours uses programs.

use std::{
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use throng::Server;
use tungstenite::{Message, WebSocket, protocol::Role};

use self::visit::{PATIENCE, ask, closed, open, while_up};
use super::Runner;

#[path = "../visit.rs"]
mod visit;

/// Plays `visit` while the program is on offer.
fn while_up_with(words: &[&str], visit: impl FnOnce(SocketAddr)) {
    let words: Vec<_> = words.iter().map(ToString::to_string).collect();
    let server = Server::builder().listen("127.0.0.1:0").reactors(1).build().unwrap();
    while_up(server, move |_| Runner { words: words.clone() }, |address, _| visit(address));
}

#[test]
fn each_connection_has_a_program() {
    while_up_with(&["cat"], |address| {
        let (mut ada, mut bob) = (open(address), open(address));
        for n in 0..20 {
            let line = format!("line {n}\n");
            assert_eq!(ask(&mut ada, &line), Message::binary(line.clone().into_bytes()));
        }
        assert_eq!(ask(&mut bob, "Grüße\n"), Message::binary("Grüße\n"));
    });
}

#[test]
fn the_connection_ends_with_the_program() {
    while_up_with(&["sh", "-c", "echo hello; echo world"], |address| {
        let mut client = open(address);
        let mut output = Vec::new();
        let close = loop {
            match client.read().unwrap() {
                Message::Binary(bytes) => output.extend(bytes),
                other => break closed(other),
            }
        };
        assert_eq!(output, b"hello\nworld\n");
        assert_eq!((u16::from(close.code), close.reason.as_str()), (1000, "the program has ended"));
    });
}

#[test]
fn the_program_ends_with_the_connection() {
    while_up_with(&["sh", "-c", "echo $$; exec sleep 1000"], |address| {
        let mut client = open(address);
        let Message::Binary(process) = client.read().unwrap() else { panic!("its number") };
        let process = Path::new("/proc").join(str::from_utf8(&process).unwrap().trim());
        assert!(process.exists());
        drop(client);
        let deadline = Instant::now() + PATIENCE;
        while process.exists() {
            assert!(Instant::now() < deadline, "it still runs");
            thread::sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn a_program_that_is_not_there_is_named() {
    while_up_with(&["/no/such/program"], |address| {
        let close = closed(open(address).read().unwrap());
        assert_eq!(u16::from(close.code), 1011);
        assert!(close.reason.starts_with("No such file"), "{}", close.reason);
    });
}

/// Sixteen times what a send queue may hold goes to the program and comes back, to somebody who does not
/// look for a while.
#[test]
fn nothing_is_lost_and_nothing_piles_up() {
    const COUNT: usize = 256;
    let message = |n: usize| vec![n as u8; 64 * 1024];
    while_up_with(&["cat"], |address| {
        let mut client = open(address);
        let socket = client.get_ref().try_clone().unwrap();
        let mut second_hand = WebSocket::from_raw_socket(socket, Role::Client, None);
        let sending = thread::spawn(move || {
            (0..COUNT).for_each(|n| second_hand.send(Message::binary(message(n))).unwrap());
        });
        thread::sleep(Duration::from_millis(100));
        let mut received = Vec::new();
        while received.len() < COUNT * message(0).len() {
            match client.read().unwrap() {
                Message::Binary(bytes) => received.extend(bytes),
                other => panic!("{other:?}"),
            }
        }
        assert!(received == (0..COUNT).flat_map(message).collect::<Vec<_>>());
        sending.join().unwrap();
    });
}
