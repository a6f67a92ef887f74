//! Commands from other threads, and the wake-up.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
    time::Duration,
};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};

use crate::{
    driver::{Route, Waker},
    pool::Key,
    protocol::{
        CloseCode,
        handshake::{Acceptance, Proposal, Response},
    },
};

/// How many commands wait, at most; one more is refused. (A channel that is bounded by itself would
/// set the memory aside for all of them. Threads that post at the same instant may overshoot by one
/// each.)
const CAPACITY: usize = 64 * 1024;

/// What another thread asks of a reactor.
pub(crate) enum Command {
    /// Send this frame to one connection.
    Send { key: Key, frame: Bytes },
    /// Send this frame to every open connection.
    Broadcast { frame: Bytes },
    /// Begin the closing handshake with one.
    Close { key: Key, code: CloseCode, reason: String },
    /// Drop one.
    Abort { key: Key },
    /// Connect, with data made by default.
    Connect { route: Arc<Route>, proposal: Arc<Proposal> },
    /// Answer a deferred upgrade.
    Decide { key: Key, verdict: Decision },
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
    sleeping: Arc<AtomicBool>,
}

/// Everyone else's end.
#[derive(Clone)]
pub(crate) struct Postbox {
    commands: Sender<Command>,
    /// Room for one, beside the commands: a server can be told to leave however busy it is.
    drains: Sender<Drain>,
    sleeping: Arc<AtomicBool>,
    waker: Waker,
}

/// A mailbox whose reactor is woken by `waker`.
pub(crate) fn mailbox(waker: Waker) -> (Postbox, Mailbox) {
    let (sender, receiver) = unbounded();
    let (drain_sender, drain_receiver) = bounded(1);
    let sleeping = Arc::new(AtomicBool::new(false));
    let postbox =
        Postbox { commands: sender, drains: drain_sender, sleeping: sleeping.clone(), waker };
    (postbox, Mailbox { commands: receiver, drains: drain_receiver, sleeping })
}

impl Postbox {
    /// Posts a command, and wakes the reactor if it sleeps. Never blocks.
    pub(crate) fn post(&self, command: Command) -> Result<(), Undelivered> {
        if self.commands.len() >= CAPACITY {
            return Err(Undelivered::Full);
        }
        self.commands.send(command).map_err(|_| Undelivered::Gone)?;
        self.wake();
        Ok(())
    }

    /// Tells the reactor to leave. One that was told before is not told again.
    pub(crate) fn post_drain(&self, drain: Drain) -> Result<(), Undelivered> {
        if let Err(TrySendError::Disconnected(_)) = self.drains.try_send(drain) {
            return Err(Undelivered::Gone);
        }
        self.wake();
        Ok(())
    }

    /// Wakes the reactor, if it sleeps.
    fn wake(&self) {
        // Pairs with the fence in `fall_asleep`: either the reactor sees the command before it
        // sleeps, or we see that it sleeps. Only the first of many posts pays for the wake-up.
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }
}

impl Mailbox {
    /// Announces that the reactor is about to sleep. `false`: there is something to do first.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.commands.is_empty() && self.drains.is_empty() {
            return true;
        }
        self.wake_up();
        false
    }

    /// Announces that the reactor is awake: posting costs no wake-up.
    pub(crate) fn wake_up(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// The order to leave, if it has come.
    pub(crate) fn take_drain(&self) -> Option<Drain> {
        self.drains.try_recv().ok()
    }

    /// The next command.
    pub(crate) fn take(&self) -> Option<Command> {
        self.commands.try_recv().ok()
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
            Self::Decide { .. } => "Decide",
            Self::App(_) => "App",
        })
    }
}
