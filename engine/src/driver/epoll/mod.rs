//! mio's readiness turned into completions.
//!
//! ```text
//!   wait ── epoll events ──▶ flags of the socket, queue of sockets to read
//!   next ◀── pending ◀────── what came of submitting: Sent, Unsent, Failed, Closed
//!        ◀── queue ◀──────── one read a socket and turn, into the one hot buffer
//!        ◀── listeners ◀──── a few accepts a turn
//! ```
//!
//! * **Pull, one at a time.** A socket is read when the reactor asks for the next completion, always
//!   into the same buffer, and at most once a turn: one with more to say goes to the end of the
//!   queue. What comes of submitting in between is told in the next turn, but for refused sends. So a
//!   turn is bounded, and the bytes it works on are in the cache.
//! * **Edges.** epoll tells of a change once. A read that filled less than the buffer emptied the
//!   socket, for which no second read needs to find `EAGAIN`, unless the end of the stream is known
//!   to be behind it. What an edge said is kept in the socket's flags until it was acted upon.
//! * **Output** is sent when it is submitted. A socket is watched for output from the first time it
//!   refuses some, and then for good: the kernel tells of room only where it was asked for in vain,
//!   so the watch costs nothing, while taking it back would cost a system call each time.
//! * **A connection being made** is a socket that refuses output: when it takes some, it is there.
//! * **No tenant is mistaken for another.** A socket leaves epoll's set before it is closed (so no
//!   event of it can follow, even if a child process holds a copy of its descriptor for the moment
//!   between fork and exec), and `Closed` is said only when its token has left our queues.

mod pending;
mod sockets;

use std::{
    collections::HashSet,
    io, mem,
    net::SocketAddr,
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use mio::{Events, Interest, Poll, event::Event, unix::SourceFd};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use self::{
    pending::Pending,
    sockets::{Place, Sockets},
};
use super::{
    ACCEPTS_PER_TURN, Completion, Driver, Flush, Op, Payload, RECEIVE_LEN_MAX, Route, Settings,
    Socket, Token, Waker, socket,
};
use crate::pool::{Arena, Key, Lease, Region};

/// The driver for every Linux, and for containers that forbid io_uring.
pub(crate) struct Epoll {
    poll: Poll,
    events: Events,
    sockets: Sockets,
    /// Sockets that were accepted and not yet attached or discarded.
    unattached: Vec<OwnedFd>,
    /// Sockets on their way to their target, and tokens whose socket could not be had.
    connecting: HashSet<Token>,
    /// How many sockets there are, attached or not, and may be.
    socket_count: usize,
    sockets_max: usize,
    listeners: Vec<Listener>,
    /// Sockets to read. Those in `turn` have theirs before the next `wait`, those behind it after.
    queue: Vec<Token>,
    turn: Range<usize>,
    pending: Pending,
    buffer: Region,
    arena: Arena,
    /// Bytes of the arena that were sent, or copied to be sent later.
    arena_done: usize,
    _waker: Waker,
}

/// Accepts from one listening socket.
struct Listener {
    /// Until it is closed.
    socket: Option<OwnedFd>,
    /// In epoll's set.
    accepts: bool,
    /// There may be connections in its queue.
    is_ready: bool,
    /// How many more are taken before the next `wait`.
    turn_left: usize,
}

impl Epoll {
    /// A driver that accepts from `listeners` when told to. They become non-blocking.
    ///
    /// Costs two descriptors of its own. Fails when the kernel has none left, or no memory.
    pub(crate) fn new(
        settings: &Settings,
        listeners: Vec<OwnedFd>,
        waker: Waker,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let woken = waker.descriptor().as_raw_fd();
        poll.registry().register(&mut SourceFd(&woken), WAKER, Interest::READABLE)?;
        for listener in &listeners {
            socket::set_nonblocking(listener)?;
        }
        let listener = |socket| Listener {
            socket: Some(socket),
            accepts: false,
            is_ready: false,
            turn_left: 0,
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENT_COUNT),
            sockets: Sockets::default(),
            unattached: Vec::new(),
            connecting: HashSet::new(),
            socket_count: 0,
            sockets_max: settings.sockets_max,
            listeners: listeners.into_iter().map(listener).collect(),
            queue: Vec::new(),
            turn: 0..0,
            pending: Pending::default(),
            buffer: Region::new(settings.receive_len.min(RECEIVE_LEN_MAX)),
            arena: Arena::new(settings.arena_len),
            arena_done: 0,
            _waker: waker,
        })
    }
}

