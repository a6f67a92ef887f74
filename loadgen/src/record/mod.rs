//! What a run records.
//!
//! Each reactor thread owns a [`Recorder`] and writes into it without a lock. Once an interval the
//! recorder hands the [`Collector`] what the interval saw, for the live line and the plots, and after
//! a measurement its [`Tally`]. A [`Run`] is everything that is known in the end: it is what `--json`
//! writes, and what every report is made from.
//!
//! ```text
//! reactor:  Recorder ──interval──▶ Collector ──Progress──▶ the live line
//!           Recorder ───Tally────▶ Collector ──Outcome───▶ Run ──▶ reports
//! ```
//!
//! Nothing in here reads a clock: what the time is comes in as an argument.

mod collector;
mod counter;
mod facts;
mod latencies;
mod recorder;
mod run;
mod seconds;
mod sequence;
mod series;
mod tally;
mod timing;
mod verdict;

pub(crate) use self::{
    collector::{Collector, Outcome, Progress, Update},
    counter::{Counter, Counters},
    facts::Facts,
    latencies::{Latencies, QUANTILES},
    recorder::{Forget, Phase, Recorder, Settings},
    run::{Memory, Pacing, Run, SCHEMA, Step},
    sequence::{Seen, Sequence},
    series::Point,
    tally::{Side, Tally},
    timing::Timing,
    verdict::{Limits, Verdict},
};
