//! A driver over a pretend network, in virtual time, with everything decided by a seed.
//!
//! What goes wrong on a real network once a month goes wrong here as often as [`Faults`] say: pieces
//! of a byte each, sends that are refused, resets, descriptors that run out. Hours pass in a moment,
//! since [`Driver::wait`] does not wait: it moves the clock to the next thing that happens, or by its
//! timeout. The same seed makes the same story, so a failure can be told again; a panic prints it.
//!
//! A test holds both ends. The reactor gets the [`Sim`], the test keeps the [`Network`]:
//!
//! ```ignore
//! let mut sim = Sim::<true>::new(seed, Faults::ROUGH, &Settings::default(), Waker::new()?);
//! let network = sim.network();
//! sim.accept(0);
//!
//! let peer = network.connect(0);
//! peer.send(b"GET / HTTP/1.1\r\n");
//! while peer.received().is_empty() {
//!     turn(&mut sim); // wait, next, submit: as with every other driver
//! }
//! peer.stop_reading(true); // a slow consumer
//! network.alarm(Duration::from_secs(60)); // end a `wait` then, at the latest
//! peer.reset();
//! assert_eq!(network.now(), Duration::from_secs(60));
//! ```
//!
//! `Sim<true>` has the reactor flush each turn, `Sim<false>` after each completion: a reactor is tested
//! with both. Where nothing is on its way and no timeout set, `wait` returns and time stands still.
//!
//! # What it checks
//!
//! It is as strict as the contract, and panics with the seed when a reactor breaks it: a token that
//! was never attached or is closed, a place attached twice, anything behind `Close`, output behind
//! `Shutdown`, a second send in a turn (each turn) or before the fate of the first is known (each
//! completion), a send between `Unsent` and `Writable`, a stretch of the arena that is not there or
//! was sent already. Bytes of the arena are overwritten as soon as they may be.

mod dice;
mod network;

use std::{
    cell::{RefCell, RefMut},
    collections::BTreeMap,
    io,
    ops::Range,
    rc::Rc,
    thread,
    time::Duration,
};

use rustix::io::Errno;

use self::network::{ArrivedEnd, Asking, Id, Life, Outcome, World, address};
pub(crate) use self::{
    dice::Dice,
    network::{End, Network, Peer},
};
use super::{
    Completion, Driver, Flush, Op, Payload, RECEIVE_INTO_LEN_MAX, RECEIVE_LEN_MAX, Settings,
    Socket, Token, Waker,
};
use crate::pool::{Arena, Lease};

/// What may go wrong, and how likely. Probabilities are between 0.0 and 1.0.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// The longest that anything is on its way: a connection, some bytes, an end, news of room.
    pub(crate) delay_max: Duration,
    /// Of bytes to be split on their way, or received in part.
    pub(crate) short_receive: f64,
    /// Of a send to be refused in part or whole though there is room.
    pub(crate) short_send: f64,
    /// Of the network to give up the connection, for each piece that is sent either way.
    pub(crate) reset: f64,
    /// Of `AcceptFailed` in the place of `Accepted`.
    pub(crate) accept_failure: f64,
    /// Of a turn to end before all was taken, and of `wait` to return for nothing.
    pub(crate) interruption: f64,
    /// Bytes that a new connection holds between the engine's `Send` and its peer's reading.
    pub(crate) window: usize,
}

impl Faults {
    /// A network as one would like it: immediate, wide and reliable.
    pub(crate) const NONE: Self = Self {
        delay_max: Duration::ZERO,
        short_receive: 0.0,
        short_send: 0.0,
        reset: 0.0,
        accept_failure: 0.0,
        interruption: 0.0,
        window: 1 << 20,
    };

    /// A bad day that connections survive.
    pub(crate) const ROUGH: Self = Self {
        delay_max: Duration::from_millis(50),
        short_receive: 0.3,
        short_send: 0.2,
        reset: 0.0,
        accept_failure: 0.05,
        interruption: 0.05,
        window: 16 * 1024,
    };

    /// A worse one, that not all of them survive.
    pub(crate) const HOSTILE: Self = Self { reset: 0.002, ..Self::ROUGH };
}

