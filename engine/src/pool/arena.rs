//! Where the output of one turn is corked.

use std::ops::Range;

use super::Region;

/// An append-only stretch of memory, emptied as a whole.
///
/// Bytes are written once and stay where they are until [`Arena::clear`], so that a driver can hand
/// the kernel their address while more are appended behind them. Appending never allocates: an arena
/// that is full says so, and the output goes to a buffer of the connection's own.
#[derive(Debug)]
pub(crate) struct Arena {
    region: Region,
    filled: usize,
}

impl Arena {
    /// An arena for `capacity` bytes. Pages are touched as they are used.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { region: Region::new(capacity), filled: 0 }
    }

    /// Bytes appended since the last `clear`.
    #[inline]
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    /// Takes `len` bytes at the end to be written by the caller, or `None` if it is too full.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Option<&mut [u8]> {
        let free = self.filled..self.region.len();
        let room = self.region.slice_mut(free).get_mut(..len)?;
        self.filled += len;
        Some(room)
    }

    /// What was appended in `range`.
    #[inline]
    pub(crate) fn slice(&self, range: Range<usize>) -> &[u8] {
        debug_assert!(range.end <= self.filled);
        self.region.slice(range)
    }

    /// Forgets everything. Only the driver calls this, when no send refers to the bytes any more.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }
}
