//! The place of the load generator, which is yet to be written. `bench/` measures meanwhile.

#[allow(dead_code, unused_imports, reason = "nothing runs yet")]
mod record;
#[allow(dead_code, unused_imports, reason = "nothing runs yet")]
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!(
        "loadgen is not written yet; `cargo run --release -p throng-bench -- --help` measures"
    );
    ExitCode::FAILURE
}
