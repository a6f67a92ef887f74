//! Where the contract's scenes play.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{Driver, Flush, Op, Payload, Route, Settings, Socket, Token, Waker},
    peer::{PATIENCE, connect, connect_narrow, join},
    witness::{Event, Witness, visible},
};
use crate::pool::{Lease, Slab};

/// Makes a driver on the thread it runs on.
///
/// A kernel that forbids it (`Unsupported`, `PermissionDenied`) makes the scenes skip, aloud.
pub(crate) trait Make<D>:
    FnOnce(&Settings, Vec<OwnedFd>, Waker) -> io::Result<D> + Send + 'static
{
}

impl<D, F> Make<D> for F where
    F: FnOnce(&Settings, Vec<OwnedFd>, Waker) -> io::Result<D> + Send + 'static
{
}

/// How long a whole scene may take.
pub(super) const SCENE: Duration = Duration::from_secs(60);

/// How long a turn waits that has nothing to do.
pub(super) const TURN: Duration = Duration::from_millis(20);

/// Plays a scene with one listener that accepts.
pub(super) fn on_stage<D: Driver>(
    make: impl Make<D>,
    play: impl FnOnce(&mut Stage<D>) + Send + 'static,
) {
    on_stage_with(make, Settings::default(), 1, |mut stage| play(&mut stage));
}

/// Plays a scene, on a thread of its own so that it can be given up.
pub(super) fn on_stage_with<D: Driver>(
    make: impl Make<D>,
    settings: Settings,
    listener_count: usize,
    play: impl FnOnce(Stage<D>) + Send + 'static,
) {
    let (done, is_done) = mpsc::channel::<()>();
    let scene = thread::spawn(move || {
        let _done = done; // dropped when the scene is over, by whatever way
        match Stage::new(make, &settings, listener_count) {
            Ok(stage) => play(stage),
            Err(error) if is_forbidden(&error) => eprintln!("skipped: {error}"),
            Err(error) => panic!("no driver: {error}"),
        }
    });
    if is_done.recv_timeout(SCENE) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("the scene hangs");
    }
    join(scene);
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied)
}

/// A driver, and as much of a reactor as it takes to talk to it.
pub(crate) struct Stage<D> {
    pub(crate) driver: D,
    pub(crate) waker: Waker,
    pub(super) addresses: Vec<SocketAddr>,
    tokens: Slab<()>,
    witness: Witness,
    /// What finished and was not asked for yet.
    pub(crate) backlog: VecDeque<Event>,
    /// What sockets did not take, to be sent when they are writable.
    pub(super) rests: HashMap<Token, Payload>,
    /// Who was sent to since the last `wait`.
    in_flight: HashSet<Token>,
}

