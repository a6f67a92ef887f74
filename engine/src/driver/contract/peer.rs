//! Peers from the standard library, and what they say.

use std::{
    io::{ErrorKind, Read},
    net::{SocketAddr, TcpStream},
    panic,
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long anything may take that takes no time at all unless something is broken.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A peer whose calls do not block for ever.
pub(super) fn connect(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).unwrap())
}

/// A peer with a small receive buffer.
pub(super) fn connect_narrow(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&address.into()).unwrap();
    patient(socket.into())
}

fn patient(peer: TcpStream) -> TcpStream {
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.set_write_timeout(Some(PATIENCE)).unwrap();
    peer
}

/// Closes with a reset.
pub(super) fn reset(peer: TcpStream) {
    let socket = socket2::Socket::from(peer);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    // A clone may still hold the descriptor: what resets is the last close.
    drop(socket);
}

/// Whether the other end has closed or reset the connection.
pub(super) fn is_over(peer: &mut TcpStream) -> bool {
    match peer.read(&mut [0]) {
        Ok(len) => len == 0,
        // A ring that was dropped on this thread may still have a word with it.
        Err(error) if error.kind() == ErrorKind::Interrupted => is_over(peer),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

pub(super) fn read_exactly(peer: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    peer.read_exact(&mut bytes).unwrap();
    bytes
}

pub(super) fn read_to_end(peer: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    bytes
}

pub(super) fn read_to_end_aside(mut peer: TcpStream) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || read_to_end(&mut peer))
}

/// What a thread came to; a panic of its goes on here.
pub(super) fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause))
}

/// `len` bytes of an endless sequence that looks different everywhere, from `offset` on.
pub(super) fn pattern(offset: usize, len: usize) -> Vec<u8> {
    (offset..offset + len).map(|at| (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(31)) as u8).collect()
}

/// Says where the first difference is, instead of printing megabytes.
pub(super) fn assert_pattern(bytes: &[u8], offset: usize, len: usize) {
    assert_eq!(bytes.len(), len, "bytes were lost or came twice");
    let expected = pattern(offset, len);
    let difference = bytes.iter().zip(&expected).position(|(got, expected)| got != expected);
    assert_eq!(difference, None, "of {len} bytes, the one here differs");
}
