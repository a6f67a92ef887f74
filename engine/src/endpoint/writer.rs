//! Writing a message bit by bit.

use std::{
    fmt,
    io::{self, Write},
};

use super::Conn;
use crate::{conn::Sent, protocol::Part};

/// Writes one message in parts (RFC 6455 §5.4), as [`Conn::message_writer`] lends it.
///
/// What is written is gathered to fragments of 16 KiB. [`flush`](Write::flush) queues what there is;
/// [`finish`](Self::finish) ends the message. One that is dropped before leaves the message open: a later
/// writer goes on with it, so that a long one can be sent as the peer takes it
/// ([`Sent::AboveHighWater`], [`Handler::on_drain`](crate::Handler::on_drain)).
///
/// ```
/// use std::{fs::File, io, io::Read};
/// use throng::{Conn, Handler, Message};
///
/// struct Download;
///
/// impl Handler for Download {
///     /// The file that is being sent.
///     type Data = Option<File>;
///
///     fn on_message(&mut self, conn: &mut Conn<'_, Option<File>>, message: Message<'_>) {
///         if let Message::Text("the file, please") = message {
///             *conn.data_mut() = File::open("/etc/hostname").ok();
///             self.on_drain(conn);
///         }
///     }
///
///     fn on_drain(&mut self, conn: &mut Conn<'_, Option<File>>) {
///         let Some(mut file) = conn.data_mut().take() else { return };
///         let mut writer = conn.message_writer(false);
///         match io::copy(&mut (&mut file).take(512 << 10), &mut writer) {
///             Ok(len) if len < 512 << 10 => _ = writer.finish(),
///             outcome => {
///                 drop(writer);
///                 match outcome {
///                     Ok(_) => *conn.data_mut() = Some(file), // goes on when this has left
///                     Err(_) => conn.abort(),
///                 }
///             }
///         }
///     }
/// }
/// ```
pub struct MessageWriter<'c, 'a, T> {
    conn: &'c mut Conn<'a, T>,
    is_text: bool,
    fragment: Vec<u8>,
    sent: Sent,
}

impl<'c, 'a, T> MessageWriter<'c, 'a, T> {
    pub(super) fn new(conn: &'c mut Conn<'a, T>, is_text: bool) -> Self {
        Self { conn, is_text, fragment: Vec::new(), sent: Sent::Queued }
    }

    /// Ends the message with what has been written, and says what became of that.
    pub fn finish(mut self) -> Sent {
        self.send(true);
        self.sent
    }

    /// What became of what was sent last.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    fn send(&mut self, is_last: bool) {
        let is_first = !self.conn.is_sending_parts();
        let part = Part { is_text: self.is_text, bytes: &self.fragment, is_first, is_last };
        self.sent = self.conn.send_part(part);
        self.fragment.clear();
    }
}

impl<T> Write for MessageWriter<'_, '_, T> {
    /// Fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe) when the connection takes no more.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(FRAGMENT_LEN - self.fragment.len());
        self.fragment.extend_from_slice(&bytes[..len]);
        if self.fragment.len() == FRAGMENT_LEN {
            self.flush()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.fragment.is_empty() {
            self.send(false);
        }
        match self.sent {
            Sent::Dropped | Sent::Closed => Err(io::ErrorKind::BrokenPipe.into()),
            Sent::Queued | Sent::AboveHighWater => Ok(()),
        }
    }
}

impl<T> Drop for MessageWriter<'_, '_, T> {
    /// What was written and not flushed is queued.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

impl<T> fmt::Debug for MessageWriter<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_text, sent, .. } = self;
        f.debug_struct("MessageWriter")
            .field("is_text", is_text)
            .field("sent", sent)
            .finish_non_exhaustive()
    }
}

const FRAGMENT_LEN: usize = 16 * 1024;
