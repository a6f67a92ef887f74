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
            cpu: model(&read("/proc/cpuinfo")).unwrap_or_else(|| text(uname.machine())),
            core_count: thread::available_parallelism().map_or(1, |count| count.get()),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            memory_len: super::field(&read("/proc/meminfo"), "MemTotal") * 1024,
            descriptors_max: (limit.current, limit.maximum),
            port_range: line("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default(),
            version: format!("loadgen {}, {BUILD}", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// Debug builds are several times slower: such figures are about the compiler.
const BUILD: &str = if cfg!(debug_assertions) { "debug build" } else { "release build" };

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The words of a file of one line.
fn line(path: &str) -> Option<String> {
    let words = read(path).split_whitespace().collect::<Vec<_>>().join(" ");
    (!words.is_empty()).then_some(words)
}

fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
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

    #[test]
    fn processors_have_names() {
        let text = "processor : 0\nmodel name\t: Some CPU @ 3 GHz\n";
        assert_eq!(model(text).as_deref(), Some("Some CPU @ 3 GHz"));
        assert_eq!(model("processor : 0\n"), None);
    }
}
