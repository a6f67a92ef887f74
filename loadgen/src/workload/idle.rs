//! `idle`: connections are held and say nothing. What do they cost?

use std::sync::Arc;

use clap::Args;

use crate::{
    cli::{Options, connections},
    crew::{Plan, Workload},
    record::{Forget, Timing},
    session::{Ending, Session},
};

/// Who is held.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct Load {
    /// How many connections.
    #[arg(long, short, value_name = "N", default_value_t = 10_000, value_parser = connections)]
    connections: u32,
}

/// Runs it, and says how it went.
pub(crate) fn run(options: &Options<Load>) -> Result<Ending, String> {
    let Options { load, timeline, .. } = options;
    let plan = Arc::new(Plan::new(options, load.connections, false)?);
    let mut session = Session::new("idle", &plan, options)?;
    session.fact("connections", load.connections);
    let mut conductor = session.start(Timing::Upgrade, Some(timeline.duration), |_worker| Idle)?;
    conductor.open(timeline.open_max);
    conductor.pause(timeline.warm_up);
    conductor.begin(Forget::Messages);
    conductor.pause(timeline.duration);
    session.measure_memory(&conductor);
    conductor.end();
    session.finish(conductor)
}

/// Says nothing.
#[derive(Debug)]
struct Idle;

impl Workload for Idle {
    type Data = ();
}

/// For the command line's help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  loadgen idle ws://127.0.0.1:9001 --connections 100000 --pid $(pidof echo)
  loadgen idle ws://127.0.0.1:9001 --ramp 1m --duration 10m --assert 'closed==0'
";
