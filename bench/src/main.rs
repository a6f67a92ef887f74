//! What a message and an idle connection cost a WebSocket server, and how little they could.
//!
//! `echo` and `idle` measure a server that runs already; `floor` is the least that a server can do;
//! `compare` starts servers and floors, and measures them in turns; `million` holds as many connections
//! as the machine has memory for.

mod client;
mod compare;
mod floor;
mod measure;
mod million;
mod sys;

use std::{io, process::ExitCode};

use clap::Parser;

/// What a message and an idle connection cost a WebSocket server.
#[derive(Debug, Parser)]
enum Command {
    Floor(floor::Options),
    Echo(client::echo::Options),
    Idle(client::idle::Options),
    Compare(compare::Options),
    Million(million::Options),
    #[command(hide = true)]
    MillionServer(million::server::Options),
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
        Command::Floor(options) => floor::run(&options),
        Command::Echo(options) => client::echo::run(&options),
        Command::Idle(options) => client::idle::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::Million(options) => million::run(&options),
        Command::MillionServer(options) => million::server::run(&options),
    }
}
