//! An open WebSocket, and its half that reads.

use std::{fmt, io, net::Shutdown, time::Duration};

use super::{
    error::Error,
    inbound::{Heard, Inbound},
    opening::Opened,
    owned_message::OwnedMessage,
    until::{Until, is_timeout},
    writer::Writer,
};
use crate::{
    conn::{CloseCause, Deadline},
    protocol::{CloseCode, CloseFrame, Message, ProtocolError},
};

/// An open WebSocket. It reads; to write it has a [`Writer`], of which other threads may have more.
///
/// Dropped without [`close`](Self::close), together with its writers, it just hangs up: the peer sees
/// 1006.
///
/// Memory: 32 KiB, the longest message of late, and what the kernel has for a socket. If compression
/// was agreed on, 64 KB more once something compressed comes, and 205 KB or more once something is
/// compressed.
pub struct WebSocket {
    inbound: Inbound,
    life: Life,
    read_timeout: Option<Duration>,
    subprotocol: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
}

/// How the WebSocket fares.
struct Life {
    writer: Writer,
    ended: Option<CloseCause>,
    close_reason: String,
    close_timeout: Duration,
}

impl WebSocket {
    pub(super) fn new(
        opened: Opened,
        inbound: Inbound,
        writer: Writer,
        close_timeout: Duration,
    ) -> Self {
        Self {
            inbound,
            life: Life { writer, ended: None, close_reason: String::new(), close_timeout },
            read_timeout: None,
            subprotocol: opened.subprotocol,
            headers: opened.headers,
        }
    }

    /// Waits for the next message, and lends it out. `None`: the WebSocket was closed, by the peer or
    /// by us, and [`close_cause`](Self::close_cause) says with what code.
    ///
    /// Pings are answered and a Close is, while this waits, and only then: a connection that nobody
    /// reads from looks dead to its peer.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] when the [read timeout](Self::set_read_timeout) passed first: read again.
    /// [`Error::Ended`] when the WebSocket ended without a closing handshake, and every time after.
    pub fn read(&mut self) -> Result<Option<Message<'_>>, Error> {
        if !self.receive(Until::after(self.read_timeout))? {
            return Ok(None);
        }
        match self.inbound.lend() {
            Ok(message) => Ok(Some(message)),
            Err(error) => Err(Error::Ended(self.life.fail(error))),
        }
    }

    /// As [`read`](Self::read), but the message is the caller's to keep: copied once.
    pub fn read_owned(&mut self) -> Result<Option<OwnedMessage>, Error> {
        Ok(self.read()?.map(OwnedMessage::from))
    }

    /// Sends a message: as [`Writer::send`].
    pub fn send<'a>(&mut self, message: impl Into<Message<'a>>) -> Result<(), Error> {
        self.life.writer.send(message)
    }

    /// Sends a ping of at most 125 bytes: as [`Writer::ping`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.life.writer.ping(payload)
    }

    /// Closes the WebSocket with `code` and `reason`, and waits until the peer has agreed: for as long
    /// as [`Connector::close_timeout`](super::Connector::close_timeout) says. Messages that still
    /// arrive are dropped. Afterwards [`read`](Self::read) says `None`.
    ///
    /// # Errors
    ///
    /// The peer did not answer in time, or the connection was lost. It is over in any case.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.life.writer.close(code, reason);
        let until = Until::after(Some(self.life.close_timeout));
        loop {
            match self.receive(until) {
                Ok(true) => drop(self.inbound.lend()),
                Ok(false) => return Ok(()),
                Err(Error::TimedOut) => {
                    self.life.writer.line().shutdown(Shutdown::Both);
                    let cause = CloseCause::TimedOut(Deadline::Close);
                    self.life.ended = Some(cause);
                    return Err(Error::Ended(cause));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How long a [`read`](Self::read) may take in all. Default: for ever.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    /// The half that writes, for another thread, or for sending while a message is lent.
    pub fn writer(&self) -> Writer {
        self.life.writer.clone()
    }

    /// The half that reads and the half that writes, one for each of two threads.
    pub fn split(self) -> (Self, Writer) {
        let writer = self.writer();
        (self, writer)
    }

    /// The subprotocol that the server chose, one of those offered, if it chose one.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The value of the first header of this name in the server's answer (in letters of either
    /// case), if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        str::from_utf8(value).ok()
    }

    /// Why the WebSocket is over, once a read has said that it is.
    pub fn close_cause(&self) -> Option<CloseCause> {
        self.life.ended
    }

    /// What the peer said when it closed; perhaps nothing.
    pub fn close_reason(&self) -> &str {
        &self.life.close_reason
    }

    /// Receives until a message is there to be lent (`true`), or the WebSocket is closed.
    fn receive(&mut self, until: Until) -> Result<bool, Error> {
        loop {
            if let Some(cause) = self.life.ended {
                return match cause {
                    CloseCause::Peer(_) | CloseCause::Local(_) => Ok(false),
                    cause => Err(Error::Ended(cause)),
                };
            }
            match self.inbound.poll() {
                Ok(Some(Heard::Message)) => return Ok(true),
                Ok(Some(Heard::Ping(payload))) => self.life.writer.owe_pong(payload),
                Ok(Some(Heard::Pong)) => {}
                Ok(Some(Heard::Close(code, reason))) => self.life.closed_by_peer(code, reason),
                Ok(None) => self.fill(until)?,
                Err(error) => _ = self.life.fail(error),
            }
        }
    }

    /// Waits for more bytes.
    fn fill(&mut self, until: Until) -> Result<(), Error> {
        match self.life.writer.line().read(self.inbound.room(), until) {
            Ok(0) => self.life.lost(io::ErrorKind::UnexpectedEof),
            Ok(len) => self.inbound.received(len),
            Err(error) if is_timeout(&error) => return Err(Error::TimedOut),
            Err(error) => self.life.lost(error.kind()),
        }
        Ok(())
    }
}

impl Life {
    /// The peer has closed, or agreed to it: it gets its answer (RFC 6455 §5.5.1).
    fn closed_by_peer(&mut self, code: Option<CloseCode>, reason: String) {
        let answer = CloseFrame::encode_payload(code, "");
        self.close_reason = reason;
        let cause = self.writer.end_with(answer, CloseCause::Peer(code));
        if let CloseCause::Local(_) = cause {
            self.writer.line().shutdown(Shutdown::Write); // all is said
        }
        self.ended = Some(cause);
    }

    /// The transport is gone.
    fn lost(&mut self, kind: io::ErrorKind) {
        let cause = match self.writer.end(CloseCause::Lost(kind)) {
            // It was not answered.
            CloseCause::Local(_) => CloseCause::Lost(kind),
            cause => cause,
        };
        self.ended = Some(cause);
    }

    /// The peer broke a rule: it is told so, and given the time to hear it, since hanging up with
    /// bytes unread would take the words out of our mouth (RFC 6455 §7.1.7).
    fn fail(&mut self, error: ProtocolError) -> CloseCause {
        let cause = CloseCause::Failed(error);
        self.ended = Some(cause);
        let payload = CloseFrame::encode_payload(Some(error.close_code()), "");
        self.writer.end_with(payload, cause);
        let until = Until::after(Some(self.close_timeout));
        let line = self.writer.line();
        let mut ignored = [0; 4096];
        while matches!(line.read(&mut ignored, until), Ok(1..)) {}
        line.shutdown(Shutdown::Both);
        cause
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("subprotocol", &self.subprotocol)
            .field("ended", &self.life.ended)
            .finish_non_exhaustive()
    }
}
