//! A server on the simulated driver: many peers, many faults, hours of virtual time, one seed.
//!
//! Everything is the real thing but the network: reactor, connections, handler. Each peer follows a
//! script of its own and checks what it gets: its echoes, all of them, in order, and nothing else.
//! A failure names its seed; `THRONG_SEED=… cargo test simulation` tells the same story again.

use std::{cell::RefCell, collections::VecDeque, fmt, rc::Rc, sync::Arc, time::Duration};

use super::{Application, Conn, Handler, Message, Remote, Shutdown, remote::Link};
use crate::{
    config::Config,
    conn::{CloseCause, Overflow, SendQueue, Timeouts},
    driver::{
        Settings, Waker,
        sim::{Dice, End, Faults, Network, Peer, Sim},
    },
    protocol::{
        Assembler, CloseCode, CloseFrame, Decoder, Event, Incoming, Limits, MaskingKey, Opcode,
        Role, Rsv, append_frame, handshake::OriginPolicy,
    },
    reactor::{Clock, Counters, Reactor, Table, mailbox},
};

/// What the handler saw.
#[derive(Debug, Default)]
struct Seen {
    opened: usize,
    closed: Vec<CloseCause>,
    drained: usize,
}

/// Echoes, and panics when told to.
struct Echo(Rc<RefCell<Seen>>);

impl Handler for Echo {
    type Data = u32;

    fn on_open(&mut self, _conn: &mut Conn<'_, u32>) {
        self.0.borrow_mut().opened += 1;
    }

    fn on_message(&mut self, conn: &mut Conn<'_, u32>, message: Message<'_>) {
        if message == Message::Text(PANIC) {
            std::panic::resume_unwind(Box::new("told to")); // a panic without its message on stderr
        }
        *conn.data_mut() += 1;
        conn.send(message);
    }

    fn on_drain(&mut self, _conn: &mut Conn<'_, u32>) {
        self.0.borrow_mut().drained += 1;
    }

    fn on_close(&mut self, _conn: &mut Conn<'_, u32>, cause: CloseCause) {
        self.0.borrow_mut().closed.push(cause);
    }
}

const PANIC: &str = "panic, please";

struct VirtualClock(Network);

impl Clock for VirtualClock {
    fn elapsed(&self) -> Duration {
        self.0.now()
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
        let remote = Remote::new(vec![Link { postbox, counters: counters.clone() }]);
        let settings = Settings { arena_len: 64 * 1024, ..Settings::default() };
        let sim = Sim::new(seed, faults, &settings, waker);
        let network = sim.network();
        let seen = Rc::new(RefCell::new(Seen::default()));
        let origin = Arc::new(OriginPolicy::AnyDangerously);
        let app = Application::new(Echo(seen.clone()), remote.clone(), origin);
        let table = Table::new(Role::Server, Arc::new(config), counters);
        let clock = VirtualClock(network.clone());
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

/// One scripted peer.
struct Actor {
    peer: Peer,
    dice: Dice,
    script: VecDeque<Step>,
    state: Wire,
    /// The answers it is owed, in order.
    owed: VecDeque<Vec<u8>>,
    unread: Vec<u8>,
    decoder: Decoder,
    assembler: Assembler,
    message: Vec<u8>,
    close_code: Option<CloseCode>,
    stalled: bool,
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor")
            .field("peer", &self.peer)
            .field("end", &self.peer.end())
            .field("script", &self.script)
            .field("state", &self.state)
            .field("owed", &self.owed.len())
            .field("close_code", &self.close_code)
            .field("stalled", &self.stalled)
            .finish_non_exhaustive()
    }
}

/// How far an actor's wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Handshake,
    Open,
    Gone,
}

