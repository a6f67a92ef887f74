//! The io_uring driver.
//!
//! ```text
//!   submit(Op) ──▶ submission ──▶ ┌──────┐            ┌────────┐
//!                   │             │ ring │ ── enter ─▶│ kernel │──▶ direct slots (sockets)
//!      next() ◀── completion ◀─── └──────┘            └────────┘──▶ buffer ring (what arrived)
//!                   │
//!                sockets: four bytes each      batches: what is being sent
//! ```
//!
//! One ring a reactor, entered once a turn: that call passes on what the turn has queued and fetches
//! what finished. The shape of things:
//!
//! * **Sockets** are direct slots: no descriptor numbers, a limit for each ring instead of one for
//!   the process, and a request finds its socket without a look-up in a shared table.
//! * **A silent socket** waits on a one-shot poll, 256 bytes to the kernel (a waiting receive costs
//!   864). When it fires, a receive and the next poll go out together; the kernel picks a buffer when
//!   there is something to put into it.
//! * **A talkative socket** has a receive that goes on: one request for all its messages instead of two
//!   for each. There are at most 4096 of them, and who falls silent makes room.
//! * **Sends never wait.** When the kernel has taken one, it is over: all of it left, or a completion
//!   says how much. A turn ends when every such completion is known, even if that takes another call:
//!   sent on in ignorance, a stream would lack the bytes that a short send left. So nothing in the kernel refers to the bytes once `enter` has returned, and one
//!   arena can be filled while the other's completions are looked through.
//! * **Connecting** takes two steps: a socket gets its options and its source as a plain descriptor, is
//!   moved into a slot, and connects from there.
//! * **Closing** takes three steps, since what waits for a socket holds it: a shutdown ends the waiting,
//!   a completion says so, then the slot is given up.
//!
//! It does without what has a history of trouble: buffers mapped from the kernel, incremental buffers,
//! bundles, linked requests, zero-copy sends, mass cancellation.

mod buffer_ring;
mod completion;
mod connecting;
mod lookups;
mod multishot;
mod requests;
mod ring;
mod sockets;
mod submission;
mod talkative;
#[cfg(test)]
mod tests;
mod user_data;

use std::{
    collections::VecDeque,
    fmt, io, mem,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use io_uring::opcode;
use rustix::{
    io::Errno,
    net::{AddressFamily, getsockname},
    process::{Resource, getrlimit},
};

use self::{
    buffer_ring::BufferRing,
    connecting::Attempts,
    lookups::{Lookups, Newcomer},
    requests::Requests,
    ring::Ring,
    sockets::{SLOT_COUNT_MAX, Sockets},
    submission::Submission,
    talkative::{Talkative, WORDS_NEEDED},
    user_data::{Kind, UserData},
};
use super::{
    ACCEPTS_PER_TURN, Completion, Driver, Flush, Op, Payload, RECEIVE_LEN_MAX, Settings, Socket,
    Token, Waker,
};
use crate::pool::Arena;

/// The driver: see the module.
pub(crate) struct Uring {
    ring: Ring,
    slot_count: u32,
    sockets: Sockets,
    /// For one receive at a time.
    buffers: BufferRing,
    /// For receives that go on.
    multishot_buffers: BufferRing,
    requests: Requests,
    talkative: Talkative,
    /// The buffer that the last `Received` lent.
    lent: Option<Lent>,
    /// What it lent if there was no buffer any more.
    lent_copy: Vec<u8>,
    /// Sockets with something to receive, waiting for a buffer.
    starved: VecDeque<Token>,
    /// What arrived for paused sockets while the pause was on its way. A copy: a buffer kept for a
    /// socket at rest would be one less for all the others.
    held: Vec<(Token, Vec<u8>)>,
    /// Whose held bytes are to be heard now.
    resumed: VecDeque<Token>,
    /// What comes of something else than the next completion in the queue.
    ready: VecDeque<Completion<'static>>,
    /// What this turn wants to send.
    filling: Batch,
    /// What the kernel was told to send, and has not yet told us all about.
    flying: Batch,
    listeners: Vec<Listener>,
    /// Accepted, and not told yet.
    newcomers: VecDeque<Newcomer>,
    /// How many more of them have their turn before the next `wait`.
    accepts_left: usize,
    lookups: Lookups,
    attempts: Attempts,
    waker: Waker,
    /// Why the ring is of no more use: the next `wait` says so.
    failure: Option<Errno>,
    counters: Counters,
}

/// What an operator may want to know of a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// System calls.
    pub(crate) enters: u64,
    /// Requests that the kernel took.
    pub(crate) submissions: u64,
    /// Times that a socket had something to receive and all buffers were taken.
    pub(crate) starved: u64,
    /// Sockets that got a receive that goes on.
    pub(crate) promoted: u64,
    /// Such receives that were cancelled: to make room, for a pause, or for saying too much at once.
    pub(crate) demoted: u64,
    /// Times that completions found no room in their queue and had to wait in the kernel.
    pub(crate) cq_overflows: u64,
    /// Completions that nobody waited for. Other than zero is a bug, here or in the kernel.
    pub(crate) stale: u64,
}

