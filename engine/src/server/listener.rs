//! Listening sockets: where, and how.

use std::{
    fmt, fs, io,
    net::{SocketAddr, ToSocketAddrs},
    os::{
        fd::OwnedFd,
        unix::{fs::FileTypeExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::error::Error;

/// Options of the TCP connections that a server accepts, set once on its listeners and inherited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Connections that wait to be accepted; the kernel cuts it to `net.core.somaxconn`. Default:
    /// 4096.
    pub backlog: u32,
    /// Small segments leave at once (`TCP_NODELAY`). Default: on.
    pub nodelay: bool,
    /// Silence after which the kernel probes a peer (`SO_KEEPALIVE`). Default: none, since pings do
    /// that and more.
    pub keepalive: Option<Duration>,
    /// How long sent data may stay unacknowledged before the kernel gives a peer up
    /// (`TCP_USER_TIMEOUT`). Default: 60 s.
    pub user_timeout: Option<Duration>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            nodelay: true,
            keepalive: None,
            user_timeout: Some(Duration::from_secs(60)),
        }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenAddr {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl ListenAddr {
    /// Reads `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`. A host name stands for all its addresses.
    pub(crate) fn parse(text: &str) -> Result<Vec<Self>, Error> {
        let wrong = |remedy: String| Error::setting("listen", text, remedy);
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(wrong("a path must follow `unix:`".into()));
            }
            return Ok(vec![Self::Unix(path.into())]);
        }
        let addresses: Vec<_> = text
            .to_socket_addrs()
            .map_err(|error| wrong(format!("use HOST:PORT, [IPv6]:PORT or unix:PATH ({error})")))?
            .map(Self::Tcp)
            .collect();
        if addresses.is_empty() {
            return Err(wrong("the name has no address".into()));
        }
        Ok(addresses)
    }

    /// Opens `count` listeners on this address: so many sockets of their own where the kernel
    /// spreads connections over them (TCP with `SO_REUSEPORT`), else one that all share.
    pub(crate) fn open(
        &self,
        count: usize,
        shared: bool,
        options: &TcpOptions,
    ) -> Result<(Self, Vec<OwnedFd>), Error> {
        let failed = |error| Error::io(format!("cannot listen on {self}"), error);
        match self {
            Self::Tcp(address) if !shared && count > 1 => {
                let first = tcp(*address, true, options).map_err(failed)?;
                let bound = local_address(&first).map_err(failed)?;
                let mut listeners = vec![first];
                for _ in 1..count {
                    listeners.push(tcp(bound, true, options).map_err(failed)?);
                }
                Ok((Self::Tcp(bound), listeners.into_iter().map(OwnedFd::from).collect()))
            }
            Self::Tcp(address) => {
                let listener = tcp(*address, false, options).map_err(failed)?;
                let bound = local_address(&listener).map_err(failed)?;
                Ok((Self::Tcp(bound), share(listener.into(), count).map_err(failed)?))
            }
            Self::Unix(path) => {
                let listener = unix(path, options.backlog).map_err(failed)?;
                Ok((self.clone(), share(listener.into(), count).map_err(failed)?))
            }
        }
    }
}

/// `count` descriptors of one listener.
pub(crate) fn share(listener: OwnedFd, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut listeners: Vec<_> =
        (1..count).map(|_| listener.try_clone()).collect::<io::Result<_>>()?;
    listeners.push(listener);
    Ok(listeners)
}

/// The address of a listener that someone else opened.
pub(crate) fn address_of(listener: &OwnedFd) -> io::Result<ListenAddr> {
    let address = socket2::SockRef::from(listener).local_addr()?;
    if let Some(path) = address.as_pathname() {
        return Ok(ListenAddr::Unix(path.into()));
    }
    let unknown = || io::Error::other("it has no TCP or Unix address");
    address.as_socket().map(ListenAddr::Tcp).ok_or_else(unknown)
}

fn tcp(address: SocketAddr, reuse_port: bool, options: &TcpOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` may then be listened on side by side.
        socket.set_only_v6(true)?;
    }
    socket.set_tcp_nodelay(options.nodelay)?;
    if let Some(silence) = options.keepalive {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(silence))?;
    }
    socket.set_tcp_user_timeout(options.user_timeout)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

fn unix(path: &Path, backlog: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        // A socket file that nobody listens on was left by a server that did not clean up. (Connecting
        // to what is no socket is refused as well.)
        let abandoned = error.kind() == io::ErrorKind::AddrInUse
            && fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
            && UnixStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if !abandoned {
            return Err(error);
        }
        fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?;
    address.as_socket().ok_or_else(|| io::Error::other("a TCP socket without a TCP address"))
}
