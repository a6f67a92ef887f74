//! A server on the simulated driver: many peers, many faults, hours of virtual time, one seed.
//!
//! Everything is the real thing but the network: reactor, connections, handler. Each peer follows a
//! script of its own ([`actor`]) and checks what it gets: its echoes, all of them, in order, and
//! nothing else. A failure names its seed; `THRONG_SEED=… cargo test simulation` tells the same story
//! again.

#[cfg(test)]
mod actor;
#[cfg(test)]
mod stories;

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::Config,
    conn::CloseCause,
    driver::{
        Settings, Waker,
        sim::{Faults, Network, Sim},
    },
    endpoint::{Application, Conn, Handler, Link, Remote, Request, Ticket, Upgrade},
    protocol::{MaskingKey, Message, Opcode, Rsv, append_frame, handshake::OriginPolicy},
    reactor::{Clock, Counters, Reactor, Table, mailbox},
};

/// Whatever a peer does, in whatever order and pieces, nobody panics and nothing is left behind.
///
/// The first byte chooses the faults, then each pair of bytes is something that the peer does.
pub fn connection(data: &[u8]) {
    let Some((&first, mut script)) = data.split_first() else { return };
    let faults = if first & 1 == 0 { Faults::NONE } else { Faults::HOSTILE };
    let config = Config { turn_frames_max: 2, memory_max: 100_000, ..Config::default() };
    let mut simulation = Simulation::<true>::new(u64::from(first), faults, config);
    simulation.acting_interval = Duration::from_millis(500);
    let peer = simulation.network.connect(0);
    if first & 2 == 0 {
        peer.send(REQUEST);
    }
    while let Some((&[verb, len], rest)) = script.split_first_chunk() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(len)));
        script = rest;
        match verb % 8 {
            0 | 1 => peer.send(bytes),
            2 | 3 => {
                let opcode = Opcode::from_bits(verb >> 4).unwrap_or(Opcode::Text);
                let key = MaskingKey::new([verb, len, 0, 0xFF]);
                let mut frame = Vec::new();
                append_frame(&mut frame, verb & 8 == 0, Rsv::NONE, opcode, Some(key), bytes);
                peer.send(&frame);
            }
            4 => peer.stop_reading(len & 1 == 0),
            5 => (0..len).for_each(|_| simulation.turn()),
            6 if len > 250 => {
                peer.reset();
                break;
            }
            6 if len > 200 => {
                peer.finish();
                break;
            }
            _ => drop(peer.received()),
        }
    }
    peer.stop_reading(false);
    peer.close();
    let turns = (0..LONGEST_STORY).find(|_| {
        simulation.turn();
        simulation.network.now() > Duration::from_secs(1)
            && simulation.reactor.connection_count() == 0
    });
    assert!(turns.is_some(), "the connection never ends");
    simulation.check_end();
}

/// What a client says first.
const REQUEST: &[u8] =
    b"GET /somewhere HTTP/1.1\r\nHost: throng\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Turns in which every story comes to its end.
const LONGEST_STORY: u32 = 200_000;

/// What the handler saw.
#[derive(Debug, Default)]
struct Seen {
    opened: usize,
    closed: Vec<CloseCause>,
    drained: usize,
    rtts: Vec<Duration>,
    /// Whether upgrades are decided later.
    deferring: bool,
    /// Upgrades to be decided.
    tickets: Vec<Ticket<u32>>,
}

/// Echoes, takes a rest now and then, and panics when told to.
struct Echo(Rc<RefCell<Seen>>);

impl Handler for Echo {
    type Data = u32;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<u32> {
        let mut seen = self.0.borrow_mut();
        if !seen.deferring {
            return Upgrade::accept();
        }
        let (upgrade, ticket) = Upgrade::defer(request);
        seen.tickets.push(ticket);
        upgrade
    }

