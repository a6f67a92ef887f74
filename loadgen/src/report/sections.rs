//! What a run comes to, part by part: the same on a terminal and on a page.

use serde::Serialize;

use super::{
    grid::Grid,
    units::{bytes, count, number, span, time},
};
use crate::record::{Counter, Facts, Memory, Pacing, QUANTILES, Run};

/// A part of a report.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    /// What it is about; empty for what belongs to the headline.
    pub(crate) title: &'static str,
    pub(crate) grid: Grid,
    /// What follows the grid.
    pub(crate) sentences: Vec<String>,
}

/// All that a run has something to say about, in order.
pub(crate) fn sections(run: &Run) -> Vec<Section> {
    let mut sections = vec![
        Section { title: "", grid: facts(&run.parameters), sentences: Vec::new() },
        Section { title: "latency", grid: latencies(run), sentences: Vec::new() },
        messages(run),
        connections(run),
        Section { title: "closes", grid: closes(run), sentences: Vec::new() },
        Section { title: "errors", grid: errors(run), sentences: Vec::new() },
        Section {
            title: "memory of a connection",
            grid: memory(&run.memory),
            sentences: Vec::new(),
        },
        Section { title: "steps", grid: steps(run), sentences: Vec::new() },
        Section { title: "notes", grid: Grid::new(0), sentences: run.notes.clone() },
        Section { title: "environment", grid: environment(run), sentences: Vec::new() },
    ];
    sections.retain(|section| !section.grid.is_empty() || !section.sentences.is_empty());
    sections
}

/// What a run that says nothing about the server is headed by.
pub(crate) const INVALID: &str =
    "INVALID: the load generator was the bottleneck, so this says nothing about the server";

/// Workload, pacing and length of a run in one line.
pub(crate) fn headline(run: &Run) -> String {
    let warm_up = match run.warm_up.is_zero() {
        true => String::new(),
        false => format!(" after {} of warm-up", span(run.warm_up)),
    };
    let (workload, length) = (&run.workload, span(run.duration));
    format!("{workload}: {}, {length}{warm_up}", pacing(run.pacing))
}

/// How a run was paced, and what that means for its latencies.
pub(crate) fn pacing(pacing: Pacing) -> String {
    match pacing {
        Pacing::Open { rate } => {
            format!("open loop at {}/s, latency from the intended time", number(rate))
        }
        Pacing::Closed { in_flight } => format!(
            "closed loop with {} in flight a connection (a slow server is asked less, which flatters it)",
            count(in_flight)
        ),
        Pacing::Idle => "nothing sent".into(),
    }
}

fn facts(facts: &Facts) -> Grid {
    let mut grid = Grid::new(2);
    facts.iter().for_each(|(name, value)| grid.row([name, value]));
    grid
}

fn latencies(run: &Run) -> Grid {
    let mut grid = Grid::new(1);
    let names = QUANTILES.map(|(name, _)| name);
    grid.heading([""].into_iter().chain(names).chain(["max", "count"]));
    for (timing, seen) in run.tally.timings() {
        let quantiles = QUANTILES.map(|(_, part)| time(seen.quantile(part)));
        let ends = [time(seen.max()), count(seen.count())];
        grid.row([timing.title().to_owned()].into_iter().chain(quantiles).chain(ends));
    }
    grid
}

fn messages(run: &Run) -> Section {
    let mut grid = Grid::new(1);
    let traffic = [
        ("sent", Counter::Sent, Counter::SentBytes),
        ("received", Counter::Received, Counter::ReceivedBytes),
    ];
    for (name, messages, len) in traffic {
        let rate = number(run.rate(messages));
        let bandwidth = bytes(run.rate(len));
        let messages = count(run.tally.counters[messages]);
        grid.row([name.into(), messages, format!("{rate}/s"), format!("{bandwidth}/s")]);
    }
    Section { title: "messages", grid, sentences: vec![in_a_line(run, &Counter::FAULTS)] }
}

fn connections(run: &Run) -> Section {
    let counted = [Counter::Attempted, Counter::Connected, Counter::Failed, Counter::Closed];
    let line = format!("{}, open at the end {}", in_a_line(run, &counted), count(run.open));
    Section { title: "connections", grid: Grid::new(0), sentences: vec![line] }
}

fn in_a_line(run: &Run, counters: &[Counter]) -> String {
    let named =
        |counter: &Counter| format!("{} {}", counter.name(), count(run.tally.counters[*counter]));
    counters.iter().map(named).collect::<Vec<_>>().join(", ")
}

fn closes(run: &Run) -> Grid {
    let mut grid = Grid::new(2);
    grid.heading(["code", "by", "count"]);
    for ((code, by), closed) in &run.tally.closes {
        grid.row([code.to_string(), by.to_string(), count(*closed)]);
    }
    grid
}

fn errors(run: &Run) -> Grid {
    let mut by_count: Vec<_> = run.tally.errors.iter().collect();
    by_count.sort_by_key(|(_, errors)| std::cmp::Reverse(**errors));
    let mut grid = Grid::new(1);
    by_count.into_iter().for_each(|(kind, errors)| grid.row([kind.clone(), count(*errors)]));
    grid
}

fn memory(memory: &[Memory]) -> Grid {
    let known = |len: Option<f64>| len.map_or("–".to_owned(), bytes);
    let mut grid = Grid::new(1);
    grid.heading(["", "process", "kernel", "connections"]);
    for cost in memory {
        let (user, kernel) = (known(cost.user_len_each()), known(cost.kernel_len_each()));
        grid.row([cost.whose.clone(), user, kernel, count(cost.connection_count)]);
    }
    grid
}

fn steps(run: &Run) -> Grid {
    let mut grid = Grid::new(2);
    grid.heading(["load", "", "received", "p50", "p99", "lost"]);
    for step in &run.steps {
        grid.row([
            number(step.load),
            if step.is_held { "held".into() } else { step.reason.clone() },
            format!("{}/s", number(step.rate)),
            time(step.p50),
            time(step.p99),
            count(step.lost),
        ]);
    }
    grid
}

fn environment(run: &Run) -> Grid {
    let mut all = Facts::from_iter([
        ("program", run.program.as_str()),
        ("started", run.started.as_str()),
        ("command", &run.command()),
    ]);
    run.environment.iter().for_each(|(name, value)| all.set(name, value));
    facts(&all)
}
