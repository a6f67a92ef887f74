#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| throng::internal::fuzz::deflate(bytes));
