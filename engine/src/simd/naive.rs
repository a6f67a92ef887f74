//! A byte at a time, obviously right: what the others are held against, and never optimised.

/// Masks `len` bytes from `src` to `dst`: byte `i` with byte `i % 4` of the key (RFC 6455 §5.3).
///
/// # Safety
///
/// `len` bytes are readable at `src` and writable at `dst`, and the two are the same place or do not
/// overlap.
pub(crate) unsafe fn mask(dst: *mut u8, src: *const u8, len: usize, key: [u8; 4]) {
    for i in 0..len {
        // SAFETY: `i < len`, and our caller vouches for so many bytes.
        unsafe { dst.add(i).write(src.add(i).read() ^ key[i % 4]) }
    }
}
