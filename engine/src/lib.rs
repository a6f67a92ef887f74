#![doc = include_str!("../../README.md")]

pub mod client;
pub mod protocol;

mod config;
mod conn;
mod driver;
mod endpoint;
mod error;
mod pool;
mod reactor;
mod server;
mod simd;

#[cfg(feature = "deflate")]
pub use self::protocol::extension::deflate::{Deflate, DeflateMode, WindowBits};
pub use self::{
    conn::{AdoptError, CloseCause, Deadline, Overflow, SendQueue, Sent, Timeouts},
    driver::DriverKind,
    endpoint::{
        Answered, Conn, ConnId, Connections, Handler, MessageWriter, Remote, RemoteError, Report,
        Request, Running, Shutdown, Ticket, Upgrade, Upgraded,
    },
    error::Error,
    protocol::{
        CloseCode, CloseFrame, DecodeError, Limits, Message, Part, Prepared,
        handshake::{
            Acceptance, HandshakeError, OriginPattern, OriginPolicy, RequestLine, Response,
        },
    },
    reactor::Snapshot,
    server::{ListenAddr, Server, ServerBuilder, TcpOptions},
};

/// A result whose error is [`Error`], unless said otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The snippets of the guides, compiled and run.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/client.md")]
    mod client {}
    #[doc = include_str!("../../docs/handshake.md")]
    mod handshake {}
    #[doc = include_str!("../../docs/control.md")]
    mod control {}
    #[doc = include_str!("../../docs/streaming.md")]
    mod streaming {}
    #[cfg(all(feature = "json", feature = "protobuf"))]
    #[doc = include_str!("../../docs/messages.md")]
    mod messages {}
}

/// Not for use: what the project's own fuzz targets call.
#[doc(hidden)]
pub mod internal {
    /// Bodies of fuzz targets: each takes any bytes, and panics when a law is broken.
    pub mod fuzz {
        #[cfg(feature = "deflate")]
        pub use crate::protocol::extension::deflate::fuzz::{deflate, inflate};
        pub use crate::protocol::{
            fuzz::{decode, decode_split, mask},
            handshake::internal::request,
        };
        #[cfg(any(test, fuzzing))]
        pub use crate::server::simulation::connection;
    }
}
