//! What a comparison ran on.

use std::{fs, process::Command, thread};

use serde::{Deserialize, Serialize};

/// A machine, its kernel, and the compilers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// TCP's.
    pub(crate) congestion_control: String,
    pub(crate) compilers: Vec<String>,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let memory_len = throng_meter::memory_len().unwrap_or(0);
        Self {
            processor: throng_meter::processor().unwrap_or_default(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (memory_len + (1 << 29)) >> 30,
            kernel: file("/proc/sys/kernel/osrelease"),
            congestion_control: file("/proc/sys/net/ipv4/tcp_congestion_control"),
            compilers: COMPILERS.iter().filter_map(|tool| first_line(tool)).collect(),
        }
    }
}

/// The first line that a tool, asked for its version, prints.
fn first_line(tool: &[&str; 2]) -> Option<String> {
    let output = Command::new(tool[0]).arg(tool[1]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(ToOwned::to_owned)
}

const COMPILERS: [&[&str; 2]; 3] =
    [&["rustc", "--version"], &["g++", "--version"], &["go", "version"]];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_kernel_and_a_compiler() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && !machine.kernel.is_empty());
        assert!(machine.compilers.iter().any(|line| line.starts_with("rustc ")), "{machine:?}");
    }
}
