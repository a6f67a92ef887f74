//! The opening handshake, the server's half (RFC 6455 §4): bytes in, an answer out.
//!
//! No socket, no clock, no allocation while parsing. [`HeadScanner`] finds where the request's head
//! ends, however the bytes trickle in; [`Request`] reads it in place; [`Request::check_upgrade`]
//! holds it against the RFC; [`Acceptance`] writes the `101`, or [`Response`] anything else.
//!
//! ```text
//!   bytes ──▶ HeadScanner ──▶ Request ──▶ check_upgrade ──▶ OriginPolicy ──▶ Acceptance ──▶ 101
//!                  │             │              │                │
//!                  └─────────────┴──────────────┴────────────────┴── HandshakeError ──▶ Response
//! ```
//!
//! ```
//! use throng::protocol::handshake::{
//!     Acceptance, HandshakeError, HeadScanner, OriginPolicy, Request, header_slots,
//! };
//!
//! /// Answers what has been received so far; `None` says that there is more to come.
//! fn answer(scanner: &mut HeadScanner, received: &[u8]) -> Result<Option<Vec<u8>>, HandshakeError> {
//!     let Some(end) = scanner.find_end(received, 8 * 1024)? else { return Ok(None) };
//!     let mut slots = header_slots::<64>();
//!     let request = Request::parse(&received[..end], &mut slots)?;
//!     let key = request.check_upgrade()?;
//!     OriginPolicy::SameHost.check(&request)?;
//!     let mut out = Vec::new();
//!     Acceptance::new().encode(&key, &mut out).expect("nothing was added to it");
//!     Ok(Some(out))
//! }
//!
//! let request = b"GET /chat HTTP/1.1\r\n\
//!     Host: server.example.com\r\n\
//!     Upgrade: websocket\r\n\
//!     Connection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
//!     Sec-WebSocket-Version: 13\r\n\r\n";
//! let mut scanner = HeadScanner::default();
//! assert_eq!(answer(&mut scanner, &request[..50]), Ok(None));
//! let accepted = answer(&mut scanner, request).unwrap().unwrap();
//! assert!(accepted.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
//! assert!(accepted.ends_with(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
//! ```
//!
//! # Where we are stricter than HTTP asks for
//!
//! What two parsers may read in two ways is refused, so that no proxy in front of us can be talked
//! into seeing another request than we do: a line ended by LF alone, a folded header, a repeated
//! `Host` or `Content-Length`, `Content-Length` beside `Transfer-Encoding`, and a WebSocket request
//! with a body, which would be taken for frames.

mod accept_key;
mod acceptance;
mod error;
mod head;
mod header_block;
#[cfg(feature = "http")]
mod http_types;
#[doc(hidden)]
pub mod internal;
mod origin;
mod proposal;
mod reply;
mod request;
mod request_line;
mod response;
pub(crate) mod tokens;

#[cfg(feature = "http")]
pub use self::http_types::http_head;
pub use self::{
    accept_key::{AcceptKey, RequestKey},
    acceptance::{Acceptance, select_subprotocol},
    error::{HandshakeError, ResponseError},
    head::HeadScanner,
    origin::{InvalidOriginPattern, OriginPattern, OriginPolicy},
    proposal::Proposal,
    reply::{Reply, ReplyError},
    request::{HeaderSlot, Request, header_slots},
    request_line::{HttpVersion, RequestLine},
    response::Response,
};