impl Uring {
    /// A ring of its own for the calling thread, which is the only one that may use it.
    ///
    /// # Errors
    ///
    /// `EPERM` or `ENOSYS` where io_uring is not to be had, `Unsupported` where it is too old, and
    /// what else the kernel has to say to the settings.
    pub(crate) fn new(
        settings: &Settings,
        listeners: Vec<OwnedFd>,
        waker: Waker,
    ) -> io::Result<Self> {
        let ring = Ring::new(&ring::FLAVOURS, SUBMISSION_COUNT, COMPLETION_COUNT)?;
        Self::on(ring, settings, listeners, waker)
    }

    /// As `new`, on a ring of the caller's making.
    fn on(
        ring: Ring,
        settings: &Settings,
        listeners: Vec<OwnedFd>,
        waker: Waker,
    ) -> io::Result<Self> {
        if let Some(opcode) = ring.missing(&OPCODES)? {
            let problem = format!("io_uring does not know operation {opcode}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
        }
        let slot_count = slot_count(settings.sockets_max);
        ring.submitter().register_files_sparse(slot_count)?;
        let receive_len = settings.receive_len.clamp(1, RECEIVE_LEN_MAX);
        let receive_count = settings.receive_count;
        let buffers = BufferRing::new(BufferRing::ONE_SHOT, receive_count, receive_len)?;
        buffers.register(ring.submitter())?;
        let mut multishot_buffers = BufferRing::new(
            BufferRing::MULTISHOT,
            receive_count.min(multishot::BUFFER_COUNT_MAX),
            receive_len.min(multishot::BUFFER_LEN_MAX),
        )?;
        multishot_buffers.register(ring.submitter())?;
        multishot_buffers.lend_all();
        let mut driver = Self {
            ring,
            slot_count,
            sockets: Sockets::default(),
            buffers,
            multishot_buffers,
            requests: Requests::default(),
            talkative: Talkative::new(WORDS_NEEDED),
            lent: None,
            lent_copy: Vec::new(),
            starved: VecDeque::new(),
            held: Vec::new(),
            resumed: VecDeque::new(),
            ready: VecDeque::new(),
            filling: Batch::new(Kind::SendEven, settings.arena_len),
            flying: Batch::new(Kind::SendOdd, settings.arena_len),
            listeners: Vec::new(),
            newcomers: VecDeque::new(),
            accepts_left: 0,
            lookups: Lookups::default(),
            attempts: Attempts::default(),
            waker,
            failure: None,
            counters: Counters::default(),
        };
        for descriptor in listeners {
            let address_len = address_len(&descriptor).filter(|_| settings.peer_addresses);
            driver.listeners.push(Listener {
                descriptor: Some(descriptor),
                is_wanted: false,
                is_armed: false,
                is_leaving: false,
                address_len,
            });
        }
        driver.watch_waker();
        Ok(driver)
    }

    /// What was counted so far.
    pub(crate) fn counters(&self) -> Counters {
        let (enters, submissions, cq_overflows) = self.ring.counts();
        Counters { enters, submissions, cq_overflows, ..self.counters }
    }

    /// Arms the accepting of a listener that wants it and is not armed.
    fn arm_listener(&mut self, index: usize) {
        let listener = &mut self.listeners[index];
        if let Some(descriptor) = &listener.descriptor
            && listener.is_wanted
            && !listener.is_armed
        {
            listener.is_armed = true;
            let user_data = UserData::of_index(Kind::Accept, index);
            self.ring.push(Submission::accept(descriptor.as_fd(), user_data));
        }
    }

    /// Asks for the address of an accepted socket's peer.
    fn look_up_peer(&mut self, newcomer: Newcomer, len: u32) {
        let (index, address) = self.lookups.begin(newcomer);
        let user_data = UserData::of_index(Kind::PeerName, index);
        // SAFETY: the place is there for the longest address, belongs to this look-up until `end`,
        // and the regions it is in are never freed before the ring.
        let submission = unsafe { Submission::peer_name(newcomer.slot, address, len, user_data) };
        self.ring.push(submission);
    }

    /// Watches the waker. Edge-triggered, so what was written need not be read: one system call less
    /// for each time that we are woken.
    fn watch_waker(&mut self) {
        let user_data = UserData::of_index(Kind::Wake, 0);
        self.ring.push(Submission::watch(self.waker.descriptor().as_fd(), user_data));
    }

    /// Fetches completions that are still to come of this turn, if there are any. A turn is over when
    /// there are none: the fate of every send is known then, and silence means that it left whole.
    #[inline]
    fn fetch(&mut self) -> bool {
        self.ring.fetch().unwrap_or_else(|error| {
            self.failure = Some(Errno::from_io_error(&error).unwrap_or(Errno::IO));
            false
        })
    }

    /// Clears the batch whose fate is known, to be filled next. As long as the reactor has not taken
    /// every completion, or the kernel not every submission, the current one is filled further.
    fn turn_over(&mut self) {
        if self.ring.is_settled() {
            mem::swap(&mut self.filling, &mut self.flying);
            self.filling.clear();
        }
    }
}

impl Driver for Uring {
    const FLUSH: Flush = Flush::EachTurn;

