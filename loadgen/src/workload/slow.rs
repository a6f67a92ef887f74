//! `slow`: some readers are slow, or do not read at all. What becomes of them, and of the others?
//!
//! The load is that of `push`. The slow readers live beside the others, and pause: while one does, nothing
//! is read from its connection; the kernel's buffers fill up, and the server has to decide.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clap::Args;
use throng::{CloseCause, ConnId, Message};

use super::push::{self, Push, stamped};
use crate::{
    cli::Options,
    clock::{Nanos, SECOND},
    crew::{Core, LoadConn, LoadConnections, Plan, Workload},
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
    let count = load.connections.checked_add(load.publishers).filter(|count| *count > slow_count);
    let count = count.ok_or("--connections, --slow and --publishers: somebody has to be brisk")?;
    let plan = Arc::new(Plan::new(options, count, false)?);
    let composer = stamped(&load.payload, &plan)?;
    let mut session = Session::new("slow", &plan, options)?;
    session.fact("subscribers", load.connections - slow_count);
    session.fact("slow subscribers", format!("{slow_count}, {read_rate} B/s each"));
    session.fact("publishers", load.publishers);
    session.message(&load.payload, &composer);
    session.pacing = Pacing::Open { rate: load.publish_rate };
    let push = Push::maker(composer, load, &plan);
    let fate = Arc::new(Mutex::new(Fate::default()));
    let (brisk_count, read_rate, shared) = (count - slow_count, *read_rate, fate.clone());
    let make = move |worker| Slow {
        push: push(worker),
        brisk_count,
        read_rate,
        is_slow: false,
        busy_until: HashMap::new(),
        pauses: BinaryHeap::new(),
        fate: shared.clone(),
    };
    let mut conductor = session.start(Timing::OneWay, Some(timeline.duration), make)?;
    conductor.open(timeline.open_max);
    session.load(&mut conductor, Some(load.publish_rate), Forget::Messages);
    conductor.rest(timeline.grace);
    let outcome = conductor.measured();
    // Only now may the slow ones take the workers' time: they read what is left for them.
    conductor.pause(AWAKENING);
    session.fact("of the slow ones", lock(&fate).words(slow_count));
    let run = session.run(outcome, &conductor);
    session.close(conductor, run)
}

/// One worker's publishers and subscribers, brisk and slow.
#[derive(Debug)]
struct Slow {
    push: Push,
    /// Connections from this number on are slow readers.
    brisk_count: u32,
    /// Bytes a second that each of them reads; 0 is none.
    read_rate: u64,
    /// Whether they are slow at present.
    is_slow: bool,
    /// Open slow readers, and until when each is busy with what it has read.
    busy_until: HashMap<ConnId, Nanos>,
    /// When pauses end, the soonest on top. A reader may have been lost before.
    pauses: BinaryHeap<Reverse<(Nanos, ConnId)>>,
    fate: Arc<Mutex<Fate>>,
}

impl Slow {
    /// After a message of this length: pauses for as long as it takes to read.
    fn read(&mut self, conn: &mut LoadConn<'_, Self>, len: usize, now: Nanos) {
        lock(&self.fate).received += 1;
        if !self.is_slow || self.read_rate == 0 {
            return;
        }
        let id = conn.id();
        let busy_until = self.busy_until.entry(id).or_default();
        *busy_until = busy_after(*busy_until, len, self.read_rate, now);
        if *busy_until > now {
            conn.pause_reading();
            self.pauses.push(Reverse((*busy_until, id)));
        }
    }
}

impl Workload for Slow {
    type Data = push::Role;

    fn measures(&self, index: u32) -> bool {
        index < self.brisk_count
    }

    fn on_load(
        &mut self,
        core: &mut Core,
        connections: &mut LoadConnections<'_, Self>,
        at: Nanos,
        rate: Option<f64>,
    ) {
        self.is_slow = true;
        if self.read_rate == 0 {
            for id in self.busy_until.keys() {
                if let Some(mut conn) = connections.conn(*id) {
                    conn.pause_reading();
                }
            }
        }
        self.push.on_load(core, connections, at, rate);
    }

    fn on_rest(&mut self, core: &mut Core, connections: &mut LoadConnections<'_, Self>) {
        self.push.on_rest(core, connections);
    }

