//! The driver over real loopback sockets. Each wait is bounded, so that a bug fails instead of hangs.

mod multishot;

use std::{
    collections::{HashMap, HashSet},
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    time::Instant,
};

use bytes::Bytes;
use rustix::io::Errno;

use self::multishot::eager;
use super::{talkative::NEVER, *};
use crate::{driver::contract::contract_tests, pool::Lease};

mod contract {
    use super::*;

    contract_tests!(Uring::new);
}

/// The same with queues that overflow and buffers that run out.
mod contract_when_all_is_scarce {
    use super::*;

    contract_tests!(|settings: &Settings, listeners, waker| {
        let settings = Settings { receive_count: 2, receive_len: 1000, ..settings.clone() };
        Uring::on(Ring::new(&ring::FLAVOURS, 4, 8)?, &settings, listeners, waker)
    });
}

/// The same on a ring such as Linux 5.19 had.
mod contract_on_an_old_kernel {
    use super::*;

    contract_tests!(|settings: &Settings, listeners, waker| {
        let ring = Ring::new(&ring::FLAVOURS[3..], SUBMISSION_COUNT, COMPLETION_COUNT)?;
        Uring::on(ring, settings, listeners, waker)
    });
}

/// The same where every socket that speaks has a receive that goes on.
mod contract_among_the_talkative {
    use super::*;

    contract_tests!(|settings: &Settings, listeners, waker| {
        Uring::new(settings, listeners, waker).map(eager)
    });
}

/// And where its buffers run out all the time.
mod contract_among_the_talkative_when_all_is_scarce {
    use super::*;

    contract_tests!(|settings: &Settings, listeners, waker| {
        let settings = Settings { receive_count: 2, receive_len: 1000, ..settings.clone() };
        Uring::on(Ring::new(&ring::FLAVOURS, 4, 8)?, &settings, listeners, waker).map(eager)
    });
}

/// And on a ring such as Linux 6.0 had.
mod contract_among_the_talkative_on_an_old_kernel {
    use super::*;

    contract_tests!(|settings: &Settings, listeners, waker| {
        let ring = Ring::new(&ring::FLAVOURS[2..], SUBMISSION_COUNT, COMPLETION_COUNT)?;
        Uring::on(ring, settings, listeners, waker).map(eager)
    });
}

#[test]
fn echoes() {
    let mut server = Server::new(&Settings::default());
    let mut client = server.connect();
    let token = server.accept_one(&client);
    for len in [1, 5, 200, 4096, 32 * 1024, 100_000] {
        let message: Vec<u8> = (0..len).map(|n| n as u8).collect();
        client.write_all(&message).unwrap();
        let mut echoed = 0;
        server.run("echo", |driver, seen| {
            if let Seen::Received(from, bytes) = seen {
                assert_eq!(from, token);
                echoed += bytes.len();
                cork(driver, token, &bytes, false);
            }
            echoed == len
        });
        server.flush();
        let mut answer = vec![0; len];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, message);
    }
    server.close(token);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "FIN");
}

#[test]
fn every_kind_of_payload_leaves_and_comes_back_when_asked() {
    let mut server = Server::new(&Settings::default());
    let mut client = server.connect();
    let token = server.accept_one(&client);

    cork(&mut server.driver, token, b"corked ", true);
    assert_eq!(server.next("corked"), Seen::Sent(token, None));
    let lease = Lease::detached(b"...owned ".to_vec());
    let payload = Payload::Owned { lease, from: 3 };
    server.driver.submit(Op::Send { payload, acknowledge: true }, token);
    assert_eq!(server.next("owned"), Seen::Sent(token, Some(b"...owned ".to_vec())));
    let payload = Payload::Shared(Bytes::from_static(b"shared"));
    server.driver.submit(Op::Send { payload, acknowledge: true }, token);
    assert_eq!(server.next("shared"), Seen::Sent(token, None));

    let mut answer = [0; 19];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"corked owned shared");
    server.close(token);
}

