//! What bytes travel on.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::until::Until;

/// A connection for bytes, read by one thread and written by another at the same time.
///
/// `TcpStream` and `UnixStream` are such; with one of your own a
/// [dialer](super::Connector::dialer) can go through anything. Each method is what its namesake is
/// in `std`.
pub trait Transport: Send + Sync {
    /// Reads what there is, one byte at least; zero at the end. Waits as long as the read timeout
    /// allows, and says `WouldBlock` or `TimedOut` when it is over. `Interrupted` is tried again.
    fn read(&self, bytes: &mut [u8]) -> io::Result<usize>;

    /// Writes as much as there is room for, one byte at least. Waits as [`read`](Self::read) does.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// How long one call of [`read`](Self::read) may wait; `None` is for ever.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// How long one call of [`write`](Self::write) may wait; `None` is for ever.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Ends one direction or both, and has calls that wait return.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

macro_rules! socket_is_a_transport {
    ($socket:ty) => {
        impl Transport for $socket {
            fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
                (&mut &*self).read(bytes)
            }

            fn write(&self, bytes: &[u8]) -> io::Result<usize> {
                (&mut &*self).write(bytes)
            }

            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.set_read_timeout(timeout)
            }

            fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.set_write_timeout(timeout)
            }

            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                self.shutdown(how)
            }
        }
    };
}
socket_is_a_transport!(TcpStream);
socket_is_a_transport!(UnixStream);

/// A transport whose waits have an end in time.
pub(super) struct Line {
    transport: Arc<dyn Transport>,
    /// Whether a timeout is set: telling the kernel that there is none costs a call as well.
    has_read_timeout: AtomicBool,
    has_write_timeout: AtomicBool,
}

impl Line {
    /// Over `transport`, whatever timeouts it has.
    pub(super) fn over(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            has_read_timeout: AtomicBool::new(true),
            has_write_timeout: AtomicBool::new(true),
        }
    }

    /// What it goes over, for something that comes in between.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nothing does"))]
    pub(super) fn into_transport(self) -> Arc<dyn Transport> {
        self.transport
    }

    /// Reads once. Zero at the end.
    pub(super) fn read(&self, bytes: &mut [u8], until: Until) -> io::Result<usize> {
        loop {
            let left = until.left()?;
            if self.has_read_timeout.swap(left.is_some(), Relaxed) || left.is_some() {
                self.transport.set_read_timeout(left)?;
            }
            match self.transport.read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Reads exactly as much as `bytes` holds.
    pub(super) fn read_exact(&self, mut bytes: &mut [u8], until: Until) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.read(bytes, until)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => bytes = &mut bytes[len..],
            }
        }
        Ok(())
    }

    /// Writes all of `bytes`.
    pub(super) fn write_all(&self, mut bytes: &[u8], until: Until) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = until.left()?;
            if self.has_write_timeout.swap(left.is_some(), Relaxed) || left.is_some() {
                self.transport.set_write_timeout(left)?;
            }
            match self.transport.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends one direction or both. If that is impossible, they are ended.
    pub(super) fn shutdown(&self, how: Shutdown) {
        let _ = self.transport.shutdown(how);
    }
}
