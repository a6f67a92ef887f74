//! What can be asserted about.

use super::value::Unit;
use crate::record::{Counter, Counters, Latencies, Memory, Run, Timing};

/// Something that was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Metric {
    /// Of a timing, or of the workload's main one.
    Latency(Option<Timing>, Statistic),
    Count(Counter),
    /// Connections that were open at the end.
    Open,
    /// How often a second.
    Rate(Counter),
    /// Of the server.
    BytesPerConnection(Part),
}

/// Which figure of many latencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Statistic {
    Quantile(f64),
    Min,
    Mean,
    Max,
}

/// Whose bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    User,
    Kernel,
    Both,
}

/// Names that are not those of counters and latencies.
const OTHERS: [(&str, Metric); 7] = [
    ("open", Metric::Open),
    ("rate", Metric::Rate(Counter::Received)),
    ("sent_rate", Metric::Rate(Counter::Sent)),
    ("connect_rate", Metric::Rate(Counter::Connected)),
    ("bytes_per_connection", Metric::BytesPerConnection(Part::Both)),
    ("user_bytes_per_connection", Metric::BytesPerConnection(Part::User)),
    ("kernel_bytes_per_connection", Metric::BytesPerConnection(Part::Kernel)),
];

impl Metric {
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Err("no metric before the comparison".into());
        }
        // A dot can also be that of p99.9.
        if let Some((prefix, statistic)) = name.split_once('.')
            && !is_percentile(name)
        {
            let timing = timing(prefix)?;
            let statistic = Statistic::parse(statistic)?.ok_or_else(|| {
                format!("{statistic} is no figure of a latency; use p50, p99.9, min, mean, max")
            })?;
            return Ok(Self::Latency(Some(timing), statistic));
        }
        if let Some(statistic) = Statistic::parse(name)? {
            return Ok(Self::Latency(None, statistic));
        }
        let counter = Counter::ALL.into_iter().find(|counter| counter.name() == name);
        let other = OTHERS.into_iter().find(|(other, _)| *other == name);
        counter.map(Self::Count).or(other.map(|(_, metric)| metric)).ok_or_else(|| unknown(name))
    }

    /// Whether a value of this unit can be compared with it.
    pub(super) fn accepts(self, unit: Unit) -> Result<(), String> {
        let (is_fine, hint) = match self {
            Self::Latency(..) => (unit == Unit::Time, "a time, as in 50ms"),
            Self::BytesPerConnection(_) => (unit == Unit::Size, "a size, as in 2KiB"),
            Self::Count(Counter::SentBytes | Counter::ReceivedBytes) => {
                (matches!(unit, Unit::Plain | Unit::Size), "a number or a size, as in 2MiB")
            }
            Self::Count(counter) if has_whole(counter) => {
                (matches!(unit, Unit::Plain | Unit::Part), "a number or a part, as in 10k or 1%")
            }
            Self::Count(_) | Self::Open | Self::Rate(_) => {
                (unit == Unit::Plain, "a number, as in 10k")
            }
        };
        if is_fine { Ok(()) } else { Err(format!("the value has to be {hint}")) }
    }

    /// What a run has of it, in a unit that it [accepts](Self::accepts); `None` if it was not
    /// measured.
    pub(super) fn value(self, run: &Run, unit: Unit) -> Option<f64> {
        let counters = &run.tally.counters;
        match self {
            Self::Latency(timing, statistic) => {
                statistic.value(run.tally.latencies(timing.unwrap_or(run.main))?)
            }
            Self::Count(counter) if unit == Unit::Part => {
                let whole = whole(counters, counter)?;
                (whole > 0).then(|| counters[counter] as f64 / whole as f64)
            }
            Self::Count(counter) => Some(counters[counter] as f64),
            Self::Open => Some(run.open as f64),
            Self::Rate(counter) => Some(run.rate(counter)),
            Self::BytesPerConnection(part) => {
                let of_server = |cost: &&Memory| cost.whose == Memory::SERVER;
                part.value(run.memory.iter().find(of_server)?)
            }
        }
    }
}

impl Statistic {
    /// `None` for something else.
    fn parse(name: &str) -> Result<Option<Self>, String> {
        Ok(Some(match name {
            "min" => Self::Min,
            "mean" => Self::Mean,
            "max" => Self::Max,
            _ if is_percentile(name) => Self::Quantile(quantile(name)?),
            _ => return Ok(None),
        }))
    }

    fn value(self, latencies: &Latencies) -> Option<f64> {
        let latency = match self {
            Self::Quantile(part) => latencies.quantile(part),
            Self::Min => latencies.min(),
            Self::Mean => latencies.mean(),
            Self::Max => latencies.max(),
        };
        latency.map(|latency| latency.as_secs_f64())
    }
}

impl Part {
    fn value(self, cost: &Memory) -> Option<f64> {
        match self {
            Self::User => cost.user_len_each(),
            Self::Kernel => cost.kernel_len_each(),
            Self::Both => Some(cost.user_len_each()? + cost.kernel_len_each()?),
        }
    }
}

/// `p` and a number.
fn is_percentile(name: &str) -> bool {
    let digits = name.strip_prefix('p').unwrap_or_default();
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
}

fn quantile(name: &str) -> Result<f64, String> {
    let digits = &name[1..];
    let percent: f64 = digits.parse().map_err(|_| format!("{name} is no percentile"))?;
    if percent <= 100.0 {
        return Ok(percent / 100.0);
    }
    let meant = match digits.strip_prefix("99") {
        Some(nines) if !nines.contains('.') => format!("; did you mean p99.{nines}?"),
        _ => String::new(),
    };
    Err(format!("{name}: a percentile is between 0 and 100{meant}"))
}

fn timing(name: &str) -> Result<Timing, String> {
    let found = Timing::ALL.into_iter().find(|timing| timing.name() == name);
    found.ok_or_else(|| {
        format!("{name} is no latency; known are {}", Timing::ALL.map(Timing::name).join(", "))
    })
}

fn unknown(name: &str) -> String {
    let counters = Counter::ALL.map(Counter::name).join(", ");
    let others = OTHERS.map(|(name, _)| name).join(", ");
    let timings = Timing::ALL.map(Timing::name).join(", ");
    format!(
        "{name} is not known; known are p50, p99.9 (any percentile), min, mean, max, each also after one of {timings} and a dot; {counters}, {others}"
    )
}

/// Whether a counter can be given as a part of something.
fn has_whole(counter: Counter) -> bool {
    whole(&Counters::default(), counter).is_some()
}

/// What a counter counts a part of.
fn whole(counters: &Counters, counter: Counter) -> Option<u64> {
    Some(match counter {
        Counter::Connected | Counter::Failed | Counter::Errors => counters[Counter::Attempted],
        Counter::Closed => counters[Counter::Connected],
        Counter::Lost | Counter::Duplicated | Counter::Reordered | Counter::Corrupted => {
            counters[Counter::Received].saturating_add(counters[Counter::Lost])
        }
        Counter::Late | Counter::Unsent => counters[Counter::Sent] + counters[Counter::Unsent],
        Counter::Attempted
        | Counter::Sent
        | Counter::Received
        | Counter::SentBytes
        | Counter::ReceivedBytes => return None,
    })
}
