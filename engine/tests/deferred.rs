//! Upgrades that are decided later, by another thread.

mod support;

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use support::{Frame, PATIENCE, Serving, on_each_driver, request, serve_with};
use throng::{
    Acceptance, Answered, CloseCode, Conn, DriverKind, Handler, Message, RemoteError, Request,
    Response, ServerBuilder, Shutdown, Ticket, Timeouts, Upgrade, protocol::extension::Answer,
};

on_each_driver!(
    accepted,
    accepted_with_data,
    accepted_by_what_the_request_says,
    accepted_with_what_nobody_offered,
    refused,
    dropped,
    dropped_by_a_thread_that_panicked,
    with_frames_in_waiting,
    never_decided,
    for_someone_who_left,
    aborted_while_undecided,
    decided_at_once,
    many_at_once_in_any_order,
    answered_however_full_the_mailbox_is,
    decided_after_the_server_ended,
    shown_when_it_is_answered,
);

/// Status and request of each answer.
type Shown = Arc<Mutex<Vec<(u16, Vec<u8>)>>>;

/// Hands every upgrade to another thread.
#[derive(Clone)]
struct Deferring {
    tickets: mpsc::Sender<Ticket<u32>>,
    shown: Shown,
}

impl Deferring {
    fn serve(driver: DriverKind) -> (Serving, mpsc::Receiver<Ticket<u32>>) {
        let (server, tickets, _) = Self::serve_and_show(driver);
        (server, tickets)
    }

    fn serve_and_show(driver: DriverKind) -> (Serving, mpsc::Receiver<Ticket<u32>>, Shown) {
        let (sender, tickets) = mpsc::channel();
        let handler = Self { tickets: sender, shown: Arc::default() };
        let shown = handler.shown.clone();
        (serve_with(driver, handler, hurried_much), tickets, shown)
    }
}

/// Long enough for a test to decide, and not too long for one that does not.
fn hurried_much(builder: ServerBuilder) -> ServerBuilder {
    let handshake = Some(Duration::from_secs(2));
    builder.timeouts(Timeouts { handshake, ..Timeouts::default() })
}

impl Handler for Deferring {
    type Data = u32;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<u32> {
        let (upgrade, ticket) = Upgrade::defer(request);
        assert_eq!(request.id(), ticket.id());
        self.tickets.send(ticket).unwrap();
        upgrade.with(7)
    }

    fn on_message(&mut self, conn: &mut Conn<'_, u32>, message: Message<'_>) {
        match message {
            Message::Text("data") => conn.send(conn.data().to_string().as_str()),
            message => conn.send(message),
        };
    }

    fn on_answered(&mut self, answered: &Answered<'_>) {
        self.shown.lock().unwrap().push((answered.status(), answered.request().to_vec()));
    }
}

fn accepted(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    let mut client = server.connect();
    client.send_bytes(request("Sec-WebSocket-Protocol: chat\r\n").as_bytes());
    let ticket = tickets.recv_timeout(PATIENCE).unwrap();
    ticket.accept(Acceptance::new().subprotocol("chat").header("X-Shard", "7")).unwrap();
    let answer = client.expect_opened();
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), Some("chat"));
    assert_eq!(answer.header("X-Shard"), Some("7"));
    client.send(&Frame::text("data"));
    client.expect(&Frame::text("7"));
}

fn accepted_with_data(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    let mut client = server.connect();
    client.send_bytes(request("").as_bytes());
    let ticket = tickets.recv_timeout(PATIENCE).unwrap();
    ticket.with(1).with(42).accept(Acceptance::new()).unwrap();
    client.expect_opened();
    client.send(&Frame::text("data"));
    client.expect(&Frame::text("42"));
}

fn accepted_by_what_the_request_says(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    let mut client = server.connect();
    client.send_bytes(request("Cookie: id=11\r\n").replace("/chat", "/room?n=5").as_bytes());
    let ticket = tickets.recv_timeout(PATIENCE).unwrap();
    let sum = ticket.with_request(|request| {
        let number = |text: Option<&str>| text.unwrap().parse::<u32>().unwrap();
        number(request.cookie("id")) + number(request.query_param("n"))
    });
    ticket.with(sum).accept(Acceptance::new()).unwrap();
    client.expect_opened();
    client.send(&Frame::text("data"));
    client.expect(&Frame::text("16"));
}