    fn on_open(&mut self, _conn: &mut Conn<'_, u32>) {
        self.0.borrow_mut().opened += 1;
    }

    fn on_message(&mut self, conn: &mut Conn<'_, u32>, message: Message<'_>) {
        if message == Message::Text(PANIC) {
            std::panic::resume_unwind(Box::new("told to")); // a panic without its message on stderr
        }
        if message == Message::Text(MEASURE) {
            conn.measure_rtt();
            return;
        }
        *conn.data_mut() += 1;
        if conn.data().is_multiple_of(3) {
            conn.pause_reading();
            conn.set_timer(Duration::from_millis(700));
        }
        conn.send(message);
    }

    fn on_rtt(&mut self, _conn: &mut Conn<'_, u32>, rtt: Duration) {
        self.0.borrow_mut().rtts.push(rtt);
    }

    fn on_timer(&mut self, conn: &mut Conn<'_, u32>) {
        conn.resume_reading();
    }

    fn on_drain(&mut self, _conn: &mut Conn<'_, u32>) {
        self.0.borrow_mut().drained += 1;
    }

    fn on_close(&mut self, _conn: &mut Conn<'_, u32>, cause: CloseCause) {
        self.0.borrow_mut().closed.push(cause);
    }
}

const PANIC: &str = "panic, please";
const MEASURE: &str = "measure, please";

struct VirtualClock {
    network: Network,
    /// What virtual time counts from.
    origin: Instant,
}

impl Clock for VirtualClock {
    fn elapsed(&self) -> Duration {
        self.network.now()
    }

    fn until(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.origin + self.network.now())
    }
}

/// A server under simulation, and the test's hands on it.
struct Simulation<const EACH_TURN: bool> {
    reactor: Reactor<Sim<EACH_TURN>, Application<Echo>, VirtualClock>,
    network: Network,
    remote: Remote,
    seen: Rc<RefCell<Seen>>,
    alarm_at: Duration,
    /// How often the actors act when nothing else happens.
    acting_interval: Duration,
}

impl<const EACH_TURN: bool> Simulation<EACH_TURN> {
    fn new(seed: u64, faults: Faults, config: Config) -> Self {
        let acting_interval = config.timeouts.idle.expect("silence has to end") / 5000;
        let waker = Waker::new().expect("an eventfd");
        let (postbox, mailbox) = mailbox(waker.clone());
        let counters = Arc::new(Counters::default());
        let remote = Remote::new(vec![Link { postbox, counters: counters.clone() }], false);
        let settings = Settings { arena_len: 64 * 1024, ..Settings::default() };
        let sim = Sim::new(seed, faults, &settings, waker);
        let network = sim.network();
        let seen = Rc::new(RefCell::new(Seen::default()));
        let origin = Arc::new(OriginPolicy::AnyDangerously);
        let app = Application::new(Echo(seen.clone()), remote.clone(), origin);
        let table = Table::new(Arc::new(config), counters);
        let clock = VirtualClock { network: network.clone(), origin: Instant::now() };
        let reactor = Reactor::new(sim, app, clock, mailbox, table, 1);
        Self { reactor, network, remote, seen, alarm_at: Duration::ZERO, acting_interval }
    }

    fn turn(&mut self) {
        if self.network.now() >= self.alarm_at {
            self.alarm_at = self.network.now() + self.acting_interval;
            self.network.alarm(self.acting_interval);
        }
        self.reactor.turn().expect("the simulation does not fail");
    }

    /// Everything that was lent has come back, and everyone who came has gone.
    fn check_end(&self) {
        assert_eq!(self.reactor.connection_count(), 0, "the table is empty");
        assert_eq!(self.reactor.lent_len(), 0, "no buffer is missing");
        assert_eq!(self.network.socket_count(), 0, "no socket is left");
        let seen = self.seen.borrow();
        assert_eq!(seen.opened, seen.closed.len(), "each open has its close: {seen:?}");
    }
}
