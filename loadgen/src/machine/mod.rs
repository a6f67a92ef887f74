//! What this machine is, and what its processes and its kernel use.

mod host;
mod kernel_memory;
mod process;

pub(crate) use self::{
    host::Host,
    kernel_memory::KernelMemory,
    process::{Process, thread_cpu_time},
};

/// The number that `text` begins with, or zero.
fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The number behind `NAME:` at the start of a line, or zero.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map_or(0, first_number)
}
