//! The floor: a TCP echo of a WebSocket server's shape, and nothing more.
//!
//! It sends back the bytes that came. A masked frame is answered with the masked frame, which is
//! four bytes more than a WebSocket answer and no work at all: what the kernel costs with this
//! driver, below which no server gets; a broadcast sends those bytes to everyone. So that the same
//! clients can drive it, the first bytes of a connection are taken for the opening handshake, in one
//! piece, and answered with the one response that fits the one key our clients send.
//!
//! It keeps no backlog: a peer that does not read what it is sent loses its connection, and the
//! floor says so.

mod epoll;
mod uring;

use std::{
    convert::Infallible,
    io::{self, Write as _},
    net::{SocketAddr, TcpListener},
};

use clap::{Args, ValueEnum};
use rustix::net::{listen, sockopt::set_tcp_nodelay};

use crate::{client::ACCEPTANCE, sys};

/// Runs a raw TCP echo, the least that a server on this driver can cost.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How to talk to the kernel.
    #[arg(long, value_enum)]
    driver: Driver,
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The core to run on. Default: any.
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// Bytes of the messages to come, to which the receive buffers are fitted.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 10)]
    message: usize,
    /// Send what comes to every connection instead of back.
    #[arg(long)]
    broadcast: bool,
}

impl Options {
    /// Bytes of a receive buffer: a whole frame if that is not too long.
    fn buffer_len(&self) -> usize {
        const HEADER_LEN: usize = 14;
        (self.message + HEADER_LEN).next_power_of_two().clamp(4 << 10, 512 << 10)
    }
}

/// A way of talking to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    Epoll,
    Uring,
}

impl Driver {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::Uring => "uring",
        }
    }
}

/// Serves until somebody ends the process.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    if let Some(core) = options.core {
        sys::pin(core)?;
    }
    let listener = TcpListener::bind(options.listen)?;
    listen(&listener, BACKLOG_MAX)?;
    set_tcp_nodelay(&listener, true)?; // Inherited by what is accepted.
    println!("listening on {} (floor, {})", listener.local_addr()?, options.driver.name());
    io::stdout().flush()?;
    let Err(error) = match options.driver {
        Driver::Epoll => epoll::serve(&listener, options),
        Driver::Uring => uring::serve(&listener, options),
    };
    Err(error)
}

/// One for a test, on a thread that ends with the process.
#[cfg(test)]
pub(crate) fn spawn(broadcast: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = listener.local_addr().unwrap();
    let options = Options { driver: Driver::Epoll, listen, core: None, message: 0, broadcast };
    std::thread::spawn(move || epoll::serve(&listener, &options));
    listen
}

/// What a driver's loop returns: it ends with an error or not at all.
type Never = io::Result<Infallible>;

/// The answer to the first bytes of a connection, if they are an opening handshake.
fn first_answer(received: &[u8]) -> Option<&'static [u8]> {
    received.ends_with(b"\r\n\r\n").then_some(ACCEPTANCE)
}

/// Says why a connection ends.
#[cold]
fn report_full(sent: usize) {
    eprintln!(
        "a socket took only {sent} bytes of an answer; the floor keeps no backlog and closes"
    );
}

/// Connections that may wait to be accepted; the kernel has a limit of its own.
const BACKLOG_MAX: i32 = 4096;
