//! A run over time, for spreadsheets.

use std::time::Duration;

use crate::record::{Counter, Point, Run};

/// A line of names and a line an interval: seconds, counts in the interval, seconds of latency (empty
/// where nothing was timed), and a part of 1 for CPU.
pub(crate) fn text(run: &Run) -> String {
    let counters = Counter::ALL.map(Counter::name).join(",");
    let mut text = format!("at,length,{counters},open,backlog,p50,p99,max,cpu\n");
    run.series.iter().for_each(|point| text += &line(point));
    text
}

fn line(point: &Point) -> String {
    let seconds = |time: Duration| time.as_secs_f64().to_string();
    let latency = |time: Option<Duration>| time.map(seconds).unwrap_or_default();
    let counters = Counter::ALL.map(|counter| point.counters[counter].to_string()).join(",");
    let (at, length) = (seconds(point.at), seconds(point.length));
    let [p50, p99, max] = [point.p50, point.p99, point.max].map(latency);
    let Point { open, backlog, cpu, .. } = point;
    format!("{at},{length},{counters},{open},{backlog},{p50},{p99},{max},{cpu:.3}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn each_line_has_a_value_for_each_name() {
        let mut run = sample::echo();
        run.series[0].p50 = None;
        let text = text(&run);
        let lines: Vec<Vec<_>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), 11);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
        let column = |name: &str| lines[0].iter().position(|other| *other == name).unwrap();
        let value = |row: usize, name: &str| lines[row][column(name)];
        assert_eq!((value(1, "at"), value(10, "at"), value(1, "sent")), ("1", "10", "10001"));
        assert_eq!((value(1, "p50"), value(1, "cpu")), ("", "0.250"));
        assert!(value(2, "p50").starts_with("0.0001"), "{text}");
    }
}