impl Driver for Epoll {
    const FLUSH: Flush = Flush::EachCompletion;

    #[inline(always)] // where the reactor knows the operation, nothing is left of the choice
    fn submit(&mut self, op: Op, token: Token) {
        match op {
            Op::Send { payload, acknowledge } => self.send(token, payload, acknowledge),
            Op::Attach(socket) => self.attach(token, socket),
            Op::Connect(route) => self.connect(token, &route),
            Op::Adopt(socket) => self.adopt(token, socket),
            Op::Pause => self.pause(token),
            Op::Resume => self.resume(token),
            Op::Ask => self.ask(token),
            Op::ReceiveInto { lease, len } => self.receive_into(token, lease, len),
            Op::Receive => self.receive(token),
            Op::Shutdown => self.shut_down(token),
            Op::Close => self.close(token, false),
            Op::Abort => self.close(token, true),
        }
    }

    fn accept(&mut self, listener: usize) {
        let Listener { socket: Some(socket), accepts: accepts @ false, .. } =
            &mut self.listeners[listener]
        else {
            return;
        };
        // epoll reports what is queued already, and so the next `wait` brings it.
        let source = socket.as_raw_fd();
        match self.poll.registry().register(
            &mut SourceFd(&source),
            listener_mark(listener),
            Interest::READABLE,
        ) {
            Ok(()) => *accepts = true,
            Err(error) => self.pending.push(Completion::AcceptFailed { listener, error }),
        }
    }

    fn close_listener(&mut self, listener: usize) {
        self.pause_accepting(listener);
        self.listeners[listener].socket = None;
    }

