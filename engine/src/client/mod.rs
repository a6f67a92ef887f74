//! A client: the same engine from the other end, for thousands of connections a core.
//!
//! A [`Client`] is a few reactors, as a [`Server`](crate::Server) is, without a listener: its
//! connections are those that it is told to make, by [`Connections::connect`] inside of a callback and
//! by [`Remote::connect`] from any thread. The same [`Handler`] serves both ends.
//!
//! [`Connections::connect`]: crate::Connections::connect
//!
//! ```
//! use throng::{Conn, Handler, Message, Server, Shutdown, client::{Client, Connect}};
//!
//! # struct Echo;
//! # impl Handler for Echo {
//! #     type Data = ();
//! #     fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) { conn.send(message); }
//! # }
//! # let server = Server::builder().listen("127.0.0.1:0").reactors(1).build()?;
//! # let url = format!("ws://{}/", server.addresses()[0]);
//! # let server = server.spawn(|_| Echo)?;
//! /// Says hello, prints the answer, and leaves.
//! struct Hello;
//!
//! impl Handler for Hello {
//!     type Data = ();
//!
//!     fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
//!         conn.send("hello");
//!     }
//!
//!     fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
//!         println!("{message:?}");
//!         conn.remote().shutdown(Shutdown::default()).expect("the client runs");
//!     }
//! }
//!
//! let client = Client::builder().reactors(1).build()?.spawn(|_reactor| Hello)?;
//! client.remote().connect(&Connect::to(&url)?).expect("the mailbox has room");
//! client.join()?;
//! # server.remote().shutdown(Shutdown::default()).expect("it runs");
//! # server.join()?;
//! # Ok::<(), throng::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod blocking;
#[cfg(test)]
mod simulation;

pub use crate::{
    conn::{ConnectError, FailedResponse},
    endpoint::Connect,
};
use crate::{
    driver::DriverKind,
    endpoint::{Crew, Handler, Remote, Running, Setup, common_settings},
    error::Error,
    protocol::handshake::OriginPolicy,
};

/// What a client is made of. Everything has a default.
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientBuilder {
    setup: Setup,
}

impl ClientBuilder {
    common_settings!();

    /// Checks the settings and chooses the driver. Connections are made once the client
    /// [runs](Client::run).
    pub fn build(self) -> Result<Client, Error> {
        Ok(Client { crew: self.setup.assemble()? })
    }
}

/// A client that is ready to run: its driver is chosen.
pub struct Client {
    crew: Crew,
}

impl Client {
    /// Begins to describe a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The driver that its reactors use.
    pub fn driver(&self) -> DriverKind {
        self.crew.choice().kind
    }

    /// Why it is that driver, in a few words.
    pub fn driver_reason(&self) -> &str {
        &self.crew.choice().reason
    }

    /// The handle through which other threads reach it. What is asked of it waits until it runs.
    pub fn remote(&self) -> Remote {
        self.crew.remote()
    }

    /// Runs it until it is [shut down](Remote::shutdown).
    ///
    /// `handler` is called once on each reactor's thread, with the reactor's number.
    pub fn run<H: Handler>(
        self,
        handler: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.spawn(handler)?.join().map(|_report| ())
    }

    /// Starts it on threads of its own, and returns once all of them run.
    pub fn spawn<H: Handler>(
        self,
        handler: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Result<Running, Error> {
        let listeners = (0..self.crew.count()).map(|_| Vec::new()).collect();
        self.crew.start(listeners, Vec::new(), OriginPolicy::default(), handler)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("driver", &self.driver()).finish_non_exhaustive()
    }
}
