//! The threads: one reactor each, from start to finish.

use std::{
    ops::Range,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use super::{Application, Handler, Link, Remote, Setup, Shutdown};
use crate::{
    config::Config,
    driver::{Choice, Driver, DriverKind, Epoll, Settings, Uring, Waker, descriptor_table},
    error::Error,
    protocol::handshake::OriginPolicy,
    reactor::{Counters, Mailbox, MonotonicClock, Reactor, Table, mailbox},
};

/// Reactors that can be reached, and do not run yet.
pub(crate) struct Crew {
    choice: Choice,
    pins: Vec<core_affinity::CoreId>,
    config: Arc<Config>,
    settings: Settings,
    private_descriptors: bool,
    remote: Remote,
    wakers: Vec<Waker>,
    mailboxes: Vec<Mailbox>,
}

/// Reactors that are running on threads of their own. Dropped, they go on: `join` waits for their
/// end.
#[derive(Debug)]
pub struct Running {
    threads: Vec<JoinHandle<Result<usize, Error>>>,
    remote: Remote,
    unix_paths: Vec<PathBuf>,
}

/// How a server or a client ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Open connections that had not completed the closing handshake when the shutdown's deadline
    /// came, and were dropped.
    pub dropped: usize,
}

impl Crew {
    /// `count` reactors, as the settings describe them.
    pub(super) fn new(
        count: usize,
        choice: Choice,
        pins: Vec<core_affinity::CoreId>,
        setup: Setup,
    ) -> Result<Self, Error> {
        let wakers = (0..count)
            .map(|_| Waker::new().map_err(|error| Error::io("cannot make a waker", error)))
            .collect::<Result<Vec<_>, _>>()?;
        let (links, mailboxes) = wakers
            .iter()
            .map(|waker| {
                let (postbox, mailbox) = mailbox(waker.clone());
                (Link { postbox, counters: Arc::new(Counters::default()) }, mailbox)
            })
            .unzip();
        let Setup { config, settings, private_descriptors, .. } = setup;
        let (config, remote) = (Arc::new(config), Remote::new(links, private_descriptors));
        Ok(Self { choice, pins, config, settings, private_descriptors, remote, wakers, mailboxes })
    }

    /// How many reactors there are.
    pub(crate) fn count(&self) -> usize {
        self.wakers.len()
    }

    /// The driver that they use, and why.
    pub(crate) fn choice(&self) -> &Choice {
        &self.choice
    }

    /// The handle through which other threads reach them.
    pub(crate) fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Starts the threads, and returns once all of them run. Each gets its row of `listeners`, all of
    /// which have the same length.
    pub(crate) fn start<H: Handler>(
        self,
        mut listeners: Vec<Vec<OwnedFd>>,
        unix_paths: Vec<PathBuf>,
        origin: OriginPolicy,
        handler: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Result<Running, Error> {
        let Self { choice, pins, config, settings, private_descriptors, .. } = self;
        let Self { remote, wakers, mailboxes, .. } = self;
        let handler = Arc::new(handler);
        let origin = Arc::new(origin);
        let (ready, readiness) = mpsc::channel();
        let mut threads = Vec::new();
        // Private descriptor tables begin as copies of this thread's: the originals stay here until
        // every reactor has its copies, and are then closed.
        let listener_count = listeners.first().map_or(0, Vec::len);
        let originals = Arc::new(match private_descriptors {
            true => listeners.drain(..).flatten().collect(),
            false => Vec::new(),
        });
        for (index, (waker, mailbox)) in wakers.into_iter().zip(mailboxes).enumerate() {
            let listeners = match private_descriptors {
                true => {
                    let first = index * listener_count;
                    Listeners::Inherited(originals.clone(), first..first + listener_count)
                }
                false => Listeners::Owned(std::mem::take(&mut listeners[index])),
            };
            let seat = Seat {
                index,
                listeners,
                waker,
                mailbox,
                pin: (!pins.is_empty()).then(|| pins[index % pins.len()]),
                config: config.clone(),
                counters: remote.counters_of(index),
                settings: settings.clone(),
            };
            let (handler, origin, ready) = (handler.clone(), origin.clone(), ready.clone());
            let (remote, kind) = (remote.at(index), choice.kind);
            let body = move || {
                let mut alarm = Alarm(Some(remote.clone()));
                let outcome = match kind {
                    DriverKind::Uring => seat.serve(Uring::new, &*handler, remote, origin, &ready),
                    DriverKind::Epoll => seat.serve(Epoll::new, &*handler, remote, origin, &ready),
                };
                if outcome.is_ok() {
                    alarm.0 = None;
                }
                outcome
            };
            let thread = thread::Builder::new().name(format!("throng-{index}")).spawn(body);
            threads.push(thread);
        }
        drop(ready);
        let (threads, failures): (Vec<_>, Vec<_>) = threads.into_iter().partition(Result::is_ok);
        let threads: Vec<_> = threads.into_iter().flatten().collect();
        let running = Running { threads, remote, unix_paths };
        let serving = readiness.iter().take(running.threads.len()).count();
        drop(originals);
        if let Some(Err(error)) = failures.into_iter().next() {
            let _ = running.remote.shutdown(Shutdown::default());
            running.join()?;
            return Err(Error::io("cannot start a reactor's thread", error));
        }
        if serving < running.threads.len() {
            // A thread ended before it served: `join` tells why.
            running.join()?;
            return Err(Error::ReactorPanicked(serving));
        }
        Ok(running)
    }
}

/// Tells the other reactors to leave when this one fails or panics: a server is never half dead.
struct Alarm(Option<Remote>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(remote) = &self.0 {
            let _ = remote.shutdown(Shutdown::default());
        }
    }
}

