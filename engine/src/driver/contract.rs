//! The drivers' contract as tests, for every driver that talks to real sockets.
//!
//! A driver's test module says which driver it is about, and gets one test for each scene below:
//!
//! ```text
//! contract_tests!(Epoll::new);
//! ```
//!
//! A scene plays on a [`Stage`]: the driver, a plain stand-in for the reactor around it, and peers
//! from the standard library. A [`Witness`] watches every completion and knows the laws that hold
//! always, so that a scene has to say only what is particular to it. Whatever a bug does, a scene
//! ends: peers, turns and the scene as a whole have a bound in time.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Completion, Driver, Flush, Op, Payload, RECEIVE_LEN_MAX, Settings, Socket, Token, Waker,
};
use crate::pool::{Lease, Slab};

/// Makes a test of every scene, for the driver that `$make` (see [`Make`]) makes.
macro_rules! contract_tests {
    ($make:expr) => {
        $crate::driver::contract::contract_tests! {
            $make;
            echoes_small_messages,
            echoes_a_megabyte_in_pieces,
            answers_beside_the_lent_bytes,
            fills_the_arena_in_every_turn,
            serves_many_connections_at_once,
            serves_a_whisper_beside_a_flood,
            hands_back_what_a_full_socket_refuses_corked,
            hands_back_what_a_full_socket_refuses_owned,
            hands_back_what_a_full_socket_refuses_shared,
            acknowledges_sends,
            holds_its_breath_while_paused,
            pauses_from_the_first_byte,
            finishes_behind_the_bytes_held_by_a_pause,
            pauses_and_resumes_in_one_turn,
            finishes_once_and_still_sends,
            shuts_down_and_still_receives,
            fails_once_on_a_reset,
            fails_while_output_waits,
            fails_when_nobody_is_left_to_send_to,
            closes_with_a_fin,
            closes_behind_the_last_send,
            closes_while_output_waits,
            aborts_with_a_reset,
            keeps_tenants_of_one_place_apart,
            discards_an_unattached_socket,
            accepts_from_several_listeners,
            stops_accepting_and_begins_again,
            is_woken_from_another_thread,
            is_woken_for_ever_if_need_be,
            waits_as_long_as_it_is_told,
            lets_go_of_everything_when_dropped,
        }
    };
    ($make:expr; $($scene:ident),* $(,)?) => {
        $(
            #[test]
            fn $scene() {
                $crate::driver::contract::$scene($make);
            }
        )*
    };
}
pub(crate) use contract_tests;

// ---- Scenes: receiving and sending ----

pub(crate) fn echoes_small_messages<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let address = stage.addresses[0];
        let peer = thread::spawn(move || {
            let mut peer = connect(address);
            for len in [1, 2, 64, 125, 126, 1000, 4096] {
                let message = pattern(len, len);
                peer.write_all(&message).unwrap();
                assert_eq!(read_exactly(&mut peer, len), message);
            }
        });
        stage.echo(1);
        join(peer);
    });
}

pub(crate) fn echoes_a_megabyte_in_pieces<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let address = stage.addresses[0];
        let peer = thread::spawn(move || {
            let mut reader = connect(address);
            let mut writer = reader.try_clone().unwrap();
            let written = thread::spawn(move || {
                for piece in pattern(0, 1 << 20).chunks(10_007) {
                    writer.write_all(piece).unwrap();
                }
                writer.shutdown(Shutdown::Write).unwrap();
            });
            assert_pattern(&read_to_end(&mut reader), 0, 1 << 20);
            join(written);
        });
        stage.echo(1);
        join(peer);
    });
}

/// The lent bytes are ours to change, and the arena that comes with them takes the answer.
pub(crate) fn answers_beside_the_lent_bytes<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        for round in 0..100_u8 {
            peer.write_all(&[round; 200]).unwrap();
            let mut answered = 0;
            while answered < 200 {
                stage.driver.wait(Some(TURN)).unwrap();
                let mut answer = None;
                while let Some((completion, arena)) = stage.driver.next() {
                    let Completion::Received { bytes, .. } = completion else {
                        panic!("{completion:?}")
                    };
                    assert!(answer.is_none(), "200 bytes are at once there");
                    bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
                    let start = arena.filled();
                    arena.take(bytes.len()).unwrap().copy_from_slice(bytes);
                    answered += bytes.len();
                    answer = Some(start..arena.filled());
                }
                if let Some(range) = answer {
                    stage.send(token, Payload::Corked(range), false);
                }
            }
            stage.turn();
            assert_eq!(read_exactly(&mut peer, 200), [round ^ 0x55; 200]);
        }
    });
}

