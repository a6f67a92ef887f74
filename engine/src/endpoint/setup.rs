//! Settings that a server and a client have in common, and what is wrong with them.

use std::{fs, thread};

use super::{ConnId, Crew};
use crate::{
    config::Config,
    driver::{DriverKind, Settings, choose},
    error::Error,
    reactor::HEADER_COUNT_MAX,
    simd,
};

/// What [`common_settings`] sets.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    pub(crate) reactors: Option<usize>,
    pub(crate) pins: Vec<usize>,
    pub(crate) driver: Option<DriverKind>,
    pub(crate) config: Config,
    pub(crate) memory_max: Option<usize>,
    pub(crate) private_descriptors: bool,
    pub(crate) settings: Settings,
}

/// The methods that both builders have. Each keeps its settings in a field `setup`.
macro_rules! common_settings {
    () => {
        /// How many reactors there are, each a thread with a table of its own. Default: one a core
        /// that this process may use. At most 1024.
        pub fn reactors(mut self, count: usize) -> Self {
            self.setup.reactors = Some(count);
            self
        }

        /// Pins reactors to these cores, in turn. Default: none, the kernel decides.
        pub fn pin(mut self, cores: impl Into<Vec<usize>>) -> Self {
            self.setup.pins = cores.into();
            self
        }

        /// Insists on a driver. Default: `THRONG_DRIVER` (`auto`, `uring` or `epoll`) if it is set,
        /// else io_uring where it works and epoll where it does not.
        pub fn driver(mut self, driver: $crate::DriverKind) -> Self {
            self.setup.driver = Some(driver);
            self
        }

        /// What a peer may send.
        pub fn limits(mut self, limits: $crate::Limits) -> Self {
            self.setup.config.limits = limits;
            self
        }

        /// How long things may take.
        pub fn timeouts(mut self, timeouts: $crate::Timeouts) -> Self {
            self.setup.config.timeouts = timeouts;
            self
        }

        /// What may wait for a peer that reads slowly.
        pub fn send_queue(mut self, send_queue: $crate::SendQueue) -> Self {
            let high_water = send_queue.high_water.min(send_queue.len_max);
            self.setup.config.send_queue = $crate::SendQueue { high_water, ..send_queue };
            self
        }

        /// Lets messages be compressed, with peers that want that too (permessage-deflate, RFC 7692).
        /// Default: they travel as they are.
        ///
        /// It saves most of the bytes of repetitive text, and costs about 10 µs of CPU for each KiB that
        /// is sent to one connection, or to all that share a broadcast.
        #[cfg(feature = "deflate")]
        pub fn deflate(mut self, deflate: $crate::Deflate) -> Self {
            self.setup.config.deflate = Some(deflate);
            self
        }

        /// Bytes of queued output and half-received messages that all reactors together may hold, in
        /// equal parts for each. Default: a quarter of the machine's memory.
        ///
        /// A connection that needs more than is left ends with
        /// [`CloseCause::OutOfMemory`](crate::CloseCause::OutOfMemory): its peer is told 1013 if it
        /// sent too much, and is dropped if there is no room for what it is owed.
        pub fn memory_max(mut self, bytes: usize) -> Self {
            self.setup.memory_max = Some(bytes);
            self
        }

        /// Frames of one connection that are handled in one turn, before others have their share.
        /// Default: 64.
        pub fn turn_frames_max(mut self, count: usize) -> Self {
            self.setup.config.turn_frames_max = count;
            self
        }

        /// Gives each reactor's thread a descriptor table of its own (`unshare(CLONE_FILES)`), so
        /// that `RLIMIT_NOFILE` counts for each of them and not for all together. Default: off; the
        /// io_uring driver has no need of it, since its direct descriptors are counted by ring.
        ///
        /// **Beware:** on such a thread a descriptor is a number of that thread's alone. A handler
        /// must not pass descriptors to other threads, and must not use files that other threads
        /// opened after the start: in its table that number may be a connection's socket. A log file
        /// that rotates is the treacherous case: write it on another thread. Files that were open
        /// before, such as the standard streams, are the same in all tables, and stay open until
        /// each has closed them.
        pub fn private_descriptors(mut self, private: bool) -> Self {
            self.setup.private_descriptors = private;
            self
        }
    };
}
pub(crate) use common_settings;

impl Setup {
    /// Checks the settings, chooses the driver, and assembles the reactors, which do not run yet.
    pub(crate) fn assemble(mut self) -> Result<Crew, Error> {
        let reactors = self
            .reactors
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, std::num::NonZero::get));
        if reactors == 0 || reactors > ConnId::REACTOR_COUNT_MAX {
            let remedy = format!("use 1 to {}", ConnId::REACTOR_COUNT_MAX);
            return Err(Error::setting("reactors", reactors, remedy));
        }
        let pins = self.check_pins()?;
        self.check_limits()?;
        let memory_max = self.memory_max.unwrap_or_else(|| machine_memory() / 4);
        self.config.memory_max = memory_max / reactors;
        if self.config.memory_max == 0 {
            let remedy = "use at least one byte for each reactor";
            return Err(Error::setting("memory_max", memory_max, remedy));
        }

        let choice =
            choose(self.driver).map_err(|error| Error::io("cannot choose a driver", error))?;
        let simd = simd::variant_name();
        tracing::info!(driver = %choice.kind, reason = %choice.reason, reactors, simd, "driver chosen");
        Crew::new(reactors, choice, pins, self)
    }

    /// The cores to pin to, if this process may use them all.
    fn check_pins(&self) -> Result<Vec<core_affinity::CoreId>, Error> {
        if self.pins.is_empty() {
            return Ok(Vec::new());
        }
        let allowed = core_affinity::get_core_ids().unwrap_or_default();
        let find = |&core: &usize| {
            allowed.iter().find(|allowed| allowed.id == core).copied().ok_or_else(|| {
                let ids: Vec<_> = allowed.iter().map(|core| core.id).collect();
                Error::setting("pin", core, format!("this process may use the cores {ids:?}"))
            })
        };
        self.pins.iter().map(find).collect()
    }

    fn check_limits(&self) -> Result<(), Error> {
        let Config { limits, timeouts, send_queue, turn_frames_max, .. } = &self.config;
        let at_least_one = [
            ("turn_frames_max", *turn_frames_max),
            ("limits.header_count_max", limits.header_count_max),
            ("limits.head_len_max", limits.head_len_max),
            ("send_queue.len_max", send_queue.len_max),
        ];
        if let (Some(ping), Some(idle)) = (timeouts.ping, timeouts.idle)
            && ping >= idle
        {
            let remedy = "use less than timeouts.idle, or a silent peer is never asked";
            return Err(Error::setting("timeouts.ping", format!("{ping:?}"), remedy));
        }
        if limits.header_count_max > HEADER_COUNT_MAX {
            let remedy = format!("use 1 to {HEADER_COUNT_MAX}");
            return Err(Error::setting("limits.header_count_max", limits.header_count_max, remedy));
        }
        match at_least_one.iter().find(|(_, value)| *value == 0) {
            Some((setting, value)) => Err(Error::setting(setting, value, "use at least 1")),
            None => Ok(()),
        }
    }
}

/// Bytes of memory of this machine, or of the control group that this process is confined to.
fn machine_memory() -> usize {
    let total = rustix::system::sysinfo();
    let machine = (total.totalram as usize).saturating_mul(total.mem_unit as usize);
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse().ok()).unwrap_or(usize::MAX);
    machine.min(group)
}
