//! A run over time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Counter, Counters, seconds};

/// What all recorders saw in one interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// When the interval ended, since the measurement (or the warm-up) began; in JSON in seconds.
    #[serde(with = "seconds")]
    pub(crate) at: Duration,
    /// How long it was; the last of a run can be shorter than the others.
    #[serde(with = "seconds")]
    pub(crate) length: Duration,
    /// What was counted in it.
    pub(crate) counters: Counters,
    /// Open connections at its end.
    pub(crate) open: u64,
    /// Messages that were due at its end and not yet sent.
    pub(crate) backlog: u64,
    /// The median of the run's main latency in this interval.
    #[serde(with = "seconds::option")]
    pub(crate) p50: Option<Duration>,
    /// Its 99th percentile.
    #[serde(with = "seconds::option")]
    pub(crate) p99: Option<Duration>,
    /// Its longest.
    #[serde(with = "seconds::option")]
    pub(crate) max: Option<Duration>,
    /// CPU time of the busiest of our own reactor threads as a part of the interval, 0 to 1.
    pub(crate) cpu: f64,
}

impl Point {
    /// How often a second something was counted.
    pub(crate) fn rate(&self, counter: Counter) -> f64 {
        let seconds = self.length.as_secs_f64();
        if seconds > 0.0 { self.counters[counter] as f64 / seconds } else { 0.0 }
    }
}
