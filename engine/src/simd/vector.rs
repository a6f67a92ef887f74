//! Masking with vectors of any width: the one algorithm that every instruction set fills in.
//!
//! What XOR does to a byte depends on its place alone, so a vector may cover a few bytes that
//! another covers too, as long as both were read before either was written. Both ends of a payload
//! are therefore one vector each, wherever they begin, and no byte needs a loop of its own.

/// So many bytes at a time.
///
/// Methods are `unsafe` because they are built of instructions that the CPU may lack, and
/// `#[inline(always)]` because they become those instructions only in a function that names them
/// with `#[target_feature]`.
pub(super) trait Vector: Copy {
    /// How many bytes.
    const LEN: usize = size_of::<Self>();

    /// The key, repeated from its first byte on.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    unsafe fn splat(key: [u8; 4]) -> Self;

    /// Reads `LEN` bytes at any address.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions, and `LEN` bytes at `src` are readable.
    unsafe fn load(src: *const u8) -> Self;

    /// Writes `LEN` bytes at any address.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions, and `LEN` bytes at `dst` are writable.
    unsafe fn store(self, dst: *mut u8);

    /// `self ^ other`.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    unsafe fn xor(self, other: Self) -> Self;
}

/// How many vectors are masked between two looks at what is left.
const STRIDE: usize = 8;

/// The longest payload for [`mask_short`].
pub(super) const SHORT_LEN_MAX: usize = 64;

/// The key as seen from byte `phase` of a payload that it masks.
#[inline]
pub(crate) const fn rotate(key: [u8; 4], phase: usize) -> [u8; 4] {
    u32::from_le_bytes(key).rotate_right(8 * (phase % 4) as u32).to_le_bytes()
}

/// Masks `len` bytes from `src` to `dst`, of any length.
///
/// Writes whole vectors to aligned addresses: a store that straddles two cache lines costs twice.
///
/// # Safety
///
/// The CPU has the instructions of `V`; `len` bytes are readable at `src` and writable at `dst`, and
/// the two are the same place or do not overlap.
#[inline(always)]
pub(super) unsafe fn mask<V: Vector>(dst: *mut u8, src: *const u8, len: usize, key: [u8; 4]) {
    if len < V::LEN {
        // SAFETY: shorter than a vector is short enough, the rest is what our caller vouches for.
        return unsafe { mask_short(dst, src, len, key) };
    }
    let last = len - V::LEN;
    // From just behind the head, or at its end, `dst` is aligned: `1 <= at <= V::LEN <= len`.
    let mut at = V::LEN - dst.addr() % V::LEN;
    // SAFETY: our caller vouches for the instructions and for `len` bytes, and each access stays
    // inside: the head and the tail since `len >= V::LEN`, the loops by their conditions. Where
    // `dst` is `src`, everything is read before it is overwritten: the loops write behind what they
    // read, and what the head and the tail share with them is read first and written last.
    unsafe {
        let head = V::load(src).xor(V::splat(key));
        let tail = V::load(src.add(last)).xor(V::splat(rotate(key, last)));
        let key = V::splat(rotate(key, at));
        while len - at >= STRIDE * V::LEN {
            let mut masked = [key; STRIDE];
            for (i, masked) in masked.iter_mut().enumerate() {
                *masked = V::load(src.add(at + i * V::LEN)).xor(key);
            }
            for (i, masked) in masked.into_iter().enumerate() {
                masked.store(dst.add(at + i * V::LEN));
            }
            at += STRIDE * V::LEN;
        }
        while len - at >= V::LEN {
            V::load(src.add(at)).xor(key).store(dst.add(at));
            at += V::LEN;
        }
        head.store(dst);
        tail.store(dst.add(last));
    }
}

/// Masks at most [`SHORT_LEN_MAX`] bytes from `src` to `dst`: no loop, no call, and every CPU has
/// the instructions.
///
/// # Safety
///
/// `len <= SHORT_LEN_MAX`; `len` bytes are readable at `src` and writable at `dst`, and the two are
/// the same place or do not overlap.
#[inline(always)]
pub(super) unsafe fn mask_short(dst: *mut u8, src: *const u8, len: usize, key: [u8; 4]) {
    // SAFETY: in each arm `V::LEN <= len <= 2 * V::LEN`; our caller vouches for the rest.
    unsafe {
        match len {
            32.. => ends::<[u32; 8]>(dst, src, len, key),
            16.. => ends::<[u32; 4]>(dst, src, len, key),
            8.. => ends::<u64>(dst, src, len, key),
            4.. => ends::<u32>(dst, src, len, key),
            2.. => ends::<u16>(dst, src, len, key),
            1 => ends::<u8>(dst, src, len, key),
            0 => {}
        }
    }
}

/// Masks the first and the last vector of `len` bytes, which may overlap and leave no gap.
///
/// # Safety
///
/// The CPU has the instructions of `V` and `V::LEN <= len <= 2 * V::LEN`; `len` bytes are readable
/// at `src` and writable at `dst`, and the two are the same place or do not overlap.
#[inline(always)]
unsafe fn ends<V: Vector>(dst: *mut u8, src: *const u8, len: usize, key: [u8; 4]) {
    debug_assert!((V::LEN..=2 * V::LEN).contains(&len));
    let last = len - V::LEN;
    // SAFETY: `V::LEN <= len`, and both ends are read before either is written.
    unsafe {
        let head = V::load(src).xor(V::splat(key));
        let tail = V::load(src.add(last)).xor(V::splat(rotate(key, last)));
        head.store(dst);
        tail.store(dst.add(last));
    }
}
