//! One reactor's part of the load.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, Release},
    },
    time::Duration,
};

use throng::{CloseCause, Conn, ConnId, Connections, Handler, Message, client::ConnectError};

use super::{
    Board, Order, Plan, Workload,
    opener::{Attempt, Opener},
};
use crate::{
    clock::{Epoch, Nanos, SECOND, now, thread_cpu_time},
    pacing::{Arrivals, Pacer},
    record::{Counter, Recorder, Side, Timing},
};

/// One reactor's handler: opens its share of the connections and keeps them open.
#[derive(Debug)]
pub(crate) struct Worker<W> {
    core: Core,
    workload: W,
}

/// What a worker has whatever its workload is.
#[derive(Debug)]
pub(crate) struct Core {
    /// Which worker this is.
    pub(crate) index: usize,
    pub(crate) plan: Arc<Plan>,
    pub(crate) recorder: Recorder,
    /// Chance, for what is not paced.
    pub(crate) random: fastrand::Rng,
    epoch: Epoch,
    opener: Opener,
    /// Connections that were begun.
    attempt_count: u64,
    /// Connections that were killed, and whose end has not been told.
    dying: usize,
    board: Arc<Board>,
    /// The wake-up that was asked for.
    alarm: Option<Nanos>,
    /// The next regular look.
    heartbeat: Nanos,
    cpu_time: Duration,
}

/// What every connection carries.
#[derive(Debug, Default)]
pub(crate) struct Member<D> {
    /// Its number among all of the run: the same when it comes back.
    pub(crate) index: u32,
    /// How often it failed since it was last open.
    failures: u32,
    /// When it came to where it is.
    since: Nanos,
    stage: Stage,
    /// What its workload keeps.
    pub(crate) own: D,
}

impl<D> Member<D> {
    /// A server that only answers cannot be first: its first message counts from our question, which
    /// is asked now.
    pub(crate) fn asked(&mut self, now: Nanos) {
        self.since = now;
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Begun,
    Connected,
    Open,
    /// It has received something.
    Heard,
}

impl<W: Workload> Worker<W> {
    /// Worker number `index`, which has opened nothing yet.
    pub(crate) fn new(
        index: usize,
        plan: Arc<Plan>,
        recorder: Recorder,
        epoch: Epoch,
        board: Arc<Board>,
        workload: W,
    ) -> Self {
        let core = Core {
            index,
            recorder,
            random: fastrand::Rng::with_seed(plan.seed_for(index, CHANCE)),
            epoch,
            opener: Opener::new(0, 0, 1, 0, None, 1),
            attempt_count: 0,
            dying: 0,
            board,
            alarm: None,
            heartbeat: 0,
            cpu_time: Duration::ZERO,
            plan,
        };
        Self { core, workload }
    }

    fn obey(&mut self, connections: &mut Connections<'_, Member<W::Data>>, order: Order) {
        let Self { core, workload } = self;
        match order {
            Order::Open(at) => core.start_opening(at),
            Order::Load { at, rate } => {
                workload.on_load(core, connections, at, rate);
            }
            Order::Rest => workload.on_rest(core, connections),
            Order::OpenNoMore => core.opener.stop(),
            Order::Kill => {
                for id in connections.ids() {
                    if let Some(mut conn) = connections.conn(id) {
                        conn.abort();
                        core.dying += 1;
                    }
                }
            }
            Order::Begin(at, forget) => core.recorder.begin(core.epoch.instant(at), forget),
            Order::End(at) => core.recorder.end(core.epoch.instant(at)),
            Order::HandOver => {
                workload.on_hand_over(core, connections);
                core.recorder.hand_over();
            }
        }
    }

    /// Does what is due, and asks to be woken for what comes next.
    fn turn(&mut self, connections: &mut Connections<'_, Member<W::Data>>) {
        let now = now();
        self.core.recorder.set_backlog(self.workload.overdue_count(now));
        self.open_due(connections, now);
        self.workload.on_turn(&mut self.core, connections, now);
        if now >= self.core.heartbeat {
            self.core.beat(now);
            self.core.board.outstanding.store(self.workload.outstanding(), Relaxed);
        }
        self.arm(connections);
    }

