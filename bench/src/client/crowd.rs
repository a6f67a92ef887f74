//! More connections than one descriptor table holds: threads with tables of their own.

use std::{
    io,
    net::SocketAddrV4,
    ops::Range,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Instant,
};

use rustix::{
    process::{Resource, getrlimit},
    thread::{UnshareFlags, unshare_unsafe},
};
use throng_meter::available_len;

use super::{
    connection::Connection,
    frame::{Exchange, Opcode},
};

/// Connections that are held by threads, each of which has its share.
#[derive(Debug)]
pub(crate) struct Crowd {
    workers: Vec<Worker>,
}

/// What all of a crowd can be told to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Open,
    /// Send a message on every connection, and wait for the answer.
    Exchange,
    Close,
}

/// What keeps a crowd from harm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes that have to stay free or page cache.
    pub(crate) available_min: u64,
    /// When it has to be over.
    pub(crate) deadline: Instant,
}

#[derive(Debug)]
struct Worker {
    steps: Sender<Step>,
    results: Receiver<io::Result<()>>,
}

impl Crowd {
    /// Threads for `count` connections to `target`, none of which is open yet.
    pub(crate) fn new(target: SocketAddrV4, count: usize, bounds: Bounds) -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let share_len = (limit.saturating_sub(DESCRIPTORS_LEFT) as usize).clamp(1, SHARE_LEN_MAX);
        let workers = (0..count).step_by(share_len).map(|start| {
            let share = start..count.min(start + share_len);
            let (steps, todo) = mpsc::channel();
            let (done, results) = mpsc::channel();
            thread::spawn(move || work(target, share, bounds, &todo, &done));
            Worker { steps, results }
        });
        Self { workers: workers.collect() }
    }

    /// Has every thread do `step` for its share, and waits for all of them.
    pub(crate) fn each(&self, step: Step) -> io::Result<()> {
        let gone = || io::Error::other("a client thread has ended early");
        for worker in &self.workers {
            worker.steps.send(step).map_err(|_| gone())?;
        }
        let results = self.workers.iter().map(|worker| worker.results.recv());
        let results: Vec<_> =
            results.map(|result| result.unwrap_or_else(|_| Err(gone()))).collect();
        results.into_iter().collect()
    }
}

/// A thread's life: step by step, until nobody asks for another.
fn work(
    target: SocketAddrV4,
    share: Range<usize>,
    bounds: Bounds,
    todo: &Receiver<Step>,
    done: &Sender<io::Result<()>>,
) {
    let mut connections = Vec::with_capacity(share.len());
    // SAFETY: descriptors that this thread opens stay in it, until it closes them, and it uses none
    // that another thread has opened.
    let mut unshared = unsafe { unshare_unsafe(UnshareFlags::FILES) }.map_err(io::Error::from);
    while let Ok(step) = todo.recv() {
        let result = std::mem::replace(&mut unshared, Ok(())).and_then(|()| match step {
            Step::Open => open(&mut connections, target, share.clone(), bounds),
            Step::Exchange => exchange(&connections, bounds),
            Step::Close => {
                connections.clear();
                Ok(())
            }
        });
        if done.send(result).is_err() {
            break;
        }
    }
}

fn open(
    connections: &mut Vec<Connection>,
    target: SocketAddrV4,
    share: Range<usize>,
    bounds: Bounds,
) -> io::Result<()> {
    for start in share.clone().step_by(CHECK_EACH) {
        bounds.check()?;
        let end = share.end.min(start + CHECK_EACH);
        connections.extend(Connection::open_all(target, start..end)?);
    }
    Ok(())
}

fn exchange(connections: &[Connection], bounds: Bounds) -> io::Result<()> {
    let message = Exchange::new(Opcode::Binary, MESSAGE_LEN);
    let mut answer = Vec::new();
    for (index, connection) in connections.iter().enumerate() {
        if index % CHECK_EACH == 0 {
            bounds.check()?;
        }
        connection.exchange(&message, &mut answer)?;
    }
    Ok(())
}

impl Bounds {
    pub(crate) fn check(&self) -> io::Result<()> {
        if available_len()? < self.available_min {
            return Err(io::Error::other("memory runs short"));
        }
        if Instant::now() >= self.deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
        }
        Ok(())
    }
}

/// Connections of one thread; more would be slow to open one after the other.
const SHARE_LEN_MAX: usize = 19_000;
/// Of a descriptor table, for what the process has open before.
const DESCRIPTORS_LEFT: u64 = 100;
/// How many connections between two looks at memory and clock.
const CHECK_EACH: usize = 500;
const MESSAGE_LEN: usize = 64;
