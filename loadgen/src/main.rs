//! A load generator for WebSocket servers, whoever wrote them.
#![allow(dead_code, unused_imports, reason = "nothing runs yet")]

mod backoff;
mod clock;
mod machine;
mod pacing;
mod payload;
mod record;
mod report;
mod source;
mod target;

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!(
        "loadgen is not written yet; `cargo run --release -p throng-bench -- --help` measures"
    );
    ExitCode::FAILURE
}
