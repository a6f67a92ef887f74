//! What a client hears, and what it answers: whole frames, of which it knows every byte.

use std::{io, os::fd::BorrowedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use crate::client::{Opcode, masked};

/// What a client can hear from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A ping with [`PING`].
    Ping,
    /// The text [`MESSAGE`].
    Message,
    /// A close with the code 1001, for whatever reason.
    Close,
    /// The end of the stream.
    End,
}

/// The payload of each ping.
pub(super) const PING: &str = "are you there?";
/// The message to all.
pub(super) const MESSAGE: &str = "this goes to everyone once, and to nobody twice";

impl News {
    /// Waits at most `patience` for this, makes sure that nothing else came, before it or with
    /// it, and answers as RFC 6455 asks (§5.5).
    pub(super) fn hear(self, socket: BorrowedFd<'_>, patience: Duration) -> io::Result<()> {
        let mut buffer = [0; FRAME_LEN_MAX];
        let heard = receive(socket, &mut buffer, patience)?;
        if !self.is(heard) {
            return Err(io::Error::other(format!("waited for {self:?}, and heard {heard:02x?}")));
        }
        match self {
            Self::Ping => answer(socket, Opcode::Pong, PING.as_bytes()),
            Self::Message | Self::End => Ok(()),
            Self::Close => answer(socket, Opcode::Close, &GOING_AWAY),
        }
    }

    fn is(self, heard: &[u8]) -> bool {
        let Some((header, payload)) = heard.split_first_chunk::<2>() else {
            return self == Self::End && heard.is_empty();
        };
        let is_frame = |opcode: Opcode| *header == [opcode.first_byte(), payload.len() as u8];
        match self {
            Self::Ping => is_frame(Opcode::Ping) && payload == PING.as_bytes(),
            Self::Message => is_frame(Opcode::Text) && payload == MESSAGE.as_bytes(),
            Self::Close => is_frame(Opcode::Close) && payload.starts_with(&GOING_AWAY),
            Self::End => false,
        }
    }
}

/// Receives until a frame is whole, and whatever came with it; nothing at the end of the stream.
fn receive<'b>(
    socket: BorrowedFd<'_>,
    buffer: &'b mut [u8; FRAME_LEN_MAX],
    patience: Duration,
) -> io::Result<&'b [u8]> {
    let mut len = 0;
    while len < 2 || len < 2 + PAYLOAD_LEN_MAX.min(buffer[1].into()) {
        match recv(socket, &mut buffer[len..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => break,
            Ok((received, _)) => len += received,
            Err(Errno::AGAIN) => wait(socket, patience)?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(&buffer[..len])
}

/// Waits until there is something to receive.
fn wait(socket: BorrowedFd<'_>, patience: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&timeout)) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "the server has nothing to say")),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Sends a masked frame, which is shorter than any socket's buffer.
fn answer(socket: BorrowedFd<'_>, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
    let frame = masked(opcode, payload);
    match send(socket, &frame, SendFlags::NOSIGNAL)? {
        sent if sent == frame.len() => Ok(()),
        sent => Err(io::Error::other(format!("only {sent} bytes of {} left", frame.len()))),
    }
}

/// The close code 1001 (RFC 6455 §7.4.1).
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();
/// No frame here has a longer payload than a control frame may have (RFC 6455 §5.5).
const PAYLOAD_LEN_MAX: usize = 125;
const FRAME_LEN_MAX: usize = 2 + PAYLOAD_LEN_MAX;

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::{fd::AsFd as _, unix::net::UnixStream},
    };

    use super::*;

    /// What a client sends that waits for `news`, and is sent `bytes`.
    fn heard(news: News, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let (mut server, client) = UnixStream::pair().unwrap();
        server.write_all(bytes).unwrap();
        news.hear(client.as_fd(), Duration::ZERO).map_err(|error| error.to_string())?;
        drop(client);
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).unwrap();
        Ok(answer)
    }

    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        [&[opcode, payload.len() as u8], payload].concat()
    }

    #[test]
    fn pings_and_closes_are_answered() {
        let pong = heard(News::Ping, &frame(0x89, PING.as_bytes())).unwrap();
        assert_eq!(pong[..6], [0x8a, 0x8e, 0x37, 0xfa, 0x21, 0x3d]);
        let payload: Vec<_> =
            (6..).zip(&pong[6..]).map(|(n, byte)| byte ^ pong[2 + (n - 6) % 4]).collect();
        assert_eq!(payload, PING.as_bytes());
        let close = heard(News::Close, &frame(0x88, b"\x03\xe9bye")).unwrap();
        assert_eq!(close, [0x88, 0x82, 0x37, 0xfa, 0x21, 0x3d, 0x03 ^ 0x37, 0xe9 ^ 0xfa]);
        assert!(heard(News::Message, &frame(0x81, MESSAGE.as_bytes())).unwrap().is_empty());
    }

    #[test]
    fn anything_else_is_a_failure() {
        let message = frame(0x81, MESSAGE.as_bytes());
        let check = |expected: News, bytes: &[u8]| {
            let problem = heard(expected, bytes).unwrap_err();
            assert!(problem.starts_with("waited for "), "{problem}");
        };
        check(News::Message, &[message.clone(), message.clone()].concat());
        check(News::Message, &frame(0x82, MESSAGE.as_bytes()));
        check(News::Message, &frame(0x81, b"hello"));
        check(News::Ping, &message);
        check(News::Close, &frame(0x88, &1000_u16.to_be_bytes()));
        check(News::Close, &frame(0x88, b""));
        check(News::Message, &frame(0x81, &[0; 126]));
        let silence = heard(News::Message, &message[..10]).unwrap_err();
        assert_eq!(silence, "the server has nothing to say");
    }

    #[test]
    fn the_end_comes_alone() {
        let (mut server, client) = UnixStream::pair().unwrap();
        assert!(News::End.hear(client.as_fd(), Duration::ZERO).is_err());
        server.write_all(&[0x88, 0]).unwrap();
        drop(server);
        assert!(News::End.hear(client.as_fd(), Duration::ZERO).is_err());
        News::End.hear(client.as_fd(), Duration::ZERO).unwrap();
    }
}
