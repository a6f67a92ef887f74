//! A closed loop: every connection has its messages in flight, and sends another for each answer.
//!
//! One thread, edge-triggered. Connections are opened one after the other, each with a first
//! exchange that is compared byte for byte; from then on answers are counted by their length. When
//! the window is over, what is still in flight has to come in, so that no message was lost.

use std::{
    fmt,
    io::{self, ErrorKind},
    mem,
    net::SocketAddrV4,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use clap::Args;
use rustix::{
    event::{Timespec, epoll::EventFlags},
    io::{Errno, ioctl_fionbio},
    net::{RecvFlags, SendFlags, recv, send},
};
use throng_meter::Process;

use super::{
    Done, Load,
    connection::Connection,
    frame::{Answer, Exchange, Opcode},
    sockets::Sockets,
};
use crate::{measure::Latencies, sys};

/// Keeps connections busy with messages, and reports what each costs the server.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server: an address of the loopback network.
    #[arg(long, value_name = "HOST:PORT")]
    target: SocketAddrV4,
    /// The server's process.
    #[arg(long)]
    pid: u32,
    #[command(flatten)]
    shape: Shape,
    /// Seconds to measure, after a fifth of a second that is not.
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    seconds: f64,
    /// The core to run on. Default: any.
    #[arg(long, value_name = "N")]
    core: Option<usize>,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Shape {
    /// How many connections.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) connections: usize,
    /// Bytes of payload in a message.
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub(crate) size: usize,
    /// Messages in flight on each connection.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) pipeline: usize,
    /// Text messages instead of binary ones.
    #[arg(long)]
    pub(crate) text: bool,
}

/// Measures, and prints.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    if let Some(core) = options.core {
        sys::pin(core)?;
    }
    let seconds = Duration::try_from_secs_f64(options.seconds).map_err(io::Error::other)?;
    let server = Process::new(options.pid)?;
    let mut clients = Clients::open(options.target, &options.shape)?;
    let window = super::measure(&mut clients, server, seconds)?;
    println!("{}", options.shape);
    print!("{window}");
    Ok(())
}

/// Connections that are kept busy.
pub(crate) struct Clients {
    clients: Vec<Client>,
    sockets: Sockets,
    /// Whether an answer is followed by another message.
    is_sending: bool,
    /// Answers that are still to come.
    awaited: usize,
    wire: Wire,
    done: Done,
}

/// What all clients share: the bytes that they send, and where they receive.
struct Wire {
    /// As many frames as can be on their way, and one more, so that a run of them can start anywhere
    /// in the first.
    frames: Vec<u8>,
    frame_len: usize,
    answer_len: usize,
    buffer: Vec<u8>,
}

struct Client {
    socket: OwnedFd,
    /// When each message in flight was sent; the answer to the one at `next` comes first.
    sent_at: Box<[Instant]>,
    next: usize,
    /// Bytes of an answer that has not arrived as a whole.
    received_len: usize,
    /// Bytes that wait for the socket to take them, and how far into a frame they start.
    unsent_len: usize,
    offset: usize,
}

impl Clients {
    /// Opens the connections, and sends the first messages.
    pub(crate) fn open(target: SocketAddrV4, shape: &Shape) -> io::Result<Self> {
        if shape.connections == 0 || shape.pipeline == 0 {
            return Err(io::Error::other(
                "there is nothing to measure without connections or messages",
            ));
        }
        let opcode = if shape.text { Opcode::Text } else { Opcode::Binary };
        let exchange = Exchange::new(opcode, shape.size);
        let connections = Connection::open_all(target, 0..shape.connections)?;
        let kind = exchange_all(&connections, &exchange)?;
        let sockets = Sockets::new()?;
        for (number, connection) in connections.iter().enumerate() {
            ioctl_fionbio(&connection.socket, true)?;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            sockets.watch(connection, number, flags)?;
        }
        let clients = connections.into_iter();
        let clients = clients.map(|connection| Client::new(connection.socket, shape.pipeline));
        let mut clients = Self {
            clients: clients.collect(),
            sockets,
            is_sending: true,
            awaited: shape.connections * shape.pipeline,
            wire: Wire::new(&exchange, kind, shape.pipeline),
            done: Done::default(),
        };
        for client in &mut clients.clients {
            client.sent_at.fill(Instant::now());
            client.queue(shape.pipeline, &clients.wire)?;
        }
        Ok(clients)
    }
}

