//! The pretend network: connections, the bytes on their way, and what time it is.

mod engine;

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fmt,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use rustix::io::Errno;

use super::{
    super::{Payload, Token},
    Faults,
    dice::Dice,
};
use crate::pool::Lease;

/// The network as a test sees it: the place to connect from, and the clock. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Network {
    world: Rc<RefCell<World>>,
}

/// The far end of one connection. Clones are the same one; dropping it changes nothing.
#[derive(Clone)]
pub(crate) struct Peer {
    world: Rc<RefCell<World>>,
    id: Id,
}

/// How a connection ended, as the peer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All bytes, and then the end of the stream (FIN). The engine may still receive.
    Finished,
    /// A reset (RST), by either end or the network. Bytes that the peer had not read are lost.
    Reset,
}

impl Network {
    pub(super) fn new(world: Rc<RefCell<World>>) -> Self {
        Self { world }
    }

    /// The virtual time, since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.world.borrow().now
    }

    /// Connects to listener number `listener`.
    pub(crate) fn connect(&self, listener: usize) -> Peer {
        let id = self.world.borrow_mut().connect(listener);
        Peer { world: self.world.clone(), id }
    }

    /// Takes the far end of the connection that reached its target first, of those that the engine has
    /// made and nobody has taken.
    pub(crate) fn accept(&self) -> Option<Peer> {
        let id = self.world.borrow_mut().reached.pop_front()?;
        Some(Peer { world: self.world.clone(), id })
    }

    /// Makes a `wait` end `after` this time, for a test that wants to act then.
    pub(crate) fn alarm(&self, after: Duration) {
        let mut world = self.world.borrow_mut();
        let at = world.now + after;
        world.schedule(at, Event::Alarm);
    }

    /// Lets other things go wrong from now on.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.world.borrow_mut().faults = faults;
    }

    /// How many sockets the engine holds: accepted or attached, and not yet closed or discarded.
    pub(crate) fn socket_count(&self) -> usize {
        self.world.borrow().socket_count
    }
}

impl Peer {
    /// Sends `bytes`. They arrive in order, in pieces, each after a while of its own.
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.world.borrow_mut().peer_sends(self.id, bytes);
    }

    /// Takes what has come in.
    pub(crate) fn received(&self) -> Vec<u8> {
        std::mem::take(&mut self.world.borrow_mut().connections[self.id].inbox)
    }

    /// Says that no more bytes follow (FIN), and goes on reading.
    pub(crate) fn finish(&self) {
        self.world.borrow_mut().peer_finishes(self.id);
    }

    /// Says that no more bytes follow, and reads no more either: what comes is answered by a reset.
    pub(crate) fn close(&self) {
        let mut world = self.world.borrow_mut();
        world.peer_finishes(self.id);
        world.connections[self.id].peer_is_gone = true;
    }

    /// Gives up the connection with a reset (RST).
    pub(crate) fn reset(&self) {
        self.world.borrow_mut().peer_resets(self.id);
    }

    /// Reads no more, so that the engine's output piles up, or reads again.
    pub(crate) fn stop_reading(&self, stop: bool) {
        self.world.borrow_mut().peer_reads(self.id, !stop);
    }

    /// Sets how many bytes the connection holds between the engine's `Send` and the peer's reading.
    pub(crate) fn set_window(&self, len: usize) {
        let mut world = self.world.borrow_mut();
        world.connections[self.id].window = len;
        world.consider_writable(self.id);
    }

    /// How the connection ended, as far as it is known here.
    pub(crate) fn end(&self) -> Option<End> {
        self.world.borrow().connections[self.id].peer_end
    }

    /// Bytes that were sent and that the engine has not yet received.
    pub(crate) fn unreceived_len(&self) -> usize {
        let world = self.world.borrow();
        let connection = &world.connections[self.id];
        connection.arriving_len + connection.unreceived.len()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer {}", self.id)
    }
}

/// A connection, for the network.
pub(super) type Id = usize;

/// Everything there is.
pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    pub(super) now: Duration,
    pub(super) connections: Vec<Connection>,
    pub(super) listeners: Vec<Listener>,
    /// Connections that the engine made, for the test to take.
    reached: VecDeque<Id>,
    pub(super) socket_count: usize,
    /// Connections that have something to tell the engine.
    ready: Vec<Id>,
    /// Those among them whose send has a fate to be told in this turn.
    urgent: Vec<Id>,
    schedule: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    scheduled_count: u64,
}