/// The arena is empty again in every turn, however full the last turn left it.
pub(crate) fn fills_the_arena_in_every_turn<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (peer, token) = stage.connect();
        let reader = read_to_end_aside(peer);
        let mut offset = 0;
        while offset < 2 << 20 {
            let mut range = stage.cork(&pattern(offset, 60_000)).expect("the arena was full");
            let more = pattern(offset + 60_000, 20_000);
            range.end = stage.cork(&more).expect("the arena was full").end;
            stage.cork(&[0xEE; 10_000]).expect("a stretch that nobody sends");
            offset += 80_000;
            stage.send_whole(token, Payload::Corked(range));
            stage.send_the_rest(token);
        }
        stage.close(token);
        assert_pattern(&join(reader), 0, offset);
    });
}

pub(crate) fn serves_many_connections_at_once<D: Driver>(make: impl Make<D>) {
    const THREADS: usize = 8;
    const PEERS: usize = 25;
    on_stage(make, |stage| {
        let address = stage.addresses[0];
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                thread::spawn(move || {
                    let mut peers: Vec<_> = (0..PEERS).map(|_| connect(address)).collect();
                    for round in 0..3 {
                        let len = 200 + 37 * thread;
                        let seed = |peer| 1_000_000 * thread + 1000 * peer + round;
                        for piece in 0..40 {
                            for (n, peer) in peers.iter_mut().enumerate() {
                                peer.write_all(&pattern(seed(n) + piece * len, len)).unwrap();
                            }
                        }
                        for (n, peer) in peers.iter_mut().enumerate() {
                            let echo = read_exactly(peer, 40 * len);
                            assert_pattern(&echo, seed(n), 40 * len);
                        }
                    }
                })
            })
            .collect();
        stage.echo(THREADS * PEERS);
        threads.into_iter().for_each(join);
    });
}

pub(crate) fn serves_a_whisper_beside_a_flood<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (flooder, flooded) = stage.connect();
        let (mut whisperer, whispered) = stage.connect();
        let enough = Arc::new(AtomicBool::new(false));
        let flood = thread::spawn({
            let (enough, mut flooder) = (enough.clone(), flooder);
            move || {
                while !enough.load(Ordering::Relaxed) {
                    flooder.write_all(&[0; 100_000]).unwrap();
                }
            }
        });
        for whisper in 0..20_u8 {
            whisperer.write_all(&[whisper]).unwrap();
            stage.until("the whisper", |_, event| match event {
                Event::Received(token, bytes) if token == whispered => {
                    assert_eq!(bytes, [whisper]);
                    Some(())
                }
                Event::Received(token, _) => {
                    assert_eq!(token, flooded);
                    None
                }
                other => panic!("{other:?}"),
            });
        }
        enough.store(true, Ordering::Relaxed);
        stage.until("the end of the flood", |_, event| {
            matches!(event, Event::Finished(_)).then_some(())
        });
        join(flood);
    });
}

pub(crate) fn hands_back_what_a_full_socket_refuses_corked<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        overfill(stage, |stage, offset| {
            let range = stage.cork(&pattern(offset, 100_000)).expect("an empty arena");
            (Payload::Corked(range), 100_000)
        });
    });
}

pub(crate) fn hands_back_what_a_full_socket_refuses_owned<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        overfill(stage, |_, offset| {
            let mut bytes = vec![0xEE; 17];
            bytes.extend(pattern(offset, 3_000_000));
            (Payload::Owned { lease: Lease::detached(bytes), from: 17 }, 3_000_000)
        });
    });
}

pub(crate) fn hands_back_what_a_full_socket_refuses_shared<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        overfill(stage, |_, offset| {
            let mut bytes = vec![0xEE; 17];
            bytes.extend(pattern(offset, 3_000_000));
            (Payload::Shared(Bytes::from(bytes).slice(17..)), 3_000_000)
        });
    });
}

