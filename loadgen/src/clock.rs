//! The one clock of a run, `CLOCK_MONOTONIC` in nanoseconds, and that of a thread's work.
//!
//! All processes of a machine see the same value, so a message that carries it tells a receiver in
//! another process how long it was on its way.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) type Nanos = u64;

/// The time now. Costs some 20 ns and no system call.
pub(crate) fn now() -> Nanos {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// How long the calling thread has run, in user space and in the kernel.
pub(crate) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Tells [`Nanos`] as [`Instant`]s, which are the same clock under a cover.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    instant: Instant,
    nanos: Nanos,
}

impl Epoch {
    /// Both readings now.
    pub(crate) fn now() -> Self {
        Self { instant: Instant::now(), nanos: now() }
    }

    /// The same moment as an instant.
    pub(crate) fn instant(self, at: Nanos) -> Instant {
        match at.checked_sub(self.nanos) {
            Some(later) => self.instant + Duration::from_nanos(later),
            None => {
                let earlier = Duration::from_nanos(self.nanos - at);
                self.instant.checked_sub(earlier).unwrap_or(self.instant)
            }
        }
    }
}

/// A duration as nanoseconds; what is longer than 584 years is cut off there.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One second.
pub(crate) const SECOND: Nanos = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_go_back() {
        let first = now();
        assert!(now() >= first && first > 0);
    }

    #[test]
    fn a_thread_that_works_takes_time() {
        let before = thread_cpu_time();
        while thread_cpu_time() == before {
            std::hint::black_box((0..1_000_000).map(std::hint::black_box).sum::<u64>());
        }
    }

    #[test]
    fn an_epoch_translates() {
        let epoch = Epoch::now();
        let later = epoch.nanos + 5 * SECOND;
        assert_eq!(epoch.instant(later) - epoch.instant(epoch.nanos), Duration::from_secs(5));
        let earlier = epoch.nanos - 1000;
        assert_eq!(
            epoch.instant(later) - epoch.instant(earlier),
            Duration::from_nanos(5_000_001_000)
        );
    }

    #[test]
    fn long_durations_saturate() {
        assert_eq!(nanos(Duration::from_micros(3)), 3_000);
        assert_eq!(nanos(Duration::MAX), u64::MAX);
    }
}
