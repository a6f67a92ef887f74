//! Why a connection ended.

use std::{fmt, io};

use super::Deadline;
use crate::protocol::{CloseCode, ProtocolError};

/// Why a connection is no longer open: enough to write a log line without guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// The peer began the closing handshake, with this code or none (RFC 6455 §7.1.5).
    Peer(Option<CloseCode>),
    /// We closed with this code: the peer completed the closing handshake, or was not asked to
    /// ([`Conn::fail`](crate::Conn::fail)).
    Local(CloseCode),
    /// The peer broke a rule of the protocol; it was told with the error's close code.
    Failed(ProtocolError),
    /// The peer sent a message where none is taken
    /// ([`Conn::refuse_messages`](crate::Conn::refuse_messages)); it was told 1008.
    Refused,
    /// The transport ended without a closing handshake: reset, unreachable, or simply gone.
    Lost(io::ErrorKind),
    /// A deadline passed.
    TimedOut(Deadline),
    /// The peer read too slowly: its send queue was full ([`Overflow::Close`](super::Overflow)).
    SlowConsumer,
    /// The engine's memory for queues or half-received messages was used up.
    OutOfMemory,
    /// A callback panicked; the peer was told 1011.
    Panicked,
    /// The application dropped the connection without a closing handshake.
    Aborted,
}

impl CloseCause {
    /// The code that the closing handshake carried, or that describes its absence: 1006 (RFC 6455
    /// §7.1.5) when there was none.
    pub fn code(self) -> CloseCode {
        match self {
            Self::Peer(code) => code.unwrap_or(CloseCode::NO_STATUS),
            Self::Local(code) => code,
            Self::Failed(error) => error.close_code(),
            Self::Refused => CloseCode::POLICY_VIOLATION,
            Self::SlowConsumer | Self::OutOfMemory => CloseCode::TRY_AGAIN_LATER,
            Self::Panicked => CloseCode::INTERNAL_ERROR,
            Self::Lost(_) | Self::TimedOut(_) | Self::Aborted => CloseCode::ABNORMAL,
        }
    }
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(Some(code)) => write!(f, "closed by the peer with {code}"),
            Self::Peer(None) => f.write_str("closed by the peer without a code"),
            Self::Local(code) => write!(f, "closed by us with {code}"),
            Self::Failed(error) => write!(f, "the peer broke the protocol: {error}"),
            Self::Refused => f.write_str("the peer sent a message, and none is taken"),
            Self::Lost(kind) => write!(f, "lost: {kind}"),
            Self::TimedOut(deadline) => write!(f, "timed out: {deadline}"),
            Self::SlowConsumer => f.write_str("the peer read too slowly"),
            Self::OutOfMemory => f.write_str("no memory left for its messages"),
            Self::Panicked => f.write_str("a callback panicked"),
            Self::Aborted => f.write_str("aborted by us"),
        }
    }
}
