//! What finished, or was refused, while the reactor was submitting, and waits to be taken.
//!
//! Until the next turn: told in this one, what comes of it might have more to send, and so on for as
//! long as a peer reads as fast as we write. Told at once are refused sends, and what
//! comes of receiving by request, while the bytes are in the cache.

use std::collections::VecDeque;

use super::super::{Completion, Payload, Token};

/// Completions that no readiness of a socket brings about, in the order in which they came to be.
#[derive(Default)]
pub(super) struct Pending {
    queue: VecDeque<Finished>,
    /// How many of them are told in this turn.
    due: usize,
}

/// A completion without borrowed bytes.
pub(super) type Finished = Completion<'static>;

impl Pending {
    /// Puts `finished` behind what is there, for the next turn.
    pub(super) fn push(&mut self, finished: Finished) {
        self.queue.push_back(finished);
    }

    /// Puts a refused send in front of everything, so that the reactor hears of it before it can
    /// come to send more for the same socket.
    pub(super) fn push_unsent(&mut self, token: Token, rest: Payload) {
        self.push_now(Completion::Unsent { token, rest });
    }

    /// Puts `finished` in front of everything, in this turn.
    pub(super) fn push_now(&mut self, finished: Finished) {
        self.queue.push_front(finished);
        self.due += 1;
    }

    /// Begins a turn, which tells what is there by now.
    pub(super) fn begin_turn(&mut self) {
        self.due = self.queue.len();
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Finished> {
        self.due = self.due.checked_sub(1)?;
        self.queue.pop_front()
    }

    /// Whether there is anything to tell in this turn.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.due > 0
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_was_refused_comes_first() {
        let token = |index| Token { index, generation: 0 };
        let mut pending = Pending::default();
        let refuse = |pending: &mut Pending, index| {
            pending.push_unsent(token(index), Payload::Shared(Bytes::from_static(b"x")));
        };
        pending.push(Completion::Writable { token: token(1) });
        refuse(&mut pending, 2);
        assert!(matches!(pending.pop(), Some(Completion::Unsent { .. })));
        assert!(pending.pop().is_none() && !pending.is_empty(), "the rest is for the next turn");
        pending.begin_turn();
        pending.push(Completion::Closed { token: token(3) });
        refuse(&mut pending, 4);
        assert!(matches!(pending.pop(), Some(Completion::Unsent { .. })));
        assert!(pending.is_due());
        assert!(matches!(pending.pop(), Some(Completion::Writable { .. })));
        assert!(!pending.is_due() && pending.pop().is_none());
        pending.begin_turn();
        assert!(matches!(pending.pop(), Some(Completion::Closed { .. })));
        assert!(pending.pop().is_none() && pending.is_empty());
    }
}
