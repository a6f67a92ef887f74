//! What finished, or was refused, while the reactor was submitting, and waits to be taken.

use std::{collections::VecDeque, io};

use super::super::{Completion, Payload, Token};
use crate::pool::{Arena, Lease};

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

/// What is left of `payload` after `len` bytes of it were sent, in a form that outlives the turn.
///
/// Corked bytes are copied, into an allocation: it takes a slow peer to get here.
pub(super) fn rest_of(payload: Payload, len: usize, arena: &Arena) -> Payload {
    match payload {
        Payload::Corked(range) => {
            let rest = arena.slice(range.start + len..range.end);
            Payload::Owned { lease: Lease::detached(rest.to_vec()), from: 0 }
        }
        Payload::Owned { lease, from } => Payload::Owned { lease, from: from + len },
        Payload::Shared(bytes) => Payload::Shared(bytes.slice(len..)),
    }
}

/// `Failed`, for `token`.
pub(super) fn failed(token: Token, error: impl Into<io::Error>) -> Finished {
    Completion::Failed { token, error: error.into() }
}

/// `Sent`, for `token`, with the buffer if `payload` was one.
pub(super) fn sent(token: Token, payload: Payload) -> Finished {
    let lease = match payload {
        Payload::Owned { lease, .. } => Some(lease),
        Payload::Corked(_) | Payload::Shared(_) => None,
    };
    Completion::Sent { token, lease }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_rest_begins_where_sending_ended() {
        let mut arena = Arena::new(4096);
        arena.take(10).unwrap().copy_from_slice(b"..corked..");
        let owned = || Payload::Owned { lease: Lease::detached(b"..owned".to_vec()), from: 2 };
        let shared = || Payload::Shared(Bytes::from_static(b"shared"));
        let check =
            |payload: Payload, len: usize, expected: &[u8]| match rest_of(payload, len, &arena) {
                Payload::Corked(_) => panic!("the rest has to outlive the arena"),
                Payload::Owned { lease, from } => assert_eq!(&lease.bytes()[from..], expected),
                Payload::Shared(bytes) => assert_eq!(bytes, expected),
            };
        check(Payload::Corked(2..8), 0, b"corked");
        check(Payload::Corked(2..8), 4, b"ed");
        check(owned(), 0, b"owned");
        check(owned(), 3, b"ed");
        check(shared(), 0, b"shared");
        check(shared(), 5, b"d");
    }

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
