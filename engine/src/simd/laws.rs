//! What holds for payloads of any length, as properties.

use proptest::{collection::vec, prelude::*};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::{
    mask::{mask_append, mask_copy, mask_in_place, variants},
    naive, rotate,
};

/// Payloads long enough for every loop, at any alignment.
fn payload() -> impl Strategy<Value = (Vec<u8>, usize)> {
    vec(any::<u8>(), 64..5000).prop_flat_map(|bytes| (Just(bytes), 0..64_usize))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_variant_equals_naive((bytes, offset) in payload(), key: [u8; 4]) {
        let len = bytes.len() - offset;
        let mut expected = bytes.clone();
        let start = expected[offset..].as_mut_ptr();
        // SAFETY: `len` bytes, in place.
        unsafe { naive::mask(start, start, len, key) };
        for variant in variants() {
            let mut actual = bytes.clone();
            let start = actual[offset..].as_mut_ptr();
            // SAFETY: `variants` vouches for the CPU; `len` bytes, in place.
            unsafe { (variant.mask)(start, start, len, key) };
            prop_assert_eq!(&actual, &expected, "{}", variant.name);
        }
    }

    #[test]
    fn masking_twice_gives_it_back((bytes, offset) in payload(), key: [u8; 4]) {
        let mut actual = bytes.clone();
        mask_in_place(&mut actual[offset..], key);
        mask_in_place(&mut actual[offset..], key);
        prop_assert_eq!(actual, bytes);
    }

    #[test]
    fn split_anywhere((bytes, at) in payload(), key: [u8; 4]) {
        let mut whole = bytes.clone();
        mask_in_place(&mut whole, key);
        let (first, second) = bytes.split_at(at);

        let mut copy = vec![0; bytes.len()];
        mask_copy(&mut copy[..at], first, key);
        mask_copy(&mut copy[at..], second, rotate(key, at));
        prop_assert_eq!(&copy, &whole);

        let mut appended = Vec::new();
        mask_append(&mut appended, first, key);
        mask_append(&mut appended, second, rotate(key, at));
        prop_assert_eq!(appended, whole);
    }
}

/// Payloads that begin or end where memory does. A variant that reads or writes as much as one byte
/// outside takes the whole test run down with it, and rightly so.
#[test]
fn never_touches_a_byte_outside() {
    const PAGE_LEN: usize = 64 * 1024; // a multiple of every page size there is
    // SAFETY: a fresh mapping, of which the outer pages are forbidden before anyone uses it.
    let page = unsafe {
        let start = mmap_anonymous(
            std::ptr::null_mut(),
            3 * PAGE_LEN,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        );
        let start = start.expect("mapping three pages");
        for outer in [start, start.byte_add(2 * PAGE_LEN)] {
            mprotect(outer, PAGE_LEN, MprotectFlags::empty()).expect("forbidding a page");
        }
        start.cast::<u8>().add(PAGE_LEN)
    };
    for len in 0..=300 {
        for variant in variants() {
            // SAFETY: both payloads lie in the middle page, in place.
            unsafe {
                (variant.mask)(page, page, len, [1, 2, 3, 4]);
                let end = page.add(PAGE_LEN - len);
                (variant.mask)(end, end, len, [1, 2, 3, 4]);
            }
        }
    }
    // SAFETY: the mapping made above, which nobody refers to any more.
    unsafe { munmap(page.sub(PAGE_LEN).cast(), 3 * PAGE_LEN).expect("unmapping") };
}
