//! What to connect to, what to say there, and how: described once, for any number of connections.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::{
    compression::Compression,
    connect_error::{ConnectError, Phase},
    dial::{self, Destination},
    inbound::Inbound,
    opening::{self, Opened},
    output::Output,
    proxy::Proxy,
    redirect,
    tls::Tls,
    transport::{Line, Transport},
    until::{Until, is_timeout},
    websocket::WebSocket,
    words::Words,
    writer::Writer,
};
#[cfg(feature = "deflate")]
use crate::protocol::extension::deflate::Deflate;
use crate::{endpoint::Url, error::Error, protocol::Limits, reactor::MaskingKeys};

/// What to connect to, what to say there, and how: described once, for any number of connections.
///
/// Whatever is wrong with the description is told by [`connect`](Self::connect).
///
/// ```no_run
/// use std::time::Duration;
/// use throng::client::blocking::{Connector, Proxy};
///
/// let mut socket = Connector::to("ws://example.com/chat?room=7")
///     .header("Authorization", "Bearer …")
///     .cookie("session", "31d4d96e407aad42")
///     .subprotocol("v1")
///     .proxy(Proxy::to("socks5://127.0.0.1:1080")?)
///     .total_timeout(Some(Duration::from_secs(5)))
///     .connect()?;
/// assert_eq!(socket.subprotocol(), Some("v1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until `connect`"]
pub struct Connector {
    url: String,
    words: Words,
    way: Way,
    tls: Tls,
    compression: Compression,
    limits: Limits,
    timeouts: Timeouts,
    redirect_count_max: usize,
}

/// How to get a transport to the server.
#[derive(Clone)]
struct Way {
    end: End,
    source: Option<IpAddr>,
    nodelay: bool,
    proxy: Option<Proxy>,
}

/// Where the way ends.
#[derive(Clone)]
enum End {
    /// At the URL's host.
    Host,
    Addresses(Vec<SocketAddr>),
    Unix(PathBuf),
    Dialer(Arc<Dialer>),
}