#[derive(Default)]
pub(super) struct Listener {
    pub(super) accepts: bool,
    is_closed: bool,
    pub(super) queue: VecDeque<Id>,
}

pub(super) struct Connection {
    pub(super) life: Life,
    pub(super) token: Option<Token>,
    pub(super) paused: bool,
    /// Receives by request.
    pub(super) asking: Asking,
    /// Asked for by the engine, which was not told yet that it is there.
    pub(super) connecting: bool,
    /// Said once each.
    pub(super) finished: bool,
    pub(super) failed: bool,
    pub(super) shut_down: bool,
    /// A send was refused, and `Writable` was not said yet.
    pub(super) blocked: bool,
    /// What to tell the engine, before anything that came from the peer.
    pub(super) outcomes: VecDeque<Outcome>,
    /// From the peer: bytes that arrived, and what came behind them.
    pub(super) unreceived: VecDeque<u8>,
    pub(super) arrived_end: Option<ArrivedEnd>,
    arriving_len: usize,
    /// Nothing overtakes: what is sent next arrives no earlier.
    arrives_until: Duration,
    peer_finished: bool,
    /// To the peer: how much fits, how much is in there, what has arrived and is not read.
    window: usize,
    occupied: usize,
    unread: Vec<u8>,
    leaves_until: Duration,
    peer_reads: bool,
    inbox: Vec<u8>,
    peer_end: Option<End>,
    peer_is_gone: bool,
    is_ready: bool,
    pub(super) is_urgent: bool,
    writable_is_due: bool,
}

/// How the engine receives from a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asking {
    /// Unasked.
    #[default]
    No,
    /// `Readable` is said when there is something.
    Yes,
    /// It was said, and not answered yet.
    Told,
    /// It was answered with a buffer, which has not come back yet.
    Filling,
}

/// Where the engine's socket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// On its way, or in the listener's queue.
    Queued,
    Accepted,
    Attached,
    /// `Close` or `Abort` was said, `Closed` was not.
    Closing,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArrivedEnd {
    Finished,
    Failed(Errno),
}

/// What became of something the engine asked for.
#[derive(Debug)]
pub(super) enum Outcome {
    Sent(Option<Lease>),
    Filled(Lease),
    Unsent(Payload),
    Writable,
    Closed,
    Connected,
}

impl Outcome {
    /// A buffer comes back even from a socket that is closed.
    fn holds_buffer(&self) -> bool {
        matches!(self, Self::Sent(Some(_)) | Self::Filled(_) | Self::Unsent(Payload::Owned { .. }))
    }
}

/// What happens at some time. Their order means nothing: two at one time happen as scheduled.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Alarm,
    Connects(Id, usize),
    Reaches(Id),
    Arrives(Id, Vec<u8>),
    EndArrives(Id),
    ResetArrives(Id),
    Leaves(Id, Vec<u8>),
    EndLeaves(Id),
    ResetLeaves(Id),
    MayWrite(Id),
    Closes(Id),
}

