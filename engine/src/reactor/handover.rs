//! A long message that is sent on as it came: its buffer changes hands, and nothing is copied.
//!
//! While a message is handed on that lies in a buffer of its own, a reactor knows where it lies. If the
//! callback sends just these bytes, to whomever, they are *promised* to that connection's send queue, in
//! their order; when the callback is done with them, the queue gets the buffer. Before the message lies
//! room for the header of the frame that it leaves in.

use crate::{pool::Key, protocol::Opcode};

/// What is being handed on, and what became of it.
#[derive(Debug, Default)]
pub(super) enum Handover {
    /// Nothing that has a buffer of its own.
    #[default]
    Nothing,
    /// A message of so many bytes at this address.
    Offered { address: usize, len: usize },
    /// The message is promised, as a frame of this opcode.
    Promised { to: Key, opcode: Opcode },
}

impl Handover {
    /// Offers a message that lies in a buffer of its own.
    pub(super) fn offer(payload: &[u8]) -> Self {
        match payload.len() {
            0..LEN_MIN => Self::Nothing,
            len => Self::Offered { address: payload.as_ptr().addr(), len },
        }
    }

    /// Whether `payload` is the message that is offered. The first who asks for it is promised it.
    #[inline]
    pub(super) fn promise(&mut self, payload: &[u8], to: Key, opcode: Opcode) -> bool {
        let is_it = match *self {
            Self::Offered { address, len } => {
                (payload.as_ptr().addr(), payload.len()) == (address, len)
            }
            Self::Nothing | Self::Promised { .. } => false,
        };
        if is_it {
            *self = Self::Promised { to, opcode };
        }
        is_it
    }
}

/// A message shorter than this is copied, which costs less than to keep and send it by itself.
const LEN_MIN: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { index: 1, generation: 1 };

    #[test]
    fn just_the_message_is_promised_and_once() {
        let message = vec![0; LEN_MIN];
        let other = message.clone();
        let mut handover = Handover::offer(&message);
        assert!(!handover.promise(&other, KEY, Opcode::Text), "the same bytes elsewhere");
        assert!(!handover.promise(&message[1..], KEY, Opcode::Text), "a part of it");
        assert!(handover.promise(&message, KEY, Opcode::Text));
        assert!(!handover.promise(&message, KEY, Opcode::Text), "it is gone");
        assert!(matches!(handover, Handover::Promised { to: KEY, opcode: Opcode::Text }));
    }

    #[test]
    fn a_short_message_is_not_worth_it() {
        let message = vec![0; LEN_MIN - 1];
        assert!(!Handover::offer(&message).promise(&message, KEY, Opcode::Binary));
    }
}
