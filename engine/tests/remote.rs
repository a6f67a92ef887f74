//! What other threads do to a running server, up to its end.

mod support;

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    io::{ErrorKind, Read},
    net::TcpStream,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use support::{
    Client, Echo, Event, Frame, Log, PATIENCE, Serving, echo, logged, on_each_driver, request,
    serve, serve_with,
};
use throng::{
    CloseCause, CloseCode, Conn, ConnId, Connections, Deadline, DriverKind, Handler, ListenAddr,
    Message, RemoteError, Request, Sent, Server, Shutdown, Ticket, Upgrade,
};

on_each_driver!(
    sends_from_several_threads,
    a_broadcast_reaches_everyone_once,
    a_broadcast_from_a_callback,
    closes_and_aborts,
    commands_in_order,
    what_a_command_can_reach,
    counters,
    a_full_mailbox,
    a_shutdown_past_a_full_mailbox,
    nobody_is_there_any_more,
    a_shutdown_tells_everyone,
    a_shutdown_with_another_code,
    a_shutdown_drops_those_who_do_not_answer,
    a_shutdown_takes_its_time,
    a_shutdown_of_connections_that_never_opened,
    a_shutdown_while_output_waits,
    nobody_gets_in_during_a_shutdown,
    a_second_shutdown_changes_nothing,
    a_shutdown_from_a_callback,
);

fn chats(client: &mut Client) {
    client.send(&Frame::text("is anybody there?"));
    client.expect(&Frame::text("is anybody there?"));
}

/// An echo with several reactors, and clients that are spread over them, with their ids.
fn crowd(
    driver: DriverKind,
    reactors: usize,
    count: usize,
) -> (Serving, Log, Vec<(ConnId, Client)>) {
    let (handler, log) = logged(echo);
    let server = serve_with(driver, handler, |builder| builder.reactors(reactors));
    let clients = (0..count)
        .map(|_| {
            let client = server.open();
            (log.opened(), client)
        })
        .collect();
    (server, log, clients)
}

fn sends_from_several_threads(driver: DriverKind) {
    let (server, _log, mut clients) = crowd(driver, 2, 10);
    let ids: Vec<_> = clients.iter().map(|(id, _)| *id).collect();
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (remote, ids) = (server.remote().clone(), ids.clone());
            thread::spawn(move || {
                for n in 0..50 {
                    ids.iter().for_each(|&id| remote.send(id, &format!("{sender} {n}")).unwrap());
                }
            })
        })
        .collect();
    for (_, client) in &mut clients {
        let mut counts = HashMap::new();
        for _ in 0..4 * 50 {
            let text = String::from_utf8(client.frame().payload).unwrap();
            let (sender, n) = text.split_once(' ').unwrap();
            let count: &mut u32 = counts.entry(sender.to_owned()).or_default();
            // Those of one thread keep their order.
            assert_eq!(n.parse(), Ok(*count));
            *count += 1;
        }
        assert!(counts.len() == 4 && counts.values().all(|&count| count == 50), "{counts:?}");
        chats(client);
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
}

fn a_broadcast_reaches_everyone_once(driver: DriverKind) {
    let (server, _log, mut clients) = crowd(driver, 3, 60);
    // Among those who are not open (yet, or any more), and do not get it.
    let mut opening = server.connect();
    opening.send_bytes(b"GET /chat HTTP/1.1\r\n");
    for n in 0..20 {
        server.remote().broadcast(&format!("number {n}")).unwrap();
    }
    for (_, client) in &mut clients {
        (0..20).for_each(|n| client.expect(&Frame::text(&format!("number {n}"))));
        chats(client);
    }
    opening.send_bytes(&request("").as_bytes()[b"GET /chat HTTP/1.1\r\n".len()..]);
    opening.expect_opened();
    chats(&mut opening);
    assert_eq!(server.remote().total().messages_out, 60 * 21 + 1);
}

