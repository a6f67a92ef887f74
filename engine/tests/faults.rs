//! Faults: panics of the application, ids of the dead, descriptors used up, peers that vanish,
//! servers that are killed.

mod support;

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use rustix::{
    process::Signal,
    time::{ClockId, clock_gettime},
};
use support::{
    Child, Client, Echo, Event, Frame, PATIENCE, Serving, driver_name, echo, is_child, logged,
    noise, on_each_driver, request, serve, serve_with,
};
use throng::{
    CloseCause, CloseCode, Conn, ConnId, Connections, DriverKind, Error, Handler, Message, Request,
    SendQueue, Sent, Server, Upgrade,
};

on_each_driver!(
    a_panic_costs_its_own_connection,
    a_panic_in_on_command,
    a_panic_while_another_connection_is_changed,
    data_that_panics_when_it_is_dropped,
    data_that_panics_when_it_is_made,
    a_handler_that_panics_when_it_is_made,
    ids_of_the_dead_find_nobody,
    peers_that_vanish_at_every_byte,
    descriptors_used_up,
    descriptors_are_given_back,
    a_coming_and_going,
    stopped_and_continued,
    killed_under_load,
    chosen_by_the_environment,
);

/// Ten connections that have nothing to do with it, and do not notice.
fn bystanders(server: &Serving) -> Vec<Client> {
    (0..10).map(|_| server.open()).collect()
}

fn chats(client: &mut Client) {
    client.send(&Frame::text("is anybody there?"));
    client.expect(&Frame::text("is anybody there?"));
}

/// Panics in the callback that the request's path names.
#[derive(Clone)]
struct Fragile {
    causes: mpsc::Sender<CloseCause>,
}

impl Fragile {
    fn check(conn: &Conn<'_, String>, callback: &str) {
        assert!(conn.data() != callback, "told to panic in {callback}");
    }
}

impl Handler for Fragile {
    type Data = String;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
        Upgrade::accept().with(request.path()[1..].to_owned())
    }

    fn on_open(&mut self, conn: &mut Conn<'_, String>) {
        Self::check(conn, "on_open");
    }

    fn on_message(&mut self, conn: &mut Conn<'_, String>, message: Message<'_>) {
        Self::check(conn, "on_message");
        if conn.data() == "on_drain" {
            // More than one turn corks.
            while conn.send(&[0; 100_000]) != Sent::AboveHighWater {}
        }
        conn.set_timer(Duration::ZERO);
        conn.send(message);
    }

    fn on_ping(&mut self, conn: &mut Conn<'_, String>, _payload: &[u8]) -> bool {
        Self::check(conn, "on_ping");
        true
    }

    fn on_pong(&mut self, conn: &mut Conn<'_, String>, _payload: &[u8]) {
        Self::check(conn, "on_pong");
    }

    fn on_timer(&mut self, conn: &mut Conn<'_, String>) {
        Self::check(conn, "on_timer");
    }

    fn on_drain(&mut self, conn: &mut Conn<'_, String>) {
        Self::check(conn, "on_drain");
    }

    fn on_close(&mut self, conn: &mut Conn<'_, String>, cause: CloseCause) {
        self.causes.send(cause).unwrap();
        Self::check(conn, "on_close");
    }
}

fn a_panic_costs_its_own_connection(driver: DriverKind) {
    let (causes, closed) = mpsc::channel();
    let queue = SendQueue { high_water: 1000, ..SendQueue::default() };
    let server = serve_with(driver, Fragile { causes }, |builder| builder.send_queue(queue));
    let mut others = bystanders(&server);
    let rows = [
        ("on_open", Frame::text("never seen")),
        ("on_message", Frame::text("boo")),
        ("on_ping", Frame::ping(b"")),
        ("on_pong", Frame::pong(b"")),
        ("on_timer", Frame::text("set it")),
        ("on_drain", Frame::text("fill it")),
    ];
    for (callback, frame) in &rows {
        let mut client = server.connect();
        client.send_bytes(request("").replace("chat", callback).as_bytes());
        client.expect_opened();
        let _ = client.try_send_bytes(&frame.masked());
        let mut frames = client.frames_to_the_end();
        let close = frames.pop().unwrap();
        assert_eq!(close.close_parts().map(|(code, _)| code), Some(1011), "{callback}");
        assert_eq!(closed.recv_timeout(PATIENCE), Ok(CloseCause::Panicked), "{callback}");
        others.iter_mut().for_each(chats);
    }
    // There the connection is lost already.
    let mut client = server.connect();
    client.send_bytes(request("").replace("chat", "on_close").as_bytes());
    client.expect_opened();
    client.send(&Frame::close(1000, ""));
    client.expect(&Frame::close(1000, ""));
    client.expect_end();
    assert_eq!(closed.recv_timeout(PATIENCE), Ok(CloseCause::Peer(Some(CloseCode::NORMAL))));
    others.iter_mut().for_each(chats);

    assert!(closed.try_recv().is_err(), "nobody else was closed, and nobody twice");
    assert_eq!(server.remote().total().panics, rows.len() as u64 + 1);
}