#[test]
fn what_a_full_socket_does_not_take_comes_back() {
    let len = 16 << 20;
    let message: Vec<u8> = (0..len).map(|n| (n / 7) as u8).collect();
    let payloads: [fn(&mut Uring, Vec<u8>) -> Payload; 3] = [
        |driver, bytes| corked(driver, &bytes),
        |_, bytes| Payload::Owned { lease: Lease::detached(bytes), from: 0 },
        |_, bytes| Payload::Shared(bytes.into()),
    ];
    for payload in payloads {
        let settings = Settings { arena_len: len, ..Settings::default() };
        let mut server = Server::new(&settings);
        let mut client = server.connect();
        let token = server.accept_one(&client);
        let payload = payload(&mut server.driver, message.clone());
        server.driver.submit(Op::Send { payload, acknowledge: false }, token);
        let mut unsent = server.next("unsent");
        let reader = std::thread::spawn(move || {
            let mut received = vec![0; len];
            client.read_exact(&mut received).unwrap();
            (client, received)
        });
        loop {
            let Seen::Unsent(of, rest) = unsent else { panic!("{unsent:?}") };
            assert!(of == token && !rest.is_empty() && message.ends_with(&rest));
            assert_eq!(server.next("writable"), Seen::Writable(token));
            let payload = Payload::Owned { lease: Lease::detached(rest), from: 0 };
            server.driver.submit(Op::Send { payload, acknowledge: true }, token);
            unsent = server.next("sent or unsent");
            if matches!(unsent, Seen::Sent(..)) {
                break;
            }
        }
        let (_client, received) = reader.join().unwrap();
        assert!(received == message, "damaged on the way");
        server.close(token);
    }
}

#[test]
fn sends_of_one_turn_are_told_apart() {
    let mut server = Server::new(&Settings::default());
    let pairs: Vec<_> = (0..20).map(|_| server.pair()).collect();
    let big = Bytes::from(vec![7; 16 << 20]);
    for (number, (token, _)) in pairs.iter().enumerate() {
        // Every third is too big; some of the rest are silent, some acknowledged.
        match number % 3 {
            0 => {
                let payload = Payload::Shared(big.clone());
                server.driver.submit(Op::Send { payload, acknowledge: false }, *token);
            }
            kind => cork(&mut server.driver, *token, &[number as u8; 50], kind == 1),
        }
    }
    let mut seen_of = HashMap::new();
    server.run("7 unsent, 7 sent", |_, seen| {
        match seen {
            Seen::Unsent(token, rest) => {
                assert!(rest.len() < big.len());
                seen_of.insert(token, 0);
            }
            Seen::Sent(token, None) => drop(seen_of.insert(token, 1)),
            other => panic!("{other:?}"),
        }
        seen_of.len() == 14
    });
    for (number, (token, client)) in pairs.iter().enumerate() {
        let expected = [Some(0), Some(1), None][number % 3];
        assert_eq!(seen_of.get(token).copied(), expected);
        let mut answer = [0; 50];
        (&mut &*client).read_exact(&mut answer).unwrap();
        assert_eq!(answer, [if number % 3 == 0 { 7 } else { number as u8 }; 50]);
    }
}

#[test]
fn a_paused_socket_is_silent_until_it_is_resumed() {
    let mut server = Server::new(&Settings::default());
    let (token, mut client) = server.pair();
    for round in 0..20 {
        // Paused before it says anything, or while it does: a receive may be under way.
        if round % 2 == 0 {
            server.driver.submit(Op::Pause, token);
            client.write_all(&[round; 10]).unwrap();
            server.expect_silence();
        } else {
            client.write_all(&[round; 10]).unwrap();
            server.driver.wait(Some(BRIEFLY)).unwrap();
            // Seen by the driver, not by us: its poll fired, now it asks for the bytes.
            assert!(server.driver.next().is_none());
            server.driver.submit(Op::Pause, token);
            server.expect_silence();
            server.driver.submit(Op::Resume, token);
            server.driver.submit(Op::Pause, token);
            server.expect_silence();
        }
        server.driver.submit(Op::Resume, token);
        assert_eq!(server.next("bytes"), Seen::Received(token, vec![round; 10]));
    }
    client.write_all(b"and after that").unwrap();
    assert_eq!(server.next("more"), Seen::Received(token, b"and after that".to_vec()));
    server.driver.submit(Op::Pause, token);
    server.close(token);
}

