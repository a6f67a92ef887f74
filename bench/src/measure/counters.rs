//! Hardware counters of a process's threads: perf events.

use std::{io, os::fd::OwnedFd};

use throng_meter::Process;

use crate::sys::PerfEvent;

/// Counters that run since they were opened.
#[derive(Debug)]
pub(crate) struct Counters {
    events: Vec<(Field, OwnedFd)>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) cycles: f64,
    pub(crate) user_instructions: f64,
    pub(crate) kernel_instructions: f64,
}

type Field = fn(&mut Counts) -> &mut f64;

impl Counters {
    /// Counts what the threads of `process` do, and those that they start.
    ///
    /// # Errors
    ///
    /// Where there are no counters, as in many virtual machines, and where they are not ours to read
    /// (`/proc/sys/kernel/perf_event_paranoid`).
    pub(crate) fn open(process: Process) -> io::Result<Self> {
        let mut events = Vec::new();
        for tid in process.threads()? {
            for (field, config, flags) in EVENTS {
                let event = PerfEvent::hardware(config, flags | INHERIT, TIMES);
                match event.open(tid) {
                    Ok(descriptor) => events.push((field, descriptor)),
                    // The thread has ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Self { events })
    }

    /// What was counted since.
    pub(crate) fn read(&self) -> io::Result<Counts> {
        let mut counts = Counts::default();
        for (field, descriptor) in &self.events {
            let mut bytes = [0; 24];
            rustix::io::read(descriptor, &mut bytes)?;
            let (words, _) = bytes.as_chunks::<8>();
            let [count, enabled, running] =
                [0, 1, 2].map(|index| u64::from_ne_bytes(words[index]) as f64);
            // More events than the processor has counters take turns.
            if running > 0.0 {
                *field(&mut counts) += count * enabled / running;
            }
        }
        Ok(counts)
    }
}

const EVENTS: [(Field, u64, u64); 3] = [
    (|counts| &mut counts.cycles, CYCLES, EXCLUDE_HYPERVISOR),
    (|counts| &mut counts.user_instructions, INSTRUCTIONS, EXCLUDE_HYPERVISOR | EXCLUDE_KERNEL),
    (|counts| &mut counts.kernel_instructions, INSTRUCTIONS, EXCLUDE_HYPERVISOR | EXCLUDE_USER),
];

const CYCLES: u64 = 0;
const INSTRUCTIONS: u64 = 1;
const INHERIT: u64 = 1 << 1;
const EXCLUDE_USER: u64 = 1 << 4;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
/// Beside the count: how long the event was enabled, and how long it was counted.
const TIMES: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_count_where_there_are_any() {
        let Ok(counters) = Counters::open(Process::this()) else { return };
        std::hint::black_box((0..1_000_000).map(std::hint::black_box).sum::<u64>());
        let counts = counters.read().unwrap();
        assert!(counts.user_instructions >= 1e6, "{counts:?}");
    }
}
