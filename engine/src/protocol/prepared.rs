//! Messages that are framed once, and compressed once, for any number of connections.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::{
    encoder::append_frame,
    header::{FrameHeader, Rsv},
    message::Message,
    opcode::Opcode,
};

/// A message made ready to be sent to many connections, of any reactor.
///
/// It is copied and framed once, when it is made; and compressed once, when it first goes to a
/// connection that agreed to that. Connections share its bytes; a clone costs a count. Those that
/// keep a history of their own (context takeover, RFC 7692 §7.1.1) and those of clients, whose frames
/// are masked, are the exceptions: for them it is framed anew.
///
/// ```
/// use throng::Prepared;
///
/// let tick = Prepared::from(r#"{"price":103.25}"#);
/// assert_eq!(tick.message().len(), 16);
/// ```
#[derive(Clone)]
pub struct Prepared(Arc<Frames>);

struct Frames {
    opcode: Opcode,
    header_len: usize,
    plain: Bytes,
    /// Compressed by itself, for those who may receive a window of 32 KiB; `None` if that is no shorter.
    deflated: OnceLock<Option<Bytes>>,
}

impl Prepared {
    /// The message.
    pub fn message(&self) -> Message<'_> {
        let payload = self.payload();
        match self.opcode() {
            // It was a `str` when it was made, and checking it again costs less than `unsafe` would.
            Opcode::Text => str::from_utf8(payload).map_or(Message::Binary(payload), Message::Text),
            _ => Message::Binary(payload),
        }
    }

    pub(crate) fn opcode(&self) -> Opcode {
        self.0.opcode
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.0.plain[self.0.header_len..]
    }

    /// The frame, as it stands.
    pub(crate) fn plain(&self) -> &Bytes {
        &self.0.plain
    }

    /// The frame of the payload that `compress` makes of this one, unless it makes none. Who asks first
    /// does it for all.
    pub(crate) fn deflated<'c>(
        &self,
        compress: impl FnOnce(&[u8]) -> Option<&'c [u8]>,
    ) -> Option<&Bytes> {
        let framed = || Some(frame(Rsv::RSV1, self.0.opcode, compress(self.payload())?));
        self.0.deflated.get_or_init(framed).as_ref()
    }
}

fn frame(rsv: Rsv, opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(FrameHeader::LEN_MAX + payload.len());
    append_frame(&mut frame, true, rsv, opcode, None, payload);
    frame.into()
}

impl From<Message<'_>> for Prepared {
    fn from(message: Message<'_>) -> Self {
        let opcode = message.opcode();
        let plain = frame(Rsv::NONE, opcode, message.as_bytes());
        let header_len = plain.len() - message.len();
        Self(Arc::new(Frames { opcode, header_len, plain, deflated: OnceLock::new() }))
    }
}

impl From<&Prepared> for Prepared {
    fn from(prepared: &Prepared) -> Self {
        prepared.clone()
    }
}

impl From<&str> for Prepared {
    fn from(text: &str) -> Self {
        Message::from(text).into()
    }
}

impl From<&String> for Prepared {
    fn from(text: &String) -> Self {
        Message::from(text).into()
    }
}

impl From<&[u8]> for Prepared {
    fn from(bytes: &[u8]) -> Self {
        Message::from(bytes).into()
    }
}

impl From<&Vec<u8>> for Prepared {
    fn from(bytes: &Vec<u8>) -> Self {
        Message::from(bytes).into()
    }
}

impl<const N: usize> From<&[u8; N]> for Prepared {
    fn from(bytes: &[u8; N]) -> Self {
        Message::from(bytes).into()
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prepared").field(&self.message()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_it_was_made_of() {
        for len in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            let bytes = vec![b'x'; len];
            let binary = Prepared::from(&bytes);
            assert_eq!(binary.message(), Message::Binary(&bytes));
            let text = String::from_utf8(bytes).unwrap();
            let prepared = Prepared::from(&text);
            assert_eq!(prepared.message(), Message::Text(&text));
            let (header, header_len) = FrameHeader::decode(prepared.plain()).unwrap().unwrap();
            assert_eq!((header.payload_len, header.fin), (len as u64, true));
            assert_eq!(&prepared.plain()[header_len..], text.as_bytes());
        }
    }

    #[test]
    fn it_is_compressed_once() {
        let prepared = Prepared::from("a message");
        let frame = prepared.deflated(|_| Some(b"shorter")).unwrap();
        assert_eq!(frame[..], *b"\xC1\x07shorter");
        let clone = prepared.clone();
        let again = clone.deflated(|_| unreachable!("it was done")).unwrap();
        assert_eq!(again.as_ptr(), frame.as_ptr());
        let incompressible = Prepared::from("x");
        assert!(incompressible.deflated(|_| None).is_none());
        assert!(incompressible.deflated(|_| unreachable!("it was tried")).is_none());
    }
}
