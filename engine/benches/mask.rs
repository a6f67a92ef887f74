//! Masking: every variant beside `naive` and `memcpy`.
//!
//! `cargo bench -p throng --bench mask` prints nanoseconds a call and gigabytes a second, the median
//! of many short runs. Each call meets bytes that the one before it did not touch, as payloads do,
//! and that are in a cache; "+6" begins six bytes behind a cache line.

use std::{hint::black_box, time::Instant};

#[allow(dead_code, unused_imports)] // it is the crate's own, and there is no use for all of it here
#[path = "../src/simd/mod.rs"]
mod simd;

use simd::mask::{Mask, variants};

const LENS: [(&str, usize); 5] =
    [("20 B", 20), ("64 B", 64), ("1 KiB", 1 << 10), ("16 KiB", 1 << 14), ("1 MiB", 1 << 20)];
const OFFSETS: [(&str, usize); 2] = [("", 0), ("+6", 6)];
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const CACHE_LINE_LEN: usize = 64;

fn main() {
    // Under `cargo test` there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    print!("{:20}", format!("[{}]", simd::variant_name()));
    for (len, offset) in LENS.into_iter().flat_map(|len| OFFSETS.map(|offset| (len, offset))) {
        print!("{:>17}", format!("{} {}", len.0, offset.0).trim());
    }
    println!("\n{:20}{}", "", format!("{:>11}{:>6}", "ns", "GB/s").repeat(10));
    row("memcpy", |dst, src, _| dst.copy_from_slice(src));
    row("mask_in_place", |dst, _, key| simd::mask_in_place(dst, key));
    row("mask_copy", simd::mask_copy);
    for (name, mask) in variants().map(|variant| (variant.name, variant.mask)) {
        each_way(name, mask);
    }
    each_way("naive", simd::naive::mask);
}

/// A variant in place and as a copy, of all lengths: its short path is called, not inlined.
fn each_way(name: &str, mask: Mask) {
    row(&format!("{name} in place"), |dst, _, key| {
        // SAFETY: `variants` vouches for the CPU; as many bytes as there are, in place.
        unsafe { mask(dst.as_mut_ptr(), dst.as_mut_ptr(), dst.len(), key) };
    });
    row(&format!("{name} copy"), |dst, src, key| {
        // SAFETY: likewise, and `measure` passes two buffers of one length.
        unsafe { mask(dst.as_mut_ptr(), src.as_ptr(), dst.len(), key) };
    });
}

fn row(name: &str, work: impl Fn(&mut [u8], &[u8], [u8; 4])) {
    print!("{name:20}");
    for (len, offset) in LENS.into_iter().flat_map(|len| OFFSETS.map(|offset| (len.1, offset.1))) {
        let seconds = measure(len, offset, &work);
        print!("{:>11.2}{:>6.1}", seconds * 1e9, len as f64 / seconds / 1e9);
    }
    println!();
}

/// Seconds that one call of `work` takes, on a payload and on another to copy from.
fn measure(len: usize, offset: usize, work: impl Fn(&mut [u8], &[u8], [u8; 4])) -> f64 {
    const ARENA_LEN: usize = 8 * 1024; // with the source, half of a usual L1
    const RUN_COUNT: usize = 101;
    const RUN_LEN: usize = 1 << 25; // bytes, and 200 for each call: about half a millisecond
    let stride = (offset + len).next_multiple_of(CACHE_LINE_LEN);
    let payload_count = (ARENA_LEN / stride).max(1);
    let (mut dst, mut src) = (Vec::new(), Vec::new());
    let dst = aligned(&mut dst, payload_count * stride);
    let src = aligned(&mut src, payload_count * stride);
    let pass_count = (RUN_LEN / (payload_count * (len + 200))).max(1);
    let mut runs: Vec<f64> = (0..RUN_COUNT)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..pass_count {
                for (dst, src) in dst.chunks_exact_mut(stride).zip(src.chunks_exact(stride)) {
                    let (len, key) = black_box((len, KEY));
                    work(&mut dst[offset..][..len], &src[offset..][..len], key);
                }
                black_box(&mut *dst);
            }
            start.elapsed().as_secs_f64() / (pass_count * payload_count) as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[RUN_COUNT / 2]
}

/// `len` bytes of `buffer` that begin with a page.
fn aligned(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    const PAGE_LEN: usize = 4096;
    buffer.resize(len + PAGE_LEN, 1);
    let start = buffer.as_ptr().align_offset(PAGE_LEN);
    &mut buffer[start..][..len]
}