    fn discard(&mut self, socket: Socket) {
        if self.take_unattached(socket).is_some() {
            self.socket_count -= 1;
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.arena.clear();
        self.arena_done = 0;
        let timeout = if self.is_anything_left() { Some(Duration::ZERO) } else { timeout };
        let timeout = self.wait_precisely(timeout)?;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.queue.drain(..self.turn.start);
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        events.iter().for_each(|event| self.note(event));
        self.events = events;
        self.turn = 0..self.queue.len();
        self.pending.begin_turn();
        self.listeners.iter_mut().for_each(|listener| listener.turn_left = ACCEPTS_PER_TURN);
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Option<(Completion<'_>, &mut Arena)> {
        if let Some((token, len)) = self.read() {
            let bytes = self.buffer.slice_mut(0..len);
            return Some((Completion::Received { token, bytes }, &mut self.arena));
        }
        let completion = self.next_unread()?;
        Some((completion, &mut self.arena))
    }

    #[inline]
    fn arena(&mut self) -> &mut Arena {
        &mut self.arena
    }
}

/// Submitting.
impl Epoll {
    #[inline(never)]
    fn attach(&mut self, token: Token, socket: Socket) {
        let Some(socket) = self.take_unattached(socket) else {
            debug_assert!(false, "{socket:?} is attached twice");
            return;
        };
        let source = socket.as_raw_fd();
        let registered =
            self.poll.registry().register(&mut SourceFd(&source), pack(token), Interest::READABLE);
        self.sockets.occupy(token.index, socket);
        if let Err(error) = registered {
            self.fail(token, error);
        }
    }

    #[inline(never)]
    fn connect(&mut self, token: Token, route: &Route) {
        match self.check_room().and_then(|()| fitting(socket::open(route)?)) {
            Ok(socket) => {
                let begun = socket::connect(&socket, &route.target);
                self.settle_in(token, socket, begun);
            }
            Err(error) => self.fail_without_socket(token, error),
        }
    }

    #[inline(never)]
    fn adopt(&mut self, token: Token, socket: OwnedFd) {
        match self.check_room().and_then(|()| fitting(socket)) {
            Ok(socket) => self.settle_in(token, socket, Ok(true)),
            Err(error) => self.fail_without_socket(token, error),
        }
    }

    fn fail_without_socket(&mut self, token: Token, error: Errno) {
        self.connecting.insert(token);
        self.pending.push(Completion::Failed { token, error: error.into() });
    }

    /// Gives a socket its place, whether it is there (`true`) or on its way.
    fn settle_in(&mut self, token: Token, socket: OwnedFd, begun: Result<bool, Errno>) {
        let interest = match begun {
            Ok(false) => Interest::READABLE | Interest::WRITABLE,
            _ => Interest::READABLE,
        };
        let source = socket.as_raw_fd();
        let registered =
            self.poll.registry().register(&mut SourceFd(&source), pack(token), interest);
        self.sockets.occupy(token.index, socket);
        self.socket_count += 1;
        match (begun, registered) {
            (Ok(true), Ok(())) => self.pending.push(Completion::Connected { token }),
            (Ok(false), Ok(())) => {
                self.connecting.insert(token);
                if let Some(place) = self.sockets.get_mut(token.index) {
                    place.set(Place::BLOCKED | Place::WATCHED_FOR_OUTPUT);
                }
            }
            (Err(error), _) => self.fail(token, error.into()),
            (_, Err(error)) => self.fail(token, error),
        }
    }

    fn check_room(&self) -> Result<(), Errno> {
        if self.socket_count < self.sockets_max { Ok(()) } else { Err(Errno::NFILE) }
    }

    fn pause(&mut self, token: Token) {
        if let Some(place) = self.sockets.get_mut(token.index) {
            place.set(Place::PAUSED);
        }
    }

    fn resume(&mut self, token: Token) {
        let Some(place) = self.sockets.get_mut(token.index) else { return };
        place.clear(Place::PAUSED);
        if place.has(Place::READABLE) {
            enqueue(&mut self.queue, place, token);
        }
    }

    #[inline(never)]
    fn receive_into(&mut self, token: Token, mut lease: Lease, len: usize) {
        let place = self.sockets.get_mut(token.index);
        let received = match place.as_ref().and_then(|place| place.socket()) {
            Some(socket) => socket::receive_into(socket, &mut lease, len),
            None => Err(Errno::BADF),
        };
        match (received, place) {
            (Ok(1..), Some(place)) => note_read(&mut self.queue, place, token, received == Ok(len)),
            (received, _) => self.end_reading(token, received.err()),
        }
        self.pending.push_now(Completion::Filled { token, lease });
    }

    fn ask(&mut self, token: Token) {
        if let Some(place) = self.sockets.get_mut(token.index) {
            place.set(Place::ASKING);
        }
    }

    fn receive(&mut self, token: Token) {
        let Some(place) = self.sockets.get_mut(token.index) else { return };
        place.clear(Place::ASKING);
        if place.has(Place::READABLE) {
            enqueue(&mut self.queue, place, token);
        }
    }

    #[inline(always)]
    fn send(&mut self, token: Token, payload: Payload, acknowledge: bool) {
        match payload {
            // The common case: an answer, which leaves in silence.
            Payload::Corked(range) if !acknowledge => {
                let len = range.len();
                let result = send_from(&mut self.sockets, token, self.arena.slice(range.clone()));
                if result != Ok(len) {
                    self.settle(token, Payload::Corked(range), result);
                }
                self.finish_corked(len);
            }
            Payload::Common(range) if !acknowledge => {
                let len = range.len();
                let result = send_from(&mut self.sockets, token, self.arena.slice(range.clone()));
                if result != Ok(len) {
                    self.settle(token, Payload::Common(range), result);
                }
            }
            payload => self.send_else(token, payload, acknowledge),
        }
    }

    #[inline(never)]
    fn send_else(&mut self, token: Token, payload: Payload, acknowledge: bool) {
        let bytes = payload.bytes(&self.arena);
        let result = send_from(&mut self.sockets, token, bytes);
        let corked_len = if let Payload::Corked(range) = &payload { range.len() } else { 0 };
        if acknowledge || result != Ok(bytes.len()) {
            self.settle(token, payload, result);
        }
        self.finish_corked(corked_len);
    }

    /// Says what became of a send that was not just silently sent whole.
    #[cold]
    fn settle(&mut self, token: Token, payload: Payload, result: Result<usize, Errno>) {
        let len = payload.bytes(&self.arena).len();
        match result {
            Ok(sent_len) if sent_len == len => {
                let lease = payload.into_lease();
                self.pending.push(Completion::Sent { token, lease });
            }
            Ok(sent_len) => {
                let rest = payload.rest(sent_len, &self.arena);
                self.pending.push_unsent(token, rest);
                self.watch_for_output(token);
            }
            Err(error) => {
                debug_assert!(!self.is_blocked(token), "{token:?} sends before `Writable`");
                // The buffer, if there is one, goes back before the connection is lost.
                if let Payload::Owned { .. } = payload {
                    self.pending.push_unsent(token, payload);
                }
                self.fail(token, error.into());
            }
        }
    }

    /// Counts corked bytes whose fate is known. When all are, the arena starts over, so that what is
    /// corked next lands in the same lines of the cache.
    #[inline]
    fn finish_corked(&mut self, len: usize) {
        self.arena_done += len;
        if self.arena_done == self.arena.filled() {
            self.arena.clear();
            self.arena_done = 0;
        }
    }

    /// Sees to it that `Writable` follows.
    fn watch_for_output(&mut self, token: Token) {
        let Some(place) = self.sockets.get_mut(token.index) else { return };
        let is_watched = place.has(Place::WATCHED_FOR_OUTPUT);
        place.set(Place::BLOCKED | Place::WATCHED_FOR_OUTPUT);
        let Some(source) = place.socket().map(|socket| socket.as_raw_fd()) else { return };
        if is_watched {
            return;
        }
        let watched = self.poll.registry().reregister(
            &mut SourceFd(&source),
            pack(token),
            Interest::READABLE | Interest::WRITABLE,
        );
        if let Err(error) = watched {
            self.fail(token, error);
        }
    }

    fn shut_down(&mut self, token: Token) {
        let Some(place) = self.sockets.get_mut(token.index) else { return };
        // It fails only if the connection is gone, which reading finds out as well.
        let _ = place.socket().map(socket::shut_down_output);
    }

    #[inline(never)]
    fn close(&mut self, token: Token, reset: bool) {
        let never_connected = self.connecting.remove(&token);
        let place = self.sockets.get_mut(token.index);
        let Some((place, socket)) = place.and_then(|place| place.vacate().map(|s| (place, s)))
        else {
            if never_connected {
                self.pending.push(Completion::Closed { token });
            }
            return;
        };
        if !place.has(Place::QUEUED) {
            self.pending.push(Completion::Closed { token });
        } // else the queue says it, when it comes to it
        // It may be missing from the set if there was no memory to put it in.
        let _ = self.poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()));
        if reset {
            let _ = socket::reset_on_close(&socket);
        }
        self.socket_count -= 1;
    }

