//! What keeps the machine from harm: memory, time, and whoever wants an end.

use std::{
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use throng_meter::available_len;

/// Notices that the run is to end: the first signal asks for that, the second insists. The default
/// notices nothing, and a signal ends the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<AtomicBool>);

/// How far something may go.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    watch: Watch,
    deadline: Instant,
    /// Bytes that have to stay free or page cache.
    available_min: u64,
}

impl Watch {
    /// From now on.
    pub(crate) fn new() -> io::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, interrupted.clone())?;
            flag::register(signal, interrupted.clone())?;
        }
        Ok(Self(interrupted))
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Bounds {
    /// From now on, for `time`, with at least `available_min` bytes left.
    pub(crate) fn new(watch: &Watch, time: Duration, available_min: u64) -> Self {
        Self { watch: watch.clone(), deadline: Instant::now() + time, available_min }
    }

    /// Fails when it is time to stop, and says why.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.watch.is_interrupted() {
            return Err(io::Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        if self.time_left().is_zero() {
            return Err(io::Error::new(ErrorKind::TimedOut, "it takes too long"));
        }
        let available = available_len()?;
        if available < self.available_min {
            let problem = format!("memory runs short: {} MB are left", available / 1_000_000);
            return Err(io::Error::new(ErrorKind::OutOfMemory, problem));
        }
        Ok(())
    }

    pub(crate) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What has to stay free or page cache, whatever happens.
pub(crate) const MEMORY_MIN: u64 = 2 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_says_why() {
        let check = |watch: &Watch, time: u64, available_min: u64, expected: Option<ErrorKind>| {
            let bounds = Bounds::new(watch, Duration::from_secs(time), available_min);
            assert_eq!(bounds.check().err().map(|error| error.kind()), expected);
        };
        let watch = Watch::default();
        check(&watch, 1000, 0, None);
        check(&watch, 0, 0, Some(ErrorKind::TimedOut));
        check(&watch, 1000, u64::MAX, Some(ErrorKind::OutOfMemory));
        watch.0.store(true, Ordering::Relaxed);
        check(&watch, 1000, 0, Some(ErrorKind::Interrupted));
    }
}
