//! A TLS session as a transport: one thread reads, another writes, neither waits for the other.
//!
//! rustls has one machine for both directions, and never waits itself. So it is locked only while it
//! computes; while bytes come or go it is free:
//!
//! ```text
//!   read    incoming ┄┄┄┄ inner.read ┄┄┄┄▶ session ▶ plaintext
//!   write   outgoing ┄▶ session ▶ records ┄┄┄┄ inner.write ┄┄┄┄
//!           └────────── held, lest records change places ───────┘
//! ```

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::Shutdown,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustls::{ClientConnection, Connection};

use super::TlsError;
use crate::client::blocking::{
    connect_error::{ConnectError, Phase},
    transport::Transport,
    until::Until,
};

/// An agreed session, or one that is being agreed on.
pub(super) struct Session {
    inner: Arc<dyn Transport>,
    /// Held while records are on their way out. Locked before `machine`.
    outgoing: Mutex<Vec<u8>>,
    /// Held while records come in. Locked before `machine`.
    incoming: Mutex<Incoming>,
    /// Never held while anything waits.
    machine: Mutex<Connection>,
}

/// Received records; those from `start` to `end` have not been looked at.
struct Incoming {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Session {
    pub(super) fn new(connection: ClientConnection, inner: Arc<dyn Transport>) -> Self {
        let bytes = vec![0; INCOMING_LEN].into_boxed_slice();
        Self {
            inner,
            outgoing: Mutex::default(),
            incoming: Mutex::new(Incoming { bytes, start: 0, end: 0 }),
            machine: Mutex::new(connection.into()),
        }
    }

    /// Goes through the handshake.
    pub(super) fn handshake(&self, until: Until) -> Result<(), ConnectError> {
        let lost = |error: io::Error| match error.get_ref().and_then(|it| it.downcast_ref()) {
            Some(error) => ConnectError::Tls(TlsError::of(error)),
            None => ConnectError::during(Phase::Tls)(error),
        };
        loop {
            self.arm(until).and_then(|()| self.flush(lock(&self.outgoing))).map_err(lost)?;
            if !lock(&self.machine).is_handshaking() {
                return Ok(());
            }
            let mut incoming = lock(&self.incoming);
            self.receive(&mut incoming).map_err(lost)?;
        }
    }

    fn arm(&self, until: Until) -> io::Result<()> {
        let left = until.left()?;
        self.inner.set_read_timeout(left)?;
        self.inner.set_write_timeout(left)
    }

    /// Takes in what was received, one record or a part of it, and waits for some if there is none.
    fn receive(&self, incoming: &mut Incoming) -> io::Result<()> {
        if incoming.start == incoming.end {
            incoming.end = self.inner.read(&mut incoming.bytes)?;
            incoming.start = 0;
            if incoming.end == 0 && lock(&self.machine).is_handshaking() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let mut machine = lock(&self.machine);
        let mut records = &incoming.bytes[incoming.start..incoming.end];
        machine.read_tls(&mut records)?;
        incoming.start = incoming.end - records.len();
        let processed = machine.process_new_packets();
        let wants_write = machine.wants_write();
        drop(machine);
        // An alert, or a new key. If somebody is writing, it leaves with what comes next.
        if wants_write && let Ok(outgoing) = self.outgoing.try_lock() {
            let flushed = self.flush(outgoing);
            if processed.is_ok() {
                flushed?;
            }
        }
        processed.map(drop).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }

    /// Writes what the machine has to say.
    fn flush(&self, mut outgoing: MutexGuard<'_, Vec<u8>>) -> io::Result<()> {
        outgoing.clear();
        let mut machine = lock(&self.machine);
        while machine.wants_write() {
            machine.write_tls(&mut *outgoing)?;
        }
        drop(machine);
        let mut rest = &outgoing[..];
        while !rest.is_empty() {
            match self.inner.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Transport for Session {
    fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut incoming = lock(&self.incoming);
        loop {
            match lock(&self.machine).reader().read(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            let has_waited = incoming.start == incoming.end;
            self.receive(&mut incoming)?;
            if has_waited && incoming.start == incoming.end {
                // Whoever asked decides whether there is time to wait again; but first, what came.
                return match lock(&self.machine).reader().read(bytes) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        Err(ErrorKind::Interrupted.into())
                    }
                    result => result,
                };
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let outgoing = lock(&self.outgoing);
        let len = lock(&self.machine).writer().write(bytes)?;
        self.flush(outgoing)?;
        Ok(len)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(timeout)
    }

    /// Says goodbye (RFC 8446 §6.1), unless somebody is writing, who may be stuck.
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if !matches!(how, Shutdown::Read)
            && let Ok(outgoing) = self.outgoing.try_lock()
        {
            lock(&self.machine).send_close_notify();
            let _ = self.flush(outgoing);
        }
        self.inner.shutdown(how)
    }
}

/// A machine in which somebody panicked says so itself, by an error.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One record, and a little (RFC 8446 §5.2).
const INCOMING_LEN: usize = 18 * 1024;
