//! Eight bytes at a time, in ordinary registers: for every CPU, and for what is short.

use super::vector::{self, Vector};

/// Masks `len` bytes from `src` to `dst`.
///
/// # Safety
///
/// `len` bytes are readable at `src` and writable at `dst`, and the two are the same place or do not
/// overlap.
pub(super) unsafe fn mask(dst: *mut u8, src: *const u8, len: usize, key: [u8; 4]) {
    // SAFETY: words need no instructions that a CPU could lack; our caller vouches for the rest.
    unsafe { vector::mask::<u64>(dst, src, len, key) }
}

/// A word is a small vector. `$splat` makes one of the key's bytes in the order of memory, whatever
/// the byte order of the machine.
macro_rules! word {
    ($word:ty, $splat:expr) => {
        impl Vector for $word {
            #[inline(always)]
            unsafe fn splat(key: [u8; 4]) -> Self {
                let splat: fn([u8; 4]) -> Self = $splat;
                splat(key)
            }

            #[inline(always)]
            unsafe fn load(src: *const u8) -> Self {
                // SAFETY: our caller vouches for the bytes, and a word may have any value.
                unsafe { src.cast::<Self>().read_unaligned() }
            }

            #[inline(always)]
            unsafe fn store(self, dst: *mut u8) {
                // SAFETY: our caller vouches for the bytes.
                unsafe { dst.cast::<Self>().write_unaligned(self) }
            }

            #[inline(always)]
            unsafe fn xor(self, other: Self) -> Self {
                self ^ other
            }
        }
    };
}

word!(u8, |key| key[0]);
word!(u16, |key| Self::from_ne_bytes([key[0], key[1]]));
word!(u32, Self::from_ne_bytes);
word!(u64, |key| 0x1_0000_0001 * Self::from(u32::from_ne_bytes(key)));

/// Several words at once, for what is longer than one: the compiler makes of an array what is best on
/// the target. They are as long as the key, so that repeating it is one instruction on most CPUs.
impl<const COUNT: usize> Vector for [u32; COUNT] {
    #[inline(always)]
    unsafe fn splat(key: [u8; 4]) -> Self {
        [u32::from_ne_bytes(key); COUNT]
    }

    #[inline(always)]
    unsafe fn load(src: *const u8) -> Self {
        // SAFETY: our caller vouches for the bytes, and words may have any value.
        unsafe { src.cast::<Self>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut u8) {
        // SAFETY: our caller vouches for the bytes.
        unsafe { dst.cast::<Self>().write_unaligned(self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] ^ other[i])
    }
}

#[cfg(test)]
mod tests {
    crate::simd::tests::variant!("off");
}
