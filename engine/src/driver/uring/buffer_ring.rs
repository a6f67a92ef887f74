//! Buffers for what arrives: the kernel picks one when there is something to put into it.
//!
//! An idle connection owns none. The entries form a queue that the kernel takes from at one end
//! (its head is none of our business) and we add to at the other, by moving the tail:
//!
//! ```text
//!   entries:  … │ taken │ id, address, length │ id, address, length │ free │ …
//!                       ▲ the kernel's head                         ▲ our tail
//! ```
//!
//! For one receive at a time, a buffer is put there when the receive is about to need it, and it is the
//! one that was given back last: it is in the cache, and those at the bottom of the pile are never
//! touched, and cost no memory, unless so many receives are in flight at once. Multishot receives need
//! a buffer at any moment: theirs are all put there at once, and again as soon as they come back.

use std::{
    io,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::{Submitter, types::BufRingEntry};

use crate::pool::Region;

/// One ring of equal buffers.
#[derive(Debug)]
pub(super) struct BufferRing {
    group: u16,
    entries: Region,
    buffers: Region,
    count: u16,
    len: usize,
    tail: u16,
    /// In the queue for receives that ended without taking one.
    spare: u16,
    /// Not in the queue; the last is the next.
    pile: Vec<u16>,
}

impl BufferRing {
    /// The group that receives name to pick from the ring of buffers for one receive at a time.
    pub(super) const ONE_SHOT: u16 = 0;
    /// The group that multishot receives name.
    pub(super) const MULTISHOT: u16 = 1;

    /// A ring of `count` buffers (a power of two) of `len` bytes each, for `group`.
    pub(super) fn new(group: u16, count: u16, len: usize) -> io::Result<Self> {
        if !count.is_power_of_two() || count > COUNT_MAX {
            let problem = format!("receive_count is {count}; it has to be a power of two");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let entries = Region::new(usize::from(count) * size_of::<BufRingEntry>());
        let buffers = Region::new(usize::from(count) * len);
        let pile = (0..count).rev().collect();
        Ok(Self { group, entries, buffers, count, len, tail: 0, spare: 0, pile })
    }

    /// Tells the kernel where the ring is.
    pub(super) fn register(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        let address = self.entries.as_ptr() as u64;
        // SAFETY: the region holds `count` entries, page-aligned, and never moves. It is unmapped
        // only after `unregister`, or after the ring that knows of it is gone.
        unsafe { submitter.register_buf_ring_with_flags(address, self.count, self.group, 0) }
    }

    /// Has the kernel forget it.
    pub(super) fn unregister(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        submitter.unregister_buf_ring(self.group)
    }

    /// The first `len` bytes of buffer `id`, which the kernel has filled.
    #[inline]
    pub(super) fn bytes(&mut self, id: u16, len: usize) -> &mut [u8] {
        debug_assert!(id < self.count && len <= self.len);
        let start = usize::from(id) * self.len;
        self.buffers.slice_mut(start..start + len)
    }

    /// Takes back buffer `id`, which the kernel has filled and nobody reads any more.
    #[inline]
    pub(super) fn give_back(&mut self, id: u16) {
        debug_assert!(id < self.count && !self.pile.contains(&id));
        self.pile.push(id);
    }

    /// Sees to it that a receive finds a buffer, if one is left: with as many receives in flight as
    /// there are buffers, another could only fail.
    #[inline]
    pub(super) fn reserve(&mut self) -> bool {
        if self.spare > 0 {
            self.spare -= 1;
            return true;
        }
        let Some(id) = self.pile.pop() else { return false };
        self.lend(id);
        true
    }

    /// Whether a buffer is left to be promised.
    pub(super) fn has_free(&self) -> bool {
        self.spare > 0 || !self.pile.is_empty()
    }

    /// A receive ended and took no buffer.
    #[inline]
    pub(super) fn release(&mut self) {
        self.spare += 1;
    }

    /// The length of one buffer.
    #[inline]
    pub(super) fn buffer_len(&self) -> usize {
        self.len
    }

    /// Lends all buffers to the kernel.
    pub(super) fn lend_all(&mut self) {
        while let Some(id) = self.pile.pop() {
            self.lend(id);
        }
    }

    /// Lends buffer `id` to the kernel, which does not have it.
    #[inline]
    pub(super) fn lend(&mut self, id: u16) {
        let address = self.buffers.as_ptr() as u64 + (usize::from(id) * self.len) as u64;
        let entries = self.entries.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the place is inside the region, and it lies beyond the tail, where the kernel does
        // not read; only this thread writes. Zeroes are a valid entry. (The tail shares the first
        // entry's memory, in a field that is not among these three.)
        let entry = unsafe { &mut *entries.add(usize::from(self.tail & (self.count - 1))) };
        entry.set_addr(address);
        entry.set_len(self.len as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the region's start is the address of the first entry, and zeroes initialise it.
        let tail = unsafe { BufRingEntry::tail(entries) }.cast_mut();
        // SAFETY: two aligned bytes inside the region, which we write here alone and the kernel only
        // reads. The release orders the entry before the tail that covers it.
        unsafe { AtomicU16::from_ptr(tail) }.store(self.tail, Ordering::Release);
    }
}

/// The kernel's limit.
const COUNT_MAX: u16 = 1 << 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_receives_as_buffers() {
        let mut ring = BufferRing::new(BufferRing::ONE_SHOT, 4, 64).unwrap();
        assert_eq!((0..6).filter(|_| ring.reserve()).count(), 4);
        ring.release();
        assert!(ring.reserve() && !ring.reserve());
        ring.give_back(2);
        assert!(ring.has_free() && ring.reserve() && !ring.has_free());
    }

    #[test]
    fn the_last_buffer_given_back_is_the_next_lent() {
        let mut ring = BufferRing::new(BufferRing::ONE_SHOT, 4, 64).unwrap();
        let lent = |ring: &BufferRing, place: usize| {
            let entries = ring.entries.as_ptr().cast::<BufRingEntry>();
            // SAFETY: inside the region, and no kernel knows of it.
            unsafe { &*entries.add(place) }.bid()
        };
        for place in 0..4 {
            assert!(ring.reserve());
            assert_eq!(lent(&ring, place), 0, "one after the other needs but one");
            ring.give_back(0);
        }
        assert!(ring.reserve() && ring.reserve());
        ring.give_back(1);
        ring.give_back(0);
        assert!(ring.reserve());
        assert_eq!((lent(&ring, 0), lent(&ring, 1), lent(&ring, 2)), (0, 1, 0));
    }

    #[test]
    fn buffers_do_not_overlap() {
        let mut ring = BufferRing::new(BufferRing::ONE_SHOT, 4, 64).unwrap();
        for id in 0..4 {
            ring.bytes(id, 64).fill(id as u8 + 1);
        }
        for id in 0..4 {
            assert!(ring.bytes(id, 64).iter().all(|&byte| byte == id as u8 + 1));
        }
    }

    #[test]
    fn a_count_that_is_no_power_of_two_is_refused() {
        for count in [0, 3, 100] {
            assert!(BufferRing::new(BufferRing::ONE_SHOT, count, 64).is_err(), "{count}");
        }
    }
}
