//! Results for people: `results.md` with a plot of each scenario, and `instructions.md`.

mod counts;
mod plot;
mod statistics;
mod table;

use std::{fs, io, path::Path, path::PathBuf};

use clap::Args;

use self::statistics::{Spread, number};
use crate::results::{Instructions, Outcome, Results, Row};

/// Writes tables and plots of results again.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The folder that holds `results.json`, `instructions.json` or both.
    #[arg(value_name = "FOLDER", default_value = "bench/results")]
    folder: PathBuf,
}

pub(crate) fn run(options: &Options) -> io::Result<()> {
    write(&options.folder)
}

/// Writes what people read beside the figures in `folder`.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    let (figures, counts) = (folder.join("results.json"), folder.join("instructions.json"));
    if !figures.exists() && !counts.exists() {
        let problem = format!("there are no results in {}", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, problem));
    }
    if figures.exists() {
        let results = Results::load(&figures)?;
        fs::write(folder.join("results.md"), table::page(&results))?;
        for outcome in &results.scenarios {
            fs::write(folder.join(plot::file_name(outcome)), plot::svg(&results, outcome))?;
        }
    }
    if counts.exists() {
        let page = counts::page(&Instructions::load(&counts)?);
        fs::write(folder.join("instructions.md"), page)?;
    }
    eprintln!("the results are in {}", folder.display());
    Ok(())
}

/// What servers are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Cycles,
    CpuTime,
    /// A server's own, of silent connections.
    Memory,
}

impl Measure {
    /// Of what keeps a server busy, cycles, if every window counted them: they repeat best.
    fn of(outcome: &Outcome) -> Self {
        if outcome.rows.iter().any(|row| !row.silences.is_empty()) {
            return Self::Memory;
        }
        let mut windows = outcome.rows.iter().flat_map(|row| &row.windows);
        if windows.all(|window| window.cycles.is_some()) { Self::Cycles } else { Self::CpuTime }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cycles => "cycles",
            Self::CpuTime => "CPU µs",
            Self::Memory => "resident bytes",
        }
    }

    /// What a unit costs in each of a row's windows.
    fn spread(self, row: &Row) -> Option<Spread> {
        let windows = row.windows.iter();
        match self {
            Self::Cycles => Spread::of(windows.filter_map(|window| window.cycles)),
            Self::CpuTime => Spread::of(windows.map(|window| window.cpu_micros)),
            Self::Memory => Spread::of(row.silences.iter().map(|silence| silence.resident)),
        }
    }

    /// How many times the least cost of `server` the least cost of `row` is.
    fn ratio(self, row: &Row, outcome: &Outcome, server: &str) -> Option<f64> {
        let other = outcome.rows.iter().find(|row| row.server == server)?;
        let ratio = self.spread(row)?.min / self.spread(other)?.min;
        ratio.is_finite().then_some(ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Sample;

    /// An outcome whose servers need this many µs, or cycles where they are counted, in each window.
    pub(super) fn outcome(rows: &[(&str, &[f64])], has_cycles: bool) -> Outcome {
        let sample = |cost: f64| Sample {
            per_second: 1e6 / cost,
            cpu_micros: cost,
            user_part: None,
            cycles: has_cycles.then_some(cost * 2.0),
            user_instructions: None,
            kernel_instructions: None,
            p50_micros: 10.0,
            p99_micros: 20.0,
            p999_micros: 30.0,
            server_busy: 1.0,
            load_busy: 0.9,
        };
        let rows = rows.iter().map(|(server, costs)| Row {
            server: (*server).into(),
            silences: Vec::new(),
            windows: costs.iter().map(|cost| sample(*cost)).collect(),
            problem: costs.is_empty().then(|| "it said nothing".into()),
        });
        let (id, title, unit) = ("i".into(), "a few connections".into(), "message".into());
        Outcome { id, title, unit, rows: rows.collect() }
    }

    #[test]
    fn ratios_are_of_the_least() {
        let outcome = outcome(&[("uws", &[4.0, 6.0]), ("us", &[9.0, 3.0]), ("gone", &[])], false);
        let measure = Measure::of(&outcome);
        assert_eq!(measure, Measure::CpuTime);
        assert_eq!(measure.ratio(&outcome.rows[1], &outcome, "uws"), Some(0.75));
        assert_eq!(measure.ratio(&outcome.rows[2], &outcome, "uws"), None);
        assert_eq!(measure.ratio(&outcome.rows[0], &outcome, "nobody"), None);
    }

    #[test]
    fn cycles_where_they_are_counted() {
        let outcome = outcome(&[("uws", &[4.0])], true);
        assert_eq!(Measure::of(&outcome), Measure::Cycles);
        assert_eq!(Measure::Cycles.spread(&outcome.rows[0]).unwrap().min, 8.0);
    }
}
