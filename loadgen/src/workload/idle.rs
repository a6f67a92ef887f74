//! `idle`: connections are held and say nothing. What do they cost?

use std::sync::Arc;

use clap::Args;

use crate::{
    cli::{CrowdOptions, OutputOptions, ServerOptions, TimelineOptions, connections},
    crew::{Plan, Workload},
    record::{Forget, Timing},
    session::{Ending, Session},
};

/// Holds silent connections, and tells what each costs: with --pid, in the server's process, and in
/// the kernel.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    server: ServerOptions,
    /// How many connections.
    #[arg(long, short, value_name = "N", default_value_t = 10_000, help_heading = "Load",
          value_parser = connections)]
    connections: u32,
    #[command(flatten)]
    timeline: TimelineOptions,
    #[command(flatten)]
    crowd: CrowdOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Runs it, and says how it went.
pub(crate) fn run(options: &Options) -> Result<Ending, String> {
    let Options { server, connections, timeline, crowd, output } = options;
    let plan = Arc::new(Plan::new(server, crowd, *connections, false)?);
    let mut session = Session::new("idle", &plan, server, crowd, output)?;
    session.fact("connections", connections);
    let mut conductor = session.start(Timing::Upgrade, Some(timeline.duration), |_worker| Idle)?;
    conductor.open(timeline.open_max);
    conductor.pause(timeline.warm_up);
    conductor.begin(Forget::Messages);
    conductor.pause(timeline.duration);
    session.measure_memory(&conductor);
    conductor.end();
    session.finish(conductor, timeline.warm_up)
}

/// Says nothing.
#[derive(Debug)]
struct Idle;

impl Workload for Idle {
    type Data = ();
}
const EXAMPLES: &str = "\
Examples:
  loadgen idle ws://127.0.0.1:9001 --connections 100000 --pid $(pidof echo)
  loadgen idle ws://127.0.0.1:9001 --ramp 1m --duration 10m --assert 'closed==0'
";
