//! Why a connection that we asked for did not open.

use std::io;

use super::{CloseCause, Deadline};
use crate::protocol::handshake::{Reply, ReplyError, ResponseError};

/// Why a client's connection did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The transport could not be had, or was lost before the WebSocket was open: refused,
    /// unreachable, no free port at the source address (`AddrNotAvailable`), no descriptors left.
    #[error("cannot connect: {0}")]
    Io(#[source] io::Error),
    /// [`Timeouts::handshake`](crate::Timeouts) passed before the WebSocket was open.
    #[error("the connection did not open in time")]
    TimedOut,
    /// The server answered with something other than 101.
    #[error("the server refused the WebSocket with {} {}", .0.status, .0.reason)]
    Refused(Box<FailedResponse>),
    /// The server's answer broke a rule (RFC 6455 §4.1).
    #[error("the opening handshake failed: {0}")]
    Failed(#[source] ReplyError),
    /// The request cannot be said.
    #[error("the request is invalid: {0}")]
    Request(#[source] ResponseError),
    /// The reactor holds as many connections as it can number.
    #[error("the reactor's table is full")]
    TableFull,
    /// The reactor is shutting down.
    #[error("the reactor is shutting down")]
    Leaving,
    /// It ended for another reason: aborted by us, out of memory, a panic in a callback.
    #[error("{0}")]
    Ended(CloseCause),
}

/// A server's answer that opened no WebSocket: a refusal, a redirect, a page. Redirects are not
/// followed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedResponse {
    /// The status.
    pub status: u16,
    /// The words beside it, perhaps none.
    pub reason: String,
    /// The headers, names as sent, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The beginning of the body, at most [`FailedResponse::BODY_LEN_MAX`] bytes, as sent: not
    /// decoded if it came in chunks.
    pub body: Vec<u8>,
}

impl FailedResponse {
    /// The most bytes of a body that are kept.
    pub const BODY_LEN_MAX: usize = 8 * 1024;

    /// A copy of an answer, and of its body.
    pub(crate) fn new(reply: &Reply<'_>, body: &[u8]) -> Self {
        let owned = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_owned());
        Self {
            status: reply.status(),
            reason: reply.reason().to_owned(),
            headers: reply.headers().map(owned).collect(),
            body: body[..body.len().min(Self::BODY_LEN_MAX)].to_owned(),
        }
    }

    /// The value of the first header of this name (in letters of either case), if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        str::from_utf8(value).ok()
    }
}

impl From<CloseCause> for ConnectError {
    fn from(cause: CloseCause) -> Self {
        match cause {
            CloseCause::Lost(kind) => Self::Io(kind.into()),
            CloseCause::TimedOut(Deadline::Handshake) => Self::TimedOut,
            cause => Self::Ended(cause),
        }
    }
}