fn a_broadcast_from_a_callback(driver: DriverKind) {
    let (handler, _log) = logged(|conn, message| match message {
        Message::Text("here") => {
            let count = conn.connections().broadcast("from here");
            conn.send(&format!("to {count}"));
        }
        message => conn.remote().broadcast(message).unwrap(),
    });
    let server = serve_with(driver, handler, |builder| builder.reactors(2));
    let mut clients: Vec<_> = (0..40).map(|_| server.open()).collect();
    clients[7].send(&Frame::text("from everywhere"));
    clients.iter_mut().for_each(|client| client.expect(&Frame::text("from everywhere")));

    // On one reactor, to some of them, oneself included.
    clients[7].send(&Frame::text("here"));
    clients[7].expect(&Frame::text("from here"));
    let told = clients[7].frame();
    clients[7].send(&Frame::text("over"));
    let mut reached_count = 1;
    for (n, client) in clients.iter_mut().enumerate() {
        let mut frame = client.frame();
        if frame == Frame::text("from here") {
            assert_ne!(n, 7);
            reached_count += 1;
            frame = client.frame();
        }
        assert_eq!(frame, Frame::text("over"));
    }
    assert_eq!(told, Frame::text(&format!("to {reached_count}")));
}

fn closes_and_aborts(driver: DriverKind) {
    let (server, log, clients) = crowd(driver, 2, 12);
    for (n, (id, mut client)) in clients.into_iter().enumerate() {
        let remote = server.remote().clone();
        let cause = if n % 2 == 0 {
            thread::spawn(move || remote.close(id, CloseCode::new(4000), "enough"))
                .join()
                .unwrap()
                .unwrap();
            client.expect(&Frame::close(4000, "enough"));
            client.send(&Frame::close(4000, ""));
            client.expect_end();
            CloseCause::Local(CloseCode::new(4000))
        } else {
            thread::spawn(move || remote.abort(id)).join().unwrap().unwrap();
            client.expect_gone();
            CloseCause::Aborted
        };
        assert_eq!(log.next(), Event::Closed(id, cause));
    }
}

/// Obeys commands, and tells which reactor did.
#[derive(Clone)]
struct Obedient(mpsc::Sender<(usize, u32)>);

/// What [`Obedient`] is told to do.
type Order = Box<dyn FnOnce(&mut Connections<'_, ()>) + Send>;

impl Handler for Obedient {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
    }

    fn on_command(&mut self, connections: &mut Connections<'_, ()>, command: Box<dyn Any + Send>) {
        match command.downcast::<u32>() {
            Ok(number) => {
                let reactor = connections.remote().reactor_count();
                let _ = self.0.send((reactor, *number));
            }
            Err(command) => command.downcast::<Order>().unwrap()(connections),
        }
    }
}

fn commands_in_order(driver: DriverKind) {
    let (told, obeyed) = mpsc::channel();
    let server = serve_with(driver, Obedient(told), |builder| builder.reactors(2));
    // More than are taken in one turn.
    (0..5000_u32).for_each(|n| server.remote().command(1, n).unwrap());
    for n in 0..5000 {
        assert_eq!(obeyed.recv_timeout(PATIENCE).unwrap(), (2, n));
    }
    assert_eq!(server.remote().command(2, 0_u32), Err(RemoteError::NoSuchReactor(2)));
    let counts: Vec<_> = (0..3).map(|n| server.remote().counters(n)).collect();
    assert!(counts[0].is_some() && counts[2].is_none());
    server.until("all are counted", |counts| counts.commands == 5000);
}

