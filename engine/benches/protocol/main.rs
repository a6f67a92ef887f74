//! Frames, text and the opening handshake: what the pure parts cost, without a socket.
//!
//! `cargo bench -p throng --bench protocol` prints nanoseconds, the median of many short runs. With
//! `--count` every case runs a fixed number of times instead, in a part of callgrind's output of its
//! own: `.ci/instructions` reads those.

mod close;
mod decode;
#[cfg(feature = "deflate")]
mod deflate;
mod encode;
mod handshake;
mod mask;
mod utf8;

use std::{env, hint::black_box, time::Instant};

use throng::protocol::MaskingKey;

/// Something to measure.
struct Case {
    name: &'static str,
    /// How many frames, texts or requests it does at a time; the result is for one of them.
    count: usize,
    work: Box<dyn FnMut()>,
}

impl Case {
    fn new(name: &'static str, count: usize, work: impl FnMut() + 'static) -> Self {
        Self { name, count, work: Box::new(work) }
    }
}

/// Leaves the bytes as they are, so that every run meets the same; the work is that of any key.
const KEY: MaskingKey = MaskingKey::new([0; 4]);

fn main() {
    let cases = mask::cases()
        .into_iter()
        .chain(decode::cases())
        .chain(encode::cases())
        .chain(close::cases())
        .chain(utf8::cases())
        .chain(handshake::cases());
    #[cfg(feature = "deflate")]
    let cases = cases.chain(deflate::cases());
    // Under `cargo test` there is nothing to test.
    let is_asked_to = |flag| env::args().any(|argument| argument == flag);
    if is_asked_to("--count") {
        cases.for_each(count);
    } else if is_asked_to("--bench") {
        cases.for_each(time);
    }
}

/// Does the work between two laps, and prints how many of its things that were.
fn count(mut case: Case) {
    const RUN_COUNT: usize = 100;
    (case.work)(); // what is chosen or allocated once and for all
    lap();
    for _ in 0..RUN_COUNT {
        (case.work)();
    }
    lap();
    println!("{}\t{}", case.name, RUN_COUNT * case.count);
}

/// Where callgrind begins another part of its output: `--dump-before` names this function.
#[inline(never)]
fn lap() {
    black_box(());
}

/// Prints how long one of the case's things takes.
fn time(mut case: Case) {
    const RUN_COUNT: usize = 101;
    const RUN_SECONDS: f64 = 500e-6;
    let mut run = |call_count: usize| {
        let start = Instant::now();
        for _ in 0..call_count {
            (case.work)();
        }
        start.elapsed().as_secs_f64()
    };
    let call_count = (RUN_SECONDS / run(100) * 100.0) as usize + 1;
    let mut runs: Vec<f64> = (0..RUN_COUNT).map(|_| run(call_count)).collect();
    runs.sort_by(f64::total_cmp);
    let seconds = runs[RUN_COUNT / 2] / (call_count * case.count) as f64;
    println!("{:40}{:>12.2} ns", case.name, seconds * 1e9);
}
