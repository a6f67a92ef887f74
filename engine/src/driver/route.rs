//! Where a connection goes to, and where it comes from.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// The far end of a connection that we make.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// How to reach it. Many connections share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) target: Target,
    /// The local address to come from; the kernel chooses a port that is free for this target
    /// (`IP_BIND_ADDRESS_NO_PORT`), so that each address has 64 Ki of them for each target.
    pub(crate) source: Option<IpAddr>,
    /// Whether small segments leave at once (`TCP_NODELAY`).
    pub(crate) nodelay: bool,
}

impl Route {
    /// The plainest way there.
    pub(crate) fn to(target: Target) -> Self {
        Self { target, source: None, nodelay: true }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
