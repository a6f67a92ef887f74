//! Two runs side by side.

use std::{collections::BTreeSet, time::Duration};

use super::{
    grid::Grid,
    sections::{headline, pacing},
    units::{bytes, count, number, time},
};
use crate::record::{Counter, Facts, Memory, Point, QUANTILES, Run, Timing};

const LEGEND: &str = "
varies: the standard deviation between the intervals of the less steady run; a difference within it
is noise.
";

/// Both runs, and the second as a multiple of the first. What makes the comparison doubtful, such as
/// other machines or other workloads, comes first.
pub(crate) fn text(one: &Run, other: &Run) -> String {
    let warnings: String =
        warnings(one, other).iter().map(|warning| format!("warning: {warning}\n")).collect();
    let mut grid = Grid::new(1);
    grid.heading(["", "a", "b", "b/a", "varies"]);
    let rows = [rates(one, other), faults(one, other), memory(one, other), latencies(one, other)];
    rows.into_iter().flatten().filter(Row::is_something).for_each(|row| grid.row(row.cells()));
    let (headline_of_one, headline_of_other) = (headline(one), headline(other));
    format!("{warnings}a: {headline_of_one}\nb: {headline_of_other}\n\n{}{LEGEND}", grid.text())
}

/// Why the figures may say nothing about what one wants to compare.
fn warnings(one: &Run, other: &Run) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, run) in [("a", one), ("b", other)] {
        for reason in run.verdict.reasons() {
            warnings.push(format!("{name} is invalid: {reason}"));
        }
    }
    let mut differ = |what: &str, a: &str, b: &str| {
        if a != b {
            warnings.push(format!("{what} differs: {a} in a, {b} in b"));
        }
    };
    differ("the workload", &one.workload, &other.workload);
    differ("the pacing", &pacing(one.pacing), &pacing(other.pacing));
    differ("the program", &one.program, &other.program);
    for (left, right) in
        [(&one.parameters, &other.parameters), (&one.environment, &other.environment)]
    {
        for name in names(left, right) {
            let value = |facts: &Facts| facts.value(name).unwrap_or("nothing").to_owned();
            differ(name, &value(left), &value(right));
        }
    }
    warnings
}

fn names<'a>(left: &'a Facts, right: &'a Facts) -> BTreeSet<&'a str> {
    left.iter().chain(right.iter()).map(|(name, _)| name).collect()
}

/// One figure of both runs.
struct Row {
    name: String,
    values: [Option<f64>; 2],
    /// Standard deviation between the intervals, as a part of the mean: that of the run that has more.
    varies: Option<f64>,
    unit: fn(f64) -> String,
}

impl Row {
    fn is_something(&self) -> bool {
        self.values.iter().any(|value| value.unwrap_or(0.0) != 0.0)
    }

    fn cells(self) -> [String; 5] {
        let none = || "–".to_owned();
        let ratio = match self.values {
            [Some(one), Some(other)] if one > 0.0 => format!("{:.2} ×", other / one),
            _ => none(),
        };
        let varies =
            self.varies.map_or_else(String::new, |part| format!("± {:.1} %", part * 100.0));
        let [one, other] = self.values.map(|value| value.map_or_else(none, self.unit));
        [self.name, one, other, ratio, varies]
    }
}

fn rates(one: &Run, other: &Run) -> Vec<Row> {
    let rates = [
        ("sent a second", Counter::Sent),
        ("received a second", Counter::Received),
        ("connected a second", Counter::Connected),
    ];
    let row = |(name, counter): (&str, Counter)| Row {
        name: name.into(),
        values: [one, other].map(|run| Some(run.rate(counter))),
        varies: varies(one, other, |point| Some(point.rate(counter))),
        unit: number,
    };
    rates.into_iter().map(row).collect()
}

fn faults(one: &Run, other: &Run) -> Vec<Row> {
    let row = |fault: Counter| Row {
        name: fault.name().into(),
        values: [one, other].map(|run| Some(run.tally.counters[fault] as f64)),
        varies: None,
        unit: |value| count(value as u64),
    };
    [Counter::Failed, Counter::Errors].into_iter().chain(Counter::FAULTS).map(row).collect()
}

