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
    cli::Options,
    session::Ending,
    workload::{churn, echo, idle, limit, push, slow, storm},
};

/// Puts load on a WebSocket server, and says truthfully how it took it.
///
/// Every run is bounded in time. Ctrl-C ends it early, and what was measured is reported.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES)]
enum Command {
    /// Sends messages that the server echoes, and times the round trips.
    #[command(after_help = echo::EXAMPLES)]
    Echo(Box<Options<echo::Load>>),
    /// Subscribes many connections, publishes through a few, and times each message on its way.
    ///
    /// The server has to pass on to all what one of them sends. A server that sends of its own accord is
    /// listened to with --publishers 0: its messages are counted, and timed if another loadgen with the
    /// same --seed publishes them.
    #[command(after_help = push::EXAMPLES)]
    Push(Box<Options<push::Load>>),
    /// Holds silent connections, and tells what each costs: with --pid, in the server's process, and in
    /// the kernel.
    #[command(after_help = idle::EXAMPLES)]
    Idle(Box<Options<idle::Load>>),
    /// Opens connections as fast as the server takes them; or kills a crowd of them, and times how long
    /// it takes them to come back.
    #[command(after_help = storm::EXAMPLES)]
    Storm(Box<Options<storm::Load>>),
    /// Holds connections that come and go, each after a lifetime of its own.
    #[command(after_help = churn::EXAMPLES)]
    Churn(Box<Options<churn::Load>>),
    /// Publishes to many readers, some of whom read slowly or not at all, and tells what becomes of them
    /// and what the others notice of it.
    #[command(after_help = slow::EXAMPLES)]
    Slow(Box<Options<slow::Slowness>>),
    /// Raises the rate of echoes step by step, until an objective is missed, and then narrows it down.
    #[command(after_help = limit::EXAMPLES)]
    Limit(Box<Options<limit::Load>>),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn options_do_not_contradict_each_other() {
        Command::command().debug_assert();
    }
}