/// Sends what `more` makes until the socket is full, then lets the peer read and sends the rest.
fn overfill<D: Driver>(
    stage: &mut Stage<D>,
    mut more: impl FnMut(&mut Stage<D>, usize) -> (Payload, usize),
) {
    let (peer, token) = stage.connect_narrow();
    let mut offset = 0;
    while stage.rests.is_empty() {
        assert!(offset < 100_000_000, "the peer reads nothing, so the socket has to fill up");
        let (payload, len) = more(stage, offset);
        offset += len;
        stage.send_whole(token, payload);
        stage.turn_and_go_on_sending();
    }
    let rest = visible(&stage.rests[&token]);
    assert_pattern(rest, offset - rest.len(), rest.len());
    stage.quiet("nothing while the peer does not read");

    let reader = read_to_end_aside(peer);
    stage.send_the_rest(token);
    let (payload, len) = more(stage, offset);
    stage.send_whole(token, payload);
    stage.send_the_rest(token);
    stage.close(token);
    assert_pattern(&join(reader), 0, offset + len);
}

/// Whole sends answer `Sent` when asked to, with the buffer if there was one, and are silent else.
pub(crate) fn acknowledges_sends<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        let sent = |stage: &mut Stage<D>, payload: Payload| {
            stage.send(token, payload, true);
            stage.until("the acknowledgement", |_, event| match event {
                Event::Sent(sent, lease) => Some((sent == token).then_some(lease)),
                other => panic!("{other:?}"),
            })
        };
        let range = stage.cork(b"corked ").unwrap();
        assert_eq!(sent(stage, Payload::Corked(range)), Some(None));

        let lease = Lease::detached(b"not owned ".to_vec());
        let back = sent(stage, Payload::Owned { lease, from: 4 });
        assert_eq!(back, Some(Some(b"not owned ".to_vec())));

        let shared = Bytes::from_static(b"shared ");
        assert_eq!(sent(stage, Payload::Shared(shared)), Some(None));

        stage.send(token, Payload::Shared(Bytes::from_static(b"silent")), false);
        stage.quiet("a whole send that asked for no acknowledgement");
        assert_eq!(read_exactly(&mut peer, 26), b"corked owned shared silent");
    });
}

// ---- Scenes: pausing ----

pub(crate) fn holds_its_breath_while_paused<D: Driver>(make: impl Make<D>) {
    const LEN: usize = 1 << 20;
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        let writer = thread::spawn(move || {
            pattern(0, LEN).chunks(9_001).for_each(|piece| peer.write_all(piece).unwrap());
            peer
        });
        let mut received = Vec::new();
        while received.len() < LEN {
            let bytes = stage.until("bytes between pauses", |_, event| match event {
                Event::Received(_, bytes) => Some(bytes),
                other => panic!("{other:?}"),
            });
            received.extend(bytes);
            for event in std::mem::take(&mut stage.backlog) {
                let Event::Received(_, bytes) = event else { panic!("{event:?}") };
                received.extend(bytes);
            }
            stage.submit(Op::Pause, token);
            stage.turn_at_most(Duration::from_millis(1));
            stage.turn_at_most(Duration::ZERO);
            assert!(stage.backlog.is_empty(), "{:?}", stage.backlog);
            stage.submit(Op::Resume, token);
        }
        assert_pattern(&received, 0, LEN);
        join(writer);
    });
}

pub(crate) fn pauses_from_the_first_byte<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let mut peer = connect(stage.addresses[0]);
        peer.write_all(b"early").unwrap();
        let socket = stage.accepted(0);
        let token = stage.attach(socket);
        stage.submit(Op::Pause, token);
        stage.quiet("nothing, it was paused in the turn that attached it");
        peer.write_all(b" bird").unwrap();
        stage.quiet("nothing, it is still paused");
        stage.submit(Op::Resume, token);
        assert_eq!(stage.receive(token, 10), b"early bird");
    });
}

pub(crate) fn finishes_behind_the_bytes_held_by_a_pause<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        stage.submit(Op::Pause, token);
        stage.turn();
        peer.write_all(b"last words").unwrap();
        drop(peer);
        stage.quiet("nothing while paused");
        stage.submit(Op::Resume, token);
        assert_eq!(stage.receive(token, 10), b"last words");
        stage.finished(token);
    });
}

