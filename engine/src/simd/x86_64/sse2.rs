//! Sixteen bytes at a time.

use std::arch::x86_64::{
    __m128i, _mm_loadu_si128, _mm_set1_epi32, _mm_storeu_si128, _mm_xor_si128,
};

use crate::simd::vector::{self, Vector};

/// Masks `len` bytes from `src` to `dst`.
///
/// # Safety
///
/// The CPU has SSE2; `len` bytes are readable at `src` and writable at `dst`, and the two are the
/// same place or do not overlap.
#[target_feature(enable = "sse2")]
pub(super) unsafe fn mask(dst: *mut u8, src: *const u8, len: usize, key: [u8; 4]) {
    // SAFETY: exactly what our caller vouches for.
    unsafe { vector::mask::<__m128i>(dst, src, len, key) }
}

impl Vector for __m128i {
    #[inline(always)]
    unsafe fn splat(key: [u8; 4]) -> Self {
        // SAFETY: our caller vouches for SSE2.
        unsafe { _mm_set1_epi32(i32::from_ne_bytes(key)) }
    }

    #[inline(always)]
    unsafe fn load(src: *const u8) -> Self {
        // SAFETY: our caller vouches for SSE2 and for the bytes; any address will do.
        unsafe { _mm_loadu_si128(src.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut u8) {
        // SAFETY: our caller vouches for SSE2 and for the bytes; any address will do.
        unsafe { _mm_storeu_si128(dst.cast(), self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: our caller vouches for SSE2.
        unsafe { _mm_xor_si128(self, other) }
    }
}

#[cfg(test)]
mod tests {
    crate::simd::tests::variant!("sse2");
}
