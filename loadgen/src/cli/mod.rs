//! The command line.

mod crowd;
mod number;
mod output;
mod payload;
mod server;
mod timeline;

use clap::Args;

pub(crate) use self::{
    crowd::{CrowdOptions, Driver},
    number::{connections, count, positive},
    output::OutputOptions,
    payload::PayloadOptions,
    server::ServerOptions,
    timeline::TimelineOptions,
};

/// The options of a run: those of its workload, and those that every workload has.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options<L: Args> {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    #[command(flatten)]
    pub(crate) load: L,
    #[command(flatten)]
    pub(crate) timeline: TimelineOptions,
    #[command(flatten)]
    pub(crate) crowd: CrowdOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}
