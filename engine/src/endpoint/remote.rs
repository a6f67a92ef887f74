//! What every other thread holds.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{ConnId, Connect, Upgraded};
use crate::{
    protocol::{CloseCode, Prepared},
    reactor::{Command, Counters, Decision, Drain, Postbox, Snapshot, Undelivered},
};

/// A handle to a running server, for any thread.
///
/// Everything goes through the mailbox of the reactor concerned, which is bounded (65,536 commands)
/// and never blocks: posting costs about 0.1 µs, and a wake-up if the reactor sleeps. Commands of
/// one thread to one reactor are obeyed in order.
#[derive(Clone)]
pub struct Remote {
    reactors: Arc<[Link]>,
    /// Whose turn it is to connect.
    turn: Arc<AtomicUsize>,
    /// Descriptors mean nothing to the reactors.
    private_descriptors: bool,
    /// The reactor that this clone was given to, for callbacks.
    here: usize,
}

/// The way to one reactor.
pub(crate) struct Link {
    pub(crate) postbox: Postbox,
    pub(crate) counters: Arc<Counters>,
}

/// Why a command did not reach its reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// 65,536 commands wait already: try again later, or send less.
    #[error("the reactor's mailbox is full")]
    Full,
    /// The server has ended.
    #[error("the server has ended")]
    Gone,
    /// There is no reactor of this number.
    #[error("there is no reactor {0}")]
    NoSuchReactor(usize),
    /// The reactors have descriptor tables of their own, in which a socket of another thread means
    /// nothing: a server that adopts connections does without
    /// [`private_descriptors`](crate::ServerBuilder::private_descriptors).
    #[error("a socket cannot be handed to reactors with `private_descriptors`: turn that off")]
    PrivateDescriptors,
}

/// How a server leaves.
///
/// Its listening sockets are closed first: newcomers are refused by the kernel, and connections that
/// it had queued and nobody had accepted are reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// What peers are told: [`CloseCode::GOING_AWAY`] (the default) when the server is gone for
    /// good, [`CloseCode::SERVICE_RESTART`] when it will be back and they should reconnect.
    pub code: CloseCode,
    /// Closes are spread evenly, and in random order, over this long, so that those who reconnect do
    /// not all come at once. Default: none, all at once.
    pub spread: Duration,
    /// After this long whoever is left is dropped. Default: 30 s.
    pub deadline: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            code: CloseCode::GOING_AWAY,
            spread: Duration::ZERO,
            deadline: Duration::from_secs(30),
        }
    }
}

impl Remote {
    pub(crate) fn new(reactors: Vec<Link>, private_descriptors: bool) -> Self {
        Self { reactors: reactors.into(), turn: Arc::default(), private_descriptors, here: 0 }
    }

    /// A clone for the callbacks of reactor `here`.
    pub(crate) fn at(&self, here: usize) -> Self {
        Self { here, ..self.clone() }
    }

    /// The number of the reactor whose callback this handle came from.
    pub(crate) fn reactor(&self) -> usize {
        self.here
    }

    pub(crate) fn counters_of(&self, reactor: usize) -> Arc<Counters> {
        self.reactors[reactor].counters.clone()
    }

    /// How many reactors the server has. Their numbers begin with 0.
    pub fn reactor_count(&self) -> usize {
        self.reactors.len()
    }

    /// Sends a message to one connection. If it is gone, so is the message.
    pub fn send(&self, id: ConnId, message: impl Into<Prepared>) -> Result<(), RemoteError> {
        self.post(id.reactor(), Command::Send { key: id.key(), message: message.into() })
    }

    /// Sends a message to every open connection of every reactor. It is framed once and shared.
    pub fn broadcast(&self, message: impl Into<Prepared>) -> Result<(), RemoteError> {
        let message = message.into();
        self.post_all(|| Command::Broadcast { message: message.clone() })
    }

    /// Begins the closing handshake with one connection, as [`Conn::close`](super::Conn::close).
    pub fn close(&self, id: ConnId, code: CloseCode, reason: &str) -> Result<(), RemoteError> {
        let code = if code.is_sendable() { code } else { CloseCode::NORMAL };
        let command = Command::Close { key: id.key(), code, reason: reason.to_owned() };
        self.post(id.reactor(), command)
    }

    /// Drops one connection without a closing handshake.
    pub fn abort(&self, id: ConnId) -> Result<(), RemoteError> {
        self.post(id.reactor(), Command::Abort { key: id.key() })
    }

