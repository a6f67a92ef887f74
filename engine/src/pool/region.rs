//! One anonymous mapping that never moves.

use std::{ops::Range, ptr::NonNull, slice};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A stretch of zeroed memory, page-aligned, at one address for as long as it lives.
///
/// The kernel provides its pages when they are first touched, so a large region that is little used
/// costs little. Memory that an operation in flight refers to lives in one of these.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a region owns its mapping exclusively, as a `Box<[u8]>` owns its allocation.
unsafe impl Send for Region {}

impl Region {
    /// Maps `len` bytes (rounded up to whole pages by the kernel).
    ///
    /// # Panics
    ///
    /// If the kernel has no address space left, as any allocation would.
    pub(crate) fn new(len: usize) -> Self {
        assert!(len > 0, "an empty region");
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no memory
        // that anyone else owns.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        };
        let start = start.unwrap_or_else(|error| panic!("cannot map {len} bytes: {error}"));
        Self { start: NonNull::new(start.cast()).expect("mmap never returns null"), len }
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The address of its first byte, for the kernel.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The bytes in `range`.
    #[inline]
    pub(crate) fn slice(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the mapping (just checked), which was zeroed by the kernel and lives as
        // long as `self`; `&self` keeps writers away.
        unsafe { slice::from_raw_parts(self.start.as_ptr().add(range.start), range.len()) }
    }

    /// The bytes in `range`, to be written.
    #[inline]
    pub(crate) fn slice_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: as in `slice`, and `&mut self` makes this the only reference.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr().add(range.start), range.len()) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`, and no reference outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
