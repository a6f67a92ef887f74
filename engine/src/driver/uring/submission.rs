//! From an operation to what the kernel is asked.

use std::{
    mem,
    os::fd::{AsRawFd, BorrowedFd},
};

use io_uring::{opcode, squeue, types};
use rustix::{
    event::PollFlags,
    net::{RecvFlags, SendFlags, Shutdown},
};
use socket2::SockAddr;

use super::{
    Flight, Uring,
    buffer_ring::BufferRing,
    sockets::Flags,
    user_data::{Kind, UserData},
};
use crate::driver::{Completion, Op, Payload, Socket, Token};

impl Uring {
    /// Does what `op` asks.
    #[inline]
    pub(super) fn submit_op(&mut self, op: Op, token: Token) {
        match op {
            Op::Send { payload, acknowledge } => self.send(token, payload, acknowledge),
            Op::Attach(socket) => self.attach(token, socket),
            Op::Connect(route) => self.connect(token, &route),
            Op::Adopt(socket) => self.adopt(token, socket),
            Op::Pause => self.pause(token),
            Op::Resume => self.resume(token),
            Op::Ask => self.ask(token),
            Op::ReceiveInto { lease, len } => self.receive_into(token, lease, len),
            Op::Receive => self.receive_unasked(token),
            Op::Shutdown => self.shut_down(token),
            Op::Close => self.close(token),
            Op::Abort => self.abort(token),
        }
    }

    /// Receives from a socket that has something to say, and watches for more right behind: the
    /// kernel takes submissions in order, so what arrives in between is not missed.
    #[inline]
    pub(super) fn receive(&mut self, token: Token) {
        let Some(state) = self.sockets.find(token) else { return };
        let slot = state.slot();
        let is_polling = state.has(Flags::POLLING);
        state.set(Flags::RECEIVING);
        if !self.buffers.reserve() {
            self.counters.starved += 1;
            return self.starved.push_back(token);
        }
        state.set(Flags::POLLING);
        self.ring.push(Submission::receive(slot, token, self.buffers.buffer_len()));
        if !is_polling {
            self.ring.push(Submission::poll(slot, token));
        }
    }

    /// Goes on with the sockets that found all buffers taken, the first in line first.
    pub(super) fn feed_the_starved(&mut self) {
        while self.buffers.has_free()
            && let Some(token) = self.starved.pop_front()
        {
            let Some(state) = self.sockets.find(token) else { continue };
            state.clear(Flags::RECEIVING);
            if !state.has(Flags::ENDED.union(Flags::PAUSED)) {
                self.receive(token);
            }
            self.close_when_idle(token);
        }
    }

    /// Gives up the slot of a socket that is to be closed, once no request needs it any more.
    pub(super) fn close_when_idle(&mut self, token: Token) {
        let Some(state) = self.sockets.find(token) else { return };
        if !state.has(Flags::CLOSING) || state.has(Flags::OUTSTANDING) {
            return;
        }
        if state.has_slot() {
            let slot = state.slot();
            self.ring.push(Submission::close(slot, UserData::of_token(Kind::Close, token)));
        } else {
            self.sockets.remove(token);
            self.ready.push_back(Completion::Closed { token });
        }
    }

    /// Ends what waits in the kernel for a socket that is to be closed: it holds the socket, the peer
    /// would see nothing of a slot given up before. (Looking requests up to cancel them takes time that
    /// grows with their number; a shutdown's does not.)
    pub(super) fn end_waiting(&mut self, token: Token) {
        let Some(state) = self.sockets.find(token) else { return };
        let is_waiting = state.has_slot() && state.has(Flags::OUTSTANDING);
        if is_waiting && !state.has(Flags::SHUTTING) {
            state.set(Flags::SHUTTING);
            let slot = state.slot();
            self.ring.push(Submission::shutdown(slot, token, Shutdown::Both));
        }
    }

