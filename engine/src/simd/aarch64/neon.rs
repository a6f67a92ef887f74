//! Sixteen bytes at a time.

use std::arch::aarch64::{
    uint8x16_t, vdupq_n_u32, veorq_u8, vld1q_u8, vreinterpretq_u8_u32, vst1q_u8,
};

use crate::simd::vector::{self, Vector};

/// Masks `len` bytes from `src` to `dst`.
///
/// # Safety
///
/// The CPU has NEON; `len` bytes are readable at `src` and writable at `dst`, and the two are the
/// same place or do not overlap.
#[target_feature(enable = "neon")]
pub(super) unsafe fn mask(dst: *mut u8, src: *const u8, len: usize, key: [u8; 4]) {
    // SAFETY: exactly what our caller vouches for.
    unsafe { vector::mask::<uint8x16_t>(dst, src, len, key) }
}

impl Vector for uint8x16_t {
    #[inline(always)]
    unsafe fn splat(key: [u8; 4]) -> Self {
        // SAFETY: our caller vouches for NEON.
        unsafe { vreinterpretq_u8_u32(vdupq_n_u32(u32::from_ne_bytes(key))) }
    }

    #[inline(always)]
    unsafe fn load(src: *const u8) -> Self {
        // SAFETY: our caller vouches for NEON and for the bytes; any address will do.
        unsafe { vld1q_u8(src) }
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut u8) {
        // SAFETY: our caller vouches for NEON and for the bytes; any address will do.
        unsafe { vst1q_u8(dst, self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: our caller vouches for NEON.
        unsafe { veorq_u8(self, other) }
    }
}

#[cfg(test)]
mod tests {
    crate::simd::tests::variant!("neon");
}
