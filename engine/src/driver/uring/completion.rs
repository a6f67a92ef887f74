//! From what the kernel says to what happened.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use io_uring::cqueue;
use rustix::{event::PollFlags, io::Errno, net::AddressFamily};

use super::{
    Flight, Lent, Uring,
    lookups::Newcomer,
    sockets::Flags,
    submission::Submission,
    user_data::{Kind, UserData},
};
use crate::driver::{Completion, Payload, Socket, Token, socket};

impl Uring {
    /// Gives a buffer whose bytes were lent back to the kernel.
    #[inline]
    pub(super) fn end_loan(&mut self) {
        match self.lent.take() {
            Some(Lent::OneShot(buffer)) => self.buffers.give_back(buffer),
            Some(Lent::Multishot(buffer)) => self.multishot_buffers.lend(buffer),
            None => {}
        }
    }

    /// Returns what cannot be sent any more to where it belongs.
    pub(super) fn hand_back(&mut self, token: Token, payload: Payload) {
        if let Payload::Owned { .. } = payload {
            self.ready.push_back(Completion::Unsent { token, rest: payload });
        }
    }

    /// Whether something waits to be heard, other than the kernel's completions.
    #[inline]
    pub(super) fn has_ready(&self) -> bool {
        !self.resumed.is_empty() || !self.ready.is_empty()
    }

    /// Moves the bytes of a socket that was resumed to where they can be lent.
    #[cold]
    pub(super) fn next_resumed(&mut self) -> Option<Token> {
        while let Some(token) = self.resumed.pop_front() {
            let held = self.held.iter().position(|(held, _)| *held == token);
            let state = self.sockets.find(token);
            // Unless paused again meanwhile (then they stay held), closed or lost.
            let silent = Flags::PAUSED.union(Flags::CLOSING).union(Flags::FAILED);
            if let (Some(held), Some(state)) = (held, state)
                && !state.has(silent)
            {
                self.lent_copy = self.held.remove(held).1;
                return Some(token);
            }
        }
        None
    }

    /// The bytes that a receive brought, and the buffer they are in: by far the most frequent case.
    #[inline]
    pub(super) fn take_bytes(
        &mut self,
        completion: &cqueue::Entry,
    ) -> Option<(Token, Lent, usize)> {
        let user_data = UserData::from_bits(completion.user_data());
        let is_multishot = user_data.is(Kind::ReceiveMultishot);
        if !(is_multishot || user_data.is(Kind::Receive)) || completion.result() <= 0 {
            return None;
        }
        let buffer = cqueue::buffer_select(completion.flags())?;
        let len = completion.result() as usize;
        let token = user_data.token();
        let state = self.sockets.find_with(token, Flags::RECEIVING)?;
        if state.has(Flags::ENDED.union(Flags::PAUSED)) {
            return None;
        }
        if is_multishot && cqueue::more(completion.flags()) {
            self.talkative.hear_more(token);
        } else {
            state.clear(Flags::RECEIVING);
            if is_multishot {
                self.talkative.leave(token);
            }
            if !state.has(Flags::POLLING) {
                self.watch(token);
            }
        }
        if len >= self.multishot_buffers.buffer_len() {
            self.demote(token);
        }
        let lent = if is_multishot { Lent::Multishot(buffer) } else { Lent::OneShot(buffer) };
        Some((token, lent, len))
    }

