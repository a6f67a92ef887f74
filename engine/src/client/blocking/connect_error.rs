//! Why a WebSocket did not open.

use std::{fmt, io};

use super::{proxy::ProxyError, until::is_timeout};
use crate::{
    client::FailedResponse,
    error::Error,
    protocol::handshake::{ReplyError, ResponseError},
};

/// Why a WebSocket did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL or a setting cannot be honoured. Nothing was sent.
    #[error(transparent)]
    Setting(#[from] Error),
    /// The request cannot be said. Nothing was sent.
    #[error("the request is invalid: {0}")]
    Request(#[source] ResponseError),
    /// A host has no address that can be found.
    #[error("{host:?} cannot be resolved: {source}")]
    Resolve {
        /// The host, or the proxy's.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address could be connected to.
    #[error("cannot connect to {address}: {source}")]
    Dial {
        /// Where to: of several addresses the first.
        address: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The time for a step, or for all of them, was over.
    #[error("{0} took too long")]
    TimedOut(Phase),
    /// The connection was lost before the WebSocket was open.
    #[error("the connection was lost in the {phase}: {source}")]
    Lost {
        /// During which step.
        phase: Phase,
        /// What the kernel said.
        source: io::Error,
    },
    /// The proxy did not connect us.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// TLS was not agreed on.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] super::TlsError),
    /// The server answered with something other than 101.
    #[error("the server refused the WebSocket with {} {}", .0.status, .0.reason)]
    Refused(Box<FailedResponse>),
    /// The server's answer broke a rule (RFC 6455 §4.1).
    #[error("the opening handshake failed: {0}")]
    Failed(#[source] ReplyError),
    /// The server says to go elsewhere, and we do not.
    #[error("the redirect to {location:?} is not followed: {reason}")]
    Redirect {
        /// Where to.
        location: String,
        /// Why not.
        reason: &'static str,
    },
}

/// A step on the way to an open WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Looking a name up, and connecting to an address that it has.
    Dialing,
    /// Having a proxy connect us.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The opening handshake.
    Opening,
}

impl ConnectError {
    /// What befell the transport during `phase`.
    pub(super) fn during(phase: Phase) -> impl Fn(io::Error) -> Self {
        move |source| match is_timeout(&source) {
            true => Self::TimedOut(phase),
            false => Self::Lost { phase, source },
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dialing => "connecting",
            Self::Proxy => "handshake with the proxy",
            Self::Tls => "TLS handshake",
            Self::Opening => "opening handshake",
        })
    }
}
