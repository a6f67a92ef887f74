//! A server: one reactor a core, and where they listen.
#![forbid(unsafe_code)]

mod builder;
mod listener;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code))] // as with the driver it runs on
pub(crate) mod simulation;

use std::{fmt, os::fd::OwnedFd, path::PathBuf};

pub use self::{
    builder::ServerBuilder,
    listener::{ListenAddr, TcpOptions},
};
use crate::{
    driver::DriverKind,
    endpoint::{Crew, Handler, Remote, Running},
    error::Error,
    protocol::handshake::OriginPolicy,
};

/// A server that is ready to run: its driver is chosen and its listeners are open.
pub struct Server {
    crew: Crew,
    addresses: Vec<ListenAddr>,
    /// Unix sockets that are ours to remove in the end.
    unix_paths: Vec<PathBuf>,
    /// For each reactor, one of each address.
    listeners: Vec<Vec<OwnedFd>>,
    origin: OriginPolicy,
}

impl Server {
    /// Begins to describe a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Where it listens, with the ports that the kernel chose.
    pub fn addresses(&self) -> &[ListenAddr] {
        &self.addresses
    }

    /// The driver that its reactors use.
    pub fn driver(&self) -> DriverKind {
        self.crew.choice().kind
    }

    /// Why it is that driver, in a few words.
    pub fn driver_reason(&self) -> &str {
        &self.crew.choice().reason
    }

    /// The handle through which other threads reach it.
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

    /// Starts it on threads of its own, and returns once all of them serve.
    pub fn spawn<H: Handler>(
        self,
        handler: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Result<Running, Error> {
        self.crew.start(self.listeners, self.unix_paths, self.origin, handler)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("driver", &self.driver())
            .finish_non_exhaustive()
    }
}
