//! A WebSocket server engine for millions of connections on one machine.

mod driver;
mod pool;
pub mod protocol;
mod simd;