    /// Asks the reactors in turn to connect. The connection carries `Data::default()`; to give it other
    /// data, send a [command](Self::command) and use [`Connections::connect`](super::Connections).
    ///
    /// What cannot even be begun (the request cannot be said, the table is full, the reactor is
    /// leaving) is logged as an error.
    pub fn connect(&self, connect: &Connect) -> Result<(), RemoteError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.connect_on(turn % self.reactors.len(), connect)
    }

    /// As [`connect`](Self::connect), on this reactor.
    pub fn connect_on(&self, reactor: usize, connect: &Connect) -> Result<(), RemoteError> {
        let Connect { route, proposal } = connect.clone();
        self.post(reactor, Command::Connect { route, proposal })
    }

    /// Hands a connection that another HTTP server has upgraded to the reactors in turn. It carries
    /// `Data::default()`; to give it other data, send it in a [command](Self::command) and use
    /// [`Connections::adopt`](super::Connections::adopt).
    ///
    /// What cannot be taken in (the table is full, no memory, slot or descriptor is left) is logged as an
    /// error.
    ///
    /// # Errors
    ///
    /// Those of every command, and [`RemoteError::PrivateDescriptors`]. The socket is closed.
    pub fn adopt(&self, upgraded: Upgraded) -> Result<(), RemoteError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.adopt_on(turn % self.reactors.len(), upgraded)
    }

    /// As [`adopt`](Self::adopt), on this reactor.
    pub fn adopt_on(&self, reactor: usize, upgraded: Upgraded) -> Result<(), RemoteError> {
        if self.private_descriptors {
            return Err(RemoteError::PrivateDescriptors);
        }
        let Upgraded { socket, peer_addr: peer, read_ahead } = upgraded;
        self.post(reactor, Command::Adopt { socket, peer, read_ahead })
    }

    /// Hands something to a reactor's [`Handler::on_command`](super::Handler::on_command).
    pub fn command(&self, reactor: usize, command: impl Any + Send) -> Result<(), RemoteError> {
        self.post(reactor, Command::App(Box::new(command)))
    }

    /// Begins to shut the server down: it accepts no more, tells its peers, waits for their answers,
    /// and ends. Later calls change nothing.
    pub fn shutdown(&self, shutdown: Shutdown) -> Result<(), RemoteError> {
        let Shutdown { code, spread, deadline } = shutdown;
        let code = if code.is_sendable() { code } else { CloseCode::GOING_AWAY };
        let drain = Drain { code, spread, deadline };
        let posted = self.reactors.iter().map(|link| link.postbox.post_drain(drain));
        posted.fold(Ok(()), Result::and).map_err(|_| RemoteError::Gone)
    }

    /// The counts of one reactor.
    pub fn counters(&self, reactor: usize) -> Option<Snapshot> {
        self.reactors.get(reactor).map(|link| link.counters.snapshot())
    }

    /// The counts of all reactors, added up.
    pub fn total(&self) -> Snapshot {
        self.reactors.iter().map(|link| link.counters.snapshot()).sum()
    }

    pub(crate) fn decide(
        &self,
        id: ConnId,
        head: Box<[u8]>,
        verdict: Decision,
        data: Option<Box<dyn Any + Send>>,
    ) -> Result<(), RemoteError> {
        let command = Command::Decide { key: id.key(), head, verdict, data };
        let link = self.reactors.get(id.reactor());
        let link = link.ok_or(RemoteError::NoSuchReactor(id.reactor()))?;
        link.postbox.post_answer(command).map_err(|_| RemoteError::Gone)
    }

    fn post(&self, reactor: usize, command: Command) -> Result<(), RemoteError> {
        let link = self.reactors.get(reactor).ok_or(RemoteError::NoSuchReactor(reactor))?;
        link.postbox.post(command).map_err(|undelivered| match undelivered {
            Undelivered::Full => RemoteError::Full,
            Undelivered::Gone => RemoteError::Gone,
        })
    }

    /// Posts to every reactor; the first failure is told when all have been tried.
    fn post_all(&self, command: impl Fn() -> Command) -> Result<(), RemoteError> {
        let posted = (0..self.reactors.len()).map(|reactor| self.post(reactor, command()));
        posted.fold(Ok(()), Result::and)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("reactors", &self.reactors.len()).finish_non_exhaustive()
    }
}
