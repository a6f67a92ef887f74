//! A run as data: what `--json` writes and `compare` reads.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Facts, Point, Tally, Timing, Verdict, seconds};

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
    /// Whose: `server`, `load generator`.
    pub(crate) whose: String,
    /// How many connections cost that.
    pub(crate) connection_count: u64,
    /// Bytes of the process, beyond what it took without connections.
    pub(crate) user_len: u64,
    /// Bytes of the kernel, likewise, when they are known.
    pub(crate) kernel_len: Option<u64>,
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
