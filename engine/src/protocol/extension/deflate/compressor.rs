//! Messages to their compressed form (RFC 7692 §7.2.1).

use std::fmt;

use zlib_rs::DeflateFlush;

use super::{TAIL, agreement::Terms, history::History, params::WindowBits, settings::Deflate};

/// Compresses messages, one after another, of any number of connections.
///
/// What it makes for a connection without takeover is the same for all of them that have its window.
/// 205 KB at level 1, 670 KB above; 250 to 380 KB more for each window that messages are longer than,
/// or histories have; and an output somewhat longer than the longest message, of which it keeps 64 KiB.
pub struct Compressor {
    level: u8,
    threshold_len: usize,
    alone: libdeflater::Compressor,
    /// For windows of 9 to 15 bits, made when one is first needed.
    streams: [Option<Box<zlib_rs::Deflate>>; 7],
    out: Vec<u8>,
}

impl Compressor {
    /// With the level and the threshold of `settings`.
    pub fn new(settings: &Deflate) -> Self {
        let level = settings.level.clamp(1, 9);
        let alone = libdeflater::CompressionLvl::new(level.into()).expect("1 to 9 are levels");
        Self {
            level,
            threshold_len: settings.threshold_len,
            alone: libdeflater::Compressor::new(alone),
            streams: [const { None }; 7],
            out: Vec::new(),
        }
    }

    /// The payload of `message` as it is to be sent on these `terms`, with
    /// [`COMPRESSED`](super::COMPRESSED) set. With a `history` it refers to that as well, and is added
    /// to it: it has to be sent, and before any other that has the same history.
    ///
    /// `None`: it is shorter than the threshold, or would not get shorter, and is to be sent as it is;
    /// the history knows nothing of it. So is what zlib would have to compress in a window of 8 bits: a
    /// message of more than 256 bytes, or with takeover.
    pub fn compress(
        &mut self,
        message: &[u8],
        terms: Terms,
        history: Option<&mut History>,
    ) -> Option<&[u8]> {
        let window_bits = terms.window_bits;
        if message.is_empty() || message.len() < self.threshold_len {
            return None;
        }
        let out_len = out_len_max(message.len());
        if self.out.len() > OUT_LEN_KEPT.max(out_len) {
            self.out.truncate(OUT_LEN_KEPT.max(out_len));
            self.out.shrink_to_fit();
        }
        if self.out.len() < out_len {
            self.out.resize(out_len, 0);
        }
        let len = match history {
            Some(history) => {
                let len = self.compress_after(history.bytes(), message, window_bits)?;
                history.push(message);
                len
            }
            None if terms.takes_alone(message.len()) => self.compress_alone(message)?,
            None => self.compress_after(&[], message, window_bits)?,
        };
        Some(&self.out[..len])
    }

    /// By itself, within the largest window. Its last block is a final one, which ends the stream of a
    /// receiver that keeps one: for such as were told that nothing is taken over (§7.2.3.4).
    fn compress_alone(&mut self, message: &[u8]) -> Option<usize> {
        let len_max = message.len().checked_sub(2)?;
        let len = self.alone.deflate_compress(message, &mut self.out[..len_max]).ok()?;
        self.out[len] = 0x00; // the first byte of an empty stored block, whose others the receiver adds
        Some(len + 1)
    }

    /// Within a window that reaches into a history.
    fn compress_after(
        &mut self,
        history: &[u8],
        message: &[u8],
        window_bits: WindowBits,
    ) -> Option<usize> {
        let slot = usize::from(window_bits.get()).checked_sub(9)?;
        let level = i32::from(self.level.max(2));
        let stream = self.streams[slot].get_or_insert_with(|| {
            Box::new(zlib_rs::Deflate::new(level, false, window_bits.get()))
        });
        stream.reset();
        if !history.is_empty() {
            stream.set_dictionary(history).ok()?;
        }
        let status = stream.compress(message, &mut self.out, DeflateFlush::SyncFlush);
        let len = stream.total_out() as usize;
        // With room to spare everything is out, and ends as it should.
        let is_whole = status.is_ok() && len < self.out.len();
        if !is_whole || !self.out[..len].ends_with(&TAIL) {
            // What it still has to say, a reset would not forget for good (zlib-rs 0.6).
            self.streams[slot] = None;
            return None;
        }
        let len = len - TAIL.len();
        (len < message.len()).then_some(len)
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("level", &self.level).finish_non_exhaustive()
    }
}

/// More than zlib makes of so many bytes, whatever they are.
const fn out_len_max(message_len: usize) -> usize {
    message_len + message_len / 8 + message_len / 64 + 64
}

const OUT_LEN_KEPT: usize = 64 * 1024;
