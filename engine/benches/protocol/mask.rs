//! Unmasking in place. All variants beside `memcpy` are a benchmark of their own.

use std::hint::black_box;

use super::{Case, KEY};

pub(super) fn cases() -> Vec<Case> {
    [("mask/20 B", 20), ("mask/128 B", 128), ("mask/16 KiB", 16 << 10)].map(case).into()
}

fn case((name, len): (&'static str, usize)) -> Case {
    let mut payload = vec![b'x'; len];
    Case::new(name, 1, move || black_box(KEY).apply(black_box(&mut payload), 0))
}
