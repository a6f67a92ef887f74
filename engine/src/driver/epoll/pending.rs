//! What finished, or was refused, while the reactor was submitting, and waits to be taken.

use std::collections::VecDeque;

use super::super::{Completion, Payload, Token};

/// Completions that no readiness of a socket brings about, in the order in which they came to be.
#[derive(Default)]
pub(super) struct Pending {
    queue: VecDeque<Finished>,
}

/// A completion without borrowed bytes.
pub(super) type Finished = Completion<'static>;

impl Pending {
    /// Puts `finished` behind what is there.
    pub(super) fn push(&mut self, finished: Finished) {
        self.queue.push_back(finished);
    }

    /// Puts a refused send in front of everything, so that the reactor hears of it before it can
    /// come to send more for the same socket.
    pub(super) fn push_unsent(&mut self, token: Token, rest: Payload) {
        self.queue.push_front(Completion::Unsent { token, rest });
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Finished> {
        self.queue.pop_front()
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
        pending.push(Completion::Writable { token: token(1) });
        pending.push_unsent(token(2), Payload::Shared(Bytes::from_static(b"x")));
        assert!(matches!(pending.pop(), Some(Completion::Unsent { .. })));
        assert!(matches!(pending.pop(), Some(Completion::Writable { .. })));
        assert!(pending.pop().is_none() && pending.is_empty());
    }
}
