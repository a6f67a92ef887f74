//! Talking to the kernel: operations in, completions out.
//!
//! A [`Driver`] knows sockets, buffers and completions; it knows no frames. The seam is shaped like
//! io_uring, because completions are easy to imitate over readiness and hard the other way round:
//!
//! ```text
//!             submit(Op)                     wait(timeout)
//!   reactor ─────────────▶ driver ─────────────────────────▶ kernel
//!      ▲                     │
//!      └──── next() ─────────┘   one completion at a time, its bytes lent until the following call
//! ```
//!
//! # The contract
//!
//! * **A socket's life.** `Accepted` hands the reactor a [`Socket`]; the reactor finds it a place in
//!   its table and says [`Op::Attach`] with that place's [`Token`]; from then on the token names the
//!   socket. [`Op::Close`] ends it, and [`Completion::Closed`] is the last completion for that token:
//!   only then may the reactor reuse the place. A socket that is never attached is dropped with
//!   [`Driver::discard`].
//! * **Connecting.** [`Op::Connect`] names a socket by the token from its beginning, and
//!   [`Op::Adopt`] from when it is handed over. `Connected` says
//!   that it is there, and from then on it receives, as after `Attach`; or `Failed` says that it will
//!   not be. Until one of them has come, the reactor submits nothing for the token but `Close` or
//!   `Abort`, which end the attempt.
//! * **Receiving** begins with `Attach` or `Connected` and goes on until [`Op::Pause`]; [`Op::Resume`] lets it go
//!   on. After `Pause` was submitted no `Received` arrives for the token until `Resume` is, though
//!   `Failed` may. `Finished` and `Failed` end receiving, each at most once.
//! * **Receiving by request**, straight to where the bytes are needed: after [`Op::Ask`] the driver says
//!   `Readable` where it would have received. The reactor answers before the next `wait`, with
//!   [`Op::ReceiveInto`], whose buffer comes back in `Filled` before anything else is received, or with
//!   [`Op::Receive`], which ends the requests. After `Pause` was submitted no `Readable` arrives until
//!   `Resume` is, though `Filled` may. What was on its way when `Ask` was submitted arrives as ever.
//! * **Sending.** At most one `Send` per token is submitted in a flush, and none while the fate of an
//!   acknowledged one is unknown. One whose bytes all left is silent, unless it asked for an
//!   acknowledgement, as one with an owned buffer always does; one that the socket would not take
//!   whole comes back as [`Completion::Unsent`] with what is left, and `Writable` follows when the
//!   socket takes more. Between those two the reactor sends nothing for that token. What is unsent is
//!   known before it can be sent to again: when `next` says `None`, the fate of all that was submitted
//!   before `wait` is told; where the reactor flushes after each completion, `Unsent` comes before all
//!   others, and no flush happens between several of them. A stretch of the arena is sent once, to one
//!   token, unless it is sent as common to many.
//! * **Buffers come back.** A driver returns each owned buffer: in `Filled`, in `Sent`, or in `Unsent` even
//!   if the send failed or the socket is closing, before `Closed` at the latest.
//! * **Order.** Completions for one token arrive in the order in which things happened to its socket.
//!   Between tokens there is no order.
//! * **Memory.** Corked bytes live in the driver's [`Arena`] and stay valid until the driver has seen
//!   the fate of the send; whatever the kernel may still read or write belongs to the driver until
//!   the completion arrives, whatever became of the connection.
//! * **Fairness.** One `Received` lends at most [`RECEIVE_LEN_MAX`] bytes, and a socket with more to
//!   say waits until the others have had their turn. So does a crowd of connections, of which a turn
//!   accepts at most [`ACCEPTS_PER_TURN`].

#[cfg(test)]
mod contract;
pub(crate) mod descriptor_table;
mod epoll;
mod payload;
mod probe;
mod route;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, unused_imports))] // the fuzzer plays only one of its parts
pub(crate) mod sim;
pub(crate) mod socket;
mod uring;

pub use self::probe::DriverKind;
pub(crate) use self::{
    epoll::Epoll,
    probe::{Choice, choose},
    route::{Route, Target},
    socket::prepare,
    uring::Uring,
};