type Dialer = dyn Fn(Destination<'_>) -> io::Result<Box<dyn Transport>> + Send + Sync;

#[derive(Clone)]
struct Timeouts {
    dial: Option<Duration>,
    handshake: Option<Duration>,
    total: Option<Duration>,
    write: Option<Duration>,
    close: Duration,
}

impl Connector {
    /// To a URL `ws://HOST[:PORT][/PATH][?QUERY]`, or `wss://` with the feature `tls` (RFC 6455 §3).
    /// Ports: 80, and 443.
    pub fn to(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            words: Words::default(),
            way: Way { end: End::Host, source: None, nodelay: true, proxy: None },
            tls: Tls::default(),
            compression: Compression::default(),
            limits: Limits::default(),
            timeouts: Timeouts {
                dial: Some(Duration::from_secs(10)),
                handshake: Some(Duration::from_secs(10)),
                total: Some(Duration::from_secs(30)),
                write: None,
                close: Duration::from_secs(5),
            },
            redirect_count_max: 0,
        }
    }

    // ---- What is said ----

    /// Adds a header to the request. Those of the handshake itself are written for you.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.words.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a cookie. All of them are one header (RFC 6265 §5.4).
    pub fn cookie(mut self, name: &str, value: &str) -> Self {
        self.words.cookies.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Says this `Host`, `NAME[:PORT]`, instead of the URL's. Where it connects to, and what name TLS
    /// asks for, stays.
    pub fn host(mut self, host: &str) -> Self {
        self.words.host = Some(host.to_owned());
        self
    }

    /// Offers a subprotocol, behind those that are liked better. The server may choose one of them:
    /// [`WebSocket::subprotocol`]. An answer that was not offered fails the connection.
    pub fn subprotocol(mut self, subprotocol: &str) -> Self {
        self.words.subprotocols.push(subprotocol.to_owned());
        self
    }

    /// Offers permessage-deflate (RFC 7692). Default: no compression.
    ///
    /// With [`DeflateMode::Dedicated`](crate::protocol::extension::deflate::DeflateMode) the windows
    /// count; its budget is for reactors, and means nothing here.
    #[cfg(feature = "deflate")]
    pub fn deflate(mut self, settings: Deflate) -> Self {
        self.compression = Compression(Some(settings));
        self
    }

    // ---- How to get there ----

    /// Connects to the first of these addresses that answers, instead of the URL's host, or the
    /// proxy's. What is said there stays.
    ///
    /// IPv6 and IPv4 take turns, each address has 250 ms before the next is tried as well (RFC 8305),
    /// and so it is with those that the host's name has.
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.way.end = End::Addresses(addresses.into_iter().collect());
        self
    }

    /// Connects to this Unix socket instead of the URL's host. What is said there stays.
    pub fn unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.way.end = End::Unix(path.into());
        self
    }

    /// Has `dial` make the transport, to the server or to the proxy. TLS and handshakes go over it as
    /// over any other. What it takes longer than [`dial_timeout`](Self::dial_timeout) nobody stops.
    pub fn dialer(
        mut self,
        dial: impl Fn(Destination<'_>) -> io::Result<Box<dyn Transport>> + Send + Sync + 'static,
    ) -> Self {
        self.way.end = End::Dialer(Arc::new(dial));
        self
    }

    /// Comes from this local address, when it connects to one of its family. Default: the kernel's
    /// choice.
    pub fn source(mut self, address: IpAddr) -> Self {
        self.way.source = Some(address);
        self
    }

    /// Whether small segments leave at once (`TCP_NODELAY`). Default: on.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.way.nodelay = nodelay;
        self
    }

    /// Goes through a proxy. Default: none; environment variables are not looked at.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.way.proxy = Some(proxy);
        self
    }

    /// How `wss://` is secured. Default: [`Tls::native`].
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// How many redirects are followed: 301, 302, 303, 307 and 308. Default: none, a redirect is
    /// [`ConnectError::Refused`] as anything but 101.
    ///
    /// To another scheme, host or port cookies, `Authorization`, the [`host`](Self::host) and the
    /// address to connect to instead of the URL's do not go along. Away from `wss://` none is followed.
    pub fn redirects(mut self, count_max: usize) -> Self {
        self.redirect_count_max = count_max;
        self
    }

    // ---- How much, and how long ----

    /// What the server may send. `message_len_max` bounds frames as well.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// For looking up a name and connecting to one of its addresses. Default: 10 s.
    pub fn dial_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeouts.dial = timeout;
        self
    }

    /// For each of the handshakes, with the proxy, of TLS, and of the WebSocket. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeouts.handshake = timeout;
        self
    }

    /// For everything until the WebSocket is open, redirects included. Default: 30 s.
    pub fn total_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeouts.total = timeout;
        self
    }

    /// For sending one message, once it is its turn: the WebSocket is over when it passes, since half
    /// a frame cannot be taken back. Default: none.
    pub fn write_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeouts.write = timeout;
        self
    }

    /// For the peer's answer to a [`close`](WebSocket::close), and to hear why it failed. Default: 5 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.close = timeout;
        self
    }

    /// Connects, and opens the WebSocket.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub fn connect(&self) -> Result<WebSocket, ConnectError> {
        let total = Until::after(self.timeouts.total);
        let mut url = Url::parse(&self.url)?;
        let mut keys = MaskingKeys::default();
        keys.seed().map_err(|error| Error::io("cannot seed the masking keys", error))?;

        let mut attempt = self.clone();
        let mut redirect_count = 0;
        loop {
            let response = match attempt.once(&url, &mut keys, total) {
                Ok((line, opened)) => return Ok(self.websocket(line, opened, keys)),
                Err(ConnectError::Refused(response))
                    if self.redirect_count_max > 0 && redirect::is_redirect(response.status) =>
                {
                    response
                }
                Err(error) => return Err(error),
            };
            let next = redirect::follow(&url, &response, redirect_count < self.redirect_count_max)?;
            if !redirect::is_same_origin(&url, &next) {
                attempt.words = attempt.words.without_secrets();
                attempt.way.end = attempt.way.end.of_another_host();
            }
            redirect_count += 1;
            url = next;
        }
    }

    /// Asks one server.
    fn once(
        &self,
        url: &Url,
        keys: &mut MaskingKeys,
        total: Until,
    ) -> Result<(Line, Opened), ConnectError> {
        let proposal = self.words.proposal(url)?;
        proposal.check().map_err(ConnectError::Request)?;
        let tls = match url.is_secure {
            true => Some(self.tls.prepare(url.bare_host())?),
            false => None,
        };
        let step = |limit| Until::after(limit).or(total);
        let handshake = self.timeouts.handshake;

        let mut line = self.way.dial(url, step(self.timeouts.dial))?;
        if let Some(proxy) = &self.way.proxy {
            proxy.connect(&line, url.bare_host(), url.port, step(handshake))?;
        }
        if let Some(tls) = tls {
            line = tls.handshake(line, step(handshake))?;
        }
        let until = step(handshake);
        let opened = opening::open(&line, &proposal, &self.compression, keys, &self.limits, until)?;
        Ok((line, opened))
    }

    fn websocket(&self, line: Line, mut opened: Opened, keys: MaskingKeys) -> WebSocket {
        let deflating = std::mem::take(&mut opened.deflating);
        let inflating = std::mem::take(&mut opened.inflating);
        let inbound = Inbound::new(&opened.early, self.limits.clone(), inflating);
        let output = Output::new(keys, deflating);
        let writer = Writer::new(line, output, self.timeouts.write);
        WebSocket::new(opened, inbound, writer, self.timeouts.close)
    }
}

impl Way {
    /// A transport to the server, or to the proxy.
    fn dial(&self, url: &Url, until: Until) -> Result<Line, ConnectError> {
        let (host, port) = match &self.proxy {
            Some(proxy) => (&*proxy.host, proxy.port),
            None => (url.bare_host(), url.port),
        };
        let failed = |address: String, source| match is_timeout(&source) {
            true => ConnectError::TimedOut(Phase::Dialing),
            false => ConnectError::Dial { address, source },
        };
        let addresses = match &self.end {
            End::Host => &dial::addresses(host, port, until)?,
            End::Addresses(addresses) => addresses,
            End::Unix(path) => {
                let stream = dial::dial_unix(path, until)
                    .map_err(|error| failed(format!("unix:{}", path.display()), error))?;
                return Ok(Line::over(Arc::new(stream)));
            }
            End::Dialer(dial) => {
                let timeout = until.left().map_err(|error| failed(String::new(), error))?;
                let transport = dial(Destination { host, port, timeout })
                    .map_err(|error| failed(format!("{host}:{port}"), error))?;
                return Ok(Line::over(Arc::from(transport)));
            }
        };
        let stream = dial::dial(addresses, self.source, self.nodelay, until)?;
        Ok(Line::over(Arc::new(stream)))
    }
}

impl End {
    /// An address was meant for the host that the URL had. A dialer is told where to.
    fn of_another_host(self) -> Self {
        match self {
            Self::Dialer(dial) => Self::Dialer(dial),
            _ => Self::Host,
        }
    }
}

/// Leaves out what is said, which may hold secrets.
impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = Url::parse(&self.url).map(|url| url.authority());
        f.debug_struct("Connector")
            .field("host", &url.unwrap_or_default())
            .field("proxy", &self.way.proxy)
            .finish_non_exhaustive()
    }
}
