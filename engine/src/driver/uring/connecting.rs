//! Connections being made, and such as were made elsewhere.
//!
//! ```text
//!   socket, options, bind ─▶ Install: into a slot ─▶ descriptor closed ─▶ Connect ─▶ Connected
//!        plain system calls         a request                               a request
//! ```
//!
//! One that was made elsewhere is there when it is in its slot.
//!
//! A socket could be made in its slot to begin with, but binding one there takes Linux 6.11, and an
//! option another request each. So a descriptor is used, for a turn.

use std::{cell::UnsafeCell, os::fd::AsRawFd, os::fd::OwnedFd};

use rustix::io::Errno;
use socket2::SockAddr;

use super::{
    Uring,
    sockets::Flags,
    submission::Submission,
    user_data::{Kind, UserData},
};
use crate::driver::{Completion, Route, Target, Token, socket};

/// Attempts in flight, each with what the kernel reads and writes meanwhile.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    attempts: Vec<Option<Box<Attempt>>>,
    vacant: Vec<usize>,
}

/// One attempt to connect. Boxed, because the kernel knows where it is.
#[derive(Debug)]
struct Attempt {
    token: Token,
    /// Where to connect to, unless it is connected.
    address: Option<SockAddr>,
    /// Until it is in its slot.
    socket: Option<OwnedFd>,
    /// Where the kernel finds the descriptor, and leaves the slot.
    place: UnsafeCell<i32>,
}

impl Attempts {
    fn begin(&mut self, attempt: Attempt) -> (usize, &Attempt) {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.attempts.push(None);
            self.attempts.len() - 1
        });
        (index, self.attempts[index].insert(Box::new(attempt)))
    }

    fn get_mut(&mut self, index: usize) -> Option<&mut Attempt> {
        self.attempts.get_mut(index)?.as_deref_mut()
    }

    /// Ends attempt number `index`. Says whose it was.
    fn end(&mut self, index: usize) -> Option<Token> {
        let attempt = self.attempts.get_mut(index)?.take()?;
        self.vacant.push(index);
        if self.vacant.len() == self.attempts.len() {
            *self = Self::default(); // a burst leaves nothing behind
        }
        Some(attempt.token)
    }
}

impl Uring {
    /// Begins to connect.
    pub(super) fn connect(&mut self, token: Token, route: &Route) {
        self.sockets.reserve(token);
        if let Err(errno) = self.try_connect(token, route) {
            let failure = self.fail(token, errno);
            self.ready.extend(failure);
        }
    }

    fn try_connect(&mut self, token: Token, route: &Route) -> Result<(), Errno> {
        let address = match &route.target {
            Target::Tcp(address) => SockAddr::from(*address),
            Target::Unix(path) => SockAddr::unix(path).map_err(|_| Errno::NAMETOOLONG)?,
        };
        self.install(token, socket::open(route)?, Some(address));
        Ok(())
    }

    /// Takes in a socket that is connected.
    pub(super) fn adopt(&mut self, token: Token, socket: OwnedFd) {
        self.sockets.reserve(token);
        self.install(token, socket, None);
    }

    /// Begins to move a socket into a slot.
    fn install(&mut self, token: Token, socket: OwnedFd, address: Option<SockAddr>) {
        let place = UnsafeCell::new(socket.as_raw_fd());
        let attempt = Attempt { token, address, socket: Some(socket), place };
        let (index, attempt) = self.attempts.begin(attempt);
        let user_data = UserData::of_index(Kind::Install, index);
        // SAFETY: the attempt stays in its box until its last completion, and nobody looks at `place`
        // before the one that is due now.
        let install = unsafe { Submission::install(attempt.place.get(), user_data) };
        self.ring.push(install);
        if let Some(state) = self.sockets.find(token) {
            state.set(Flags::BLOCKED);
        }
    }

    /// The socket is in its slot, or there is none for it.
    pub(super) fn handle_install(
        &mut self,
        index: usize,
        result: Result<usize, Errno>,
    ) -> Option<Completion<'static>> {
        let Some(attempt) = self.attempts.get_mut(index) else { return self.miss() };
        attempt.socket = None;
        let (token, slot) = (attempt.token, attempt.place.get_mut().cast_unsigned());
        let Some(state) = self.sockets.find_with(token, Flags::BLOCKED) else {
            return self.miss();
        };
        if let Err(errno) = result {
            return self.end_attempt(index, Err(errno));
        }
        state.set_slot(slot);
        if state.has(Flags::CLOSING) {
            return self.end_attempt(index, Ok(()));
        }
        let Some(address) = &attempt.address else { return self.end_attempt(index, Ok(())) };
        let user_data = UserData::of_index(Kind::Connect, index);
        // SAFETY: the attempt, and the address in it, stays in its box until the completion.
        let connect = unsafe { Submission::connect(slot, address, user_data) };
        self.ring.push(connect);
        None
    }

    /// The connection is there, or cannot be had.
    pub(super) fn handle_connect(
        &mut self,
        index: usize,
        result: Result<usize, Errno>,
    ) -> Option<Completion<'static>> {
        self.end_attempt(index, result.map(drop))
    }

    fn end_attempt(
        &mut self,
        index: usize,
        result: Result<(), Errno>,
    ) -> Option<Completion<'static>> {
        let Some(token) = self.attempts.end(index) else { return self.miss() };
        let Some(state) = self.sockets.find_with(token, Flags::BLOCKED) else {
            return self.miss();
        };
        state.clear(Flags::BLOCKED);
        if state.has(Flags::CLOSING) {
            self.close_when_idle(token);
            return None;
        }
        if let Err(errno) = result {
            return self.fail(token, errno);
        }
        self.watch(token);
        Some(Completion::Connected { token })
    }
}
