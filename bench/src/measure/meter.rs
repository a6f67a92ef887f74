//! What a process costs between two moments.

use std::{
    io,
    time::{Duration, Instant},
};

use throng_meter::Process;

use super::{Counts, counters::Counters};

/// Begun, and to be stopped.
#[derive(Debug)]
pub(crate) struct Meter {
    process: Process,
    counters: Option<Counters>,
    cpu: Duration,
    sampled: (Duration, Duration),
    start: Instant,
}

/// What was spent while a meter ran.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// How long it ran.
    pub(crate) wall: Duration,
    /// How long the process did.
    pub(crate) cpu: Duration,
    sampled: (Duration, Duration),
    /// Where hardware counters are to be had.
    pub(crate) counts: Option<Counts>,
}

impl Meter {
    /// Starts to measure `process`.
    pub(crate) fn start(process: Process) -> io::Result<Self> {
        let counters = Counters::open(process).ok();
        let (sampled, cpu) = (process.sampled_times()?, process.cpu_time()?);
        Ok(Self { process, counters, cpu, sampled, start: Instant::now() })
    }

    pub(crate) fn stop(self) -> io::Result<Cost> {
        let wall = self.start.elapsed();
        let cpu = self.process.cpu_time()?.saturating_sub(self.cpu);
        let (user, kernel) = self.process.sampled_times()?;
        let sampled = (user.saturating_sub(self.sampled.0), kernel.saturating_sub(self.sampled.1));
        let counts = self.counters.map(|counters| counters.read()).transpose()?;
        Ok(Cost { wall, cpu, sampled, counts })
    }
}

impl Cost {
    /// The part of the time that the process was busy; more than 1 on several cores.
    pub(crate) fn busy(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64()
    }

    /// The part of its time that the process was in user space: a sample a tick, of which there are
    /// a few hundred in a second. Not a number without any.
    pub(crate) fn user_part(&self) -> f64 {
        let (user, kernel) = self.sampled;
        user.as_secs_f64() / (user + kernel).as_secs_f64()
    }
}
