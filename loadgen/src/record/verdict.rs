//! Whether the load generator itself was the bottleneck.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Counter, Outcome, Timing};

/// How much of our own trouble a run may have and still say something about the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// CPU of the busiest reactor thread, as a part of an interval. Default: 0.85.
    pub(crate) cpu_max: f64,
    /// In which part of the intervals it may be above that. Default: 0.1.
    pub(crate) busy_intervals_max: f64,
    /// Part of the messages that were sent late, or not at all. Default: 0.01.
    pub(crate) late_max: f64,
    /// 99th percentile of the reactors' lag. Default: 10 ms.
    pub(crate) loop_lag_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_max: 0.85,
            busy_intervals_max: 0.1,
            late_max: 0.01,
            loop_lag_max: Duration::from_millis(10),
        }
    }
}

/// Whether a run says something about the server, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Whether it does: there are no reasons against it. Written for scripts.
    is_valid: bool,
    /// What the load generator could not keep up with, each a sentence with figure and limit.
    reasons: Vec<String>,
}

impl Verdict {
    /// Judges a measurement.
    pub(crate) fn judge(outcome: &Outcome, limits: &Limits) -> Self {
        let reasons =
            [missing(outcome), busy(outcome, limits), late(outcome, limits), slow(outcome, limits)];
        Self::because(reasons.into_iter().flatten().collect())
    }

    /// Valid if there are no reasons against it.
    pub(crate) fn because(reasons: Vec<String>) -> Self {
        Self { is_valid: reasons.is_empty(), reasons }
    }

    /// Whether the run says something about the server.
    pub(crate) fn is_valid(&self) -> bool {
        self.is_valid
    }

    /// Why not, each a sentence with figure and limit.
    pub(crate) fn reasons(&self) -> &[String] {
        &self.reasons
    }
}

fn missing(outcome: &Outcome) -> Option<String> {
    let count = outcome.missing_count;
    (count > 0).then(|| {
        format!("{count} of the load generator's threads ended early: their figures are missing")
    })
}

fn busy(outcome: &Outcome, limits: &Limits) -> Option<String> {
    let interval_count = outcome.series.len();
    let busy_count = outcome.series.iter().filter(|point| point.cpu > limits.cpu_max).count();
    (busy_count as f64 > limits.busy_intervals_max * interval_count as f64).then(|| {
        format!(
            "a thread of the load generator used more than {:.0} % of its CPU in {busy_count} of {interval_count} intervals",
            limits.cpu_max * 100.0,
        )
    })
}

fn late(outcome: &Outcome, limits: &Limits) -> Option<String> {
    let counters = &outcome.tally.counters;
    let unsent = counters[Counter::Unsent];
    let late = counters[Counter::Late] + unsent;
    let due = counters[Counter::Sent] + unsent;
    let part = late as f64 / due.max(1) as f64;
    (part > limits.late_max).then(|| {
        format!(
            "{:.1} % of the messages were sent late or not at all (the limit is {:.0} %)",
            part * 100.0,
            limits.late_max * 100.0,
        )
    })
}

fn slow(outcome: &Outcome, limits: &Limits) -> Option<String> {
    let lag = outcome.tally.latencies(Timing::LoopLag)?.quantile(0.99)?;
    (lag > limits.loop_lag_max).then(|| {
        format!(
            "the load generator's own loops lagged by {lag:.1?} at p99 (the limit is {:?})",
            limits.loop_lag_max,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Point;

    fn outcome(cpus: &[f64], sent: u64, late: u64, lag_ms: u64) -> Outcome {
        let series = cpus.iter().map(|&cpu| Point { cpu, ..Point::default() }).collect();
        let mut outcome = Outcome { series, ..Outcome::default() };
        outcome.tally.counters[Counter::Sent] = sent;
        outcome.tally.counters[Counter::Late] = late;
        outcome.tally.record(Timing::LoopLag, Duration::from_millis(lag_ms));
        outcome
    }

    #[test]
    fn a_run_is_valid_until_there_is_a_reason() {
        #[track_caller]
        fn check(outcome: &Outcome, parts: &[&str]) {
            let verdict = Verdict::judge(outcome, &Limits::default());
            assert_eq!(verdict.is_valid(), parts.is_empty(), "{verdict:?}");
            assert_eq!(verdict.reasons().len(), parts.len(), "{verdict:?}");
            for (reason, part) in verdict.reasons().iter().zip(parts) {
                assert!(reason.contains(part), "{reason}");
            }
        }
        let (calm, one_of_ten) = ([0.5; 10], [0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]);
        check(&Outcome::default(), &[]);
        check(&outcome(&calm, 100, 1, 9), &[]);
        check(&outcome(&one_of_ten, 100, 0, 0), &[]);
        check(&outcome(&[0.9, 0.9, 0.5], 100, 0, 0), &["85 % of its CPU in 2 of 3 intervals"]);
        check(&outcome(&calm, 100, 2, 0), &["2.0 % of the messages"]);
        check(&outcome(&calm, 100, 0, 25), &["by 25.0ms at p99 (the limit is 10ms)"]);
        let broken = Outcome { missing_count: 1, ..Outcome::default() };
        check(&broken, &["1 of the load generator's threads"]);
        check(&outcome(&[1.0], 1, 1, 60), &["CPU", "late", "lagged"]);
    }
}