pub(crate) fn pauses_and_resumes_in_one_turn<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        for round in 0..20 {
            stage.submit(Op::Pause, token);
            stage.submit(Op::Resume, token);
            if round % 2 == 0 {
                stage.turn_at_most(Duration::ZERO);
            }
            peer.write_all(&[round; 100]).unwrap();
            assert_eq!(stage.receive(token, 100), [round; 100]);
        }
    });
}

// ---- Scenes: ends ----

pub(crate) fn finishes_once_and_still_sends<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        peer.write_all(b"bye").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stage.receive(token, 3), b"bye");
        stage.finished(token);
        stage.quiet("nothing after the end");
        stage.send(token, Payload::Shared(Bytes::from_static(b"goodbye")), false);
        stage.turn();
        assert_eq!(read_exactly(&mut peer, 7), b"goodbye");
        stage.close(token);
        assert_eq!(read_to_end(&mut peer), b"");
    });
}

pub(crate) fn shuts_down_and_still_receives<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        stage.send(token, Payload::Shared(Bytes::from_static(b"the end")), false);
        stage.turn();
        stage.submit(Op::Shutdown, token);
        stage.turn();
        assert_eq!(read_to_end(&mut peer), b"the end");
        for _ in 0..3 {
            peer.write_all(b"one more thing").unwrap();
            assert_eq!(stage.receive(token, 14), b"one more thing");
        }
        drop(peer);
        stage.finished(token);
        stage.close(token);
    });
}

pub(crate) fn fails_once_on_a_reset<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        for before in [b"".as_slice(), b"some bytes"] {
            let (mut peer, token) = stage.connect();
            peer.write_all(before).unwrap();
            stage.receive(token, before.len());
            reset(peer);
            let error = stage.failed(token);
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            stage.quiet("nothing after a failure");
            stage.close(token);
        }
    });
}

pub(crate) fn fails_while_output_waits<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (peer, token) = stage.connect_narrow();
        stage.send_until_unsent(token);
        reset(peer);
        stage.failed(token);
        stage.quiet("nothing after a failure");
        stage.close(token);
    });
}

/// A peer that closed and is sent to answers with a reset.
pub(crate) fn fails_when_nobody_is_left_to_send_to<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (peer, token) = stage.connect();
        drop(peer);
        stage.finished(token);
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "sending to nobody never failed");
            stage.send(token, Payload::Shared(Bytes::from_static(b"hello?")), false);
            stage.turn();
            match stage.backlog.pop_front() {
                Some(Event::Failed(..)) => break,
                Some(Event::Unsent(..)) | None => {}
                Some(other) => panic!("{other:?}"),
            }
        }
        stage.close(token);
    });
}

pub(crate) fn closes_with_a_fin<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        peer.write_all(b"hello").unwrap();
        assert_eq!(stage.receive(token, 5), b"hello");
        stage.close(token);
        assert_eq!(read_to_end(&mut peer), b"");
        stage.quiet("nothing behind `Closed`");
    });
}

/// A send and a close of the same turn: all bytes leave first.
pub(crate) fn closes_behind_the_last_send<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        for shutdown in [false, true] {
            let (mut peer, token) = stage.connect();
            let range = stage.cork(b"last words").unwrap();
            stage.send(token, Payload::Corked(range), false);
            if shutdown {
                stage.submit(Op::Shutdown, token);
            }
            stage.close(token);
            assert_eq!(read_to_end(&mut peer), b"last words");
        }
    });
}

pub(crate) fn closes_while_output_waits<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        for end in [Op::Close, Op::Abort] {
            let (_peer, token) = stage.connect_narrow();
            stage.send_until_unsent(token);
            stage.end(end, token);
            stage.quiet("nothing behind `Closed`");
        }
    });
}

pub(crate) fn aborts_with_a_reset<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        stage.end(Op::Abort, token);
        let error = peer.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

