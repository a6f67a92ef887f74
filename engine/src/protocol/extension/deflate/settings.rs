//! What is wanted: plain data.

use super::params::WindowBits;

/// How an endpoint compresses, and lets itself be sent compressed messages.
///
/// ```
/// use throng::protocol::extension::deflate::{Deflate, DeflateMode};
///
/// let ticker = Deflate { mode: DeflateMode::dedicated(), threshold_len: 32, ..Deflate::default() };
/// assert_eq!(ticker.level, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// Whether messages may refer to those before them. Default: [`DeflateMode::Shared`].
    pub mode: DeflateMode,

    /// How hard to try, from 1 (quickest) to 9 (smallest); what lies beyond counts as the nearest.
    /// Default: 1.
    ///
    /// Messages that are compressed by themselves have libdeflate's level, of which the first takes
    /// 10 to 20 % more bytes than the sixth, and half the time. Those that need a history or a small
    /// window have zlib's, from 2 on: its first takes a third more bytes than its second.
    pub level: u8,

    /// Messages shorter than this, in bytes, are sent as they are. Default: 64.
    ///
    /// What does not get smaller is sent as it is whatever its length; this saves the attempt.
    pub threshold_len: usize,
}

/// What the compression of a message may refer to (RFC 7692 §7.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeflateMode {
    /// That message alone, in both directions. A connection holds nothing, and a message compressed
    /// once can be sent to many.
    Shared,
    /// The messages before it as well, as far back as a window reaches. Pays where messages are short
    /// and alike; costs a connection up to both windows, and each message the time to look at its
    /// history: about 1 µs at 9 bits, 4 µs at 12, 35 µs at 15.
    Dedicated {
        /// The window of what the server sends: 2 to the power of this, in bytes. With 8, whoever
        /// sends takes nothing over: zlib knows no window so small.
        server_window_bits: WindowBits,
        /// The window of what the client sends. A client that does not offer
        /// `client_max_window_bits` may not be asked for less than 15, and takes nothing over if
        /// this is less.
        client_window_bits: WindowBits,
        /// Bytes of history that all connections of one reactor may hold together. One that would
        /// exceed them, at its opening handshake, takes nothing over.
        budget_len: usize,
    },
}

impl DeflateMode {
    /// Histories of 4 KiB in each direction (12 bits), of at most 64 MiB in all: 8192 connections a
    /// reactor, more if they take over in one direction.
    pub const fn dedicated() -> Self {
        Self::Dedicated {
            server_window_bits: WindowBits::new(12).expect("8 to 15"),
            client_window_bits: WindowBits::new(12).expect("8 to 15"),
            budget_len: 64 * 1024 * 1024,
        }
    }
}

impl Default for Deflate {
    fn default() -> Self {
        Self { mode: DeflateMode::Shared, level: 1, threshold_len: 64 }
    }
}