use std::{fmt, io, net::SocketAddr, ops::Range, os::fd::OwnedFd, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::pool::{Arena, Key, Lease};

/// Names an attached socket: its place in the reactor's table, and which tenant of that place.
pub(crate) type Token = Key;

/// The most connections that one listener brings in a turn: a crowd at the door does not keep the
/// sockets inside waiting.
pub(crate) const ACCEPTS_PER_TURN: usize = 64;

/// The most bytes one [`Completion::Received`] lends.
pub(crate) const RECEIVE_LEN_MAX: usize = 64 * 1024;

/// The most bytes one [`Op::ReceiveInto`] asks for: few enough to be in the cache still when they are
/// looked at.
pub(crate) const RECEIVE_INTO_LEN_MAX: usize = 256 * 1024;

/// What a driver is made with; each has a use for most of it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Bytes of output that one turn corks. Default: 256 KiB (io_uring has two such arenas).
    pub(crate) arena_len: usize,
    /// Bytes of one receive buffer, at most [`RECEIVE_LEN_MAX`]. Small messages touch its first page
    /// only; long ones cost fewer system calls. Default: 64 KiB.
    pub(crate) receive_len: usize,
    /// Receive buffers in io_uring's ring, a power of two. The last one given back is the first that is
    /// used again, so that few of them are touched. Default: 128.
    pub(crate) receive_count: u16,
    /// Sockets that the driver may hold at once, further bounded by `RLIMIT_NOFILE`.
    pub(crate) sockets_max: usize,
    /// Whether to ask for peers' addresses where they cost extra (io_uring: one more request for
    /// each connection). Default: true.
    pub(crate) peer_addresses: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            arena_len: 256 * 1024,
            receive_len: 64 * 1024,
            receive_count: 128,
            sockets_max: Key::INDEX_COUNT_MAX,
            peer_addresses: true,
        }
    }
}

/// A back-end: one of it a reactor, made and used on the reactor's thread.
pub(crate) trait Driver {
    /// When the reactor should flush: output of a driver that makes a system call for each
    /// operation is best sent while it is hot in the cache, output of one that batches is not.
    const FLUSH: Flush;

    /// Queues `op`. The kernel may hear of it at once, and hears of it in the next `wait` at the
    /// latest. Never fails: what goes wrong comes back as a completion.
    fn submit(&mut self, op: Op, token: Token);

    /// Begins, or goes on, to accept connections from listener number `listener` (an index into the
    /// listeners that the driver was made with). Goes on until `AcceptFailed` or `close_listener`.
    fn accept(&mut self, listener: usize);

    /// Accepts no more from listener number `listener` and closes its descriptor, soon after the next
    /// `wait` at the latest; an `Accepted` that is already on its way may still arrive. Once the last
    /// descriptor of the socket is closed, the kernel resets connections that it has queued and refuses
    /// others, or hands them to another socket that listens on the address. Until then nothing changes
    /// for those who hold copies: other reactors, and other processes.
    fn close_listener(&mut self, listener: usize);

    /// Closes a socket that was accepted and never attached.
    fn discard(&mut self, socket: Socket);

    /// Passes on what is queued and waits at most `timeout` (`None`: for ever) for something to
    /// finish, or for [`Waker::wake`]. A timeout is kept to within a tenth of a millisecond, unless it is
    /// in whole milliseconds: those may cost less, and may take one more. Returns at once while completions are left to be taken.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// The next thing that finished, and the arena to answer into. Received bytes are lent until the
    /// following call of any method.
    fn next(&mut self) -> Option<(Completion<'_>, &mut Arena)>;

    /// Where output of the current turn is corked, outside of a completion.
    fn arena(&mut self) -> &mut Arena;
}

/// When a reactor flushes what its connections have to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// After every completion (epoll).
    EachCompletion,
    /// Once a turn, all connections in one submission (io_uring).
    EachTurn,
}

/// A connected socket that the driver owns: a descriptor, a direct slot, or a simulated one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Socket(pub(crate) u32);

