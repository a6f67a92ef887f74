//! A process by its number: `/proc/PID`.

use std::{fs, io, time::Duration};

/// A process, ours or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pid: u32,
}

impl Process {
    /// The process `pid`, which has to exist.
    pub(crate) fn new(pid: u32) -> io::Result<Self> {
        let process = Self { pid };
        process.threads()?;
        Ok(process)
    }

    /// This process.
    pub(crate) fn this() -> Self {
        Self { pid: std::process::id() }
    }

    pub(crate) fn id(self) -> u32 {
        self.pid
    }

    /// The numbers of its threads, those that the kernel runs for its io_uring included.
    pub(crate) fn threads(self) -> io::Result<Vec<u32>> {
        let path = format!("/proc/{}/task", self.pid);
        let entries = fs::read_dir(&path).map_err(|error| unreadable(&path, &error))?;
        let names = entries.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }

    /// How long its threads have run, in user space and in the kernel. Threads that are gone do not
    /// count.
    pub(crate) fn cpu_time(self) -> io::Result<Duration> {
        let mut nanoseconds = 0;
        for tid in self.threads()? {
            // A thread may end meanwhile.
            let path = format!("/proc/{}/task/{tid}/schedstat", self.pid);
            let Ok(text) = fs::read_to_string(path) else { continue };
            nanoseconds += first_number(&text);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// How often the kernel's clock found it in user space, and how often in the kernel.
    pub(crate) fn ticks(self) -> io::Result<(u64, u64)> {
        let path = format!("/proc/{}/stat", self.pid);
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        // The second field is a name in parentheses, with whatever else in it.
        let (_, rest) = text.rsplit_once(')').unwrap_or_default();
        let mut fields = rest.split(' ').skip(12).map(first_number);
        Ok((fields.next().unwrap_or(0), fields.next().unwrap_or(0)))
    }

    /// Bytes of memory that it occupies.
    pub(crate) fn resident_len(self) -> io::Result<u64> {
        let path = format!("/proc/{}/status", self.pid);
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.map_or(0, first_number) * 1024)
    }
}

/// The number that `text` begins with, or zero.
pub(super) fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
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
        assert!(!process.threads().unwrap().is_empty());
        assert!(process.resident_len().unwrap() > 0);
        let before = process.cpu_time().unwrap();
        while process.cpu_time().unwrap() == before {
            std::hint::black_box((0..1_000_000).map(std::hint::black_box).sum::<u64>());
        }
        while process.ticks().unwrap().0 == 0 {
            std::hint::black_box((0..1_000_000).map(std::hint::black_box).sum::<u64>());
        }
    }

    #[test]
    fn no_process_has_this_number() {
        let error = Process::new(u32::MAX).unwrap_err();
        assert!(error.to_string().contains("/proc/4294967295/task"), "{error}");
    }
}
