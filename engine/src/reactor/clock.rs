//! Where the time comes from; nothing below the reactor asks.

use std::time::{Duration, Instant};

/// Where a reactor reads the time: the kernel's monotonic clock, or a simulation's.
pub(crate) trait Clock {
    /// Time since the reactor started.
    fn elapsed(&self) -> Duration;

    /// Time until `at`: none if it has come.
    fn until(&self, at: Instant) -> Duration;
}

/// The kernel's monotonic clock.
#[derive(Debug)]
pub(crate) struct MonotonicClock(Instant);

impl MonotonicClock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MonotonicClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn until(&self, at: Instant) -> Duration {
        at.saturating_duration_since(Instant::now())
    }
}
