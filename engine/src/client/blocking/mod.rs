//! A client without a reactor: one connection, one thread that reads, any number that write.
//!
//! [`connect`] opens a [`WebSocket`]; [`Connector`] does with more to say: headers, cookies,
//! subprotocols, time limits, proxies, redirects, compression, TLS. What is read is lent out of the
//! connection's buffer, pings are answered on the way, and `None` is the end:
//!
//! ```
//! use throng::{CloseCode, client::blocking};
//! # use throng::{Conn, Handler, Message, Server, Shutdown};
//! # struct Echo;
//! # impl Handler for Echo {
//! #     type Data = ();
//! #     fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) { conn.send(message); }
//! # }
//! # let server = Server::builder().listen("127.0.0.1:0").reactors(1).build()?;
//! # let url = format!("ws://{}/", server.addresses()[0]);
//! # let server = server.spawn(|_| Echo)?;
//!
//! let mut socket = blocking::connect(&url)?;
//! socket.send("hello")?;
//! while let Some(message) = socket.read()? {
//!     println!("{message:?}");
//!     # if true {
//!     break;
//!     # }
//! }
//! socket.close(CloseCode::NORMAL, "bye")?;
//! # server.remote().shutdown(Shutdown::default()).expect("it runs");
//! # server.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Writer`] is the other half, for other threads: [`WebSocket::writer`] gives out as many as are
//! wanted. It is also how a message is sent on while it is still lent:
//!
//! ```no_run
//! # let mut socket = throng::client::blocking::connect("ws://127.0.0.1:9001/")?;
//! let writer = socket.writer();
//! while let Some(message) = socket.read()? {
//!     writer.send(message)?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it is built
//!
//! ```text
//!   Connector ─▶ dial ─▶ proxy ─▶ tls ─▶ opening ─▶ WebSocket   reads: Inbound, bytes to messages
//!       ▲                                  │           │ owes pongs and Close frames
//!       └──────────── redirect ◀───────────┘        Writer      writes: Output, messages to frames
//! ```
//!
//! Each stage has a [`Transport`] from the one before. The protocol is that of
//! [`protocol`](crate::protocol), the same as everywhere else.

#[cfg_attr(not(feature = "deflate"), path = "compression/none.rs")]
mod compression;
mod connect_error;
mod connector;
mod dial;
mod error;
mod inbound;
mod opening;
mod output;
mod owned_message;
mod proxy;
mod redirect;
#[cfg_attr(not(feature = "tls"), path = "tls/none.rs")]
mod tls;
mod transport;
mod until;
mod websocket;
mod words;
mod writer;

#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsError};
pub use self::{
    connect_error::{ConnectError, Phase},
    connector::Connector,
    dial::Destination,
    error::Error,
    owned_message::OwnedMessage,
    proxy::{Proxy, ProxyError},
    transport::Transport,
    websocket::WebSocket,
    writer::Writer,
};

/// Opens a WebSocket at `url`, `ws://HOST[:PORT][/PATH][?QUERY]`, with every default: as
/// [`Connector::to`]`(url).`[`connect`](Connector::connect)`()`.
///
/// `wss://` needs the feature `tls`.
///
/// # Errors
///
/// See [`ConnectError`].
pub fn connect(url: &str) -> Result<WebSocket, ConnectError> {
    Connector::to(url).connect()
}