    /// Arms a poll for room to send.
    pub(super) fn watch_for_room(&mut self, token: Token) {
        let Some(state) = self.sockets.find(token) else { return };
        if !state.has(Flags::BLOCKED) {
            state.set(Flags::BLOCKED);
            let slot = state.slot();
            self.ring.push(Submission::poll_writable(slot, token));
        }
    }

    fn attach(&mut self, token: Token, socket: Socket) {
        self.sockets.insert(token, socket.0);
        self.watch(token);
    }

    /// Watches for something to receive.
    pub(super) fn watch(&mut self, token: Token) {
        let Some(state) = self.sockets.find(token) else { return };
        state.set(Flags::POLLING);
        let slot = state.slot();
        self.ring.push(Submission::poll(slot, token));
    }

    fn pause(&mut self, token: Token) {
        if let Some(state) = self.sockets.find(token) {
            state.set(Flags::PAUSED);
            self.demote(token);
        }
    }

    fn resume(&mut self, token: Token) {
        let Some(state) = self.sockets.find(token) else { return };
        let was_paused = state.has(Flags::PAUSED);
        state.clear(Flags::PAUSED);
        if !was_paused || state.has(Flags::CLOSING) {
            return;
        }
        let is_idle = !state.has(Flags::POLLING.union(Flags::RECEIVING).union(Flags::ENDED));
        for _ in self.held.iter().filter(|(held, _)| *held == token) {
            self.resumed.push_back(token);
        }
        if is_idle {
            self.watch(token);
        }
    }

    #[inline]
    fn send(&mut self, token: Token, payload: Payload, acknowledge: bool) {
        let Some(state) = self.sockets.find(token) else { return };
        debug_assert!(!state.has(Flags::BLOCKED), "{token:?} sends before it is writable");
        if state.has(Flags::CLOSING) {
            return self.hand_back(token, payload);
        }
        let slot = state.slot();
        let batch = &mut self.filling;
        let bytes = payload.bytes(&batch.arena);
        let user_data = UserData::of_index(batch.kind, batch.flights.len());
        // SAFETY: the batch keeps the payload until the send is over, and none of the three kinds
        // moves its bytes when the payload itself is moved: an arena never does, a lease and a
        // `Bytes` point to the heap.
        let submission = unsafe { Submission::send(slot, bytes, user_data, acknowledge) };
        batch.flights.push(Some(Flight { token, payload }));
        self.ring.push(submission);
    }

    fn shut_down(&mut self, token: Token) {
        let Some(state) = self.sockets.find(token) else { return };
        if !state.has(Flags::SHUTTING.union(Flags::CLOSING)) {
            state.set(Flags::SHUTTING);
            let slot = state.slot();
            self.ring.push(Submission::shutdown(slot, token, Shutdown::Write));
        }
    }

    fn close(&mut self, token: Token) {
        if self.begin_closing(token) {
            self.end_waiting(token);
            self.close_when_idle(token);
        }
    }

    fn abort(&mut self, token: Token) {
        if self.begin_closing(token) {
            let Some(state) = self.sockets.find(token) else { return };
            if state.has_slot() {
                let slot = state.slot();
                self.ring.push(Submission::disconnect(slot, token));
            }
            self.close_when_idle(token);
        }
    }

    /// Says whether the socket was open until now.
    fn begin_closing(&mut self, token: Token) -> bool {
        let Some(state) = self.sockets.find(token) else { return false };
        let was_open = !state.has(Flags::CLOSING);
        state.set(Flags::CLOSING);
        self.requests.stop_asking(token);
        self.held.retain(|(held, _)| *held != token);
        was_open
    }
}

/// A request whose memory, if it refers to any, stays valid until it is over. What the kernel may
/// still read or write is not ours to touch or free: most of what makes io_uring safe is in this
/// sentence, and the two constructors that need it are `unsafe`.
#[derive(Debug)]
pub(super) struct Submission(squeue::Entry);

impl Submission {
    /// Waits until there is something to receive, or the peer is gone: one event, then it is over.
    /// Costs the kernel 256 bytes while it waits.
    #[inline]
    pub(super) fn poll(slot: u32, token: Token) -> Self {
        Self::poll_for(PollFlags::IN | PollFlags::RDHUP, slot, Kind::Poll, token)
    }

