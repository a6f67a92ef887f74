//! One connection: from a source address of our choice, through the opening handshake.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddrV4},
    ops::Range,
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send,
        socket_with,
        sockopt::{Timeout, set_socket_timeout, set_tcp_nodelay},
    },
};

use super::frame::{Answer, Exchange};
use crate::sys;

/// The response to the only key that our clients send, RFC 6455's example (§1.3).
pub(crate) const ACCEPTANCE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An open WebSocket that blocks, though not for ever.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
}

impl Connection {
    /// Connects the one with this index, and goes through its opening handshake.
    pub(crate) fn open(target: SocketAddrV4, index: usize) -> io::Result<Self> {
        let connection = Self::begin(target, source_address(index));
        let opened = connection.and_then(|connection| {
            connection.receive_acceptance()?;
            Ok(connection)
        });
        opened.map_err(|error| failed(index, &error))
    }

    /// Connects those with these indices, and goes through their opening handshakes.
    ///
    /// Some at a time, so that opening many does not mean to wait for each.
    pub(crate) fn open_all(target: SocketAddrV4, indices: Range<usize>) -> io::Result<Vec<Self>> {
        let mut connections = Vec::with_capacity(indices.len());
        for start in indices.clone().step_by(OPENING_MAX) {
            let indices = start..indices.end.min(start + OPENING_MAX);
            let first = connections.len();
            for index in indices.clone() {
                let connection = Self::begin(target, source_address(index));
                connections.push(connection.map_err(|error| failed(index, &error))?);
            }
            for (connection, index) in connections[first..].iter().zip(indices) {
                connection.receive_acceptance().map_err(|error| failed(index, &error))?;
            }
        }
        Ok(connections)
    }

    /// Connects, and asks for a WebSocket.
    pub(super) fn begin(target: SocketAddrV4, source: Ipv4Addr) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        set_tcp_nodelay(&socket, true)?;
        sys::set_bind_address_no_port(&socket)?;
        bind(&socket, &SocketAddrV4::new(source, 0))?;
        connect(&socket, &target).map_err(explained)?;
        let connection = Self { socket };
        connection.send_all(request(target).as_bytes())?;
        Ok(connection)
    }

    /// Sends the message and compares the answer with what it should be.
    pub(crate) fn exchange(&self, exchange: &Exchange, answer: &mut Vec<u8>) -> io::Result<Answer> {
        self.send_all(exchange.frame())?;
        self.receive_answer(exchange, answer)
    }

    /// Compares what comes with what it should be.
    pub(crate) fn receive_answer(
        &self,
        exchange: &Exchange,
        answer: &mut Vec<u8>,
    ) -> io::Result<Answer> {
        answer.clear();
        answer.resize(2, 0);
        self.receive_exact(answer)?;
        let kind = Answer::of([answer[0], answer[1]]);
        answer.resize(exchange.answer(kind).len(), 0);
        self.receive_exact(&mut answer[2..])?;
        if answer != exchange.answer(kind) {
            return Err(io::Error::other("the answer is not the message that was sent"));
        }
        Ok(kind)
    }

    fn receive_acceptance(&self) -> io::Result<()> {
        let mut response = [0; 1024];
        let mut len = 0;
        while !response[..len].ends_with(b"\r\n\r\n") {
            let room = &mut response[len..];
            if room.is_empty() {
                return Err(io::Error::other("the answer to the opening handshake is too long"));
            }
            len += self.receive(room)?;
        }
        check_acceptance(&response[..len])
    }

    pub(crate) fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let len = send(&self.socket, bytes, SendFlags::NOSIGNAL).map_err(explained)?;
            bytes = &bytes[len..];
        }
        Ok(())
    }

    fn receive_exact(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let len = self.receive(buffer)?;
            buffer = &mut buffer[len..];
        }
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match recv(&self.socket, buffer, RecvFlags::empty()).map_err(explained)? {
            (0, _) => {
                let problem = "the server closed the connection";
                Err(io::Error::new(ErrorKind::UnexpectedEof, problem))
            }
            (len, _) => Ok(len),
        }
    }
}

/// Whether a response accepts what [`request`] asks for.
pub(super) fn check_acceptance(response: &[u8]) -> io::Result<()> {
    let response = String::from_utf8_lossy(response);
    if response.starts_with("HTTP/1.1 101 ") && response.contains(ACCEPT_VALUE) {
        return Ok(());
    }
    Err(io::Error::other(format!("the opening handshake failed: {response:?}")))
}

/// The opening handshake, with RFC 6455's example of a key (§1.3).
fn request(target: SocketAddrV4) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: {target}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

fn failed(index: usize, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("connection {index} failed: {error}"))
}

/// Says what it means when a socket with a time limit would block.
fn explained(error: Errno) -> io::Error {
    match error {
        Errno::AGAIN | Errno::INPROGRESS => {
            let problem = format!("the server did not answer within {PATIENCE:?}");
            io::Error::new(ErrorKind::TimedOut, problem)
        }
        error => error.into(),
    }
}

/// The source address of connection `index`, an address of the loopback network that is not
/// 127.0.0.1. One address serves as many connections as find their ports without a search.
fn source_address(index: usize) -> Ipv4Addr {
    const FIRST: u32 = Ipv4Addr::new(127, 64, 0, 1).to_bits();
    Ipv4Addr::from_bits(FIRST + (index / CONNECTIONS_EACH) as u32)
}

/// Fewer than the connections that any server lets wait to be accepted.
const OPENING_MAX: usize = 100;
const CONNECTIONS_EACH: usize = 5000;
/// The value of `Sec-WebSocket-Accept` in [`ACCEPTANCE`].
const ACCEPT_VALUE: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// How long a connection waits for the server, each time.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_loopback_addresses() {
        let check = |index: usize, expected: [u8; 4]| {
            assert_eq!(source_address(index), Ipv4Addr::from(expected));
        };
        check(0, [127, 64, 0, 1]);
        check(4_999, [127, 64, 0, 1]);
        check(5_000, [127, 64, 0, 2]);
        check(1_000_000, [127, 64, 0, 201]);
        check(10_000_000, [127, 64, 7, 209]);
    }

    #[test]
    fn acceptances() {
        check_acceptance(ACCEPTANCE).unwrap();
        let other = String::from_utf8_lossy(ACCEPTANCE).replace("s3p", "S3P");
        let error = check_acceptance(other.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("S3P"), "{error}");
        check_acceptance(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap_err();
    }
}
