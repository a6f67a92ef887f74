//! Frames, made and read by hand: a mistake of the engine's codec is not made here as well.

use std::fmt;

/// A frame (RFC 6455 §5.2), as the client sends it or the server did.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    /// Reserved bit 1: the message is compressed (RFC 7692 §6).
    pub(crate) compressed: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// A text message.
    pub(crate) fn text(text: &str) -> Self {
        Self::whole(1, text.as_bytes())
    }

    /// A binary message.
    pub(crate) fn binary(bytes: &[u8]) -> Self {
        Self::whole(2, bytes)
    }

    /// A ping.
    pub(crate) fn ping(payload: &[u8]) -> Self {
        Self::whole(9, payload)
    }

    /// A pong.
    pub(crate) fn pong(payload: &[u8]) -> Self {
        Self::whole(10, payload)
    }

    /// A Close with a code and a reason.
    pub(crate) fn close(code: u16, reason: &str) -> Self {
        Self::whole(8, &[&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// A frame that is a message by itself, or a control frame.
    pub(crate) fn whole(opcode: u8, payload: &[u8]) -> Self {
        Self { fin: true, compressed: false, opcode, payload: payload.to_vec() }
    }

    /// A fragment that others follow. Opcode 0 goes on with a message.
    pub(crate) fn fragment(opcode: u8, payload: &[u8]) -> Self {
        Self { fin: false, compressed: false, opcode, payload: payload.to_vec() }
    }

    /// The message of these bytes, cut into fragments that are no longer than `len`.
    pub(crate) fn fragments(opcode: u8, payload: &[u8], len: usize) -> Vec<Self> {
        let count = payload.len().div_ceil(len).max(1);
        (0..count)
            .map(|n| Self {
                fin: n + 1 == count,
                compressed: false,
                opcode: if n == 0 { opcode } else { 0 },
                payload: payload[n * len..payload.len().min((n + 1) * len)].to_vec(),
            })
            .collect()
    }

    /// The same with reserved bit 1.
    pub(crate) fn compressed(self) -> Self {
        Self { compressed: true, ..self }
    }

    /// What goes over the wire from a client: masked (§5.3).
    pub(crate) fn masked(&self) -> Vec<u8> {
        let first = u8::from(self.fin) << 7 | u8::from(self.compressed) << 6 | self.opcode;
        let mut bytes = header(first, self.payload.len() as u64);
        let start = bytes.len();
        bytes.extend_from_slice(&self.payload);
        mask(&mut bytes[start..]);
        bytes
    }

    /// The same without a mask, which no client may send (§5.1).
    pub(crate) fn unmasked(&self) -> Vec<u8> {
        let mut bytes = self.masked();
        let header_len = bytes.len() - self.payload.len();
        bytes.truncate(header_len - KEY.len());
        bytes[1] &= 0x7F;
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Several frames as they go over the wire, one behind the other.
    pub(crate) fn stream<'f>(frames: impl IntoIterator<Item = &'f Self>) -> Vec<u8> {
        frames.into_iter().flat_map(Self::masked).collect()
    }

    /// The code and the reason, if this is a Close that has them.
    pub(crate) fn close_parts(&self) -> Option<(u16, &str)> {
        let (code, reason) = self.payload.split_first_chunk()?;
        (self.opcode == 8).then_some(())?;
        Some((u16::from_be_bytes(*code), str::from_utf8(reason).ok()?))
    }

    /// Takes a frame off the front of what a server sent; `None` if it is not there whole. Holds it
    /// against the rules that servers have to keep.
    pub(crate) fn take(received: &[u8]) -> Option<(Self, usize)> {
        let [first, second, rest @ ..] = received else { return None };
        assert_eq!(first & 0x30, 0, "there is no extension that sets these bits");
        assert_eq!(second & 0x80, 0, "a server's frame is not masked");
        let (len, rest) = match second {
            126 => {
                let (len, rest) = rest.split_first_chunk()?;
                let len = u64::from(u16::from_be_bytes(*len));
                assert!(len > 125, "{len} fits in fewer bytes");
                (len, rest)
            }
            127 => {
                let (len, rest) = rest.split_first_chunk()?;
                let len = u64::from_be_bytes(*len);
                assert!(len > u64::from(u16::MAX), "{len} fits in fewer bytes");
                (len, rest)
            }
            len => (u64::from(*len), rest),
        };
        let payload = rest.get(..usize::try_from(len).expect("no server sends as much"))?.to_vec();
        let header_len = received.len() - rest.len();
        let (fin, compressed) = (first & 0x80 != 0, first & 0x40 != 0);
        let frame = Self { fin, compressed, opcode: first & 0x0F, payload };
        let taken_len = header_len + frame.payload.len();
        Some((frame, taken_len))
    }
}

/// The header of a masked frame, as any client could announce it.
pub(super) fn header(first: u8, payload_len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload_len {
        0..126 => bytes.push(0x80 | payload_len as u8),
        126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(payload_len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&payload_len.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&KEY);
    bytes
}

impl Frame {
    /// The header of a masked frame that announces a payload of this length.
    pub(crate) fn announce(first: u8, payload_len: u64) -> Vec<u8> {
        header(first, payload_len)
    }
}

fn mask(bytes: &mut [u8]) {
    // By words first: tests are built without optimization, and some messages are long.
    let key = u64::from_ne_bytes([KEY, KEY].concat().try_into().expect("twice four"));
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    rest.iter_mut().zip(KEY.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.payload[..self.payload.len().min(64)];
        f.debug_struct("Frame")
            .field("fin", &self.fin)
            .field("compressed", &self.compressed)
            .field("opcode", &self.opcode)
            .field("len", &self.payload.len())
            .field("payload", &String::from_utf8_lossy(shown))
            .finish()
    }
}