    /// Begins the opening handshakes that are due.
    fn open_due(&mut self, connections: &mut Connections<'_, Member<W::Data>>, now: Nanos) {
        while let Some(attempt) = self.core.opener.due(now) {
            let Attempt { index, failures, intended } = attempt;
            let member = Member { index, failures, since: intended, ..Member::default() };
            let number = self.core.next_attempt();
            self.core.recorder.count(Counter::Attempted, self.workload.measures(index).into());
            let route = self.core.plan.route(number);
            if let Err(error) = connections.connect(route, member) {
                self.failed(index, failures, &error);
            }
        }
    }

    fn failed(&mut self, index: u32, failures: u32, error: &ConnectError) {
        self.core.opener.settled();
        if self.workload.measures(index) {
            self.core.failed(index, failures, error);
        }
    }

    fn arm(&mut self, connections: &mut Connections<'_, Member<W::Data>>) {
        let core = &mut self.core;
        let due = [core.opener.next(), self.workload.next()].into_iter().flatten();
        let alarm = due.fold(core.heartbeat, Nanos::min);
        if core.alarm != Some(alarm) {
            core.alarm = Some(alarm);
            connections.wake_at(core.epoch.instant(alarm));
        }
        core.board.is_settled.store(core.opener.is_done() && core.dying == 0, Relaxed);
        core.board.open.store(core.recorder.open_count(), Relaxed);
    }
}

impl<W: Workload> Handler for Worker<W> {
    type Data = Member<W::Data>;

    fn on_start(&mut self, connections: &mut Connections<'_, Self::Data>) {
        self.core.cpu_time = thread_cpu_time();
        self.turn(connections);
    }

    fn on_wake(&mut self, connections: &mut Connections<'_, Self::Data>) {
        if let Some(alarm) = self.core.alarm.take() {
            let lag = now().saturating_sub(alarm);
            self.core.recorder.duration(Timing::LoopLag, Duration::from_nanos(lag));
        }
        self.turn(connections);
    }

    fn on_command(
        &mut self,
        connections: &mut Connections<'_, Self::Data>,
        command: Box<dyn Any + Send>,
    ) {
        let Ok(order) = command.downcast::<Order>() else { return };
        self.obey(connections, *order);
        self.turn(connections);
        // Only now: who sees this is to see on the board what the order has changed.
        self.core.board.obeyed.fetch_add(1, Release);
    }

    fn on_connected(&mut self, conn: &mut Conn<'_, Self::Data>) {
        let now = now();
        let member = conn.data_mut();
        if self.workload.measures(member.index) {
            self.core.stage_took(Timing::Connect, member.since, now);
        }
        member.since = now;
        member.stage = Stage::Connected;
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Self::Data>) {
        let now = now();
        let member = conn.data_mut();
        self.core.opener.settled();
        if self.workload.measures(member.index) {
            self.core.stage_took(Timing::Upgrade, member.since, now);
            self.core.recorder.opened();
        }
        member.since = now;
        member.stage = Stage::Open;
        member.failures = 0;
        self.workload.on_open(&mut self.core, conn);
        self.open_due(&mut conn.connections(), now);
        self.arm(&mut conn.connections());
    }

    fn on_connect_failed(
        &mut self,
        connections: &mut Connections<'_, Self::Data>,
        _id: ConnId,
        data: Self::Data,
        error: ConnectError,
    ) {
        self.failed(data.index, data.failures, &error);
        self.open_due(connections, now());
        self.arm(connections);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Self::Data>, message: Message<'_>) {
        let now = now();
        let member = conn.data_mut();
        if self.workload.measures(member.index) {
            self.core.recorder.received(message.len());
            if member.stage == Stage::Open {
                member.stage = Stage::Heard;
                self.core.stage_took(Timing::FirstMessage, member.since, now);
            }
        }
        self.workload.on_message(&mut self.core, conn, message, now);
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Self::Data>, cause: CloseCause) {
        let index = conn.data().index;
        if self.workload.measures(index) {
            self.core.closed(index, cause);
        }
        self.workload.on_close(&mut self.core, conn, cause);
        self.open_due(&mut conn.connections(), now());
        self.arm(&mut conn.connections());
    }
}

impl Core {
    /// Records a latency from `from` to `now`.
    #[inline]
    pub(crate) fn timed(&mut self, timing: Timing, from: Nanos, now: Nanos) {
        self.recorder.latency(timing, self.epoch.instant(from), self.epoch.instant(now));
    }