/// Obeys commands that reach for the connections of a reactor.
#[derive(Clone)]
struct Obedient;

/// A command to [`Obedient`].
type Order = Box<dyn FnOnce(&mut Connections<'_, ()>) + Send>;

impl Handler for Obedient {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
        if message == Message::Text("close all others and panic") {
            let this = conn.id();
            let mut connections = conn.connections();
            for id in connections.ids() {
                if id != this {
                    connections.conn(id).unwrap().close(CloseCode::new(4000), "");
                }
            }
            panic!("as told");
        }
    }

    fn on_command(
        &mut self,
        connections: &mut Connections<'_, ()>,
        command: Box<dyn std::any::Any + Send>,
    ) {
        command.downcast::<Order>().unwrap()(connections);
    }
}

fn a_panic_in_on_command(driver: DriverKind) {
    let server = serve(driver, Obedient);
    let mut others = bystanders(&server);
    let order: Order = Box::new(|connections| {
        connections.broadcast("before");
        panic!("as told");
    });
    server.remote().command(0, order).unwrap();
    for client in &mut others {
        client.expect(&Frame::text("before"));
        chats(client);
    }
    assert_eq!(server.remote().total().panics, 1);
}

fn a_panic_while_another_connection_is_changed(driver: DriverKind) {
    let server = serve(driver, Obedient);
    let mut others = bystanders(&server);
    let mut client = server.open();
    client.send(&Frame::text("close all others and panic"));
    client.expect(&Frame::text("close all others and panic"));
    client.expect_close(1011);
    // What it did before it panicked holds.
    for client in &mut others {
        client.expect(&Frame::close(4000, ""));
        client.send(&Frame::close(4000, ""));
        client.expect_end();
    }
    chats(&mut server.open());
}

/// Something that a connection carries, and that goes off.
#[derive(Debug)]
struct Bomb {
    is_armed: bool,
}

/// The bomb goes off when one is made.
static FAULTY_FUSE: Mutex<bool> = Mutex::new(false);

impl Default for Bomb {
    fn default() -> Self {
        let is_faulty = *FAULTY_FUSE.lock().unwrap();
        assert!(!is_faulty, "as told");
        Self { is_armed: false }
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.is_armed, "as told");
    }
}

/// Arms bombs.
#[derive(Clone)]
struct Armoury;

impl Handler for Armoury {
    type Data = Bomb;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<Bomb> {
        Upgrade::accept().with(Bomb { is_armed: request.path() == "/armed" })
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Bomb>, message: Message<'_>) {
        if message == Message::Text("arm") {
            conn.data_mut().is_armed = true;
        }
        conn.send(message);
    }
}

fn data_that_panics_when_it_is_dropped(driver: DriverKind) {
    let _quiet = FUSE_TESTS.lock();
    let server = serve(driver, Armoury);
    let mut others = bystanders(&server);
    for n in 0..10 {
        let mut client = server.open();
        client.send(&Frame::text("arm"));
        client.expect(&Frame::text("arm"));
        if n % 2 == 0 {
            client.send(&Frame::close(1000, ""));
            client.expect(&Frame::close(1000, ""));
            client.expect_end();
        } else {
            client.reset();
        }
    }
    server.until("all went off", |counts| counts.panics == 10 && counts.connections == 10);
    others.iter_mut().for_each(chats);
}

/// [`FAULTY_FUSE`] is everybody's.
static FUSE_TESTS: Mutex<()> = Mutex::new(());

fn data_that_panics_when_it_is_made(driver: DriverKind) {
    let _quiet = FUSE_TESTS.lock();
    let server = serve(driver, Armoury);
    let mut others = bystanders(&server);
    *FAULTY_FUSE.lock().unwrap() = true;
    for _ in 0..5 {
        server.connect().expect_gone();
    }
    *FAULTY_FUSE.lock().unwrap() = false;
    others.iter_mut().for_each(chats);
    chats(&mut server.open());
    assert_eq!(server.remote().total().panics, 5);
}

