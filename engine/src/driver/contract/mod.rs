//! The drivers' contract as tests, for every driver that talks to real sockets.
//!
//! A driver's test module says which driver it is about, and gets one test for each scene below:
//!
//! ```text
//! contract_tests!(Epoll::new);
//! ```
//!
//! A scene plays on a [`Stage`]: the driver, a plain stand-in for the reactor around it, and peers
//! from the standard library. A [`Witness`](witness::Witness) watches every completion and knows the laws that hold
//! always, so that a scene has to say only what is particular to it. Whatever a bug does, a scene
//! ends: peers, turns and the scene as a whole have a bound in time.

mod adopting;
mod connecting;
mod peer;
mod stage;
mod witness;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;

pub(crate) use self::{
    adopting::{
        adopts_and_hears_what_came_first, adopts_and_is_heard, adopts_many_at_once,
        adopts_no_more_than_it_may_hold, adopts_of_another_family, closes_while_it_adopts,
    },
    connecting::{
        closes_while_it_connects, connects_and_hears_what_came_first, connects_and_is_heard,
        connects_from_an_address, connects_many_at_once, connects_to_a_path,
        fails_where_no_socket_can_be, fails_where_nobody_listens,
    },
    stage::{Echo, Make, Stage},
    witness::Event,
};
use self::{
    peer::{
        PATIENCE, assert_pattern, connect, is_over, join, pattern, read_exactly, read_to_end,
        read_to_end_aside, reset,
    },
    stage::{TURN, on_stage, on_stage_with},
    witness::visible,
};
use super::{ACCEPTS_PER_TURN, Completion, Driver, Flush, Op, Payload, Settings};
use crate::pool::Lease;

/// Makes a test of every scene, for the driver that `$make` (see [`Make`]) makes.
macro_rules! contract_tests {
    ($make:expr) => {
        $crate::driver::contract::contract_tests! {
            $make;
            echoes_small_messages,
            echoes_a_megabyte_in_pieces,
            answers_beside_the_lent_bytes,
            fills_the_arena_in_every_turn,
            sends_a_common_stretch_to_many,
            serves_many_connections_at_once,
            serves_a_whisper_beside_a_flood,
            ends_a_turn_however_fast_a_peer_reads,
            hands_back_what_a_full_socket_refuses_corked,
            hands_back_what_a_full_socket_refuses_common,
            hands_back_what_a_full_socket_refuses_owned,
            hands_back_what_a_full_socket_refuses_shared,
            acknowledges_sends,
            tells_what_is_unsent_before_the_turn_is_over,
            holds_its_breath_while_paused,
            pauses_from_the_first_byte,
            finishes_behind_the_bytes_held_by_a_pause,
            pauses_and_resumes_in_one_turn,
            receives_straight_into_a_buffer,
            receives_by_request_after_a_pause,
            finishes_behind_what_was_requested,
            hands_back_the_buffer_of_a_closed_socket,
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
            accepts_a_few_at_a_time,
            accepts_again_after_it_failed,
            closes_its_listeners,
            leaves_copies_of_a_listener_alone,
            connects_and_is_heard,
            connects_and_hears_what_came_first,
            connects_from_an_address,
            connects_to_a_path,
            connects_many_at_once,
            fails_where_nobody_listens,
            fails_where_no_socket_can_be,
            closes_while_it_connects,
            adopts_and_is_heard,
            adopts_and_hears_what_came_first,
            adopts_of_another_family,
            adopts_many_at_once,
            adopts_no_more_than_it_may_hold,
            closes_while_it_adopts,
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

/// One stretch of the arena, sent by many and with an answer of each behind it: nobody's bytes move
/// before the last of them has it.
pub(crate) fn sends_a_common_stretch_to_many<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let mut peers: Vec<_> = (0..20).map(|_| stage.connect()).collect();
        for round in 0..5_u8 {
            let common = stage.cork(&[round; 300]).expect("an empty arena");
            for (number, (_, token)) in peers.iter().enumerate() {
                if number % 4 == 3 {
                    let own = stage.cork(&[number as u8; 10]).expect("room");
                    stage.send(*token, Payload::Corked(own), false);
                } else {
                    stage.send(*token, Payload::Common(common.clone()), false);
                }
            }
            stage.turn();
            for (number, (peer, _)) in peers.iter_mut().enumerate() {
                if number % 4 == 3 {
                    assert_eq!(read_exactly(peer, 10), [number as u8; 10]);
                } else {
                    assert_eq!(read_exactly(peer, 300), [round; 300]);
                }
            }
        }
    });
}

