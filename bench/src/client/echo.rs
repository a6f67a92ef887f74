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
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    io::{Errno, ioctl_fionbio},
    net::{RecvFlags, SendFlags, recv, send},
};

use super::{
    connection::{Connection, source_address},
    frame::{Answer, Exchange},
};
use crate::{
    measure::{Cost, Counts, Latencies, Meter, Process},
    sys,
};

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
    load: Load,
    /// Seconds to measure, after a fifth of a second that is not.
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    seconds: f64,
    /// The core to run on. Default: any.
    #[arg(long, value_name = "N")]
    core: Option<usize>,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// How many connections.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) connections: usize,
    /// Bytes of payload in a message.
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub(crate) size: usize,
    /// Messages in flight on each connection.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) pipeline: usize,
}

/// Measures, and prints.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    if let Some(core) = options.core {
        sys::pin(core)?;
    }
    let seconds = Duration::try_from_secs_f64(options.seconds).map_err(io::Error::other)?;
    let server = Process::new(options.pid)?;
    let outcome = measure(options.target, server, &options.load, seconds)?;
    println!("{}", options.load);
    print!("{outcome}");
    Ok(())
}

/// What one window showed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) answer: Answer,
    /// What the window cost the server.
    pub(crate) cost: Cost,
    /// The part of the window that this thread was busy.
    pub(crate) load_busy: f64,
    /// One for each message of the window.
    pub(crate) latencies: Latencies,
}

/// Opens connections and keeps them busy, first to warm up, then for the window.
pub(crate) fn measure(
    target: SocketAddrV4,
    server: Process,
    load: &Load,
    window: Duration,
) -> io::Result<Outcome> {
    if load.connections == 0 || load.pipeline == 0 {
        return Err(io::Error::other(
            "there is nothing to measure without connections or messages",
        ));
    }
    let mut clients = Clients::open(target, load)?;
    clients.start()?;
    clients.run_until(Instant::now() + WARM_UP)?;

    clients.latencies = Latencies::default();
    let own = Meter::start(Process::this())?;
    let meter = Meter::start(server)?;
    clients.run_until(Instant::now() + window)?;
    let cost = meter.stop()?;
    let load_busy = own.stop()?.busy();
    let latencies = mem::take(&mut clients.latencies);

    clients.finish(Instant::now() + DRAIN_MAX)?;
    Ok(Outcome { answer: clients.kind, cost, load_busy, latencies })
}

struct Clients {
    clients: Vec<Client>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    kind: Answer,
    pipeline: usize,
    /// Whether an answer is followed by another message.
    is_sending: bool,
    /// Answers that are still to come.
    awaited: usize,
    wire: Wire,
    latencies: Latencies,
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
    fn open(target: SocketAddrV4, load: &Load) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let exchange = Exchange::new(load.size);
        let mut answer = Vec::new();
        let mut kind = None;
        let mut clients = Vec::with_capacity(load.connections);
        for index in 0..load.connections {
            let connection = Connection::open(target, source_address(index))?;
            let answered = connection.exchange(&exchange, &mut answer)?;
            if *kind.get_or_insert(answered) != answered {
                return Err(io::Error::other("some connections answer differently from others"));
            }
            ioctl_fionbio(&connection.socket, true)?;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(&epoll, &connection.socket, EventData::new_u64(index as u64), flags)?;
            clients.push(Client::new(connection.socket, load.pipeline));
        }
        let kind = kind.unwrap_or(Answer::Message);
        Ok(Self {
            clients,
            epoll,
            events: Vec::with_capacity(EVENT_COUNT),
            kind,
            pipeline: load.pipeline,
            is_sending: true,
            awaited: 0,
            wire: Wire::new(&exchange, kind, load.pipeline),
            latencies: Latencies::default(),
        })
    }

    /// Sends the first messages.
    fn start(&mut self) -> io::Result<()> {
        for client in &mut self.clients {
            client.sent_at.fill(Instant::now());
            client.queue(self.pipeline, &self.wire)?;
            self.awaited += self.pipeline;
        }
        Ok(())
    }

    /// Answers answers with messages until then.
    fn run_until(&mut self, end: Instant) -> io::Result<()> {
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// Takes the last answers.
    fn finish(&mut self, end: Instant) -> io::Result<()> {
        self.is_sending = false;
        while self.awaited > 0 {
            if Instant::now() >= end {
                return Err(io::Error::other(format!("{} answers never came", self.awaited)));
            }
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&TURN_MAX)) {
            Err(Errno::INTR) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            let client = &mut self.clients[event.data.u64() as usize];
            if client.unsent_len > 0 {
                client.flush(&self.wire)?;
            }
            let count = client.receive(&mut self.wire)?;
            if count == 0 {
                continue;
            }
            let now = Instant::now();
            client.take(count, now, &mut self.latencies);
            if self.is_sending {
                client.queue(count, &self.wire)?;
            } else {
                self.awaited -= count;
            }
        }
        Ok(())
    }
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

impl Outcome {
    /// Messages answered in the window.
    pub(crate) fn messages(&self) -> f64 {
        self.latencies.count() as f64
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.messages() / self.cost.wall.as_secs_f64()
    }

    /// Of the server.
    pub(crate) fn cpu_micros_each(&self) -> f64 {
        self.cost.cpu.as_secs_f64() * 1e6 / self.messages()
    }

    /// What the hardware counted for a message; not a number where it does not.
    pub(crate) fn counted_each(&self, of: fn(&Counts) -> f64) -> f64 {
        self.cost.counts.as_ref().map_or(f64::NAN, of) / self.messages()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (messages, rate) = (self.messages(), self.per_second());
        let micros = |part| self.latencies.quantile(part).as_micros();
        let (server, load) = (self.cost.busy() * 100.0, self.load_busy * 100.0);
        if self.answer == Answer::Frame {
            writeln!(f, "  a floor: it answers with the masked frame, 4 bytes more than a server")?;
        }
        writeln!(f, "  messages      {messages} in {:.2?}, {rate:.0}/s", self.cost.wall)?;
        writeln!(f, "  latency       p50 {} µs, p99 {} µs", micros(0.5), micros(0.99))?;
        writeln!(f, "  busy          server {server:.0} %, load {load:.0} %")?;
        let (cpu, user) = (self.cpu_micros_each(), self.cost.user_part() * 100.0);
        writeln!(f, "  each message  {cpu:.2} µs of the server's CPU, {user:.0} % in user space")?;
        if self.cost.counts.is_none() {
            return writeln!(f, "                no hardware counters here");
        }
        let user = self.counted_each(|counts| counts.user_instructions);
        let kernel = self.counted_each(|counts| counts.kernel_instructions);
        writeln!(f, "                {:.0} cycles", self.counted_each(|counts| counts.cycles))?;
        writeln!(
            f,
            "                {user:.0} instructions in user space, {kernel:.0} in the kernel"
        )
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, size, pipeline } = self;
        write!(f, "{connections} connections, {size} bytes, {pipeline} in flight on each")
    }
}

const WARM_UP: Duration = Duration::from_millis(200);
/// How long the last answers may take.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long a turn may wait, so that the window ends even when nothing comes.
const TURN_MAX: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
const EVENT_COUNT: usize = 1024;
const BUFFER_LEN: usize = 256 << 10;
