//! Assertions about a run, as in `--assert 'p99<50ms' 'lost==0'`.
//!
//! ```text
//! assertion  = metric comparison value
//! comparison = "<" | "<=" | ">" | ">=" | "==" | "!="
//! metric     = [timing "."] ("p" percentile | "min" | "mean" | "max") | counter | rate | memory
//! value      = number [unit]
//! ```
//!
//! [`METRICS`] says what can be asserted. What was not measured holds for nobody: an assertion about
//! it is broken, and so is any about an invalid run.

mod metric;
mod value;

use std::{fmt, str::FromStr};

use self::{metric::Metric, value::Value};
use crate::record::Run;

/// What a process exits with when an assertion is broken.
pub(crate) const EXIT_CODE: u8 = 3;

/// What can be asserted, for the command line's help.
pub(crate) const METRICS: &str = "\
latencies    p50, p99, p99.9 (any percentile), min, mean, max; of the workload's main latency, or of
             another: connect.p99, upgrade.p99, first_message.p50, round_trip.p99, one_way.p99,
             close.max, and so on. With a unit: 50ms, 1.5s, 200us.
counters     attempted, connected, failed, closed, sent, received, sent_bytes, received_bytes, lost,
             duplicated, reordered, corrupted, errors, late, unsent; open (at the end). A number
             (10k, 1M, 64KiB) or a part: failed, connected and errors of those attempted, closed of
             those connected, late and unsent of those due, lost and the other faults of those
             that should have been received: lost<0.1%.
rates        rate (received), sent_rate, connect_rate: a second, over the whole measurement.
memory       bytes_per_connection, user_bytes_per_connection, kernel_bytes_per_connection: of the
             server, if it was watched.
Comparisons are <, <=, >, >=, == and !=.";

/// One assertion, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assertion {
    text: String,
    metric: Metric,
    comparison: Comparison,
    value: Value,
}

/// What assertions say about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// Whether all hold.
    pub(crate) is_held: bool,
    /// A section of the table: of each whether it holds, and what was measured.
    pub(crate) text: String,
}

/// Judges a run by all assertions. No assertion holds in a run that is invalid.
pub(crate) fn judge(run: &Run, assertions: &[Assertion]) -> Judgement {
    let mut judgement = Judgement { is_held: true, text: "\nassertions\n".into() };
    for assertion in assertions {
        let (is_held, found) = assertion.check(run);
        judgement.is_held &= is_held;
        let word = if is_held { "held  " } else { "broken" };
        judgement.text += &format!("  {word}  {}  ({found})\n", assertion.text);
    }
    judgement
}

impl Assertion {
    /// Whether it holds, and what was found.
    fn check(&self, run: &Run) -> (bool, String) {
        let Some(found) = self.metric.value(run, self.value.unit) else {
            return (false, "it was not measured".into());
        };
        let text = format!("it is {}", self.value.unit.text(found));
        if !run.verdict.is_valid() {
            return (false, format!("{text}, but the run is invalid"));
        }
        (self.comparison.holds(found, self.value.number), text)
    }
}

impl FromStr for Assertion {
    type Err = String;

    /// Reads an assertion; what is wrong with it, and what could be meant, is the error.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |problem: String| format!("{text:?}: {problem}");
        let is_sign = |c: char| "<>=!".contains(c);
        let no_sign = || wrong("no comparison in it; write for example p99<50ms or lost==0".into());
        let start = text.find(is_sign).ok_or_else(no_sign)?;
        let rest = &text[start..];
        let (sign, value) = rest.split_at(rest.find(|c| !is_sign(c)).unwrap_or(rest.len()));
        let comparison = Comparison::parse(sign).map_err(wrong)?;
        let metric = Metric::parse(text[..start].trim()).map_err(wrong)?;
        let value = Value::parse(value.trim()).map_err(wrong)?;
        metric.accepts(value.unit).map_err(wrong)?;
        Ok(Self { text: text.trim().into(), metric, comparison, value })
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    Different,
}

impl Comparison {
    fn parse(sign: &str) -> Result<Self, String> {
        Ok(match sign {
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            "==" => Self::Equal,
            "!=" => Self::Different,
            _ => return Err(format!("{sign} is no comparison; use <, <=, >, >=, == or !=")),
        })
    }

