//! Receives that go on: for sockets that talk all the time.
//!
//! A poll and a receive for each message are two requests more than a multishot receive needs, and
//! a turn more until the message is heard. But the kernel takes buffers for it unasked, and keeps
//! more memory for it, so:
//!
//! * which sockets get one is decided by what they do (`talkative`), and how many is bounded;
//! * they have buffers of their own, few and short. One that fills a buffer has more to say than fits
//!   this way of listening and is polled again, where it waits for its turn;
//! * however it ends (all buffers taken, no room for a completion, cancelled), the socket is polled
//!   from then on, and has to prove itself once more. A pause cancels it, so that the peer is made to
//!   wait.

use rustix::io::Errno;

use super::{
    Uring,
    sockets::Flags,
    submission::Submission,
    talkative::Verdict,
    user_data::{Kind, UserData},
};
use crate::driver::{Completion, Token};

impl Uring {
    /// Receives from a socket that has something to say: from now on, if it often has.
    #[inline]
    pub(super) fn receive_or_promote(&mut self, token: Token) {
        match self.talkative.hear(token) {
            Verdict::Poll => {}
            Verdict::Promote => return self.promote(token),
            Verdict::Demote(other) => self.cancel_multishot(other),
        }
        self.receive(token);
    }

    /// Ends the multishot receive of a socket, if it has one.
    #[inline]
    pub(super) fn demote(&mut self, token: Token) {
        if self.talkative.leave(token) {
            self.cancel_multishot(token);
        }
    }

    /// What a multishot receive says, other than bytes that somebody waits for. `is_over`: it was the
    /// last that it said.
    #[cold]
    pub(super) fn handle_multishot(
        &mut self,
        token: Token,
        result: Result<usize, Errno>,
        buffer: Option<u16>,
        is_over: bool,
    ) -> Option<Completion<'static>> {
        let held = buffer.map(|buffer| {
            let held = self.multishot_buffers.bytes(buffer, result.unwrap_or(0)).to_vec();
            self.multishot_buffers.lend(buffer);
            held
        });
        let Some(state) = self.sockets.find_with(token, Flags::RECEIVING) else {
            return self.miss();
        };
        let (is_ended, is_paused) = (state.has(Flags::ENDED), state.has(Flags::PAUSED));
        if is_over {
            state.clear(Flags::RECEIVING);
            self.talkative.leave(token);
        }
        if is_ended {
            self.close_when_idle(token);
            return None;
        }
        self.held.extend(held.map(|held| (token, held)));
        match result {
            Ok(0) if !is_paused => {
                self.sockets.find(token)?.set(Flags::FINISHED);
                return Some(Completion::Finished { token });
            }
            // (The end of the stream is behind what a pause holds back, and there to be found.)
            Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::CANCELED) => {}
            Err(Errno::NOBUFS) => {
                self.counters.starved += 1;
                self.sockets.find(token)?.set(Flags::RECEIVING);
                self.starved.push_back(token);
                return None;
            }
            // This kernel has no such thing (Linux before 6.0).
            Err(Errno::INVAL) => self.talkative.close(),
            Err(errno) => return self.fail(token, errno),
        }
        if is_over {
            self.watch(token);
        }
        None
    }

    fn promote(&mut self, token: Token) {
        let Some(state) = self.sockets.find(token) else { return };
        state.set(Flags::RECEIVING);
        let slot = state.slot();
        self.counters.promoted += 1;
        self.ring.push(Submission::receive_multishot(slot, token));
    }

    #[cold]
    fn cancel_multishot(&mut self, token: Token) {
        self.counters.demoted += 1;
        let receive = UserData::of_token(Kind::ReceiveMultishot, token);
        self.ring.push(Submission::cancel(receive));
    }
}

/// Buffers for all multishot receives together. One turn of a ring brings twenty messages, or twice
/// as many. A socket that begins to flood gets up to 32 before others are heard: as much as one
/// completion of another kind may lend.
pub(super) const BUFFER_COUNT_MAX: u16 = 64;
/// The length of each.
pub(super) const BUFFER_LEN_MAX: usize = 2048;
