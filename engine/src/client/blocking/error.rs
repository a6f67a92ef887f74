//! What can go wrong with a WebSocket that is open.

use crate::conn::CloseCause;

/// Why nothing was read, or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing came within the [read timeout](super::WebSocket::set_read_timeout). The connection is
    /// as it was, and what has come of a message is kept: read again.
    #[error("nothing was received in time")]
    TimedOut,
    /// The WebSocket is over.
    #[error("the WebSocket is over: {0}")]
    Ended(CloseCause),
}
