//! A client on the simulated driver: servers of every kind, many faults, one seed.
//!
//! Everything is the real thing but the network. Each server accepts, refuses, lies, or says nothing, and
//! echoes if it accepted. Whatever happens, each connection that was asked for opens and closes, or
//! fails; and nothing is left behind.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration, time::Instant};

use crate::{
    client::{Connect, ConnectError},
    config::Config,
    conn::CloseCause,
    driver::{
        Settings, Waker,
        sim::{Dice, Faults, Network, Peer, Sim},
    },
    endpoint::{Application, Conn, ConnId, Connections, Handler, Link, Remote, Shutdown},
    protocol::{
        Assembler, CloseFrame, Decoder, Event, Incoming, Limits, Message, Opcode, Role, Rsv,
        append_frame,
        handshake::{Acceptance, HeadScanner, OriginPolicy, Request, Response, header_slots},
    },
    reactor::{Clock, Counters, Reactor, Table, mailbox},
};

/// What the handler saw.
#[derive(Debug, Default)]
struct Seen {
    opened: usize,
    closed: usize,
    echoes: usize,
    failures: Vec<ConnectError>,
}

/// Connects when it starts, talks to whom it reaches, and closes after a few echoes.
struct Caller(Rc<RefCell<Seen>>);

/// Connections that a story asks for.
const COUNT: usize = 60;
/// Echoes after which one is closed.
const ECHO_COUNT: u32 = 3;

impl Handler for Caller {
    type Data = u32;

    fn on_start(&mut self, connections: &mut Connections<'_, u32>) {
        let connect = Connect::to("ws://127.0.0.1:9/simulated").expect("a good URL");
        (0..COUNT).for_each(|_| _ = connections.connect(&connect, 0).expect("it begins"));
    }

    fn on_open(&mut self, conn: &mut Conn<'_, u32>) {
        self.0.borrow_mut().opened += 1;
        conn.send(&vec![b'x'; 20_000]);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, u32>, message: Message<'_>) {
        assert_eq!(message, Message::Binary(&[b'x'; 20_000]));
        self.0.borrow_mut().echoes += 1;
        *conn.data_mut() += 1;
        match *conn.data() {
            ECHO_COUNT => conn.close(crate::CloseCode::NORMAL, "enough"),
            _ => _ = conn.send(message),
        }
    }

    fn on_close(&mut self, _conn: &mut Conn<'_, u32>, _cause: CloseCause) {
        self.0.borrow_mut().closed += 1;
    }

    fn on_connect_failed(
        &mut self,
        _connections: &mut Connections<'_, u32>,
        _id: ConnId,
        _data: u32,
        error: ConnectError,
    ) {
        self.0.borrow_mut().failures.push(error);
    }
}

struct VirtualClock {
    network: Network,
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

/// A server at the far end of one connection.
struct Server {
    peer: Peer,
    manners: usize,
    unread: Vec<u8>,
    is_open: bool,
    is_over: bool,
    decoder: Decoder,
    assembler: Assembler,
    message: Vec<u8>,
}

impl Server {
    fn new(peer: Peer, dice: &mut Dice) -> Self {
        Self {
            peer,
            manners: dice.below(8),
            unread: Vec::new(),
            is_open: false,
            is_over: false,
            decoder: Decoder::new(Role::Server, Rsv::NONE),
            assembler: Assembler::default(),
            message: Vec::new(),
        }
    }

    fn act(&mut self) {
        if self.is_over || self.peer.end().is_some() {
            if !std::mem::replace(&mut self.is_over, true) {
                self.peer.close();
            }
            return;
        }
        self.unread.extend(self.peer.received());
        match self.is_open {
            false => self.answer(),
            true => self.echo(),
        }
    }

    fn answer(&mut self) {
        let Ok(Some(end)) = HeadScanner::default().find_end(&self.unread, 8192) else { return };
        let head: Vec<_> = self.unread.drain(..end).collect();
        let mut slots = header_slots::<16>();
        let request = Request::parse(&head, &mut slots).expect("a client's request is well formed");
        let accept_key = request.check_upgrade().expect("and asks for a WebSocket");
        let mut answer = Vec::new();
        match self.manners {
            0 => Response::text(503, "busy").encode(&mut answer).expect("it can be said"),
            1 => answer.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\nuntil the end"),
            2 => answer.extend_from_slice(b"220 mail.example.com\r\n\r\n"),
            3 => {} // says nothing, for ever
            _ => Acceptance::new().encode(&accept_key, &mut answer).expect("it can be said"),
        }
        self.peer.send(&answer);
        self.is_open = self.manners > 3;
        if self.manners == 1 {
            self.is_over = true;
            self.peer.close();
        }
    }

