//! The half that writes.

use std::{
    fmt, io,
    net::Shutdown,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

use super::{
    error::Error,
    output::Output,
    transport::Line,
    until::{Until, is_timeout},
};
use crate::{
    conn::CloseCause,
    protocol::{CloseCode, CloseFrame, ClosePayload, FrameHeader, Message, Opcode},
};

/// The half that writes, for any thread, and any number of them.
///
/// A clone is a reference count. Frames are written whole, one after another: the pongs and the
/// Close that the reading half owes find their place between two. Reading never waits for writing:
/// what is owed while a frame is on its way is paid by whoever writes that frame.
///
/// The connection stays open as long as one half is left. Only reading notices what the peer says:
/// when nobody reads any more, [`close`](Self::close) and go.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
}

/// What both halves share.
struct Shared {
    line: Line,
    write_timeout: Option<Duration>,
    /// Held while a frame is written, however long that takes.
    output: Mutex<Output>,
    /// Never held while anything waits.
    state: Mutex<State>,
}

/// What is owed to the peer, and what has become of the WebSocket.
#[derive(Default)]
struct State {
    /// The payload of the latest ping, if it was not answered (RFC 6455 §5.5.3).
    pong: Option<Vec<u8>>,
    /// A Close that answers the peer's, or tells it what it did wrong: then nothing more is written.
    close: Option<ClosePayload>,
    /// Why nothing can be sent any more.
    ended: Option<CloseCause>,
}

impl Writer {
    pub(super) fn new(line: Line, output: Output, write_timeout: Option<Duration>) -> Self {
        let (output, state) = (Mutex::new(output), Mutex::default());
        Self { shared: Arc::new(Shared { line, write_timeout, output, state }) }
    }

    /// Sends a message, and returns once the kernel, or TLS, has taken all of it. Waits while other
    /// threads write theirs, and as long as the peer reads too slowly.
    ///
    /// One frame; one system call up to 64 KiB. Copied once, as it is masked.
    ///
    /// # Errors
    ///
    /// The WebSocket is over, or has begun to close. It is over as well when the
    /// [write timeout](super::Connector::write_timeout) passes, since half a frame cannot be taken
    /// back.
    pub fn send<'a>(&self, message: impl Into<Message<'a>>) -> Result<(), Error> {
        let message = message.into();
        self.write(|output, line, until| output.message(message, line, until))
    }

    /// Sends a ping of at most 125 bytes; what is longer is cut. The pong is taken in by whoever
    /// reads.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        let payload = &payload[..payload.len().min(FrameHeader::CONTROL_LEN_MAX)];
        self.write(|output, line, until| output.control(Opcode::Ping, payload, line, until))
    }

    /// Begins the closing handshake: no more messages after this one. The reading half hears what the
    /// peer still has to say, and then the end. Of `reason`, as much is sent as fits in 123 bytes.
    ///
    /// Does nothing if the WebSocket is over, or closing.
    pub fn close(&self, code: CloseCode, reason: &str) {
        let payload = CloseFrame::encode_payload(Some(code), reason);
        let _ = self.write(|output, line, until| {
            output.control(Opcode::Close, &payload, line, until)?;
            self.state().ended.get_or_insert(CloseCause::Local(code));
            Ok(())
        });
    }

    /// Writes a frame, if the WebSocket is open.
    fn write(
        &self,
        frame: impl FnOnce(&mut Output, &Line, Until) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut output = lock(&self.shared.output);
        if let Some(cause) = self.ended() {
            drop(output);
            self.pay(); // who owed may have found the output taken
            return Err(Error::Ended(cause));
        }
        let until = Until::after(self.shared.write_timeout);
        let written = frame(&mut output, &self.shared.line, until);
        drop(output);
        match written {
            Ok(()) => {
                self.pay();
                Ok(())
            }
            Err(error) => {
                // The reader, if there is one, is not to wait for answers.
                self.shared.line.shutdown(Shutdown::Both);
                Err(Error::Ended(self.end(lost(&error))))
            }
        }
    }

    /// Why nothing can be sent any more.
    pub(super) fn ended(&self) -> Option<CloseCause> {
        self.state().ended
    }

    pub(super) fn line(&self) -> &Line {
        &self.shared.line
    }

    /// A ping has come.
    pub(super) fn owe_pong(&self, payload: Vec<u8>) {
        let mut state = self.state();
        if state.ended.is_none() {
            state.pong = Some(payload);
        }
        drop(state);
        self.pay();
    }

    /// The WebSocket is over: for this reason, unless there was one before, which is returned.
    pub(super) fn end(&self, cause: CloseCause) -> CloseCause {
        *self.state().ended.get_or_insert(cause)
    }

    /// The WebSocket is over, and the peer is owed a last word, unless a Close was sent before.
    pub(super) fn end_with(&self, payload: ClosePayload, cause: CloseCause) -> CloseCause {
        let mut state = self.state();
        state.pong = None;
        if state.ended.is_none() {
            state.close = Some(payload);
        }
        let cause = *state.ended.get_or_insert(cause);
        drop(state);
        self.pay();
        cause
    }

    /// Pays what is owed, unless somebody is writing: who does, looks here afterwards.
    fn pay(&self) {
        while self.state().owes() {
            let mut output = match self.shared.output.try_lock() {
                Ok(output) => output,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let (pong, close) = {
                let mut state = self.state();
                (state.pong.take(), state.close.take())
            };
            let line = &self.shared.line;
            let until = Until::after(self.shared.write_timeout);
            if let Some(payload) = pong
                && let Err(error) = output.control(Opcode::Pong, &payload, line, until)
            {
                self.end(lost(&error));
                return;
            }
            if let Some(payload) = close {
                // What becomes of it makes no difference any more.
                let _ = output.control(Opcode::Close, &payload, line, until);
                line.shutdown(Shutdown::Write);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl State {
    fn owes(&self) -> bool {
        self.pong.is_some() || self.close.is_some()
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("ended", &self.ended()).finish_non_exhaustive()
    }
}

/// How a connection ends that cannot be written to.
fn lost(error: &io::Error) -> CloseCause {
    CloseCause::Lost(match is_timeout(error) {
        true => io::ErrorKind::TimedOut,
        false => error.kind(),
    })
}

/// Nobody panics while holding one of ours, and if somebody did: a frame is a frame.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