    fn take_unattached(&mut self, socket: Socket) -> Option<OwnedFd> {
        // The reactor attaches what it is given at once: it is the last one, or nearly.
        let is_it = |fd: &OwnedFd| fd.as_raw_fd().cast_unsigned() == socket.0;
        let position = self.unattached.iter().rposition(is_it)?;
        Some(self.unattached.swap_remove(position))
    }

    fn is_blocked(&mut self, token: Token) -> bool {
        self.sockets.get_mut(token.index).is_some_and(|place| place.has(Place::BLOCKED))
    }

    /// Says once that the connection is lost.
    fn fail(&mut self, token: Token, error: io::Error) {
        let Some(place) = self.sockets.get_mut(token.index) else { return };
        if place.socket().is_some() && !place.has(Place::FAILED) {
            place.set(Place::FAILED);
            self.pending.push(Completion::Failed { token, error });
        }
    }
}

/// Waiting.
impl Epoll {
    fn is_anything_left(&self) -> bool {
        !self.pending.is_empty()
            || self.turn.start < self.queue.len()
            || self.listeners.iter().any(|listener| listener.is_ready)
    }

    /// epoll counts milliseconds: a wait of a fraction of one is left to `ppoll(2)`, which counts
    /// nanoseconds, on epoll's own descriptor. Says how long there is to wait then.
    fn wait_precisely(&mut self, timeout: Option<Duration>) -> io::Result<Option<Duration>> {
        match timeout {
            Some(exactly) if exactly.subsec_nanos() % 1_000_000 != 0 => {
                // SAFETY: epoll's descriptor is open for as long as `self.poll` lives.
                let set = unsafe { BorrowedFd::borrow_raw(self.poll.as_raw_fd()) };
                let mut set = [PollFd::new(&set, PollFlags::IN)];
                match poll(&mut set, Some(&exactly.try_into().unwrap_or(Timespec::default()))) {
                    Ok(_) | Err(Errno::INTR) => Ok(Some(Duration::ZERO)),
                    Err(error) => Err(error.into()),
                }
            }
            coarse => Ok(coarse),
        }
    }

