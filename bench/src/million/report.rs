//! What was found out: for people, and as JSON.

use std::fmt;

use serde::Serialize;
use throng_meter::Taken;

use super::clients::Tally;

/// A run. Lengths are in bytes, times in seconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) driver: &'static str,
    pub(super) reactors: usize,
    pub(super) has_own_network: bool,
    /// How many connections were asked for.
    pub(super) asked: usize,
    /// Those that were opened, with an opening handshake each.
    pub(super) connected: Phase,
    /// Why it were not all of them.
    pub(super) stopped: Option<String>,
    pub(super) memory: Memory,
    /// What the server had resident when it had pinged everyone and sent everyone a message.
    pub(super) resident_after: u64,
    /// Which part of a second the server was busy while nothing happened.
    pub(super) idle_busy: f64,
    /// Those that were pinged and whose pong the server heard.
    pub(super) pinged: Option<Phase>,
    /// Those that heard the message to all.
    pub(super) told: Option<Phase>,
    /// Those that were told 1001, answered, and saw the server leave.
    pub(super) closed: Option<Phase>,
    /// Those that the server dropped, since the closing handshake took too long.
    pub(super) dropped: usize,
    /// What was free or page cache on the machine before the run, and after it.
    pub(super) available_before: u64,
    pub(super) available_after: u64,
    /// What went wrong first with connections that were open.
    pub(super) problem: Option<String>,
}

/// What one phase came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Phase {
    /// Connections that got through it.
    pub(super) count: usize,
    /// From its beginning to the last of them.
    pub(super) seconds: f64,
    /// How long the server's threads were busy with it, which on loopback includes what the kernel
    /// does for the receiver of each send. Not known of threads that ended.
    pub(super) server_seconds: Option<f64>,
}

/// What connections cost that are open and silent.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Memory {
    /// What the server has resident with all of them.
    pub(super) resident: u64,
    /// What each of the second half of them added to that.
    pub(super) resident_each: f64,
    /// What is left if that is taken from it for all of them: the server's own.
    pub(super) resident_own: f64,
    /// In the kernel's slabs for each connection: at the server's end, at the most, and at both.
    pub(super) kernel_server_each: Option<f64>,
    pub(super) kernel_pair_each: Option<f64>,
    /// Of memory that was free or page cache, for each connection: everything, at both ends.
    pub(super) machine_pair_each: f64,
}

impl Report {
    pub(super) fn new(driver: &'static str, reactors: usize, asked: usize) -> Self {
        Self { driver, reactors, asked, ..Self::default() }
    }

    /// Notes it if not all open connections got through a phase, and why.
    pub(super) fn checked(&mut self, phase: Phase, what: &str, tally: Tally) -> Phase {
        let open = self.connected.count;
        if phase.count < open || tally.problem.is_some() {
            let why = tally.problem.unwrap_or_else(|| "the others kept silent".into());
            self.problem.get_or_insert(format!("{} of {open} {what}: {why}", phase.count));
        }
        phase
    }
}

impl Phase {
    /// Both phases as one, where the count of `next` includes that of this one.
    pub(super) fn followed_by(self, next: Self) -> Self {
        Self {
            count: next.count,
            seconds: self.seconds + next.seconds,
            server_seconds: self.server_seconds.zip(next.server_seconds).map(|(a, b)| a + b),
        }
    }
}

impl Memory {
    /// Of `count` connections, of which the `added` ones, the last, added so many bytes to what the
    /// server has `resident`.
    pub(super) fn new(count: usize, resident: u64, added: (usize, i64), taken: Taken) -> Self {
        let (added_count, added_len) = added;
        let each = |len: i64| len as f64 / count.max(1) as f64;
        let resident_each = added_len as f64 / added_count.max(1) as f64;
        Self {
            resident,
            resident_each,
            resident_own: resident as f64 - resident_each * count as f64,
            kernel_server_each: taken.server_slabs.map(each),
            kernel_pair_each: taken.slabs.map(each),
            machine_pair_each: each(taken.available),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { driver, reactors, asked, connected, memory, .. } = self;
        let network = if self.has_own_network {
            "in a network of its own"
        } else {
            "in this machine's network"
        };
        writeln!(f, "{driver}, {reactors} reactors, {network}")?;
        writeln!(f, "  connected  {connected}, of {asked}")?;
        if let Some(why) = &self.stopped {
            writeln!(f, "             no more, because: {why}")?;
        }
        writeln!(
            f,
            "  server     {:.1} B a connection, and {} of its own: {} resident",
            memory.resident_each,
            megabytes(memory.resident_own),
            megabytes(memory.resident as f64),
        )?;
        match memory.kernel_server_each.zip(memory.kernel_pair_each) {
            Some((server, pair)) => writeln!(
                f,
                "  kernel     at most {server:.0} B a connection at the server's end, {pair:.0} B at both"
            )?,
            None => writeln!(f, "  kernel     not known (/proc/slabinfo is root's)")?,
        }
        writeln!(
            f,
            "  machine    {:.0} B of free memory and page cache a connection",
            memory.machine_pair_each
        )?;
        writeln!(f, "  idle       server busy {:.2} ms in a second", self.idle_busy * 1e3)?;
        let phases = [("pinged", &self.pinged), ("told", &self.told), ("closed", &self.closed)];
        for (name, phase) in phases {
            match phase {
                Some(phase) => writeln!(f, "  {name:<10} {phase}")?,
                None => writeln!(f, "  {name:<10} none")?,
            }
        }
        if self.told.is_some() {
            let resident = megabytes(self.resident_after as f64);
            writeln!(f, "             with {resident} resident before the last step")?;
        }
        if self.dropped > 0 {
            writeln!(f, "             {} of them dropped", self.dropped)?;
        }
        writeln!(
            f,
            "  afterwards {} are free or page cache, of {} before",
            megabytes(self.available_after as f64),
            megabytes(self.available_before as f64)
        )
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, seconds, server_seconds } = self;
        write!(f, "{count} in {seconds:.1} s")?;
        match server_seconds {
            Some(busy) => write!(f, ", server {:.1} µs each", busy * 1e6 / (*count).max(1) as f64),
            None => Ok(()),
        }
    }
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_missing_is_a_problem() {
        let check = |count: usize, problem: Option<&str>, expected: Option<&str>| {
            let mut report = Report::new("epoll", 2, 10);
            report.connected.count = 10;
            let tally = Tally { count, problem: problem.map(Into::into) };
            report.checked(Phase { count, ..Phase::default() }, "were told", tally);
            assert_eq!(report.problem.as_deref(), expected);
        };
        check(10, None, None);
        check(9, None, Some("9 of 10 were told: the others kept silent"));
        check(9, Some("lost"), Some("9 of 10 were told: lost"));
    }

    #[test]
    fn memory_is_that_of_each() {
        let taken = Taken { available: 8000, slabs: Some(6000), server_slabs: None };
        let memory = Memory::new(10, 1000, (5, 360), taken);
        assert_eq!((memory.resident_each, memory.resident_own), (72.0, 280.0));
        assert_eq!(memory.machine_pair_each, 800.0);
        assert_eq!((memory.kernel_pair_each, memory.kernel_server_each), (Some(600.0), None));
    }
}
