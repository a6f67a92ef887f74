//! A request, and what becomes of it.

use std::{net::SocketAddr, ops::Deref};

use super::{ConnId, Remote, RemoteError};
use crate::protocol::handshake::{self, Acceptance, Response};

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

    /// A ticket with which any thread can answer an upgrade that was deferred
    /// ([`Upgrade::defer`]).
    pub fn ticket(&self) -> Ticket {
        Ticket { id: self.id, remote: self.remote.clone() }
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

    /// Decide later, from any thread, with the request's [`ticket`](Request::ticket). The client
    /// waits; the handshake's deadline goes on.
    pub fn defer() -> Self {
        Self { decision: Decision::Defer, data: None }
    }

    /// Gives the connection its data.
    pub fn with(mut self, data: T) -> Self {
        self.data = Some(data);
        self
    }
}

/// The right to answer one deferred upgrade, from any thread. Dropped, it leaves the client to the
/// handshake's deadline.
#[derive(Clone, Debug)]
pub struct Ticket {
    id: ConnId,
    remote: Remote,
}

impl Ticket {
    /// Accepts the upgrade. It is not an error if the client has gone meanwhile.
    ///
    /// The request is gone by then: a subprotocol has to be one that it offered, which nobody checks
    /// here.
    pub fn accept(self, acceptance: Acceptance) -> Result<(), RemoteError> {
        self.remote.decide(self.id, Ok(acceptance))
    }

    /// Refuses it with an HTTP response.
    pub fn refuse(self, response: Response) -> Result<(), RemoteError> {
        self.remote.decide(self.id, Err(response))
    }

    /// The id of the connection.
    pub fn id(&self) -> ConnId {
        self.id
    }
}
