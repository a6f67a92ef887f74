//! Sends every message back. The program that measurements and conformance runs use.
//!
//! ```sh
//! cargo run --release --example echo -- --listen 127.0.0.1:9001 --driver auto
//! ```

use std::{process::ExitCode, thread, time::Duration};

use clap::{Parser, ValueEnum};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use throng::{
    Conn, Deflate, DeflateMode, DriverKind, Handler, Limits, Message, OriginPolicy, SendQueue,
    Server, Shutdown, Timeouts,
};

/// A WebSocket server that sends every message back.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Where to listen: HOST:PORT, [IPv6]:PORT or unix:PATH. Repeatable.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9001")]
    listen: Vec<String>,
    /// How to talk to the kernel.
    #[arg(long, value_enum, default_value_t = DriverOption::Auto)]
    driver: DriverOption,
    /// How many reactors. Default: one a core.
    #[arg(long, value_name = "N")]
    reactors: Option<usize>,
    /// Cores to pin the reactors to, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pin: Vec<usize>,
    /// The longest message that is taken.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().message_len_max)]
    max_message: usize,
    /// The longest request head that is taken.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().head_len_max)]
    max_head: usize,
    /// Seconds for the opening handshake; 0 is no limit.
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    handshake_timeout: f64,
    /// Seconds of silence, half of them before a ping; 0 is no limit.
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    idle_timeout: f64,
    /// Seconds for the closing handshake.
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    close_timeout: f64,
    /// Bytes that may wait for a peer that reads slowly.
    #[arg(long, value_name = "BYTES", default_value_t = SendQueue::default().len_max)]
    send_queue: usize,
    /// Web pages that may connect, as https://*.example.com. Repeatable. Default: any.
    #[arg(long, value_name = "PATTERN")]
    origin: Vec<String>,
    /// Panic on receiving this text, to show that nobody else notices.
    #[arg(long, value_name = "TEXT")]
    panic_on: Option<String>,
    /// Give each reactor a descriptor table of its own, past RLIMIT_NOFILE for all of them (epoll).
    #[arg(long)]
    private_descriptors: bool,
    /// Compress messages, with peers that want it too: each by itself, or with regard to those before.
    #[arg(long, value_enum, value_name = "MODE")]
    deflate: Option<DeflateOption>,
    /// Send each message to every connection instead of back.
    #[arg(long)]
    broadcast: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DriverOption {
    Auto,
    Uring,
    Epoll,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DeflateOption {
    Shared,
    Dedicated,
}

struct Echo {
    panic_on: Option<String>,
    broadcast: bool,
}

impl Handler for Echo {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        if let (Some(fatal), Message::Text(text)) = (&self.panic_on, message) {
            assert!(text != fatal, "told to panic on {text:?}");
        }
        match self.broadcast {
            false => _ = conn.send(message),
            true => send_to_all(conn, message),
        }
    }
}

#[cold] // for the sake of those who measure echoes
fn send_to_all(conn: &Conn<'_, ()>, message: Message<'_>) {
    // A mailbox that is full loses the message; an echo server can live with that.
    let _ = conn.remote().broadcast(message);
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let options = Options::parse();
    let server = build(&options)?;
    let addresses: Vec<_> = server.addresses().iter().map(ToString::to_string).collect();
    let driver = format!("{}: {}", server.driver(), server.driver_reason());
    // Before any thread starts, so that no signal finds the process unprepared.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;

    let Options { panic_on, broadcast, .. } = options;
    let running = server.spawn(move |_| Echo { panic_on: panic_on.clone(), broadcast })?;
    println!("listening on {} ({driver})", addresses.join(" "));

    let remote = running.remote();
    thread::spawn(move || {
        for _ in signals.forever() {
            let shutdown = Shutdown { deadline: Duration::from_secs(10), ..Shutdown::default() };
            if remote.shutdown(shutdown).is_err() {
                break;
            }
        }
    });
    let report = running.join()?;
    if report.dropped > 0 {
        eprintln!("dropped {} connections that did not close in time", report.dropped);
    }
    Ok(())
}

fn build(options: &Options) -> Result<Server, Box<dyn std::error::Error>> {
    let seconds =
        |s: f64| (s > 0.0).then(|| Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX));
    let idle = seconds(options.idle_timeout);
    let origin = match options.origin.as_slice() {
        [] => OriginPolicy::AnyDangerously,
        patterns => OriginPolicy::patterns(patterns)?,
    };
    let mut builder = Server::builder();
    if let Some(mode) = options.deflate {
        let mode = match mode {
            DeflateOption::Shared => DeflateMode::Shared,
            DeflateOption::Dedicated => DeflateMode::dedicated(),
        };
        builder = builder.deflate(Deflate { mode, ..Deflate::default() });
    }
    let mut builder = builder
        .pin(options.pin.clone())
        .private_descriptors(options.private_descriptors)
        .origin(origin)
        .limits(Limits {
            message_len_max: options.max_message,
            head_len_max: options.max_head,
            ..Limits::default()
        })
        .send_queue(SendQueue { len_max: options.send_queue, ..SendQueue::default() })
        .timeouts(Timeouts {
            handshake: seconds(options.handshake_timeout),
            ping: idle.map(|idle| idle / 2),
            idle,
            close: seconds(options.close_timeout).unwrap_or_default(),
            ..Timeouts::default()
        });
    for address in &options.listen {
        builder = builder.listen(address);
    }
    if let Some(count) = options.reactors {
        builder = builder.reactors(count);
    }
    builder = match options.driver {
        DriverOption::Auto => builder,
        DriverOption::Uring => builder.driver(DriverKind::Uring),
        DriverOption::Epoll => builder.driver(DriverKind::Epoll),
    };
    Ok(builder.build()?)
}
