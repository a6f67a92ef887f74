//! `push`: few publish, the server passes it on, and everybody receives.
//!
//! Publishers are connections of our own, to any server that passes messages on to all: what one of
//! them sends carries a clock, so that every subscriber can tell how long it was on its way. Both ends
//! are on this machine and read the same clock: nothing is estimated.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use clap::Args;
use throng::{CloseCause, Message, Sent};

use crate::{
    cli::{Options, PayloadOptions, count, positive},
    clock::Nanos,
    crew::{Core, LoadConn, LoadConnections, Plan, Workload},
    members::{Members, Place},
    pacing::{Arrivals, Pacer},
    payload::{Composer, PLACEHOLDER, Reading, STAMP_LEN, Stamp},
    record::{Counter, Forget, Pacing, Seen, Sequence, Timing},
    session::{Ending, Session},
};

/// Who publishes how much to whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct Load {
    /// How many connections subscribe.
    #[arg(long, short, value_name = "N", default_value_t = 1000, value_parser = count)]
    pub(crate) connections: u32,
    /// How many connections publish, in addition.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) publishers: u32,
    /// Messages a second that all publishers send together.
    #[arg(long, short = 'r', value_name = "N", default_value = "10", value_parser = positive)]
    pub(crate) publish_rate: f64,
    /// How these messages are spread.
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    pub(crate) arrivals: Arrivals,
    /// A message that each connection sends when it is open, as servers want it that have topics.
    #[arg(long, value_name = "TEXT")]
    pub(crate) subscribe: Option<String>,
    #[command(flatten)]
    pub(crate) payload: PayloadOptions,
}

/// Runs it, and says how it went.
pub(crate) fn run(options: &Options<Load>) -> Result<Ending, String> {
    let Options { load, timeline, .. } = options;
    let count = load.connections.checked_add(load.publishers).filter(|count| *count > 0);
    let count = count.ok_or("--connections and --publishers: there has to be somebody")?;
    let plan = Arc::new(Plan::new(options, count, false)?);
    let composer = stamped(&load.payload, &plan)?;
    let mut session = Session::new("push", &plan, options)?;
    session.fact("subscribers", load.connections);
    session.fact("publishers", load.publishers);
    session.message(&load.payload, &composer);
    session.pacing = match load.publishers {
        0 => Pacing::Idle,
        _ => Pacing::Open { rate: load.publish_rate },
    };
    let make = Push::maker(composer, load, &plan);
    let mut conductor = session.start(Timing::OneWay, Some(timeline.duration), make)?;
    conductor.open(timeline.open_max);
    let rate = (load.publishers > 0).then_some(load.publish_rate);
    session.load(&mut conductor, rate, Forget::Messages);
    conductor.rest(timeline.grace);
    session.finish(conductor)
}

/// Messages that carry a clock.
pub(crate) fn stamped(payload: &PayloadOptions, plan: &Plan) -> Result<Composer, String> {
    let composer = payload.composer(plan.run())?;
    match composer.is_stamped() {
        true => Ok(composer),
        false => Err(format!(
            "messages of {} bytes: to be timed on its way each has to carry a clock, which takes a \
             payload of {STAMP_LEN} bytes (--size) and a place for it ({PLACEHOLDER})",
            composer.message_len()
        )),
    }
}

/// One worker's publishers and subscribers.
#[derive(Debug)]
pub(crate) struct Push {
    composer: Composer,
    arrivals: Arrivals,
    seed: u64,
    subscribe: Option<String>,
    /// How many messages each publisher has sent: one writer each.
    published: Arc<[AtomicU64]>,
    pacer: Option<Pacer>,
    publishers: Members,
    /// Open subscribers of this worker, and messages that they have received.
    subscriber_count: u64,
    arrived: u64,
}

/// What a connection needs.
#[derive(Debug, Default)]
pub(crate) enum Role {
    /// It is not open yet.
    #[default]
    Nobody,
    /// It publishes.
    Publisher { place: Place },
    /// It receives: the messages of one publisher, or of each.
    Subscriber(Box<[Sequence]>),
}

impl Push {
    pub(crate) fn maker(
        composer: Composer,
        load: &Load,
        plan: &Arc<Plan>,
    ) -> impl Fn(usize) -> Self + Send + Sync + 'static {
        let published: Arc<[AtomicU64]> = (0..load.publishers).map(|_| AtomicU64::new(0)).collect();
        let (plan, arrivals, subscribe) = (plan.clone(), load.arrivals, load.subscribe.clone());
        move |worker| Self {
            composer: composer.clone(),
            arrivals,
            seed: plan.seed_for(worker, ARRIVALS),
            subscribe: subscribe.clone(),
            published: published.clone(),
            pacer: None,
            publishers: Members::default(),
            subscriber_count: 0,
            arrived: 0,
        }
    }

    /// Says what a server with topics wants to hear.
    pub(crate) fn subscribe(&self, conn: &mut LoadConn<'_, Self>) {
        if let Some(words) = &self.subscribe {
            conn.send(words);
        }
    }

    fn publish(
        &mut self,
        core: &mut Core,
        conn: &mut LoadConn<'_, Self>,
        intended: Nanos,
        now: Nanos,
    ) {
        let stream = conn.data().index;
        let published = &self.published[stream as usize];
        let sequence = published.load(Relaxed);
        let stamp = Stamp { run: 0, stream, sequence: sequence as u32, intended, sent: now };
        let message = self.composer.compose(stamp);
        let len = message.len();
        match conn.send(message) {
            Sent::Queued | Sent::AboveHighWater => {
                published.store(sequence + 1, Relaxed);
                core.sent(len, intended, now);
            }
            _ => core.recorder.count(Counter::Unsent, 1),
        }
    }

    /// A subscriber that is there from the beginning misses what does not come; one that joins later
    /// begins with what comes first.
    fn subscriber(&self) -> Role {
        let joined = |published: &AtomicU64| match published.load(Relaxed) {
            0 => Sequence::starting_at(0),
            _ => Sequence::default(),
        };
        Role::Subscriber(self.published.iter().map(joined).collect())
    }

    /// What all publishers together have sent so far.
    fn published_count(&self) -> u64 {
        self.published.iter().map(|published| published.load(Relaxed)).sum()
    }
}

