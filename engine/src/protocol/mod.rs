//! RFC 6455 as pure functions and small machines: no sockets, clocks, randomness, threads.
#![forbid(unsafe_code)]

mod close;
mod error;
mod limits;
mod opcode;

pub use self::{
    close::{CloseCode, REASON_LEN_MAX, truncate_reason},
    error::ProtocolError,
    limits::Limits,
    opcode::Opcode,
};