    fn on_open(&mut self, core: &mut Core, conn: &mut LoadConn<'_, Self>) {
        if self.measures(conn.data().index) {
            return self.push.on_open(core, conn);
        }
        self.push.subscribe(conn);
        lock(&self.fate).opened += 1;
        self.busy_until.insert(conn.id(), 0);
        if self.is_slow && self.read_rate == 0 {
            conn.pause_reading();
        }
    }

    fn on_message(
        &mut self,
        core: &mut Core,
        conn: &mut LoadConn<'_, Self>,
        message: Message<'_>,
        now: Nanos,
    ) {
        match self.measures(conn.data().index) {
            true => self.push.on_message(core, conn, message, now),
            false => self.read(conn, message.len(), now),
        }
    }

    fn on_close(&mut self, core: &mut Core, conn: &mut LoadConn<'_, Self>, cause: CloseCause) {
        if self.measures(conn.data().index) {
            return self.push.on_close(core, conn, cause);
        }
        self.busy_until.remove(&conn.id());
        *lock(&self.fate).ends.entry(cause.to_string()).or_default() += 1;
    }

    fn on_turn(
        &mut self,
        core: &mut Core,
        connections: &mut LoadConnections<'_, Self>,
        now: Nanos,
    ) {
        while let Some(Reverse((end, id))) = self.pauses.peek().copied()
            && end <= now
        {
            self.pauses.pop();
            if let Some(mut conn) = connections.conn(id) {
                conn.resume_reading();
            }
        }
        self.push.on_turn(core, connections, now);
    }

    fn next(&self) -> Option<Nanos> {
        let pause = self.pauses.peek().map(|Reverse((end, _))| *end);
        self.push.next().into_iter().chain(pause).min()
    }

    fn overdue_count(&self, now: Nanos) -> u64 {
        self.push.overdue_count(now)
    }

    fn outstanding(&self) -> u64 {
        self.push.outstanding()
    }

    fn on_hand_over(&mut self, core: &mut Core, connections: &mut LoadConnections<'_, Self>) {
        self.push.on_hand_over(core, connections);
        self.is_slow = false;
        self.pauses.clear();
        for id in self.busy_until.keys() {
            if let Some(mut conn) = connections.conn(*id) {
                conn.resume_reading();
            }
        }
    }
}

/// What became of the slow readers of all workers.
#[derive(Debug, Default)]
struct Fate {
    opened: u64,
    received: u64,
    ends: BTreeMap<String, u64>,
}

impl Fate {
    fn words(&self, count: u32) -> String {
        let cut_off: u64 = self.ends.values().sum();
        let mut words = vec![format!("{} stayed", self.opened - cut_off)];
        words.extend(self.ends.iter().map(|(end, count)| format!("{count} {end}")));
        let unopened = u64::from(count) - self.opened;
        if unopened > 0 {
            words.push(format!("{unopened} did not open"));
        }
        words.push(format!("{} messages read", self.received));
        words.join(", ")
    }
}

/// Until when a reader is busy that was busy until then, and has read so much now at so many bytes a second.
fn busy_after(busy_until: Nanos, len: usize, read_rate: u64, now: Nanos) -> Nanos {
    busy_until.max(now.saturating_sub(ARREARS)) + len as u64 * SECOND / read_rate
}

fn lock(fate: &Mutex<Fate>) -> MutexGuard<'_, Fate> {
    fate.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a reader may make up for that was woken late.
const ARREARS: Nanos = SECOND / 20;
/// What those who paused may take to see what became of them.
const AWAKENING: Duration = Duration::from_millis(500);
/// For the command line's help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  loadgen slow ws://127.0.0.1:9002/chat --kind text --template 'say {payload}' --size 16384 -r 100
  loadgen slow ws://127.0.0.1:9003 --connections 1000 --slow 0.05 --read-rate 10000
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_woken_late_reads_no_less() {
        let (mut now, mut busy_until) = (SECOND, SECOND);
        for _ in 0..100 {
            busy_until = busy_after(busy_until, 1000, 10_000, now);
            now = now.max(busy_until) + SECOND / 50;
        }
        assert_eq!(busy_until, 11 * SECOND);
    }

    #[test]
    fn who_had_nothing_to_read_does_not_save_time_up() {
        let now = 100 * SECOND;
        assert_eq!(busy_after(0, 10_000, 10_000, now), now + SECOND - ARREARS);
    }
}