    /// Records how long a connection's stage took. It counts when it ends, so that of those opened
    /// before the measurement none is missing.
    fn stage_took(&mut self, timing: Timing, from: Nanos, now: Nanos) {
        self.recorder.duration(timing, Duration::from_nanos(now.saturating_sub(from)));
    }

    /// Records that a message was sent at `now` that should have been sent at `intended`: the same
    /// moment, if nobody had intended a time.
    #[inline]
    pub(crate) fn sent(&mut self, len: usize, intended: Nanos, now: Nanos) {
        self.recorder.sent(len);
        if intended != now {
            self.timed(Timing::SendDelay, intended, now);
        }
        if now.saturating_sub(intended) > LATE {
            self.recorder.count(Counter::Late, 1);
        }
    }

    /// Which part of all connections this worker has.
    pub(crate) fn share(&self) -> f64 {
        let count = self.plan.connection_count;
        let own = (self.index as u32..count).step_by(self.plan.worker_count).len();
        own as f64 / f64::from(count)
    }

    /// Opens one connection more at `at`.
    pub(crate) fn open_at(&mut self, index: u32, at: Nanos) {
        self.opener.again(index, 0, at);
    }

    fn start_opening(&mut self, at: Nanos) {
        let plan = &self.plan;
        let ramp = plan.ramp.filter(|ramp| !ramp.is_zero()).map(|ramp| {
            let rate = f64::from(plan.connection_count) / ramp.as_secs_f64() * self.share();
            Pacer::new(Arrivals::Constant, rate, at, plan.seed_for(self.index, RAMP))
        });
        self.opener = Opener::new(
            self.index as u32,
            plan.connection_count,
            plan.worker_count,
            at,
            ramp,
            plan.opening_max,
        );
    }

    /// The number of the next connection attempt among those of all workers.
    fn next_attempt(&mut self) -> u64 {
        let number = self.attempt_count * self.plan.worker_count as u64 + self.index as u64;
        self.attempt_count += 1;
        number
    }

    fn failed(&mut self, index: u32, failures: u32, error: &ConnectError) {
        self.recorder.failed(&kind_of_failure(error));
        self.come_back(index, failures, false);
    }

    fn closed(&mut self, index: u32, cause: CloseCause) {
        let by = match cause {
            CloseCause::Peer(_) => Side::Server,
            CloseCause::Lost(_) | CloseCause::TimedOut(_) => Side::Lost,
            _ => Side::Client,
        };
        self.recorder.closed(cause.code().value(), by);
        match cause {
            CloseCause::Peer(_) | CloseCause::Local(_) | CloseCause::Aborted => {}
            cause => self.recorder.error(&cause.to_string()),
        }
        if cause == CloseCause::Aborted {
            self.dying = self.dying.saturating_sub(1);
        }
        self.come_back(index, 0, matches!(cause, CloseCause::Local(_)));
    }

    /// Has a connection opened again that is gone, if that is the plan: one that we ended ourselves
    /// at once, any other after a back-off.
    fn come_back(&mut self, index: u32, failures: u32, at_once: bool) {
        if let Some(backoff) = self.plan.reconnect {
            let delay = match at_once {
                true => Duration::ZERO,
                false => backoff.delay(failures, &mut self.random),
            };
            let at = now() + crate::clock::nanos(delay);
            self.opener.again(index, failures.saturating_add(1), at);
        }
    }

    /// A regular look at the clocks.
    fn beat(&mut self, now: Nanos) {
        self.heartbeat = now + HEARTBEAT;
        let cpu_time = thread_cpu_time();
        self.recorder.used_cpu(cpu_time.saturating_sub(self.cpu_time));
        self.cpu_time = cpu_time;
        self.recorder.tick(self.epoch.instant(now));
    }
}

/// A row in the table of errors: what failed, without the numbers that differ each time.
fn kind_of_failure(error: &ConnectError) -> String {
    match error {
        ConnectError::Refused(response) => {
            format!("refused with {} {}", response.status, response.reason)
        }
        ConnectError::Io(error) => format!("cannot connect: {}", error.kind()),
        error => error.to_string(),
    }
}

/// Between two regular looks.
const HEARTBEAT: Nanos = SECOND / 50;
/// A message that is sent later than this after its intended time was late.
const LATE: Nanos = SECOND / 200;
/// What seeds are for.
const CHANCE: u64 = 1;
const RAMP: u64 = 2;
