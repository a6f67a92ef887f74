//! Commands from other threads, and the wake-up.

use std::{
    any::Any,
    fmt,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering, fence},
    },
    time::Duration,
};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};

use crate::{
    driver::{Route, Waker},
    pool::Key,
    protocol::{
        CloseCode, Prepared,
        handshake::{Acceptance, Proposal, Response},
    },
};

/// How many commands wait, at most; one more is refused. (A channel that is bounded by itself would
/// set the memory aside for all of them. Threads that post at the same instant may overshoot by one
/// each.)
const CAPACITY: usize = 64 * 1024;

/// What another thread asks of a reactor.
pub(crate) enum Command {
    /// Send this to one connection.
    Send { key: Key, message: Prepared },
    /// Send this to every open connection.
    Broadcast { message: Prepared },
    /// Begin the closing handshake with one.
    Close { key: Key, code: CloseCode, reason: String },
    /// Drop one.
    Abort { key: Key },
    /// Connect, with data made by default.
    Connect { route: Arc<Route>, proposal: Arc<Proposal> },
    /// Take in a connection that somebody else has upgraded, with data made by default.
    Adopt { socket: OwnedFd, peer: Option<SocketAddr>, read_ahead: Bytes },
    /// Answer a deferred upgrade: the head of its request, what to say, and the connection's data.
    Decide { key: Key, head: Box<[u8]>, verdict: Decision, data: Option<Box<dyn Any + Send>> },
    /// Something of the application's.
    App(Box<dyn Any + Send>),
}

/// How a deferred upgrade was decided.
pub(crate) type Decision = Result<Acceptance, Response>;

/// How to leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    /// What peers are told.
    pub(crate) code: CloseCode,
    /// Closes are spread over this long.
    pub(crate) spread: Duration,
    /// After this long, whoever is left is dropped.
    pub(crate) deadline: Duration,
}

/// The mailbox is full, or the reactor is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undelivered {
    Full,
    Gone,
}

/// The reactor's end.
pub(crate) struct Mailbox {
    commands: Receiver<Command>,
    drains: Receiver<Drain>,
    bell: Arc<Bell>,
    /// How much of what was posted has been taken.
    taken: u64,
}

/// Everyone else's end.
#[derive(Clone)]
pub(crate) struct Postbox {
    commands: Sender<Command>,
    /// Room for one, beside the commands: a server can be told to leave however busy it is.
    drains: Sender<Drain>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// What both ends look at.
#[derive(Debug, Default)]
struct Bell {
    /// How much was posted. To look here costs a reactor less than to look into the channels.
    posted: AtomicU64,
    sleeping: AtomicBool,
}

/// A mailbox whose reactor is woken by `waker`.
pub(crate) fn mailbox(waker: Waker) -> (Postbox, Mailbox) {
    let (sender, receiver) = unbounded();
    let (drain_sender, drain_receiver) = bounded(1);
    let bell = Arc::new(Bell::default());
    let postbox = Postbox { commands: sender, drains: drain_sender, bell: bell.clone(), waker };
    (postbox, Mailbox { commands: receiver, drains: drain_receiver, bell, taken: 0 })
}

impl Postbox {
    /// Posts a command, and wakes the reactor if it sleeps. Never blocks.
    pub(crate) fn post(&self, command: Command) -> Result<(), Undelivered> {
        if self.commands.len() >= CAPACITY {
            return Err(Undelivered::Full);
        }
        self.post_answer(command)
    }

    /// Posts what the reactor waits for: there is room for as much as it asked.
    pub(crate) fn post_answer(&self, command: Command) -> Result<(), Undelivered> {
        self.commands.send(command).map_err(|_| Undelivered::Gone)?;
        self.ring();
        Ok(())
    }

    /// Tells the reactor to leave. One that was told before is not told again.
    pub(crate) fn post_drain(&self, drain: Drain) -> Result<(), Undelivered> {
        match self.drains.try_send(drain) {
            Ok(()) => self.ring(),
            Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => return Err(Undelivered::Gone),
        }
        Ok(())
    }

    /// Says that something was posted, and wakes the reactor if it sleeps.
    fn ring(&self) {
        let Bell { posted, sleeping } = &*self.bell;
        posted.fetch_add(1, Ordering::Release);
        // Pairs with the fence in `fall_asleep`: either the reactor sees the command before it
        // sleeps, or we see that it sleeps. Only the first of many posts pays for the wake-up.
        fence(Ordering::SeqCst);
        if sleeping.load(Ordering::Relaxed) && sleeping.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }
}

impl Mailbox {
    /// Announces that the reactor is about to sleep. `false`: there is something to do first.
    #[inline]
    pub(crate) fn fall_asleep(&self) -> bool {
        self.bell.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.is_empty() {
            return true;
        }
        self.wake_up();
        false
    }

    /// Announces that the reactor is awake: posting costs no wake-up.
    #[inline]
    pub(crate) fn wake_up(&self) {
        self.bell.sleeping.store(false, Ordering::Relaxed);
    }

    /// Whether all that was posted has been taken. One load.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // What is counted is in its channel already: we never take more than was counted.
        self.bell.posted.load(Ordering::Acquire) == self.taken
    }

    /// The order to leave, if it has come.
    pub(crate) fn take_drain(&mut self) -> Option<Drain> {
        let drain = self.drains.try_recv().ok()?;
        self.taken += 1;
        Some(drain)
    }

    /// The next command.
    pub(crate) fn take(&mut self) -> Option<Command> {
        if self.is_empty() {
            return None;
        }
        let command = self.commands.try_recv().ok()?;
        self.taken += 1;
        Some(command)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send { .. } => "Send",
            Self::Broadcast { .. } => "Broadcast",
            Self::Close { .. } => "Close",
            Self::Abort { .. } => "Abort",
            Self::Connect { .. } => "Connect",
            Self::Adopt { .. } => "Adopt",
            Self::Decide { .. } => "Decide",
            Self::App(_) => "App",
        })
    }
}
