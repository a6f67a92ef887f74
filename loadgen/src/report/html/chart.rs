//! What the plots of a page show, as plain data.

use std::time::Duration;

use serde::Serialize;

use crate::record::{Counter, Latencies, Limits, Point, Run, Step, Timing};

/// One plot.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Chart {
    title: &'static str,
    x: X,
    y: Y,
    lines: Vec<Line>,
}

/// What lies to the right.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum X {
    /// Seconds since the measurement began.
    Seconds,
    /// The load of a step.
    Load,
    /// How many nines a percentile has: 1 is 90 %, 2 is 99 %.
    Nines,
}

/// What lies above.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Y {
    /// Seconds, on a logarithmic scale.
    Latency,
    /// Things.
    Count,
    /// Things a second.
    Rate,
    /// Parts of 1.
    Part,
}

#[derive(Debug, PartialEq, Serialize)]
struct Line {
    name: String,
    /// Which of the page's colours.
    colour: usize,
    is_dashed: bool,
    points: Vec<(f64, f64)>,
}

/// All plots that have something to show.
pub(super) fn charts(run: &Run) -> Vec<Chart> {
    let mut charts = vec![
        Chart {
            title: "Latency by percentile",
            x: X::Nines,
            y: Y::Latency,
            lines: percentiles(run),
        },
        Chart { title: "Latency by load", x: X::Load, y: Y::Latency, lines: steps(run) },
        Chart { title: "Throughput", x: X::Seconds, y: Y::Rate, lines: throughput(run) },
        Chart { title: "Latency over time", x: X::Seconds, y: Y::Latency, lines: latency(run) },
        Chart { title: "Connections", x: X::Seconds, y: Y::Count, lines: connections(run) },
        Chart {
            title: "CPU of our own busiest thread",
            x: X::Seconds,
            y: Y::Part,
            lines: cpu(run),
        },
    ];
    charts.retain(|chart| !chart.lines.is_empty());
    charts
}

/// A line for each timing but our own delays; a service time is the dashed line of its latency.
fn percentiles(run: &Run) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut colour = 0;
    for (timing, latencies) in run.tally.timings() {
        let is_dashed = matches!(timing, Timing::RoundTripService | Timing::OneWayService);
        if matches!(timing, Timing::SendDelay | Timing::LoopLag) {
            continue;
        }
        if !lines.is_empty() && !is_dashed {
            colour += 1;
        }
        let points = distribution(latencies);
        lines.push(Line { name: timing.title().into(), colour, is_dashed, points });
    }
    lines
}

/// Nines and seconds. The longest has no nines to say; it stands half a latency past the second
/// longest.
fn distribution(latencies: &Latencies) -> Vec<(f64, f64)> {
    let last = (latencies.count() as f64 * 2.0).log10();
    let nines = |part: f64| if part < 1.0 { -(1.0 - part).log10() } else { last };
    let steps = latencies.steps(20);
    steps.map(|(part, latency, _)| (nines(part).min(last), latency.as_secs_f64())).collect()
}

/// What `limit` tried, if that is more than one load.
fn steps(run: &Run) -> Vec<Line> {
    let mut steps: Vec<_> = run.steps.iter().collect();
    steps.sort_by(|one, next| one.load.total_cmp(&next.load));
    let latency = |name: &str, colour: usize, of: fn(&Step) -> Option<Duration>| {
        let point = |step: &&Step| Some((step.load, of(step)?.as_secs_f64()));
        let points = steps.iter().filter_map(point).collect();
        Line { name: name.into(), colour, is_dashed: false, points }
    };
    let lines = [latency("p50", 0, |step| step.p50), latency("p99", 1, |step| step.p99)];
    lines.into_iter().filter(|line| line.points.len() > 1).collect()
}

fn throughput(run: &Run) -> Vec<Line> {
    let rate = |counter: Counter| move |point: &Point| Some(point.rate(counter));
    [
        line(run, "sent", 0, rate(Counter::Sent)),
        line(run, "received", 1, rate(Counter::Received)),
        line(run, "connections opened", 2, rate(Counter::Connected)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn latency(run: &Run) -> Vec<Line> {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    [
        line(run, &format!("{} p50", run.main.title()), 0, |point| seconds(point.p50)),
        line(run, "p99", 1, |point| seconds(point.p99)),
        line(run, "max", 2, |point| seconds(point.max)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn connections(run: &Run) -> Vec<Line> {
    [
        line(run, "open", 0, |point| Some(point.open as f64)),
        line(run, "messages due and not sent", 1, |point| Some(point.backlog as f64)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The CPU of the busiest thread, and the limit it should stay below.
fn cpu(run: &Run) -> Vec<Line> {
    let limit = Limits::default().cpu_max;
    let Some(cpu) = line(run, "CPU", 0, |point| Some(point.cpu)) else { return Vec::new() };
    let limit = line(run, "too busy to measure", 1, |_| Some(limit))
        .map(|limit| Line { is_dashed: true, ..limit });
    [Some(cpu), limit].into_iter().flatten().collect()
}

/// A line over time, unless it is zero or nothing throughout.
fn line(
    run: &Run,
    name: &str,
    colour: usize,
    value: impl Fn(&Point) -> Option<f64>,
) -> Option<Line> {
    let points: Vec<_> = run
        .series
        .iter()
        .filter_map(|point| Some((point.at.as_secs_f64(), value(point)?)))
        .collect();
    let is_something = points.iter().any(|(_, value)| *value > 0.0);
    is_something.then(|| Line { name: name.into(), colour, is_dashed: false, points })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn lines_have_points_and_colours() {
        let charts = charts(&sample::echo());
        let names: Vec<Vec<_>> = charts
            .iter()
            .map(|chart| chart.lines.iter().map(|line| line.name.as_str()).collect())
            .collect();
        assert_eq!(
            names,
            [
                vec!["connect", "upgrade", "round trip", "round trip, service"],
                vec!["sent", "received"],
                vec!["round trip p50", "p99", "max"],
                vec!["open"],
                vec!["CPU", "too busy to measure"],
            ]
        );
        let round_trip = &charts[0].lines[2];
        assert_eq!(round_trip.colour, charts[0].lines[3].colour);
        assert!(round_trip.points.is_sorted(), "{round_trip:?}");
        let (nines, seconds) = *round_trip.points.last().unwrap();
        assert!(
            (nines - 200_000f64.log10()).abs() < 1e-9 && (seconds - 0.0401).abs() < 0.0002,
            "{nines} {seconds}"
        );
        assert_eq!(charts[1].lines[0].points[0], (1.0, 10_001.0));
    }

    #[test]
    fn steps_are_shown_by_load() {
        let step = |load: f64, millis: u64| Step {
            load,
            rate: load,
            p50: None,
            p99: Some(Duration::from_millis(millis)),
            lost: 0,
            is_held: true,
            reason: String::new(),
        };
        let mut run = sample::echo();
        run.steps = vec![step(200.0, 2)];
        assert!(steps(&run).is_empty(), "one is no line");
        run.steps.push(step(100.0, 1));
        let [line] = steps(&run).try_into().expect("no p50 was seen");
        assert_eq!(line.points, [(100.0, 0.001), (200.0, 0.002)]);
    }
}
