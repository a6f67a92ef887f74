//! What a process costs, from outside it, and how long it keeps others waiting.

mod counters;
mod latency;
mod meter;

pub(crate) use self::{
    counters::Counts,
    latency::Latencies,
    meter::{Cost, Meter},
};
