//! A run as data: what `--json` writes and `compare` reads.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Counter, Facts, Point, Tally, Timing, Verdict, seconds};

/// The version of the JSON. It changes when a field changes its meaning or goes away.
pub(crate) const SCHEMA: u32 = 1;

/// All that is known about a run. In JSON times are seconds, sizes bytes, rates per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// [`SCHEMA`] of whoever wrote it.
    pub(crate) schema: u32,
    /// Name and version of the program, as in `throng-loadgen 0.1.0`.
    pub(crate) program: String,
    /// When it began, as in `2026-11-21T23:50:00Z`.
    pub(crate) started: String,
    /// The full command line, word by word.
    pub(crate) command_line: Vec<String>,
    /// Kernel, CPU, limits, driver, versions.
    pub(crate) environment: Facts,
    /// The workload's name, as in `echo`.
    pub(crate) workload: String,
    /// What it was told: connections, rate, payload, target.
    pub(crate) parameters: Facts,
    /// What decides when a message is sent.
    pub(crate) pacing: Pacing,
    /// How long the warm-up was, which is in none of the figures.
    #[serde(with = "seconds")]
    pub(crate) warm_up: Duration,
    /// How long the measurement was.
    #[serde(with = "seconds")]
    pub(crate) duration: Duration,
    /// What a reader should know besides, each a sentence.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    /// Whether the load generator kept up.
    pub(crate) verdict: Verdict,
    /// The latency that `p99` without more means.
    pub(crate) main: Timing,
    /// Counters, close codes, errors, latencies.
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// Connections that were open at the end of the measurement.
    pub(crate) open: u64,
    /// What the connections cost, of whom it is known.
    #[serde(default)]
    pub(crate) memory: Vec<Memory>,
    /// What `limit` tried, in order.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    /// The measurement, interval by interval.
    pub(crate) series: Vec<Point>,
}

impl Run {
    /// The command line as one would type it.
    pub(crate) fn command(&self) -> String {
        let words: Vec<_> = self.command_line.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    }

    /// How often a second something was counted, over the intervals of the measurement: neither what
    /// came after its end nor connections that were opened before it are in this.
    pub(crate) fn rate(&self, counter: Counter) -> f64 {
        let (mut counted, mut length) = (0, Duration::ZERO);
        for point in &self.series {
            counted += point.counters[counter];
            length += point.length;
        }
        if length.is_zero() { 0.0 } else { counted as f64 / length.as_secs_f64() }
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// What decides when a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "loop", rename_all = "snake_case")]
pub(crate) enum Pacing {
    /// A schedule: so many a second, all connections together, whatever the server does.
    Open {
        /// Messages, or connections, a second.
        rate: f64,
    },
    /// The answers: a connection sends when the one before was answered. A slow server is asked
    /// less, so that its latencies look better than what users at a given rate would see.
    Closed {
        /// Unanswered messages a connection.
        in_flight: u64,
    },
    /// Nothing is sent.
    Idle,
}

/// What connections cost a process and the kernel beneath it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Whose: [`Memory::SERVER`] or [`Memory::OWN`].
    pub(crate) whose: String,
    /// How many connections cost that.
    pub(crate) connection_count: u64,
    /// Bytes of the process, beyond what it took without connections.
    pub(crate) user_len: u64,
    /// Bytes of the kernel, likewise, when they are known.
    pub(crate) kernel_len: Option<u64>,
}

impl Memory {
    /// The process under load.
    pub(crate) const SERVER: &str = "server";
    /// The load generator itself.
    pub(crate) const OWN: &str = "load generator";

    /// Bytes of the process a connection.
    pub(crate) fn user_len_each(&self) -> Option<f64> {
        self.each(self.user_len)
    }

    /// Bytes of the kernel a connection.
    pub(crate) fn kernel_len_each(&self) -> Option<f64> {
        self.each(self.kernel_len?)
    }

    fn each(&self, len: u64) -> Option<f64> {
        (self.connection_count > 0).then(|| len as f64 / self.connection_count as f64)
    }
}

/// One load that `limit` tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// The load: connections, or messages a second; what it is, `parameters` says.
    pub(crate) load: f64,
    /// Messages received a second.
    pub(crate) rate: f64,
    /// Median of the main latency.
    #[serde(with = "seconds::option")]
    pub(crate) p50: Option<Duration>,
    /// 99th percentile of the main latency.
    #[serde(with = "seconds::option")]
    pub(crate) p99: Option<Duration>,
    /// Messages lost.
    pub(crate) lost: u64,
    /// Whether everything that was asked for was true.
    pub(crate) is_held: bool,
    /// If not, why; a load that we could not produce ourselves is not the server's fault.
    pub(crate) reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_typed_again() {
        assert_eq!(
            ["a-b=1.5", "p99<5", "", "it's"].map(quoted).join(" "),
            r"a-b=1.5 'p99<5' '' 'it'\''s'"
        );
    }

    #[test]
    fn memory_is_shared_out() {
        let mut memory =
            Memory { whose: "server".into(), connection_count: 4, user_len: 10, kernel_len: None };
        assert_eq!((memory.user_len_each(), memory.kernel_len_each()), (Some(2.5), None));
        memory.connection_count = 0;
        assert_eq!(memory.user_len_each(), None);
    }
}
