//! Buffers for bytes that have to outlive a turn.

use std::mem::MaybeUninit;

/// Lends buffers by size class and takes them back, so that a warm reactor allocates nothing.
///
/// Two bounds hold: what it keeps for reuse (`kept_max`), and what it has lent in all (`lent_max`). What
/// was kept and not needed for a while is freed ([`BufferPool::tidy`]).
#[derive(Debug)]
pub(crate) struct BufferPool {
    classes: [Vec<Vec<u8>>; CLASS_COUNT],
    kept_len: usize,
    kept_max: usize,
    /// The least that was kept at any time since `tidy`: so much was not needed.
    idle_len: usize,
    lent_len: usize,
    lent_max: usize,
}

/// A buffer on loan: empty when lent, never longer than it was asked to be.
#[derive(Debug, Default)]
#[must_use = "a lease is given back to the pool it came from"]
pub(crate) struct Lease {
    bytes: Vec<u8>,
    /// Bytes that the pool counts as lent for it.
    lent_len: usize,
}

/// The pool has lent as much as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl BufferPool {
    /// A pool that keeps at most `kept_max` bytes for reuse and lends at most `lent_max`.
    pub(crate) fn new(kept_max: usize, lent_max: usize) -> Self {
        Self {
            classes: Default::default(),
            kept_len: 0,
            kept_max,
            idle_len: 0,
            lent_len: 0,
            lent_max,
        }
    }

    /// A buffer with room for at least `len` bytes.
    pub(crate) fn lend(&mut self, len: usize) -> Result<Lease, Exhausted> {
        let capacity = class_capacity(len);
        if self.lent_len.saturating_add(capacity) > self.lent_max {
            return Err(Exhausted);
        }
        let kept = class_index(capacity).and_then(|class| self.classes[class].pop());
        let bytes = match kept {
            Some(bytes) => {
                self.kept_len -= bytes.capacity();
                self.idle_len = self.idle_len.min(self.kept_len);
                bytes
            }
            None => Vec::with_capacity(capacity),
        };
        let lent_len = bytes.capacity();
        self.lent_len += lent_len;
        Ok(Lease { bytes, lent_len })
    }

    /// Makes room in `lease` for `additional` more bytes, in a larger buffer if need be: each step
    /// at least doubles, so that a message of any length is copied less than once over.
    pub(crate) fn reserve(
        &mut self,
        lease: &mut Lease,
        additional: usize,
    ) -> Result<(), Exhausted> {
        self.reserve_towards(lease, additional, 0)
    }

    /// The same, for a buffer that is to hold `expected_len` bytes in the end, if what the peer says
    /// is true. Who has sent a 32nd of a message is believed to send the rest: of the longest that are
    /// received straight into place (see `Op::ReceiveInto`), the first 64 KiB are enough for 2 MiB.
    pub(crate) fn reserve_towards(
        &mut self,
        lease: &mut Lease,
        additional: usize,
        expected_len: usize,
    ) -> Result<(), Exhausted> {
        let needed = lease.bytes.len() + additional;
        let capacity = lease.bytes.capacity();
        if needed <= capacity {
            return Ok(());
        }
        let believed = expected_len.min(needed.saturating_mul(32));
        let wanted = needed.max(capacity * 2).max(believed);
        let mut larger = self.lend(wanted).or_else(|_| self.lend(needed))?;
        larger.bytes.extend_from_slice(&lease.bytes);
        self.give_back(std::mem::replace(lease, larger));
        Ok(())
    }

    /// Frees buffers that were kept since the last call and never needed. To be called now and then.
    pub(crate) fn tidy(&mut self) {
        for class in self.classes.iter_mut().rev() {
            while let Some(bytes) = class.pop_if(|bytes| bytes.capacity() <= self.idle_len) {
                self.idle_len -= bytes.capacity();
                self.kept_len -= bytes.capacity();
            }
        }
        self.idle_len = self.kept_len;
    }

    /// Bytes on loan.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn lent_len(&self) -> usize {
        self.lent_len
    }

    /// Counts a buffer that was lent by nobody as lent from now on.
    pub(crate) fn adopt(&mut self, lease: &mut Lease) -> Result<(), Exhausted> {
        let uncounted = lease.bytes.capacity() - lease.lent_len;
        if self.lent_len.saturating_add(uncounted) > self.lent_max {
            return Err(Exhausted);
        }
        self.lent_len += uncounted;
        lease.lent_len += uncounted;
        Ok(())
    }

    /// Takes a buffer back.
    pub(crate) fn give_back(&mut self, lease: Lease) {
        let mut bytes = lease.bytes;
        self.lent_len -= lease.lent_len;
        let Some(class) = class_index(bytes.capacity()) else { return };
        if self.kept_len + bytes.capacity() <= self.kept_max {
            bytes.clear();
            self.kept_len += bytes.capacity();
            self.classes[class].push(bytes);
        }
    }
}

