//! Masking: the safe face, and the choice behind it.

use std::{env, sync::OnceLock};

use super::{
    arch, swar,
    vector::{SHORT_LEN_MAX, mask_short},
};

/// Masks, or unmasks, `bytes` where they are. Byte `i` is XORed with byte `i % 4` of the key
/// (RFC 6455 §5.3): to go on in the middle of a payload, [`rotate`](super::rotate) the key.
///
/// Neither allocates nor copies.
#[inline]
pub(crate) fn mask_in_place(bytes: &mut [u8], key: [u8; 4]) {
    let start = bytes.as_mut_ptr();
    // SAFETY: `bytes` is ours to read and to write, and in place is the same place.
    unsafe { mask(start, start, bytes.len(), key) }
}

/// Copies `src` to `dst` and masks, or unmasks, it on the way.
///
/// One pass over the bytes, where copying and then masking would take two.
///
/// # Panics
///
/// If the lengths differ.
#[inline]
pub(crate) fn mask_copy(dst: &mut [u8], src: &[u8], key: [u8; 4]) {
    assert_eq!(dst.len(), src.len(), "mask_copy: `dst` must be as long as `src`");
    // SAFETY: both are as long as that, and `dst` is borrowed exclusively, so they do not overlap.
    unsafe { mask(dst.as_mut_ptr(), src.as_ptr(), src.len(), key) }
}

/// Appends `src` to `out` and masks, or unmasks, it on the way.
///
/// Allocates if the spare capacity of `out` is too small, and never writes to it twice.
#[inline]
pub(crate) fn mask_append(out: &mut Vec<u8>, src: &[u8], key: [u8; 4]) {
    out.reserve(src.len());
    let len = out.len();
    // SAFETY: the spare capacity holds `src.len()` bytes, just reserved; `out` is borrowed
    // exclusively, so `src` is elsewhere; and all of the new length has been written.
    unsafe {
        mask(out.as_mut_ptr().add(len), src.as_ptr(), src.len(), key);
        out.set_len(len + src.len());
    }
}

/// Copies `src` to `dst`.
///
/// Long ones go through the loop that masks, with a key of zeroes: libc's copy of more than a few KiB
/// is one `rep movsb`, which some processors are slow at when source and destination are not aligned
/// alike. (On an AMD Zen 4 it was half of the CPU time of an echoed message of 1 MiB.)
///
/// # Panics
///
/// If the lengths differ.
#[inline(always)]
pub(crate) fn copy(dst: &mut [u8], src: &[u8]) {
    if src.len() < LONG_LEN {
        dst.copy_from_slice(src);
    } else {
        copy_long(dst, src);
    }
}

/// Out of line, lest it weigh on short copies.
#[cold]
fn copy_long(dst: &mut [u8], src: &[u8]) {
    mask_copy(dst, src, [0; 4]);
}

/// Appends `src` to `out`, as [`copy`] copies it.
#[inline(always)]
pub(crate) fn append(out: &mut Vec<u8>, src: &[u8]) {
    if src.len() < LONG_LEN {
        out.extend_from_slice(src);
    } else {
        append_long(out, src);
    }
}

/// Out of line, lest it weigh on short copies.
#[cold]
fn append_long(out: &mut Vec<u8>, src: &[u8]) {
    mask_append(out, src, [0; 4]);
}

/// From this length on a copy is ours to make.
const LONG_LEN: usize = 2048;

/// The name of the variant in use, for the log: `avx2`, `sse2`, `neon` or `off`.
pub(crate) fn variant_name() -> &'static str {
    chosen().name
}

/// A way to mask: what `THRONG_SIMD` calls it, and its code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// Only ever called on a CPU that has what it takes: nobody makes a variant elsewhere.
    pub(crate) mask: Mask,
}

/// Masks `len` bytes from `src` to `dst`, of any length and at any address.
///
/// # Safety
///
/// The CPU has the instructions; `len` bytes are readable at `src` and writable at `dst`, and the
/// two are the same place or do not overlap.
pub(crate) type Mask = unsafe fn(dst: *mut u8, src: *const u8, len: usize, key: [u8; 4]);

/// What this CPU can do, the fastest first.
pub(crate) fn variants() -> impl Iterator<Item = Variant> {
    arch::variants().chain([OFF])
}

/// Masks in the way that suits the length.
///
/// # Safety
///
/// `len` bytes are readable at `src` and writable at `dst`, and the two are the same place or do not
/// overlap.
#[inline(always)]
unsafe fn mask(dst: *mut u8, src: *const u8, len: usize, key: [u8; 4]) {
    if len <= SHORT_LEN_MAX {
        // SAFETY: short enough, and our caller vouches for the rest.
        unsafe { mask_short(dst, src, len, key) }
    } else {
        // SAFETY: our caller vouches for just that.
        unsafe { mask_long(dst, src, len, key) }
    }
}

/// Masks in the way that was chosen for this CPU. Out of line, and only for what is worth a call: in
/// line it would have those who mask a few bytes save registers for it.
///
/// # Safety
///
/// As for [`mask`].
#[inline(never)]
unsafe fn mask_long(dst: *mut u8, src: *const u8, len: usize, key: [u8; 4]) {
    // SAFETY: the CPU can do what was chosen for it, and our caller vouches for the rest.
    unsafe { (chosen().mask)(dst, src, len, key) }
}

/// The variant in use: chosen once, and a load and a comparison from then on.
#[inline]
fn chosen() -> &'static Variant {
    static CHOSEN: OnceLock<Variant> = OnceLock::new();
    CHOSEN.get_or_init(|| choose(env::var("THRONG_SIMD").ok().as_deref()))
}

/// The variant that goes by the name `wish`, or the fastest if there is none here.
#[cold]
fn choose(wish: Option<&str>) -> Variant {
    let wished = variants().find(|variant| Some(variant.name) == wish);
    wished.or_else(|| variants().next()).unwrap_or(OFF)
}

const OFF: Variant = Variant { name: "off", mask: swar::mask };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_for_what_is_there_is_granted() {
        for variant in variants() {
            assert_eq!(choose(Some(variant.name)).name, variant.name);
        }
    }

    #[test]
    fn any_other_wish_changes_nothing() {
        let fastest = variants().next().map(|variant| variant.name);
        for wish in [None, Some(""), Some("AVX2"), Some("mmx"), Some("off ")] {
            assert_eq!(Some(choose(wish).name), fastest, "{wish:?}");
        }
    }

    #[test]
    fn a_copy_is_a_copy_at_any_length() {
        for len in [0, 1, LONG_LEN - 1, LONG_LEN, 3 * LONG_LEN + 5] {
            let source: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
            let (mut copied, mut appended) = (vec![0xEE; len], vec![1, 2]);
            copy(&mut copied, &source);
            append(&mut appended, &source);
            assert_eq!((&copied, &appended[2..]), (&source, &source[..]));
        }
    }

    #[test]
    fn what_is_chosen_is_one_of_them() {
        assert!(variants().any(|variant| variant.name == variant_name()));
    }
}
