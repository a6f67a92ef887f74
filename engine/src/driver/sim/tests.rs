//! The simulation, put to the test by an echo server and by reactors that break the law.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::{
    super::contract::{Echo, Event, Stage},
    *,
};
use crate::pool::Lease;

#[test]
fn a_conversation() {
    let (mut stage, network) = stage::<true>(1, Faults::NONE);
    let mut echo = Echo::default();
    let peer = network.connect(0);
    peer.send(b"hello");
    assert_eq!(peer.unreceived_len(), 5);
    while peer.received() != b"hello" {
        stage.echo_turn(&mut echo, None);
    }
    assert_eq!((peer.unreceived_len(), network.socket_count()), (0, 1));
    peer.finish();
    while peer.end().is_none() {
        stage.echo_turn(&mut echo, None);
    }
    assert_eq!((peer.end(), network.socket_count()), (Some(End::Finished), 0));
    assert_eq!(network.now(), Duration::ZERO, "a network without delays takes no time");
}

#[test]
fn every_byte_comes_back_on_a_rough_day() {
    for seed in 0..10 {
        echoes::<true>(seed, Faults::ROUGH);
        echoes::<false>(seed, Faults::ROUGH);
    }
}

/// Peers that are not reset get every byte back, and nobody gets a wrong one.
#[test]
fn no_byte_is_wrong_on_a_hostile_day() {
    for seed in 100..110 {
        echoes::<true>(seed, Faults::HOSTILE);
        echoes::<false>(seed, Faults::HOSTILE);
    }
}

/// Forty peers that talk, stop reading, finish or reset as the seed has it.
fn echoes<const EACH_TURN: bool>(seed: u64, faults: Faults) {
    let is_hostile = faults.reset > 0.0;
    let (mut stage, network) = stage::<EACH_TURN>(seed, faults);
    let mut dice = Dice::new(!seed);
    let mut echo = Echo::default();
    let mut friends: Vec<_> =
        (0..40).map(|_| Friend::new(network.connect(0), &mut dice, is_hostile)).collect();
    for _ in 0..100_000 {
        stage.echo_turn(&mut echo, Some(Duration::from_millis(20)));
        for friend in &mut friends {
            friend.act(&mut dice);
        }
        if friends.iter().all(Friend::is_done) && network.socket_count() == 0 {
            return;
        }
    }
    panic!("some are still waiting: {:?}", friends.iter().find(|friend| !friend.is_done()));
}

/// A peer with a text to say, that knows what it has to hear.
#[derive(Debug)]
struct Friend {
    peer: Peer,
    text: Vec<u8>,
    said: usize,
    heard: usize,
    has_finished: bool,
    has_reset: bool,
    may_be_reset: bool,
}

impl Friend {
    fn new(peer: Peer, dice: &mut Dice, may_be_reset: bool) -> Self {
        let len = dice.below(60_000);
        let text = (0..len).map(|_| dice.roll() as u8).collect();
        Self { peer, text, said: 0, heard: 0, has_finished: false, has_reset: false, may_be_reset }
    }

    fn act(&mut self, dice: &mut Dice) {
        let heard = self.peer.received();
        assert_eq!(heard, self.text[self.heard..][..heard.len()], "a wrong byte");
        self.heard += heard.len();
        if self.has_reset || self.has_finished {
            return;
        }
        if self.said < self.text.len() && dice.chance(0.5) {
            let len = 1 + dice.below((self.text.len() - self.said).min(5000));
            self.peer.send(&self.text[self.said..][..len]);
            self.said += len;
        }
        self.peer.stop_reading(dice.chance(0.3) && self.said < self.text.len());
        if self.may_be_reset && dice.chance(0.001) {
            self.peer.reset();
            self.has_reset = true;
        } else if self.said == self.text.len() {
            self.peer.stop_reading(false);
            self.peer.finish();
            self.has_finished = true;
        }
    }

    fn is_done(&self) -> bool {
        match self.peer.end() {
            Some(End::Finished) => {
                assert_eq!(self.heard, self.text.len(), "bytes were lost");
                true
            }
            Some(End::Reset) => {
                assert!(self.may_be_reset, "nobody resets anything today");
                true
            }
            None => self.has_reset,
        }
    }
}

