//! RFC 6455 as pure functions and small machines: no sockets, clocks, randomness, threads.
//!
//! The caller owns the bytes. What was received goes through three hands, and each can stop at any
//! byte and go on with the next:
//!
//! ```text
//!  bytes ──▶ Decoder ───────────▶ Assembler ──────────────▶ Incoming
//!            headers, unmasked    order, limits, UTF-8      messages and
//!            payloads             across fragments          control frames
//! ```
//!
//! An echo, without a socket:
//!
//! ```
//! use throng::protocol::*;
//!
//! // RFC 6455 §5.7: "Hello" in two masked fragments, with a ping in between.
//! let mut received = *b"\x01\x83\x37\xfa\x21\x3d\x7f\x9f\x4d\
//!                       \x89\x80\x00\x00\x00\x00\
//!                       \x80\x82\x3d\x37\xfa\x21\x51\x58";
//!
//! let mut decoder = Decoder::new(Role::Server, Rsv::NONE);
//! let mut assembler = Assembler::default();
//! let limits = Limits::default();
//! let (mut message, mut answer) = (Vec::new(), Vec::new());
//!
//! let mut input = &mut received[..];
//! while let Some(event) = decoder.decode(&mut input)? {
//!     match event {
//!         Event::Header(header) => assembler.start(&header, &limits, &mut message)?,
//!         Event::Payload { bytes, last } => {
//!             assembler.push(bytes, &mut message)?;
//!             if !last {
//!                 continue;
//!             }
//!             let (opcode, payload) = match assembler.finish(&message)? {
//!                 Some(Incoming::Message(message)) => (message.opcode(), message.as_bytes()),
//!                 Some(Incoming::Ping(payload)) => (Opcode::Pong, payload),
//!                 _ => continue,
//!             };
//!             append_frame(&mut answer, true, Rsv::NONE, opcode, None, payload);
//!         }
//!     }
//! }
//! assert_eq!(answer, b"\x8A\x00\x81\x05Hello");
//! # Ok::<(), ProtocolError>(())
//! ```
//!
//! A frame that is whole in the caller's buffer needs neither machine nor copy:
//! [`FrameHeader::decode`], [`FrameHeader::check`], [`MaskingKey::apply`] and [`Incoming::new`].
//!
//! What the peer does wrong is a [`ProtocolError`], which names the rule and knows the answer. No
//! input panics.
#![forbid(unsafe_code)]

mod assembler;
mod close;
mod control;
mod decode_error;
mod decoder;
mod encoder;
mod error;
pub mod extension;
#[doc(hidden)]
pub mod fuzz;
pub mod handshake;
mod header;
#[cfg(feature = "json")]
mod json;
mod limits;
mod mask;
mod message;
mod opcode;
mod part;
mod plain;
mod prepared;
#[cfg(feature = "protobuf")]
mod protobuf;
pub mod utf8;

pub use self::{
    assembler::{Assembler, Incoming},
    close::{CloseCode, REASON_LEN_MAX, truncate_reason},
    control::{CloseFrame, ClosePayload},
    decode_error::DecodeError,
    decoder::{Decoder, Event},
    encoder::{append_frame, frame_header},
    error::ProtocolError,
    header::{EncodedHeader, FrameHeader, Role, Rsv},
    limits::Limits,
    mask::MaskingKey,
    message::Message,
    opcode::Opcode,
    part::Part,
    prepared::Prepared,
};
pub(crate) use self::{
    decoder::MaskedEvent,
    encoder::{append_payload, frame_len, masked_frame_header, write_frame},
    plain::plain_message,
};
