//! The table at the end of a run.

use std::time::Duration;

use super::{
    grid::Grid,
    units::{bytes, count, number, span, time},
};
use crate::record::{Counter, Facts, Memory, Pacing, QUANTILES, Run};

/// The run as text for a terminal, about 100 columns wide.
pub(crate) fn text(run: &Run) -> String {
    let mut text = format!("{}\n", headline(run));
    section(&mut text, "", facts(&run.parameters));
    section(&mut text, "latency", latencies(run));
    section(&mut text, "messages", messages(run));
    section(&mut text, "connections", connections(run));
    section(&mut text, "closes", closes(run));
    section(&mut text, "errors", errors(run));
    section(&mut text, "memory of a connection", memory(&run.memory));
    section(&mut text, "steps", steps(run));
    section(&mut text, "environment", environment(run));
    section(&mut text, "notes", sentences(&run.notes));
    if !run.verdict.is_valid() {
        section(&mut text, INVALID, sentences(run.verdict.reasons()));
    }
    text
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

/// What an absolute number comes to a second, over the whole measurement.
pub(crate) fn per_second(value: u64, duration: Duration) -> f64 {
    if duration.is_zero() { 0.0 } else { value as f64 / duration.as_secs_f64() }
}

fn section(text: &mut String, title: &str, body: String) {
    if body.is_empty() {
        return;
    }
    if !title.is_empty() {
        *text += &format!("\n{title}\n");
    }
    *text += &body;
}

fn facts(facts: &Facts) -> String {
    let mut grid = Grid::new(2);
    facts.iter().for_each(|(name, value)| grid.row([name, value]));
    grid.text()
}

fn sentences(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| format!("  {sentence}\n")).collect()
}

fn latencies(run: &Run) -> String {
    let mut grid = Grid::new(1);
    let names = QUANTILES.map(|(name, _)| name);
    grid.row([""].into_iter().chain(names).chain(["max", "count"]));
    let heading_only = run.tally.timings().next().is_none();
    for (timing, seen) in run.tally.timings() {
        let quantiles = QUANTILES.map(|(_, part)| time(seen.quantile(part)));
        let ends = [time(seen.max()), count(seen.count())];
        grid.row([timing.title().to_owned()].into_iter().chain(quantiles).chain(ends));
    }
    if heading_only { String::new() } else { grid.text() }
}

fn messages(run: &Run) -> String {
    let counters = &run.tally.counters;
    let mut grid = Grid::new(1);
    let traffic = [
        ("sent", Counter::Sent, Counter::SentBytes),
        ("received", Counter::Received, Counter::ReceivedBytes),
    ];
    for (name, messages, len) in traffic {
        let rate = number(per_second(counters[messages], run.duration));
        let bandwidth = bytes(per_second(counters[len], run.duration));
        grid.row([
            name.into(),
            count(counters[messages]),
            format!("{rate}/s"),
            format!("{bandwidth}/s"),
        ]);
    }
    let faults = [
        Counter::Lost,
        Counter::Duplicated,
        Counter::Reordered,
        Counter::Corrupted,
        Counter::Late,
        Counter::Unsent,
    ];
    grid.text() + &in_a_line(run, &faults)
}

fn connections(run: &Run) -> String {
    let counted = [Counter::Attempted, Counter::Connected, Counter::Failed, Counter::Closed];
    let line = in_a_line(run, &counted);
    format!("{}, open at the end {}\n", line.trim_end(), count(run.open))
}

fn in_a_line(run: &Run, counters: &[Counter]) -> String {
    let named: Vec<_> = counters
        .iter()
        .map(|counter| format!("{} {}", counter.name(), count(run.tally.counters[*counter])))
        .collect();
    format!("  {}\n", named.join(", "))
}

fn closes(run: &Run) -> String {
    let mut grid = Grid::new(2);
    for ((code, by), closed) in &run.tally.closes {
        grid.row([code.to_string(), by.to_string(), count(*closed)]);
    }
    grid.text()
}

fn errors(run: &Run) -> String {
    let mut by_count: Vec<_> = run.tally.errors.iter().collect();
    by_count.sort_by_key(|(_, errors)| std::cmp::Reverse(**errors));
    let mut grid = Grid::new(1);
    by_count.into_iter().for_each(|(kind, errors)| grid.row([kind.clone(), count(*errors)]));
    grid.text()
}