    /// Keeps in mind what an event says.
    #[inline]
    fn note(&mut self, event: &Event) {
        let mark = event.token();
        if mark.0 >= LISTENERS.0 {
            self.note_listener(mark);
            return;
        }
        let token = unpack(mark);
        let Some(place) = self.sockets.get_mut(token.index) else { return };
        if !place.is_plain() {
            self.note_special(event, token);
            return;
        }
        note_input(event, place);
        if place.has(Place::READABLE) {
            enqueue(&mut self.queue, place, token);
        }
    }

    /// An event of a socket that is not just read.
    #[cold]
    fn note_special(&mut self, event: &Event, token: Token) {
        let Some(place) = self.sockets.get_mut(token.index) else { return };
        if place.socket().is_none() {
            return; // nobody's
        }
        note_input(event, place);
        if self.connecting.contains(&token) {
            return self.note_connecting(event, token);
        }
        if event.is_error() && place.has(Place::PAUSED | Place::FINISHED) {
            // Reading would find the error behind the last bytes, but is not to be: ask for it.
            if let Some(error) = place.socket().and_then(socket::take_error) {
                self.fail(token, error);
            }
            return;
        }
        if event.is_writable() && !event.is_error() && place.has(Place::BLOCKED) {
            place.clear(Place::BLOCKED);
            self.pending.push(Completion::Writable { token });
        }
        if place.has(Place::READABLE) && place.is_heard() {
            enqueue(&mut self.queue, place, token);
        }
    }

    /// An event of a socket on its way to its target.
    fn note_connecting(&mut self, event: &Event, token: Token) {
        let Some(place) = self.sockets.get_mut(token.index) else { return };
        if !event.is_writable() && !event.is_error() {
            return;
        }
        self.connecting.remove(&token);
        place.clear(Place::BLOCKED);
        match place.socket().and_then(socket::take_error) {
            Some(error) => self.fail(token, error),
            None => {
                self.pending.push(Completion::Connected { token });
                if place.has(Place::READABLE) {
                    enqueue(&mut self.queue, place, token);
                }
            }
        }
    }

    fn note_listener(&mut self, mark: mio::Token) {
        // The waker's mark is beyond all listeners: it has done its work by ending the wait.
        if let Some(listener) = self.listeners.get_mut(mark.0 - LISTENERS.0) {
            listener.is_ready = true;
        }
    }
}

/// Taking what finished.
impl Epoll {
    /// Reads from the next socket that has bytes, unless something else is to be told first.
    #[inline]
    fn read(&mut self) -> Option<(Token, usize)> {
        while !self.pending.is_due() {
            let token = self.queue[self.turn.next()?];
            let place = self.sockets.get_mut(token.index)?;
            place.clear(Place::QUEUED);
            let Some(socket) = place.readable() else {
                self.pass_over(token);
                continue;
            };
            let bytes = self.buffer.slice_mut(0..self.buffer.len());
            match socket::receive(socket, bytes) {
                Ok(len) if len > 0 => {
                    note_read(&mut self.queue, place, token, len == bytes.len());
                    return Some((token, len));
                }
                result => self.end_reading(token, result.err()),
            }
        }
        None
    }

    /// Lets a socket have its turn that is not to be read (any more), or not unasked.
    #[cold]
    fn pass_over(&mut self, token: Token) {
        let Some(place) = self.sockets.get_mut(token.index) else { return };
        if place.socket().is_none() {
            self.pending.push(Completion::Closed { token }); // see `close`
        } else if place.is_heard() {
            self.pending.push_now(Completion::Readable { token });
        }
    }