impl Lease {
    /// A buffer of nobody's: a driver's copy of what a socket would not take.
    pub(crate) fn detached(bytes: Vec<u8>) -> Self {
        Self { bytes, lent_len: 0 }
    }

    /// What has been written.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Room behind what has been written, `len` bytes of it.
    ///
    /// # Panics
    ///
    /// If there is less.
    pub(crate) fn room(&mut self, len: usize) -> &mut [MaybeUninit<u8>] {
        &mut self.bytes.spare_capacity_mut()[..len]
    }

    /// Counts the next `len` bytes as written.
    ///
    /// # Safety
    ///
    /// They have been written, to [`room`](Self::room).
    pub(crate) unsafe fn fill(&mut self, len: usize) {
        // SAFETY: the caller wrote them, and there is room for them.
        unsafe { self.bytes.set_len(self.bytes.len() + len) }
    }

    /// The buffer itself. Growing it past its capacity is the pool's business (`reserve`).
    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// Classes are powers of two from 256 bytes to 16 MiB; a longer buffer is allocated and freed.
const CLASS_SHIFT_MIN: u32 = 8;
const CLASS_COUNT: usize = 17;

/// The capacity lent for `len` bytes.
fn class_capacity(len: usize) -> usize {
    let capacity = len.max(1 << CLASS_SHIFT_MIN).next_power_of_two();
    if class_index(capacity).is_some() { capacity } else { len }
}

/// The class of exactly this capacity.
fn class_index(capacity: usize) -> Option<usize> {
    let shift = capacity.trailing_zeros();
    let class = shift.checked_sub(CLASS_SHIFT_MIN)? as usize;
    (capacity.is_power_of_two() && class < CLASS_COUNT).then_some(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_is_lent_again() {
        let mut pool = BufferPool::new(1 << 20, 1 << 20);
        let mut lease = pool.lend(1000).unwrap();
        assert!(lease.bytes.capacity() >= 1000);
        lease.bytes_mut().extend_from_slice(b"abc");
        let address = lease.bytes().as_ptr();
        pool.give_back(lease);
        assert_eq!(pool.lent_len, 0);
        let again = pool.lend(600).unwrap();
        assert_eq!((again.bytes().as_ptr(), again.bytes().len()), (address, 0));
        pool.give_back(again);
    }

    #[test]
    fn growing_keeps_what_was_written() {
        let mut pool = BufferPool::new(1 << 20, 1 << 30);
        let mut lease = pool.lend(1).unwrap();
        let mut expected = Vec::new();
        for round in 0..100_u8 {
            let piece = vec![round; 1000];
            pool.reserve(&mut lease, piece.len()).unwrap();
            lease.bytes_mut().extend_from_slice(&piece);
            expected.extend_from_slice(&piece);
        }
        assert_eq!(lease.bytes(), expected);
        pool.give_back(lease);
        assert_eq!(pool.lent_len, 0);
    }

    #[test]
    fn a_promise_is_believed_when_a_32nd_is_kept() {
        let mut pool = BufferPool::new(1 << 20, 1 << 30);
        let mut lease = Lease::default();
        pool.reserve_towards(&mut lease, 1000, usize::MAX).unwrap();
        assert_eq!(lease.bytes.capacity(), 32_768, "32 times as much as there is");
        pool.give_back(lease);
        let mut lease = Lease::default();
        pool.reserve_towards(&mut lease, 7 << 10, 200 << 10).unwrap();
        assert_eq!(lease.bytes.capacity(), 256 << 10, "all of it");
        pool.give_back(lease);
        let mut scarce = BufferPool::new(0, 4096);
        let mut lease = Lease::default();
        scarce.reserve_towards(&mut lease, 4000, 1 << 30).unwrap();
        scarce.give_back(lease);
    }

    #[test]
    fn what_is_not_needed_is_freed_in_the_end() {
        let mut pool = BufferPool::new(1 << 20, 1 << 20);
        let leases: Vec<_> = (0..4).map(|_| pool.lend(4096).unwrap()).collect();
        leases.into_iter().for_each(|lease| pool.give_back(lease));
        pool.tidy();
        assert_eq!(pool.kept_len, 4 * 4096, "it was needed");
        let lease = pool.lend(4096).unwrap();
        pool.give_back(lease);
        pool.tidy();
        assert_eq!(pool.kept_len, 4096, "three were not");
        pool.tidy();
        assert_eq!(pool.kept_len, 0);
    }

    #[test]
    fn both_bounds_hold() {
        let mut pool = BufferPool::new(4096, 8192);
        let first = pool.lend(4096).unwrap();
        let second = pool.lend(4096).unwrap();
        assert_eq!(pool.lend(1).unwrap_err(), Exhausted);
        pool.give_back(first);
        pool.give_back(second);
        assert_eq!((pool.kept_len, pool.lent_len), (4096, 0), "one is kept, the other freed");
    }
}