#[test]
fn the_end_of_the_stream_comes_after_its_bytes_and_once() {
    let mut server = Server::new(&Settings::default());
    let (token, mut client) = server.pair();
    client.write_all(b"last words").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.next("words"), Seen::Received(token, b"last words".to_vec()));
    assert_eq!(server.next("end"), Seen::Finished(token));
    server.expect_silence();
    // The other direction still works, and ends with a FIN as well.
    cork(&mut server.driver, token, b"answer", false);
    server.driver.submit(Op::Shutdown, token);
    server.flush();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
    server.close(token);
}

#[test]
fn after_shutdown_we_go_on_receiving() {
    let mut server = Server::new(&Settings::default());
    let (token, mut client) = server.pair();
    cork(&mut server.driver, token, b"bye", false);
    server.driver.submit(Op::Shutdown, token);
    server.flush();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"bye");
    client.write_all(b"bye yourself").unwrap();
    assert_eq!(server.next("bytes"), Seen::Received(token, b"bye yourself".to_vec()));
    drop(client);
    assert_eq!(server.next("end"), Seen::Finished(token));
    server.close(token);
}

#[test]
fn a_reset_is_a_failure_said_once() {
    let mut server = Server::new(&Settings::default());
    let (token, client) = server.pair();
    reset(client);
    assert_eq!(server.next("reset"), Seen::Failed(token, Errno::CONNRESET.raw_os_error()));
    cork(&mut server.driver, token, b"to nobody", false);
    server.expect_silence();
    server.close(token);

    // Noticed by a send first: the bytes come back if they were lent to the driver.
    let (token, client) = server.pair();
    server.driver.submit(Op::Pause, token);
    server.flush();
    reset(client);
    let payload = Payload::Owned { lease: Lease::detached(vec![1; 10]), from: 0 };
    server.driver.submit(Op::Send { payload, acknowledge: true }, token);
    assert_eq!(server.next("lease"), Seen::Unsent(token, vec![1; 10]));
    let failed = server.next("failure");
    assert!(matches!(failed, Seen::Failed(of, _) if of == token), "{failed:?}");
    server.driver.submit(Op::Resume, token);
    server.expect_silence();
    server.close(token);
}

#[test]
fn a_closed_socket_is_closed_for_the_peer_and_its_slot_is_used_again() {
    let mut server = Server::new(&Settings::default());
    let mut slots = Vec::new();
    for round in 0..5 {
        let mut client = server.connect();
        let socket = server.accepted(&client);
        slots.push(socket.0);
        // Always the same place, a new tenant each time.
        let token = Token { index: 3, generation: round };
        server.driver.submit(Op::Attach(socket), token);
        client.write_all(b"hello").unwrap();
        assert_eq!(server.next("hello"), Seen::Received(token, b"hello".to_vec()));
        cork(&mut server.driver, token, b"goodbye", false);
        server.close(token);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"goodbye");
    }
    assert!(slots.iter().all(|slot| *slot == slots[0]), "{slots:?}");
    assert_eq!(server.driver.counters().stale, 0);
}

#[test]
fn closing_ends_whatever_is_under_way() {
    type Prepare = fn(&mut Server, Token, &mut TcpStream);
    let cases: [(&str, Prepare); 6] = [
        ("nothing was submitted yet", |_, _, _| {}),
        ("bytes have arrived", |server, _, client| {
            client.write_all(b"unheard").unwrap();
            std::thread::sleep(BRIEFLY);
            server.driver.wait(Some(BRIEFLY)).unwrap();
        }),
        ("blocked", |server, token, _| {
            let payload = Payload::Shared(vec![0; 16 << 20].into());
            server.driver.submit(Op::Send { payload, acknowledge: false }, token);
            server.next("unsent");
            server.flush();
        }),
        ("shutting down", |server, token, _| {
            server.driver.submit(Op::Shutdown, token);
        }),
        ("paused", |server, token, _| {
            server.driver.submit(Op::Pause, token);
        }),
        ("finished", |server, token, client| {
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(server.next("end"), Seen::Finished(token));
        }),
    ];
    for (name, prepare) in cases {
        for op in [|| Op::Close, || Op::Abort] {
            let mut server = Server::new(&Settings::default());
            let (token, mut client) = server.pair();
            prepare(&mut server, token, &mut client);
            server.driver.submit(op(), token);
            server.driver.submit(Op::Close, token);
            assert_eq!(server.next(name), Seen::Closed(token), "{name}");
            server.expect_silence();
            let end = client.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
            match op() {
                Op::Abort => assert_eq!(end, Err(ErrorKind::ConnectionReset), "{name}"),
                // Bytes that were never read make it a reset as well.
                _ if name == "bytes have arrived" => {}
                _ => assert!(end.is_ok(), "{name}: {end:?}"),
            }
            assert_eq!(server.driver.counters().stale, 0, "{name}");
        }
    }
}