    /// Reading brought no bytes.
    #[cold]
    fn end_reading(&mut self, token: Token, error: Option<Errno>) {
        let Some(place) = self.sockets.get_mut(token.index) else { return };
        place.clear(Place::READABLE);
        match error {
            Some(Errno::AGAIN) => {}
            Some(error) => self.fail(token, error.into()),
            None => {
                place.set(Place::FINISHED);
                self.pending.push(Completion::Finished { token });
            }
        }
    }

    /// The next completion that does not come with bytes.
    #[cold]
    fn next_unread(&mut self) -> Option<Completion<'static>> {
        self.next_pending().or_else(|| self.next_accepted())
    }

    /// The next one that waits to be told. Of a socket that was closed since, only buffers come back.
    fn next_pending(&mut self) -> Option<Completion<'static>> {
        loop {
            let finished = self.pending.pop()?;
            let (Completion::Finished { token }
            | Completion::Writable { token }
            | Completion::Connected { token }
            | Completion::Failed { token, .. }) = finished
            else {
                return Some(finished);
            };
            if self.connecting.contains(&token)
                || self.sockets.get_mut(token.index).is_some_and(|place| place.socket().is_some())
            {
                return Some(finished);
            }
        }
    }

    /// Accepts from the next listener that has something and is not through with its turn.
    fn next_accepted(&mut self) -> Option<Completion<'static>> {
        let is_due = |listener: &Listener| listener.is_ready && listener.turn_left > 0;
        while let Some(listener) = self.listeners.iter().position(is_due) {
            self.listeners[listener].turn_left -= 1;
            match self.accept_one(listener) {
                Ok((socket, peer)) => {
                    return Some(Completion::Accepted { listener, socket, peer });
                }
                Err(Errno::AGAIN) => self.listeners[listener].is_ready = false,
                Err(error) if socket::is_of_the_connection(error) => {}
                Err(error) => {
                    self.pause_accepting(listener);
                    return Some(Completion::AcceptFailed { listener, error: error.into() });
                }
            }
        }
        None
    }

    /// Takes a listener out of epoll's set: who keeps a copy of it will not disturb us.
    fn pause_accepting(&mut self, listener: usize) {
        let listener = &mut self.listeners[listener];
        if let Some(socket) = &listener.socket
            && mem::take(&mut listener.accepts)
        {
            listener.is_ready = false;
            // It is in the set, and leaving needs no memory.
            let _ = self.poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()));
        }
    }

    fn accept_one(&mut self, listener: usize) -> Result<(Socket, Option<SocketAddr>), Errno> {
        if self.socket_count >= self.sockets_max {
            return Err(Errno::NFILE);
        }
        let listener = self.listeners[listener].socket.as_ref().ok_or(Errno::BADF)?;
        let (socket, peer) = socket::accept(listener)?;
        let descriptor = socket.as_raw_fd().cast_unsigned();
        if descriptor > Sockets::DESCRIPTOR_MAX {
            return Err(Errno::MFILE);
        }
        self.unattached.push(socket);
        self.socket_count += 1;
        Ok((Socket(descriptor), peer))
    }
}

/// `socket`, if a place has room for its number.
fn fitting(socket: OwnedFd) -> Result<OwnedFd, Errno> {
    match socket.as_raw_fd().cast_unsigned() <= Sockets::DESCRIPTOR_MAX {
        true => Ok(socket),
        false => Err(Errno::MFILE),
    }
}

/// How many events one `wait` takes from the kernel; the others come with the next.
const EVENT_COUNT: usize = 1024;

/// Marks above those of all tokens (see [`pack`]).
const LISTENERS: mio::Token = mio::Token(1 << 60);
const WAKER: mio::Token = mio::Token(usize::MAX);

fn listener_mark(listener: usize) -> mio::Token {
    mio::Token(LISTENERS.0 + listener)
}

/// A token as epoll keeps it: the generation above the index, below [`LISTENERS`].
fn pack(token: Token) -> mio::Token {
    mio::Token((token.generation as usize) << Key::INDEX_BITS | token.index as usize)
}

#[inline]
fn unpack(mark: mio::Token) -> Token {
    let index = (mark.0 & (Key::INDEX_COUNT_MAX - 1)) as u32;
    Token { index, generation: (mark.0 >> Key::INDEX_BITS) as u32 }
}

