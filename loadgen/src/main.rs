//! A load generator for WebSocket servers, whoever wrote them.
//!
//! ```text
//! main.rs       the subcommands
//! cli/          options that several of them have
//! session.rs    a run from its command line to its report
//! workload/     what each subcommand says on its connections
//! crew/         the threads that carry the load, and who directs them
//! record/       what a run records
//! report/       what it says in the end
//! ```
//!
//! The other files are one idea each: when messages leave (`pacing`), what they carry (`payload`),
//! where they go (`target`) and where they come from (`source`), and on which machine (`host`).

mod backoff;
mod cli;
mod clock;
mod compare;
mod crew;
mod host;
mod members;
mod pacing;
mod payload;
mod record;
mod report;
mod session;
mod source;
mod target;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    session::Ending,
    workload::{churn, echo, idle, limit, push, slow, storm},
};

/// Puts load on a WebSocket server, and says truthfully how it took it.
///
/// Every run is bounded in time. Ctrl-C ends it early, and what was measured is reported.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES)]
enum Command {
    Echo(Box<echo::Options>),
    Push(Box<push::Options>),
    Idle(Box<idle::Options>),
    Storm(Box<storm::Options>),
    Churn(Box<churn::Options>),
    Slow(Box<slow::Options>),
    Limit(Box<limit::Options>),
    Compare(compare::Options),
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(ending) => ending.into(),
        Err(problem) => {
            eprintln!("loadgen: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<Ending, String> {
    match command {
        Command::Echo(options) => echo::run(&options),
        Command::Push(options) => push::run(&options),
        Command::Idle(options) => idle::run(&options),
        Command::Storm(options) => storm::run(&options),
        Command::Churn(options) => churn::run(&options),
        Command::Slow(options) => slow::run(&options),
        Command::Limit(options) => limit::run(&options),
        Command::Compare(options) => compare::run(&options),
    }
}

const EXIT_CODES: &str = "\
Exit codes: 0 all is well, 1 the run could not be made, 2 the command line is wrong, 3 an assertion \
is broken.";
