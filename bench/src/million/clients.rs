//! The other ends: threads with descriptor tables of their own, each of which holds its share.
//!
//! A client is a descriptor and nothing else. While nothing is due, nobody watches it: so both ends of a
//! connection cost the kernel the same, but for what the server watches its sockets with. When all of
//! them are due, all of them are asked, again and again, and heard in the order in which the server
//! comes to them: what nobody hears waits in sockets, and of that the kernel holds a few gigabytes for
//! the whole machine.

use std::{
    io,
    net::SocketAddrV4,
    ops::Range,
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::wire::News;
use crate::{
    bounds::Bounds,
    client::{Connection, Workers, share_len},
};

/// What all clients can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Connect, and go through the opening handshake: the first half of each thread's share. The first
    /// failure of one ends it for all.
    OpenHalf,
    /// The same for those that are left.
    OpenRest,
    /// Hear these, one after the other, and answer.
    Hear(&'static [News]),
}

/// How a step went.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Clients that have done it.
    pub(super) count: usize,
    /// Why the others did not: what happened first to one of them.
    pub(super) problem: Option<String>,
}

/// All clients. Dropped, they are gone.
#[derive(Debug)]
pub(super) struct Clients(Workers<(Step, Bounds), Tally>);

impl Clients {
    /// Threads for `count` clients of `target`, none of which is connected yet. A thread has a table
    /// of at most `descriptors_max`.
    pub(super) fn new(target: SocketAddrV4, count: usize, descriptors_max: usize) -> Self {
        let share_len = count.div_ceil(WORKER_COUNT_MIN).clamp(1, share_len(descriptors_max));
        let enough = Arc::new(AtomicBool::new(false));
        Self(Workers::start(count, share_len, |share| {
            let (enough, connections) = (enough.clone(), Vec::new());
            let mut share = Share { target, share, enough, connections };
            move |(step, bounds)| Ok(share.take(step, &bounds))
        }))
    }

    /// Has every client do `step`, and waits for all of them.
    pub(super) fn each(&self, step: Step, bounds: &Bounds) -> Tally {
        self.begin(step, bounds);
        self.finish()
    }

    /// Has every client begin with `step`.
    pub(super) fn begin(&self, step: Step, bounds: &Bounds) {
        self.0.begin(&(step, bounds.clone()));
    }

    /// Waits for all clients to finish what they began.
    pub(super) fn finish(&self) -> Tally {
        let mut sum = Tally::default();
        for result in self.0.finish() {
            let failed = |error: io::Error| Tally { count: 0, problem: Some(error.to_string()) };
            let tally = result.unwrap_or_else(failed);
            sum.count += tally.count;
            sum.problem = sum.problem.or(tally.problem);
        }
        sum
    }
}

/// The clients of one thread.
#[derive(Debug)]
struct Share {
    target: SocketAddrV4,
    share: Range<usize>,
    /// Nobody is to connect any more.
    enough: Arc<AtomicBool>,
    connections: Vec<Connection>,
}

impl Share {
    fn take(&mut self, step: Step, bounds: &Bounds) -> Tally {
        match step {
            Step::OpenHalf => self.open(self.share.len() / 2, bounds),
            Step::OpenRest => self.open(self.share.len(), bounds),
            Step::Hear(news) => self.hear(news, bounds),
        }
    }

    /// Opens connections until there are `count`, or enough.
    fn open(&mut self, count: usize, bounds: &Bounds) -> Tally {
        let mut problem = None;
        for index in self.share.clone().take(count).skip(self.connections.len()) {
            if self.enough.load(Ordering::Relaxed) {
                break;
            }
            match self.open_one(index, bounds) {
                Ok(connection) => self.connections.push(connection),
                Err(error) => {
                    self.enough.store(true, Ordering::Relaxed);
                    problem = Some(error.to_string());
                }
            }
        }
        Tally { count: self.connections.len(), problem }
    }

    fn open_one(&self, index: usize, bounds: &Bounds) -> io::Result<Connection> {
        if index.is_multiple_of(CHECK_EACH) {
            bounds.check()?;
        }
        Connection::open(self.target, index)
    }

    /// Has each client hear all `news` as they come, as long as the bounds allow.
    fn hear(&self, news: &[News], bounds: &Bounds) -> Tally {
        let mut tally = Tally::default();
        let mut waiting: Vec<_> =
            self.connections.iter().map(|one| PollFd::new(&one.socket, PollFlags::IN)).collect();
        // How many of the news each of them has heard.
        let mut heard = vec![0; waiting.len()];
        while !waiting.is_empty() {
            let start = Instant::now();
            if let Err(error) = bounds.check().and_then(|()| poll_all(&mut waiting)) {
                tally.problem.get_or_insert(error.to_string());
                break;
            }
            for index in (0..waiting.len()).rev() {
                if waiting[index].revents().is_empty() {
                    continue;
                }
                let result = news[heard[index]].hear(waiting[index].as_fd(), bounds.time_left());
                heard[index] += 1;
                let is_over = result.is_err() || heard[index] == news.len();
                match result {
                    Ok(()) => tally.count += usize::from(is_over),
                    Err(error) => _ = tally.problem.get_or_insert(error.to_string()),
                }
                if is_over {
                    waiting.swap_remove(index);
                    heard.swap_remove(index);
                }
            }
            // To ask for all is the kernel's work with each of them: that is not to be what the time
            // is spent on.
            if !waiting.is_empty() {
                thread::sleep(start.elapsed() / 2);
            }
        }
        tally
    }
}

/// Waits until one of them has something to hear, or it is time to look at the bounds.
fn poll_all(waiting: &mut [PollFd<'_>]) -> io::Result<()> {
    match poll(waiting, Some(&CHECK_AFTER)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Few connections are opened by so many threads, or the server would wait for us.
const WORKER_COUNT_MIN: usize = 16;
/// How many new connections between two looks at memory and clock.
const CHECK_EACH: usize = 500;
/// How long to wait for the server between two of them.
const CHECK_AFTER: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