/// What a reactor asks of an attached socket.
#[derive(Debug)]
pub(crate) enum Op {
    /// Gives `socket` the submission's token and begins to receive.
    Attach(Socket),
    /// Makes a connection, and gives it the submission's token. Costs a few system calls, none of
    /// which waits, and a descriptor: for good with epoll, for a turn with io_uring.
    Connect(Arc<Route>),
    /// Takes in a connected, non-blocking stream socket that somebody else made, and gives it the
    /// submission's token. Costs a descriptor for good with epoll, for a turn with io_uring.
    Adopt(OwnedFd),
    /// Stops receiving until `Resume`: the peer is made to wait.
    Pause,
    /// Goes on receiving.
    Resume,
    /// Receives by request from now on: says `Readable` first. Says nothing new of one that does.
    Ask,
    /// Answers `Readable`: receives at most `len` bytes to the end of `lease`, which has room for them.
    /// [`RECEIVE_INTO_LEN_MAX`] at most.
    ReceiveInto { lease: Lease, len: usize },
    /// Answers `Readable`: receives unasked again from now on.
    Receive,
    /// Sends `payload`. With `acknowledge`, a send that left whole answers `Sent`.
    Send { payload: Payload, acknowledge: bool },
    /// Says that no more output follows: the peer sees the end of the stream (FIN), and we go on
    /// receiving.
    Shutdown,
    /// Ends the socket. `Closed` follows when the kernel has let go of it, and nothing else but
    /// perhaps `Failed` does.
    Close,
    /// Ends the socket with a reset (RST), what is queued in the kernel is thrown away.
    Abort,
}

/// Bytes to send, and who keeps them meanwhile.
#[derive(Debug)]
pub(crate) enum Payload {
    /// A stretch of the driver's arena.
    Corked(Range<usize>),
    /// A stretch of the driver's arena that is sent to other tokens as well.
    Common(Range<usize>),
    /// A buffer that the driver owns until it gives it back; `from` bytes of it have been sent.
    Owned { lease: Lease, from: usize },
    /// A frame shared by many connections.
    Shared(Bytes),
}

/// What finished.
#[derive(Debug)]
pub(crate) enum Completion<'a> {
    /// Listener `listener` accepted `socket`. Some drivers know the peer's address at no cost.
    Accepted { listener: usize, socket: Socket, peer: Option<SocketAddr> },
    /// Accepting ended until it is asked for again; `EMFILE`, `ENFILE`, `ENOMEM` and `ENOBUFS` are worth another try later.
    AcceptFailed { listener: usize, error: io::Error },
    /// The connection that was asked for, or handed over, is there and receives.
    Connected { token: Token },
    /// Bytes from the peer, lent, in the order of the stream. Never empty.
    Received { token: Token, bytes: &'a mut [u8] },
    /// There is something to receive, or the peer is gone, for a socket that receives by request.
    Readable { token: Token },
    /// The buffer of an `Op::ReceiveInto` comes back, with what there was to receive; perhaps nothing.
    Filled { token: Token, lease: Lease },
    /// The peer will send no more (FIN).
    Finished { token: Token },
    /// An acknowledged send left whole; an owned buffer comes back.
    Sent { token: Token, lease: Option<Lease> },
    /// The socket took only a part of a send (perhaps none): the rest, owned or shared. `Writable`
    /// follows when it takes more.
    Unsent { token: Token, rest: Payload },
    /// The socket takes output again.
    Writable { token: Token },
    /// The connection is lost, or cannot be made: reset, timed out, unreachable, refused. The reactor answers with `Close`.
    Failed { token: Token, error: io::Error },
    /// The socket is gone, and the token with it.
    Closed { token: Token },
}

/// Ends a `wait` from any thread.
///
/// Costs a system call, 0.6 µs and the wake-up of a core: the mailbox calls it only when the reactor
/// sleeps.
#[derive(Clone)]
pub(crate) struct Waker(Arc<OwnedFd>);

impl Waker {
    /// A new waker. Made before the reactor's thread starts, so that it exists in every descriptor
    /// table.
    pub(crate) fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Makes the current or the next `wait` return.
    pub(crate) fn wake(&self) {
        // A full counter (EAGAIN) means that the reactor has not yet seen the last wake-up.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// The descriptor that a driver watches (readable once woken).
    pub(crate) fn descriptor(&self) -> &Arc<OwnedFd> {
        &self.0
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}