fn a_handler_that_panics_when_it_is_made(driver: DriverKind) {
    let builder = Server::builder().driver(driver).reactors(3).listen("127.0.0.1:0");
    let server = builder.build().unwrap();
    let (told, outcome) = mpsc::channel();
    thread::spawn(move || {
        let running = server.spawn(|reactor| {
            assert_ne!(reactor, 1, "as told");
            Echo
        });
        told.send(running.map(drop))
    });
    // The others are not left behind, half a server.
    let outcome = outcome.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(outcome, Err(Error::ReactorPanicked(1))), "{outcome:?}");
}

fn ids_of_the_dead_find_nobody(driver: DriverKind) {
    let (handler, log) = logged(echo);
    let server = serve(driver, handler);
    let mut dead = Vec::new();
    for _ in 0..20 {
        let client = server.open();
        dead.push(log.opened());
        client.reset();
        log.closed();
        server.until("its place is vacant", |counts| counts.connections == 0);
    }
    let mut client = server.open();
    let alive = log.opened();
    let place = |id: &ConnId| id.to_string().split('.').next().unwrap().to_owned();
    assert!(dead.iter().any(|id| place(id) == place(&alive)), "nobody had that place before");
    assert!(!dead.contains(&alive));
    for &id in &dead {
        server.remote().send(id, "to the dead").unwrap();
        server.remote().close(id, CloseCode::new(4000), "").unwrap();
        server.remote().abort(id).unwrap();
    }
    server.remote().send(alive, "to the living").unwrap();
    client.expect(&Frame::text("to the living"));
    chats(&mut client);
    assert_eq!(log.rest(), []);
    assert_eq!(server.remote().total().connections, 1);
}

fn peers_that_vanish_at_every_byte(driver: DriverKind) {
    let (handler, log) = logged(echo);
    let server = serve(driver, handler);
    let mut others = bystanders(&server);
    let frames = [Frame::fragment(1, b"frag"), Frame::ping(b"?"), Frame::whole(0, &[b'x'; 200])];
    let bytes = Frame::stream(&frames);
    for len in 0..=bytes.len() {
        let mut client = server.open();
        client.send_bytes(&bytes[..len]);
        client.reset();
    }
    let count = bytes.len() as u64 + 1;
    server.until("all are forgotten", |counts| counts.closed == count && counts.connections == 10);
    let causes: Vec<_> = log
        .rest()
        .into_iter()
        .filter_map(|event| match event {
            Event::Closed(_, cause) => Some(cause),
            _ => None,
        })
        .collect();
    assert_eq!(causes.len() as u64, count);
    assert!(causes.iter().all(|cause| matches!(cause, CloseCause::Lost(_))), "{causes:?}");
    others.iter_mut().for_each(chats);
}

/// Not a test of its own: what the following start as a process of their own.
#[test]
fn a_process_of_its_own() {
    if !is_child() {
        return;
    }
    let server = match Server::builder().reactors(1).listen("127.0.0.1:0").build() {
        Ok(server) => server,
        Err(error) => return eprintln!("error={error}"),
    };
    eprintln!("driver={}", server.driver());
    eprintln!("reason={}", server.driver_reason());
    eprintln!("address={}", server.addresses()[0]);
    server.run(|_| Reporting).unwrap();
}

/// The child's application: an echo that knows how the process fares.
struct Reporting;

impl Handler for Reporting {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        if message != Message::Text("report") {
            conn.send(message);
            return;
        }
        let counts = conn.remote().total();
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu_ms = cpu.tv_sec * 1000 + cpu.tv_nsec / 1_000_000;
        let report = format!("{} {} {cpu_ms}", counts.accept_failures, counts.turns);
        conn.send(&report);
    }
}

/// How a child fares.
#[derive(Clone, Copy, Debug)]
struct Report {
    accept_failures: u64,
    turns: u64,
    cpu_ms: u64,
}

