//! What our messages carry, so that they can be recognised, ordered, timed and checked.
//!
//! A *stamp* stands at the front of a payload, in 48 characters of URL-safe base64, so that it
//! survives text messages, JSON strings and chat rooms:
//!
//! ```text
//! THRG │ length │ run │ stream │ sequence │ intended │ sent │ CRC-32 │ filler up to the length…
//!   3       3      2      4         4          8        8       4      bytes before base64
//! ```
//!
//! The times are nanoseconds of `CLOCK_MONOTONIC`. The checksum covers the rest of the stamp and the
//! filler. Servers may put something of their own around the payload: it is looked for. A payload
//! that is too short for a stamp is sent *plain*: its answer is compared byte by byte, and what
//! order and identity would tell is not known.

use std::{fmt, ops::Range};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use throng::Message;

use crate::clock::Nanos;

/// Characters that a stamp takes: the shortest payload that is not plain.
pub(crate) const STAMP_LEN: usize = 48;
/// The longest payload, which is what the stamp's three bytes of length can say.
pub(crate) const PAYLOAD_LEN_MAX: usize = (1 << 24) - 1;
/// Where the payload goes in a template.
pub(crate) const PLACEHOLDER: &str = "{payload}";

/// What one message says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which run of the generator: messages that a server kept from an earlier one are not ours.
    pub(crate) run: u16,
    /// Which stream of this run.
    pub(crate) stream: u32,
    /// Its number in the stream, from 0 on.
    pub(crate) sequence: u32,
    /// When it was meant to be sent.
    pub(crate) intended: Nanos,
    /// When it was sent.
    pub(crate) sent: Nanos,
}

/// Whether messages go out as text or as bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Binary messages.
    #[default]
    Binary,
    /// Text messages.
    Text,
}

/// Makes messages. One a reactor, since it writes each over the one before.
#[derive(Clone, Debug)]
pub(crate) struct Composer {
    kind: Kind,
    run: u16,
    message: Vec<u8>,
    /// Where the payload lies in the message; what is around it comes from the template.
    payload: Range<usize>,
}

/// What a received message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// One of ours, unharmed.
    Ours(Stamp),
    /// One of ours, and harmed on the way.
    Corrupt,
    /// Somebody else's: the server's own, or another run's.
    Foreign,
}

/// Why a message cannot be made as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PayloadError {
    /// More than [`PAYLOAD_LEN_MAX`].
    TooLong(usize),
    /// Text messages have to be valid UTF-8.
    NotText,
}

impl Composer {
    /// Messages whose payload has `len` bytes, wrapped in `template` where its placeholder is. A
    /// template without one is sent plain, as it is.
    pub(crate) fn new(
        kind: Kind,
        len: usize,
        template: Option<&[u8]>,
        run: u16,
    ) -> Result<Self, PayloadError> {
        let template = template.unwrap_or(PLACEHOLDER.as_bytes());
        let place = memchr::memmem::find(template, PLACEHOLDER.as_bytes());
        let len = if place.is_some() { len } else { 0 };
        if len > PAYLOAD_LEN_MAX {
            return Err(PayloadError::TooLong(len));
        }
        let (before, after) = match place {
            Some(at) => (&template[..at], &template[at + PLACEHOLDER.len()..]),
            None => (template, &[][..]),
        };
        let message = [before, &filler(len, run), after].concat();
        if kind == Kind::Text && str::from_utf8(&message).is_err() {
            return Err(PayloadError::NotText);
        }
        Ok(Self { kind, run, message, payload: before.len()..before.len() + len })
    }

    /// Whether its messages carry a stamp.
    pub(crate) fn is_stamped(&self) -> bool {
        self.payload.len() >= STAMP_LEN
    }

    /// Bytes of a message.
    pub(crate) fn message_len(&self) -> usize {
        self.message.len()
    }