/// Tenants of one place follow each other at speed, each with bytes, pauses, unsent output or a
/// reset under way when it is closed. The witness sees to it that none gets another's completions.
pub(crate) fn keeps_tenants_of_one_place_apart<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let mut index = None;
        for round in 0..120_usize {
            let (mut peer, token) =
                if round % 6 == 3 { stage.connect_narrow() } else { stage.connect() };
            assert_eq!(*index.get_or_insert(token.index), token.index, "one place for all");
            let message = pattern(round, 50);
            peer.write_all(&message).unwrap();
            assert_eq!(stage.receive(token, 50), message);
            match round % 6 {
                0 => peer.write_all(&[0xEE; 1000]).unwrap(),
                1 => stage.submit(Op::Pause, token),
                2 => peer.shutdown(Shutdown::Write).unwrap(),
                3 => stage.send_until_unsent(token),
                4 => reset(peer.try_clone().unwrap()),
                _ => stage.submit(Op::Shutdown, token),
            }
            if round % 4 == 0 {
                stage.turn();
                stage.backlog.clear();
            }
            if round % 6 == 4 {
                drop(peer);
            }
            stage.end(if round % 5 == 0 { Op::Abort } else { Op::Close }, token);
        }
    });
}

pub(crate) fn discards_an_unattached_socket<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        for early in [b"".as_slice(), b"bytes that nobody reads"] {
            let mut peer = connect(stage.addresses[0]);
            peer.write_all(early).unwrap();
            let socket = stage.accepted(0);
            stage.driver.discard(socket);
            stage.quiet("nothing of a discarded socket");
            match peer.read(&mut [0; 8]) {
                Ok(0) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                other => panic!("{other:?}"),
            }
        }
        stage.connect();
    });
}

/// A driver that is dropped leaves no peer hanging.
pub(crate) fn lets_go_of_everything_when_dropped<D: Driver>(make: impl Make<D>) {
    on_stage_with(make, Settings::default(), 1, |mut stage| {
        let (mut attached, _) = stage.connect();
        let mut unattached = connect(stage.addresses[0]);
        stage.accepted(0);
        drop(stage);
        assert!(is_over(&mut attached) && is_over(&mut unattached));
    });
}

// ---- Scenes: accepting and waiting ----

pub(crate) fn accepts_from_several_listeners<D: Driver>(make: impl Make<D>) {
    on_stage_with(make, Settings::default(), 3, |mut stage| {
        let mut peers = Vec::new();
        for listener in [2, 0, 1, 1, 0, 2] {
            let mut peer = connect(stage.addresses[listener]);
            let socket = stage.accepted(listener);
            let token = stage.attach(socket);
            peer.write_all(&[listener as u8]).unwrap();
            assert_eq!(stage.receive(token, 1), [listener as u8]);
            peers.push(peer);
        }
    });
}

pub(crate) fn stops_accepting_and_begins_again<D: Driver>(make: impl Make<D>) {
    on_stage_with(make, Settings::default(), 2, |mut stage| {
        let mut peers = Vec::new();
        for _ in 0..3 {
            stage.driver.stop_accepting(0);
            for _ in 0..3 {
                stage.turn();
            }
            let mut peer = connect(stage.addresses[0]);
            stage.quiet("nothing from a listener at rest");
            peers.push(connect(stage.addresses[1]));
            stage.accepted(1);
            stage.driver.accept(0);
            let socket = stage.accepted(0);
            let token = stage.attach(socket);
            peer.write_all(b"patience").unwrap();
            assert_eq!(stage.receive(token, 8), b"patience");
            peers.push(peer);
        }
    });
}

pub(crate) fn is_woken_from_another_thread<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        for _ in 0..3 {
            let began = Instant::now();
            let is_time = Arc::new(AtomicBool::new(false));
            let thread = thread::spawn({
                let (is_time, waker) = (is_time.clone(), stage.waker.clone());
                move || {
                    thread::sleep(Duration::from_millis(20));
                    is_time.store(true, Ordering::Release);
                    waker.wake();
                }
            });
            while !is_time.load(Ordering::Acquire) {
                stage.driver.wait(Some(PATIENCE)).unwrap();
                assert!(stage.driver.next().is_none());
            }
            assert!(began.elapsed() < PATIENCE, "the wake-up went unnoticed");
            join(thread);
        }
        let began = Instant::now();
        stage.waker.wake();
        stage.driver.wait(Some(PATIENCE)).unwrap();
        assert!(began.elapsed() < PATIENCE, "a wake-up before the wait went unnoticed");
    });
}

pub(crate) fn is_woken_for_ever_if_need_be<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let waker = stage.waker.clone();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            waker.wake();
        });
        stage.driver.wait(None).unwrap();
        join(thread);
    });
}