#[test]
fn a_seed_tells_one_story() {
    fn story<const EACH_TURN: bool>(seed: u64) -> Vec<String> {
        let (mut stage, network) = stage::<EACH_TURN>(seed, Faults::ROUGH);
        let peers: Vec<_> = (0..5).map(|_| network.connect(0)).collect();
        peers.iter().for_each(|peer| peer.send(&[7; 3000]));
        let mut story = Vec::new();
        for _ in 0..100 {
            stage.driver.wait(Some(Duration::from_millis(5))).unwrap();
            while let Some((completion, _)) = stage.driver.next() {
                let event = Event::from(completion);
                story.push(format!("{:?} {event:?}", network.now()));
                match event {
                    Event::Accepted { socket, .. } => drop(stage.attach(socket)),
                    Event::AcceptFailed(listener, _) => stage.driver.accept(listener),
                    _ => {}
                }
            }
        }
        story
    }
    assert_eq!(story::<true>(5), story::<true>(5));
    assert_eq!(story::<false>(5), story::<false>(5));
    assert_ne!(story::<true>(5), story::<true>(6));
    assert!(story::<true>(5).len() > 10);
}

/// A thousand connections that say something every minute, for two hours.
#[test]
fn hours_pass_in_a_moment() {
    let (mut stage, network) = stage::<true>(3, Faults { short_receive: 0.0, ..Faults::ROUGH });
    let mut echo = Echo::default();
    let peers: Vec<_> = (0..1000).map(|_| network.connect(0)).collect();
    for minute in 0..120_u32 {
        peers.iter().for_each(|peer| peer.send(&minute.to_be_bytes()));
        let end = Duration::from_secs(60) * (minute + 1);
        while network.now() < end {
            stage.echo_turn(&mut echo, Some(end - network.now()));
        }
        for peer in &peers {
            assert_eq!(peer.received(), minute.to_be_bytes());
        }
    }
    assert_eq!(network.now(), Duration::from_secs(7200));
}

