//! The right to answer a request later.

use std::{any::Any, fmt, marker::PhantomData};

use super::{ConnId, Remote, RemoteError, Request, request::not_offered};
use crate::{
    protocol::handshake::{self, Acceptance, Response, header_slots},
    reactor::{Decision, HEADER_COUNT_MAX},
};

/// The right, and the duty, to answer one upgrade that was deferred
/// ([`Upgrade::defer`](super::Upgrade::defer)): from any thread, once.
///
/// The client waits meanwhile, but no longer than
/// [`Timeouts::handshake`](crate::Timeouts::handshake) from the moment it connected: then it is told
/// 504. If it leaves before, the answer goes nowhere, and that is no error. A ticket that is dropped
/// refuses with 503, so that nobody waits for a thread that panicked, or a queue that was full.
///
/// It holds a copy of the request's head, one allocation. The waiting connection holds its entry in the
/// table and a box of at most 112 bytes. Receiving pauses: frames that a hasty client sent along are kept,
/// as many as arrived in that turn, and counted against
/// [`memory_max`](crate::ServerBuilder::memory_max); the others wait in the kernel.
///
/// ```
/// use std::sync::mpsc::Sender;
/// use throng::{Acceptance, Handler, Request, Response, Ticket, Upgrade};
///
/// /// Asks another thread who the users are.
/// struct Members {
///     lookups: Sender<Ticket<String>>,
/// }
///
/// impl Handler for Members {
///     type Data = String;
///
///     fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
///         let (upgrade, ticket) = Upgrade::defer(request);
///         let _ = self.lookups.send(ticket); // if nobody is there to take it, the client is told 503
///         upgrade
///     }
/// }
///
/// /// What that thread does with each.
/// fn look_up(ticket: Ticket<String>, user_of: impl Fn(&str) -> Option<String>) {
///     let session = ticket.with_request(|request| request.cookie("session").map(str::to_owned));
///     let answered = match session.as_deref().and_then(user_of) {
///         Some(user) => ticket.with(user).accept(Acceptance::new()),
///         None => ticket.refuse(Response::text(401, "log in first\n")),
///     };
///     answered.unwrap_or_else(|error| eprintln!("{error}"));
/// }
/// ```
pub struct Ticket<T> {
    id: ConnId,
    remote: Remote,
    /// Until it is answered.
    head: Option<Box<[u8]>>,
    /// A `T`.
    data: Option<Box<dyn Any + Send>>,
    _data: PhantomData<fn(T)>,
}

impl<T: 'static> Ticket<T> {
    pub(super) fn new(request: &Request<'_>) -> Self {
        let (id, remote) = (request.id(), request.remote().clone());
        Self { id, remote, head: Some(request.head().into()), data: None, _data: PhantomData }
    }

    /// The id that the connection has, or will have if it is accepted.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// Reads the request: it is parsed anew each time, which allocates nothing.
    pub fn with_request<R>(&self, read: impl FnOnce(&handshake::Request<'_>) -> R) -> R {
        let head = self.head.as_deref().expect("a ticket that was answered is gone");
        let mut slots = header_slots::<HEADER_COUNT_MAX>();
        let request = handshake::Request::parse(head, &mut slots);
        read(&request.expect("a request that was read before"))
    }

    /// Gives the connection its data, in the place of what was given to the deferred
    /// [`Upgrade`](super::Upgrade). One allocation.
    #[must_use]
    pub fn with(mut self, data: T) -> Self
    where
        T: Send,
    {
        self.data = Some(Box::new(data));
        self
    }

    /// Accepts the upgrade.
    ///
    /// What the client did not offer cannot be agreed on: as in a handler, that is logged as an error,
    /// and the client told 500.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Gone`]: the server has ended. A mailbox always has room for an answer.
    pub fn accept(mut self, acceptance: Acceptance) -> Result<(), RemoteError> {
        let verdict = match self.with_request(|request| acceptance.check_offered(request)) {
            Ok(()) => Ok(acceptance),
            Err(error) => Err(not_offered(&error)),
        };
        self.decide(verdict)
    }

    /// Refuses it with an HTTP response.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Gone`]: the server has ended.
    pub fn refuse(mut self, response: Response) -> Result<(), RemoteError> {
        self.decide(Err(response))
    }
}

impl<T> Ticket<T> {
    fn decide(&mut self, verdict: Decision) -> Result<(), RemoteError> {
        match self.head.take() {
            Some(head) => self.remote.decide(self.id, head, verdict, self.data.take()),
            None => Ok(()),
        }
    }
}

/// Refuses what nobody answered.
impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        if self.head.is_some() {
            let response = Response::text(503, "nobody decided about this request\n");
            let _ = self.decide(Err(response));
        }
    }
}

/// Leaves out the request, which may hold secrets.
impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("id", &self.id).finish_non_exhaustive()
    }
}
