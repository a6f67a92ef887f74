//! `slow`: some readers are slow, or do not read at all. What becomes of them, and of the others?
//!
//! The load is that of `push`. The slow readers live on reactors of their own, whose callbacks do what
//! callbacks must not: they sleep. While one sleeps, nothing is read from any of its connections; the
//! kernel's buffers fill up, and the server has to decide.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use throng::{
    CloseCause, Conn, ConnId, Connections, Handler, Message, Running, Shutdown, Timeouts,
    client::ConnectError,
};

use super::push::{self, Push, stamped};
use crate::{
    cli::Options,
    crew::Plan,
    record::{Forget, Pacing, Timing},
    session::{Ending, Session},
};

/// Who publishes how much to whom, and who of them is slow.
#[derive(Clone, Debug, Args)]
pub(crate) struct Slowness {
    #[command(flatten)]
    load: push::Load,
    /// Which part of the subscribers is slow, 0 to 1.
    #[arg(long, value_name = "PART", default_value_t = 0.1, value_parser = part,
          help_heading = "Slow readers")]
    slow: f64,
    /// Bytes a second that each of them reads; 0 is none.
    #[arg(long, value_name = "BYTES", default_value_t = 0, help_heading = "Slow readers")]
    read_rate: u64,
}

fn part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err("use a number from 0 to 1".to_owned()),
    }
}

/// Runs it, and says how it went.
pub(crate) fn run(options: &Options<Slowness>) -> Result<Ending, String> {
    let Options { load: Slowness { load, slow, read_rate }, timeline, .. } = options;
    let slow_count = (f64::from(load.connections) * slow).ceil() as u32;
    let brisk = push::Load { connections: load.connections - slow_count, ..load.clone() };
    let count = brisk.connections.checked_add(brisk.publishers).filter(|count| *count > 0);
    let count = count.ok_or("--connections, --slow and --publishers: somebody has to read")?;
    let plan = Arc::new(Plan::new(options, count, false)?);
    let composer = stamped(&load.payload, &plan)?;
    let mut session = Session::new("slow", &plan, options)?;
    session.fact("subscribers", brisk.connections);
    session.fact("slow subscribers", format!("{slow_count}, {read_rate} B/s each"));
    session.fact("publishers", load.publishers);
    session.message(&load.payload, &composer);
    session.pacing = Pacing::Open { rate: load.publish_rate };
    let make = Push::maker(composer, &brisk, &plan);
    let mut conductor = session.start(Timing::OneWay, Some(timeline.duration), make)?;
    conductor.open(timeline.open_max);
    let laggards = Laggards::start(&plan, slow_count, *read_rate, load.subscribe.clone())?;
    laggards.wait_open(timeline.open_max);
    laggards.fall_asleep();
    session.load(&mut conductor, Some(load.publish_rate), Forget::Messages);
    conductor.rest(timeline.grace);
    session.fact("of the slow ones", laggards.wake_up()?);
    session.finish(conductor)
}

/// The slow readers.
struct Laggards {
    running: Running,
    shared: Arc<Shared>,
    count: u32,
}

/// What the main thread and the sleepers have in common.
#[derive(Debug, Default)]
struct Shared {
    is_asleep: AtomicBool,
    opened: AtomicU64,
    failed: AtomicU64,
    received: AtomicU64,
    ends: Mutex<BTreeMap<String, u64>>,
}