impl<D: Driver> Stage<D> {
    fn new(make: impl Make<D>, settings: &Settings, listener_count: usize) -> io::Result<Self> {
        let listeners: Vec<_> =
            (0..listener_count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let waker = Waker::new()?;
        let listeners = listeners.into_iter().map(OwnedFd::from).collect();
        let mut driver = make(settings, listeners, waker.clone())?;
        (0..listener_count).for_each(|listener| driver.accept(listener));
        Ok(Self::around(driver, waker, addresses))
    }

    /// A stage for a driver that listens on `addresses`.
    pub(crate) fn around(driver: D, waker: Waker, addresses: Vec<SocketAddr>) -> Self {
        Self {
            driver,
            waker,
            addresses,
            tokens: Slab::new(),
            witness: Witness::default(),
            backlog: VecDeque::new(),
            rests: HashMap::new(),
            in_flight: HashSet::new(),
        }
    }

    /// A peer, connected, accepted and attached.
    pub(super) fn connect(&mut self) -> (TcpStream, Token) {
        let peer = connect(self.addresses[0]);
        let socket = self.accepted(0);
        (peer, self.attach(socket))
    }

    /// A peer that takes little before it reads.
    pub(super) fn connect_narrow(&mut self) -> (TcpStream, Token) {
        let peer = connect_narrow(self.addresses[0]);
        let socket = self.accepted(0);
        (peer, self.attach(socket))
    }

    pub(crate) fn attach(&mut self, socket: Socket) -> Token {
        let token = self.tokens.insert(()).expect("room for a socket");
        self.submit(Op::Attach(socket), token);
        token
    }

    /// Begins to connect.
    pub(super) fn dial(&mut self, route: Route) -> Token {
        let token = self.tokens.insert(()).expect("room for a socket");
        self.submit(Op::Connect(Arc::new(route)), token);
        token
    }

    /// Hands over a socket that is connected.
    pub(super) fn adopt(&mut self, socket: OwnedFd) -> Token {
        let token = self.tokens.insert(()).expect("room for a socket");
        self.submit(Op::Adopt(socket), token);
        token
    }

    pub(super) fn connected(&mut self, token: Token) {
        self.until("`Connected`", |_, event| match event {
            Event::Connected(connected) if connected == token => Some(()),
            other => panic!("{other:?}"),
        });
    }

    pub(crate) fn submit(&mut self, op: Op, token: Token) {
        self.witness.hear(&op, token);
        self.driver.submit(op, token);
    }

    pub(crate) fn send(&mut self, token: Token, payload: Payload, acknowledge: bool) {
        assert!(self.in_flight.insert(token), "one send a turn");
        assert!(!self.is_blocked(token), "no send before `Writable`");
        self.submit(Op::Send { payload, acknowledge }, token);
    }

    /// Sends, and what is left of it later (see `turn_and_go_on_sending`).
    pub(super) fn send_whole(&mut self, token: Token, payload: Payload) {
        assert!(!self.rests.contains_key(&token));
        self.send(token, payload, false);
    }

    /// Copies `bytes` into the arena, if they fit.
    pub(super) fn cork(&mut self, bytes: &[u8]) -> Option<std::ops::Range<usize>> {
        let arena = self.driver.arena();
        let start = arena.filled();
        arena.take(bytes.len())?.copy_from_slice(bytes);
        Some(start..arena.filled())
    }

    pub(super) fn is_blocked(&self, token: Token) -> bool {
        self.witness.is_blocked(token)
    }

    /// Fills a socket whose peer does not read.
    pub(super) fn send_until_unsent(&mut self, token: Token) {
        let lease = Lease::detached(vec![0; 64 << 20]);
        self.send(token, Payload::Owned { lease, from: 0 }, true);
        self.until("the rest of 64 MiB", |_, event| match event {
            Event::Unsent(unsent, _) if unsent == token => Some(()),
            other => panic!("{other:?}"),
        });
    }

    /// Closes, and sees it through.
    pub(super) fn close(&mut self, token: Token) {
        self.end(Op::Close, token);
    }

    /// Closes or aborts, and sees it through.
    pub(super) fn end(&mut self, op: Op, token: Token) {
        self.submit(op, token);
        self.rests.remove(&token);
        self.backlog.retain(|event| event.token() != Some(token));
        self.until("`Closed`", |_, event| match event {
            Event::Closed(closed) if closed == token => Some(()),
            other if other.token() == Some(token) => None, // lawful, says the witness
            other => panic!("{other:?}"),
        });
    }

    /// The next socket that is accepted, which has to come from `listener`.
    pub(super) fn accepted(&mut self, listener: usize) -> Socket {
        self.until("an accepted socket", |_, event| match event {
            Event::Accepted { listener: from, socket, .. } => {
                assert_eq!(from, listener);
                Some(socket)
            }
            other => panic!("{other:?}"),
        })
    }

    /// Receives exactly `len` bytes.
    pub(super) fn receive(&mut self, token: Token, len: usize) -> Vec<u8> {
        let mut received = Vec::new();
        while received.len() < len {
            self.until("bytes", |_, event| match event {
                Event::Received(from, bytes) if from == token => {
                    received.extend(bytes);
                    Some(())
                }
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(received.len(), len);
        received
    }

    /// There is something to receive by request.
    pub(super) fn readable(&mut self, token: Token) {
        self.until("`Readable`", |_, event| match event {
            Event::Readable(readable) if readable == token => Some(()),
            other => panic!("{other:?}"),
        });
    }

    /// Receives by request, at most `len` bytes.
    pub(super) fn receive_into(&mut self, token: Token, lease: Lease, len: usize) -> Lease {
        self.readable(token);
        self.submit(Op::ReceiveInto { lease, len }, token);
        self.until("`Filled`", |_, event| match event {
            Event::Filled(filled, lease) if filled == token => Some(lease),
            other => panic!("{other:?}"),
        })
    }

    pub(super) fn finished(&mut self, token: Token) {
        self.until("`Finished`", |_, event| match event {
            Event::Finished(finished) if finished == token => Some(()),
            other => panic!("{other:?}"),
        });
    }

    /// The failure of `token`. Before it comes what was on its way.
    pub(super) fn failed(&mut self, token: Token) -> io::Error {
        self.until("`Failed`", |_, event| match event {
            Event::Failed(failed, error) if failed == token => Some(error),
            Event::Unsent(unsent, _) | Event::Received(unsent, _) if unsent == token => None,
            other => panic!("{other:?}"),
        })
    }

    /// Several turns in which nothing happens.
    pub(super) fn quiet(&mut self, why: &str) {
        assert!(self.backlog.is_empty(), "{why}, and not {:?}", self.backlog);
        for _ in 0..3 {
            self.turn();
            assert!(self.backlog.is_empty(), "{why}, and not {:?}", self.backlog);
        }
    }

    /// Takes turns until `pick` finds what it looks for; what it refuses is dropped.
    pub(super) fn until<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&mut Self, Event) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(event) = self.backlog.pop_front() {
                if let Some(found) = pick(self, event) {
                    return found;
                }
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            self.turn();
        }
    }

    /// One turn: what finished goes to the backlog.
    pub(super) fn turn(&mut self) {
        self.turn_at_most(TURN);
    }

    pub(crate) fn turn_at_most(&mut self, timeout: Duration) {
        self.driver.wait(Some(timeout)).unwrap();
        self.in_flight.clear();
        while let Some((completion, _)) = self.driver.next() {
            let event = Event::from(completion);
            self.witness.see(&event);
            if let Event::Closed(token) = event {
                self.tokens.remove(token).expect("a token of ours");
            }
            self.backlog.push_back(event);
        }
    }

    /// One turn that expects nothing but connections, and wants none.
    pub(super) fn turn_and_discard(&mut self) {
        self.turn();
        while let Some(event) = self.backlog.pop_front() {
            let Event::Accepted { socket, .. } = event else { panic!("{event:?}") };
            self.driver.discard(socket);
        }
    }

    /// One turn that expects nothing but the ups and downs of sending, and sends what is left.
    pub(super) fn turn_and_go_on_sending(&mut self) {
        self.turn();
        while let Some(event) = self.backlog.pop_front() {
            match event {
                Event::Unsent(token, rest) => {
                    assert!(self.rests.insert(token, rest).is_none());
                }
                Event::Writable(token) => {
                    let rest = self.rests.remove(&token).expect("something left to send");
                    self.send_whole(token, rest);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Takes turns until all that was sent has left.
    pub(super) fn send_the_rest(&mut self, token: Token) {
        let deadline = Instant::now() + SCENE;
        while self.in_flight.contains(&token)
            || self.is_blocked(token)
            || self.rests.contains_key(&token)
        {
            assert!(Instant::now() < deadline, "the peer reads, and the rest does not leave");
            self.turn_and_go_on_sending();
        }
    }

    /// Echoes until `connections` peers came, were answered, finished and were closed.
    pub(super) fn echo(&mut self, connections: usize) {
        let mut echo = Echo::default();
        let deadline = Instant::now() + SCENE;
        while echo.closed_count < connections {
            assert!(Instant::now() < deadline, "{} of {connections}", echo.closed_count);
            self.echo_turn(&mut echo, Some(TURN));
        }
        assert_eq!(echo.failed_count, 0);
    }

    /// One turn of an echo server.
    pub(crate) fn echo_turn(&mut self, echo: &mut Echo, timeout: Option<Duration>) {
        self.driver.wait(timeout).unwrap();
        self.in_flight.clear();
        while let Some((completion, _)) = self.driver.next() {
            let event = Event::from(completion);
            self.witness.see(&event);
            match event {
                Event::Accepted { socket, .. } => {
                    self.attach(socket);
                }
                Event::AcceptFailed(listener, _) => self.driver.accept(listener),
                Event::Connected(_) => {}
                Event::Readable(_) | Event::Filled(..) => unreachable!("nothing is requested"),
                Event::Received(token, bytes) => echo.say(token, &bytes),
                Event::Finished(token) => echo.finish(token),
                Event::Sent(..) => {}
                Event::Unsent(token, rest) => echo.say_first(token, visible(&rest)),
                Event::Writable(token) => echo.dirty.push(token),
                Event::Failed(token, _) => {
                    echo.failed_count += 1;
                    // If it is closing already, that goes on.
                    if self.witness.is_open(token) {
                        echo.voices.remove(&token);
                        self.submit(Op::Close, token);
                    }
                }
                Event::Closed(token) => {
                    self.tokens.remove(token).expect("a token of ours");
                    echo.closed_count += 1;
                }
            }
            if D::FLUSH == Flush::EachCompletion {
                self.flush(echo);
            }
        }
        self.flush(echo);
    }

    /// One send for each connection that has something to say and may; the others keep it.
    fn flush(&mut self, echo: &mut Echo) {
        for token in std::mem::take(&mut echo.dirty) {
            let Some(voice) = echo.voices.get_mut(&token) else { continue };
            if self.is_blocked(token) {
                continue; // until `Writable`
            }
            if self.in_flight.contains(&token) {
                echo.dirty.push(token); // until the next turn
                continue;
            }
            if !voice.output.is_empty() {
                let output = std::mem::take(&mut voice.output);
                echo.dirty.push(token);
                let payload = match self.cork(&output) {
                    Some(range) => Payload::Corked(range),
                    None => Payload::Owned { lease: Lease::detached(output), from: 0 },
                };
                self.send(token, payload, false);
            } else if voice.finished {
                echo.voices.remove(&token);
                self.submit(Op::Close, token);
            }
        }
    }
}

/// What echoed connections have yet to say, and how many are through.
#[derive(Default)]
pub(crate) struct Echo {
    voices: HashMap<Token, Voice>,
    dirty: Vec<Token>,
    pub(crate) failed_count: usize,
    pub(crate) closed_count: usize,
}

#[derive(Default)]
struct Voice {
    output: Vec<u8>,
    finished: bool,
}

impl Echo {
    fn say(&mut self, token: Token, bytes: &[u8]) {
        self.voices.entry(token).or_default().output.extend(bytes);
        self.dirty.push(token);
    }

    /// What was to be sent already stands in front of what came since.
    fn say_first(&mut self, token: Token, bytes: &[u8]) {
        if let Some(voice) = self.voices.get_mut(&token) {
            voice.output.splice(0..0, bytes.iter().copied());
        }
    }

    fn finish(&mut self, token: Token) {
        self.voices.entry(token).or_default().finished = true;
        self.dirty.push(token);
    }
}