pub(crate) fn hands_back_what_a_full_socket_refuses_common<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        overfill(stage, |stage, offset| {
            let range = stage.cork(&pattern(offset, 100_000)).expect("an empty arena");
            (Payload::Common(range), 100_000)
        });
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

/// Sent on as soon as it is acknowledged, output could go on for ever: it goes on in the next turn.
pub(crate) fn ends_a_turn_however_fast_a_peer_reads<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (peer, token) = stage.connect();
        let reader = read_to_end_aside(peer);
        let shout = |driver: &mut D, len: &mut usize| {
            let payload = Payload::Shared(pattern(*len, 100).into());
            driver.submit(Op::Send { payload, acknowledge: true }, token);
            *len += 100;
        };
        let mut len = 0;
        shout(&mut stage.driver, &mut len);
        for _ in 0..100 {
            stage.driver.wait(Some(TURN)).unwrap();
            let mut sent_count = 0;
            while let Some((completion, _)) = stage.driver.next() {
                assert!(matches!(completion, Completion::Sent { .. }), "{completion:?}");
                sent_count += 1;
                assert_eq!(sent_count, 1, "a turn without end");
                if D::FLUSH == Flush::EachCompletion {
                    shout(&mut stage.driver, &mut len);
                }
            }
            if D::FLUSH == Flush::EachTurn && sent_count > 0 {
                shout(&mut stage.driver, &mut len);
            }
        }
        stage.driver.wait(Some(TURN)).unwrap();
        while stage.driver.next().is_some() {}
        stage.close(token);
        assert_pattern(&join(reader), 0, len);
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

/// However much else there is to tell: the reactor sends on once it has heard the last of a turn.
pub(crate) fn tells_what_is_unsent_before_the_turn_is_over<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut crowd, _): (Vec<_>, Vec<_>) = (0..100).map(|_| stage.connect()).unzip();
        let narrow: Vec<_> = (0..5).map(|_| stage.connect_narrow()).collect();
        for &(_, token) in &narrow {
            crowd.iter_mut().for_each(|peer| peer.write_all(b"by the way").unwrap());
            stage.send(token, Payload::Shared(vec![0; 8 << 20].into()), false);
            stage.turn();
            let is_it =
                |event: &Event| matches!(event, Event::Unsent(unsent, _) if *unsent == token);
            assert!(stage.backlog.iter().any(is_it), "{:?}", stage.backlog);
            stage.backlog.clear();
        }
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

pub(crate) fn receives_straight_into_a_buffer<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        peer.write_all(b"unasked").unwrap();
        assert_eq!(stage.receive(token, 7), b"unasked");
        stage.submit(Op::Ask, token);
        stage.submit(Op::Ask, token);
        stage.quiet("there is nothing to ask for"); // and nothing on its way any more
        let expected = pattern(1 << 20, 7);
        let sent = expected.clone();
        let peer = thread::spawn(move || {
            peer.write_all(&sent).unwrap();
            peer
        });
        let mut lease = Lease::detached(Vec::with_capacity(10 + expected.len()));
        lease.bytes_mut().extend(b"it is kept");
        let whole_len = 10 + expected.len();
        while lease.bytes().len() < whole_len {
            let left = whole_len - lease.bytes().len();
            lease = stage.receive_into(token, lease, left.min(100_000));
        }
        assert_eq!(&lease.bytes()[..10], b"it is kept");
        assert_eq!(&lease.bytes()[10..], expected);
        let mut peer = join(peer);
        peer.write_all(b"unasked again").unwrap();
        stage.readable(token);
        stage.submit(Op::Receive, token);
        assert_eq!(stage.receive(token, 13), b"unasked again");
        stage.close(token);
    });
}

pub(crate) fn receives_by_request_after_a_pause<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        stage.submit(Op::Ask, token);
        stage.submit(Op::Pause, token);
        peer.write_all(b"in good time").unwrap();
        stage.quiet("nothing is asked while it is paused");
        stage.submit(Op::Resume, token);
        let lease = Lease::detached(Vec::with_capacity(100));
        let lease = stage.receive_into(token, lease, 7);
        assert_eq!(lease.bytes(), b"in good");
        stage.readable(token);
        stage.submit(Op::Receive, token);
        assert_eq!(stage.receive(token, 5), b" time");
        stage.close(token);
    });
}

pub(crate) fn finishes_behind_what_was_requested<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (mut peer, token) = stage.connect();
        stage.submit(Op::Ask, token);
        peer.write_all(b"the last words").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut lease = Lease::detached(Vec::with_capacity(100));
        while lease.bytes().len() < 14 {
            lease = stage.receive_into(token, lease, 20);
        }
        assert_eq!(lease.bytes(), b"the last words");
        // Whether it takes another request depends on what the kernel said when.
        stage.until("`Finished`", |stage, event| match event {
            Event::Finished(_) => Some(()),
            Event::Readable(_) => {
                stage.submit(Op::Receive, token);
                None
            }
            other => panic!("{other:?}"),
        });
        stage.close(token);
    });
}