/// A wait lasts about its timeout, now and always: past wake-ups and events do not make it spin.
pub(crate) fn waits_as_long_as_it_is_told<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        peer.write_all(b"x").unwrap();
        stage.receive(token, 1);
        stage.waker.wake();
        stage.driver.wait(Some(Duration::ZERO)).unwrap();
        stage.quiet("nothing");
        let began = Instant::now();
        for _ in 0..10 {
            stage.driver.wait(Some(Duration::from_millis(10))).unwrap();
            assert!(stage.driver.next().is_none());
        }
        // A wait may end early now and then, but not as a rule.
        assert!(began.elapsed() > Duration::from_millis(50), "it does not wait");
        stage.driver.wait(Some(Duration::ZERO)).unwrap();
    });
}

// ---- The stage ----

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

/// How long anything may take that takes no time at all unless something is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a whole scene may take.
const SCENE: Duration = Duration::from_secs(60);

/// How long a turn waits that has nothing to do.
const TURN: Duration = Duration::from_millis(20);

/// Plays a scene with one listener that accepts.
fn on_stage<D: Driver>(make: impl Make<D>, play: impl FnOnce(&mut Stage<D>) + Send + 'static) {
    on_stage_with(make, Settings::default(), 1, |mut stage| play(&mut stage));
}