fn accepted_with_what_nobody_offered(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    for acceptance in [
        Acceptance::new().subprotocol("v2"),
        Acceptance::new().extension(&Answer::new("x-quick")),
        Acceptance::new().header("X", "a\r\nb"),
    ] {
        let mut client = server.connect();
        client.send_bytes(request("Sec-WebSocket-Protocol: v1\r\n").as_bytes());
        tickets.recv_timeout(PATIENCE).unwrap().accept(acceptance).unwrap();
        assert_eq!(client.answer().status, 500);
    }
    assert_eq!(server.remote().total().opened, 0);
}

fn dropped(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    let mut client = server.connect();
    client.send_bytes(request("").as_bytes());
    drop(tickets.recv_timeout(PATIENCE).unwrap().with(3));
    assert_eq!(client.answer().status, 503);
    assert_eq!(server.remote().total().timeouts, 0);
}

fn dropped_by_a_thread_that_panicked(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    let mut client = server.connect();
    client.send_bytes(request("").as_bytes());
    let thread = thread::spawn(move || {
        let _ticket = tickets.recv_timeout(PATIENCE).unwrap();
        panic!("as asked for");
    });
    assert_eq!(client.answer().status, 503);
    assert!(thread.join().is_err());
}

fn refused(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    let mut client = server.connect();
    client.send_bytes(request("").as_bytes());
    let ticket = tickets.recv_timeout(PATIENCE).unwrap();
    ticket.refuse(Response::text(401, "who are you?\n")).unwrap();
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_str()), (401, "who are you?\n"));
    assert_eq!(server.remote().total().opened, 0);
}

fn with_frames_in_waiting(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    // In the segment of the request: nothing, a part of a frame, more than a turn's share.
    let frames: Vec<_> = (0..500).map(|n| Frame::text(&format!("number {n}"))).collect();
    let stream = Frame::stream(&frames);
    for early_len in [0, 1, 5, stream.len() / 2, stream.len()] {
        let (early, late) = stream.split_at(early_len);
        let mut client = server.connect();
        client.send_bytes(&[request("").as_bytes(), early].concat());
        let ticket = tickets.recv_timeout(PATIENCE).unwrap();
        // These find the connection paused.
        client.send_bytes(late);
        ticket.accept(Acceptance::new()).unwrap();
        client.expect_opened();
        frames.iter().for_each(|frame| client.expect(frame));
    }
}

fn never_decided(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    let mut client = server.connect();
    client.send_bytes(request("").as_bytes());
    let ticket = tickets.recv_timeout(PATIENCE).unwrap();
    assert_eq!(client.answer().status, 504);
    // Too late.
    ticket.accept(Acceptance::new()).unwrap();
    drop(client);
    server.until("it is forgotten", |counts| counts.connections == 0);
    assert_eq!(server.remote().total().opened, 0);
}

fn for_someone_who_left(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    for hangs_up in [true, false] {
        let mut client = server.connect();
        client.send_bytes(request("").as_bytes());
        let ticket = tickets.recv_timeout(PATIENCE).unwrap();
        if hangs_up {
            client.reset();
        } else {
            drop(client);
        }
        ticket.accept(Acceptance::new()).unwrap();
        server.until("it is forgotten", |counts| counts.connections == 0);
    }
}

fn aborted_while_undecided(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    let mut client = server.connect();
    client.send_bytes(request("").as_bytes());
    let ticket = tickets.recv_timeout(PATIENCE).unwrap();
    // What is not open can neither be talked to nor closed politely.
    server.remote().send(ticket.id(), "too early").unwrap();
    server.remote().close(ticket.id(), CloseCode::NORMAL, "").unwrap();
    server.remote().broadcast("too early").unwrap();
    server.remote().abort(ticket.id()).unwrap();
    client.expect_gone();
    ticket.accept(Acceptance::new()).unwrap();
    let counts = server.until("it is forgotten", |counts| counts.connections == 0);
    assert_eq!((counts.opened, counts.messages_out), (0, 0));
}

