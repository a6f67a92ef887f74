//! Stories that have to end well, for any seed.

use std::time::Duration;

use super::{
    LONGEST_STORY, MEASURE, REQUEST, Simulation,
    actor::{Actor, Wire},
    connection,
};
use crate::{
    config::Config,
    conn::{CloseCause, Deadline, Overflow, SendQueue, Timeouts},
    driver::sim::{Dice, End, Faults, Peer},
    endpoint::Shutdown,
    protocol::{CloseCode, Limits, MaskingKey, Opcode, Rsv, append_frame, handshake::Acceptance},
};

/// Plays one story with `count` actors, to the end, and says how long it was in virtual time.
fn play<const EACH_TURN: bool>(
    seed: u64,
    count: usize,
    faults: Faults,
    config: Config,
) -> Duration {
    let mut dice = Dice::new(seed);
    let mut simulation = Simulation::<EACH_TURN>::new(seed, faults, config);
    simulation.seen.borrow_mut().deferring = seed.is_multiple_of(2);
    let mut actors: Vec<Actor> = Vec::new();
    let mut turns = 0_u32;
    loop {
        while actors.len() < count && dice.chance(0.5) {
            actors.push(Actor::new(&simulation.network, dice.roll()));
        }
        simulation.turn();
        if dice.chance(0.3) {
            decide_some(&simulation, &mut dice);
        }
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

/// Answers some of the upgrades that were deferred. An actor takes 101 or 503 for an answer.
fn decide_some<const EACH_TURN: bool>(simulation: &Simulation<EACH_TURN>, dice: &mut Dice) {
    let tickets = std::mem::take(&mut simulation.seen.borrow_mut().tickets);
    for ticket in tickets {
        match dice.up_to(4) {
            0 => simulation.seen.borrow_mut().tickets.push(ticket),
            1 => drop(ticket),
            _ => ticket.with(7).accept(Acceptance::new()).expect("the server is there"),
        }
    }
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

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_peer_does_nothing_is_left_behind(data: Vec<u8>) {
        connection(&data);
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

/// Nor does one whose request came in pieces.
#[test]
fn an_open_connection_that_is_silent_holds_nothing() {
    for_seeds(600..620, |seed| {
        let mut simulation = Simulation::<true>::new(seed, Faults::ROUGH, roomy());
        let peer = simulation.network.connect(0);
        let (head, tail) = REQUEST.split_at(REQUEST.len() / 2);
        peer.send(head);
        (0..20).for_each(|_| simulation.turn());
        peer.send(tail);
        while simulation.seen.borrow().opened == 0 {
            simulation.turn();
        }
        assert_eq!(simulation.reactor.half_received_count(), 0);
    });
}

impl<const EACH_TURN: bool> Simulation<EACH_TURN> {
    /// A peer whose connection is open.
    fn open(&mut self) -> Peer {
        let peer = self.network.connect(0);
        peer.send(REQUEST);
        self.turns_until(|this| this.seen.borrow().opened > 0);
        // What it was answered is all that it has been sent.
        let mut answer = Vec::new();
        self.turns_until(|_| {
            answer.extend(peer.received());
            answer.ends_with(b"\r\n\r\n")
        });
        peer
    }

    fn turns_until(&mut self, mut condition: impl FnMut(&Self) -> bool) {
        for _ in 0..LONGEST_STORY {
            if condition(self) {
                return;
            }
            self.turn();
        }
        panic!("it never comes to that");
    }
}

/// A frame as a client sends it.
fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    append_frame(&mut frame, true, Rsv::NONE, opcode, Some(MaskingKey::new([1; 4])), payload);
    frame
}

#[test]
fn a_round_trip_takes_as_long_as_it_takes() {
    for_seeds(700..710, |seed| {
        let mut simulation = Simulation::<true>::new(seed, Faults::NONE, roomy());
        let peer = simulation.open();
        for pause in [0, 1, 7_777, 20_000].map(Duration::from_millis) {
            let began = simulation.network.now();
            peer.send(&masked(Opcode::Text, MEASURE.as_bytes()));
            let mut ping = Vec::new();
            simulation.turns_until(|_| {
                ping.extend(peer.received());
                ping.len() >= 18
            });
            assert_eq!(ping[..2], [0x89, 16]);
            // Any other pong is no answer to it, neither one that was not asked for nor an old one.
            peer.send(&masked(Opcode::Pong, b""));
            let asked = simulation.network.now();
            simulation.network.alarm(pause);
            simulation.turns_until(|this| this.network.now() >= asked + pause);
            let count = simulation.seen.borrow().rtts.len();
            (0..2).for_each(|_| peer.send(&masked(Opcode::Pong, &ping[2..])));
            simulation.turns_until(|this| this.seen.borrow().rtts.len() > count);
            let rtt = simulation.seen.borrow().rtts[count];
            assert!(rtt >= pause && rtt <= simulation.network.now() - began, "{rtt:?}");
        }
        assert_eq!(simulation.seen.borrow().rtts.len(), 4);
    });
}

/// What it says meanwhile is no excuse.
#[test]
fn who_takes_nothing_is_given_up_and_who_takes_little_is_not() {
    for_seeds(800..810, |seed| {
        let timeouts = Timeouts { send: Some(Duration::from_secs(10)), ..Timeouts::default() };
        let mut simulation =
            Simulation::<true>::new(seed, Faults::NONE, Config { timeouts, ..roomy() });
        let peer = simulation.open();
        peer.set_window(5000);
        peer.stop_reading(true);
        let message = "x".repeat(500_000);
        peer.send(&masked(Opcode::Text, message.as_bytes()));
        let second = |simulation: &mut Simulation<true>| {
            let until = simulation.network.now() + Duration::from_secs(1);
            peer.send(&masked(Opcode::Ping, b""));
            simulation.turns_until(|this| this.network.now() >= until);
        };
        for _ in 0..10 {
            (0..6).for_each(|_| second(&mut simulation));
            peer.stop_reading(false);
            simulation.turns_until(|_| !peer.received().is_empty());
            peer.stop_reading(true);
        }
        assert_eq!(simulation.seen.borrow().closed, []);
        (0..13).for_each(|_| second(&mut simulation));
        assert_eq!(simulation.seen.borrow().closed, [CloseCause::TimedOut(Deadline::Send)]);
        (0..7).for_each(|_| second(&mut simulation));
        simulation.check_end();
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
