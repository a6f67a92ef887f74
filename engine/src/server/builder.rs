//! Settings in, a server or a clear complaint out.

use std::{fs, net::TcpListener, os::fd::OwnedFd, os::unix::net::UnixListener, sync::Arc, thread};

use super::{
    ConnId, Server, TcpOptions,
    listener::{self, ListenAddr},
};
use crate::{
    config::Config,
    conn::{SendQueue, Timeouts},
    driver::{DriverKind, Settings, Waker, choose},
    error::Error,
    protocol::{Limits, handshake::OriginPolicy},
    reactor::HEADER_COUNT_MAX,
    simd,
};

/// What a server is made of. Everything but an address to listen on has a default.
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ServerBuilder {
    listen: Vec<String>,
    adopted: Vec<OwnedFd>,
    reactors: Option<usize>,
    pins: Vec<usize>,
    driver: Option<DriverKind>,
    config: Config,
    memory_max: Option<usize>,
    origin: OriginPolicy,
    tcp: TcpOptions,
    shared_listeners: bool,
    private_descriptors: bool,
    settings: Settings,
}

impl ServerBuilder {
    /// Listens on `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`. May be called several times. Port 0 is a
    /// free port of the kernel's choice, which [`Server::addresses`] tells.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen.push(address.into());
        self
    }

    /// Listens on a TCP socket that someone else opened: an earlier process, a supervisor, a test.
    pub fn adopt_tcp(mut self, listener: TcpListener) -> Self {
        self.adopted.push(listener.into());
        self
    }

    /// Listens on a Unix socket that someone else opened.
    pub fn adopt_unix(mut self, listener: UnixListener) -> Self {
        self.adopted.push(listener.into());
        self
    }

    /// How many reactors there are, each a thread with a table of its own. Default: one a core that
    /// this process may use. At most 1024.
    pub fn reactors(mut self, count: usize) -> Self {
        self.reactors = Some(count);
        self
    }

    /// Pins reactors to these cores, in turn. Default: none, the kernel decides.
    pub fn pin(mut self, cores: impl Into<Vec<usize>>) -> Self {
        self.pins = cores.into();
        self
    }

    /// Insists on a driver. Default: `THRONG_DRIVER` (`auto`, `uring` or `epoll`) if it is set, else
    /// io_uring where it works and epoll where it does not.
    pub fn driver(mut self, driver: DriverKind) -> Self {
        self.driver = Some(driver);
        self
    }

    /// What a peer may send.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// How long things may take.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.config.timeouts = timeouts;
        self
    }

    /// What may wait for a peer that reads slowly.
    pub fn send_queue(mut self, send_queue: SendQueue) -> Self {
        let high_water = send_queue.high_water.min(send_queue.len_max);
        self.config.send_queue = SendQueue { high_water, ..send_queue };
        self
    }

    /// Bytes of queued output and half-received messages that the whole server may hold, in equal
    /// parts for its reactors. Default: a quarter of the machine's memory.
    ///
    /// A connection that needs more than is left ends with
    /// [`CloseCause::OutOfMemory`](crate::CloseCause::OutOfMemory): its peer is told 1013 if it sent
    /// too much, and is dropped if there is no room for what it is owed.
    pub fn memory_max(mut self, bytes: usize) -> Self {
        self.memory_max = Some(bytes);
        self
    }

    /// Frames of one connection that are handled in one turn, before others have their share.
    /// Default: 64.
    pub fn turn_frames_max(mut self, count: usize) -> Self {
        self.config.turn_frames_max = count;
        self
    }

    /// Which web pages may connect (RFC 6455 §10.2). Default: those from the same host.
    pub fn origin(mut self, policy: OriginPolicy) -> Self {
        self.origin = policy;
        self
    }

    /// Options of accepted TCP connections.
    pub fn tcp(mut self, options: TcpOptions) -> Self {
        self.tcp = options;
        self
    }

    /// All reactors accept from one socket, instead of one each over which the kernel spreads
    /// connections (`SO_REUSEPORT`). Unix sockets and adopted ones are always shared.
    pub fn shared_listeners(mut self, shared: bool) -> Self {
        self.shared_listeners = shared;
        self
    }

    /// Gives each reactor's thread a descriptor table of its own (`unshare(CLONE_FILES)`), so that
    /// `RLIMIT_NOFILE` counts for each of them and not for all together. Default: off; the io_uring
    /// driver has no need of it, since its direct descriptors are counted by ring.
    ///
    /// **Beware:** on such a thread a descriptor is a number of that thread's alone. A handler must not
    /// pass descriptors to other threads, and must not use files that other threads opened after the
    /// server was started: in its table that number may be a client's socket. A log file that rotates
    /// is the treacherous case: write it on another thread. Files that were open before, such as the
    /// standard streams, are the same in all tables, and stay open until each has closed them.
    pub fn private_descriptors(mut self, private: bool) -> Self {
        self.private_descriptors = private;
        self
    }

    /// Checks the settings, chooses the driver, and opens the listeners. Connections queue up from
    /// here on; they are served once the server [runs](Server::run).
    pub fn build(mut self) -> Result<Server, Error> {
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

        let mut addresses = Vec::new();
        let mut unix_paths = Vec::new();
        let mut listeners: Vec<Vec<OwnedFd>> = (0..reactors).map(|_| Vec::new()).collect();
        let mut add = |address, opened: Vec<OwnedFd>| {
            addresses.push(address);
            listeners.iter_mut().zip(opened).for_each(|(mine, opened)| mine.push(opened));
        };
        for text in &self.listen {
            for address in ListenAddr::parse(text)? {
                let (address, opened) = address.open(reactors, self.shared_listeners, &self.tcp)?;
                if let ListenAddr::Unix(path) = &address {
                    unix_paths.push(path.clone());
                }
                add(address, opened);
            }
        }
        for adopted in self.adopted {
            let failed = |error| Error::io("cannot adopt a listener", error);
            let address = listener::address_of(&adopted).map_err(failed)?;
            add(address, listener::share(adopted, reactors).map_err(failed)?);
        }
        if addresses.is_empty() {
            let remedy = "give at least one address, as in `.listen(\"127.0.0.1:9001\")`";
            return Err(Error::setting("listen", "", remedy));
        }
        let wakers = (0..reactors)
            .map(|_| Waker::new().map_err(|error| Error::io("cannot make a waker", error)))
            .collect::<Result<_, _>>()?;
        Ok(Server::new(super::Parts {
            choice,
            addresses,
            unix_paths,
            listeners,
            wakers,
            pins,
            config: self.config,
            origin: Arc::new(self.origin),
            settings: self.settings,
            private_descriptors: self.private_descriptors,
        }))
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
