//! What the kernel says about a process, from outside it.

mod counters;
mod latency;
mod memory;
mod meter;
mod process;

pub(crate) use self::{
    counters::Counts,
    latency::Latencies,
    memory::{KernelMemory, Taken, available_len},
    meter::{Cost, Meter},
    process::Process,
};