fn what_a_command_can_reach(driver: DriverKind) {
    let (told, _obeyed) = mpsc::channel();
    let server = serve(driver, Obedient(told));
    let mut clients: Vec<_> = (0..5).map(|_| server.open()).collect();
    let silent = server.connect();
    server.until("all are accepted", |counts| counts.connections == 6);
    let (told, seen) = mpsc::channel();
    let order: Order = Box::new(move |connections| {
        let ids = connections.ids();
        let count = connections.count();
        for &id in &ids {
            let mut conn = connections.conn(id).expect("it is open");
            assert_eq!((conn.id(), conn.is_open(), conn.queued_len()), (id, true, 0));
            let peer = conn.peer_addr().unwrap().to_string();
            assert_eq!(conn.send(&peer), Sent::Queued);
        }
        let mut last = connections.conn(ids[4]).unwrap();
        last.close(CloseCode::new(4000), "");
        last.abort();
        assert!(!last.is_open());
        assert!(connections.conn(ids[4]).is_none());
        told.send((ids, count)).unwrap();
    });
    server.remote().command(0, order).unwrap();
    let (ids, count) = seen.recv_timeout(PATIENCE).unwrap();
    assert_eq!((ids.iter().collect::<HashSet<_>>().len(), count), (5, 6));
    // One was aborted, perhaps before it could be told.
    let mut told_count = 0;
    for client in &mut clients {
        let address = client.local_addr().unwrap().to_string();
        if let Ok(Some(frame)) = client.try_frame() {
            assert_eq!(frame, Frame::text(&address));
            told_count += 1;
        }
    }
    assert!((4..=5).contains(&told_count), "{told_count}");
    drop(silent);
}

fn counters(driver: DriverKind) {
    let server = serve(driver, Echo);
    let mut client = server.open();
    let request_len = request("").len() as u64;
    for n in 1..=10 {
        chats(&mut client);
        let counts = server.until("the echo is counted", |counts| counts.messages_out == n);
        assert_eq!((counts.messages_in, counts.messages_dropped), (n, 0));
        let frame_len = "is anybody there?".len() as u64 + 6;
        assert_eq!(counts.bytes_in, request_len + n * frame_len);
    }
    let mut other = server.connect();
    other.send_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(other.answer().status, 426);
    let mut third = server.open();
    third.send_bytes(&Frame::text("unmasked").unmasked());
    third.expect_close(1002);
    drop((client, third, other));
    let counts = server.until("all are gone", |counts| counts.connections == 0);
    assert_eq!((counts.accepted, counts.opened, counts.closed, counts.responded), (3, 2, 2, 1));
    assert_eq!((counts.protocol_errors, counts.timeouts, counts.panics), (1, 0, 0));
    assert!(counts.turns > 0 && counts.completions > 0 && counts.bytes_out > 0);
}

/// A server whose reactor is kept busy, with its mailbox filled up meanwhile; how many commands that
/// took, what they come to, and what lets the reactor go.
fn overwhelmed(
    driver: DriverKind,
) -> (Serving, u32, mpsc::Receiver<(usize, u32)>, mpsc::Sender<()>) {
    let (told, obeyed) = mpsc::channel();
    let server = serve(driver, Obedient(told));
    let (release, held) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel();
    let order: Order = Box::new(move |_| {
        entered.send(()).unwrap();
        held.recv().unwrap();
    });
    server.remote().command(0, order).unwrap();
    inside.recv_timeout(PATIENCE).unwrap();
    let mut accepted = 0_u32;
    while server.remote().command(0, accepted).is_ok() {
        accepted += 1;
    }
    (server, accepted, obeyed, release)
}

fn a_full_mailbox(driver: DriverKind) {
    let (server, accepted, obeyed, release) = overwhelmed(driver);
    assert_eq!(accepted, 65_536);
    assert_eq!(server.remote().command(0, 0_u32), Err(RemoteError::Full));
    assert_eq!(server.remote().broadcast("to all"), Err(RemoteError::Full));
    release.send(()).unwrap();
    for n in 0..accepted {
        assert_eq!(obeyed.recv_timeout(PATIENCE).unwrap(), (1, n));
    }
    // Nothing is wrong with it.
    server.remote().command(0, 1_u32).unwrap();
    assert_eq!(obeyed.recv_timeout(PATIENCE).unwrap(), (1, 1));
    chats(&mut server.open());
}

fn a_shutdown_past_a_full_mailbox(driver: DriverKind) {
    let (server, _accepted, _obeyed, release) = overwhelmed(driver);
    server.remote().shutdown(Shutdown::default()).unwrap();
    release.send(()).unwrap();
    assert_eq!(server.join().dropped, 0);
}