/// Plays a scene, on a thread of its own so that it can be given up.
fn on_stage_with<D: Driver>(
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
    addresses: Vec<SocketAddr>,
    tokens: Slab<()>,
    witness: Witness,
    /// What finished and was not asked for yet.
    pub(crate) backlog: VecDeque<Event>,
    /// What sockets did not take, to be sent when they are writable.
    rests: HashMap<Token, Payload>,
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
    fn connect(&mut self) -> (TcpStream, Token) {
        let peer = connect(self.addresses[0]);
        let socket = self.accepted(0);
        (peer, self.attach(socket))
    }

    /// A peer that takes little before it reads.
    fn connect_narrow(&mut self) -> (TcpStream, Token) {
        let peer = connect_narrow(self.addresses[0]);
        let socket = self.accepted(0);
        (peer, self.attach(socket))
    }

    pub(crate) fn attach(&mut self, socket: Socket) -> Token {
        let token = self.tokens.insert(()).expect("room for a socket");
        self.submit(Op::Attach(socket), token);
        token
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
    fn send_whole(&mut self, token: Token, payload: Payload) {
        assert!(!self.rests.contains_key(&token));
        self.send(token, payload, false);
    }

    /// Copies `bytes` into the arena, if they fit.
    fn cork(&mut self, bytes: &[u8]) -> Option<std::ops::Range<usize>> {
        let arena = self.driver.arena();
        let start = arena.filled();
        arena.take(bytes.len())?.copy_from_slice(bytes);
        Some(start..arena.filled())
    }

    fn is_blocked(&self, token: Token) -> bool {
        self.witness.tenants.get(&token).is_some_and(|tenant| tenant.blocked)
    }

    /// Fills a socket whose peer does not read.
    fn send_until_unsent(&mut self, token: Token) {
        let lease = Lease::detached(vec![0; 64 << 20]);
        self.send(token, Payload::Owned { lease, from: 0 }, true);
        self.until("the rest of 64 MiB", |_, event| match event {
            Event::Unsent(unsent, _) if unsent == token => Some(()),
            other => panic!("{other:?}"),
        });
    }

    /// Closes, and sees it through.
    fn close(&mut self, token: Token) {
        self.end(Op::Close, token);
    }

    /// Closes or aborts, and sees it through.
    fn end(&mut self, op: Op, token: Token) {
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
    fn accepted(&mut self, listener: usize) -> Socket {
        self.until("an accepted socket", |_, event| match event {
            Event::Accepted { listener: from, socket, .. } => {
                assert_eq!(from, listener);
                Some(socket)
            }
            other => panic!("{other:?}"),
        })
    }

    /// Receives exactly `len` bytes.
    fn receive(&mut self, token: Token, len: usize) -> Vec<u8> {
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

    fn finished(&mut self, token: Token) {
        self.until("`Finished`", |_, event| match event {
            Event::Finished(finished) if finished == token => Some(()),
            other => panic!("{other:?}"),
        });
    }

    /// The failure of `token`. Before it comes what was on its way.
    fn failed(&mut self, token: Token) -> io::Error {
        self.until("`Failed`", |_, event| match event {
            Event::Failed(failed, error) if failed == token => Some(error),
            Event::Unsent(unsent, _) | Event::Received(unsent, _) if unsent == token => None,
            other => panic!("{other:?}"),
        })
    }

    /// Several turns in which nothing happens.
    fn quiet(&mut self, why: &str) {
        assert!(self.backlog.is_empty(), "{why}, and not {:?}", self.backlog);
        for _ in 0..3 {
            self.turn();
            assert!(self.backlog.is_empty(), "{why}, and not {:?}", self.backlog);
        }
    }

    /// Takes turns until `pick` finds what it looks for; what it refuses is dropped.
    fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&mut Self, Event) -> Option<T>) -> T {
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
    fn turn(&mut self) {
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

    /// One turn that expects nothing but the ups and downs of sending, and sends what is left.
    fn turn_and_go_on_sending(&mut self) {
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
    fn send_the_rest(&mut self, token: Token) {
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
    fn echo(&mut self, connections: usize) {
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

// ---- The witness ----

/// A completion to keep.
pub(crate) enum Event {
    Accepted { listener: usize, socket: Socket, peer: Option<SocketAddr> },
    AcceptFailed(usize, io::Error),
    Received(Token, Vec<u8>),
    Finished(Token),
    Sent(Token, Option<Vec<u8>>),
    Unsent(Token, Payload),
    Writable(Token),
    Failed(Token, io::Error),
    Closed(Token),
}

impl Event {
    fn token(&self) -> Option<Token> {
        match *self {
            Self::Accepted { .. } | Self::AcceptFailed(..) => None,
            Self::Received(token, _)
            | Self::Finished(token)
            | Self::Sent(token, _)
            | Self::Unsent(token, _)
            | Self::Writable(token)
            | Self::Failed(token, _)
            | Self::Closed(token) => Some(token),
        }
    }
}

impl From<Completion<'_>> for Event {
    fn from(completion: Completion<'_>) -> Self {
        match completion {
            Completion::Accepted { listener, socket, peer } => {
                Self::Accepted { listener, socket, peer }
            }
            Completion::AcceptFailed { listener, error } => Self::AcceptFailed(listener, error),
            Completion::Received { token, bytes } => Self::Received(token, bytes.to_vec()),
            Completion::Finished { token } => Self::Finished(token),
            Completion::Sent { token, lease } => {
                Self::Sent(token, lease.map(|lease| lease.bytes().to_vec()))
            }
            Completion::Unsent { token, rest } => Self::Unsent(token, rest),
            Completion::Writable { token } => Self::Writable(token),
            Completion::Failed { token, error } => Self::Failed(token, error),
            Completion::Closed { token } => Self::Closed(token),
        }
    }
}

/// Shows lengths where the bytes would fill the screen.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { listener, socket, .. } => {
                write!(f, "Accepted {listener} {socket:?}")
            }
            Self::AcceptFailed(listener, error) => write!(f, "AcceptFailed {listener} {error}"),
            Self::Received(token, bytes) => write!(f, "Received {token:?} {} B", bytes.len()),
            Self::Finished(token) => write!(f, "Finished {token:?}"),
            Self::Sent(token, _) => write!(f, "Sent {token:?}"),
            Self::Unsent(token, rest) => write!(f, "Unsent {token:?} {} B", visible(rest).len()),
            Self::Writable(token) => write!(f, "Writable {token:?}"),
            Self::Failed(token, error) => write!(f, "Failed {token:?} {error}"),
            Self::Closed(token) => write!(f, "Closed {token:?}"),
        }
    }
}

/// Knows the laws of the contract that hold in every scene.
#[derive(Default)]
struct Witness {
    tenants: HashMap<Token, Tenant>,
}

/// What was said about an attached socket.
#[derive(Debug, Default)]
struct Tenant {
    paused: bool,
    blocked: bool,
    finished: bool,
    failed: bool,
    closing: bool,
}

impl Witness {
    fn is_open(&self, token: Token) -> bool {
        self.tenants.get(&token).is_some_and(|tenant| !tenant.closing)
    }

    /// What the driver is asked.
    fn hear(&mut self, op: &Op, token: Token) {
        if let Op::Attach(_) = op {
            let before = self.tenants.insert(token, Tenant::default());
            assert!(before.is_none(), "{token:?} is attached twice");
        }
        let tenant = self.tenants.get_mut(&token).expect("an attached token");
        assert!(!tenant.closing, "{op:?} for {token:?}, which is closing");
        match op {
            Op::Pause => tenant.paused = true,
            Op::Resume => tenant.paused = false,
            Op::Close | Op::Abort => tenant.closing = true,
            Op::Attach(_) | Op::Send { .. } | Op::Shutdown => {}
        }
    }

    /// What the driver answers.
    fn see(&mut self, event: &Event) {
        let Some(token) = event.token() else { return };
        let tenant = self.tenants.get_mut(&token);
        let tenant = tenant.unwrap_or_else(|| panic!("{event:?} for a socket that is gone"));
        let is_open = !tenant.failed && !tenant.closing;
        let is_lawful = match event {
            Event::Received(_, bytes) => {
                !bytes.is_empty()
                    && bytes.len() <= RECEIVE_LEN_MAX
                    && !tenant.paused
                    && !tenant.finished
                    && is_open
            }
            Event::Finished(_) => !std::mem::replace(&mut tenant.finished, true) && is_open,
            // A buffer comes back whatever became of the socket.
            Event::Sent(..) => true,
            Event::Unsent(_, rest) => {
                !std::mem::replace(&mut tenant.blocked, true)
                    && !matches!(rest, Payload::Corked(_))
                    && !visible(rest).is_empty()
            }
            Event::Writable(_) => std::mem::replace(&mut tenant.blocked, false) && is_open,
            Event::Failed(..) => !std::mem::replace(&mut tenant.failed, true),
            Event::Closed(_) => tenant.closing,
            Event::Accepted { .. } | Event::AcceptFailed(..) => true,
        };
        assert!(is_lawful, "{event:?} is against the contract: {tenant:?}");
        if let Event::Closed(_) = event {
            self.tenants.remove(&token);
        }
    }
}

// ---- Peers ----

/// A peer whose calls do not block for ever.
fn connect(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).unwrap())
}

