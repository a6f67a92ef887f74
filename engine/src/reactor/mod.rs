//! One loop a core: completions in, submissions out.
//!
//! ```text
//! wait        one system call: submit what is queued, harvest what finished
//! alarm       the application's, if it has come
//! dispatch    for each completion: bytes → frames → messages → callbacks
//! mailbox     commands from other threads and reactors
//! unfinished  connections whose input was more than their share of a turn
//! deadlines   the part of the table whose second has come
//! connect     some of the connections that were asked for
//! flush       one submission for each connection that has something to say
//! ```
//!
//! A [`Reactor`] introduces a driver, which knows sockets and no frames, to connections, which know
//! frames and no sockets, and both to an [`App`]. Everything that a callback or a command does to a
//! connection is noted in the [`Table`]; the driver hears of it in `flush`.
#![forbid(unsafe_code)]

mod adopting;
mod app;
mod clock;
mod closing;
mod connecting;
mod counters;
mod deadlines;
mod deflate;
mod dispatch;
mod drain;
mod flush;
mod handover;
mod input;
mod mailbox;
mod masking;
mod opening;
mod output;
mod parts;
mod table;
#[cfg(test)]
mod tests;

use std::{io, sync::Arc, time::Duration};

pub use self::counters::Snapshot;
pub(crate) use self::{
    app::{Answer, App, AppEvent, Asked, Verdict},
    clock::{Clock, MonotonicClock},
    counters::Counters,
    mailbox::{Command, Decision, Drain, Mailbox, Postbox, Undelivered, mailbox},
    masking::MaskingKeys,
    opening::HEADER_COUNT_MAX,
    table::{Compress, Table, Turn},
};
use self::{
    app::{Panicked, net},
    drain::Draining,
    input::Left,
};
use crate::{
    config::Config,
    conn::Tick,
    driver::{Completion, Driver, Flush, Socket},
};

/// A driver, a table of connections, and the application they serve.
pub(crate) struct Reactor<D, A: App, C> {
    driver: D,
    core: Core<A>,
    mailbox: Mailbox,
    clock: C,
    listeners: Listeners,
    draining: Option<Draining>,
    swept_at: Tick,
    due: Vec<u32>,
}

/// What a completion is dispatched to: everything but the driver that lends its bytes.
pub(crate) struct Core<A: App> {
    pub(crate) table: Table<A::Data>,
    pub(crate) app: A,
    config: Arc<Config>,
    accepted: Vec<Accepted>,
}

/// News of a listener, to be acted upon when the completion has been given back.
enum Accepted {
    /// The table is full, or the server is leaving.
    Discard(Socket),
    Failed {
        listener: usize,
    },
}

/// Which listeners accept, and which have been told to wait.
struct Listeners {
    count: usize,
    /// Listeners that failed for want of descriptors or memory, and when to try again.
    paused: Vec<(usize, Tick)>,
}

/// Commands taken from the mailbox in one turn, before the connections have theirs.
const COMMANDS_PER_TURN: usize = 1024;

/// Messages that commands may queue in one turn: a broadcast to a million is a turn's work.
const MESSAGES_PER_TURN: u64 = 64 * 1024;

/// How often the pool frees what it did not need: every four seconds.
const TICKS_PER_TIDYING: u32 = 16;

/// How long accepting pauses after descriptors or memory ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

impl<D: Driver, A: App, C: Clock> Reactor<D, A, C> {
    /// A reactor that accepts from all of the driver's `listener_count` listeners.
    pub(crate) fn new(
        driver: D,
        app: A,
        clock: C,
        mailbox: Mailbox,
        table: Table<A::Data>,
        listener_count: usize,
    ) -> Self {
        let config = table.config.clone();
        let mut reactor = Self {
            driver,
            core: Core { table, app, config, accepted: Vec::new() },
            mailbox,
            clock,
            listeners: Listeners { count: listener_count, paused: Vec::new() },
            draining: None,
            swept_at: Tick::default(),
            due: Vec::new(),
        };
        (0..listener_count).for_each(|listener| reactor.driver.accept(listener));
        reactor
    }

    /// Turns until a drain is over. Returns how many connections its deadline had to drop.
    pub(crate) fn run(&mut self) -> io::Result<usize> {
        self.start();
        while !self.is_over() {
            self.turn()?;
        }
        Ok(self.draining.as_ref().map_or(0, Draining::dropped))
    }

    /// Lets the application begin.
    pub(crate) fn start(&mut self) {
        self.core.start(self.driver.arena());
    }

    /// Waits for something to happen, and deals with everything that has.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        let timeout = self.timeout();
        let asleep = timeout != Some(Duration::ZERO) && self.mailbox.fall_asleep();
        self.driver.wait(if asleep { timeout } else { Some(Duration::ZERO) })?;
        if asleep {
            self.mailbox.wake_up();
        }
        let elapsed = self.clock.elapsed();
        let now = Tick::at(elapsed);
        self.core.table.elapsed = elapsed;
        self.core.table.now = now;

