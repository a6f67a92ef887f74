//! The server: reactors that hold connections, and obey the lines of standard input.

use std::{
    any::Any,
    fmt,
    io::{self, BufRead as _, Write as _},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::Args;
use throng::{Conn, Connections, DriverKind, Handler, Remote, Running, Server, Shutdown, Timeouts};

use super::wire::{MESSAGE, PING};
use crate::floor::Driver;

/// Not for use: what `million` runs.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(long, value_enum)]
    driver: Driver,
    #[arg(long)]
    reactors: usize,
    #[arg(long)]
    give_up: u64,
}

/// What a server has counted, as a line of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Connections there are.
    pub(super) connections: u64,
    /// Pongs that answered our pings.
    pub(super) pongs: u64,
}

/// Serves until it is told to shut down, or nobody is left to tell it.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let give_up = Duration::from_secs(options.give_up);
    let pongs = Arc::new(AtomicU64::new(0));
    let running = start(options, give_up, &pongs).map_err(io::Error::other)?;
    let remote = running.remote();
    for line in io::stdin().lock().lines() {
        match line?.as_str() {
            "ping" => ping_all(&remote)?,
            "broadcast" => remote.broadcast(MESSAGE).map_err(io::Error::other)?,
            "counts" => {
                let connections = remote.total().connections;
                say(format_args!(
                    "counts {}",
                    Counts { connections, pongs: pongs.load(Ordering::Relaxed) }
                ))?;
            }
            "shutdown" => return leave(running, give_up),
            line => return Err(io::Error::other(format!("what is {line:?}?"))),
        }
    }
    Ok(())
}

/// A server as anyone would build one, but that it lets silent peers be silent: there are no pings
/// but those that it is told to send.
fn start(options: &Options, give_up: Duration, pongs: &Arc<AtomicU64>) -> throng::Result<Running> {
    let driver = match options.driver {
        Driver::Uring => DriverKind::Uring,
        Driver::Epoll => DriverKind::Epoll,
    };
    let patient = Some(give_up);
    let server = Server::builder()
        .listen("127.0.0.1:0")
        .driver(driver)
        .reactors(options.reactors)
        .private_descriptors(driver == DriverKind::Epoll)
        .timeouts(Timeouts {
            handshake: patient,
            ping: None,
            idle: None,
            close: give_up,
            ..Timeouts::default()
        })
        .build()?;
    let address = server.addresses()[0].to_string();
    let pongs = pongs.clone();
    let running = server.spawn(move |_reactor| Silent { pongs: pongs.clone() })?;
    let _ = say(format_args!("listening on {address}"));
    Ok(running)
}

fn ping_all(remote: &Remote) -> io::Result<()> {
    (0..remote.reactor_count())
        .try_for_each(|reactor| remote.command(reactor, PingAll))
        .map_err(io::Error::other)
}

/// Says 1001 to no more than can answer at once: what all of them answered while a reactor still tells
/// the last would fill the kernel's memory for TCP, which is the whole machine's.
fn leave(running: Running, deadline: Duration) -> io::Result<()> {
    let remote = running.remote();
    let spread = Duration::from_secs_f64(remote.total().connections as f64 / CLOSES_PER_SECOND);
    let shutdown = Shutdown { spread, deadline, ..Shutdown::default() };
    remote.shutdown(shutdown).map_err(io::Error::other)?;
    let report = running.join().map_err(io::Error::other)?;
    say(format_args!("dropped {}", report.dropped))
}

/// Prints a line, now.
fn say(line: fmt::Arguments<'_>) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

const CLOSES_PER_SECOND: f64 = 25_000.0;

/// Says nothing, unless it is told to.
struct Silent {
    pongs: Arc<AtomicU64>,
}

/// The command to ping every connection of a reactor.
struct PingAll;

impl Handler for Silent {
    type Data = ();

    fn on_pong(&mut self, _conn: &mut Conn<'_, ()>, payload: &[u8]) {
        if payload == PING.as_bytes() {
            self.pongs.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn on_command(&mut self, connections: &mut Connections<'_, ()>, command: Box<dyn Any + Send>) {
        if !command.is::<PingAll>() {
            return;
        }
        for id in connections.ids() {
            if let Some(mut conn) = connections.conn(id) {
                conn.ping(PING.as_bytes());
            }
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.connections, self.pongs)
    }
}

impl FromStr for Counts {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (connections, pongs) = text.split_once(' ').unwrap_or((text, ""));
        Ok(Self { connections: connections.parse()?, pongs: pongs.parse()? })
    }
}