pub(crate) fn hands_back_the_buffer_of_a_closed_socket<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        for op in [Op::Close, Op::Abort] {
            let (mut peer, token) = stage.connect();
            stage.submit(Op::Ask, token);
            peer.write_all(b"never looked at").unwrap();
            stage.readable(token);
            let lease = Lease::detached(Vec::with_capacity(100));
            stage.submit(Op::ReceiveInto { lease, len: 100 }, token);
            stage.end(op, token); // `Closed` comes behind `Filled`, says the witness
        }
    });
}

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

pub(crate) fn accepts_a_few_at_a_time<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let crowd: Vec<_> = (0..120).map(|_| connect(stage.addresses[0])).collect();
        let (mut accepted, mut most) = (0, 0);
        let deadline = Instant::now() + PATIENCE;
        while accepted < crowd.len() {
            assert!(Instant::now() < deadline, "{accepted} were accepted");
            // Who waits in the driver is no reason to sleep, and none to overlook the others.
            stage.driver.wait(Some(PATIENCE)).unwrap();
            let mut count = 0;
            while let Some((completion, _)) = stage.driver.next() {
                assert!(matches!(completion, Completion::Accepted { .. }), "{completion:?}");
                count += 1;
            }
            accepted += count;
            most = most.max(count);
        }
        assert!((2..=ACCEPTS_PER_TURN).contains(&most), "{most} in one turn");
    });
}

pub(crate) fn accepts_again_after_it_failed<D: Driver>(make: impl Make<D>) {
    let settings = Settings { sockets_max: 2, ..Settings::default() };
    on_stage_with(make, settings, 1, |mut stage| {
        let (mut peers, mut tokens): (Vec<_>, Vec<_>) = (0..2).map(|_| stage.connect()).unzip();
        for _ in 0..3 {
            peers.push(connect(stage.addresses[0]));
            stage.until("no room for it", |_, event| match event {
                Event::AcceptFailed(0, _) => Some(()),
                other => panic!("{other:?}"),
            });
            peers.push(connect(stage.addresses[0]));
            stage.quiet("nothing from a listener at rest");
            stage.close(tokens.remove(0));
            stage.driver.accept(0);
            // Which of the two it is depends on whether the kernel kept the one that was refused.
            let socket = stage.accepted(0);
            tokens.push(stage.attach(socket));
        }
    });
}

/// Who waits in the kernel's queue then is reset, and who comes is refused.
pub(crate) fn closes_its_listeners<D: Driver>(make: impl Make<D>) {
    on_stage_with(make, Settings::default(), 3, |mut stage| {
        let (mut attached, token) = stage.connect();
        // One that accepts, one that did not even have a turn to begin.
        stage.driver.close_listener(0);
        stage.driver.accept(1);
        stage.driver.close_listener(1);
        stage.driver.close_listener(1);
        for closed in [0, 1] {
            let deadline = Instant::now() + PATIENCE;
            while TcpStream::connect(stage.addresses[closed]).is_ok() {
                assert!(Instant::now() < deadline, "it still listens");
                stage.turn_and_discard();
            }
            stage.driver.accept(closed);
        }
        stage.turn_and_discard();
        stage.quiet("nothing from a listener that is closed");
        attached.write_all(b"still there").unwrap();
        assert_eq!(stage.receive(token, 11), b"still there");
        let _peer = connect(stage.addresses[2]);
        stage.accepted(2);
    });
}

/// Others may hold the same socket: they do not notice.
pub(crate) fn leaves_copies_of_a_listener_alone<D: Driver>(make: impl Make<D>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let copy = OwnedFd::from(listener.try_clone().unwrap());
    let make = |settings: &Settings, _, waker| make(settings, vec![copy], waker);
    on_stage_with(make, Settings::default(), 1, move |mut stage| {
        stage.driver.wait(Some(Duration::ZERO)).unwrap();
        stage.driver.close_listener(0);
        // It may take a turn, in which one more is accepted: the copy's are those who come after.
        (0..3).for_each(|_| stage.turn());
        let mut peer = connect(address);
        stage.quiet("nothing from a listener that is closed");
        let (mut ours, from) = listener.accept().unwrap();
        assert_eq!(from, peer.local_addr().unwrap());
        ours.write_all(b"hello").unwrap();
        assert_eq!(read_exactly(&mut peer, 5), b"hello");
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
