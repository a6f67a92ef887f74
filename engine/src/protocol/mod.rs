//! RFC 6455 as pure functions and small machines: no sockets, clocks, randomness, threads.
#![forbid(unsafe_code)]
