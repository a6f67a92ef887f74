//! A client of the engine's own for the length of a test, and peers that do as they like.

use std::{
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use throng::{
    CloseCause, Conn, ConnId, Connections, DriverKind, Handler, Message, Remote, Report, Running,
    Sent, Shutdown,
    client::{Client, ClientBuilder, Connect, ConnectError, FailedResponse},
    protocol::{
        Role,
        handshake::{AcceptKey, Reply},
    },
};

use super::PATIENCE;

/// What a client's callbacks saw.
#[derive(Debug)]
pub(crate) enum Seen {
    Connected,
    Reply(u16, Option<String>),
    Opened,
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Closed(CloseCause),
    Failed(u32, ConnectError),
}

/// Tells the test, and does what the test says.
pub(crate) struct Teller(mpsc::Sender<Seen>);

impl Teller {
    fn tell(&self, seen: Seen) {
        let _ = self.0.send(seen);
    }
}

/// What a test can have a client do.
pub(crate) type Order = Box<dyn FnOnce(&mut Connections<'_, u32>) + Send>;

impl Handler for Teller {
    type Data = u32;

    fn on_connected(&mut self, conn: &mut Conn<'_, u32>) {
        assert_eq!((conn.role(), conn.is_open()), (Role::Client, false));
        assert_eq!(conn.send("too early"), Sent::Closed);
        self.tell(Seen::Connected);
    }

    fn on_reply(&mut self, _conn: &mut Conn<'_, u32>, reply: &Reply<'_>) {
        self.tell(Seen::Reply(reply.status(), reply.subprotocol().map(str::to_owned)));
    }

    fn on_open(&mut self, conn: &mut Conn<'_, u32>) {
        assert!(conn.is_open());
        self.tell(Seen::Opened);
    }

    fn on_message(&mut self, _conn: &mut Conn<'_, u32>, message: Message<'_>) {
        self.tell(match message {
            Message::Text(text) => Seen::Text(text.to_owned()),
            Message::Binary(bytes) => Seen::Binary(bytes.to_owned()),
        });
    }

    fn on_ping(&mut self, _conn: &mut Conn<'_, u32>, payload: &[u8]) -> bool {
        self.tell(Seen::Ping(payload.to_owned()));
        true
    }

    fn on_pong(&mut self, _conn: &mut Conn<'_, u32>, payload: &[u8]) {
        self.tell(Seen::Pong(payload.to_owned()));
    }

    fn on_close(&mut self, _conn: &mut Conn<'_, u32>, cause: CloseCause) {
        self.tell(Seen::Closed(cause));
    }

    fn on_connect_failed(
        &mut self,
        _connections: &mut Connections<'_, u32>,
        _id: ConnId,
        data: u32,
        error: ConnectError,
    ) {
        self.tell(Seen::Failed(data, error));
    }

    fn on_command(
        &mut self,
        connections: &mut Connections<'_, u32>,
        command: Box<dyn std::any::Any + Send>,
    ) {
        command.downcast::<Order>().expect("the tests send nothing else")(connections);
    }
}

/// A client with one reactor, which is shut down when this is dropped.
pub(crate) struct Calling {
    running: Option<Running>,
    pub(crate) remote: Remote,
    seen: mpsc::Receiver<Seen>,
}

pub(crate) fn client(driver: DriverKind) -> Calling {
    client_with(driver, |builder| builder)
}

pub(crate) fn client_with(
    driver: DriverKind,
    settings: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Calling {
    let (events, seen) = mpsc::channel();
    let builder = settings(Client::builder().driver(driver).reactors(1));
    let client = builder.build().expect("the settings are in order");
    let running = client.spawn(move |_reactor| Teller(events.clone())).expect("it starts");
    Calling { remote: running.remote(), running: Some(running), seen }
}

impl Calling {
    /// Has the reactor do something.
    pub(crate) fn order(&self, order: impl FnOnce(&mut Connections<'_, u32>) + Send + 'static) {
        self.remote.command(0, Box::new(order) as Order).expect("it runs");
    }

    /// Has the reactor do something, and waits for what comes of it.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Connections<'_, u32>) -> T + Send + 'static,
    ) -> T {
        let (sender, answer) = mpsc::channel();
        self.order(move |connections| {
            let _ = sender.send(order(connections));
        });
        answer.recv_timeout(PATIENCE).expect("the reactor obeys")
    }

    pub(crate) fn connect(&self, connect: &Connect) -> ConnId {
        let connect = connect.clone();
        self.ask(move |connections| connections.connect(&connect, 7).expect("it begins"))
    }

    /// Connects, and sees it through.
    #[track_caller]
    pub(crate) fn open(&self, connect: &Connect) -> ConnId {
        let id = self.connect(connect);
        assert!(matches!(self.next(), Seen::Connected));
        assert!(matches!(self.next(), Seen::Reply(101, _)));
        assert!(matches!(self.next(), Seen::Opened));
        id
    }

    /// Connects, and sees it fail.
    #[track_caller]
    pub(crate) fn fail(&self, connect: &Connect) -> ConnectError {
        self.connect(connect);
        self.failed()
    }

    #[track_caller]
    pub(crate) fn failed(&self) -> ConnectError {
        match self.next() {
            Seen::Connected => self.failed(),
            Seen::Failed(7, error) => error,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn refused(&self, connect: &Connect) -> FailedResponse {
        match self.fail(connect) {
            ConnectError::Refused(response) => *response,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("a callback is due")
    }

    pub(crate) fn send(&self, id: ConnId, message: impl Into<OwnedMessage>) {
        let message = message.into();
        self.order(move |connections| {
            let mut conn = connections.conn(id).expect("it is open");
            match &message {
                OwnedMessage::Text(text) => conn.send(text),
                OwnedMessage::Binary(bytes) => conn.send(bytes),
            };
        });
    }

    #[track_caller]
    pub(crate) fn end(&mut self, shutdown: Shutdown) -> Report {
        self.remote.shutdown(shutdown).expect("it runs");
        let report = self.running.take().expect("it runs").join().expect("it ends well");
        let counts = self.remote.total();
        assert_eq!((counts.connections, counts.opened), (0, counts.closed), "{counts:?}");
        assert_eq!(counts.connects, counts.opened + counts.connect_failures, "{counts:?}");
        report
    }
}

pub(crate) enum OwnedMessage {
    Text(String),
    Binary(Vec<u8>),
}

impl From<&str> for OwnedMessage {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for OwnedMessage {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for OwnedMessage {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        if !thread::panicking() && self.running.is_some() {
            self.end(Shutdown { deadline: Duration::ZERO, ..Shutdown::default() });
        }
    }
}

pub(crate) fn to(address: SocketAddr) -> Connect {
    Connect::to(&format!("ws://{address}/here?x=1")).expect("a good URL")
}

/// A peer that does with its one connection what it likes.
pub(crate) fn peer<T: Send + 'static>(
    behave: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (Connect, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = to(listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        behave(stream)
    });
    (connect, thread)
}

/// Reads a request, and says how it is to be answered.
pub(crate) fn read_request(stream: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let accept = AcceptKey::new(key.expect("a key")).to_string();
    (head, accept)
}

pub(crate) fn switching(accept: &str, more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// Reads one masked frame of at most 125 bytes: opcode, key, payload.
pub(crate) fn read_frame(stream: &mut TcpStream) -> (u8, [u8; 4], Vec<u8>) {
    let mut header = [0; 6];
    stream.read_exact(&mut header).unwrap();
    let [first, second, key @ ..] = header;
    assert_eq!(first & 0xF0, 0x80, "whole, and no reserved bits");
    assert_eq!(second & 0x80, 0x80, "a client's frame is masked");
    let mut payload = vec![0; usize::from(second & 0x7F)];
    stream.read_exact(&mut payload).unwrap();
    payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    (first & 0x0F, key, payload)
}