    /// The next message, with this stamp if there is room for one. Its `run` is ours.
    pub(crate) fn compose(&mut self, stamp: Stamp) -> Message<'_> {
        if self.is_stamped() {
            let payload = &mut self.message[self.payload.clone()];
            Stamp { run: self.run, ..stamp }.write(payload);
        }
        match self.kind {
            Kind::Binary => Message::Binary(&self.message),
            // A stamp is ASCII and so is the filler, and the template was valid before.
            Kind::Text => Message::Text(str::from_utf8(&self.message).unwrap_or_default()),
        }
    }

    /// Whether `message` is the plain message that we send.
    pub(crate) fn is_plain_echo(&self, message: &[u8]) -> bool {
        self.message == message
    }

    /// Finds and checks our stamp in a received message.
    pub(crate) fn read(&self, message: &[u8]) -> Reading {
        let found = match message.starts_with(MAGIC) {
            true => Some(0),
            false => memchr::memmem::find(message, MAGIC),
        };
        match found {
            Some(at) => Stamp::read(&message[at..], self.run),
            None => Reading::Foreign,
        }
    }
}

impl Stamp {
    /// Writes it over the front of `payload`, which is as long as the stamp will say.
    fn write(self, payload: &mut [u8]) {
        let mut raw = [0; RAW_LEN];
        raw[..3].copy_from_slice(&MAGIC_RAW);
        raw[3..6].copy_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        raw[6..8].copy_from_slice(&self.run.to_be_bytes());
        raw[8..12].copy_from_slice(&self.stream.to_be_bytes());
        raw[12..16].copy_from_slice(&self.sequence.to_be_bytes());
        raw[16..24].copy_from_slice(&self.intended.to_be_bytes());
        raw[24..32].copy_from_slice(&self.sent.to_be_bytes());
        let checksum = checksum(&raw[..32], &payload[STAMP_LEN..]);
        raw[32..].copy_from_slice(&checksum.to_be_bytes());
        let written = BASE64_URL_SAFE_NO_PAD.encode_slice(raw, &mut payload[..STAMP_LEN]);
        debug_assert_eq!(written, Ok(STAMP_LEN));
    }

    /// Reads the one that `message` begins with.
    fn read(message: &[u8], run: u16) -> Reading {
        let mut raw = [0; RAW_LEN];
        let Some(text) = message.get(..STAMP_LEN) else { return Reading::Corrupt };
        if BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut raw) != Ok(RAW_LEN) {
            return Reading::Corrupt;
        }
        let field = |range: Range<usize>| {
            raw[range].iter().fold(0, |value: u64, byte| value << 8 | u64::from(*byte))
        };
        let Some(filler) = message.get(STAMP_LEN..field(3..6) as usize) else {
            return Reading::Corrupt;
        };
        if field(32..36) != u64::from(checksum(&raw[..32], filler)) {
            return Reading::Corrupt;
        }
        if field(6..8) != u64::from(run) {
            return Reading::Foreign;
        }
        Reading::Ours(Self {
            run,
            stream: field(8..12) as u32,
            sequence: field(12..16) as u32,
            intended: field(16..24),
            sent: field(24..32),
        })
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(len) => {
                write!(f, "a payload of {len} bytes is too long: at most {PAYLOAD_LEN_MAX}")
            }
            Self::NotText => {
                f.write_str("the template is not valid UTF-8: send it with `--kind binary`")
            }
        }
    }
}

impl std::error::Error for PayloadError {}

fn checksum(stamp: &[u8], filler: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(stamp);
    hasher.update(filler);
    hasher.finalize()
}

/// Letters that do not compress to nothing, the same in every message of a run.
fn filler(len: usize, run: u16) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = fastrand::Rng::with_seed(run.into());
    (0..len).map(|_| LETTERS[random.usize(..LETTERS.len())]).collect()
}

