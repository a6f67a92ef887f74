//! What a message and an idle connection cost a WebSocket server, and how little they could.
//!
//! `run` builds servers of several makers, and floors, which are the least that a server can do,
//! measures them in turns, and writes tables and plots; `instructions` counts under valgrind. `echo`
//! and `idle` measure one server that runs already; `million` holds as many connections as the machine
//! has memory for.

mod bounds;
mod client;
mod floor;
mod instructions;
mod measure;
mod million;
mod report;
mod results;
mod roster;
mod run;
mod scenario;
mod sys;

use std::{io, process::ExitCode};

use clap::Parser;

/// What a message and an idle connection cost a WebSocket server.
#[derive(Debug, Parser)]
enum Command {
    Run(run::Options),
    Build(run::BuildOptions),
    Instructions(instructions::Options),
    Report(report::Options),
    Echo(client::echo::Options),
    Idle(client::idle::Options),
    Million(million::Options),
    #[command(hide = true)]
    MillionServer(million::server::Options),
    Floor(floor::Options),
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throng-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> io::Result<()> {
    match command {
        Command::Run(options) => run::run(&options),
        Command::Build(options) => run::build(&options),
        Command::Instructions(options) => instructions::run(&options),
        Command::Report(options) => report::run(&options),
        Command::Echo(options) => client::echo::run(&options),
        Command::Idle(options) => client::idle::run(&options),
        Command::Million(options) => million::run(&options),
        Command::MillionServer(options) => million::server::run(&options),
        Command::Floor(options) => floor::run(&options),
    }
}