fn memory(memory: &[Memory]) -> String {
    let mut grid = Grid::new(1);
    for cost in memory {
        let known = |len: Option<f64>| len.map_or("–".to_owned(), bytes);
        grid.row([
            cost.whose.clone(),
            format!("process {}", known(cost.user_len_each())),
            format!("kernel {}", known(cost.kernel_len_each())),
            format!("with {} connections", count(cost.connection_count)),
        ]);
    }
    grid.text()
}

fn steps(run: &Run) -> String {
    let mut grid = Grid::new(2);
    if !run.steps.is_empty() {
        grid.row(["load", "", "received", "p50", "p99", "lost"]);
    }
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
    grid.text()
}

fn environment(run: &Run) -> String {
    let mut all = Facts::from_iter([
        ("program", run.program.as_str()),
        ("started", run.started.as_str()),
        ("command", &run.command()),
    ]);
    run.environment.iter().for_each(|(name, value)| all.set(name, value));
    facts(&all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{Step, Tally, Verdict},
        report::sample,
    };

    #[test]
    fn a_run_as_a_table() {
        assert_eq!(text(&sample::echo()), ECHO);
    }

    #[test]
    fn what_is_not_there_has_no_heading() {
        let mut run = sample::echo();
        run.tally = Tally::default();
        run.memory.clear();
        run.notes.clear();
        run.pacing = Pacing::Idle;
        run.duration = Duration::ZERO;
        let text = text(&run);
        assert!(text.starts_with("echo: nothing sent, 0 s after 2 s of warm-up\n"), "{text}");
        for heading in ["latency", "closes", "errors", "memory", "steps", "notes", "INVALID"] {
            assert!(!text.contains(&format!("\n{heading}")), "{text}");
        }
    }

    #[test]
    fn an_invalid_run_and_its_steps() {
        let mut run = sample::echo();
        run.verdict = Verdict::because(vec!["the loops lagged".into()]);
        run.pacing = Pacing::Closed { in_flight: 1 };
        run.warm_up = Duration::ZERO;
        let step = Step {
            load: 1000.0,
            rate: 999.5,
            p50: Some(Duration::from_micros(80)),
            p99: Some(Duration::from_millis(1)),
            lost: 0,
            is_held: true,
            reason: String::new(),
        };
        let late = Step { load: 2000.0, is_held: false, reason: "p99<1ms".into(), ..step.clone() };
        run.steps = vec![step, late];
        let text = text(&run);
        assert!(
            text.starts_with("echo: closed loop with 1 in flight a connection (a slow"),
            "{text}"
        );
        assert!(text.contains(STEPS), "{text}");
        assert!(text.ends_with(&format!("\n{INVALID}\n  the loops lagged\n")), "{text}");
    }

    const STEPS: &str = "
steps
  load             received      p50      p99  lost
  1.00 k  held     1.00 k/s  80.0 µs  1.00 ms     0
  2.00 k  p99<1ms  1.00 k/s  80.0 µs  1.00 ms     0
";

    const ECHO: &str = "\
echo: open loop at 10.0 k/s, latency from the intended time, 10 s after 2 s of warm-up
  connections  1000
  rate         10 k/s
  payload      64 B

latency
                           p50     p90     p95     p99   p99.9   p99.99      max    count
  connect               150 µs  190 µs  195 µs  199 µs  199 µs   200 µs   200 µs    1,000
  upgrade               250 µs  290 µs  295 µs  299 µs  299 µs   300 µs   300 µs    1,000
  round trip            102 µs  143 µs  148 µs  170 µs  456 µs  3.69 ms  40.1 ms  100,000
  round trip, service  92.2 µs  128 µs  133 µs  153 µs  411 µs  3.32 ms  36.1 ms  100,000

messages
  sent      100,002  10.0 k/s  625 KiB/s
  received  100,000  10.0 k/s  625 KiB/s
  lost 2, duplicated 0, reordered 0, corrupted 0, late 0, unsent 0

connections
  attempted 1,001, connected 1,000, failed 1, closed 1,000, open at the end 1,000

closes
  1000  client  998
  1006  lost      2

errors
  connect: connection refused  1

memory of a connection
  server  process 64 B  kernel 4.00 KiB  with 1,000 connections

environment
  program  throng-loadgen 0.1.0
  started  2026-11-21T23:50:00Z
  command  throng-loadgen echo --rate 10k
  kernel   6.18
  cpu      2 cores
  driver   epoll

notes
  debug build
";
}
