//! From a host to a connected socket: the first of its addresses that answers (RFC 8305).

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    connect_error::{ConnectError, Phase},
    until::{Until, is_timeout},
};
use crate::{
    driver::{Route, Target, socket},
    endpoint::resolve,
};

/// Where a [dialer](super::Connector::dialer) is to connect to: the server, or the proxy on the way to
/// it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Destination<'a> {
    /// A name or an address, that of IPv6 without brackets.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// How long dialing may take.
    pub timeout: Option<Duration>,
}

/// The addresses of `host`. A resolver cannot be hurried: if it takes too long it goes on on a thread
/// of its own, and nobody listens to it.
pub(super) fn addresses(
    host: &str,
    port: u16,
    until: Until,
) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |source| ConnectError::Resolve { host: host.to_owned(), source };
    let timed_out = |_| ConnectError::TimedOut(Phase::Dialing);
    let (sender, receiver) = mpsc::sync_channel(1);
    let name = host.to_owned();
    thread::Builder::new()
        .name("resolver".to_owned())
        .spawn(move || sender.send(resolve(&name, port)))
        .map_err(failed)?;
    let resolved = match until.left().map_err(timed_out)? {
        Some(left) => match receiver.recv_timeout(left) {
            Err(mpsc::RecvTimeoutError::Timeout) => {
                return Err(ConnectError::TimedOut(Phase::Dialing));
            }
            resolved => resolved.ok(),
        },
        None => receiver.recv().ok(),
    };
    let ended = || Err(io::Error::other("the resolver ended"));
    resolved.unwrap_or_else(ended).map_err(failed)
}

/// Connects to the first of `addresses` that answers. Both families take turns; each address has 250
/// ms before the next is tried beside it, and all go on until one is connected (RFC 8305 §4, §5).
///
/// # Errors
///
/// What befell the first address.
pub(super) fn dial(
    addresses: &[SocketAddr],
    source: Option<IpAddr>,
    nodelay: bool,
    until: Until,
) -> Result<TcpStream, ConnectError> {
    let mut race = Race { source, nodelay, waiting: taking_turns(addresses), begun: Vec::new() };
    let mut first_error = None;
    race.run(until, &mut first_error).map_err(|error| {
        let source = first_error.unwrap_or(error);
        if is_timeout(&source) {
            return ConnectError::TimedOut(Phase::Dialing);
        }
        let address = addresses.first().map_or("no address".to_owned(), ToString::to_string);
        ConnectError::Dial { address, source }
    })
}

/// Connects to a Unix socket, whose listener may have more to do than it can.
pub(super) fn dial_unix(path: &Path, until: Until) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(until.left()?)?; // bounds connecting as well (unix(7))
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// Addresses of which one is to be connected to.
struct Race {
    source: Option<IpAddr>,
    nodelay: bool,
    waiting: VecDeque<SocketAddr>,
    /// Sockets that are connecting.
    begun: Vec<OwnedFd>,
}

impl Race {
    fn run(&mut self, until: Until, first_error: &mut Option<io::Error>) -> io::Result<TcpStream> {
        loop {
            if let Some(address) = self.waiting.pop_front() {
                match self.begin(address) {
                    Ok(Some(socket)) => return connected(socket),
                    Ok(None) => {}
                    Err(error) => _ = first_error.get_or_insert(error),
                }
            }
            if self.begun.is_empty() && self.waiting.is_empty() {
                return Err(io::Error::other("there is no address to connect to"));
            }
            let next_at = match self.waiting.is_empty() {
                true => Until::FOREVER,
                false => Until::after(Some(HEAD_START)),
            };
            // An address that fails makes way at once.
            while !self.begun.is_empty() {
                let Ok(left) = next_at.or(until).left() else { break };
                match self.wait(left)? {
                    Some(Ok(socket)) => return connected(socket),
                    Some(Err(error)) => {
                        first_error.get_or_insert(error);
                        break;
                    }
                    None => {}
                }
            }
            until.left().inspect_err(|_| *first_error = None)?;
        }
    }

    /// Begins to connect, and says whether that is done already.
    fn begin(&mut self, address: SocketAddr) -> io::Result<Option<OwnedFd>> {
        let mut route = Route::to(Target::Tcp(address));
        route.source = self.source.filter(|source| source.is_ipv4() == address.is_ipv4());
        route.nodelay = self.nodelay;
        let socket = socket::open(&route)?;
        match socket::connect(&socket, &route.target)? {
            true => Ok(Some(socket)),
            false => {
                self.begun.push(socket);
                Ok(None)
            }
        }
    }

    /// Waits at most `left` until one has been connected, or has failed.
    fn wait(&mut self, left: Option<Duration>) -> io::Result<Option<io::Result<OwnedFd>>> {
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let ready = {
            let mut polled: Vec<_> =
                self.begun.iter().map(|socket| PollFd::new(socket, PollFlags::OUT)).collect();
            match poll(&mut polled, left.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            polled.iter().position(|polled| !polled.revents().is_empty())
        };
        Ok(ready.map(|index| {
            let socket = self.begun.remove(index);
            match socket::take_error(&socket) {
                None => Ok(socket),
                Some(error) => Err(error),
            }
        }))
    }
}

fn connected(socket: OwnedFd) -> io::Result<TcpStream> {
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The addresses, one of each family after the other, as long as there are both (RFC 8305 §4).
fn taking_turns(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let Some(first) = addresses.first() else { return VecDeque::new() };
    let (mut same, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == first.is_ipv4());
    let mut turns = VecDeque::with_capacity(addresses.len());
    while !same.is_empty() || !other.is_empty() {
        turns.extend(same.pop_front());
        turns.extend(other.pop_front());
    }
    turns
}

/// How long an address has before the next is tried as well (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let read = |list: &str| -> Vec<SocketAddr> {
            list.split(' ').map(|host| SocketAddr::new(host.parse().unwrap(), 1)).collect()
        };
        for (given, expected) in [
            ("::1 ::2 ::3 1.1.1.1 2.2.2.2", "::1 1.1.1.1 ::2 2.2.2.2 ::3"),
            ("1.1.1.1 ::1 2.2.2.2", "1.1.1.1 ::1 2.2.2.2"),
            ("1.1.1.1 2.2.2.2", "1.1.1.1 2.2.2.2"),
        ] {
            assert_eq!(Vec::from(taking_turns(&read(given))), read(expected), "{given}");
        }
    }
}