/// Time, and the end of waiting.
impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            dice: Dice::new(seed),
            faults,
            now: Duration::ZERO,
            connections: Vec::new(),
            listeners: Vec::new(),
            reached: VecDeque::new(),
            socket_count: 0,
            ready: Vec::new(),
            urgent: Vec::new(),
            schedule: BinaryHeap::new(),
            scheduled_count: 0,
        }
    }

    /// Lets happen what happens now.
    pub(super) fn catch_up(&mut self) {
        while self.next_event_at().is_some_and(|at| at <= self.now) {
            let Some(Reverse((_, _, event))) = self.schedule.pop() else { return };
            self.happen(event);
        }
    }

    /// Goes on to the next thing that happens, or by `timeout`, whichever comes first; stays if there
    /// is neither.
    pub(super) fn advance(&mut self, timeout: Option<Duration>) {
        let end = timeout.map(|timeout| self.now + timeout);
        let ends = [self.next_event_at(), end];
        if let Some(then) = ends.into_iter().flatten().min() {
            self.now = then;
        }
        self.catch_up();
    }

    fn next_event_at(&self) -> Option<Duration> {
        self.schedule.peek().map(|Reverse((at, ..))| *at)
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.scheduled_count += 1;
        self.schedule.push(Reverse((at, self.scheduled_count, event)));
    }

    /// A moment that lies behind all that was sent to the engine before.
    fn arrival(&mut self, id: Id) -> Duration {
        let at = self.now + self.dice.time_up_to(self.faults.delay_max);
        let until = &mut self.connections[id].arrives_until;
        *until = at.max(*until);
        *until
    }

    /// A moment that lies behind all that was sent to the peer before.
    fn departure(&mut self, id: Id) -> Duration {
        let at = self.now + self.dice.time_up_to(self.faults.delay_max);
        let until = &mut self.connections[id].leaves_until;
        *until = at.max(*until);
        *until
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Alarm => {}
            Event::Connects(id, listener) if self.listener(listener).is_closed => self.refuse(id),
            Event::Connects(id, listener) => self.listener(listener).queue.push_back(id),
            Event::Reaches(id) => self.reaches(id),
            Event::Arrives(id, bytes) => self.arrives(id, bytes),
            Event::EndArrives(id) => self.end_arrives(id, ArrivedEnd::Finished),
            Event::ResetArrives(id) => {
                let errors =
                    [Errno::CONNRESET, Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH];
                let error = self.dice.pick(&errors);
                self.end_arrives(id, ArrivedEnd::Failed(error));
            }
            Event::Leaves(id, bytes) => {
                let connection = &mut self.connections[id];
                if connection.peer_is_gone {
                    let at = self.arrival(id);
                    self.schedule(at, Event::ResetArrives(id));
                } else if connection.peer_end.is_none() {
                    connection.unread.extend(bytes);
                    self.peer_reads_on(id);
                }
            }
            Event::EndLeaves(id) => {
                self.connections[id].peer_end.get_or_insert(End::Finished);
            }
            Event::ResetLeaves(id) => {
                let connection = &mut self.connections[id];
                connection.peer_end = Some(End::Reset);
                connection.unread = Vec::new();
            }
            Event::MayWrite(id) => self.may_write(id),
            Event::Closes(id) => {
                self.connections[id].outcomes.push_back(Outcome::Closed);
                self.make_ready(id);
            }
        }
    }
}

/// What peers do.
impl World {
    pub(super) fn listener(&mut self, listener: usize) -> &mut Listener {
        if self.listeners.len() <= listener {
            self.listeners.resize_with(listener + 1, Listener::default);
        }
        &mut self.listeners[listener]
    }

    fn connect(&mut self, listener: usize) -> Id {
        let id = self.connections.len();
        self.connections.push(Connection::new(self.faults.window));
        let at = self.arrival(id);
        self.schedule(at, Event::Connects(id, listener));
        id
    }

    /// The engine connects to somewhere.
    pub(super) fn engine_connects(&mut self, token: Token) -> Id {
        let id = self.connections.len();
        let mut connection = Connection::new(self.faults.window);
        connection.life = Life::Attached;
        connection.token = Some(token);
        connection.connecting = true;
        self.connections.push(connection);
        self.socket_count += 1;
        let at = self.arrival(id);
        self.schedule(at, Event::Reaches(id));
        id
    }

    /// Somebody listens there, as a rule.
    fn reaches(&mut self, id: Id) {
        if self.connections[id].life != Life::Attached {
            return;
        }
        if self.dice.chance(self.faults.accept_failure) {
            self.end_arrives(id, ArrivedEnd::Failed(Errno::CONNREFUSED));
        } else {
            self.connections[id].outcomes.push_back(Outcome::Connected);
            self.reached.push_back(id);
            self.make_ready(id);
        }
    }

    /// Nobody listens there.
    fn refuse(&mut self, id: Id) {
        self.connections[id].life = Life::Gone;
        let at = self.departure(id);
        self.schedule(at, Event::ResetLeaves(id));
    }

    fn peer_sends(&mut self, id: Id, mut bytes: &[u8]) {
        let connection = &self.connections[id];
        assert!(!connection.peer_finished, "a peer sends behind its end of the stream");
        if connection.peer_is_gone || connection.peer_end == Some(End::Reset) {
            return;
        }
        while !bytes.is_empty() {
            let len = if self.dice.chance(self.faults.short_receive) {
                1 + self.dice.below(bytes.len())
            } else {
                bytes.len()
            };
            let (piece, rest) = bytes.split_at(len);
            bytes = rest;
            let at = self.arrival(id);
            self.connections[id].arriving_len += len;
            self.schedule(at, Event::Arrives(id, piece.to_vec()));
            self.perhaps_break(id);
        }
    }

