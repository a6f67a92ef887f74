//! What the Rust peers share: their command line, a listening socket, and tokio on one thread.

use std::{env, future::Future, io, net::SocketAddr};

use tokio::{
    net::{TcpSocket, TcpStream},
    runtime,
};

/// `NAME [--listen HOST:PORT] [--broadcast]`
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub listen: SocketAddr,
    /// Send what comes to everyone instead of back.
    pub broadcast: bool,
}

impl Options {
    /// Those that this program was started with.
    pub fn parse() -> io::Result<Self> {
        let mut options = Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), broadcast: false };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match &*argument {
                "--broadcast" => options.broadcast = true,
                "--listen" => {
                    let address = arguments.next().unwrap_or_default();
                    options.listen = address.parse().map_err(|error| {
                        io::Error::other(format!("--listen {address:?}: {error}"))
                    })?;
                }
                _ => return Err(io::Error::other(format!("unknown argument {argument:?}"))),
            }
        }
        Ok(options)
    }
}

/// Runs a server on this thread: `serve` gets each connection, in a task of its own.
pub fn run<F>(options: Options, name: &str, serve: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.set_nodelay(true)?; // Inherited by what is accepted.
        socket.bind(options.listen)?;
        let listener = socket.listen(BACKLOG_MAX)?;
        println!("listening on {} ({name})", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream));
        }
    })
}

const BACKLOG_MAX: u32 = 4096;
