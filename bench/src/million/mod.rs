//! As many connections as asked for, held at once, with both ends on this machine.
//!
//! ```text
//!   mod      settings, and the machine before and after
//!   run      one phase after the other, and when to stop
//!   server   the server: a process of its own, which uses the engine as anyone would
//!   child    that process, seen from here: a line to it, a line back
//!   clients  threads that hold the other ends
//!   wire     what a client hears, and what it answers
//!   report   what was found out
//! ```

mod child;
mod clients;
mod report;
mod run;
pub(crate) mod server;
mod wire;

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use throng_meter::available_len;

use self::{report::Report, run::Run};
use crate::{bounds::Watch, floor::Driver, sys};

/// Holds as many connections as asked for, reaches all of them, and closes them.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How the server talks to the kernel.
    #[arg(long, value_enum)]
    driver: Driver,
    /// How many connections.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    count: usize,
    /// The server's reactors. Default: one a core, or as many as can hold all connections within the
    /// limit on descriptors.
    #[arg(long, value_name = "N")]
    reactors: Option<usize>,
    /// Seconds after which a phase is given up. Default: 60, and one for each 2,000 connections.
    #[arg(long, value_name = "S")]
    give_up: Option<u64>,
    /// Where to write what was found out, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Holds them, prints what that cost, and leaves the machine as it was.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let watch = Watch::new()?;
    let run = prepared(options, &watch)?;
    let before = available_len()?;
    // On a thread of its own, whose network is gone when nobody is left in it.
    let outcome = thread::spawn(move || run.all()).join();
    let mut report = outcome.unwrap_or_else(|_| Err(io::Error::other("the run panicked")))?;
    report.available_before = before;
    report.available_after = settled(before, &watch)?;
    print!("{report}");
    if let Some(path) = &options.json {
        write_json(path, &report)?;
    }
    report.problem.map_or(Ok(()), |problem| Err(io::Error::other(problem)))
}

fn prepared(options: &Options, watch: &Watch) -> io::Result<Run> {
    if options.count == 0 {
        let problem = "--count is 0: use at least 1";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let descriptors = sys::raise_descriptor_limit()?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let reactors = options.count.div_ceil(held_each(descriptors)).max(cores);
    Ok(Run {
        driver: options.driver,
        count: options.count,
        reactors: options.reactors.unwrap_or(reactors),
        descriptors,
        give_up: Duration::from_secs(options.give_up.unwrap_or(60 + options.count as u64 / 2000)),
        watch: watch.clone(),
    })
}

/// How many connections a reactor is to hold when it may have so many descriptors, of which it needs
/// some for itself. The kernel spreads connections over reactors by chance.
fn held_each(descriptors: usize) -> usize {
    (descriptors / 10 * 9).clamp(1, HELD_EACH_MAX)
}

fn write_json(path: &Path, report: &Report) -> io::Result<()> {
    let text = serde_json::to_string_pretty(report).map_err(io::Error::other)?;
    fs::write(path, text + "\n").map_err(|error| {
        io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
    })
}

/// What is free or page cache, once that is about what it was `before`, or after a while: the kernel
/// frees sockets, and a network without inhabitants, in its own time.
fn settled(before: u64, watch: &Watch) -> io::Result<u64> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let now = available_len()?;
        if now + SETTLED_SLACK >= before || Instant::now() >= deadline || watch.is_interrupted() {
            return Ok(now);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// One io_uring holds 2²⁰ sockets at the most, whatever the limit on descriptors.
const HELD_EACH_MAX: usize = (1 << 20) / 10 * 9;
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
/// What others on this machine may take meanwhile.
const SETTLED_SLACK: u64 = 64 << 20;
