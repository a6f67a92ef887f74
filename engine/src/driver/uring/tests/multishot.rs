//! Sockets with a receive that goes on.

use super::*;

/// All that speak get such a receive at once.
pub(super) fn eager(mut driver: Uring) -> Uring {
    driver.talkative = Talkative::new(1);
    driver
}

/// The next pair, which has spoken and is promoted.
fn promoted(server: &mut Server) -> (Token, TcpStream) {
    server.driver.talkative = Talkative::new(1);
    let (token, mut client) = server.pair();
    let before = server.driver.counters().promoted;
    client.write_all(b"hello").unwrap();
    assert_eq!(server.next("hello"), Seen::Received(token, b"hello".to_vec()));
    assert_eq!(server.driver.counters().promoted, before + 1);
    (token, client)
}

/// Takes what arrives for `token` until it is `len` bytes.
fn hear(server: &mut Server, token: Token, len: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    server.run("bytes", |_, seen| {
        let Seen::Received(from, bytes) = seen else { panic!("{seen:?}") };
        assert_eq!(from, token);
        heard.extend_from_slice(&bytes);
        heard.len() >= len
    });
    heard
}

#[test]
fn a_talkative_socket_is_asked_no_more() {
    let mut server = Server::new(&Settings::default());
    let (token, mut client) = server.pair();
    let mut asked = [0; 2];
    for (round, asked) in asked.iter_mut().enumerate() {
        let before = server.driver.counters().submissions;
        for message in 0..100_u8 {
            client.write_all(&[message; 20]).unwrap();
            assert_eq!(server.next("message"), Seen::Received(token, vec![message; 20]));
        }
        assert_eq!(server.driver.counters().promoted, 1, "round {round}");
        *asked = server.driver.counters().submissions - before;
    }
    assert!(asked[0] > 0 && asked[1] == 0, "{asked:?}");
    server.close(token);
    assert_eq!(server.driver.counters().stale, 0);
}

#[test]
fn a_socket_that_speaks_a_few_times_is_only_polled() {
    let mut server = Server::new(&Settings::default());
    for _ in 0..50 {
        let (token, mut client) = server.pair();
        for _ in 0..3 {
            client.write_all(b"hi").unwrap();
            assert_eq!(server.next("message"), Seen::Received(token, b"hi".to_vec()));
        }
        server.close(token);
    }
    assert_eq!(server.driver.counters().promoted, 0);
}

#[test]
fn long_messages_are_polled_for() {
    let mut server = Server::new(&Settings::default());
    let (token, mut client) = server.pair();
    for message in 0..50_u8 {
        client.write_all(&[message; 5000]).unwrap();
        assert_eq!(hear(&mut server, token, 5000), [message; 5000]);
    }
    let (token, mut client) = promoted(&mut server);
    client.write_all(&[1; 100_000]).unwrap();
    assert_eq!(hear(&mut server, token, 100_000), [1; 100_000]);
    assert!(server.driver.counters().demoted > 0);
    server.close(token);
    assert_eq!(server.driver.counters().stale, 0);
}

#[test]
fn who_is_silent_makes_room_and_is_still_heard() {
    let mut server = Server::new(&Settings::default());
    let (token, mut client) = promoted(&mut server);
    server.next_index = token.index + 4096;
    let (rival, mut other) = server.pair();
    for word in 0..3_u8 {
        other.write_all(&[word]).unwrap();
        assert_eq!(server.next("word"), Seen::Received(rival, vec![word]));
    }
    let Counters { promoted, demoted, .. } = server.driver.counters();
    assert_eq!((promoted, demoted), (2, 1));
    for word in 0..30_u8 {
        for (token, client) in [(token, &mut client), (rival, &mut other)] {
            client.write_all(&[word; 50]).unwrap();
            assert_eq!(server.next("word"), Seen::Received(token, vec![word; 50]));
        }
    }
    server.close(token);
    server.close(rival);
    assert_eq!(server.driver.counters().stale, 0);
}

