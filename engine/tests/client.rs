//! The client's end: messages, and the end of a connection.

mod support;

use std::{
    collections::HashSet,
    io::{Read, Write},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use support::{
    Echo, PATIENCE, Seen, client, client_with, logged, noise, on_each_driver, peer, prose,
    read_frame, read_request, serve, switching, to,
};
use throng::{
    CloseCause, CloseCode, Conn, ConnId, Connections, DriverKind, Handler, Overflow, SendQueue,
    Sent, Shutdown,
    client::{Client, Connect, ConnectError},
    protocol::{ProtocolError, handshake::Reply},
};

on_each_driver!(
    messages_of_every_length_come_back,
    ten_thousand_messages_in_one_go,
    tungstenite_at_the_other_end,
    fragments_and_pings,
    close_codes_go_both_ways,
    a_broadcast_is_masked_for_each,
    frames_are_masked_with_fresh_keys,
    a_slow_server_gets_it_all,
    a_masked_frame_from_a_server,
    shutdown_says_going_away,
    shutdown_while_they_connect,
    alarms_in_order,
    a_panic_costs_one_connection,
);

// ---- Messages ----

fn messages_of_every_length_come_back(driver: DriverKind) {
    let server = serve(driver, Echo);
    let client = client(driver);
    let id = client.open(&to(server.address()));
    for len in [0, 1, 2, 3, 7, 64, 65, 125, 126, 127, 65_535, 65_536, 65_537, 1 << 20] {
        let (text, bytes) = (prose(len), noise(len, len as u64));
        client.send(id, text.clone());
        assert!(matches!(client.next(), Seen::Text(back) if back == text), "{len}");
        client.send(id, bytes.clone());
        assert!(matches!(client.next(), Seen::Binary(back) if back == bytes), "{len}");
    }
    let counts = client.remote.total();
    assert_eq!((counts.messages_in, counts.messages_out), (28, 28));
    assert_eq!((counts.connections, counts.opened, counts.connects), (1, 1, 1));
}

fn ten_thousand_messages_in_one_go(driver: DriverKind) {
    let server = serve(driver, Echo);
    let client = client(driver);
    let id = client.open(&to(server.address()));
    client.order(move |connections| {
        let mut conn = connections.conn(id).unwrap();
        (0..10_000).for_each(|n| _ = conn.send(&format!("message {n}")));
    });
    for n in 0..10_000 {
        let expected = format!("message {n}");
        assert!(matches!(client.next(), Seen::Text(back) if back == expected));
    }
}

fn tungstenite_at_the_other_end(driver: DriverKind) {
    let (connect, theirs) = peer(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        loop {
            match socket.read() {
                Ok(message @ (tungstenite::Message::Text(_) | tungstenite::Message::Binary(_))) => {
                    socket.send(message).unwrap();
                }
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => return,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let client = client(driver);
    let id = client.open(&connect);
    for len in [0, 1, 125, 126, 65_535, 65_536, 300_000] {
        client.send(id, prose(len));
        assert!(matches!(client.next(), Seen::Text(back) if back == prose(len)), "{len}");
        client.send(id, noise(len, 1));
        assert!(matches!(client.next(), Seen::Binary(back) if back == noise(len, 1)), "{len}");
    }
    client.order(move |connections| {
        connections.conn(id).unwrap().close(CloseCode::NORMAL, "thank you");
    });
    assert!(matches!(client.next(), Seen::Closed(CloseCause::Local(CloseCode::NORMAL))));
    theirs.join().unwrap();
}

fn fragments_and_pings(driver: DriverKind) {
    let (connect, theirs) = peer(|mut stream| {
        let (_, accept) = read_request(&mut stream);
        stream.write_all(switching(&accept, "").as_bytes()).unwrap();
        // Three fragments, and a ping between them.
        stream.write_all(b"\x01\x03one\x89\x04ping\x00\x03two\x80\x05three").unwrap();
        let (opcode, _, payload) = read_frame(&mut stream);
        assert_eq!((opcode, &payload[..]), (10, &b"ping"[..]));
        let (opcode, _, payload) = read_frame(&mut stream);
        assert_eq!((opcode, &payload[..]), (9, &b"are you there?"[..]));
        stream.write_all(b"\x8A\x03yes").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let client = client(driver);
    let id = client.open(&connect);
    assert!(matches!(client.next(), Seen::Ping(payload) if payload == b"ping"));
    assert!(matches!(client.next(), Seen::Text(text) if text == "onetwothree"));
    client.order(move |connections| {
        connections.conn(id).unwrap().ping(b"are you there?");
    });
    assert!(matches!(client.next(), Seen::Pong(payload) if payload == b"yes"));
    client.order(move |connections| connections.abort(id));
    assert!(matches!(client.next(), Seen::Closed(CloseCause::Aborted)));
    theirs.join().unwrap_or_default(); // it may have seen a reset
}

fn close_codes_go_both_ways(driver: DriverKind) {
    let (handler, log) = logged(|conn, _| conn.close(CloseCode::new(4001), "go away"));
    let server = serve(driver, handler);
    let client = client(driver);
    let id = client.open(&to(server.address()));
    client.send(id, "close me");
    let theirs = CloseCause::Peer(Some(CloseCode::new(4001)));
    assert!(matches!(client.next(), Seen::Closed(cause) if cause == theirs));
    assert_eq!(log.closed(), CloseCause::Local(CloseCode::new(4001)));

    let id = client.open(&to(server.address()));
    client.order(move |connections| {
        connections.conn(id).unwrap().close(CloseCode::new(3002), "bye");
    });
    let ours = CloseCause::Local(CloseCode::new(3002));
    assert!(matches!(client.next(), Seen::Closed(cause) if cause == ours));
    assert_eq!(log.closed(), CloseCause::Peer(Some(CloseCode::new(3002))));
}

fn a_broadcast_is_masked_for_each(driver: DriverKind) {
    let server = serve(driver, Echo);
    let client = client(driver);
    let ids: Vec<_> = (0..3).map(|_| client.open(&to(server.address()))).collect();
    for len in [5, 2000] {
        // A long one is sent by reference where nothing is masked.
        let text = prose(len);
        let sent = text.clone();
        assert_eq!(client.ask(move |connections| connections.broadcast(&sent)), ids.len());
        for _ in &ids {
            assert!(matches!(client.next(), Seen::Text(back) if back == text));
        }
    }
    client.remote.send(ids[1], "from outside").unwrap();
    assert!(matches!(client.next(), Seen::Text(back) if back == "from outside"));
}

fn frames_are_masked_with_fresh_keys(driver: DriverKind) {
    const COUNT: usize = 200;
    let (connect, theirs) = peer(|mut stream| {
        let (head, accept) = read_request(&mut stream);
        assert!(head.starts_with("GET /here?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"), "{head}");
        stream.write_all(switching(&accept, "").as_bytes()).unwrap();
        let frames: Vec<_> = (0..=COUNT).map(|_| read_frame(&mut stream)).collect();
        let keys: HashSet<_> = frames.iter().map(|(_, key, _)| *key).collect();
        assert_eq!(keys.len(), frames.len(), "every frame has a key of its own");
        let (close, frames) = frames.split_last().unwrap();
        assert!(frames.iter().all(|(_, _, payload)| payload == b"the same each time"));
        assert_eq!((close.0, &close.2[..]), (8, &b"\x03\xE8done"[..]));
        stream.write_all(b"\x88\x02\x03\xE8").unwrap();
        head
    });
    let client = client(driver);
    let id = client.open(&connect);
    client.order(move |connections| {
        let mut conn = connections.conn(id).unwrap();
        (0..COUNT).for_each(|_| _ = conn.send("the same each time"));
        conn.close(CloseCode::NORMAL, "done");
    });
    assert!(matches!(client.next(), Seen::Closed(CloseCause::Local(CloseCode::NORMAL))));
    let first = theirs.join().unwrap();
    let (connect, theirs) = peer(|mut stream| read_request(&mut stream).0);
    client.fail(&connect);
    let key_of = |head: &str| head.lines().find(|line| line.contains("-Key")).map(str::to_owned);
    assert_ne!(key_of(&first), key_of(&theirs.join().unwrap()), "and every handshake, too");
}

/// What the socket refuses waits in the outbox, masked as well.
fn a_slow_server_gets_it_all(driver: DriverKind) {
    const LEN: usize = 100_000;
    const COUNT: usize = 200;
    let (connect, theirs) = peer(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        thread::sleep(Duration::from_millis(50)); // let it pile up
        for n in 0..COUNT {
            let message = socket.read().unwrap();
            assert_eq!(message.into_data(), noise(LEN, n as u64), "message {n}");
        }
    });
    let queue = SendQueue { len_max: 64 << 20, overflow: Overflow::Close, ..SendQueue::default() };
    let client = client_with(driver, |builder| builder.send_queue(queue));
    let id = client.open(&connect);
    let high = client.ask(move |connections| {
        let mut conn = connections.conn(id).unwrap();
        let sent = (0..COUNT).map(|n| conn.send(&noise(LEN, n as u64)));
        sent.filter(|sent| *sent == Sent::AboveHighWater).count()
    });
    assert!(high > 0, "something waited");
    theirs.join().unwrap();
    assert!(matches!(client.next(), Seen::Closed(CloseCause::Lost(_))));
}

fn a_masked_frame_from_a_server(driver: DriverKind) {
    let (connect, theirs) = peer(|mut stream| {
        let (_, accept) = read_request(&mut stream);
        stream.write_all(switching(&accept, "").as_bytes()).unwrap();
        stream.write_all(b"\x81\x81\x00\x00\x00\x00x").unwrap();
        let (opcode, _, payload) = read_frame(&mut stream);
        assert_eq!((opcode, &payload[..2]), (8, &1002_u16.to_be_bytes()[..]));
    });
    let client = client(driver);
    client.open(&connect);
    let failed = CloseCause::Failed(ProtocolError::MaskedFrame);
    assert!(matches!(client.next(), Seen::Closed(cause) if cause == failed));
    theirs.join().unwrap();
}

// ---- The end ----

fn shutdown_says_going_away(driver: DriverKind) {
    let (handler, log) = logged(support::echo);
    let server = serve(driver, handler);
    let mut client = client(driver);
    client.open(&to(server.address()));
    assert_eq!(client.end(Shutdown::default()).dropped, 0);
    let ours = CloseCause::Local(CloseCode::GOING_AWAY);
    assert!(matches!(client.next(), Seen::Closed(cause) if cause == ours));
    assert_eq!(log.closed(), CloseCause::Peer(Some(CloseCode::GOING_AWAY)));
}

fn shutdown_while_they_connect(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut client = client(driver);
    let connect = to(server.address());
    client.ask(move |connections| {
        (0..500).for_each(|_| _ = connections.connect(&connect, 7).expect("it begins"));
    });
    // `end` checks that each of them opened and closed, or failed.
    client.end(Shutdown::default());
}

// ---- The reactor's own time ----

/// Sets alarms from `on_start` on, each a little after the last.
struct Alarms {
    due: Instant,
    count: u32,
    sender: mpsc::Sender<(Instant, Instant)>,
}

impl Alarms {
    fn arm(&mut self, connections: &mut Connections<'_, ()>) {
        self.due += Duration::from_micros(300);
        connections.wake_at(self.due + Duration::from_secs(3600)); // replaced
        connections.wake_at(self.due);
    }
}

impl Handler for Alarms {
    type Data = ();

    fn on_start(&mut self, connections: &mut Connections<'_, ()>) {
        self.due = Instant::now();
        self.arm(connections);
    }

    fn on_wake(&mut self, connections: &mut Connections<'_, ()>) {
        let _ = self.sender.send((self.due, Instant::now()));
        self.count += 1;
        match self.count {
            50 => connections.wake_at(None),
            _ => self.arm(connections),
        }
    }
}

fn alarms_in_order(driver: DriverKind) {
    let (sender, alarms) = mpsc::channel();
    let client = Client::builder().driver(driver).reactors(1).build().unwrap();
    let make = move |_| Alarms { due: Instant::now(), count: 0, sender: sender.clone() };
    let running = client.spawn(make).unwrap();
    for n in 0..50 {
        let (due, came) = alarms.recv_timeout(PATIENCE).expect("an alarm");
        assert!(came >= due, "alarm {n} came {:?} early", due - came);
    }
    assert!(alarms.try_recv().is_err(), "each comes once");
    // Fifty of them came in far fewer turns than a busy wait would take.
    let turns = running.remote().total().turns;
    assert!(turns < 1000, "{turns}");
    running.remote().shutdown(Shutdown::default()).unwrap();
    running.join().unwrap();
}

/// Panics where it is told to.
#[derive(Clone)]
struct Nervous(mpsc::Sender<String>);

impl Handler for Nervous {
    type Data = u32;

    fn on_connected(&mut self, conn: &mut Conn<'_, u32>) {
        if *conn.data() == 1 {
            std::panic::resume_unwind(Box::new("told to"));
        }
    }

    fn on_reply(&mut self, conn: &mut Conn<'_, u32>, _reply: &Reply<'_>) {
        if *conn.data() == 2 {
            std::panic::resume_unwind(Box::new("told to"));
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_, u32>) {
        self.0.send(format!("opened {}", conn.data())).unwrap();
    }

    fn on_close(&mut self, conn: &mut Conn<'_, u32>, cause: CloseCause) {
        self.0.send(format!("closed {}: {cause}", conn.data())).unwrap();
    }

    fn on_connect_failed(
        &mut self,
        _connections: &mut Connections<'_, u32>,
        _id: ConnId,
        data: u32,
        error: ConnectError,
    ) {
        self.0.send(format!("failed {data}: {error}")).unwrap();
    }

    fn on_command(
        &mut self,
        connections: &mut Connections<'_, u32>,
        command: Box<dyn std::any::Any + Send>,
    ) {
        let (connect, data) = *command.downcast::<(Connect, u32)>().unwrap();
        connections.connect(&connect, data).unwrap();
    }
}

fn a_panic_costs_one_connection(driver: DriverKind) {
    let server = serve(driver, Echo);
    let (sender, heard) = mpsc::channel();
    let client = Client::builder().driver(driver).reactors(1).build().unwrap();
    let running = client.spawn(move |_| Nervous(sender.clone())).unwrap();
    let next = |data: u32| {
        running.remote().command(0, (to(server.address()), data)).unwrap();
        heard.recv_timeout(PATIENCE).unwrap()
    };
    assert_eq!(next(1), "failed 1: a callback panicked");
    assert_eq!(next(2), "opened 2");
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "closed 2: a callback panicked");
    assert_eq!(next(3), "opened 3");
    assert_eq!(running.remote().total().panics, 2);
    running.remote().shutdown(Shutdown::default()).unwrap();
    running.join().unwrap();
}
