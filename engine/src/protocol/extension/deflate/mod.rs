//! permessage-deflate: messages that travel compressed (RFC 7692 §7).
//!
//! A connection keeps what was said, the machines belong to the reactor. [`Compressor`] and
//! [`Inflater`] exist once for any number of connections, and hold nothing of a message once it is
//! done. Where a side may refer to its earlier messages (*context takeover*, §7.1.1), the connection
//! has a [`History`] of that direction: the last bytes said, no more than the window that was agreed
//! on, out of a [`Budget`]. The machine is shown them before it begins. So a context costs its window
//! and not a compressor: 4 KiB at 12 bits, where a stream that is kept alive takes 150 to 265 KB to
//! compress and 47 KB to inflate.
//!
//! ```text
//!   Deflate::negotiate (server) ──┐            ┌─▶ Compressor::compress ─▶ payload, first frame RSV1
//!                                 ├─▶ Agreed ──┤
//!   Deflate::offer, accept (client)            └─▶ Inflater::message ───▶ message
//!                                                  Inflater::inflate, piece by piece
//! ```
//!
//! ```
//! use throng::protocol::extension::{Offers, deflate::*};
//!
//! let settings = Deflate::default();
//! let budget = Budget::of(&settings);
//! let offers = Offers::new("permessage-deflate; client_max_window_bits").map_while(Result::ok);
//! let (answer, agreed) = settings.negotiate(offers, &budget).expect("a browser's offer");
//! assert_eq!(
//!     answer.text(),
//!     Ok("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
//! );
//!
//! let mut compressor = Compressor::new(&settings);
//! let message = [b'x'; 100];
//! let payload = compressor
//!     .compress(&message, agreed.agreement.server, None)
//!     .expect("it is shorter so");
//!
//! let mut inflated = Vec::new();
//! Inflater::new().message(payload, None, 1024, &mut inflated)?;
//! assert_eq!(inflated, message);
//! # Ok::<(), throng::protocol::ProtocolError>(())
//! ```
//!
//! Reserved bit 1 marks a compressed message on its first frame alone, and no control frame (§6). A
//! message without it is as it stands, and in nobody's history. Text is UTF-8 once it is inflated.

mod agreement;
mod budget;
mod client;
mod compressor;
#[doc(hidden)]
pub mod fuzz;
mod history;
mod inflater;
#[cfg(test)]
mod naive;
mod params;
mod server;
mod settings;
#[cfg(test)]
mod tests;

pub use self::{
    agreement::{Agreed, Agreement, Terms},
    budget::Budget,
    client::DeflateOffer,
    compressor::Compressor,
    history::{Context, History},
    inflater::Inflater,
    params::{AnswerError, WindowBits},
    settings::{Deflate, DeflateMode},
};
use super::Rsv;

/// Its registered name (RFC 7692 §9.1).
pub const NAME: &str = "permessage-deflate";

/// The reserved bit of a compressed message's first frame (RFC 7692 §6).
pub const COMPRESSED: Rsv = Rsv::RSV1;

/// What a sender takes off the end of a message, and a receiver puts back (RFC 7692 §7.2.1, §7.2.2):
/// the lengths of an empty stored block.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
