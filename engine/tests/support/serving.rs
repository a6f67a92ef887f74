//! A server for the length of a test.

use std::{
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use throng::{
    DriverKind, Error, Handler, ListenAddr, Remote, Report, Server, ServerBuilder, Shutdown,
    Snapshot,
};

use super::{Client, PATIENCE};

/// A running server, which is shut down when this is dropped.
pub(crate) struct Serving {
    addresses: Vec<ListenAddr>,
    remote: Remote,
    ended: mpsc::Receiver<Result<Report, Error>>,
    has_ended: bool,
}

/// A server on a free port of the loopback address, with one reactor.
pub(crate) fn serve<H>(driver: DriverKind, handler: H) -> Serving
where
    H: Handler + Clone + Send + Sync,
{
    serve_with(driver, handler, |builder| builder)
}

/// The same, with other settings.
pub(crate) fn serve_with<H>(
    driver: DriverKind,
    handler: H,
    settings: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> Serving
where
    H: Handler + Clone + Send + Sync,
{
    let builder = Server::builder().driver(driver).reactors(1).listen("127.0.0.1:0");
    Serving::start(settings(builder), handler)
}

impl Serving {
    /// Builds and starts.
    pub(crate) fn start<H>(builder: ServerBuilder, handler: H) -> Self
    where
        H: Handler + Clone + Send + Sync,
    {
        let server = builder.build().expect("the settings are in order");
        let addresses = server.addresses().to_vec();
        let running = server.spawn(move |_reactor| handler.clone()).expect("it starts");
        let remote = running.remote();
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(running.join()));
        Self { addresses, remote, ended, has_ended: false }
    }

    pub(crate) fn addresses(&self) -> &[ListenAddr] {
        &self.addresses
    }

    /// The first TCP address.
    pub(crate) fn address(&self) -> SocketAddr {
        let tcp = self.addresses.iter().find_map(|address| match address {
            ListenAddr::Tcp(address) => Some(*address),
            _ => None,
        });
        tcp.expect("it listens on one")
    }

    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// A connection without a handshake.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// An open WebSocket.
    pub(crate) fn open(&self) -> Client {
        self.connect().opened()
    }

    /// Waits until the counts satisfy `condition`.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, condition: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let begun = Instant::now();
        loop {
            let counts = self.remote.total();
            if condition(&counts) {
                return counts;
            }
            assert!(begun.elapsed() < PATIENCE, "never came: {what}; {counts:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end of a server that was shut down.
    #[track_caller]
    pub(crate) fn join(mut self) -> Report {
        self.wait().expect("it ends without an error")
    }

    #[track_caller]
    fn wait(&mut self) -> Result<Report, Error> {
        self.has_ended = true;
        let report =
            self.ended.recv_timeout(PATIENCE).expect("a server that was shut down ends")?;
        let counts = self.remote.total();
        assert_eq!(counts.connections, 0, "{counts:?}");
        assert_eq!(counts.opened, counts.closed, "{counts:?}");
        Ok(report)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if thread::panicking() || self.has_ended {
            return;
        }
        let at_once = Shutdown { deadline: Duration::ZERO, ..Shutdown::default() };
        let _ = self.remote.shutdown(at_once);
        self.wait().expect("it ends without an error");
    }
}