/// The simulated driver. `EACH_TURN` chooses [`Driver::FLUSH`].
pub(crate) struct Sim<const EACH_TURN: bool> {
    seed: u64,
    world: Rc<RefCell<World>>,
    waker: Waker,
    receive_len: usize,
    sockets_max: usize,
    /// By index: who lives there.
    tenants: Vec<Option<Tenant>>,
    turn: u64,
    /// What waits for the next `wait`, as a batch does.
    batch: Vec<Request>,
    buffer: Vec<u8>,
    arena: Arena,
    /// Stretches of the arena that were sent: start and end.
    stretches: BTreeMap<usize, usize>,
    stretches_len: usize,
}

#[derive(Clone, Copy)]
struct Tenant {
    generation: u32,
    id: Id,
    sent_in_turn: u64,
}

enum Request {
    Send(Id, Payload, bool),
    ReceiveInto(Id, Lease, usize),
    ShutDown(Id),
    Close(Id),
    Abort(Id),
    CloseListener(usize),
}

impl<const EACH_TURN: bool> Sim<EACH_TURN> {
    /// A driver with as many listeners as are asked for, on a network of its own.
    pub(crate) fn new(seed: u64, faults: Faults, settings: &Settings, waker: Waker) -> Self {
        Self {
            seed,
            world: Rc::new(RefCell::new(World::new(seed, faults))),
            waker,
            receive_len: settings.receive_len.min(RECEIVE_LEN_MAX),
            sockets_max: settings.sockets_max,
            tenants: Vec::new(),
            turn: 1,
            batch: Vec::new(),
            buffer: Vec::new(),
            arena: Arena::new(settings.arena_len),
            stretches: BTreeMap::new(),
            stretches_len: 0,
        }
    }

    /// The network it is on.
    pub(crate) fn network(&self) -> Network {
        Network::new(self.world.clone())
    }
}

impl<const EACH_TURN: bool> Driver for Sim<EACH_TURN> {
    const FLUSH: Flush = if EACH_TURN { Flush::EachTurn } else { Flush::EachCompletion };

    fn submit(&mut self, op: Op, token: Token) {
        match op {
            Op::Attach(socket) => return self.attach(token, socket),
            Op::Connect(_) => return self.connect(token),
            Op::Adopt(_) => unreachable!("a pretend network has no real sockets"),
            _ => {}
        }
        let id = self.tenant(token).id;
        let life = self.world().connections[id].life;
        self.law(life == Life::Attached, format_args!("{op:?} for {token:?}, which is closing"));
        match op {
            Op::Attach(_) | Op::Connect(_) | Op::Adopt(_) => unreachable!("handled above"),
            Op::Pause => self.world().connections[id].paused = true,
            Op::Resume => {
                let mut world = self.world();
                world.connections[id].paused = false;
                world.make_ready(id);
            }
            Op::Ask => {
                let asking = &mut self.world().connections[id].asking;
                if *asking == Asking::No {
                    *asking = Asking::Yes;
                }
            }
            Op::ReceiveInto { lease, len } => {
                self.answer(id, token, Asking::Filling);
                let is_lawful = (1..=RECEIVE_INTO_LEN_MAX).contains(&len);
                self.law(is_lawful, format_args!("{token:?} receives {len} bytes"));
                self.request(Request::ReceiveInto(id, lease, len));
            }
            Op::Receive => {
                self.answer(id, token, Asking::No);
                self.world().make_ready(id);
            }
            Op::Send { payload, acknowledge } => {
                self.check_send(token, id, &payload);
                self.request(Request::Send(id, payload, acknowledge));
            }
            Op::Shutdown => self.request(Request::ShutDown(id)),
            Op::Close => {
                self.world().connections[id].life = Life::Closing;
                self.request(Request::Close(id));
            }
            Op::Abort => {
                self.world().connections[id].life = Life::Closing;
                self.request(Request::Abort(id));
            }
        }
    }

    fn accept(&mut self, listener: usize) {
        self.world().listener(listener).accepts = true;
    }