        if let Some(at) = self.core.table.wake_at
            && self.clock.until(at).is_zero()
        {
            self.core.wake(self.driver.arena());
        }
        let mut completions = 0;
        while let Some((completion, arena)) = self.driver.next() {
            completions += 1;
            // What sends left over comes before all else, and is not sent on in between.
            let settled = !matches!(completion, Completion::Unsent { .. });
            match completion {
                // Most completions: in line with the loop.
                Completion::Received { token, bytes } => {
                    self.core.received(token, bytes, arena);
                    self.core.settle(arena);
                }
                completion => self.core.dispatch(completion, arena),
            }
            if D::FLUSH == Flush::EachCompletion && settled {
                self.flush();
            }
        }
        if !self.mailbox.is_empty() {
            self.take_commands();
        }
        self.finish_unfinished();
        if now != self.swept_at {
            self.sweep(now);
            self.swept_at = now;
        }
        if !self.core.table.waiting.is_empty() {
            self.core.begin_connecting();
        }
        self.flush();

        let counters = &self.core.table.counters;
        counters.turns.add(1);
        counters.completions.add(completions);
        counters.connections.set(self.core.table.connections.len() as u64);
        Ok(())
    }

    /// How many connections it has.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn connection_count(&self) -> usize {
        self.core.table.connections.len()
    }

    /// How many connections hold something half received.
    #[cfg(test)]
    pub(crate) fn half_received_count(&self) -> usize {
        let connections = &self.core.table.connections;
        let holds = |key| connections.get(key).is_some_and(|conn| conn.inbound.is_some());
        connections.keys().filter(|&key| holds(key)).count()
    }

    /// Bytes of buffers that are out on loan.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn lent_len(&self) -> usize {
        self.core.table.pool.lent_len()
    }

    /// How long the next wait may last.
    fn timeout(&self) -> Option<Duration> {
        let table = &self.core.table;
        let is_busy = !table.unfinished.is_empty() || !table.outputs.is_empty();
        if is_busy || !table.waiting.is_empty() {
            return Some(Duration::ZERO);
        }
        let is_idle = table.connections.len() == 0
            && self.listeners.paused.is_empty()
            && self.draining.is_none();
        let tick = (!is_idle).then(|| {
            // What has passed of it since the turn began makes no difference to a tick.
            let into_tick = table.elapsed.subsec_nanos() % Tick::LEN.subsec_nanos();
            // In whole milliseconds, which is all that a tick needs, and the cheaper thing to ask for.
            let left = (Tick::LEN.subsec_nanos() - into_tick).div_ceil(1_000_000);
            Duration::from_millis(left.into())
        });
        let alarm = table.wake_at.map(|at| self.clock.until(at));
        match (tick, alarm) {
            (Some(tick), Some(alarm)) => Some(tick.min(alarm)),
            (tick, alarm) => tick.or(alarm),
        }
    }

    fn take_commands(&mut self) {
        if let Some(drain) = self.mailbox.take_drain() {
            self.begin_drain(drain);
        }
        let messages_max = self.core.table.counters.messages_out.read() + MESSAGES_PER_TURN;
        for _ in 0..COMMANDS_PER_TURN {
            let Some(command) = self.mailbox.take() else { break };
            self.core.table.counters.commands.add(1);
            self.core.obey(command, self.driver.arena());
            if self.core.table.counters.messages_out.read() > messages_max {
                break;
            }
        }
    }

    /// Gives each connection that had more input than its share the next share.
    fn finish_unfinished(&mut self) {
        for _ in 0..self.core.table.unfinished.len() {
            let Some(key) = self.core.table.unfinished.pop_front() else { break };
            self.core.resume(key, self.driver.arena());
        }
    }

    /// Looks at the connections whose deadline has come, and at what else waits for the clock.
    fn sweep(&mut self, now: Tick) {
        let mut due = std::mem::take(&mut self.due);
        let tick_count = now.0.saturating_sub(self.swept_at.0) as usize;
        self.core.table.deadlines.sweep(now, tick_count, &mut due);
        for index in due.drain(..) {
            let Some(key) = self.core.table.connections.key_at(index) else { continue };
            self.core.deadline(key, self.driver.arena());
        }
        self.due = due;
        if now.0 / TICKS_PER_TIDYING != self.swept_at.0 / TICKS_PER_TIDYING {
            self.core.table.pool.tidy();
        }
        self.drain_some(now);
        let draining = self.draining.is_some();
        let driver = &mut self.driver;
        self.listeners.paused.retain(|&(listener, until)| {
            let resume = until <= now && !draining;
            if resume {
                driver.accept(listener);
            }
            !resume && !draining
        });
    }
}