/// What an actor does next.
#[derive(Clone, Debug)]
enum Step {
    /// Says this, in so many fragments, perhaps with a ping between them.
    Say { len: usize, fragments: usize, ping: bool },
    /// Stops reading, or reads again.
    Stall(bool),
    /// Begins the closing handshake.
    Close,
    /// Ends the stream without one.
    Finish,
    /// Resets the connection.
    Reset,
    /// Breaks the protocol.
    Misbehave,
    /// Makes the handler panic.
    Panic,
    /// Sends a part of a frame, and nothing ever again.
    StopMidFrame,
    /// Says nothing more; pings go unanswered.
    FallSilent,
}

impl Actor {
    fn new(network: &Network, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut script: VecDeque<_> =
            (0..dice.up_to(8)).map(|_| Step::any_word(&mut dice)).collect();
        script.push_back(Step::any_end(&mut dice));
        let peer = network.connect(0);
        peer.send(
            b"GET /somewhere HTTP/1.1\r\nHost: throng\r\nConnection: Upgrade\r\nUpgrade: websocket\
              \r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        Self {
            peer,
            dice,
            script,
            state: Wire::Handshake,
            owed: VecDeque::new(),
            unread: Vec::new(),
            decoder: Decoder::new(Role::Client, Rsv::NONE),
            assembler: Assembler::default(),
            message: Vec::new(),
            close_code: None,
            stalled: false,
        }
    }

    /// Reads what has come, and perhaps does the next thing. `true` while there is more to do.
    fn act(&mut self) -> bool {
        if self.state == Wire::Gone {
            return false;
        }
        if !self.stalled {
            self.unread.extend(self.peer.received());
            self.read();
        }
        if self.peer.end().is_some() {
            self.peer.close();
            self.state = Wire::Gone;
            return false;
        }
        // Steps may come before the handshake is answered: what follows it is not lost.
        if self.dice.chance(0.2)
            && let Some(step) = self.script.pop_front()
        {
            self.take(step);
        }
        true
    }

    fn read(&mut self) {
        if self.state == Wire::Handshake {
            let Some(end) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                return;
            };
            assert!(self.unread.starts_with(b"HTTP/1.1 101 "), "{}", self.unread.escape_ascii());
            self.unread.drain(..end + 4);
            self.state = Wire::Open;
        }
        let mut unread = std::mem::take(&mut self.unread);
        let mut input = &mut unread[..];
        let limits = Limits { message_len_max: 1 << 24, ..Limits::default() };
        while let Some(event) = self.decoder.decode(&mut input).expect("the server is correct") {
            let last = match event {
                Event::Header(header) => {
                    self.assembler.start(&header, &limits, &mut self.message).expect("as above");
                    continue;
                }
                Event::Payload { bytes, last } => {
                    self.assembler.push(bytes, &mut self.message).expect("as above");
                    last
                }
            };
            if !last {
                continue;
            }
            let pong = match self.assembler.finish(&self.message).expect("as above") {
                Some(Incoming::Binary(message)) => {
                    assert_eq!(self.close_code, None, "nothing follows a Close");
                    assert_eq!(self.owed.pop_front().as_deref(), Some(message), "in order");
                    None
                }
                Some(Incoming::Close(frame)) => {
                    assert_eq!(self.close_code, None, "one Close is enough");
                    self.close_code = Some(frame.map_or(CloseCode::NO_STATUS, |frame| frame.code));
                    None
                }
                Some(Incoming::Ping(payload)) => Some(payload.to_vec()),
                Some(Incoming::Pong(payload)) => {
                    assert_eq!(payload, b"still there?");
                    None
                }
                other => panic!("nobody sent {other:?}"),
            };
            if let Some(payload) = pong.filter(|_| !self.script.is_empty()) {
                self.frame(true, Opcode::Pong, &payload);
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Say { len, fragments, ping } => {
                let message: Vec<u8> = (0..len).map(|_| self.dice.roll() as u8).collect();
                let piece = len.div_ceil(fragments).max(1);
                let pieces: Vec<_> = message.chunks(piece).map(<[u8]>::to_vec).collect();
                for (index, piece) in pieces.iter().enumerate() {
                    let opcode = if index == 0 { Opcode::Binary } else { Opcode::Continuation };
                    self.frame(index + 1 == pieces.len(), opcode, piece);
                    if ping {
                        self.frame(true, Opcode::Ping, b"still there?");
                    }
                }
                if pieces.is_empty() {
                    self.frame(true, Opcode::Binary, &[]);
                }
                self.owed.push_back(message);
            }
            Step::Stall(stall) => {
                self.stalled = stall;
                self.peer.stop_reading(stall);
            }
            Step::Close => {
                let payload = CloseFrame::encode_payload(Some(CloseCode::NORMAL), "done");
                self.frame(true, Opcode::Close, &payload);
            }
            Step::Finish => self.peer.finish(),
            Step::Reset => {
                self.peer.reset();
                self.state = Wire::Gone;
            }
            Step::Misbehave => self.peer.send(&[0xFF; 16]),
            Step::Panic => self.frame(true, Opcode::Text, PANIC.as_bytes()),
            Step::StopMidFrame => self.peer.send(&[0x82, 0xFE, 0x10]),
            Step::FallSilent => {}
        }
    }

