//! Safe wrappers over the socket calls, shaped for drivers: nothing blocks, nothing raises a signal,
//! and what only needs another try gets it.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

use rustix::{
    io::{Errno, ioctl_fionbio},
    net::{
        AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
        acceptfrom_with, bind, connect as connect_to, getpeername, recv, send as send_with,
        shutdown, socket_with, sockopt,
    },
};

use super::{Route, Target};
use crate::pool::Lease;

/// A non-blocking socket that can [`connect`] along `route`, with its options set and bound to its
/// source, if there is one.
pub(crate) fn open(route: &Route) -> Result<OwnedFd, Errno> {
    let family = match route.target {
        Target::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
        Target::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
        Target::Unix(_) => AddressFamily::UNIX,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if let Target::Tcp(_) = route.target {
        sockopt::set_tcp_nodelay(&socket, route.nodelay)?;
        if let Some(source) = route.source {
            bind_address_no_port(&socket)?;
            bind(&socket, &SocketAddr::from((source, 0)))?;
        }
    }
    Ok(socket)
}

/// Begins to connect. Says whether that is done already; if not, the socket becomes writable when it
/// is, or when it [failed](take_error).
pub(crate) fn connect(socket: impl AsFd, target: &Target) -> Result<bool, Errno> {
    let begun = match target {
        Target::Tcp(address) => connect_to(socket, address),
        Target::Unix(path) => connect_to(socket, &SocketAddrUnix::new(path.as_path())?),
    };
    match begun {
        Ok(()) => Ok(true),
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a connected stream socket of whatever origin one that a driver can adopt, and says where its
/// peer is, unless that is a Unix socket.
pub(crate) fn prepare(socket: &OwnedFd) -> io::Result<Option<SocketAddr>> {
    if sockopt::socket_type(socket)? != SocketType::STREAM {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no stream socket"));
    }
    let peer = getpeername(socket)?.and_then(|peer| peer.try_into().ok());
    if let Some(error) = take_error(socket) {
        return Err(error);
    }
    set_nonblocking(socket)?;
    Ok(peer)
}

/// Has the kernel choose a port when it knows the target, and not yet when the socket is bound: ports
/// then count for each pair of addresses, and finding a free one stays quick (`ip(7)`).
fn bind_address_no_port(socket: &OwnedFd) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the option's value is one `int`, which lives as long.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// Takes one connection out of the queue of a non-blocking `listener`, non-blocking itself and not
/// inherited by child processes. The peer's address comes with it and costs nothing extra.
///
/// Fails with `AGAIN` when the queue is empty, and with what [`is_of_the_connection`] recognises
/// when the connection was lost before we got to it: then the next one is worth a try.
pub(crate) fn accept(listener: impl AsFd) -> Result<(OwnedFd, Option<SocketAddr>), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, peer) = acceptfrom_with(listener, flags)?;
    Ok((socket, peer.and_then(|peer| peer.try_into().ok())))
}

/// Whether accepting failed for the sake of the one connection, and not of the listener: accept(2)
/// passes on what befell a connection while it was queued.
pub(crate) fn is_of_the_connection(error: Errno) -> bool {
    matches!(
        error,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::NETDOWN
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
    )
}

/// Reads what has arrived, at most `bytes.len()`. Zero: the peer will send no more. `AGAIN`: nothing
/// for now.
#[inline]
pub(crate) fn receive(socket: impl AsFd, bytes: &mut [u8]) -> Result<usize, Errno> {
    let socket = socket.as_fd();
    loop {
        match recv(socket, &mut *bytes, RecvFlags::DONTWAIT) {
            Ok((_, len)) => return Ok(len),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads as [`receive`], at most `len` bytes, to the end of `lease`.
///
/// # Panics
///
/// If it has no room for as many.
pub(crate) fn receive_into(
    socket: impl AsFd,
    lease: &mut Lease,
    len: usize,
) -> Result<usize, Errno> {
    let socket = socket.as_fd();
    loop {
        match recv(socket, lease.room(len), RecvFlags::DONTWAIT) {
            Ok(((written, _), _)) => {
                let len = written.len();
                // SAFETY: so many bytes at the beginning of the room have been written.
                unsafe { lease.fill(len) };
                return Ok(len);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends what the socket takes of `bytes`, perhaps nothing: the return value is how much.
#[inline]
pub(crate) fn send(socket: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    let socket = socket.as_fd();
    loop {
        match send_with(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(len) => return Ok(len),
            Err(Errno::AGAIN) => return Ok(0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Says that no more output follows: the peer sees the end of the stream behind what was sent.
pub(crate) fn shut_down_output(socket: impl AsFd) -> Result<(), Errno> {
    shutdown(socket, Shutdown::Write)
}

/// Makes the close of `socket` a reset, which throws away what is queued.
pub(crate) fn reset_on_close(socket: impl AsFd) -> Result<(), Errno> {
    sockopt::set_socket_linger(socket, Some(Duration::ZERO))
}

/// Takes the error that waits on `socket`, if one does.
pub(crate) fn take_error(socket: impl AsFd) -> Option<io::Error> {
    match sockopt::socket_error(socket) {
        Ok(Ok(())) => None,
        Ok(Err(error)) | Err(error) => Some(error.into()),
    }
}

/// Makes calls on `socket`, through whatever descriptor, fail with `AGAIN` instead of blocking.
pub(crate) fn set_nonblocking(socket: impl AsFd) -> io::Result<()> {
    Ok(ioctl_fionbio(socket, true)?)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    fn pair() -> (OwnedFd, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set_nonblocking(&listener).unwrap();
        let (socket, address) = accept(&listener).unwrap();
        assert_eq!(address, Some(peer.local_addr().unwrap()));
        assert_eq!(accept(&listener).unwrap_err(), Errno::AGAIN);
        (socket, peer)
    }

    #[test]
    fn nothing_blocks() {
        let (socket, mut peer) = pair();
        assert_eq!(receive(&socket, &mut [0; 8]), Err(Errno::AGAIN));
        peer.write_all(b"abc").unwrap();
        let mut bytes = [0; 8];
        assert_eq!((receive(&socket, &mut bytes), &bytes[..3]), (Ok(3), b"abc".as_slice()));

        let bytes = vec![0; 1 << 20];
        let mut sent = 0;
        while let len @ 1.. = send(&socket, &bytes).unwrap() {
            sent += len;
        }
        shut_down_output(&socket).unwrap();
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), sent);
        drop(peer);
        assert_eq!(receive(&socket, &mut [0; 8]), Ok(0));
    }

    #[test]
    fn a_reset_leaves_an_error_and_no_signal() {
        let (socket, peer) = pair();
        assert!(take_error(&socket).is_none());
        reset_on_close(&peer).unwrap();
        drop(peer);
        assert_eq!(take_error(&socket).unwrap().kind(), ErrorKind::ConnectionReset);
        assert_eq!(send(&socket, b"x"), Err(Errno::PIPE));
    }
}