/// A peer with a small receive buffer.
fn connect_narrow(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&address.into()).unwrap();
    patient(socket.into())
}

fn patient(peer: TcpStream) -> TcpStream {
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.set_write_timeout(Some(PATIENCE)).unwrap();
    peer
}

/// Closes with a reset.
fn reset(peer: TcpStream) {
    let socket = socket2::Socket::from(peer);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    // A clone may still hold the descriptor: what resets is the last close.
    drop(socket);
}

/// Whether the other end has closed or reset the connection.
fn is_over(peer: &mut TcpStream) -> bool {
    match peer.read(&mut [0]) {
        Ok(len) => len == 0,
        // A ring that was dropped on this thread may still have a word with it.
        Err(error) if error.kind() == ErrorKind::Interrupted => is_over(peer),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn read_exactly(peer: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    peer.read_exact(&mut bytes).unwrap();
    bytes
}

fn read_to_end(peer: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    bytes
}

fn read_to_end_aside(mut peer: TcpStream) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || read_to_end(&mut peer))
}

/// What a thread came to; a panic of its goes on here.
fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause))
}

// ---- Bytes ----

/// `len` bytes of an endless sequence that looks different everywhere, from `offset` on.
fn pattern(offset: usize, len: usize) -> Vec<u8> {
    (offset..offset + len).map(|at| (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(31)) as u8).collect()
}

/// Says where the first difference is, instead of printing megabytes.
fn assert_pattern(bytes: &[u8], offset: usize, len: usize) {
    assert_eq!(bytes.len(), len, "bytes were lost or came twice");
    let expected = pattern(offset, len);
    let difference = bytes.iter().zip(&expected).position(|(got, expected)| got != expected);
    assert_eq!(difference, None, "of {len} bytes, the one here differs");
}

/// The bytes of what is left of a send.
fn visible(rest: &Payload) -> &[u8] {
    match rest {
        Payload::Corked(_) => panic!("what is left is never corked"),
        Payload::Owned { lease, from } => &lease.bytes()[*from..],
        Payload::Shared(bytes) => bytes,
    }
}