    fn close_listener(&mut self, listener: usize) {
        self.request(Request::CloseListener(listener));
    }

    fn discard(&mut self, socket: Socket) {
        let id = self.accepted(socket);
        self.world().engine_discards(id);
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.turn += 1;
        for request in std::mem::take(&mut self.batch) {
            self.carry_out(request);
        }
        self.clear_arena();
        let is_woken = self.is_woken();
        let mut world = self.world();
        world.catch_up();
        let interruption = world.faults.interruption;
        if !world.is_anyone_ready() && !is_woken && !world.dice.chance(interruption) {
            world.advance(timeout);
        }
        Ok(())
    }

    fn next(&mut self) -> Option<(Completion<'_>, &mut Arena)> {
        let completion = match self.pick()? {
            News::Of(token, Told::Received) => {
                Completion::Received { token, bytes: &mut self.buffer }
            }
            News::Of(token, Told::Readable) => Completion::Readable { token },
            News::Of(token, Told::Finished) => Completion::Finished { token },
            News::Of(token, Told::Failed(error)) => {
                Completion::Failed { token, error: error.into() }
            }
            News::Of(token, Told::Outcome(outcome)) => match outcome {
                Outcome::Sent(lease) => Completion::Sent { token, lease },
                Outcome::Filled(lease) => Completion::Filled { token, lease },
                Outcome::Unsent(rest) => Completion::Unsent { token, rest },
                Outcome::Writable => Completion::Writable { token },
                Outcome::Closed => Completion::Closed { token },
                Outcome::Connected => Completion::Connected { token },
            },
            News::Accepted(listener, id, knows_peer) => Completion::Accepted {
                listener,
                socket: Socket(id as u32),
                peer: knows_peer.then(|| address(id)),
            },
            News::AcceptFailed(listener, error) => {
                Completion::AcceptFailed { listener, error: error.into() }
            }
        };
        Some((completion, &mut self.arena))
    }

    fn arena(&mut self) -> &mut Arena {
        &mut self.arena
    }
}

/// Says which story it was.
impl<const EACH_TURN: bool> Drop for Sim<EACH_TURN> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("simulated with Sim::<{EACH_TURN}>, seed {}", self.seed);
        }
    }
}

/// Submitting, and the laws of it.
impl<const EACH_TURN: bool> Sim<EACH_TURN> {
    fn attach(&mut self, token: Token, socket: Socket) {
        let id = self.accepted(socket);
        self.settle(token, id);
        let mut world = self.world();
        world.connections[id].life = Life::Attached;
        world.connections[id].token = Some(token);
        world.make_ready(id);
    }

    fn connect(&mut self, token: Token) {
        let id = self.world().engine_connects(token);
        self.settle(token, id);
    }

    /// Gives a connection its place.
    fn settle(&mut self, token: Token, id: Id) {
        let index = token.index as usize;
        if self.tenants.len() <= index {
            self.tenants.resize(index + 1, None);
        }
        self.law(
            self.tenants[index].is_none(),
            format_args!("the place of {token:?} is taken by a connection that is not closed"),
        );
        self.tenants[index] = Some(Tenant { generation: token.generation, id, sent_in_turn: 0 });
    }

    /// `Readable` is answered.
    fn answer(&mut self, id: Id, token: Token, by: Asking) {
        let before = std::mem::replace(&mut self.world().connections[id].asking, by);
        self.law(before == Asking::Told, format_args!("{token:?} answers what was not asked"));
    }

    fn check_send(&mut self, token: Token, id: Id, payload: &Payload) {
        let turn = self.turn;
        let tenant = self.tenant(token);
        let sent_in_turn = std::mem::replace(&mut tenant.sent_in_turn, turn);
        self.law(
            !EACH_TURN || sent_in_turn != turn,
            format_args!("{token:?} sends twice in a turn"),
        );
        let (is_free, is_open) = {
            let connection = &self.world().connections[id];
            let is_unsent = |o: &Outcome| {
                matches!(o, Outcome::Unsent(_) | Outcome::Writable | Outcome::Connected)
            };
            let is_free = !connection.blocked && !connection.outcomes.iter().any(is_unsent);
            (is_free, !connection.shut_down && !connection.failed)
        };
        self.law(is_free, format_args!("{token:?} sends before the refused rest is `Writable`"));
        self.law(is_open, format_args!("{token:?} sends behind `Shutdown` or `Failed`"));
        match payload {
            Payload::Corked(range) => self.check_stretch(range),
            Payload::Common(range) => self.check_range(range),
            Payload::Owned { .. } | Payload::Shared(_) => {}
        }
    }

