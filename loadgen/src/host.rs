//! The machine that a run was made on: figures without it say nothing.

use std::{fs, thread};

use rustix::{
    process::{Resource, getrlimit},
    system::uname,
};

/// What a reader has to know to judge the figures, or to repeat them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Name and release of the kernel.
    pub(crate) kernel: String,
    /// The model of the processor, if it says.
    pub(crate) cpu: String,
    /// Cores that this process may use.
    pub(crate) core_count: usize,
    /// How the kernel chooses the processor's speed, where it does.
    pub(crate) governor: Option<String>,
    /// Bytes of memory.
    pub(crate) memory_len: u64,
    /// `RLIMIT_NOFILE`, soft and hard; `None` is no limit.
    pub(crate) descriptors_max: (Option<u64>, Option<u64>),
    /// The range of local ports.
    pub(crate) port_range: String,
    /// Our version, and how we were compiled.
    pub(crate) version: String,
}

impl Host {
    /// This one, now.
    pub(crate) fn this() -> Self {
        let (uname, limit) = (uname(), getrlimit(Resource::Nofile));
        let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
        Self {
            kernel: format!("{} {}", text(uname.sysname()), text(uname.release())),
            cpu: throng_meter::processor().unwrap_or_else(|| text(uname.machine())),
            core_count: thread::available_parallelism().map_or(1, |count| count.get()),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            memory_len: throng_meter::memory_len().unwrap_or(0),
            descriptors_max: (limit.current, limit.maximum),
            port_range: line("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default(),
            version: format!("loadgen {}, {BUILD}", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// Debug builds are several times slower: such figures are about the compiler.
const BUILD: &str = if cfg!(debug_assertions) { "debug build" } else { "release build" };

/// The words of a file of one line.
fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_says_what_it_is() {
        let host = Host::this();
        assert!(host.kernel.starts_with("Linux "), "{host:?}");
        assert!(host.core_count > 0 && host.memory_len > 0);
        assert!(!host.port_range.contains('\t'));
    }
}
