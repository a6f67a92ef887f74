//! x86-64: SSE2 in every one, AVX2 in those made since about 2015.
//!
//! AVX-512 is left out. On Zen 4, where we measured it, 64-byte vectors took as long as 32-byte ones
//! from 16 KiB on and 9 % longer at 1 KiB, which is no reason for a file.

mod avx2;
mod sse2;

use super::mask::Variant;

/// What this CPU can do, the fastest first.
pub(super) fn variants() -> impl Iterator<Item = Variant> {
    let avx2 = Variant { name: "avx2", mask: avx2::mask };
    let sse2 = Variant { name: "sse2", mask: sse2::mask };
    is_x86_feature_detected!("avx2").then_some(avx2).into_iter().chain([sse2])
}
