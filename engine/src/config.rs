//! Plain data: what a server can be set to, below its listeners.

use crate::{
    conn::{Deflate, SendQueue, Timeouts},
    protocol::Limits,
};

/// Limits of a server and of each of its connections. Every queue is bounded by something here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// What a peer may send.
    pub(crate) limits: Limits,
    /// How long it may take.
    pub(crate) timeouts: Timeouts,
    /// What may wait for it.
    pub(crate) send_queue: SendQueue,
    /// Whether messages may be compressed, and how. Default: not.
    pub(crate) deflate: Option<Deflate>,
    /// Frames of one connection that are handled in one turn of the reactor, before the others have
    /// their share. Default: 64.
    pub(crate) turn_frames_max: usize,
    /// Bytes of queued output and half-received messages that one reactor holds, all connections
    /// together. The builder makes it a quarter of the machine's memory, divided by the number of
    /// reactors.
    pub(crate) memory_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            send_queue: SendQueue::default(),
            deflate: None,
            turn_frames_max: 64,
            memory_max: usize::MAX,
        }
    }
}