impl Report {
    fn of(client: &mut Client) -> Self {
        client.send(&Frame::text("report"));
        let frame = client.frame();
        let text = String::from_utf8(frame.payload).unwrap();
        let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().unwrap()).collect();
        Self { accept_failures: numbers[0], turns: numbers[1], cpu_ms: numbers[2] }
    }

    /// Asks until so many accepts have failed.
    fn after(client: &mut Client, accept_failures: u64) -> Self {
        let begun = std::time::Instant::now();
        loop {
            let report = Self::of(client);
            if report.accept_failures >= accept_failures {
                return report;
            }
            assert!(begun.elapsed() < PATIENCE, "accepting never failed: {report:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn descriptors_used_up(driver: DriverKind) {
    let child = Child::start("a_process_of_its_own", driver_name(driver), Some(60));
    let address = child.address();
    let mut first = Client::connect(address).opened();
    // The kernel completes these connections; not all of them can be accepted.
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(address)).collect();
    let before = Report::after(&mut first, 1);
    // Accepting is tried again now and then, and not in a circle.
    let after = Report::after(&mut first, before.accept_failures + 2);
    assert!(after.turns - before.turns < 1000, "{before:?} {after:?}");
    assert!(after.cpu_ms - before.cpu_ms < 700, "{before:?} {after:?}");
    // Those that are in are served.
    let mut second = clients.remove(0).opened();
    chats(&mut second);
    // And when some have gone, the others get in.
    let late = clients.split_off(70);
    drop(clients);
    for mut client in late.into_iter().map(Client::opened) {
        chats(&mut client);
    }
    chats(&mut first);
}

fn descriptors_are_given_back(driver: DriverKind) {
    let child = Child::start("a_process_of_its_own", driver_name(driver), Some(60));
    let address = child.address();
    let mut first = Client::connect(address).opened();
    let endings: [fn(Client); 6] = [
        drop,
        Client::reset,
        |mut client| client.send_bytes(b"GET / HTTP/1.1\r\n"),
        |client| drop(client.opened()),
        |client| client.opened().reset(),
        |client| {
            let mut client = client.opened();
            client.send(&Frame::close(1000, ""));
            client.expect(&Frame::close(1000, ""));
            client.expect_end();
        },
    ];
    for n in 0..300 {
        endings[n % endings.len()](Client::connect(address));
        if n % 10 == 0 {
            // In step with it: more than ten never wait to be accepted.
            chats(&mut Client::connect(address).opened());
        }
    }
    assert_eq!(Report::of(&mut first).accept_failures, 0);
}

fn a_coming_and_going(driver: DriverKind) {
    let (handler, log) = logged(echo);
    let server = serve_with(driver, handler, |builder| builder.reactors(2));
    let visit = |visitor: u64, n: u64, address| {
        let mut client = Client::connect(address).opened();
        // Nobody gets what is another's, however quickly a place finds its next tenant.
        let frame = Frame::binary(&noise(20_000, visitor * 1000 + n));
        client.send(&frame);
        match n % 4 {
            0 => client.reset(),
            1 => drop(client),
            2 => client.expect(&frame),
            _ => {
                client.expect(&frame);
                client.send(&Frame::close(1000, ""));
                client.expect(&Frame::close(1000, ""));
                client.expect_end();
            }
        }
    };
    let visitors: Vec<_> = (0..4)
        .map(|visitor| {
            let address = server.address();
            thread::spawn(move || (0..100).for_each(|n| visit(visitor, n, address)))
        })
        .collect();
    visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
    server.until("all are gone", |counts| counts.connections == 0 && counts.closed == 400);
    let events = log.rest();
    let opened = events.iter().filter(|event| matches!(event, Event::Opened(_))).count();
    assert_eq!((opened, events.len()), (400, 800));
}

fn stopped_and_continued(driver: DriverKind) {
    let child = Child::start("a_process_of_its_own", driver_name(driver), None);
    let mut client = Client::connect(child.address()).opened();
    for _ in 0..20 {
        // Both interrupt whatever system call its threads are in.
        child.signal(Signal::STOP);
        client.send(&Frame::text("are you asleep?"));
        child.signal(Signal::CONT);
        client.expect(&Frame::text("are you asleep?"));
    }
}

fn killed_under_load(driver: DriverKind) {
    let mut child = Child::start("a_process_of_its_own", driver_name(driver), None);
    let address = child.address();
    let is_up = Arc::new(std::sync::Barrier::new(11));
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let is_up = is_up.clone();
            thread::spawn(move || {
                let mut client = Client::connect(address).opened();
                chats(&mut client);
                is_up.wait();
                // Until it ends, and it does.
                let frame = Frame::binary(&[b'x'; 10_000]);
                while client.try_send_bytes(&frame.masked()).is_ok() {
                    match client.try_frame() {
                        Ok(Some(echo)) => assert_eq!(echo, frame),
                        Ok(None) => break,
                        Err(error) => {
                            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    is_up.wait();
    thread::sleep(Duration::from_millis(50));
    child.kill();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

fn chosen_by_the_environment(driver: DriverKind) {
    let name = driver_name(driver);
    let child = Child::start("a_process_of_its_own", name, None);
    assert_eq!(child.says("driver"), driver.to_string());
    assert!(child.says("reason").contains(&format!("THRONG_DRIVER={name}")));

    let child = Child::start("a_process_of_its_own", "kqueue", None);
    let complaint = child.says("error");
    for hint in ["THRONG_DRIVER", "kqueue", "auto", "uring", "epoll"] {
        assert!(complaint.contains(hint), "{complaint}");
    }
}