    #[inline]
    fn submit(&mut self, op: Op, token: Token) {
        self.submit_op(op, token);
    }

    fn accept(&mut self, listener: usize) {
        self.listeners[listener].is_wanted = true;
        self.arm_listener(listener);
    }

    fn close_listener(&mut self, listener: usize) {
        self.listeners[listener].is_wanted = false;
        self.listeners[listener].is_leaving = true;
        if self.listeners[listener].is_armed {
            let accept = UserData::of_index(Kind::Accept, listener);
            self.ring.push(Submission::cancel(accept));
        }
        self.listeners[listener].close_when_idle();
    }

    fn discard(&mut self, socket: Socket) {
        self.ring.push(Submission::close(socket.0, UserData::of_index(Kind::Quiet, 0)));
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if let Some(errno) = self.failure {
            return Err(errno.into());
        }
        self.end_loan();
        self.feed_the_starved();
        self.turn_over();
        self.accepts_left = ACCEPTS_PER_TURN;
        if !self.has_ready() && !self.ring.has_completions() {
            let may_sleep = timeout != Some(Duration::ZERO) && self.newcomers.is_empty();
            let want = u32::from(may_sleep);
            return self.ring.enter(want, timeout);
        }
        if self.ring.has_submissions() { self.ring.enter(0, None) } else { Ok(()) }
    }

    #[inline]
    fn next(&mut self) -> Option<(Completion<'_>, &mut Arena)> {
        self.end_loan();
        loop {
            if self.has_ready() {
                if let Some(token) = self.next_resumed() {
                    let bytes = &mut self.lent_copy;
                    return Some((Completion::Received { token, bytes }, &mut self.filling.arena));
                }
                if let Some(completion) = self.ready.pop_front() {
                    return Some((completion, &mut self.filling.arena));
                }
            }
            let Some(completion) = self.ring.take() else {
                if self.fetch() {
                    continue;
                }
                let newcomer = self.next_newcomer()?;
                return Some((newcomer, &mut self.filling.arena));
            };
            if let Some((token, lent, len)) = self.take_bytes(&completion) {
                self.lent = Some(lent);
                let bytes = match lent {
                    Lent::OneShot(buffer) => self.buffers.bytes(buffer, len),
                    Lent::Multishot(buffer) => self.multishot_buffers.bytes(buffer, len),
                };
                return Some((Completion::Received { token, bytes }, &mut self.filling.arena));
            }
            if let Some(completion) = self.handle(&completion) {
                return Some((completion, &mut self.filling.arena));
            }
        }
    }