    fn holds(self, found: f64, value: f64) -> bool {
        match self {
            Self::Less => found < value,
            Self::LessOrEqual => found <= value,
            Self::Greater => found > value,
            Self::GreaterOrEqual => found >= value,
            Self::Equal => found == value,
            Self::Different => found != value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record::Verdict, report::sample};

    #[track_caller]
    fn judged(run: &Run, text: &str) -> Judgement {
        judge(run, &[text.parse().unwrap_or_else(|error| panic!("{error}"))])
    }

    #[test]
    fn assertions_hold_or_are_broken() {
        let run = sample::echo();
        #[track_caller]
        fn check(run: &Run, held: &[&str], broken: &[&str]) {
            for text in held {
                let judgement = judged(run, text);
                assert!(judgement.is_held, "{}", judgement.text);
            }
            for text in broken {
                let judgement = judged(run, text);
                assert!(!judgement.is_held, "{}", judgement.text);
            }
        }
        // Of the main latency, and of others.
        check(
            &run,
            &["p99<50ms", "p50 >= 50us", "p99.9<=1s", "mean<1ms"],
            &["max<1ms", "p50<50µs"],
        );
        check(&run, &["connect.p99<1ms", "round_trip_service.max>1ms"], &["upgrade.min<100us"]);
        // Counters, as numbers and as parts.
        check(
            &run,
            &["lost==2", "sent>=100k", "open==1000", "received!=0"],
            &["lost==0", "sent<1e5"],
        );
        check(&run, &["lost<0.1%", "failed<1%", "errors<1%"], &["lost==0%", "connected==100%"]);
        check(&run, &["sent_bytes>6MiB", "closed==1000"], &["sent_bytes>7MiB", "closed>1k"]);
        // Rates and memory.
        check(&run, &["rate>=10k", "sent_rate>10k", "connect_rate==0"], &["rate>10.1k"]);
        check(&run, &["bytes_per_connection<5KiB", "user_bytes_per_connection==64B"], &[]);
        // What was not measured.
        check(&run, &[], &["one_way.p99<1h", "close.max>=0s"]);
        let mut bare = run.clone();
        bare.memory.clear();
        check(&bare, &[], &["bytes_per_connection<1GiB"]);
        let mut invalid = run;
        invalid.verdict = Verdict::because(vec!["lag".into()]);
        check(&invalid, &[], &["p99<50ms"]);
    }

    #[test]
    fn the_judgement_says_what_was_found() {
        let assertions = ["lost==0", "p50<1s"].map(|text| text.parse().unwrap());
        let judgement = judge(&sample::echo(), &assertions);
        assert!(!judgement.is_held);
        assert_eq!(
            judgement.text,
            "\nassertions\n  broken  lost==0  (it is 2)\n  held    p50<1s  (it is 102 µs)\n"
        );
        assert!(judge(&sample::echo(), &[]).is_held);
    }

    #[test]
    fn errors_name_the_input_and_the_remedy() {
        #[track_caller]
        fn check(text: &str, parts: &[&str]) {
            let error = text.parse::<Assertion>().unwrap_err();
            assert!(error.starts_with(&format!("{text:?}: ")), "{error}");
            for part in parts {
                assert!(error.contains(part), "{part} is not in: {error}");
            }
        }
        check("", &["no comparison", "p99<50ms"]);
        check("p99", &["no comparison"]);
        check("p99=50ms", &["= is no comparison", "=="]);
        check("p99=<50ms", &["=< is no comparison"]);
        check("p99<>50ms", &["<> is no comparison"]);
        check("latency<50ms", &["latency is not known", "p99", "round_trip", "lost", "rate"]);
        check("<50ms", &["no metric"]);
        check("nowhere.p99<50ms", &["nowhere is no latency", "connect", "one_way"]);
        check("connect.lost<50ms", &["lost", "min, mean, max"]);
        check("p101<50ms", &["p101", "between 0 and 100"]);
        check("p999<50ms", &["did you mean p99.9"]);
        check("px<50ms", &["px is not known"]);
        check("pnan<50ms", &["pnan is not known"]);
        check("p99<50", &["a time", "50ms"]);
        check("p99<5%", &["a time"]);
        check("p99<", &["no value"]);
        check("p99<ms", &["no number"]);
        check("p99<50parsecs", &["parsecs is no unit", "ms"]);
        check("lost<5ms", &["a number"]);
        check("lost<1KiB", &["a number"]);
        check("rate>10%", &["a number"]);
        check("open>10%", &["a number"]);
        check("sent<1%", &["a number"]);
        check("bytes_per_connection<2k", &["a size", "2KiB"]);
        check("p99<1ms<2ms", &["ms<2ms is no unit"]);
        check("p99<-1ms", &["no number"]);
        check("p99<1.2.3ms", &["1.2.3 is no number"]);
    }
}