    /// A stretch of the arena is there.
    fn check_range(&self, range: &Range<usize>) {
        let is_there = range.start <= range.end && range.end <= self.arena.filled();
        self.law(is_there, format_args!("{range:?} of {} corked bytes", self.arena.filled()));
    }

    /// A stretch of the arena is there, and is sent once.
    fn check_stretch(&mut self, range: &Range<usize>) {
        self.check_range(range);
        let before = self.stretches.range(..range.end).next_back();
        let is_fresh = before.is_none_or(|(_, &end)| end <= range.start);
        self.law(is_fresh, format_args!("{range:?} of the arena was sent already"));
        if !range.is_empty() {
            self.stretches.insert(range.start, range.end);
            self.stretches_len += range.len();
        }
    }

    fn request(&mut self, request: Request) {
        if EACH_TURN {
            self.batch.push(request);
        } else {
            self.carry_out(request);
            if self.stretches_len > 0 && self.stretches_len == self.arena.filled() {
                self.clear_arena();
            }
        }
    }

    fn carry_out(&mut self, request: Request) {
        let mut world = self.world.borrow_mut();
        match request {
            Request::Send(id, payload, acknowledge) => {
                world.engine_sends(id, payload, acknowledge, &self.arena);
            }
            Request::ReceiveInto(id, lease, len) => world.engine_receives(id, lease, len),
            Request::ShutDown(id) => world.engine_shuts_down(id),
            Request::Close(id) => world.engine_closes(id, false),
            Request::Abort(id) => world.engine_closes(id, true),
            Request::CloseListener(listener) => world.close_listener(listener),
        }
    }

    /// Overwrites what was corked, so that whoever still reads it stands out.
    fn clear_arena(&mut self) {
        let filled = self.arena.filled();
        self.arena.clear();
        self.arena.take(filled).expect("as much as was there").fill(0xDD);
        self.arena.clear();
        self.stretches.clear();
        self.stretches_len = 0;
    }

    fn tenant(&mut self, token: Token) -> &mut Tenant {
        let seed = self.seed;
        let tenant = self.tenants.get_mut(token.index as usize).and_then(Option::as_mut);
        match tenant {
            Some(tenant) if tenant.generation == token.generation => tenant,
            _ => panic!("seed {seed}: {token:?} was never attached, or is closed"),
        }
    }

    fn accepted(&self, socket: Socket) -> Id {
        let id = socket.0 as usize;
        let life = self.world().connections.get(id).map(|connection| connection.life);
        self.law(
            life == Some(Life::Accepted),
            format_args!("{socket:?} is attached or discarded and not just accepted: {life:?}"),
        );
        id
    }

    fn law(&self, holds: bool, what: std::fmt::Arguments<'_>) {
        assert!(holds, "seed {}: {what}", self.seed);
    }

    fn world(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }

    fn is_woken(&self) -> bool {
        rustix::io::read(&**self.waker.descriptor(), &mut [0; 8]).is_ok()
    }
}

/// What `next` is about to say.
enum News {
    Of(Token, Told),
    Accepted(usize, Id, bool),
    AcceptFailed(usize, Errno),
}

enum Told {
    /// The buffer holds the bytes.
    Received,
    Readable,
    Finished,
    Failed(Errno),
    Outcome(Outcome),
}