fn memory(one: &Run, other: &Run) -> Vec<Row> {
    let row = |whose: &str, part: &str, len: fn(&Memory) -> Option<f64>| Row {
        name: format!("{whose}, {part} memory of a connection"),
        values: [one, other].map(|run| len(run.memory.iter().find(|cost| cost.whose == whose)?)),
        varies: None,
        unit: bytes,
    };
    let both = |whose| {
        [
            row(whose, "process", Memory::user_len_each),
            row(whose, "kernel", Memory::kernel_len_each),
        ]
    };
    [Memory::SERVER, Memory::OWN].into_iter().flat_map(both).collect()
}

fn latencies(one: &Run, other: &Run) -> Vec<Row> {
    let row = |timing: Timing, name: &str, part: f64| Row {
        name: format!("{} {name}", timing.title()),
        values: [one, other]
            .map(|run| Some(run.tally.latencies(timing)?.quantile(part)?.as_secs_f64())),
        varies: match name {
            "p50" if timing == one.main => varies(one, other, |point| seconds(point.p50)),
            "p99" if timing == one.main => varies(one, other, |point| seconds(point.p99)),
            _ => None,
        },
        unit: |seconds| time(Some(Duration::from_secs_f64(seconds))),
    };
    let mut rows = Vec::new();
    for timing in Timing::ALL {
        // Of the others less, so that it stays in sight.
        let is_main = [one.main, other.main].contains(&timing);
        let shown = QUANTILES.into_iter().chain([("max", 1.0)]);
        let shown = shown.filter(|(name, _)| is_main || ["p50", "p99"].contains(name));
        rows.extend(shown.map(|(name, part)| row(timing, name, part)));
    }
    rows
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64())
}

/// How steady the less steady run is; `None` unless both have at least three intervals with a value.
fn varies(one: &Run, other: &Run, value: impl Fn(&Point) -> Option<f64>) -> Option<f64> {
    let of = |run: &Run| deviation(&run.series.iter().filter_map(&value).collect::<Vec<_>>());
    Some(of(one)?.max(of(other)?))
}

fn deviation(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() >= 3 && mean > 0.0).then(|| (squares / (count - 1.0)).sqrt() / mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record::Verdict, report::sample};

    #[test]
    fn a_run_is_like_itself() {
        let run = sample::echo();
        let text = text(&run, &run);
        assert!(!text.contains("warning"), "{text}");
        let sent =
            "  sent a second                             10.0 k    10.0 k  1.00 ×  ± 0.0 %\n";
        assert!(text.contains(sent), "{text}");
        assert!(!text.contains("duplicated"), "zero in both: {text}");
        let ratios: Vec<_> = text.lines().filter(|line| line.contains('×')).collect();
        assert!(ratios.len() > 10 && ratios.iter().all(|line| line.contains(" 1.00 ×")), "{text}");
    }

    #[test]
    fn differences_are_named() {
        let (one, mut other) = (sample::echo(), sample::echo());
        other.environment.set("kernel", "6.19");
        other.parameters.set("payload", "1 KiB");
        other.parameters.set("topics", 3);
        other.verdict = Verdict::because(vec!["loops lagged".into()]);
        other.tally.counters[Counter::Lost] = 0;
        other.tally.counters[Counter::Late] = 5;
        other.memory.clear();
        let text = text(&one, &other);
        for part in [
            "warning: b is invalid: loops lagged\n",
            "warning: kernel differs: 6.18 in a, 6.19 in b\n",
            "warning: payload differs: 64 B in a, 1 KiB in b\n",
            "warning: topics differs: nothing in a, 3 in b\n",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let row = |name: &str| -> Vec<&str> {
            let line = text.lines().find(|line| line.trim_start().starts_with(name));
            line.unwrap_or_else(|| panic!("{name} is not in {text}")).split_whitespace().collect()
        };
        assert_eq!(row("lost"), ["lost", "2", "0", "0.00", "×"]);
        assert_eq!(row("late"), ["late", "0", "5", "–"]);
        assert_eq!(row("round trip p50")[9..], ["±", "2.6", "%"]);
        assert!(row("server, process").ends_with(&["64", "B", "–", "–"]));
    }

    #[test]
    fn deviations_are_parts_of_the_mean() {
        assert_eq!(deviation(&[1.0, 1.0]), None, "too few");
        assert_eq!(deviation(&[0.0, 0.0, 0.0]), None, "of nothing");
        assert_eq!(deviation(&[2.0, 4.0, 6.0]), Some(0.5));
    }
}
