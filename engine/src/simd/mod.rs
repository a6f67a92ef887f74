//! Bytes at speed: masking and UTF-8, as safe functions. The only folder with intrinsics.
//!
//! [`mask_in_place`], [`mask_copy`] and [`mask_append`] are one loop, in as many variants as there
//! are instruction sets. Payloads of up to 64 bytes take an inlined path that suits every CPU of the
//! target; longer ones go through one function pointer, chosen the first time that it is needed:
//!
//! ```text
//!   mask_* ── up to 64 bytes ──▶ vector::mask_short
//!      └───── longer ──────────▶ the fastest of   avx2 · sse2 │ neon   that there is, else swar
//! ```
//!
//! # `THRONG_SIMD`
//!
//! This environment variable turns vectors down or off, so that what they buy can be measured:
//! `avx2`, `sse2` or `neon` asks for that instruction set, `off` for eight bytes at a time (of which
//! the compiler may still make vectors, those that every CPU of the target has). It is read once.
//! Anything else, and whatever this CPU lacks, changes nothing; [`variant_name`] says what it came
//! to. Validation of UTF-8 has its own dispatch, in `simdutf8`, and takes no notice.
//!
//! # Adding an instruction set
//!
//! Implement [`vector::Vector`] in a file of its own, list it in its folder's `variants`, and put
//! the tests' macro at its end: it holds every variant against `naive`, which is the definition.

#[cfg(target_arch = "aarch64")]
#[path = "aarch64/mod.rs"]
mod arch;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
#[path = "other.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64/mod.rs"]
mod arch;
#[cfg(test)]
mod laws;
pub(crate) mod mask;
#[cfg(test)]
pub(crate) mod naive;
mod swar;
#[cfg(test)]
mod tests;
mod utf8;
mod vector;

pub(crate) use self::{
    mask::{append, copy, mask_append, mask_copy, mask_in_place, variant_name},
    utf8::validate_utf8,
    vector::rotate,
};
