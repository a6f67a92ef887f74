//! What every variant is put through: at all short lengths, offsets and phases it does as [`naive`].
//!
//! Needs nothing but `std`, so that it can also be compiled alone for a CPU under emulation.

use super::{
    mask::{Mask, mask_append, mask_copy, mask_in_place, variants},
    naive, rotate,
};

/// The tests of the variant that goes by `$name`.
macro_rules! variant {
    ($name:literal) => {
        #[test]
        fn masks_in_place_as_naive_does() {
            crate::simd::tests::for_variant($name, crate::simd::tests::in_place);
        }

        #[test]
        fn masks_a_copy_as_naive_does() {
            crate::simd::tests::for_variant($name, crate::simd::tests::copy);
        }
    };
}

pub(super) use variant;

const LEN_MAX: usize = 300;
const OFFSET_MAX: usize = 64;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Room for each length at each offset, and for a vector that runs over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(64))]
struct Buffer([u8; OFFSET_MAX + LEN_MAX + 64]);

impl Buffer {
    /// Bytes that differ from those around them, and from those of another seed.
    fn filled(seed: u8) -> Self {
        Self(std::array::from_fn(|i| (i * 167 + i / 251) as u8 ^ seed))
    }
}

/// Runs `test`, or says that this CPU lacks what it takes.
pub(super) fn for_variant(name: &str, test: fn(Mask)) {
    match variants().find(|variant| variant.name == name) {
        Some(variant) => test(variant.mask),
        None => eprintln!("not tested: this CPU has no {name}"),
    }
}

pub(super) fn in_place(mask: Mask) {
    let before = Buffer::filled(0);
    for_each_case(|len, offset, key| {
        let (mut expected, mut actual) = (before, before);
        let (wanted, bytes) = (&mut expected.0[offset..][..len], &mut actual.0[offset..][..len]);
        let (wanted, bytes) = (wanted.as_mut_ptr(), bytes.as_mut_ptr());
        // SAFETY: `variants` vouches for the CPU; each is `len` bytes, in place.
        unsafe {
            naive::mask(wanted, wanted, len, key);
            mask(bytes, bytes, len, key);
        }
        assert_eq!(actual, expected, "{len} bytes at {offset} with {key:x?}");
    });
}

pub(super) fn copy(mask: Mask) {
    let (src, before) = (Buffer::filled(0), Buffer::filled(0x55));
    for_each_case(|len, offset, key| {
        let (mut expected, mut actual) = (before, before);
        // Another offset than that of `dst`, and one that meets them all as the length grows.
        let src_offset = (offset * 6 + len) % (OFFSET_MAX + 1);
        let src = src.0[src_offset..][..len].as_ptr();
        let (wanted, bytes) = (&mut expected.0[offset..][..len], &mut actual.0[offset..][..len]);
        // SAFETY: `variants` vouches for the CPU; each is `len` bytes, in a buffer of its own.
        unsafe {
            naive::mask(wanted.as_mut_ptr(), src, len, key);
            mask(bytes.as_mut_ptr(), src, len, key);
        }
        assert_eq!(actual, expected, "{len} bytes from {src_offset} to {offset} with {key:x?}");
    });
}

fn for_each_case(check: impl Fn(usize, usize, [u8; 4])) {
    for len in 0..=LEN_MAX {
        for offset in 0..=OFFSET_MAX {
            (0..4).for_each(|phase| check(len, offset, rotate(KEY, phase)));
        }
    }
}

#[test]
fn every_face_masks_as_naive_does() {
    let src = Buffer::filled(0).0;
    for len in 0..=LEN_MAX {
        let src = &src[..len];
        let mut expected = vec![0; len];
        // SAFETY: both are `len` bytes, and the vector is new.
        unsafe { naive::mask(expected.as_mut_ptr(), src.as_ptr(), len, KEY) };

        let mut in_place = src.to_vec();
        mask_in_place(&mut in_place, KEY);
        assert_eq!(in_place, expected, "in place, {len}");

        let mut copy = vec![0; len];
        mask_copy(&mut copy, src, KEY);
        assert_eq!(copy, expected, "copy, {len}");

        let mut appended = b"before".to_vec();
        mask_append(&mut appended, src, KEY);
        assert_eq!(appended, [b"before", &*expected].concat(), "append, {len}");
    }
}

#[test]
fn a_rotated_key_begins_at_the_phase() {
    let rows = [
        (0, [1, 2, 3, 4]),
        (1, [2, 3, 4, 1]),
        (2, [3, 4, 1, 2]),
        (3, [4, 1, 2, 3]),
        (4, [1, 2, 3, 4]),
        (usize::MAX, [4, 1, 2, 3]),
    ];
    for (phase, expected) in rows {
        assert_eq!(rotate([1, 2, 3, 4], phase), expected, "phase {phase}");
    }
}

#[test]
#[should_panic(expected = "`dst` must be as long as `src`")]
fn a_copy_wants_equal_lengths() {
    mask_copy(&mut [0; 3], &[0; 4], KEY);
}
