//! A process by its number: `/proc/PID`.

use std::{fs, io, time::Duration};

use rustix::{
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};

use super::field;

/// A process, ours or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pid: u32,
}

impl Process {
    /// The process `pid`.
    ///
    /// # Errors
    ///
    /// If there is none, or it is not ours to look at.
    pub(crate) fn new(pid: u32) -> io::Result<Self> {
        let process = Self { pid };
        process.read("status")?;
        Ok(process)
    }

    /// This process.
    pub(crate) fn this() -> Self {
        Self { pid: std::process::id() }
    }

    /// Bytes of memory that it occupies, those included that it shares with others.
    pub(crate) fn resident_len(self) -> io::Result<u64> {
        Ok(field(&self.read("status")?, "VmRSS") * 1024)
    }

    /// How long it has run, in user space and in the kernel, to a hundredth of a second.
    pub(crate) fn cpu_time(self) -> io::Result<Duration> {
        let text = self.read("stat")?;
        // The second field is a name in parentheses, with whatever else in it.
        let (_, rest) = text.rsplit_once(')').unwrap_or_default();
        let fields = rest.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
    }

    fn read(self, file: &str) -> io::Result<String> {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot read {path}: {error}")))
    }
}

/// How long the calling thread has run, in user space and in the kernel.
pub(crate) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there_and_works() {
        let process = Process::new(std::process::id()).unwrap();
        assert_eq!(process, Process::this());
        assert!(process.resident_len().unwrap() > 0);
        let (before, thread_before) = (process.cpu_time().unwrap(), thread_cpu_time());
        while process.cpu_time().unwrap() == before || thread_cpu_time() == thread_before {
            std::hint::black_box((0..1_000_000).map(std::hint::black_box).sum::<u64>());
        }
    }

    #[test]
    fn no_process_has_this_number() {
        let error = Process::new(u32::MAX).unwrap_err();
        assert!(error.to_string().contains("/proc/4294967295/status"), "{error}");
    }
}