#[test]
fn time_goes_where_waiting_lets_it() {
    let (mut stage, network) = stage::<true>(1, Faults::NONE);
    let sim = &mut stage.driver;
    sim.wait(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(network.now(), Duration::from_secs(5));
    network.alarm(Duration::from_secs(2));
    sim.wait(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(network.now(), Duration::from_secs(7), "the alarm is first");
    network.connect(0);
    sim.wait(Some(Duration::from_secs(5))).unwrap();
    sim.wait(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(network.now(), Duration::from_secs(7), "something is left to be taken");
    assert!(sim.next().is_some());
    stage.waker.wake();
    let sim = &mut stage.driver;
    sim.wait(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(network.now(), Duration::from_secs(7), "woken");
    sim.wait(None).unwrap();
    sim.wait(Some(Duration::from_secs(1))).unwrap();
    assert_eq!(network.now(), Duration::from_secs(8));
}

#[test]
fn a_pause_holds_bytes_back() {
    each(|stage, network| {
        let (peer, token) = attached(stage, network);
        stage.submit(Op::Pause, token);
        peer.send(b"abc");
        peer.finish();
        assert_eq!(events(stage), "");
        stage.submit(Op::Resume, token);
        assert_eq!(events(stage), "Received 0.0 3 B, Finished 0.0");
    });
}

#[test]
fn a_narrow_window_pushes_back() {
    each(|stage, network| {
        let (peer, token) = attached(stage, network);
        peer.set_window(10);
        peer.stop_reading(true);
        stage.send(token, Payload::Shared(Bytes::from_static(b"twelve bytes")), true);
        assert_eq!(events(stage), "Unsent 0.0 2 B");
        assert_eq!(peer.received(), b"");
        peer.stop_reading(false);
        assert_eq!(events(stage), "Writable 0.0");
        assert_eq!(peer.received(), b"twelve byt");
        stage.send(token, Payload::Shared(Bytes::from_static(b"es")), true);
        assert_eq!(events(stage), "Sent 0.0");
        stage.submit(Op::Shutdown, token);
        assert_eq!(events(stage), "");
        assert_eq!((peer.received(), peer.end()), (b"es".to_vec(), Some(End::Finished)));
    });
}

#[test]
fn ends_are_told_once() {
    each(|stage, network| {
        let (peer, token) = attached(stage, network);
        peer.reset();
        assert_eq!(events(stage).split(" 0.0").next(), Some("Failed"));
        stage.submit(Op::Close, token);
        assert_eq!(events(stage), "Closed 0.0");

        let (peer, token) = attached(stage, network);
        peer.close();
        assert_eq!(events(stage), "Finished 0.1");
        stage.send(token, Payload::Shared(Bytes::from_static(b"hello?")), false);
        assert_eq!(events(stage).split(" 0.1").next(), Some("Failed"));
        stage.submit(Op::Abort, token);
        assert_eq!((events(stage).as_str(), network.socket_count()), ("Closed 0.1", 0));
        assert_eq!(peer.end(), Some(End::Reset));
    });
}

#[test]
fn bytes_that_nobody_received_make_a_close_a_reset() {
    each(|stage, network| {
        let (peer, token) = attached(stage, network);
        stage.submit(Op::Pause, token);
        peer.send(b"unheard");
        assert_eq!(events(stage), "");
        stage.submit(Op::Close, token);
        assert_eq!(events(stage), "Closed 0.0");
        assert_eq!(peer.end(), Some(End::Reset));

        let late = network.connect(0);
        let socket = accepted(stage);
        stage.driver.discard(socket);
        assert_eq!((late.end(), network.socket_count()), (None, 0));
        assert_eq!(events(stage), "");
        assert_eq!(late.end(), Some(End::Finished));
        late.send(b"anyone?");
        assert_eq!(events(stage), "");
        assert_eq!(late.end(), Some(End::Reset));
    });
}

#[test]
fn buffers_come_back_whatever_happens() {
    each(|stage, network| {
        let (peer, token) = attached(stage, network);
        peer.reset();
        let owned = || Payload::Owned { lease: Lease::detached(vec![1, 2, 3]), from: 0 };
        stage.driver.wait(Some(Duration::ZERO)).unwrap();
        stage.send(token, owned(), true);
        let seen = events(stage);
        assert!(seen.starts_with("Unsent 0.0 3 B, Failed 0.0"), "{seen}");
        stage.submit(Op::Close, token);
        assert_eq!(events(stage), "Closed 0.0");

        let (_, token) = attached(stage, network);
        stage.send(token, owned(), true);
        stage.submit(Op::Close, token);
        assert_eq!(events(stage), "Sent 0.1, Closed 0.1");
    });
}

#[test]
fn accepting_fails_until_asked_again() {
    let (mut stage, network) = stage::<true>(9, Faults { accept_failure: 1.0, ..Faults::NONE });
    network.connect(0);
    assert!(events(&mut stage).starts_with("AcceptFailed 0"));
    assert_eq!(events(&mut stage), "");
    network.set_faults(Faults::NONE);
    stage.driver.accept(0);
    assert!(events(&mut stage).starts_with("Accepted 0"));
}

#[test]
fn a_closed_listener_turns_away_who_waits_and_who_comes() {
    let (mut stage, network) = stage::<true>(9, Faults { accept_failure: 1.0, ..Faults::NONE });
    let waiting = network.connect(0);
    assert!(events(&mut stage).starts_with("AcceptFailed 0"));
    stage.driver.close_listener(0);
    assert_eq!(events(&mut stage), "");
    let late = network.connect(0);
    assert_eq!(events(&mut stage), "");
    assert_eq!((waiting.end(), late.end()), (Some(End::Reset), Some(End::Reset)));
    stage.driver.accept(0);
    assert_eq!(events(&mut stage), "");
}

#[test]
fn laws_are_enforced() {
    type Crime<'a> = &'a dyn Fn(&mut Sim<true>, Token, &Network);
    let send = |sim: &mut Sim<true>, token, payload| {
        sim.submit(Op::Send { payload, acknowledge: false }, token);
    };
    let text = || Payload::Shared(Bytes::from_static(b"text"));
    let check = |expected: &str, crime: Crime<'_>| {
        let (mut stage, network) = stage::<true>(42, Faults::NONE);
        let (peer, token) = attached(&mut stage, &network);
        peer.set_window(2);
        let crime = || crime(&mut stage.driver, token, &network);
        let panic = catch_unwind(AssertUnwindSafe(crime)).expect_err(expected);
        let said = panic.downcast_ref::<String>().expect("a message");
        assert!(said.contains(expected) && said.contains("seed 42"), "{expected}: {said}");
    };
    check("sends twice", &|sim, token, _| {
        send(sim, token, text());
        send(sim, token, text());
    });
    check("before the refused rest", &|sim, token, _| {
        send(sim, token, text());
        sim.wait(Some(Duration::ZERO)).unwrap();
        send(sim, token, text());
    });
    check("behind `Shutdown`", &|sim, token, _| {
        sim.submit(Op::Shutdown, token);
        sim.wait(Some(Duration::ZERO)).unwrap();
        send(sim, token, text());
    });
    check("which is closing", &|sim, token, _| {
        sim.submit(Op::Close, token);
        sim.submit(Op::Pause, token);
    });
    check("is closed", &|sim, token, _| {
        sim.submit(Op::Close, token);
        sim.wait(None).unwrap();
        assert!(matches!(sim.next(), Some((Completion::Closed { .. }, _))));
        sim.submit(Op::Pause, token);
    });
    check("never attached", &|sim, token, _| {
        sim.submit(Op::Pause, Token { generation: token.generation + 1, ..token });
    });
    check("is taken", &|sim, token, network| {
        network.connect(0);
        sim.wait(None).unwrap();
        let Some((Completion::Accepted { socket, .. }, _)) = sim.next() else { panic!() };
        sim.submit(Op::Attach(socket), token);
    });
    check("not just accepted", &|sim, token, _| sim.submit(Op::Attach(Socket(0)), token));
    check("not just accepted", &|sim, _, _| sim.discard(Socket(0)));
    check("of 0 corked bytes", &|sim, token, _| send(sim, token, Payload::Corked(0..3)));
    check("sent already", &|sim, token, network| {
        sim.arena().take(10).unwrap();
        send(sim, token, Payload::Corked(2..8));
        let second = Token { index: token.index + 1, ..token };
        network.connect(0);
        sim.world().catch_up();
        let Some((Completion::Accepted { socket, .. }, _)) = sim.next() else { panic!() };
        sim.submit(Op::Attach(socket), second);
        send(sim, second, Payload::Corked(7..9));
    });
}

// ---- Helpers ----

fn stage<const EACH_TURN: bool>(seed: u64, faults: Faults) -> (Stage<Sim<EACH_TURN>>, Network) {
    let waker = Waker::new().unwrap();
    let mut sim = Sim::new(seed, faults, &Settings::default(), waker.clone());
    let network = sim.network();
    sim.accept(0);
    (Stage::around(sim, waker, Vec::new()), network)
}

/// Plays a scene with some seeds, without faults.
fn each(play: impl Fn(&mut Stage<Sim<true>>, &Network)) {
    for seed in 0..20 {
        let (mut stage, network) = stage(seed, Faults::NONE);
        play(&mut stage, &network);
    }
}

fn accepted<const EACH_TURN: bool>(stage: &mut Stage<Sim<EACH_TURN>>) -> Socket {
    stage.driver.wait(None).unwrap();
    let Some((Completion::Accepted { socket, .. }, _)) = stage.driver.next() else { panic!() };
    socket
}

fn attached<const EACH_TURN: bool>(
    stage: &mut Stage<Sim<EACH_TURN>>,
    network: &Network,
) -> (Peer, Token) {
    let peer = network.connect(0);
    let socket = accepted(stage);
    (peer, stage.attach(socket))
}

/// What happens in a few turns, as text.
fn events<const EACH_TURN: bool>(stage: &mut Stage<Sim<EACH_TURN>>) -> String {
    for _ in 0..3 {
        stage.turn_at_most(Duration::from_secs(1));
    }
    let events = stage.backlog.drain(..).map(|event| format!("{event:?}"));
    events.collect::<Vec<_>>().join(", ")
}
