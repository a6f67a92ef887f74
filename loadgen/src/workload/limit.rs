//! `limit`: the rate is raised until something breaks that must not.
//!
//! Each step is an open loop of `echo` at one rate. Rates grow by a factor while all objectives are
//! met; between the last good one and the first bad one the middle is tried, a few times. A step that
//! the load generator itself could not keep up with ends the search: that limit is not the server's.

use std::{sync::Arc, time::Duration};

use clap::Args;
use humantime::parse_duration;

use super::echo::Echo;
use crate::{
    cli::{Options, PayloadOptions, TimelineOptions, connections, positive},
    crew::{Conductor, Plan},
    pacing::Arrivals,
    record::{Counter, Forget, Outcome, Pacing, Run, Step, Timing},
    report::assert::{self, Assertion},
    session::{Ending, Session},
};

/// Which rates are tried, and what has to be true at each. A step takes a warm-up and a duration.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct Load {
    /// How many connections.
    #[arg(long, short, value_name = "N", default_value_t = 100,
          value_parser = connections)]
    connections: u32,
    /// What has to be true at every step.
    #[arg(long, value_name = "EXPR", num_args = 1.., default_values = ["p99<50ms", "lost==0"])]
    objective: Vec<Assertion>,
    /// Messages a second of the first step, all connections together.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = positive)]
    from: f64,
    /// The highest rate that is tried.
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = positive)]
    to: f64,
    /// What a rate is multiplied with for the next step.
    #[arg(long, value_name = "N", default_value = "2", value_parser = factor)]
    factor: f64,
    /// How often the range between good and bad is halved.
    #[arg(long, value_name = "N", default_value_t = 4)]
    halvings: u32,
    /// How the messages are spread.
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    arrivals: Arrivals,
    /// Rest between two steps.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = parse_duration)]
    rest: Duration,
    #[command(flatten)]
    payload: PayloadOptions,
}

fn factor(text: &str) -> Result<f64, String> {
    positive(text).and_then(|factor| match factor > 1.0 {
        true => Ok(factor),
        false => Err("use a number above one".to_owned()),
    })
}

/// Runs it, and says how it went.
pub(crate) fn run(options: &Options<Load>) -> Result<Ending, String> {
    let Options { load, timeline, .. } = options;
    let plan = Arc::new(Plan::new(options, load.connections, false)?);
    let composer = load.payload.composer(plan.run())?;
    let mut session = Session::new("limit", &plan, options)?;
    session.fact("connections", load.connections);
    session.message(&load.payload, &composer);
    let objectives: Vec<_> = load.objective.iter().map(ToString::to_string).collect();
    session.fact("objectives", objectives.join(", "));
    let make = Echo::maker(composer, load.arrivals, 1, &plan);
    let mut conductor = session.start(Timing::RoundTrip, None, make)?;
    conductor.open(timeline.open_max);
    let mut search = Search::new(load.from, load.to, load.factor, load.halvings);
    let mut best: Option<(f64, Run)> = None;
    let mut worst = None;
    while let Some(rate) = search.next() {
        let outcome = step(&mut conductor, rate, load, timeline);
        if conductor.is_interrupted() {
            break;
        }
        session.pacing = Pacing::Open { rate };
        let run = session.run(outcome, &conductor);
        let step = judge(&run, rate, &load.objective);
        conductor.say(format!("{rate:.0}/s: {}", if step.is_held { "held" } else { &step.reason }));
        search.heard(step.is_held);
        let is_ours = !run.verdict.is_valid();
        if step.is_held {
            best = Some((rate, run));
        } else {
            worst = Some(run);
        }
        session.step(step);
        if is_ours {
            session.note(Some(
                "the search ended where the load generator itself could not keep up: the server may \
                 take more"
                    .to_owned(),
            ));
            break;
        }
    }
    let run = match best {
        Some((rate, run)) => {
            session.fact("limit", format!("{rate:.0} messages a second"));
            run
        }
        None => {
            session.fact("limit", format!("below {:.0} messages a second", load.from));
            worst.ok_or("the run was ended before the first step")?
        }
    };
    session.close(conductor, run)
}