fn nobody_is_there_any_more(driver: DriverKind) {
    let (server, _log, mut clients) = crowd(driver, 2, 1);
    let remote = server.remote().clone();
    let (id, _client) = clients.pop().unwrap();
    drop(server);
    assert_eq!(remote.send(id, "hello?"), Err(RemoteError::Gone));
    assert_eq!(remote.broadcast("hello?"), Err(RemoteError::Gone));
    assert_eq!(remote.command(0, ()), Err(RemoteError::Gone));
    assert_eq!(remote.shutdown(Shutdown::default()), Err(RemoteError::Gone));
    assert_eq!(remote.total().opened, 1, "the counts remain");
}

fn a_shutdown_tells_everyone(driver: DriverKind) {
    let (server, log, clients) = crowd(driver, 2, 30);
    server.remote().shutdown(Shutdown::default()).unwrap();
    for (_, mut client) in clients {
        client.expect_close(1001);
        client.send(&Frame::close(1001, ""));
        client.expect_end();
    }
    // Long before its deadline.
    assert_eq!(server.join().dropped, 0);
    let going_away = CloseCause::Local(CloseCode::GOING_AWAY);
    let closed = log.rest();
    assert_eq!(closed.len(), 30);
    assert!(
        closed.iter().all(|event| matches!(event, Event::Closed(_, cause) if *cause == going_away))
    );
}

fn a_shutdown_with_another_code(driver: DriverKind) {
    for (code, said) in [(CloseCode::SERVICE_RESTART, 1012), (CloseCode::NO_STATUS, 1001)] {
        let (server, _log, clients) = crowd(driver, 1, 3);
        server.remote().shutdown(Shutdown { code, ..Shutdown::default() }).unwrap();
        for (_, mut client) in clients {
            client.expect_close(said);
            // Who hangs up without an answer is gone as well.
        }
        assert_eq!(server.join().dropped, 0);
    }
}

fn a_shutdown_drops_those_who_do_not_answer(driver: DriverKind) {
    let (server, log, mut clients) = crowd(driver, 2, 10);
    let deadline = Duration::from_millis(500);
    server.remote().shutdown(Shutdown { deadline, ..Shutdown::default() }).unwrap();
    for (n, (_, client)) in clients.iter_mut().enumerate() {
        client.expect_close(1001);
        if n < 4 {
            client.send(&Frame::close(1001, ""));
            client.expect_end();
        }
    }
    clients.drain(..4);
    clients.iter_mut().for_each(|(_, client)| client.expect_gone());
    assert_eq!(server.join().dropped, 6);
    let timed_out = CloseCause::TimedOut(Deadline::Close);
    let is_timed_out =
        |event: &Event| matches!(event, Event::Closed(_, cause) if *cause == timed_out);
    assert_eq!(log.rest().iter().filter(|event| is_timed_out(event)).count(), 6);
}

fn a_shutdown_takes_its_time(driver: DriverKind) {
    // By the deadline half of them have been told, and have answered.
    let (server, _log, clients) = crowd(driver, 1, 20);
    let (spread, deadline) = (Duration::from_secs(2), Duration::from_secs(1));
    server.remote().shutdown(Shutdown { spread, deadline, ..Shutdown::default() }).unwrap();
    let answer = |(_, mut client): (ConnId, Client)| {
        let Ok(Some(close)) = client.try_frame() else { return false };
        assert_eq!(close.close_parts().map(|(code, _)| code), Some(1001));
        client.send(&Frame::close(1001, ""));
        client.expect_gone();
        true
    };
    let clients: Vec<_> =
        clients.into_iter().map(|client| thread::spawn(move || answer(client))).collect();
    let was_told: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let told_count = was_told.iter().filter(|&&was_told| was_told).count();
    let dropped = server.join().dropped;
    assert!((8..20).contains(&dropped), "{dropped} dropped");
    assert!((20 - dropped..=12).contains(&told_count), "{told_count} told, {dropped} dropped");
}

/// Leaves every upgrade undecided.
#[derive(Clone, Default)]
struct Undecided(Arc<Mutex<Vec<Ticket<()>>>>);