/// Choosing what to tell next.
impl<const EACH_TURN: bool> Sim<EACH_TURN> {
    fn pick(&mut self) -> Option<News> {
        let world = self.world.clone();
        let mut world = world.borrow_mut();
        loop {
            let urgent = world.last_urgent();
            let interruption = world.faults.interruption;
            if urgent.is_none() && world.dice.chance(interruption) {
                return None; // the rest waits for the next turn
            }
            let is_first = !EACH_TURN && urgent.is_some();
            if !is_first && let Some(news) = self.pick_listener(&mut world) {
                return Some(news);
            }
            let id = if is_first { urgent } else { world.pick_ready() };
            let id = id?;
            if let Some(told) = self.ask(&mut world, id) {
                let token = world.connections[id].token.expect("an attached connection");
                if let Told::Outcome(Outcome::Closed) = told {
                    world.connections[id].life = Life::Gone;
                    self.tenants[token.index as usize] = None;
                }
                return Some(News::Of(token, told));
            }
        }
    }

    fn pick_listener(&self, world: &mut World) -> Option<News> {
        let is_due = |listener: usize, world: &World| {
            world.listeners[listener].accepts && !world.listeners[listener].queue.is_empty()
        };
        let listener = (0..world.listeners.len()).find(|&listener| is_due(listener, world))?;
        if world.has_ready_connections() && world.dice.chance(0.5) {
            return None;
        }
        let error = if world.socket_count >= self.sockets_max {
            Some(Errno::NFILE)
        } else if world.dice.chance(world.faults.accept_failure) {
            Some(world.dice.pick(&[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS]))
        } else {
            None
        };
        if let Some(error) = error {
            world.listeners[listener].accepts = false;
            return Some(News::AcceptFailed(listener, error));
        }
        let id = world.listeners[listener].queue.pop_front()?;
        world.connections[id].life = Life::Accepted;
        world.socket_count += 1;
        let knows_peer = world.dice.chance(0.5);
        Some(News::Accepted(listener, id, knows_peer))
    }

    /// What connection `id` has to tell, if anything. It is made ready again if there may be more.
    fn ask(&mut self, world: &mut World, id: Id) -> Option<Told> {
        let coin = world.dice.chance(0.5);
        let is_short = world.dice.chance(world.faults.short_receive);
        let connection = &mut world.connections[id];
        connection.is_urgent &= !connection.outcomes.is_empty();
        let may_receive = connection.life == Life::Attached
            && !connection.paused
            && !connection.connecting
            && !connection.finished
            && !connection.failed
            && !matches!(connection.asking, Asking::Told | Asking::Filling)
            && !connection.unreceived.is_empty();
        // What was sent and what was received have no order between them.
        let told = if may_receive && (connection.outcomes.is_empty() || EACH_TURN && coin) {
            if connection.asking == Asking::Yes {
                connection.asking = Asking::Told;
                world.make_ready(id);
                return Some(Told::Readable);
            }
            let mut len = connection.unreceived.len().min(self.receive_len);
            if is_short {
                len = 1 + world.dice.below(len);
            }
            self.buffer.clear();
            self.buffer.extend(world.connections[id].unreceived.drain(..len));
            Told::Received
        } else if let Some(outcome) = connection.outcomes.pop_front() {
            connection.is_urgent &= !matches!(outcome, Outcome::Sent(_) | Outcome::Unsent(_));
            let is_over = connection.life != Life::Attached || connection.failed;
            connection.connecting &= !matches!(outcome, Outcome::Connected);
            if let Outcome::Filled(_) = outcome {
                connection.asking = Asking::Yes;
            }
            if is_over && matches!(outcome, Outcome::Writable | Outcome::Connected) {
                world.make_ready(id);
                return None;
            }
            Told::Outcome(outcome)
        } else if connection.life != Life::Attached
            || connection.failed
            || matches!(connection.asking, Asking::Told | Asking::Filling)
        {
            return None;
        } else {
            match connection.arrived_end? {
                // Whether a paused socket notices is a matter of luck.
                ArrivedEnd::Failed(error) if !connection.paused || coin => {
                    connection.failed = true;
                    connection.unreceived.clear();
                    Told::Failed(error)
                }
                ArrivedEnd::Finished if !connection.paused && !connection.finished => {
                    connection.finished = true;
                    Told::Finished
                }
                _ => return None,
            }
        };
        world.make_ready(id);
        Some(told)
    }
}

#[cfg(test)]
mod tests;
