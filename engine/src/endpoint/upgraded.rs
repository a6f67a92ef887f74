//! A connection that somebody else has upgraded.

use std::{io, net::SocketAddr, os::fd::OwnedFd};

use bytes::Bytes;

use crate::driver::prepare;

/// A connection that another HTTP server has upgraded: its `101` has been sent, and from now on frames
/// go both ways. [`Remote::adopt`](super::Remote::adopt) and
/// [`Connections::adopt`](super::Connections::adopt) make it one of ours.
///
/// What was negotiated is known to whoever did it: a subprotocol, a user's name and the like go into the
/// connection's data. No extension may have been agreed on that changes frames, such as
/// permessage-deflate: say nothing in `Sec-WebSocket-Extensions`.
///
/// The example `axum` has all of it on one screen.
#[derive(Debug)]
pub struct Upgraded {
    pub(super) socket: OwnedFd,
    pub(super) peer_addr: Option<SocketAddr>,
    pub(super) read_ahead: Bytes,
}

impl Upgraded {
    /// Takes a connected stream socket: a `TcpStream` or a `UnixStream` of the standard library, blocking
    /// or not, or its descriptor. Its options stay as they are; who cares about latency has called
    /// `set_nodelay`. Four system calls.
    ///
    /// # Errors
    ///
    /// The socket is unusable: it is not connected (any more), has failed, or is none.
    pub fn new(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let socket = socket.into();
        let peer_addr = prepare(&socket)?;
        Ok(Self { socket, peer_addr, read_ahead: Bytes::new() })
    }

    /// What the other server had read already: the first bytes behind the request. They are handled as if
    /// they had just arrived.
    #[must_use]
    pub fn read_ahead(mut self, bytes: impl Into<Bytes>) -> Self {
        self.read_ahead = bytes.into();
        self
    }

    /// Where the client is. `None` for a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }
}