impl Laggards {
    fn start(
        plan: &Arc<Plan>,
        count: u32,
        read_rate: u64,
        subscribe: Option<String>,
    ) -> Result<Self, String> {
        // A message that they read slowly takes as long as it takes.
        let timeouts = Timeouts { message: None, ..plan.timeouts() };
        let builder = plan.client().reactors(1).timeouts(timeouts).private_descriptors(true);
        let client = builder.build().map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared::default());
        let (of_sleeper, routes) = (shared.clone(), plan.clone());
        let running = client.spawn(move |_reactor| Laggard {
            plan: routes.clone(),
            count,
            read_rate: read_rate * u64::from(count),
            subscribe: subscribe.clone(),
            shared: of_sleeper.clone(),
        });
        Ok(Self { running: running.map_err(|error| error.to_string())?, shared, count })
    }

    /// Waits until all are open or have failed.
    fn wait_open(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let settled = || self.shared.opened.load(Relaxed) + self.shared.failed.load(Relaxed);
        while settled() < self.count.into() && Instant::now() < end {
            thread::sleep(GLANCE);
        }
    }

    fn fall_asleep(&self) {
        self.shared.is_asleep.store(true, Relaxed);
    }

    /// Lets them read what is left, and says what became of them.
    fn wake_up(self) -> Result<String, String> {
        self.shared.is_asleep.store(false, Relaxed);
        thread::sleep(AWAKENING);
        let shared = &self.shared;
        let mut ends = shared.ends.lock().map(|ends| ends.clone()).unwrap_or_default();
        let failed = shared.failed.load(Relaxed);
        if failed > 0 {
            ends.insert("did not open".to_owned(), failed);
        }
        let cut_off: u64 = ends.values().sum();
        let mut words = vec![format!("{} stayed", u64::from(self.count).saturating_sub(cut_off))];
        words.extend(ends.iter().map(|(end, count)| format!("{count} {end}")));
        words.push(format!("{} messages read", shared.received.load(Relaxed)));
        let at_once = Shutdown { deadline: Duration::ZERO, ..Shutdown::default() };
        let _ = self.running.remote().shutdown(at_once);
        self.running.join().map_err(|error| error.to_string())?;
        Ok(words.join(", "))
    }
}

/// One reactor's sleeper.
#[derive(Debug)]
struct Laggard {
    plan: Arc<Plan>,
    count: u32,
    /// Bytes a second, all connections together; 0 is none.
    read_rate: u64,
    subscribe: Option<String>,
    shared: Arc<Shared>,
}

impl Laggard {
    /// Sleeps for as long as these bytes take to read, or until the run is over.
    fn sleep(&self, len: usize) {
        let begun = Instant::now();
        let pause = match self.read_rate {
            0 => Duration::MAX,
            rate => Duration::from_secs_f64(len as f64 / rate as f64),
        };
        while self.shared.is_asleep.load(Relaxed) && begun.elapsed() < pause {
            thread::sleep(GLANCE.min(pause));
        }
    }
}

impl Handler for Laggard {
    type Data = ();

    fn on_start(&mut self, connections: &mut Connections<'_, ()>) {
        for number in 0..self.count {
            if connections.connect(self.plan.route(number.into()), ()).is_err() {
                self.shared.failed.fetch_add(1, Relaxed);
            }
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        self.shared.opened.fetch_add(1, Relaxed);
        if let Some(words) = &self.subscribe {
            conn.send(words);
        }
    }

    fn on_connect_failed(
        &mut self,
        _connections: &mut Connections<'_, ()>,
        _id: ConnId,
        _data: (),
        _error: ConnectError,
    ) {
        self.shared.failed.fetch_add(1, Relaxed);
    }

    fn on_message(&mut self, _conn: &mut Conn<'_, ()>, message: Message<'_>) {
        self.shared.received.fetch_add(1, Relaxed);
        self.sleep(message.len());
    }

    fn on_close(&mut self, _conn: &mut Conn<'_, ()>, cause: CloseCause) {
        if let Ok(mut ends) = self.shared.ends.lock() {
            *ends.entry(cause.to_string()).or_default() += 1;
        }
    }
}

/// Between two looks at whether it is over.
const GLANCE: Duration = Duration::from_millis(10);
/// What those who slept may take to see what became of them.
const AWAKENING: Duration = Duration::from_millis(500);
/// For the command line's help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  loadgen slow ws://127.0.0.1:9002/chat --kind text --template 'say {payload}' --size 16384 -r 100
  loadgen slow ws://127.0.0.1:9003 --connections 1000 --slow 0.05 --read-rate 10000
";