/// Decides before the reactor knows that there is something to decide.
fn decided_at_once(driver: DriverKind) {
    #[derive(Clone)]
    struct Hasty;

    impl Handler for Hasty {
        type Data = u32;

        fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<u32> {
            let (upgrade, ticket) = Upgrade::defer(request);
            match request.path() {
                "/drop" => drop(ticket),
                "/panic" => panic!("as asked for"),
                "/change" => return Upgrade::accept(), // what the ticket says is too late
                _ => ticket.accept(Acceptance::new()).unwrap(),
            }
            upgrade
        }

        fn on_message(&mut self, conn: &mut Conn<'_, u32>, message: Message<'_>) {
            conn.send(message);
        }
    }

    let server = serve_with(driver, Hasty, hurried_much);
    for (path, status) in [("/", 101), ("/drop", 503), ("/panic", 500), ("/change", 101)] {
        let mut client = server.connect();
        client.send_bytes(request("").replace("/chat", path).as_bytes());
        match status {
            101 => {
                client.expect_opened();
                client.send(&Frame::text("hello"));
                client.expect(&Frame::text("hello"));
            }
            status => assert_eq!(client.answer().status, status, "{path}"),
        }
    }
}

fn many_at_once_in_any_order(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    let mut clients: Vec<_> = (0..30)
        .map(|n| {
            let mut client = server.connect();
            client.send_bytes(request("").replace("/chat", &format!("/{n}")).as_bytes());
            client.send(&Frame::text("data"));
            client
        })
        .collect();
    let mut tickets: Vec<_> = (0..30).map(|_| tickets.recv_timeout(PATIENCE).unwrap()).collect();
    tickets.reverse();
    for ticket in tickets {
        let number = ticket.with_request(|request| request.path()[1..].parse().unwrap());
        let decided = match number % 3 {
            0 => ticket.refuse(Response::new(403)),
            _ => ticket.with(number).accept(Acceptance::new()),
        };
        decided.unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        if number % 3 == 0 {
            assert_eq!(client.answer().status, 403);
        } else {
            client.expect_opened();
            client.expect(&Frame::text(&number.to_string()));
        }
    }
}

fn answered_however_full_the_mailbox_is(driver: DriverKind) {
    /// Sits on a command until it is told to go on.
    #[derive(Clone)]
    struct Busy(Deferring);

    impl Handler for Busy {
        type Data = u32;

        fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<u32> {
            self.0.on_upgrade(request)
        }

        fn on_command(
            &mut self,
            _connections: &mut throng::Connections<'_, u32>,
            command: Box<dyn std::any::Any + Send>,
        ) {
            if let Ok(go_on) = command.downcast::<mpsc::Receiver<()>>() {
                let _ = go_on.recv_timeout(PATIENCE);
            }
        }
    }

    let (sender, tickets) = mpsc::channel();
    let handler = Busy(Deferring { tickets: sender, shown: Arc::default() });
    let server = serve_with(driver, handler, |builder| builder);
    let mut client = server.connect();
    client.send_bytes(request("").as_bytes());
    let ticket = tickets.recv_timeout(PATIENCE).unwrap();
    let (go_on, waits) = mpsc::channel();
    server.remote().command(0, waits).unwrap();
    let full = (0..1_000_000).find_map(|_| server.remote().command(0, ()).err());
    assert_eq!(full, Some(RemoteError::Full));
    ticket.accept(Acceptance::new()).unwrap();
    go_on.send(()).unwrap();
    client.expect_opened();
}

fn decided_after_the_server_ended(driver: DriverKind) {
    let (server, tickets) = Deferring::serve(driver);
    let mut client = server.connect();
    client.send_bytes(request("").as_bytes());
    let ticket = tickets.recv_timeout(PATIENCE).unwrap();
    server.remote().shutdown(Shutdown::default()).unwrap();
    client.expect_gone();
    server.join();
    assert_eq!(ticket.accept(Acceptance::new()), Err(RemoteError::Gone));
}

fn shown_when_it_is_answered(driver: DriverKind) {
    let (server, tickets, shown) = Deferring::serve_and_show(driver);
    let asked = request("");
    let mut clients: Vec<_> = (0..2).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send_bytes(asked.as_bytes()));
    let [one, other] = [(), ()].map(|()| tickets.recv_timeout(PATIENCE).unwrap());
    assert!(shown.lock().unwrap().is_empty());
    one.accept(Acceptance::new()).unwrap();
    drop(other);
    server.until("both answers", |counts| counts.opened == 1 && counts.responded == 1);
    let asked = asked.into_bytes();
    assert_eq!(*shown.lock().unwrap(), [(101, asked.clone()), (503, asked)]);
}
