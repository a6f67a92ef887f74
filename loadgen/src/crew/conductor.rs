//! Directs a run from the main thread.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Relaxed},
        },
    },
    time::{Duration, Instant},
};

use signal_hook::{consts::SIGINT, consts::SIGTERM, flag};
use throng::{DriverKind, Overflow, Running, SendQueue, Shutdown, client::Client};

use super::{Board, Order, Plan, Workload, worker::Worker};
use crate::{
    clock::{self, Epoch, Nanos},
    record::{Collector, Forget, Outcome, Settings, Timing, Update},
    report::live::Live,
};

/// Directs a run: tells all workers what to do, waits, and shows how it goes meanwhile.
///
/// When the run is interrupted (ctrl-c, or a request to terminate), every wait is over at once: the
/// script of the workload goes on to its end, and what was measured is reported.
pub(crate) struct Conductor {
    plan: Arc<Plan>,
    running: Running,
    collector: Collector,
    boards: Vec<Arc<Board>>,
    order_count: u64,
    driver: (DriverKind, String),
    live: Option<Live>,
    measured: Option<Box<Outcome>>,
    interrupted: Arc<AtomicBool>,
    begun: Nanos,
    ended: Nanos,
}

impl Conductor {
    /// Starts the workers, which open nothing yet. `make` is called on each worker's thread.
    ///
    /// # Errors
    ///
    /// A sentence: the driver does not work here, or a thread could not be had.
    pub(crate) fn start<W: Workload>(
        plan: &Arc<Plan>,
        main: Timing,
        live: Option<Live>,
        make: impl Fn(usize) -> W + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let epoch = Epoch::now();
        let settings = Settings { start: Instant::now(), interval: INTERVAL, main };
        let (collector, recorders) = Collector::new(settings, plan.worker_count);
        let boards: Vec<_> = recorders.iter().map(|_| Arc::new(Board::default())).collect();
        let client = client(plan).map_err(|error| error.to_string())?;
        let driver = (client.driver(), client.driver_reason().to_owned());
        let recorders: Vec<_> =
            recorders.into_iter().map(|recorder| Mutex::new(Some(recorder))).collect();
        let (of_workers, its_boards) = (plan.clone(), boards.clone());
        let running = client.spawn(move |index| {
            let recorder = recorders[index].lock().ok().and_then(|mut recorder| recorder.take());
            let recorder = recorder.expect("each worker is made once");
            let board = its_boards[index].clone();
            Worker::new(index, of_workers.clone(), recorder, epoch, board, make(index))
        });
        let now = clock::now();
        Ok(Self {
            plan: plan.clone(),
            running: running.map_err(|error| error.to_string())?,
            collector,
            boards,
            order_count: 0,
            driver,
            live,
            measured: None,
            interrupted: interruption()
                .map_err(|error| format!("cannot watch for ctrl-c: {error}"))?,
            begun: now,
            ended: now,
        })
    }

    /// Opens the connections, and waits until all are open or have failed, at most `patience`.
    pub(crate) fn open(&mut self, patience: Duration) {
        self.order(Order::Open(clock::now()));
        self.wait_settled(patience);
    }

    /// Waits until nothing is left to be opened, at most `patience`, and says whether that came.
    pub(crate) fn wait_settled(&mut self, patience: Duration) -> bool {
        self.wait_for(patience, |board| board.is_settled.load(Relaxed))
    }

    /// The load begins, at `rate` events a second in all if it has a rate; after the warm-up the
    /// measurement begins.
    pub(crate) fn load(&mut self, rate: Option<f64>, warm_up: Duration, forget: Forget) {
        let lead = if rate.is_some() { LEAD } else { Duration::ZERO };
        let at = clock::now() + clock::nanos(lead);
        if warm_up.is_zero() {
            // Nothing is missed of what happens from the first message on.
            self.order(Order::Begin(at, forget));
            self.order(Order::Load { at, rate });
            return self.pause(lead);
        }
        self.order(Order::Load { at, rate });
        self.pause(lead + warm_up);
        self.begin(forget);
    }

    /// The load ends; messages on their way have at most `patience` to arrive.
    pub(crate) fn rest(&mut self, patience: Duration) {
        self.order(Order::Rest);
        // Boards are written a few times a second: what they say now may be from before.
        self.pause(SETTLE.min(patience));
        self.wait_for(patience, |board| board.outstanding.load(Relaxed) == 0);
    }

