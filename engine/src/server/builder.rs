//! Settings in, a server or a clear complaint out.

use std::{net::TcpListener, os::fd::OwnedFd, os::unix::net::UnixListener};

use super::{
    Server, TcpOptions,
    listener::{self, ListenAddr},
};
use crate::{
    endpoint::{Setup, common_settings},
    error::Error,
    protocol::handshake::OriginPolicy,
};

/// What a server is made of. Everything but an address to listen on has a default.
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ServerBuilder {
    setup: Setup,
    listen: Vec<String>,
    adopted: Vec<OwnedFd>,
    origin: OriginPolicy,
    tcp: TcpOptions,
    shared_listeners: bool,
    without_listeners: bool,
}

impl ServerBuilder {
    common_settings!();

    /// Listens on `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`. May be called several times. Port 0 is a
    /// free port of the kernel's choice, which [`Server::addresses`] tells.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen.push(address.into());
        self
    }

    /// Listens on a TCP socket that someone else opened: an earlier process, a supervisor, a test.
    pub fn adopt_tcp(mut self, listener: TcpListener) -> Self {
        self.adopted.push(listener.into());
        self
    }

    /// Listens on a Unix socket that someone else opened.
    pub fn adopt_unix(mut self, listener: UnixListener) -> Self {
        self.adopted.push(listener.into());
        self
    }
    /// Which web pages may connect (RFC 6455 §10.2). Default: those from the same host.
    pub fn origin(mut self, policy: OriginPolicy) -> Self {
        self.origin = policy;
        self
    }

    /// Options of accepted TCP connections.
    pub fn tcp(mut self, options: TcpOptions) -> Self {
        self.tcp = options;
        self
    }

    /// All reactors accept from one socket, instead of one each over which the kernel spreads
    /// connections (`SO_REUSEPORT`). Unix sockets and adopted ones are always shared.
    pub fn shared_listeners(mut self, shared: bool) -> Self {
        self.shared_listeners = shared;
        self
    }

    /// Does without an address to listen on: all connections are handed to the server by
    /// [`Remote::adopt`](crate::Remote::adopt), or made by it.
    pub fn without_listeners(mut self) -> Self {
        self.without_listeners = true;
        self
    }

    /// Checks the settings, chooses the driver, and opens the listeners. Connections queue up from
    /// here on; they are served once the server [runs](Server::run).
    pub fn build(self) -> Result<Server, Error> {
        let crew = self.setup.assemble()?;
        let reactors = crew.count();
        let mut addresses = Vec::new();
        let mut unix_paths = Vec::new();
        let mut listeners: Vec<Vec<OwnedFd>> = (0..reactors).map(|_| Vec::new()).collect();
        let mut add = |address, opened: Vec<OwnedFd>| {
            addresses.push(address);
            listeners.iter_mut().zip(opened).for_each(|(mine, opened)| mine.push(opened));
        };
        for text in &self.listen {
            for address in ListenAddr::parse(text)? {
                let (address, opened) = address.open(reactors, self.shared_listeners, &self.tcp)?;
                if let ListenAddr::Unix(path) = &address {
                    unix_paths.push(path.clone());
                }
                add(address, opened);
            }
        }
        for adopted in self.adopted {
            let failed = |error| Error::io("cannot adopt a listener", error);
            let address = listener::address_of(&adopted).map_err(failed)?;
            add(address, listener::share(adopted, reactors).map_err(failed)?);
        }
        if addresses.is_empty() && !self.without_listeners {
            let remedy = "give at least one address, as in `.listen(\"127.0.0.1:9001\")`, or none on \
                          purpose, with `.without_listeners()`";
            return Err(Error::setting("listen", "", remedy));
        }
        Ok(Server { crew, addresses, unix_paths, listeners, origin: self.origin })
    }
}