    /// Waits until there is room to send into, or the connection is lost.
    pub(super) fn poll_writable(slot: u32, token: Token) -> Self {
        Self::poll_for(PollFlags::OUT, slot, Kind::Writable, token)
    }

    /// Receives into a buffer of the kernel's choice. Never waits.
    #[inline]
    pub(super) fn receive(slot: u32, token: Token, len: usize) -> Self {
        let entry = opcode::Recv::new(types::Fixed(slot), std::ptr::null_mut(), len as u32)
            .flags(RecvFlags::DONTWAIT.bits() as i32)
            .buf_group(BufferRing::ONE_SHOT)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        Self::new(entry, UserData::of_token(Kind::Receive, token))
    }

    /// Receives at most `len` bytes to `room`. Never waits.
    ///
    /// # Safety
    ///
    /// `room` has to be valid for writes of `len` bytes until the completion.
    pub(super) unsafe fn receive_into(slot: u32, token: Token, room: *mut u8, len: u32) -> Self {
        let entry = opcode::Recv::new(types::Fixed(slot), room, len)
            .flags(RecvFlags::DONTWAIT.bits() as i32)
            .build();
        Self::new(entry, UserData::of_token(Kind::ReceiveInto, token))
    }

    /// Receives into buffers of the kernel's choice, until told otherwise. Costs the kernel 864 bytes
    /// while it waits.
    pub(super) fn receive_multishot(slot: u32, token: Token) -> Self {
        let entry = opcode::RecvMulti::new(types::Fixed(slot), BufferRing::MULTISHOT).build();
        Self::new(entry, UserData::of_token(Kind::ReceiveMultishot, token))
    }

