//! RFC 6455 as pure functions and small machines: no sockets, clocks, randomness, threads.
#![forbid(unsafe_code)]

mod close;
mod control;
mod encoder;
mod error;
mod header;
mod limits;
mod mask;
mod opcode;
pub mod utf8;

pub use self::{
    close::{CloseCode, REASON_LEN_MAX, truncate_reason},
    control::{CloseFrame, ClosePayload},
    encoder::{append_frame, frame_header},
    error::ProtocolError,
    header::{EncodedHeader, FrameHeader, Role, Rsv},
    limits::Limits,
    mask::MaskingKey,
    opcode::Opcode,
};
