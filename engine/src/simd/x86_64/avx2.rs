//! Thirty-two bytes at a time.

use std::arch::x86_64::{
    __m256i, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_storeu_si256, _mm256_xor_si256,
};

use crate::simd::vector::{self, Vector};

/// Masks `len` bytes from `src` to `dst`.
///
/// # Safety
///
/// The CPU has AVX2; `len` bytes are readable at `src` and writable at `dst`, and the two are the
/// same place or do not overlap.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn mask(dst: *mut u8, src: *const u8, len: usize, key: [u8; 4]) {
    // SAFETY: exactly what our caller vouches for.
    unsafe { vector::mask::<__m256i>(dst, src, len, key) }
}

impl Vector for __m256i {
    #[inline(always)]
    unsafe fn splat(key: [u8; 4]) -> Self {
        // SAFETY: our caller vouches for AVX2.
        unsafe { _mm256_set1_epi32(i32::from_ne_bytes(key)) }
    }

    #[inline(always)]
    unsafe fn load(src: *const u8) -> Self {
        // SAFETY: our caller vouches for AVX2 and for the bytes; any address will do.
        unsafe { _mm256_loadu_si256(src.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut u8) {
        // SAFETY: our caller vouches for AVX2 and for the bytes; any address will do.
        unsafe { _mm256_storeu_si256(dst.cast(), self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: our caller vouches for AVX2.
        unsafe { _mm256_xor_si256(self, other) }
    }
}

#[cfg(test)]
mod tests {
    crate::simd::tests::variant!("avx2");
}
