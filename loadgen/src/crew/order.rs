//! What the conductor tells the workers, and what it can see of them.

use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::{clock::Nanos, record::Forget};

/// What all workers are told at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    /// Open the connections, from this moment on.
    Open(Nanos),
    /// The load begins at this moment, with so many events a second in all, if it has a rate.
    Load { at: Nanos, rate: Option<f64> },
    /// The load ends; what is on its way may arrive.
    Rest,
    /// No more connections are opened, and none comes back.
    OpenNoMore,
    /// All connections are dropped at once; they come back as lost ones do.
    Kill,
    /// What happens from this moment on counts.
    Begin(Nanos, Forget),
    /// It counts no more.
    End(Nanos),
    /// What has not come by now is lost: report what was measured.
    HandOver,
}

/// What one worker shows: written by it alone, a few times a second.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Open connections.
    pub(crate) open: AtomicU64,
    /// Whether there is nothing more to open at present.
    pub(crate) is_settled: AtomicBool,
    /// Messages that are on their way.
    pub(crate) outstanding: AtomicU64,
    /// Orders that were obeyed, the board included.
    pub(crate) obeyed: AtomicU64,
}