impl Workload for Push {
    type Data = Role;

    fn on_load(
        &mut self,
        core: &mut Core,
        _connections: &mut LoadConnections<'_, Self>,
        at: Nanos,
        rate: Option<f64>,
    ) {
        let count = self.published.len();
        let own = (core.index..count).step_by(core.plan.worker_count).len();
        let rate = rate.unwrap_or(0.0) * own as f64 / count.max(1) as f64;
        self.pacer = Some(Pacer::new(self.arrivals, rate, at, self.seed));
    }

    fn on_rest(&mut self, _core: &mut Core, _connections: &mut LoadConnections<'_, Self>) {
        self.pacer = None;
    }

    fn on_open(&mut self, _core: &mut Core, conn: &mut LoadConn<'_, Self>) {
        self.subscribe(conn);
        let role = if (conn.data().index as usize) < self.published.len() {
            Role::Publisher { place: self.publishers.add(conn.id()) }
        } else {
            self.subscriber_count += 1;
            self.subscriber()
        };
        conn.data_mut().own = role;
    }

    fn on_message(
        &mut self,
        core: &mut Core,
        conn: &mut LoadConn<'_, Self>,
        message: Message<'_>,
        now: Nanos,
    ) {
        let stamp = match self.composer.read(message.as_bytes()) {
            Reading::Ours(stamp) => stamp,
            Reading::Corrupt => return core.recorder.count(Counter::Corrupted, 1),
            // The server has something to say of its own.
            Reading::Foreign => return,
        };
        if let Role::Subscriber(streams) = &mut conn.data_mut().own {
            let seen = match streams.get_mut(stamp.stream as usize) {
                Some(stream) => stream.see(stamp.sequence.into()),
                // Published by another loadgen.
                None => Seen::InOrder,
            };
            core.recorder.seen(seen);
            if seen == Seen::Duplicate {
                return;
            }
            self.arrived += 1;
            core.timed(Timing::OneWay, stamp.intended, now);
            core.timed(Timing::OneWayService, stamp.sent, now);
        }
    }

    fn on_close(&mut self, _core: &mut Core, conn: &mut LoadConn<'_, Self>, _cause: CloseCause) {
        match std::mem::take(&mut conn.data_mut().own) {
            Role::Publisher { place } => {
                if let Some(moved) = self.publishers.remove(place)
                    && let Some(mut other) = conn.connections().conn(moved)
                {
                    other.data_mut().own = Role::Publisher { place };
                }
            }
            // What it misses from now on is no loss: its end is in the table of closes.
            Role::Subscriber(_) => self.subscriber_count -= 1,
            Role::Nobody => {}
        }
    }

    fn on_turn(
        &mut self,
        core: &mut Core,
        connections: &mut LoadConnections<'_, Self>,
        now: Nanos,
    ) {
        while let Some(intended) = self.pacer.as_mut().and_then(|pacer| pacer.due(now)) {
            match self.publishers.next().and_then(|id| connections.conn(id)) {
                Some(mut conn) => self.publish(core, &mut conn, intended, crate::clock::now()),
                None => core.recorder.count(Counter::Unsent, 1),
            }
        }
    }

    fn next(&self) -> Option<Nanos> {
        self.pacer.as_ref().and_then(Pacer::next)
    }

    fn overdue_count(&self, now: Nanos) -> u64 {
        self.pacer.as_ref().map_or(0, |pacer| pacer.overdue_count(now))
    }

    fn outstanding(&self) -> u64 {
        (self.published_count() * self.subscriber_count).saturating_sub(self.arrived)
    }

    fn on_hand_over(&mut self, core: &mut Core, connections: &mut LoadConnections<'_, Self>) {
        let ends: Vec<u64> =
            self.published.iter().map(|published| published.load(Relaxed)).collect();
        for id in connections.ids() {
            let Some(conn) = connections.conn(id) else { continue };
            if let Role::Subscriber(streams) = &conn.data().own {
                let missing =
                    streams.iter().zip(&ends).map(|(stream, end)| stream.missing_before(*end));
                core.recorder.count(Counter::Lost, missing.sum());
            }
        }
    }
}

/// What a seed is for.
const ARRIVALS: u64 = 5;
/// For the command line's help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  loadgen push ws://127.0.0.1:9002/chat --kind text --template 'say {payload}'
  loadgen push ws://127.0.0.1:9003 --connections 10000 --publishers 4 --publish-rate 100
";