    /// Gives any other order.
    pub(crate) fn order(&mut self, order: Order) {
        self.order_count += 1;
        match order {
            Order::Begin(at, _) => self.begun = at,
            Order::End(at) => self.ended = at,
            _ => {}
        }
        for reactor in 0..self.plan.worker_count {
            // A reactor that is gone is missing in the outcome.
            let _ = self.running.remote().command(reactor, order);
        }
    }

    /// Lets time pass.
    pub(crate) fn pause(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        while !self.is_interrupted() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.listen(left.min(GLANCE));
        }
    }

    /// Lets time pass until `condition` holds for all workers that have obeyed, at most `patience`,
    /// and says whether it does.
    fn wait_for(&mut self, patience: Duration, condition: impl Fn(&Board) -> bool) -> bool {
        let end = Instant::now() + patience;
        loop {
            let obeyed = |board: &Board| board.obeyed.load(Acquire) >= self.order_count;
            if self.boards.iter().all(|board| obeyed(board) && condition(board)) {
                return true;
            }
            if self.is_interrupted() || Instant::now() >= end {
                return false;
            }
            self.listen(GLANCE / 10);
        }
    }

    /// What happens from now on counts.
    pub(crate) fn begin(&mut self, forget: Forget) {
        self.order(Order::Begin(clock::now(), forget));
    }

    /// It counts no more.
    pub(crate) fn end(&mut self) {
        self.order(Order::End(clock::now()));
    }

    /// What was measured since [`begin`](Self::begin).
    pub(crate) fn measured(&mut self) -> Outcome {
        self.order(Order::HandOver);
        let end = Instant::now() + LAST_WORD;
        while self.measured.is_none() && Instant::now() < end {
            self.listen(GLANCE);
        }
        match self.measured.take() {
            Some(outcome) => *outcome,
            None => Outcome { missing_count: self.plan.worker_count, ..Outcome::default() },
        }
    }

    /// Ends the run: all connections are closed.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        self.order(Order::OpenNoMore);
        drop(self.live);
        let shutdown =
            Shutdown { code: throng::CloseCode::NORMAL, deadline: FAREWELL, ..Shutdown::default() };
        // If it is gone already, `join` tells why.
        let _ = self.running.remote().shutdown(shutdown);
        self.running.join().map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Whether somebody wants it to end early.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Relaxed)
    }

    /// Connections that are open now.
    pub(crate) fn open_count(&self) -> u64 {
        self.boards.iter().map(|board| board.open.load(Relaxed)).sum()
    }

    /// The driver, and why it is that one.
    pub(crate) fn driver(&self) -> &(DriverKind, String) {
        &self.driver
    }

    /// How long the last measurement was.
    pub(crate) fn measured_for(&self) -> Duration {
        Duration::from_nanos(self.ended.saturating_sub(self.begun))
    }

    /// Says something beside the live line.
    pub(crate) fn say(&self, words: String) {
        if let Some(live) = &self.live {
            live.say(words);
        }
    }

    fn listen(&mut self, timeout: Duration) {
        match self.collector.wait(timeout) {
            Update::Interval(progress) => {
                if let Some(live) = &self.live {
                    live.show(&progress);
                }
            }
            Update::Measured(outcome) => self.measured = Some(outcome),
            Update::Nothing => {}
            // All workers are gone: there is nothing left to wait for.
            Update::Finished => self.interrupted.store(true, Relaxed),
        }
    }
}

/// The workers' client: when a server does not read, it drops what is new and says so.
fn client(plan: &Plan) -> throng::Result<Client> {
    let send_queue = SendQueue { overflow: Overflow::DropNewest, ..SendQueue::default() };
    plan.client()
        .reactors(plan.worker_count)
        .send_queue(send_queue)
        .private_descriptors(plan.worker_count > 1)
        .build()
}

/// A flag that is set by ctrl-c and by a request to terminate; the second one ends the process.
fn interruption() -> std::io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, INTERRUPTED, interrupted.clone())?;
        flag::register(signal, interrupted.clone())?;
    }
    Ok(interrupted)
}

/// Of the live line and the plots.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between an order and the moment it speaks of, so that all workers have heard it.
const LEAD: Duration = Duration::from_millis(20);
/// Between two looks at what is to be waited for.
const GLANCE: Duration = Duration::from_millis(50);
/// After which the boards are up to date.
const SETTLE: Duration = Duration::from_millis(50);
/// What the workers may take to report.
const LAST_WORD: Duration = Duration::from_secs(20);
/// What the servers may take to answer our Close.
const FAREWELL: Duration = Duration::from_secs(5);
/// The exit code of a process that ctrl-c ended.
const INTERRUPTED: i32 = 130;