    #[inline]
    fn arena(&mut self) -> &mut Arena {
        &mut self.filling.arena
    }
}

impl Drop for Uring {
    /// Lets go of the listeners and the waker before it returns. What waits for sockets that are still
    /// there ends soon after, with the ring; like every request that can be left by now, it refers to
    /// no memory of ours: one-shot receives (whoever's the memory), sends and look-ups are over when the kernel has taken
    /// them, multishot receives find no buffers any more, and what the kernel has not taken goes with the
    /// queue.
    fn drop(&mut self) {
        (0..self.listeners.len()).for_each(|listener| self.close_listener(listener));
        self.ring.push(Submission::cancel(UserData::of_index(Kind::Wake, 0)));
        let mut is_watching = true;
        for _ in 0..DROP_ROUNDS {
            if !is_watching && self.listeners.iter().all(|listener| !listener.is_armed) {
                break;
            }
            if self.ring.enter(1, Some(DROP_PAUSE)).is_err() {
                break;
            }
            while let Some(completion) = self.ring.take() {
                let user_data = UserData::from_bits(completion.user_data());
                let is_over = !io_uring::cqueue::more(completion.flags());
                match user_data.kind() {
                    Some(Kind::Wake) if is_over => is_watching = false,
                    Some(Kind::Accept) if is_over => {
                        self.listeners[user_data.index()].is_armed = false;
                    }
                    _ => {}
                }
            }
        }
        let _ = self.multishot_buffers.unregister(self.ring.submitter());
        let _ = self.buffers.unregister(self.ring.submitter());
    }
}

impl fmt::Debug for Uring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uring").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

/// Output of one turn, on its way.
#[derive(Debug)]
struct Batch {
    /// Tells the two batches apart.
    kind: Kind,
    arena: Arena,
    /// In the order of submission; a send's completion names its place here. Those that left in
    /// silence stay until the batch is cleared.
    flights: Vec<Option<Flight>>,
}

/// A send that the kernel was told of, or is about to be.
#[derive(Debug)]
struct Flight {
    token: Token,
    payload: Payload,
}

impl Batch {
    fn new(kind: Kind, arena_len: usize) -> Self {
        Self { kind, arena: Arena::new(arena_len), flights: Vec::new() }
    }

    /// Forgets what was sent, and by and by the room that it took if it was a broadcast's: two batches
    /// of a million flights are 96 MB.
    fn clear(&mut self) {
        let (len, capacity) = (self.flights.len(), self.flights.capacity());
        self.arena.clear();
        self.flights.clear();
        if capacity > FLIGHT_COUNT_KEPT && len < capacity / 4 {
            self.flights.shrink_to(capacity / 2);
        }
    }
}

/// A buffer whose bytes are lent, of one ring or the other.
#[derive(Clone, Copy, Debug)]
enum Lent {
    OneShot(u16),
    Multishot(u16),
}

#[derive(Debug)]
struct Listener {
    /// Until it is closed.
    descriptor: Option<OwnedFd>,
    /// The reactor wants connections.
    is_wanted: bool,
    /// A multishot accept is in the kernel, or on its way there.
    is_armed: bool,
    /// It is to be closed.
    is_leaving: bool,
    /// The length of an address of this family, if peers' addresses are wanted.
    address_len: Option<u32>,
}

impl Listener {
    /// Closes a listener that is to be closed, once no request names its descriptor any more: the
    /// number might mean something else by the time that the kernel reads it.
    fn close_when_idle(&mut self) {
        if self.is_leaving && !self.is_armed {
            self.descriptor = None;
        }
    }
}

/// A batch of more is passed on in several calls.
const SUBMISSION_COUNT: u32 = 1024;
/// Room for four completions for each submission, so that even a burst finds its place.
const COMPLETION_COUNT: u32 = 4 * SUBMISSION_COUNT;

/// Room that a batch never gives back: 96 KiB, of two batches a reactor, of which there can be many.
const FLIGHT_COUNT_KEPT: usize = 2 * 1024;

/// Up to a second for listeners to be let go.
const DROP_ROUNDS: u32 = 100;
const DROP_PAUSE: Duration = Duration::from_millis(10);

/// What we cannot do without. (Peers' addresses we can.)
const OPCODES: [u8; 9] = [
    opcode::AcceptMulti::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Close::CODE,
    opcode::Connect::CODE,
    opcode::FilesUpdate::CODE,
    opcode::PollAdd::CODE,
    opcode::Recv::CODE,
    opcode::Send::CODE,
    opcode::Shutdown::CODE,
];

/// How many slots to ask for: the kernel refuses more than the soft limit of descriptors.
fn slot_count(sockets_max: usize) -> u32 {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let wanted = u32::try_from(sockets_max).unwrap_or(u32::MAX).min(SLOT_COUNT_MAX);
    wanted.min(u32::try_from(limit).unwrap_or(u32::MAX))
}

/// The length of a peer's address, which has to be asked for exactly.
fn address_len(listener: &OwnedFd) -> Option<u32> {
    match getsockname(listener).ok()?.address_family() {
        AddressFamily::INET => Some(16),
        AddressFamily::INET6 => Some(28),
        _ => None,
    }
}