    /// Sends `bytes`, all of them or as many as the socket takes. Never waits, so it is over when
    /// the kernel has taken it. WAITALL makes a short send a failure, and only failures and what
    /// asks for acknowledgement get a completion: silence means that every byte left.
    ///
    /// # Safety
    ///
    /// `bytes` have to stay valid and unchanged until the completion, or until the kernel has taken
    /// the submission and every completion that follows from that is seen.
    #[inline]
    pub(super) unsafe fn send(
        slot: u32,
        bytes: &[u8],
        user_data: UserData,
        acknowledge: bool,
    ) -> Self {
        let flags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL).bits();
        let flags = flags | RecvFlags::WAITALL.bits();
        // The kernel sends less than 2 GiB at a time, so that much is short in any case.
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry =
            opcode::Send::new(types::Fixed(slot), bytes.as_ptr(), len).flags(flags as i32).build();
        if acknowledge {
            Self::new(entry, user_data)
        } else {
            Self::new(entry.flags(squeue::Flags::SKIP_SUCCESS), user_data)
        }
    }

    /// Says that no more follows, or ends everything.
    pub(super) fn shutdown(slot: u32, token: Token, how: Shutdown) -> Self {
        let kind = match how {
            Shutdown::Both => Kind::ShutdownBoth,
            _ => Kind::ShutdownWrite,
        };
        let entry = opcode::Shutdown::new(types::Fixed(slot), how as i32).build();
        Self::new(entry, UserData::of_token(kind, token))
    }

    /// Resets the connection and throws away what is queued, by connecting to nowhere. That wakes
    /// the socket's polls as well, so nothing else is needed before the slot can be given up.
    pub(super) fn disconnect(slot: u32, token: Token) -> Self {
        let address = UNSPECIFIED.as_ptr().cast();
        let len = UNSPECIFIED.len() as u32;
        let entry = opcode::Connect::new(types::Fixed(slot), address, len).build();
        Self::new(entry.flags(squeue::Flags::SKIP_SUCCESS), UserData::of_token(Kind::Abort, token))
    }

    /// Gives up a slot.
    pub(super) fn close(slot: u32, user_data: UserData) -> Self {
        Self::new(opcode::Close::new(types::Fixed(slot)).build(), user_data)
    }

    /// Accepts connections into slots, until told otherwise.
    pub(super) fn accept(listener: BorrowedFd<'_>, user_data: UserData) -> Self {
        let entry = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd()))
            .allocate_file_index(true)
            .build();
        Self::new(entry, user_data)
    }

    /// Writes the address of a socket's peer to `address`; it has to be exactly as long.
    ///
    /// # Safety
    ///
    /// `address` has to be valid for writes of `len` bytes until the completion.
    pub(super) unsafe fn peer_name(
        slot: u32,
        address: *mut u8,
        len: u32,
        user_data: UserData,
    ) -> Self {
        const SOL_SOCKET: u32 = 1;
        const SO_PEERNAME: u32 = 28;
        let address = address.cast_const().cast();
        let fd = types::Fixed(slot);
        let entry = opcode::SetSockOpt::new(fd, SOL_SOCKET, SO_PEERNAME, address, len).build();
        // The crate builds the setting of an option; getting one differs in the command alone.
        // SAFETY: an entry is 64 bytes without padding or invalid values, as are these words.
        let mut words: [u32; 16] = unsafe { mem::transmute(entry) };
        words[COMMAND_WORD] = GETSOCKOPT_COMMAND;
        // SAFETY: as above.
        let entry: squeue::Entry = unsafe { mem::transmute(words) };
        Self::new(entry, user_data)
    }

    /// Puts the descriptor that `place` holds into a slot, whose number is then there in its stead.
    ///
    /// # Safety
    ///
    /// `place` has to be valid for reads and writes until the completion, and ours to leave alone.
    pub(super) unsafe fn install(place: *mut i32, user_data: UserData) -> Self {
        let entry = opcode::FilesUpdate::new(place, 1).offset(ANY_SLOT).build();
        Self::new(entry, user_data)
    }

    /// Connects to `address`. Over when the connection is there, or cannot be had.
    ///
    /// # Safety
    ///
    /// `address` has to stay valid and unchanged until the completion.
    pub(super) unsafe fn connect(slot: u32, address: &SockAddr, user_data: UserData) -> Self {
        let (address, len) = (address.as_ptr().cast(), address.len());
        Self::new(opcode::Connect::new(types::Fixed(slot), address, len).build(), user_data)
    }

    /// Watches `descriptor` for as long as it goes well: an event for each time it becomes readable.
    pub(super) fn watch(descriptor: BorrowedFd<'_>, user_data: UserData) -> Self {
        let events = u32::from(PollFlags::IN.bits());
        let fd = types::Fd(descriptor.as_raw_fd());
        Self::new(opcode::PollAdd::new(fd, events).multi(true).build(), user_data)
    }

    /// Cancels what was asked with `target`, if it is not over yet.
    pub(super) fn cancel(target: UserData) -> Self {
        let entry = opcode::AsyncCancel::new(target.bits()).build();
        Self::new(entry, UserData::of_index(Kind::Quiet, 0))
    }

    /// What the queue takes.
    #[inline]
    pub(super) fn into_entry(self) -> squeue::Entry {
        self.0
    }

    #[inline]
    fn poll_for(events: PollFlags, slot: u32, kind: Kind, token: Token) -> Self {
        let events = u32::from(events.bits());
        let entry = opcode::PollAdd::new(types::Fixed(slot), events).build();
        Self::new(entry, UserData::of_token(kind, token))
    }

    #[inline]
    fn new(entry: squeue::Entry, user_data: UserData) -> Self {
        Self(entry.user_data(user_data.bits()))
    }
}

/// Whichever slot is free (`IORING_FILE_INDEX_ALLOC`).
const ANY_SLOT: i32 = -1;

/// An address of family `AF_UNSPEC`.
static UNSPECIFIED: [u8; 16] = [0; 16];

/// Where a socket command is in an entry, and the one that gets an option.
const COMMAND_WORD: usize = 2;
const GETSOCKOPT_COMMAND: u32 = 2;
