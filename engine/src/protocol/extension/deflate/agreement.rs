//! What both sides agreed on.

use super::{
    history::{Context, History},
    params::WindowBits,
};
use crate::protocol::Role;

/// How each side compresses, if it does. 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// How the server does.
    pub server: Terms,
    /// How the client does.
    pub client: Terms,
}

/// How one side compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How far back it refers at most.
    pub window_bits: WindowBits,
    /// Whether that may reach into earlier messages, so that the other side keeps them. A client may
    /// do without and still have the server keep them, if that did not answer
    /// `client_no_context_takeover`.
    pub takeover: bool,
}

impl Terms {
    /// Whether a message of `len` bytes may be compressed by itself in the largest window: nothing is
    /// taken over, and no distance can be too long.
    pub fn takes_alone(self, len: usize) -> bool {
        let Self { window_bits, takeover } = self;
        !takeover && (window_bits == WindowBits::MAX || len <= window_bits.window_len())
    }
}

/// An agreement, and what a connection has to carry for it.
#[derive(Debug)]
pub struct Agreed {
    /// What was agreed on.
    pub agreement: Agreement,
    /// The histories; `None` if nothing is taken over in either direction.
    pub context: Option<Box<Context>>,
}

impl Agreement {
    /// How the side that has `role` compresses what it sends.
    pub const fn sender(&self, role: Role) -> Terms {
        match role {
            Role::Server => self.server,
            Role::Client => self.client,
        }
    }
}

impl Agreed {
    pub(super) fn new(
        agreement: Agreement,
        sent: Option<History>,
        received: Option<History>,
    ) -> Self {
        let is_empty = sent.is_none() && received.is_none();
        let context = (!is_empty).then(|| Box::new(Context { sent, received }));
        Self { agreement, context }
    }
}