    /// What else a completion can come to.
    #[inline]
    pub(super) fn handle(&mut self, completion: &cqueue::Entry) -> Option<Completion<'static>> {
        let user_data = UserData::from_bits(completion.user_data());
        let result = outcome(completion.result());
        let Some(kind) = user_data.kind() else { return self.miss() };
        match kind {
            Kind::Poll => self.handle_poll(user_data.token(), result),
            Kind::Receive => self.handle_receive(
                user_data.token(),
                result,
                cqueue::buffer_select(completion.flags()),
            ),
            Kind::ReceiveMultishot => self.handle_multishot(
                user_data.token(),
                result,
                cqueue::buffer_select(completion.flags()),
                !cqueue::more(completion.flags()),
            ),
            Kind::ReceiveInto => self.handle_filled(user_data.token(), result),
            Kind::SendEven | Kind::SendOdd => self.handle_send(kind, user_data.index(), result),
            Kind::Writable => self.handle_writable(user_data.token(), result),
            Kind::ShutdownWrite | Kind::ShutdownBoth => {
                self.handle_shutdown(kind, user_data.token(), result)
            }
            Kind::Abort => self.handle_abort(user_data.token()),
            Kind::Close => self.handle_close(user_data.token()),
            Kind::Accept => self.handle_accept(user_data.index(), result, completion.flags()),
            Kind::PeerName => self.handle_peer_name(user_data.index(), result),
            Kind::Install => self.handle_install(user_data.index(), result),
            Kind::Connect => self.handle_connect(user_data.index(), result),
            Kind::Wake => self.handle_wake(result, completion.flags()),
            Kind::Quiet => None,
        }
    }

    /// A socket has something to say, or its peer is gone, or it was shut down by us: receiving will
    /// tell which. A paused one is left alone, unless it is broken.
    #[inline]
    fn handle_poll(
        &mut self,
        token: Token,
        events: Result<usize, Errno>,
    ) -> Option<Completion<'static>> {
        let Some(state) = self.sockets.find_with(token, Flags::POLLING) else {
            return self.miss();
        };
        state.clear(Flags::POLLING);
        if !state.has(UNINTERESTED) {
            if let Err(errno) = events {
                return self.fail(token, errno);
            }
            if self.requests.is_asking(token) {
                return Some(Completion::Readable { token });
            }
            self.receive_or_promote(token);
        } else if is_broken(events) && !state.has(UNMOVED) {
            self.receive(token);
        } else if state.has(Flags::CLOSING) {
            self.close_when_idle(token);
        }
        None
    }

    /// A receive that brought no bytes, or bytes that are not wanted now.
    #[cold]
    fn handle_receive(
        &mut self,
        token: Token,
        result: Result<usize, Errno>,
        buffer: Option<u16>,
    ) -> Option<Completion<'static>> {
        let held = match buffer {
            Some(buffer) => {
                let held = self.buffers.bytes(buffer, result.unwrap_or(0)).to_vec();
                self.buffers.give_back(buffer);
                held
            }
            None => {
                self.buffers.release();
                Vec::new()
            }
        };
        let Some(state) = self.sockets.find_with(token, Flags::RECEIVING) else {
            return self.miss();
        };
        if result == Err(Errno::NOBUFS) && !state.has(Flags::ENDED) {
            self.counters.starved += 1;
            self.starved.push_back(token);
            return None;
        }
        state.clear(Flags::RECEIVING);
        if state.has(Flags::ENDED) {
            self.close_when_idle(token);
            return None;
        }
        let is_deaf = !state.has(Flags::POLLING.union(Flags::PAUSED));
        match result {
            Ok(1..) => {
                self.held.push((token, held));
                None
            }
            Ok(0) => {
                state.set(Flags::FINISHED);
                Some(Completion::Finished { token })
            }
            // Nothing there after all: the poll goes on waiting.
            Err(Errno::AGAIN | Errno::INTR) => {
                if is_deaf {
                    self.watch(token);
                }
                None
            }
            Err(errno) => self.fail(token, errno),
        }
    }

    /// A send that did not leave whole, or that was to be acknowledged.
    fn handle_send(
        &mut self,
        kind: Kind,
        index: usize,
        result: Result<usize, Errno>,
    ) -> Option<Completion<'static>> {
        let batch = if kind == self.filling.kind { &mut self.filling } else { &mut self.flying };
        let flight = batch.flights.get_mut(index).and_then(Option::take);
        let Some(Flight { token, payload }) = flight else { return self.miss() };
        let is_open = self.sockets.find(token).is_some_and(|state| !state.has(Flags::CLOSING));
        let sent = match result {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(errno) => {
                self.hand_back(token, payload);
                let failure = self.fail(token, errno);
                self.ready.extend(failure);
                return None;
            }
        };
        if sent == payload.bytes(&batch.arena).len() {
            let lease = payload.into_lease();
            let is_news = is_open || lease.is_some();
            return is_news.then_some(Completion::Sent { token, lease });
        }
        if !is_open {
            self.hand_back(token, payload);
            return None;
        }
        let rest = payload.rest(sent, &batch.arena);
        self.watch_for_room(token);
        Some(Completion::Unsent { token, rest })
    }

    /// There is room to send into, or the connection is lost. In the latter case the other poll
    /// fires as well, and what it leads to says so better; without one the next send will tell.
    fn handle_writable(
        &mut self,
        token: Token,
        events: Result<usize, Errno>,
    ) -> Option<Completion<'static>> {
        let Some(state) = self.sockets.find_with(token, Flags::BLOCKED) else {
            return self.miss();
        };
        state.clear(Flags::BLOCKED);
        if state.has(Flags::CLOSING) {
            self.close_when_idle(token);
            return None;
        }
        let is_told = state.has(Flags::POLLING.union(Flags::RECEIVING)) && is_broken(events);
        let is_news = !is_told && !state.has(Flags::FAILED);
        is_news.then_some(Completion::Writable { token })
    }

    fn handle_shutdown(
        &mut self,
        kind: Kind,
        token: Token,
        result: Result<usize, Errno>,
    ) -> Option<Completion<'static>> {
        let Some(state) = self.sockets.find_with(token, Flags::SHUTTING) else {
            return self.miss();
        };
        state.clear(Flags::SHUTTING);
        // A connection that is lost already cannot be shut down, but its polls end all the same.
        let failure = result.err().filter(|errno| *errno != Errno::NOTCONN);
        if !state.has(Flags::CLOSING) {
            return self.fail(token, failure?);
        }
        match kind {
            Kind::ShutdownWrite => self.end_waiting(token),
            // No thread to do it. The slow way, then.
            _ if failure.is_some() => {
                for waiting in [Kind::Poll, Kind::Writable, Kind::ReceiveMultishot] {
                    self.ring.push(Submission::cancel(UserData::of_token(waiting, token)));
                }
            }
            _ => {}
        }
        self.close_when_idle(token);
        None
    }

    /// A reset that failed: not a socket of that kind. Then it is only closed.
    fn handle_abort(&mut self, token: Token) -> Option<Completion<'static>> {
        self.end_waiting(token);
        None
    }

    fn handle_close(&mut self, token: Token) -> Option<Completion<'static>> {
        if self.sockets.find(token).is_none() {
            return self.miss();
        }
        self.sockets.remove(token);
        Some(Completion::Closed { token })
    }

    fn handle_accept(
        &mut self,
        index: usize,
        result: Result<usize, Errno>,
        flags: u32,
    ) -> Option<Completion<'static>> {
        let Some(listener) = self.listeners.get_mut(index) else { return self.miss() };
        listener.is_armed &= cqueue::more(flags);
        listener.close_when_idle();
        let wanted = listener.is_wanted;
        if let Err(errno) = result
            && wanted
            // (A cancellation that comes late is another such case.)
            && !matches!(errno, Errno::AGAIN | Errno::CANCELED)
            && !socket::is_of_the_connection(errno)
        {
            listener.is_wanted = false;
            let error = errno.into();
            return Some(Completion::AcceptFailed { listener: index, error });
        }
        self.arm_listener(index);
        let slot = result.ok()? as u32;
        if slot >= self.slot_count {
            // Kernels before 6.8 were seen to answer with a number that was nothing.
            return self.miss();
        }
        self.newcomers.push_back(Newcomer { slot, listener: index as u32 });
        None
    }

    /// The next accepted socket that needs no look-up, and look-ups of those before it. The kernel
    /// accepts as many as come: that they have their turn a few at a time is up to us.
    pub(super) fn next_newcomer(&mut self) -> Option<Completion<'static>> {
        while self.accepts_left > 0
            && let Some(newcomer) = self.newcomers.pop_front()
        {
            self.accepts_left -= 1;
            let Newcomer { slot, listener } = newcomer;
            let listener = listener as usize;
            let Some(address_len) = self.listeners[listener].address_len else {
                return Some(Completion::Accepted { listener, socket: Socket(slot), peer: None });
            };
            self.look_up_peer(newcomer, address_len);
        }
        None
    }

    fn handle_peer_name(
        &mut self,
        index: usize,
        result: Result<usize, Errno>,
    ) -> Option<Completion<'static>> {
        let Some((Newcomer { slot, listener }, bytes)) = self.lookups.end(index) else {
            return self.miss();
        };
        let listener = listener as usize;
        let peer = result.ok().and_then(|len| address(bytes.get(..len)?));
        if matches!(result, Err(Errno::OPNOTSUPP | Errno::INVAL)) {
            // This kernel cannot tell (Linux before 6.7), or not for this kind of socket.
            self.listeners[listener].address_len = None;
        }
        Some(Completion::Accepted { listener, socket: Socket(slot), peer })
    }

    fn handle_wake(
        &mut self,
        result: Result<usize, Errno>,
        flags: u32,
    ) -> Option<Completion<'static>> {
        match result {
            _ if cqueue::more(flags) => {}
            Ok(_) => self.watch_waker(),
            Err(errno) => self.failure = Some(errno),
        }
        None
    }

    /// The connection is lost: said once.
    pub(super) fn fail(&mut self, token: Token, errno: Errno) -> Option<Completion<'static>> {
        let state = self.sockets.find(token)?;
        if state.has(Flags::FAILED.union(Flags::CLOSING)) {
            return None;
        }
        state.set(Flags::FAILED);
        Some(Completion::Failed { token, error: errno.into() })
    }

    /// A completion that nobody waits for: it should not happen, and it harms nobody.
    #[cold]
    pub(super) fn miss(&mut self) -> Option<Completion<'static>> {
        self.counters.stale += 1;
        None
    }
}