const _: () = assert!(Key::INDEX_BITS + Key::GENERATION_BITS <= 60 && usize::BITS == 64);

/// Keeps what an event says about the input of the socket in `place`.
#[inline]
fn note_input(event: &Event, place: &mut Place) {
    if event.is_read_closed() || event.is_error() {
        place.set(Place::READABLE | Place::HANGING_UP);
    } else if event.is_readable() {
        place.set(Place::READABLE);
    }
}

/// Sends to the socket of `token` what it takes of `bytes`.
#[inline(always)]
fn send_from(sockets: &mut Sockets, token: Token, bytes: &[u8]) -> Result<usize, Errno> {
    match sockets.get_mut(token.index).and_then(|place| place.sendable()) {
        Some(socket) => socket::send(socket, bytes),
        None => Err(Errno::BADF),
    }
}

/// Keeps what a read says that brought bytes: as many as there was room for, or fewer.
#[inline]
fn note_read(queue: &mut Vec<Token>, place: &mut Place, token: Token, is_full: bool) {
    if is_full || place.has(Place::HANGING_UP) {
        enqueue(queue, place, token);
    } else {
        place.clear(Place::READABLE);
    }
}

/// Puts `token`, whose place is `place`, at the end of the queue, unless it is there.
#[inline]
fn enqueue(queue: &mut Vec<Token>, place: &mut Place, token: Token) {
    if !place.has(Place::QUEUED) {
        place.set(Place::QUEUED);
        queue.push(token);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        sync::mpsc,
        thread,
        time::Instant,
    };

    use rustix::process::{Resource, getrlimit};

    use super::{
        super::{
            contract::{Event, contract_tests},
            descriptor_table,
        },
        *,
    };
    use crate::pool::Lease;

    contract_tests!(Epoll::new);

    /// On a thread with a descriptor table of its own, so that no other test runs dry.
    #[test]
    fn running_out_of_descriptors_ends_accepting_until_asked_again() {
        if getrlimit(Resource::Nofile).current.is_none_or(|limit| limit > 1 << 20) {
            eprintln!("skipped: too many descriptors to use up");
            return;
        }
        let (say_address, address) = mpsc::channel();
        let server = thread::spawn(move || {
            descriptor_table::unshare(&[], 0..0).unwrap();
            let (mut epoll, address) = listening(&Settings::default());
            let mut spare = Vec::new();
            while let Ok(copy) = epoll.listeners[0].socket.as_ref().unwrap().try_clone() {
                spare.push(copy);
            }
            epoll.accept(0);
            say_address.send(address).unwrap();
            let Event::AcceptFailed(_, error) = soon(&mut epoll) else { panic!() };
            assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
            epoll.wait(Some(Duration::from_millis(50))).unwrap();
            assert!(epoll.next().is_none(), "and stays silent until asked");
            spare.pop();
            epoll.accept(0);
            let Event::Accepted { peer, .. } = soon(&mut epoll) else { panic!() };
            peer
        });
        let peer = TcpStream::connect(address.recv().unwrap()).unwrap();
        assert_eq!(server.join().unwrap(), Some(peer.local_addr().unwrap()));
    }

    #[test]
    fn holds_no_more_sockets_than_it_may() {
        let settings = Settings { sockets_max: 2, ..Settings::default() };
        let (mut epoll, address) = listening(&settings);
        epoll.accept(0);
        let _peers: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let sockets = [accepted(&mut epoll), accepted(&mut epoll)];
        for again in [false, true] {
            let Event::AcceptFailed(_, error) = soon(&mut epoll) else { panic!() };
            assert_eq!(error.raw_os_error(), Some(Errno::NFILE.raw_os_error()));
            if again {
                epoll.discard(sockets[0]);
            }
            epoll.accept(0);
        }
        accepted(&mut epoll);
    }

    /// One read a socket and turn, and no second read of a socket that a short one emptied.
    #[test]
    fn a_turn_reads_each_socket_once() {
        let settings = Settings { receive_len: 4096, ..Settings::default() };
        let (mut epoll, address) = listening(&settings);
        epoll.accept(0);
        let mut peer = TcpStream::connect(address).unwrap();
        let socket = accepted(&mut epoll);
        let token = Token { index: 0, generation: 7 };
        epoll.submit(Op::Attach(socket), token);
        peer.write_all(&[1; 10_000]).unwrap();
        for expected in [4096, 4096, 1808] {
            epoll.wait(Some(Duration::from_secs(10))).unwrap();
            let Some((Completion::Received { bytes, .. }, _)) = epoll.next() else { panic!() };
            assert_eq!(bytes.len(), expected);
            assert!(epoll.next().is_none());
        }
        assert_eq!(epoll.turn.start, epoll.queue.len(), "the last read was short: it is dry");
        peer.write_all(b"more").unwrap();
        drop(peer);
        assert!(matches!(soon(&mut epoll), Event::Received(..)));
        assert!(matches!(soon(&mut epoll), Event::Finished(..)));
    }

    #[test]
    fn the_arena_starts_over_as_soon_as_all_of_it_was_sent() {
        let (mut epoll, address) = listening(&Settings::default());
        epoll.accept(0);
        let mut peer = TcpStream::connect(address).unwrap();
        let socket = accepted(&mut epoll);
        let token = Token { index: 0, generation: 0 };
        epoll.submit(Op::Attach(socket), token);
        let cork = |epoll: &mut Epoll, bytes: &[u8]| {
            let start = epoll.arena().filled();
            epoll.arena().take(bytes.len()).unwrap().copy_from_slice(bytes);
            Payload::Corked(start..epoll.arena().filled())
        };
        let first = cork(&mut epoll, b"first ");
        let second = cork(&mut epoll, b"second");
        epoll.submit(Op::Send { payload: first, acknowledge: false }, token);
        assert_eq!(epoll.arena().filled(), 12, "the second is still to be sent");
        epoll.submit(Op::Send { payload: second, acknowledge: false }, token);
        assert_eq!(epoll.arena().filled(), 0);
        let mut received = [0; 12];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"first second");
        cork(&mut epoll, b"said by nobody");
        epoll.wait(Some(Duration::ZERO)).unwrap();
        assert_eq!(epoll.arena().filled(), 0);
    }

    /// A send that can only fail gives its buffer back first.
    #[test]
    fn no_buffer_is_lost_with_its_connection() {
        let (mut epoll, address) = listening(&Settings::default());
        epoll.accept(0);
        let peer = TcpStream::connect(address).unwrap();
        let socket = accepted(&mut epoll);
        let token = Token { index: 0, generation: 0 };
        epoll.submit(Op::Attach(socket), token);
        socket::reset_on_close(&peer).unwrap();
        drop(peer);
        let lease = Lease::detached(vec![1, 2, 3]);
        let payload = Payload::Owned { lease, from: 1 };
        epoll.submit(Op::Send { payload, acknowledge: true }, token);
        let Event::Unsent(_, Payload::Owned { lease, from }) = soon(&mut epoll) else { panic!() };
        assert_eq!((lease.bytes(), from), ([1, 2, 3].as_slice(), 1));
        assert!(matches!(soon(&mut epoll), Event::Failed(..)));
        epoll.submit(Op::Close, token);
        assert!(matches!(soon(&mut epoll), Event::Closed(..)));
    }

    #[test]
    fn marks_hold_tokens() {
        let last = Token {
            index: Key::INDEX_COUNT_MAX as u32 - 1,
            generation: (1 << Key::GENERATION_BITS) - 1,
        };
        for token in [last, Token { index: 0, generation: 0 }, Token { index: 5, generation: 9 }] {
            assert_eq!(unpack(pack(token)), token);
            assert!(pack(token) < LISTENERS && listener_mark(1000) < WAKER);
        }
    }

    fn listening(settings: &Settings) -> (Epoll, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let waker = Waker::new().unwrap();
        (Epoll::new(settings, vec![listener.into()], waker).unwrap(), address)
    }

    fn accepted(epoll: &mut Epoll) -> Socket {
        let Event::Accepted { socket, .. } = soon(epoll) else { panic!("nobody came") };
        socket
    }

    /// The next completion, which is about to come.
    fn soon(epoll: &mut Epoll) -> Event {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some((completion, _)) = epoll.next() {
                return Event::from(completion);
            }
            assert!(Instant::now() < deadline, "nothing happens");
            epoll.wait(Some(Duration::from_millis(100))).unwrap();
        }
    }
}