/// One rate for a while.
fn step(conductor: &mut Conductor, rate: f64, load: &Load, timeline: &TimelineOptions) -> Outcome {
    conductor.load(Some(rate), timeline.warm_up, Forget::Messages);
    conductor.pause(timeline.duration);
    conductor.end();
    conductor.rest(timeline.grace);
    let outcome = conductor.measured();
    conductor.pause(load.rest);
    outcome
}

/// Whether a step held.
fn judge(run: &Run, rate: f64, objectives: &[Assertion]) -> Step {
    let latencies = run.tally.latencies(Timing::RoundTrip);
    let quantile = |part| latencies.and_then(|latencies| latencies.quantile(part));
    let (sent_rate, received_rate) = (run.rate(Counter::Sent), run.rate(Counter::Received));
    let judgement = assert::judge(run, objectives);
    let reason = match run.verdict.reasons().first() {
        Some(reason) => reason.clone(),
        None if !judgement.is_held => judgement.text.trim().replace('\n', "; "),
        None if received_rate < sent_rate * ANSWERED_MIN => {
            format!("{received_rate:.0} of {sent_rate:.0} messages a second were answered in time")
        }
        None => String::new(),
    };
    Step {
        load: rate,
        rate: received_rate,
        p50: quantile(0.5),
        p99: quantile(0.99),
        lost: run.tally.counters[Counter::Lost],
        is_held: reason.is_empty(),
        reason,
    }
}

/// Which rate is tried next.
#[derive(Clone, Debug)]
struct Search {
    rate: f64,
    rate_max: f64,
    factor: f64,
    halvings: u32,
    good: Option<f64>,
    bad: Option<f64>,
    is_over: bool,
}

impl Search {
    fn new(from: f64, to: f64, factor: f64, halvings: u32) -> Self {
        let rate_max = to.max(from);
        Self { rate: from, rate_max, factor, halvings, good: None, bad: None, is_over: false }
    }

    fn next(&self) -> Option<f64> {
        (!self.is_over).then_some(self.rate)
    }

    /// Whether the rate held.
    fn heard(&mut self, is_held: bool) {
        match is_held {
            true => self.good = Some(self.rate),
            false => self.bad = Some(self.rate),
        }
        match (self.good, self.bad) {
            (Some(good), Some(bad)) if self.halvings > 0 => {
                self.halvings -= 1;
                self.rate = (good + bad) / 2.0;
            }
            (Some(good), None) if good < self.rate_max => {
                self.rate = (good * self.factor).min(self.rate_max);
            }
            _ => self.is_over = true,
        }
    }
}

/// A step in which fewer than this part of the messages are answered before its end did not hold: the
/// server falls behind.
const ANSWERED_MIN: f64 = 0.9;

/// For the command line's help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  loadgen limit ws://127.0.0.1:9001 --objective 'p99<20ms' 'lost==0' --duration 5s
";

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates that are tried when everything up to `limit` holds.
    fn tried(mut search: Search, limit: f64) -> Vec<f64> {
        let mut rates = Vec::new();
        while let Some(rate) = search.next() {
            rates.push(rate);
            search.heard(rate <= limit);
        }
        rates
    }

    #[test]
    fn doubles_and_then_halves() {
        let rates = tried(Search::new(100.0, 1e6, 2.0, 3), 300.0);
        assert_eq!(rates, [100.0, 200.0, 400.0, 300.0, 350.0, 325.0]);
    }

    #[test]
    fn ends_at_the_highest_rate_and_below_the_lowest() {
        assert_eq!(tried(Search::new(100.0, 250.0, 2.0, 3), 1e9), [100.0, 200.0, 250.0]);
        assert_eq!(tried(Search::new(100.0, 250.0, 2.0, 3), 50.0), [100.0]);
        assert_eq!(tried(Search::new(100.0, 50.0, 2.0, 3), 1e9), [100.0]);
    }
}