impl Load for Clients {
    fn turn(&mut self) -> io::Result<()> {
        for number in self.sockets.ready(&TURN_MAX)? {
            let client = &mut self.clients[number];
            if client.unsent_len > 0 {
                client.flush(&self.wire)?;
            }
            let count = client.receive(&mut self.wire)?;
            if count == 0 {
                continue;
            }
            let now = Instant::now();
            client.take(count, now, &mut self.done.latencies);
            self.done.count += count as u64;
            if self.is_sending {
                client.queue(count, &self.wire)?;
            } else {
                self.awaited -= count;
            }
        }
        Ok(())
    }

    fn done(&mut self) -> &mut Done {
        &mut self.done
    }

    fn finish(&mut self) -> io::Result<()> {
        let end = Instant::now() + DRAIN_MAX;
        self.is_sending = false;
        while self.awaited > 0 {
            if Instant::now() >= end {
                return Err(io::Error::other(format!("{} answers never came", self.awaited)));
            }
            self.turn()?;
        }
        Ok(())
    }
}

/// The first message on each connection, some at a time; says what kind of answers come.
fn exchange_all(connections: &[Connection], exchange: &Exchange) -> io::Result<Answer> {
    let batch_len = (BATCH_BYTES / exchange.frame().len()).clamp(1, BATCH_LEN_MAX);
    let mut answer = Vec::new();
    let mut kind = None;
    for batch in connections.chunks(batch_len) {
        batch.iter().try_for_each(|connection| connection.send_all(exchange.frame()))?;
        for connection in batch {
            let answered = connection.receive_answer(exchange, &mut answer)?;
            if *kind.get_or_insert(answered) != answered {
                return Err(io::Error::other("some connections answer differently from others"));
            }
        }
    }
    Ok(kind.unwrap_or(Answer::Message))
}

impl Client {
    fn new(socket: OwnedFd, pipeline: usize) -> Self {
        let sent_at = vec![Instant::now(); pipeline].into_boxed_slice();
        Self { socket, sent_at, next: 0, received_len: 0, unsent_len: 0, offset: 0 }
    }

    /// Receives all that is there, and says how many answers are complete by that. A receive that
    /// leaves room has emptied the socket.
    fn receive(&mut self, wire: &mut Wire) -> io::Result<usize> {
        let mut count = 0;
        loop {
            let len = match recv(&self.socket, &mut *wire.buffer, RecvFlags::empty()) {
                Ok((0, _)) => {
                    let problem = "the server closed a connection";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, problem));
                }
                Ok((len, _)) => len,
                Err(Errno::AGAIN) => return Ok(count),
                Err(error) => return Err(error.into()),
            };
            self.received_len += len;
            count += self.received_len / wire.answer_len;
            self.received_len %= wire.answer_len;
            if len < wire.buffer.len() {
                return Ok(count);
            }
        }
    }

    /// Notes that the oldest `count` messages are answered. Those that follow take their places.
    fn take(&mut self, count: usize, now: Instant, latencies: &mut Latencies) {
        for _ in 0..count {
            let sent_at = mem::replace(&mut self.sent_at[self.next], now);
            latencies.record(now - sent_at);
            self.next += 1;
            if self.next == self.sent_at.len() {
                self.next = 0;
            }
        }
    }

    /// Sends `count` more messages, in one piece.
    fn queue(&mut self, count: usize, wire: &Wire) -> io::Result<()> {
        self.unsent_len += count * wire.frame_len;
        self.flush(wire)
    }

    fn flush(&mut self, wire: &Wire) -> io::Result<()> {
        let bytes = &wire.frames[self.offset..self.offset + self.unsent_len];
        match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(len) => {
                self.unsent_len -= len;
                self.offset = (self.offset + len) % wire.frame_len;
                Ok(())
            }
            Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Wire {
    fn new(exchange: &Exchange, kind: Answer, pipeline: usize) -> Self {
        let frame = exchange.frame();
        Self {
            frames: frame.repeat(pipeline + 1),
            frame_len: frame.len(),
            answer_len: exchange.answer(kind).len(),
            buffer: vec![0; BUFFER_LEN],
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, size, pipeline, text } = self;
        let kind = if *text { "text" } else { "binary" };
        write!(f, "{connections} connections, {size} bytes of {kind}, {pipeline} in flight on each")
    }
}

/// Bytes and messages that are sent before the first answer is read: few enough to fit into buffers.
const BATCH_BYTES: usize = 64 << 10;
const BATCH_LEN_MAX: usize = 100;
/// How long the last answers may take.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long a turn may wait, so that the window ends even when nothing comes.
const TURN_MAX: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
const BUFFER_LEN: usize = 256 << 10;