    fn echo(&mut self) {
        let mut input = &mut self.unread[..];
        let mut answer = Vec::new();
        while let Some(event) = self.decoder.decode(&mut input).expect("a client keeps the rules") {
            match event {
                Event::Header(header) => {
                    assert!(header.mask.is_some(), "§5.1");
                    let limits = Limits::default();
                    self.assembler.start(&header, &limits, &mut self.message).expect("as above");
                }
                Event::Payload { bytes, last } => {
                    self.assembler.push(bytes, &mut self.message).expect("as above");
                    if !last || !self.assembler.completes() {
                        continue;
                    }
                    let incoming = self.assembler.finish(&self.message).expect("as above");
                    let (opcode, payload) = match incoming {
                        Some(Incoming::Message(message)) => {
                            (message.opcode(), message.as_bytes().to_vec())
                        }
                        Some(Incoming::Close(frame)) => {
                            self.is_over = true;
                            let code = frame.map(|frame| frame.code);
                            (Opcode::Close, CloseFrame::encode_payload(code, "").to_vec())
                        }
                        Some(Incoming::Ping(payload)) => (Opcode::Pong, payload.to_vec()),
                        _ => continue,
                    };
                    append_frame(&mut answer, true, Rsv::NONE, opcode, None, &payload);
                    if opcode == Opcode::Binary {
                        self.message.clear();
                    }
                }
            }
        }
        self.unread.clear();
        self.peer.send(&answer);
        if self.is_over {
            self.peer.close();
        }
    }
}

/// Plays a story to its end.
fn play<const EACH_TURN: bool>(seed: u64, faults: Faults) -> Seen {
    let waker = Waker::new().expect("an eventfd");
    let (postbox, mailbox) = mailbox(waker.clone());
    let counters = Arc::new(Counters::default());
    let remote = Remote::new(vec![Link { postbox, counters: counters.clone() }], false);
    let settings = Settings { arena_len: 64 * 1024, ..Settings::default() };
    let sim = Sim::<EACH_TURN>::new(seed, faults, &settings, waker);
    let network = sim.network();
    let seen = Rc::new(RefCell::new(Seen::default()));
    let origin = Arc::new(OriginPolicy::AnyDangerously);
    let app = Application::new(Caller(seen.clone()), remote.clone(), origin);
    let clock = VirtualClock { network: network.clone(), origin: Instant::now() };
    let table = Table::new(Arc::new(Config::default()), counters);
    let mut reactor = Reactor::new(sim, app, clock, mailbox, table, 0);
    reactor.start();
    let mut dice = Dice::new(seed);
    let mut servers: Vec<Server> = Vec::new();
    let mut turns = 0;
    while reactor.connection_count() > 0 {
        turns += 1;
        assert!(turns < 200_000, "seed {seed}: a connection never ends: {:?}", seen.borrow());
        network.alarm(Duration::from_millis(100));
        reactor.turn().expect("the simulation does not fail");
        while let Some(peer) = network.accept() {
            servers.push(Server::new(peer, &mut dice));
        }
        servers.iter_mut().for_each(Server::act);
        if turns == 5000 + dice.below(20) {
            remote.shutdown(Shutdown::default()).expect("it runs");
        }
    }
    assert_eq!(reactor.lent_len(), 0, "no buffer is missing");
    assert_eq!(network.socket_count(), 0, "no socket is left");
    let counts = remote.total();
    assert_eq!((counts.connects, counts.panics), (COUNT as u64, 0));
    drop(reactor);
    Rc::into_inner(seen).expect("the reactor is gone").into_inner()
}

fn check(seed: u64, faults: Faults) -> Seen {
    let seen = match seed % 2 {
        0 => play::<true>(seed, faults),
        _ => play::<false>(seed, faults),
    };
    assert_eq!(seen.opened, seen.closed, "seed {seed}: each open has its close");
    assert_eq!(seen.opened + seen.failures.len(), COUNT, "seed {seed}: each is told of once");
    seen
}

#[test]
fn every_connection_has_its_story() {
    for seed in 0..4 {
        let seen = check(seed, Faults::NONE);
        assert_eq!(seen.echoes, seen.opened * ECHO_COUNT as usize, "seed {seed}: {seen:?}");
        let is = |kind: fn(&ConnectError) -> bool| seen.failures.iter().any(kind);
        assert!(is(
            |error| matches!(error, ConnectError::Refused(refused) if refused.status == 503
            && refused.body == b"busy")
        ));
        assert!(is(
            |error| matches!(error, ConnectError::Refused(refused) if refused.status == 200
            && refused.body == b"until the end")
        ));
        assert!(is(|error| matches!(error, ConnectError::Failed(_))));
        assert!(is(|error| matches!(error, ConnectError::TimedOut)));
    }
}

#[test]
fn through_a_bad_day() {
    for seed in 0..6 {
        check(seed, Faults::ROUGH);
        check(seed, Faults::HOSTILE);
    }
}
