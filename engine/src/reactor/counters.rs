//! What a reactor counts: written by its thread alone, read by any.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that one thread writes and others read. Costs what a plain `u64` costs.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the reactor's own thread may call this: two writers would lose counts.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets a gauge.
    #[inline]
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// What it is now.
    pub(crate) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counts of one reactor, on cache lines of their own.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// A reading of a reactor's counts, or of several added up.
        ///
        /// Counts only ever grow, but for `connections`. Reading costs the reactor nothing; the
        /// values of one reading are each exact, and not all of the same instant.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Reads all of them.
            pub(crate) fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.read(),)* }
            }
        }

        impl std::iter::Sum for Snapshot {
            fn sum<I: Iterator<Item = Self>>(snapshots: I) -> Self {
                snapshots.fold(Self::default(), |mut sum, snapshot| {
                    $(sum.$name += snapshot.$name;)*
                    sum
                })
            }
        }
    };
}

counters! {
    /// Connections in the table now, in whatever phase of their lives.
    connections,
    /// Connections accepted.
    accepted,
    /// Times that accepting failed (descriptors or memory used up) and was put off.
    accept_failures,
    /// Connections asked for, to a server.
    connects,
    /// Those of them that did not open.
    connect_failures,
    /// Opening handshakes completed.
    opened,
    /// Requests answered with something other than an upgrade.
    responded,
    /// Opened connections that ended, for whatever reason.
    closed,
    /// Connections failed because the peer broke the protocol.
    protocol_errors,
    /// Connections given up because a deadline passed.
    timeouts,
    /// Connections closed because their peer read too slowly.
    slow_consumers,
    /// Panics caught in callbacks.
    panics,
    /// Messages received.
    messages_in,
    /// Messages queued for sending.
    messages_out,
    /// Messages dropped because a send queue was full.
    messages_dropped,
    /// Bytes received from sockets.
    bytes_in,
    /// Bytes of messages queued for sending, frame headers included.
    bytes_out,
    /// Times that a socket would not take all of a send.
    blocked_sends,
    /// Turns of the loop.
    turns,
    /// Completions handled.
    completions,
    /// Commands received from other threads.
    commands,
}
