//! A request and its answer, for whoever wants to see them.

use std::{fmt, net::SocketAddr};

use super::ConnId;
use crate::{protocol::handshake::HandshakeError, reactor};

/// A request that has its answer: byte for byte what was asked and what is said, and what was wrong.
///
/// What it borrows may be secret (cookies, tokens): its `Debug` leaves that out, its `Display`
/// writes all of it, the client's lines behind `>` and ours behind `<`, for a person who looks for a
/// mistake.
pub struct Answered<'a> {
    asked: reactor::Asked<'a>,
    answer: reactor::Answer<'a>,
    id: ConnId,
    peer_addr: Option<SocketAddr>,
}

impl<'a> Answered<'a> {
    pub(super) fn new(
        asked: reactor::Asked<'a>,
        answer: reactor::Answer<'a>,
        id: ConnId,
        peer_addr: Option<SocketAddr>,
    ) -> Self {
        Self { asked, answer, id, peer_addr }
    }

    /// The id of the connection.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// Where the client is. `None` for a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// The head of the request as it arrived; what there is of it, if it never became whole or is
    /// none. Empty if nothing arrived, or if the answer was deferred: what is to be kept of the request
    /// is then the handler's to keep.
    pub fn request(&self) -> &'a [u8] {
        self.asked.head
    }

    /// The answer as it leaves, its body included.
    pub fn response(&self) -> &'a [u8] {
        self.answer.bytes
    }

    /// The status of the answer: 101 for a WebSocket that opens.
    pub fn status(&self) -> u16 {
        self.answer.status
    }

    /// The rule that the request broke, if that is why it is refused.
    pub fn error(&self) -> Option<HandshakeError> {
        self.asked.error
    }
}

impl fmt::Display for Answered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mark, bytes) in [('>', self.request()), ('<', self.response())] {
            for line in bytes.split_inclusive(|&byte| byte == b'\n') {
                writeln!(f, "{mark} {}", line.trim_ascii_end().escape_ascii())?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Answered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered")
            .field("id", &self.id)
            .field("peer_addr", &self.peer_addr)
            .field("status", &self.status())
            .field("error", &self.error())
            .finish_non_exhaustive()
    }
}
