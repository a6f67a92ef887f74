//! The command line.

mod crowd;
mod number;
mod output;
mod payload;
mod server;
mod timeline;

pub(crate) use self::{
    crowd::{CrowdOptions, Driver},
    number::{connections, count, positive},
    output::OutputOptions,
    payload::PayloadOptions,
    server::ServerOptions,
    timeline::TimelineOptions,
};