/// A pause makes the peer wait: little is held back, the rest stays where it is.
#[test]
fn a_pause_stops_a_flood() {
    let mut server = Server::new(&Settings::default());
    for _ in 0..10 {
        let (token, client) = promoted(&mut server);
        server.driver.submit(Op::Pause, token);
        client.set_nonblocking(true).unwrap();
        let mut len = 0;
        for _ in 0..100 {
            while let Ok(written) = (&client).write(&pattern(len)) {
                len += written;
            }
            server.expect_silence();
            if len > 100_000 {
                break;
            }
        }
        let held: usize = server.driver.held.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(held <= RECEIVE_LEN_MAX && held < len, "{held} of {len}");
        server.driver.submit(Op::Resume, token);
        let heard = hear(&mut server, token, len);
        assert!(heard.iter().enumerate().all(|(n, byte)| *byte == at(n)) && heard.len() == len);
        server.close(token);
    }
    assert_eq!(server.driver.counters().stale, 0);
}

/// Paused when the bytes have arrived and are not taken yet: they are held, all of them, and the end
/// of the stream behind them.
#[test]
fn a_pause_holds_back_what_has_arrived() {
    let mut server = Server::new(&Settings::default());
    for end in [false, true] {
        let (token, mut client) = promoted(&mut server);
        let (signal, mut other) = promoted(&mut server);
        other.write_all(b"!").unwrap();
        client.write_all(&[1; 5000]).unwrap();
        if end {
            client.shutdown(Shutdown::Write).unwrap();
        }
        std::thread::sleep(BRIEFLY);
        server.driver.wait(Some(PATIENCE)).unwrap();
        let (first, _) = server.driver.next().unwrap();
        assert_eq!(Seen::from(first), Seen::Received(signal, b"!".to_vec()));
        server.driver.submit(Op::Pause, token);
        server.expect_silence();
        assert!(!server.driver.held.is_empty(), "or it proves nothing");
        server.driver.submit(Op::Resume, token);
        assert_eq!(hear(&mut server, token, 5000), [1; 5000]);
        if end {
            assert_eq!(server.next("end"), Seen::Finished(token));
        }
        server.expect_silence();
        server.close(token);
        server.close(signal);
    }
    assert_eq!(server.driver.counters().stale, 0);
}

#[test]
fn buffers_that_run_out_cost_nobody_a_byte() {
    let settings = Settings { receive_count: 2, receive_len: 64, ..Settings::default() };
    let mut server = Server::new(&settings);
    let pairs: Vec<_> = (0..50).map(|_| promoted(&mut server)).collect();
    server.driver.talkative = Talkative::new(2);
    let mut heard: HashMap<Token, Vec<u8>> = HashMap::new();
    for round in 0..20_u8 {
        for (_, client) in &pairs {
            (&mut &*client).write_all(&[round; 30]).unwrap();
        }
    }
    let mut total = 0;
    server.run("30,000 bytes", |_, seen| {
        let Seen::Received(token, bytes) = seen else { panic!("{seen:?}") };
        total += bytes.len();
        heard.entry(token).or_default().extend_from_slice(&bytes);
        total == 50 * 20 * 30
    });
    let expected: Vec<u8> = (0..20).flat_map(|round| [round; 30]).collect();
    assert!(pairs.iter().all(|(token, _)| heard[token] == expected));
    assert!(server.driver.counters().starved > 0, "or it proves nothing");
    pairs.iter().for_each(|(token, _)| server.close(*token));
    assert_eq!(server.driver.counters().stale, 0);
}

