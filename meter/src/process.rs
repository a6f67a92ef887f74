//! A process by its number: `/proc/PID`.

use std::{fs, io, time::Duration};

use rustix::param::clock_ticks_per_second;

use super::{field_len, first_number};

/// A process, ours or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: u32,
}

impl Process {
    /// The process `pid`.
    ///
    /// # Errors
    ///
    /// If there is none, or it is not ours to look at.
    pub fn new(pid: u32) -> io::Result<Self> {
        let process = Self { pid };
        process.read("status")?;
        Ok(process)
    }

    /// This process.
    pub fn this() -> Self {
        Self { pid: std::process::id() }
    }

    /// Its number.
    pub fn id(self) -> u32 {
        self.pid
    }

    /// Bytes of memory that it occupies, those included that it shares with others.
    pub fn resident_len(self) -> io::Result<u64> {
        Ok(field_len(&self.read("status")?, "VmRSS"))
    }

    /// The numbers of its threads, those that the kernel runs for its io_uring included.
    pub fn threads(self) -> io::Result<Vec<u32>> {
        let path = self.path("task");
        let entries = fs::read_dir(&path).map_err(|error| unreadable(&path, &error))?;
        let names = entries.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }

    /// How long its threads have run, in user space and in the kernel, to a nanosecond. Threads that
    /// are gone do not count.
    pub fn cpu_time(self) -> io::Result<Duration> {
        // A thread may end meanwhile.
        let run_time =
            |tid| self.read(&format!("task/{tid}/schedstat")).map_or(0, |text| first_number(&text));
        Ok(Duration::from_nanos(self.threads()?.into_iter().map(run_time).sum()))
    }

    /// How long it has run in user space, and how long in the kernel, as the kernel's clock found it:
    /// to a hundredth of a second. Threads that are gone count.
    pub fn sampled_times(self) -> io::Result<(Duration, Duration)> {
        let text = self.read("stat")?;
        // The second field is a name in parentheses, with whatever else in it.
        let (_, rest) = text.rsplit_once(')').unwrap_or_default();
        let mut times = rest.split_whitespace().skip(11).map(|ticks| {
            Duration::from_secs_f64(first_number(ticks) as f64 / clock_ticks_per_second() as f64)
        });
        Ok((times.next().unwrap_or_default(), times.next().unwrap_or_default()))
    }

    fn read(self, file: &str) -> io::Result<String> {
        let path = self.path(file);
        fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))
    }

    fn path(self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }
}

fn unreadable(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there_and_works() {
        let process = Process::new(std::process::id()).unwrap();
        assert_eq!(process, Process::this());
        assert!(!process.threads().unwrap().is_empty());
        assert!(process.resident_len().unwrap() > 0);
        let (before, (user, _)) = (process.cpu_time().unwrap(), process.sampled_times().unwrap());
        while process.cpu_time().unwrap() == before || process.sampled_times().unwrap().0 == user {
            std::hint::black_box((0..1_000_000).map(std::hint::black_box).sum::<u64>());
        }
    }

    #[test]
    fn no_process_has_this_number() {
        let error = Process::new(u32::MAX).unwrap_err();
        assert!(error.to_string().contains("/proc/4294967295/status"), "{error}");
    }
}