    fn frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) {
        let key = MaskingKey::new((self.dice.roll() as u32).to_ne_bytes());
        let mut frame = Vec::new();
        append_frame(&mut frame, fin, Rsv::NONE, opcode, Some(key), payload);
        self.peer.send(&frame);
    }
}

impl Step {
    fn any_word(dice: &mut Dice) -> Self {
        let longest = dice.pick(&[0, 10, 125, 126, 4000, 70_000, 200_000]);
        match dice.below(10) {
            0 => Self::Stall(true),
            1 => Self::Stall(false),
            _ => Self::Say {
                len: dice.up_to(longest),
                fragments: dice.pick(&[1, 1, 1, 2, 7]),
                ping: dice.chance(0.2),
            },
        }
    }

    fn any_end(dice: &mut Dice) -> Self {
        dice.pick(&[
            Ending::Close,
            Ending::Close,
            Ending::Finish,
            Ending::Reset,
            Ending::Misbehave,
            Ending::Panic,
            Ending::StopMidFrame,
            Ending::FallSilent,
        ])
        .into()
    }
}

/// The last steps, as something that can be picked.
#[derive(Clone, Copy)]
enum Ending {
    Close,
    Finish,
    Reset,
    Misbehave,
    Panic,
    StopMidFrame,
    FallSilent,
}

impl From<Ending> for Step {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Close => Self::Close,
            Ending::Finish => Self::Finish,
            Ending::Reset => Self::Reset,
            Ending::Misbehave => Self::Misbehave,
            Ending::Panic => Self::Panic,
            Ending::StopMidFrame => Self::StopMidFrame,
            Ending::FallSilent => Self::FallSilent,
        }
    }
}

/// Turns in which every story comes to its end.
const LONGEST_STORY: u32 = 200_000;

/// Plays one story with `count` actors, to the end, and says how long it was in virtual time.
fn play<const EACH_TURN: bool>(
    seed: u64,
    count: usize,
    faults: Faults,
    config: Config,
) -> Duration {
    let mut dice = Dice::new(seed);
    let mut simulation = Simulation::<EACH_TURN>::new(seed, faults, config);
    let mut actors: Vec<Actor> = Vec::new();
    let mut turns = 0_u32;
    loop {
        while actors.len() < count && dice.chance(0.5) {
            actors.push(Actor::new(&simulation.network, dice.roll()));
        }
        simulation.turn();
        let busy = actors.iter_mut().fold(0, |busy, actor| busy + usize::from(actor.act()));
        if actors.len() == count && busy == 0 && simulation.reactor.connection_count() == 0 {
            break;
        }
        turns += 1;
        if turns >= LONGEST_STORY {
            let busy: Vec<_> = actors.iter().filter(|actor| actor.state != Wire::Gone).collect();
            panic!("the story does not end at {:?}: {busy:#?}", simulation.network.now());
        }
    }
    simulation.check_end();
    for actor in &actors {
        let closed = actor.close_code == Some(CloseCode::NORMAL);
        // Whoever was sent a normal Close got everything it was owed before it.
        assert!(!closed || actor.owed.is_empty(), "{} echoes are missing", actor.owed.len());
    }
    simulation.network.now()
}

