//! Two runs side by side.

use std::{collections::BTreeSet, time::Duration};

use super::{
    grid::Grid,
    sections::{headline, pacing, per_second},
    units::{bytes, count, number, time},
};
use crate::record::{Counter, Facts, Memory, Run, Timing};

/// Both runs, and the second as a multiple of the first. What makes the comparison doubtful, such as
/// other machines or other workloads, comes first.
pub(crate) fn text(one: &Run, other: &Run) -> String {
    let warnings: String =
        warnings(one, other).iter().map(|warning| format!("warning: {warning}\n")).collect();
    let mut grid = Grid::new(1);
    grid.heading(["", "a", "b", "b/a"]);
    throughput(&mut grid, one, other);
    faults(&mut grid, one, other);
    memory(&mut grid, one, other);
    Timing::ALL.into_iter().for_each(|timing| latencies(&mut grid, one, other, timing));
    format!("{warnings}a: {}\nb: {}\n\n{}", headline(one), headline(other), grid.text())
}

/// Why the figures may say nothing about what one wants to compare.
pub(crate) fn warnings(one: &Run, other: &Run) -> Vec<String> {
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

fn throughput(grid: &mut Grid, one: &Run, other: &Run) {
    let rates = [
        ("sent a second", Counter::Sent),
        ("received a second", Counter::Received),
        ("connected a second", Counter::Connected),
    ];
    for (name, counter) in rates {
        let rate = |run: &Run| per_second(run.tally.counters[counter], run.duration);
        compare(grid, name, Some(rate(one)), Some(rate(other)), number);
    }
}

fn faults(grid: &mut Grid, one: &Run, other: &Run) {
    for fault in [Counter::Failed, Counter::Errors].into_iter().chain(Counter::FAULTS) {
        let value = |run: &Run| Some(run.tally.counters[fault] as f64);
        compare(grid, fault.name(), value(one), value(other), |value| count(value as u64));
    }
}

fn memory(grid: &mut Grid, one: &Run, other: &Run) {
    for whose in [Memory::SERVER, Memory::OWN] {
        let cost = |run: &Run, len: fn(&Memory) -> Option<f64>| {
            run.memory.iter().find(|cost| cost.whose == whose).and_then(len)
        };
        for (part, len) in [
            ("process", Memory::user_len_each as fn(&Memory) -> Option<f64>),
            ("kernel", Memory::kernel_len_each),
        ] {
            let name = format!("{whose}, {part} memory of a connection");
            compare(grid, &name, cost(one, len), cost(other, len), bytes);
        }
    }
}

fn latencies(grid: &mut Grid, one: &Run, other: &Run, timing: Timing) {
    for (name, part) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)]
    {
        let value = |run: &Run| Some(run.tally.latencies(timing)?.quantile(part)?.as_secs_f64());
        let name = format!("{} {name}", timing.title());
        compare(grid, &name, value(one), value(other), |seconds| {
            time(Some(Duration::from_secs_f64(seconds)))
        });
    }
}

/// A row, unless neither run has it or it is zero in both.
fn compare(
    grid: &mut Grid,
    name: &str,
    one: Option<f64>,
    other: Option<f64>,
    unit: impl Fn(f64) -> String,
) {
    if one.unwrap_or(0.0) == 0.0 && other.unwrap_or(0.0) == 0.0 {
        return;
    }
    let ratio = match (one, other) {
        (Some(one), Some(other)) if one > 0.0 => format!("{:.2} ×", other / one),
        _ => "–".into(),
    };
    let cell = |value: Option<f64>| value.map_or("–".into(), &unit);
    grid.row([name.to_owned(), cell(one), cell(other), ratio]);
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
        let sent = "  sent a second                             10.0 k    10.0 k  1.00 ×\n";
        assert!(text.contains(sent), "{text}");
        assert!(!text.contains("duplicated"), "zero in both: {text}");
        let ratios: Vec<_> = text.lines().filter(|line| line.ends_with('×')).collect();
        assert!(ratios.len() > 10 && ratios.iter().all(|line| line.ends_with(" 1.00 ×")), "{text}");
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
        assert!(row("server, process").ends_with(&["64", "B", "–", "–"]));
    }
}
