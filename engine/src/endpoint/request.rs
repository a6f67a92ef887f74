//! A request, and what becomes of it.

use std::{net::SocketAddr, ops::Deref};

use super::{ConnId, Remote, Ticket};
use crate::protocol::handshake::{self, Acceptance, Response, ResponseError};

/// A client's request: its head, its body if it is plain HTTP, and where it came from.
///
/// Reading goes through to [`handshake::Request`].
pub struct Request<'a> {
    request: &'a handshake::Request<'a>,
    peer_addr: Option<SocketAddr>,
    id: ConnId,
    remote: &'a Remote,
}

impl<'a> Request<'a> {
    pub(crate) fn new(
        request: &'a handshake::Request<'a>,
        peer_addr: Option<SocketAddr>,
        id: ConnId,
        remote: &'a Remote,
    ) -> Self {
        Self { request, peer_addr, id, remote }
    }

    /// Where the client is. `None` for a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// The id that the connection has, or will have if it is accepted.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The handle through which other threads, and other reactors, are reached.
    pub fn remote(&self) -> &Remote {
        self.remote
    }
}

impl<'a> Deref for Request<'a> {
    type Target = handshake::Request<'a>;

    fn deref(&self) -> &Self::Target {
        self.request
    }
}

/// What becomes of a client's wish for a WebSocket.
#[must_use]
#[derive(Debug)]
pub struct Upgrade<T> {
    pub(crate) decision: Decision,
    pub(crate) data: Option<T>,
}

/// The three answers.
#[derive(Debug)]
pub(crate) enum Decision {
    Accept(Acceptance),
    Refuse(Response),
    Defer,
}

impl<T> Upgrade<T> {
    /// Accept it.
    pub fn accept() -> Self {
        Self::accept_as(Acceptance::new())
    }

    /// Accept it with a subprotocol or extra headers.
    pub fn accept_as(acceptance: Acceptance) -> Self {
        Self { decision: Decision::Accept(acceptance), data: None }
    }

    /// Refuse it with an HTTP response.
    pub fn refuse(response: Response) -> Self {
        Self { decision: Decision::Refuse(response), data: None }
    }

    /// Decide later, from any thread, by the [`Ticket`]: the client waits, and the handshake's deadline
    /// goes on. Copies the request's head, since the request itself is only lent.
    pub fn defer(request: &Request<'_>) -> (Self, Ticket<T>)
    where
        T: 'static,
    {
        (Self { decision: Decision::Defer, data: None }, Ticket::new(request))
    }

    /// Gives the connection its data.
    pub fn with(mut self, data: T) -> Self {
        self.data = Some(data);
        self
    }
}

/// The answer to a client that was to be given what it did not offer: the application's mistake.
pub(super) fn not_offered(error: &ResponseError) -> Response {
    tracing::error!(%error, "an upgrade was accepted with what nobody offered");
    Response::text(500, "the server failed\n")
}