#[test]
fn a_lease_comes_back_even_from_a_socket_that_is_closed() {
    let mut server = Server::new(&Settings::default());
    let (token, _client) = server.pair();
    let owned = || Payload::Owned { lease: Lease::detached(vec![5; 10]), from: 0 };
    server.driver.submit(Op::Send { payload: owned(), acknowledge: true }, token);
    server.driver.submit(Op::Close, token);
    server.driver.submit(Op::Send { payload: owned(), acknowledge: true }, token);
    let mut returned = 0;
    server.run("two leases", |_, seen| {
        match seen {
            Seen::Sent(of, Some(_)) | Seen::Unsent(of, _) if of == token => returned += 1,
            Seen::Closed(of) if of == token => return true,
            other => panic!("{other:?}"),
        }
        false
    });
    assert_eq!(returned, 2);
}

#[test]
fn an_accepted_socket_may_be_discarded() {
    let mut server = Server::new(&Settings::default());
    let mut client = server.connect();
    let socket = server.accepted(&client);
    server.driver.discard(socket);
    server.expect_silence();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn each_listener_has_its_number_and_its_addresses() {
    let listeners = ["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"];
    let mut server = Server::with_listeners(&Settings::default(), &listeners, QUEUES);
    for index in [2, 0, 1] {
        server.driver.accept(index);
        let client = TcpStream::connect(server.addresses[index]).unwrap();
        let Seen::Accepted(listener, _, peer) = server.next("connection") else { panic!() };
        assert_eq!((listener, peer), (index, Some(client.local_addr().unwrap())));
    }
    let settings = Settings { peer_addresses: false, ..Settings::default() };
    let mut server = Server::new(&settings);
    let _client = server.connect();
    assert!(matches!(server.next("connection"), Seen::Accepted(0, _, None)));
}

/// Its descriptor stays open until no request in the queues or the kernel names its number.
#[test]
fn a_listener_is_closed_when_its_accept_is_over() {
    let mut server = Server::new(&Settings::default());
    let is_open = |server: &Server| server.driver.listeners[0].descriptor.is_some();
    server.driver.close_listener(0);
    assert!(is_open(&server), "the accept is not even submitted");
    server.expect_silence();
    assert!(!is_open(&server));
    assert!(TcpStream::connect(server.addresses[0]).is_err());

    let mut server = Server::with_listeners(&Settings::default(), &["127.0.0.1:0"], QUEUES);
    server.driver.close_listener(0);
    assert!(!is_open(&server), "there is no accept");
}

#[test]
fn accepting_fails_when_the_slots_are_taken_and_then_works_again() {
    let settings = Settings { sockets_max: 3, ..Settings::default() };
    let mut server = Server::new(&settings);
    let pairs: Vec<_> = (0..3).map(|_| server.pair()).collect();
    let extra = server.connect();
    let full = Errno::NFILE.raw_os_error();
    assert_eq!(server.next("failure"), Seen::AcceptFailed(0, full));
    server.expect_silence();
    drop(extra);
    server.close(pairs[1].0);
    server.driver.accept(0);
    let client = server.connect();
    server.accepted(&client);
}

#[test]
fn a_tiny_ring_loses_nothing() {
    let settings = Settings { receive_count: 4, receive_len: 64, ..Settings::default() };
    let mut server = Server::with_listeners(&settings, &["127.0.0.1:0"], (8, 16));
    server.driver.accept(0);
    let pairs: Vec<_> = (0..100).map(|_| server.pair()).collect();
    let mut heard: HashMap<Token, Vec<u8>> = HashMap::new();
    for round in 0..3_u8 {
        for (_, client) in &pairs {
            (&mut &*client).write_all(&[round; 100]).unwrap();
        }
    }
    let mut total = 0;
    server.run("30,000 bytes", |driver, seen| {
        let Seen::Received(token, bytes) = seen else { panic!("{seen:?}") };
        assert!(bytes.len() <= 64);
        total += bytes.len();
        heard.entry(token).or_default().extend_from_slice(&bytes);
        let payload = Payload::Shared(bytes.into());
        driver.submit(Op::Send { payload, acknowledge: false }, token);
        total == 100 * 300
    });
    server.flush();
    let expected = [[0; 100], [1; 100], [2; 100]].concat();
    for (token, client) in &pairs {
        assert_eq!(heard[token], expected);
        let mut echoed = [0; 300];
        (&mut &*client).read_exact(&mut echoed).unwrap();
        assert_eq!(echoed[..], expected);
    }
    for (token, _) in &pairs {
        server.driver.submit(Op::Close, *token);
    }
    let mut closed = 0;
    server.run("100 closed", |_, seen| {
        closed += usize::from(matches!(seen, Seen::Closed(_)));
        closed == 100
    });
    assert!(server.driver.counters().starved > 0);
    assert_eq!(server.driver.counters().stale, 0);
}

#[test]
fn completions_left_untaken_keep_their_bytes() {
    let mut server = Server::with_listeners(&Settings::default(), &["127.0.0.1:0"], (8, 16));
    server.driver.accept(0);
    let pairs: Vec<_> = (0..40).map(|_| server.pair()).collect();
    for (number, (token, _)) in pairs.iter().enumerate() {
        cork(&mut server.driver, *token, &[number as u8; 100], true);
    }
    // A reactor that takes one completion a turn: the arena must not be emptied under the rest.
    for sent in 0..40 {
        server.driver.wait(Some(PATIENCE)).unwrap();
        let (completion, _) = server.driver.next().expect("a completion is left");
        assert!(matches!(completion, Completion::Sent { .. }), "{completion:?}");
        let (token, _) = pairs[sent % 3];
        server.driver.submit(Op::Pause, token);
    }
    for (number, (_, client)) in pairs.iter().enumerate() {
        let mut answer = [0; 100];
        (&mut &*client).read_exact(&mut answer).unwrap();
        assert_eq!(answer, [number as u8; 100]);
    }
}

/// So many completions that the one of a short send waits in the kernel, behind those for which there
/// was no room: the turn lasts until it is told. And no longer: what the sockets say next comes next.
#[test]
fn a_turn_that_overflows_tells_what_is_unsent() {
    let settings = Settings { receive_count: 1024, receive_len: 64, ..Settings::default() };
    let mut server = Server::with_listeners(&settings, &["127.0.0.1:0"], (16, 16));
    server.driver.accept(0);
    let (narrow, _client) = server.pair();
    let pairs: Vec<_> = (0..600).map(|_| server.pair()).collect();
    server.flush();
    for (_, client) in &pairs {
        (&mut &*client).write_all(&[1; 1000]).unwrap();
    }
    server.driver.wait(Some(Duration::ZERO)).unwrap();
    assert!(server.driver.next().is_none(), "they have something to say, and are asked for it");
    let payload = Payload::Shared(vec![7; 16 << 20].into());
    server.driver.submit(Op::Send { payload, acknowledge: false }, narrow);
    server.driver.wait(Some(Duration::ZERO)).unwrap();
    let (mut unsent, mut received) = (0, 0);
    while let Some((completion, _)) = server.driver.next() {
        match completion {
            Completion::Unsent { token, .. } if token == narrow => unsent += 1,
            Completion::Received { .. } => received += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(server.driver.counters().cq_overflows > 0, "or it proves nothing");
    assert_eq!((unsent, received), (1, 600));
}

#[test]
fn arenas_take_turns() {
    let mut server = Server::new(&Settings::default());
    let (token, mut client) = server.pair();
    for round in 0..10_u8 {
        assert_eq!(server.driver.arena().filled(), 0, "round {round}");
        cork(&mut server.driver, token, &[round; 1000], false);
        server.flush();
        let mut answer = [0; 1000];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [round; 1000]);
    }
}

/// A broadcast leaves room for as many flights behind, which is given back when nobody needs it.
#[test]
fn a_burst_of_sends_is_forgotten() {
    let mut batch = Batch::new(Kind::SendEven, 4096);
    let token = Token { index: 0, generation: 0 };
    let fill = |batch: &mut Batch, count: usize| {
        for _ in 0..count {
            batch.flights.push(Some(Flight { token, payload: Payload::Corked(0..0) }));
        }
        batch.clear();
        batch.flights.capacity()
    };
    let burst = 10 * FLIGHT_COUNT_KEPT;
    let after_burst = fill(&mut batch, burst);
    assert!(after_burst >= burst);
    assert_eq!(fill(&mut batch, burst), after_burst, "one after the other keep it");
    for _ in 0..20 {
        fill(&mut batch, 100);
    }
    let kept = batch.flights.capacity();
    assert!((100..=FLIGHT_COUNT_KEPT).contains(&kept), "{kept}");
}

#[test]
fn one_socket_does_not_keep_the_others_from_their_turn() {
    let settings = Settings { receive_len: 1024, ..Settings::default() };
    let mut server = Server::new(&settings);
    let (loud, client) = server.pair();
    let (quiet, mut other) = server.pair();
    let writer = std::thread::spawn(move || {
        let _ = (&mut &client).write_all(&vec![0; 4 << 20]);
    });
    other.write_all(b"me too").unwrap();
    let mut loud_in_a_row = 0;
    server.run("both", |_, seen| {
        let Seen::Received(token, bytes) = seen else { panic!("{seen:?}") };
        assert!(bytes.len() <= 1024);
        loud_in_a_row += u32::from(token == loud);
        token == quiet
    });
    assert!(loud_in_a_row < 100, "{loud_in_a_row}");
    server.driver.submit(Op::Abort, loud);
    server.run("closed", |_, seen| matches!(seen, Seen::Closed(_)));
    writer.join().unwrap();
}

/// Sockets that come, talk, pause, fall silent, close or are cut off, in no order at all, on queues
/// and buffers that are far too small: every one comes to its end, and nothing is left behind.
#[test]
fn nothing_is_left_of_a_busy_life() {
    live_busily(Talkative::new(NEVER));
}

/// The same with receives that go on, and are cancelled at any moment.
#[test]
fn nothing_is_left_of_a_busy_and_talkative_life() {
    let server = live_busily(Talkative::new(1));
    let Counters { promoted, demoted, .. } = server.driver.counters();
    assert!(promoted > 100 && demoted > 10, "or it proves nothing: {promoted}, {demoted}");
}

fn live_busily(talkative: Talkative) -> Server {
    const PEERS: u32 = 300;
    let settings = Settings { receive_count: 4, receive_len: 512, ..Settings::default() };
    let mut server = Server::with_listeners(&settings, &["127.0.0.1:0"], (8, 16));
    server.driver.accept(0);
    server.driver.talkative = talkative;
    let address = server.addresses[0];
    let peers = std::thread::spawn(move || {
        let mut dice = Dice(0x5eed);
        let mut crowd: Vec<TcpStream> = Vec::new();
        for _ in 0..PEERS {
            crowd.push(TcpStream::connect(address).unwrap());
            for _ in 0..3 {
                let index = dice.roll(crowd.len());
                crowd[index].set_nonblocking(true).unwrap();
                match dice.roll(8) {
                    0 => drop(crowd.swap_remove(index)),
                    1 => reset(crowd.swap_remove(index)),
                    2 => drop(crowd[index].shutdown(Shutdown::Write)),
                    3 => drop(crowd[index].read(&mut [0; 4096])),
                    _ => drop(crowd[index].write(&[1; 2000][..dice.roll(2000)])),
                }
                if crowd.is_empty() {
                    break;
                }
            }
        }
        crowd
    });

    let mut dice = Dice(0xd1ce);
    let mut open: Vec<Token> = Vec::new();
    let mut blocked: HashSet<Token> = HashSet::new();
    let (mut accepted, mut gone) = (0, 0);
    let start = Instant::now();
    while gone < PEERS {
        assert!(start.elapsed() < PATIENCE, "{accepted} came, {gone} went");
        server.driver.wait(Some(BRIEFLY)).unwrap();
        while let Some((completion, _)) = server.driver.next() {
            match Seen::from(completion) {
                Seen::Accepted(_, socket, _) => {
                    accepted += 1;
                    if dice.roll(20) == 0 {
                        server.driver.discard(socket);
                        gone += 1;
                        continue;
                    }
                    let token = Token { index: accepted % 1000, generation: accepted };
                    open.push(token);
                    server.driver.submit(Op::Attach(socket), token);
                }
                Seen::Unsent(token, _) => drop(blocked.insert(token)),
                Seen::Writable(token) => assert!(blocked.remove(&token)),
                Seen::Failed(token, _) => {
                    open.retain(|it| *it != token);
                    server.driver.submit(Op::Close, token);
                }
                Seen::Closed(_) => gone += 1,
                Seen::Received(token, _) => assert!(open.contains(&token)),
                Seen::Finished(_) | Seen::Sent(..) => {}
                other => panic!("{other:?}"),
            }
        }
        let mut silent = blocked.clone();
        for _ in 0..dice.roll(6).min(open.len()) {
            let index = dice.roll(open.len());
            let token = open[index];
            let op = match dice.roll(12) {
                0 => Op::Pause,
                1 | 2 => Op::Resume,
                3 => Op::Shutdown,
                4 => Op::Close,
                5 => Op::Abort,
                roll if silent.insert(token) => {
                    let payload = Payload::Shared(vec![2; 1 << (2 * roll)].into());
                    Op::Send { payload, acknowledge: roll % 2 == 0 }
                }
                _ => continue,
            };
            if matches!(op, Op::Close | Op::Abort) {
                open.swap_remove(index);
            }
            server.driver.submit(op, token);
            if open.is_empty() {
                break;
            }
        }
    }
    drop(peers.join().unwrap());
    server.expect_silence();
    assert_eq!(server.driver.counters().stale, 0);
    assert_eq!(server.driver.held, []);
    assert!((0..4).all(|_| server.driver.buffers.reserve()), "every buffer came back");
    server
}

#[test]
fn waking_ends_a_wait_each_time() {
    let mut server = Server::new(&Settings::default());
    server.driver.waker.wake();
    server.driver.wait(None).unwrap();
    for _ in 0..100 {
        let waker = server.driver.waker.clone();
        let thread = std::thread::spawn(move || waker.wake());
        server.driver.wait(None).unwrap();
        assert!(server.driver.next().is_none());
        thread.join().unwrap();
        // A wake-up from which nobody slept is not forgotten, and not remembered for ever.
        server.driver.wait(Some(Duration::ZERO)).unwrap();
        assert!(server.driver.next().is_none());
    }
}

#[test]
fn a_ring_that_is_dropped_lets_go_of_its_port() {
    for _ in 0..3 {
        let mut server = Server::new(&Settings::default());
        let (_, mut client) = server.pair();
        let address = server.addresses[0];
        drop(server);
        assert!(TcpStream::connect(address).is_err());
        let end = client.read(&mut [0; 8]);
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

/// Rolls the same every time.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// A driver with its listeners, and tokens given out in order.
struct Server {
    driver: Uring,
    addresses: Vec<SocketAddr>,
    next_index: u32,
}

/// A completion, with its own copy of what it lent.
#[derive(Debug, PartialEq)]
enum Seen {
    Accepted(usize, Socket, Option<SocketAddr>),
    AcceptFailed(usize, i32),
    Received(Token, Vec<u8>),
    Finished(Token),
    Sent(Token, Option<Vec<u8>>),
    Unsent(Token, Vec<u8>),
    Writable(Token),
    Failed(Token, i32),
    Closed(Token),
}

const QUEUES: (u32, u32) = (SUBMISSION_COUNT, COMPLETION_COUNT);

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for loopback.
const BRIEFLY: Duration = Duration::from_millis(5);

impl Server {
    fn new(settings: &Settings) -> Self {
        let mut server = Self::with_listeners(settings, &["127.0.0.1:0"], QUEUES);
        server.driver.accept(0);
        server
    }

    fn with_listeners(settings: &Settings, listeners: &[&str], queues: (u32, u32)) -> Self {
        let listeners: Vec<_> =
            listeners.iter().map(|address| TcpListener::bind(address).unwrap()).collect();
        let addresses = listeners.iter().map(|it| it.local_addr().unwrap()).collect();
        let descriptors = listeners.into_iter().map(OwnedFd::from).collect();
        let waker = Waker::new().unwrap();
        let ring = Ring::new(&ring::FLAVOURS, queues.0, queues.1).unwrap();
        let driver = Uring::on(ring, settings, descriptors, waker).unwrap();
        Self { driver, addresses, next_index: 0 }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.addresses[0]).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// The socket of a client that has connected.
    fn accepted(&mut self, client: &TcpStream) -> Socket {
        match self.next("connection") {
            Seen::Accepted(0, socket, peer) => {
                assert_eq!(peer, Some(client.local_addr().unwrap()));
                socket
            }
            other => panic!("{other:?}"),
        }
    }

    fn accept_one(&mut self, client: &TcpStream) -> Token {
        let socket = self.accepted(client);
        let token = Token { index: self.next_index, generation: 7 };
        self.next_index += 1;
        self.driver.submit(Op::Attach(socket), token);
        token
    }

    /// A connection, its receiving armed.
    fn pair(&mut self) -> (Token, TcpStream) {
        let client = self.connect();
        (self.accept_one(&client), client)
    }

    /// Shows completions to `is_done` until it says so.
    fn run(&mut self, what: &str, mut is_done: impl FnMut(&mut Uring, Seen) -> bool) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            self.driver.wait(Some(PATIENCE)).unwrap();
            while let Some((completion, _)) = self.driver.next() {
                let seen = Seen::from(completion);
                if is_done(&mut self.driver, seen) {
                    return;
                }
            }
        }
        panic!("waited in vain: {what}");
    }

    /// The next completion.
    fn next(&mut self, what: &str) -> Seen {
        let mut next = None;
        self.run(what, |_, seen| {
            next = Some(seen);
            true
        });
        next.unwrap()
    }

    fn close(&mut self, token: Token) {
        self.driver.submit(Op::Close, token);
        assert_eq!(self.next("closed"), Seen::Closed(token));
    }

    /// Passes on what is queued.
    fn flush(&mut self) {
        self.driver.wait(Some(Duration::ZERO)).unwrap();
    }

    /// Gives the kernel some turns, in which nothing may happen.
    fn expect_silence(&mut self) {
        for _ in 0..5 {
            self.driver.wait(Some(BRIEFLY)).unwrap();
            let completion = self.driver.next().map(|(completion, _)| Seen::from(completion));
            assert_eq!(completion, None);
        }
    }
}

impl From<Completion<'_>> for Seen {
    fn from(completion: Completion<'_>) -> Self {
        let errno = |error: io::Error| error.raw_os_error().unwrap();
        match completion {
            Completion::Accepted { listener, socket, peer } => {
                Self::Accepted(listener, socket, peer)
            }
            Completion::AcceptFailed { listener, error } => {
                Self::AcceptFailed(listener, errno(error))
            }
            Completion::Connected { token } => panic!("{token:?} was accepted, not asked for"),
            Completion::Received { token, bytes } => Self::Received(token, bytes.to_vec()),
            Completion::Readable { token } | Completion::Filled { token, .. } => {
                panic!("{token:?} is not received from by request")
            }
            Completion::Finished { token } => Self::Finished(token),
            Completion::Sent { token, lease } => {
                Self::Sent(token, lease.map(|lease| lease.bytes().to_vec()))
            }
            Completion::Unsent { token, rest } => match rest {
                Payload::Owned { lease, from } => {
                    Self::Unsent(token, lease.bytes()[from..].to_vec())
                }
                Payload::Shared(bytes) => Self::Unsent(token, bytes.to_vec()),
                Payload::Corked(_) | Payload::Common(_) => {
                    panic!("the arena is not the reactor's to keep")
                }
            },
            Completion::Writable { token } => Self::Writable(token),
            Completion::Failed { token, error } => Self::Failed(token, errno(error)),
            Completion::Closed { token } => Self::Closed(token),
        }
    }
}

fn corked(driver: &mut Uring, bytes: &[u8]) -> Payload {
    let start = driver.arena().filled();
    driver.arena().take(bytes.len()).expect("room").copy_from_slice(bytes);
    Payload::Corked(start..start + bytes.len())
}

fn cork(driver: &mut Uring, token: Token, bytes: &[u8], acknowledge: bool) {
    let payload = corked(driver, bytes);
    driver.submit(Op::Send { payload, acknowledge }, token);
}

/// Closes with a reset.
fn reset(client: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
}