/// What a request came to: a number of bytes, a slot, or an error.
#[inline]
fn outcome(result: i32) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| Errno::from_raw_os_error(-result))
}

/// Whether a poll says that the connection is lost.
#[inline]
fn is_broken(events: Result<usize, Errno>) -> bool {
    events.is_ok_and(|events| events & usize::from(PollFlags::ERR.bits()) != 0)
}

/// A poll of such a socket leads to nothing, not even if it is broken.
const UNMOVED: Flags = Flags::ENDED.union(Flags::RECEIVING);
/// A poll of such a socket leads to nothing, as a rule.
const UNINTERESTED: Flags = UNMOVED.union(Flags::PAUSED);

/// A socket address in the kernel's form: family, port, address.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let (family, bytes) = bytes.split_first_chunk()?;
    let (port, bytes) = bytes.split_first_chunk()?;
    let port = u16::from_be_bytes(*port);
    match AddressFamily::from_raw(u16::from_ne_bytes(*family)) {
        AddressFamily::INET => {
            let ip: [u8; 4] = *bytes.first_chunk()?;
            Some(SocketAddrV4::new(ip.into(), port).into())
        }
        AddressFamily::INET6 => {
            let (flow, bytes) = bytes.split_first_chunk()?;
            let (ip, bytes) = bytes.split_first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*bytes.first_chunk()?);
            let flow = u32::from_be_bytes(*flow);
            Some(SocketAddrV6::new((*ip).into(), port, flow, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let v4 = [&AddressFamily::INET.as_raw().to_ne_bytes()[..], &[0x1f, 0x90, 127, 0, 0, 1]];
        let v6 = [
            &AddressFamily::INET6.as_raw().to_ne_bytes()[..],
            &[0x1f, 0x90, 0, 0, 0, 0],
            &std::net::Ipv6Addr::LOCALHOST.octets(),
            &7_u32.to_ne_bytes(),
        ];
        let cases: [(Vec<u8>, Option<&str>); 5] = [
            (v4.concat(), Some("127.0.0.1:8080")),
            (v6.concat(), Some("[::1%7]:8080")),
            (v6.concat()[..27].to_vec(), None),
            (vec![1, 0, b'/', b'x'], None),
            (vec![], None),
        ];
        for (bytes, expected) in cases {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(address(&bytes), expected, "{bytes:?}");
        }
    }
}
