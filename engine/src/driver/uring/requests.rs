//! Receiving by request, straight to where the reactor wants the bytes.
//!
//! Such a socket is polled, like a silent one. Where others are received from, the reactor is told, and
//! answers with a buffer, or with the wish to be spared the question.

use std::collections::{HashMap, HashSet};

use rustix::io::Errno;

use super::{Uring, sockets::Flags, submission::Submission};
use crate::{
    driver::{Completion, Token},
    pool::Lease,
};

/// Who is to be asked, and what was answered.
#[derive(Debug, Default)]
pub(super) struct Requests {
    asking: HashSet<Token>,
    /// Buffers that the kernel fills, or is about to.
    filling: HashMap<Token, Lease>,
}

impl Requests {
    /// Whether the reactor is asked before the socket is received from.
    #[inline]
    pub(super) fn is_asking(&self, token: Token) -> bool {
        !self.asking.is_empty() && self.asking.contains(&token)
    }

    /// Forgets that the socket is one of those.
    pub(super) fn stop_asking(&mut self, token: Token) {
        if !self.asking.is_empty() {
            self.asking.remove(&token);
        }
    }
}

impl Uring {
    pub(super) fn ask(&mut self, token: Token) {
        self.requests.asking.insert(token);
        self.demote(token);
    }

    pub(super) fn receive_unasked(&mut self, token: Token) {
        self.requests.stop_asking(token);
        self.receive(token);
    }

    /// Receives to `lease`, and watches for more right behind, as [`receive`](Uring::receive) does.
    pub(super) fn receive_into(&mut self, token: Token, mut lease: Lease, len: usize) {
        let Some(state) = self.sockets.find(token) else { return };
        let slot = state.slot();
        let is_polling = state.has(Flags::POLLING);
        state.set(Flags::RECEIVING.union(Flags::POLLING));
        let room = lease.room(len);
        let (room, len) = (room.as_mut_ptr().cast(), room.len() as u32);
        // SAFETY: the room is the lease's, which is kept until the receive is over, and its bytes are on
        // the heap.
        let submission = unsafe { Submission::receive_into(slot, token, room, len) };
        self.requests.filling.insert(token, lease);
        self.ring.push(submission);
        if !is_polling {
            self.ring.push(Submission::poll(slot, token));
        }
    }

    /// A buffer comes back, whatever became of the socket.
    pub(super) fn handle_filled(
        &mut self,
        token: Token,
        result: Result<usize, Errno>,
    ) -> Option<Completion<'static>> {
        let Some(mut lease) = self.requests.filling.remove(&token) else { return self.miss() };
        if let Ok(len) = result {
            // SAFETY: the kernel has written so many bytes to the room.
            unsafe { lease.fill(len) };
        }
        self.ready.push_back(Completion::Filled { token, lease });
        let Some(state) = self.sockets.find_with(token, Flags::RECEIVING) else {
            return self.miss();
        };
        state.clear(Flags::RECEIVING);
        if state.has(Flags::ENDED) {
            self.close_when_idle(token);
            return None;
        }
        match result {
            Ok(0) => {
                state.set(Flags::FINISHED);
                self.ready.push_back(Completion::Finished { token });
            }
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) if !state.has(Flags::POLLING) => {
                self.watch(token);
            }
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                let failure = self.fail(token, errno);
                self.ready.extend(failure);
            }
        }
        None
    }
}