impl Handler for Undecided {
    type Data = ();

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        let (upgrade, ticket) = Upgrade::defer(request);
        self.0.lock().unwrap().push(ticket);
        upgrade
    }

    fn on_close(&mut self, _conn: &mut Conn<'_, ()>, _cause: CloseCause) {
        panic!("it was never open");
    }
}

fn a_shutdown_of_connections_that_never_opened(driver: DriverKind) {
    let server = serve(driver, Undecided::default());
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    clients[1].send_bytes(b"GET / HT");
    clients[2].send_bytes(request("").as_bytes());
    let len = request("").len() as u64 + 8;
    server.until("all have arrived", |counts| counts.accepted == 3 && counts.bytes_in == len);
    server.remote().shutdown(Shutdown::default()).unwrap();
    clients.iter_mut().for_each(Client::expect_gone);
    assert_eq!(server.join().dropped, 0);
}

fn a_shutdown_while_output_waits(driver: DriverKind) {
    let message = vec![b'x'; 16 << 20];
    let expected = Frame::binary(&message);
    let (handler, _log) = logged(move |conn, _| {
        conn.send(&message);
    });
    let server = serve(driver, handler);
    let mut client = Client::connect_narrow(server.address(), 4096).opened();
    client.send(&Frame::text("go"));
    server.until("the socket is full", |counts| counts.blocked_sends > 0);
    server.remote().shutdown(Shutdown::default()).unwrap();
    client.expect(&expected);
    client.expect_close(1001);
    client.send(&Frame::close(1001, ""));
    client.expect_end();
    assert_eq!(server.join().dropped, 0);
}

fn nobody_gets_in_during_a_shutdown(driver: DriverKind) {
    let (server, _log, mut clients) = crowd(driver, 2, 2);
    let address = server.address();
    server.remote().shutdown(Shutdown::default()).unwrap();
    for (_, client) in &mut clients {
        client.expect_close(1001);
    }
    // The kernel may complete a connection, but nobody serves it.
    let late = TcpStream::connect(address);
    for (_, client) in &mut clients {
        client.send(&Frame::close(1001, ""));
        client.expect_end();
    }
    let remote = server.remote().clone();
    assert_eq!(server.join().dropped, 0);
    if let Ok(late) = late {
        late.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!((&late).read(&mut [0; 100]).unwrap_or(0) == 0, "nothing is said to it");
    }
    assert_eq!(remote.total().opened, 2);
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

fn a_second_shutdown_changes_nothing(driver: DriverKind) {
    let (server, _log, mut clients) = crowd(driver, 1, 1);
    let (_, mut client) = clients.pop().unwrap();
    server.remote().shutdown(Shutdown::default()).unwrap();
    client.expect_close(1001);
    let at_once = Duration::ZERO;
    let code = CloseCode::SERVICE_RESTART;
    server.remote().shutdown(Shutdown { code, spread: at_once, deadline: at_once }).unwrap();
    // Heard before what was posted after it.
    server.remote().command(0, ()).unwrap();
    server.until("it is heard", |counts| counts.commands == 1);
    // There is time to answer, as was said first.
    client.send(&Frame::close(1001, ""));
    client.expect_end();
    assert_eq!(server.join().dropped, 0);
}

fn a_shutdown_from_a_callback(driver: DriverKind) {
    let builder = Server::builder().driver(driver).reactors(2).listen("127.0.0.1:0");
    let server = builder.build().unwrap();
    let ListenAddr::Tcp(address) = server.addresses()[0].clone() else { unreachable!() };
    let (told, ended) = mpsc::channel();
    let (handler, _log) = logged(|conn, _| {
        conn.send("good night");
        conn.remote().shutdown(Shutdown::default()).unwrap();
    });
    thread::spawn(move || told.send(server.run(move |_| handler.clone())));
    let mut client = Client::connect(address).opened();
    client.send(&Frame::text("go to sleep"));
    client.expect(&Frame::text("good night"));
    client.expect_close(1001);
    client.send(&Frame::close(1001, ""));
    client.expect_end();
    ended.recv_timeout(PATIENCE).expect("`run` returns").unwrap();
}
