//! How connections are opened, and by whom.

use std::time::Duration;

use clap::{Args, ValueEnum};
use humantime::parse_duration;
use throng::DriverKind;

use crate::backoff::Backoff;

/// How connections are opened, and by whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connections")]
pub(crate) struct CrowdOptions {
    /// Open the connections evenly over this time [default: as fast as the server takes them]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) ramp: Option<Duration>,
    /// Opening handshakes under way at a time, in all.
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub(crate) opening_max: usize,
    /// How long an opening handshake may take.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) connect_timeout: Duration,
    /// Open a connection again that was lost or refused, after a back-off.
    #[arg(long)]
    pub(crate) reconnect: bool,
    /// The longest wait before the first attempt to reconnect; it doubles with each, and the wait is
    /// a random part of it.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    pub(crate) backoff: Duration,
    /// What that doubles up to.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) backoff_max: Duration,
    /// Threads that carry the load [default: one a core, more if descriptors run short]
    #[arg(long, value_name = "N")]
    pub(crate) reactors: Option<usize>,
    /// How to talk to the kernel.
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    pub(crate) driver: Driver,
    /// What all that is random is drawn from: the same seed, the same run [default: another each time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

impl CrowdOptions {
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff { first: self.backoff, max: self.backoff_max }
    }
}

/// How to talk to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// io_uring where it works, else epoll.
    #[default]
    Auto,
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

impl Driver {
    /// The engine's name for it; `None` lets the engine choose.
    pub(crate) fn kind(self) -> Option<DriverKind> {
        match self {
            Self::Auto => None,
            Self::Uring => Some(DriverKind::Uring),
            Self::Epoll => Some(DriverKind::Epoll),
        }
    }
}