/// What a stamp begins with.
const MAGIC: &[u8] = b"THRG";
/// The same before base64.
const MAGIC_RAW: [u8; 3] = [0x4c, 0x74, 0x46];
/// Bytes of a stamp before base64.
const RAW_LEN: usize = STAMP_LEN / 4 * 3;

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { run: 7, stream: 3, sequence: 41, intended: 1 << 40, sent: 5 };

    fn composer(len: usize, template: Option<&str>) -> Composer {
        Composer::new(Kind::Text, len, template.map(str::as_bytes), 7).unwrap()
    }

    #[test]
    fn what_is_written_is_read_at_every_length() {
        for len in (STAMP_LEN..STAMP_LEN + 20).chain([125, 126, 65_535, 65_536]) {
            let mut composer = composer(len, None);
            let message = composer.compose(STAMP).as_bytes().to_vec();
            assert_eq!(message.len(), len);
            assert!(message.starts_with(MAGIC));
            assert_eq!(composer.read(&message), Reading::Ours(STAMP));
        }
    }

    #[test]
    fn what_a_server_puts_around_it_does_not_matter() {
        let mut composer = composer(64, Some(r#"{"say":"{payload}"}"#));
        let message = composer.compose(STAMP).as_bytes().to_vec();
        assert!(message.starts_with(br#"{"say":"THRG"#) && message.ends_with(br#""}"#));
        assert_eq!(composer.read(&message), Reading::Ours(STAMP));
        let wrapped = [b"somebody said:\n", &message[..], b"\nto all"].concat();
        assert_eq!(composer.read(&wrapped), Reading::Ours(STAMP));
    }

    #[test]
    fn every_harmed_byte_is_noticed() {
        let mut composer = composer(80, None);
        let message = composer.compose(STAMP).as_bytes().to_vec();
        for index in 0..message.len() {
            let mut harmed = message.clone();
            harmed[index] ^= 1;
            let expected = if index < 4 { Reading::Foreign } else { Reading::Corrupt };
            assert_eq!(composer.read(&harmed), expected, "byte {index}");
            let cut = &message[..index];
            let expected = if index < 4 { Reading::Foreign } else { Reading::Corrupt };
            assert_eq!(composer.read(cut), expected, "cut off at {index}");
        }
    }

    #[test]
    fn other_runs_and_other_messages_are_not_ours() {
        let mut other = Composer::new(Kind::Text, 64, None, 8).unwrap();
        let message = other.compose(STAMP).as_bytes().to_vec();
        let ours = composer(64, None);
        assert_eq!(ours.read(&message), Reading::Foreign);
        assert_eq!(ours.read(b"count 5"), Reading::Foreign);
    }

    #[test]
    fn short_payloads_and_files_go_plain() {
        let mut short = composer(STAMP_LEN - 1, None);
        assert!(!short.is_stamped());
        let message = short.compose(STAMP).as_bytes().to_vec();
        assert_eq!(message.len(), STAMP_LEN - 1);
        assert!(short.is_plain_echo(&message) && !short.is_plain_echo(&message[1..]));
        let mut file = composer(64, Some("just this"));
        assert!(!file.is_stamped());
        assert_eq!(file.compose(STAMP), Message::Text("just this"));
        assert!(composer(0, None).compose(STAMP).is_empty());
    }

    #[test]
    fn what_cannot_be_sent() {
        let check = |kind, len, template: &[u8], expected| {
            assert_eq!(Composer::new(kind, len, Some(template), 0).map(|_| ()), expected);
        };
        let long = PAYLOAD_LEN_MAX + 1;
        check(Kind::Binary, long, b"{payload}", Err(PayloadError::TooLong(long)));
        check(Kind::Text, 64, b"\xff{payload}", Err(PayloadError::NotText));
        check(Kind::Binary, 64, b"\xff{payload}", Ok(()));
    }

    #[test]
    fn the_magic_reads_the_same_before_and_after_base64() {
        assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(MAGIC_RAW).as_bytes(), MAGIC);
    }
}