/// What one reactor's thread is given.
struct Seat {
    index: usize,
    listeners: Listeners,
    waker: Waker,
    mailbox: Mailbox,
    pin: Option<core_affinity::CoreId>,
    config: Arc<Config>,
    counters: Arc<Counters>,
    settings: Settings,
}

/// How a reactor comes by its listeners.
enum Listeners {
    /// They are given to it.
    Owned(Vec<OwnedFd>),
    /// It finds copies of these in the descriptor table that it makes its own.
    Inherited(Arc<Vec<OwnedFd>>, Range<usize>),
}

impl Seat {
    /// The life of a reactor's thread.
    fn serve<D: Driver, H: Handler>(
        self,
        driver: impl FnOnce(&Settings, Vec<OwnedFd>, Waker) -> std::io::Result<D>,
        handler: &dyn Fn(usize) -> H,
        remote: Remote,
        origin: Arc<OriginPolicy>,
        ready: &mpsc::Sender<()>,
    ) -> Result<usize, Error> {
        let index = self.index;
        if let Some(core) = self.pin
            && !core_affinity::set_for_current(core)
        {
            let remedy = "the kernel refused; is the core online and allowed?";
            return Err(Error::setting("pin", core.id, remedy));
        }
        let failed = |what| move |error| Error::io(format!("reactor {index}: {what}"), error);
        let listeners = match self.listeners {
            Listeners::Owned(listeners) => listeners,
            Listeners::Inherited(originals, ours) => descriptor_table::unshare(&originals, ours)
                .map_err(failed("cannot make a descriptor table of its own"))?,
        };
        let listener_count = listeners.len();
        let driver = driver(&self.settings, listeners, self.waker)
            .map_err(failed("cannot set the driver up"))?;
        let app = Application::new(handler(index), remote, origin);
        let table = Table::new(self.config, self.counters);
        let clock = MonotonicClock::start();
        let mut reactor = Reactor::new(driver, app, clock, self.mailbox, table, listener_count);
        let _ = ready.send(());
        reactor.run().map_err(failed("waiting for completions"))
    }
}

impl Running {
    /// The handle through which other threads reach them.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Waits until they have been shut down, and says how that went.
    pub fn join(self) -> Result<Report, Error> {
        let mut outcome = Ok(Report::default());
        for (index, thread) in self.threads.into_iter().enumerate() {
            let ended = thread.join().unwrap_or(Err(Error::ReactorPanicked(index)));
            match (ended, &mut outcome) {
                (Ok(dropped), Ok(report)) => report.dropped += dropped,
                (Err(error), Ok(_)) => outcome = Err(error),
                (_, Err(_)) => {}
            }
        }
        for path in &self.unix_paths {
            let _ = std::fs::remove_file(path);
        }
        outcome
    }
}