    fn peer_finishes(&mut self, id: Id) {
        if !std::mem::replace(&mut self.connections[id].peer_finished, true) {
            let at = self.arrival(id);
            self.schedule(at, Event::EndArrives(id));
        }
    }

    fn peer_resets(&mut self, id: Id) {
        let connection = &mut self.connections[id];
        connection.peer_is_gone = true;
        connection.peer_end = Some(End::Reset);
        connection.unread = Vec::new();
        let at = self.arrival(id);
        self.schedule(at, Event::ResetArrives(id));
    }

    fn peer_reads(&mut self, id: Id, reads: bool) {
        self.connections[id].peer_reads = reads;
        self.peer_reads_on(id);
    }

    fn peer_reads_on(&mut self, id: Id) {
        let connection = &mut self.connections[id];
        if connection.peer_reads {
            connection.occupied -= connection.unread.len();
            connection.inbox.append(&mut connection.unread);
            self.consider_writable(id);
        }
    }

    /// The network gives up a connection now and then, and both ends see a reset.
    fn perhaps_break(&mut self, id: Id) {
        if self.dice.chance(self.faults.reset) {
            let at = self.arrival(id);
            self.schedule(at, Event::ResetArrives(id));
            let at = self.departure(id);
            self.schedule(at, Event::ResetLeaves(id));
        }
    }
}

/// What arrives at the engine's sockets.
impl World {
    fn arrives(&mut self, id: Id, bytes: Vec<u8>) {
        let connection = &mut self.connections[id];
        connection.arriving_len -= bytes.len();
        if matches!(connection.life, Life::Closing | Life::Gone) {
            let at = self.departure(id);
            self.schedule(at, Event::ResetLeaves(id));
        } else if connection.arrived_end.is_none() {
            connection.unreceived.extend(bytes);
            self.make_ready(id);
        }
    }

    fn end_arrives(&mut self, id: Id, end: ArrivedEnd) {
        let connection = &mut self.connections[id];
        if connection.has_failed() {
            return;
        }
        connection.arrived_end = Some(end);
        // What lies before a reset may be received yet, or be lost.
        if matches!(end, ArrivedEnd::Failed(_)) && self.dice.chance(0.5) {
            self.connections[id].unreceived.clear();
        }
        self.make_ready(id);
    }
}

/// Who has something to tell.
impl World {
    pub(super) fn make_ready(&mut self, id: Id) {
        if !std::mem::replace(&mut self.connections[id].is_ready, true) {
            self.ready.push(id);
        }
    }

    /// Anyone who may have something to tell. Whoever has more is to be made ready again.
    pub(super) fn pick_ready(&mut self) -> Option<Id> {
        if self.ready.is_empty() {
            return None;
        }
        let position = self.dice.below(self.ready.len());
        let id = self.ready.swap_remove(position);
        self.connections[id].is_ready = false;
        Some(id)
    }

    /// Whoever was refused last and has not been told.
    pub(super) fn last_urgent(&mut self) -> Option<Id> {
        while let Some(&id) = self.urgent.last() {
            if self.connections[id].is_urgent {
                return Some(id);
            }
            self.urgent.pop();
        }
        None
    }

    pub(super) fn has_ready_connections(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn is_anyone_ready(&self) -> bool {
        self.has_ready_connections()
            || self.listeners.iter().any(|listener| listener.accepts && !listener.queue.is_empty())
    }
}

impl Connection {
    fn new(window: usize) -> Self {
        Self {
            life: Life::Queued,
            token: None,
            paused: false,
            connecting: false,
            finished: false,
            failed: false,
            shut_down: false,
            blocked: false,
            asking: Asking::No,
            outcomes: VecDeque::new(),
            unreceived: VecDeque::new(),
            arrived_end: None,
            arriving_len: 0,
            arrives_until: Duration::ZERO,
            peer_finished: false,
            window,
            occupied: 0,
            unread: Vec::new(),
            leaves_until: Duration::ZERO,
            peer_reads: true,
            inbox: Vec::new(),
            peer_end: None,
            peer_is_gone: false,
            is_ready: false,
            is_urgent: false,
            writable_is_due: false,
        }
    }

    /// The connection is lost, whether the engine was told or not.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.arrived_end, Some(ArrivedEnd::Failed(_)))
    }
}

pub(super) fn address(id: Id) -> SocketAddr {
    let [_, high, middle, low] = (id as u32).to_be_bytes();
    SocketAddr::from(([10, high, middle, low], 40_000))
}