#[test]
fn the_end_of_the_stream_ends_it() {
    let mut server = Server::new(&Settings::default());
    let (token, mut client) = promoted(&mut server);
    client.write_all(b"last words").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.next("words"), Seen::Received(token, b"last words".to_vec()));
    assert_eq!(server.next("end"), Seen::Finished(token));
    server.expect_silence();
    cork(&mut server.driver, token, b"answer", false);
    server.close(token);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
    assert_eq!(server.driver.counters().stale, 0);
}

#[test]
fn a_reset_ends_it() {
    let mut server = Server::new(&Settings::default());
    let connection_reset = Errno::CONNRESET.raw_os_error();
    let (token, client) = promoted(&mut server);
    reset(client);
    assert_eq!(server.next("reset"), Seen::Failed(token, connection_reset));
    server.expect_silence();
    server.close(token);

    // Noticed in a pause as well, if nothing was to be read before.
    let (token, client) = promoted(&mut server);
    server.driver.submit(Op::Pause, token);
    server.expect_silence();
    reset(client);
    assert_eq!(server.next("reset"), Seen::Failed(token, connection_reset));
    server.close(token);
    assert_eq!(server.driver.counters().stale, 0);
}

#[test]
fn closing_ends_it() {
    for op in [|| Op::Close, || Op::Abort] {
        for has_more in [false, true] {
            let mut server = Server::new(&Settings::default());
            let (token, mut client) = promoted(&mut server);
            if has_more {
                client.write_all(&[1; 300_000]).unwrap();
                std::thread::sleep(BRIEFLY);
            }
            server.driver.submit(op(), token);
            assert_eq!(server.next("closed"), Seen::Closed(token));
            server.expect_silence();
            let end = client.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
            match op() {
                Op::Abort => assert_eq!(end, Err(ErrorKind::ConnectionReset)),
                _ if has_more => {}
                _ => assert!(end.is_ok(), "{end:?}"),
            }
            assert_eq!(server.driver.counters().stale, 0);
        }
    }
}

/// One that begins to flood gets no more of a turn than two completions may lend, once; then it waits
/// like everybody.
#[test]
fn a_flood_begins_within_bounds() {
    let mut server = Server::new(&Settings::default());
    let (flooded, client) = promoted(&mut server);
    server.driver.talkative = Talkative::new(NEVER);
    let writer = std::thread::spawn(move || {
        (&mut &client).write_all(&vec![0; 4 << 20]).unwrap();
        client
    });
    let mut turns = Vec::new();
    while turns.iter().sum::<usize>() < 4 << 20 {
        server.driver.wait(Some(PATIENCE)).unwrap();
        turns.push(0);
        while let Some((completion, _)) = server.driver.next() {
            let Completion::Received { token, bytes } = completion else {
                panic!("{completion:?}")
            };
            assert_eq!(token, flooded);
            *turns.last_mut().unwrap() += bytes.len();
        }
    }
    let _client = writer.join().unwrap();
    assert!(turns.iter().all(|len| *len <= 2 * RECEIVE_LEN_MAX), "{turns:?}");
}

/// A kernel that knows no multishot receive is asked for one once.
#[test]
fn an_old_kernel_is_asked_once() {
    let mut server = Server::new(&Settings::default());
    let (token, mut client) = server.pair();
    server.flush();
    // As if it had been promoted, and refused.
    let state = server.driver.sockets.find(token).unwrap();
    state.clear(sockets::Flags::POLLING);
    state.set(sockets::Flags::RECEIVING);
    assert!(server.driver.handle_multishot(token, Err(Errno::INVAL), None, true).is_none());
    for message in 0..50_u8 {
        client.write_all(&[message]).unwrap();
        assert_eq!(server.next("message"), Seen::Received(token, vec![message]));
    }
    assert_eq!(server.driver.counters().promoted, 0);
}

/// What is at place `n` of a long stream.
fn at(n: usize) -> u8 {
    (n / 3) as u8
}

/// A piece of the stream, from `start` on.
fn pattern(start: usize) -> Vec<u8> {
    (start..start + 10_000).map(at).collect()
}
