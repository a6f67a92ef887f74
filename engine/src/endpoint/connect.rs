//! What to connect to, and what to say there.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use super::url::{Url, without_user};
use crate::{
    driver::{Route, Target},
    error::Error,
    protocol::handshake::Proposal,
};

/// What to connect to, and what to say there: prepared once, for any number of connections.
///
/// A clone is two reference counts. Connecting copies nothing but the request, into which a new key
/// goes each time (RFC 6455 §4.1).
///
/// ```
/// use throng::client::Connect;
///
/// let connect = Connect::to("ws://127.0.0.1:9001/chat?room=7")?
///     .header("Authorization", "Bearer …")
///     .subprotocol("v1");
/// # Ok::<(), throng::Error>(())
/// ```
#[derive(Clone)]
pub struct Connect {
    pub(crate) route: Arc<Route>,
    pub(crate) proposal: Arc<Proposal>,
}

impl Connect {
    /// To a URL `ws://HOST[:PORT][/PATH][?QUERY]` (RFC 6455 §3). The port is 80 by default.
    ///
    /// A host name is resolved here and now, which blocks: the first of its addresses is taken. Do it
    /// before the reactors run, or on another thread. An address as in `ws://127.0.0.1:9001` or
    /// `ws://[::1]:9001` needs no resolving.
    ///
    /// # Errors
    ///
    /// A URL of another kind (`wss://` is for [`client::blocking`](crate::client::blocking)), one with a user in
    /// it, or a name that cannot be resolved. A fragment is left out.
    pub fn to(url: &str) -> Result<Self, Error> {
        let wrong = |remedy: &str| Error::setting("url", without_user(url), remedy);
        let parsed = Url::parse(url)?;
        if parsed.is_secure {
            let remedy = "wss:// needs TLS, which the event-driven client does not have: use ws://, a \
                          proxy on this machine that speaks TLS, or `client::blocking`";
            return Err(wrong(remedy));
        }
        let addresses = parsed
            .resolve()
            .map_err(|error| wrong(&format!("the host cannot be resolved ({error})")))?;
        let proposal = Proposal::new(&parsed.authority(), &parsed.target);
        proposal.check().map_err(|error| wrong(&error.to_string()))?;
        let route = Route::to(Target::Tcp(addresses[0]));
        Ok(Self { route: Arc::new(route), proposal: Arc::new(proposal) })
    }

    /// Connects to this address instead of the one that the URL's host has. What is said there stays.
    pub fn address(self, address: SocketAddr) -> Self {
        self.reroute(|route| route.target = Target::Tcp(address))
    }

    /// Connects to this Unix socket instead of the URL's host. What is said there stays.
    pub fn unix(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.reroute(|route| route.target = Target::Unix(path))
    }

    /// Comes from this local address. Default: the kernel's choice.
    ///
    /// An address has at most 65,535 ports for each target, and by default the kernel uses 28,232
    /// (`net.ipv4.ip_local_port_range`); more connections need more addresses. Means nothing for a Unix
    /// socket.
    pub fn source(self, address: IpAddr) -> Self {
        self.reroute(|route| route.source = Some(address))
    }

    /// Whether small segments leave at once (`TCP_NODELAY`). Default: on.
    pub fn nodelay(self, nodelay: bool) -> Self {
        self.reroute(|route| route.nodelay = nodelay)
    }

    /// Adds a header to the request. What cannot be said is told when it is used
    /// ([`ConnectError::Request`](crate::client::ConnectError::Request)).
    pub fn header(self, name: &str, value: &str) -> Self {
        self.reword(|proposal| proposal.header(name, value))
    }

    /// Offers a subprotocol, behind those that are liked better. The server may choose one of them;
    /// [`Handler::on_reply`](super::Handler::on_reply) is told which.
    pub fn subprotocol(self, subprotocol: &str) -> Self {
        self.reword(|proposal| proposal.subprotocol(subprotocol))
    }

    fn reroute(mut self, change: impl FnOnce(&mut Route)) -> Self {
        change(Arc::make_mut(&mut self.route));
        self
    }

    fn reword(self, change: impl FnOnce(Proposal) -> Proposal) -> Self {
        let proposal = Arc::unwrap_or_clone(self.proposal);
        Self { route: self.route, proposal: Arc::new(change(proposal)) }
    }
}

/// Leaves out what is said, which may hold secrets.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Route { target, source, .. } = &*self.route;
        f.debug_struct("Connect")
            .field("target", &format_args!("{target}"))
            .field("source", source)
            .finish_non_exhaustive()
    }
}