/// Plays a story for each seed, or for the one that `THRONG_SEED` names, and names a failing one.
fn for_seeds(seeds: std::ops::Range<u64>, story: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let replay = std::env::var("THRONG_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seeds = replay.map_or(seeds, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let told = std::panic::catch_unwind(|| story(seed));
        if let Err(panic) = told {
            eprintln!("replay with THRONG_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Limits under which the scripts' longest messages pass and nothing overflows by itself.
fn roomy() -> Config {
    Config {
        send_queue: SendQueue { len_max: 64 << 20, ..SendQueue::default() },
        limits: Limits { message_len_max: 1 << 20, ..Limits::default() },
        ..Config::default()
    }
}

#[test]
fn a_kind_network_serves_everyone() {
    for_seeds(0..10, |seed| {
        play::<true>(seed, 20, Faults::NONE, roomy());
        play::<false>(seed, 20, Faults::NONE, roomy());
    });
}

#[test]
fn a_rough_network_loses_nothing() {
    for_seeds(100..115, |seed| {
        play::<true>(seed, 20, Faults::ROUGH, roomy());
        play::<false>(seed, 20, Faults::ROUGH, roomy());
    });
}

#[test]
fn a_hostile_network_leaks_nothing() {
    for_seeds(200..215, |seed| {
        play::<true>(seed, 20, Faults::HOSTILE, roomy());
        play::<false>(seed, 20, Faults::HOSTILE, roomy());
    });
}

#[test]
fn small_limits_leak_nothing() {
    for_seeds(300..315, |seed| {
        let config = Config {
            send_queue: SendQueue { len_max: 10_000, high_water: 1000, overflow: Overflow::Close },
            memory_max: 300_000,
            turn_frames_max: 2,
            ..Config::default()
        };
        let faults = Faults { window: 2000, ..Faults::HOSTILE };
        play::<true>(seed, 20, faults.clone(), config.clone());
        play::<false>(seed, 20, faults, config);
    });
}

#[test]
fn thousands_of_connections_over_virtual_hours() {
    for_seeds(400..401, |seed| {
        let timeouts = Timeouts {
            ping: Some(Duration::from_secs(3600)),
            idle: Some(Duration::from_secs(4 * 3600)),
            message: Some(Duration::from_secs(2 * 3600)),
            ..Timeouts::default()
        };
        let elapsed = play::<true>(seed, 1000, Faults::ROUGH, Config { timeouts, ..roomy() });
        assert!(elapsed > Duration::from_secs(4 * 3600), "{elapsed:?}");
    });
}

#[test]
fn a_drain_ends_by_its_deadline() {
    for_seeds(500..504, |seed| {
        let mut simulation = Simulation::<true>::new(seed, Faults::ROUGH, roomy());
        let mut actors: Vec<_> =
            (0..200).map(|n| Actor::new(&simulation.network, seed * 1000 + n)).collect();
        for _ in 0..200 {
            simulation.turn();
            actors.iter_mut().for_each(|actor| _ = actor.act());
        }
        let shutdown = Shutdown {
            code: CloseCode::SERVICE_RESTART,
            spread: Duration::from_secs(10),
            deadline: Duration::from_secs(20),
        };
        let began = simulation.network.now();
        simulation.remote.shutdown(shutdown).expect("the mailbox has room");
        let late = simulation.network.connect(0);
        while !simulation.reactor.is_over() {
            simulation.turn();
            actors.iter_mut().for_each(|actor| _ = actor.act());
            assert!(simulation.network.now() - began < Duration::from_secs(30));
        }
        assert_ne!(late.end(), Some(End::Finished), "nobody is let in any more");
        simulation.check_end();
    });
}
