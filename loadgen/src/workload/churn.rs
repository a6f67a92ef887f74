//! `churn`: connections live for a while, end politely, and others take their place.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use humantime::parse_duration;
use throng::{CloseCause, CloseCode, ConnId, Message, Sent};

use crate::{
    cli::{Options, PayloadOptions, connections},
    clock::{Nanos, nanos, now},
    crew::{Core, LoadConn, LoadConnections, Order, Plan, Workload},
    pacing::exponential,
    payload::{Composer, Stamp},
    record::{Counter, Forget, Pacing, Timing},
    session::{Ending, Session},
};

/// Who comes and goes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct Load {
    /// How many connections there are at a time.
    #[arg(long, short, value_name = "N", default_value_t = 1000,
          value_parser = connections)]
    connections: u32,
    /// How long each lives, on average.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    lifetime: Duration,
    /// How lifetimes differ.
    #[arg(long, value_enum, default_value_t = Lifetimes::Exponential)]
    lifetimes: Lifetimes,
    /// Each sends a message when it is open.
    #[arg(long)]
    greet: bool,
    #[command(flatten)]
    payload: PayloadOptions,
}

/// How lifetimes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Lifetimes {
    /// Many short ones, few long ones: at any moment each is as likely to go as any other.
    Exponential,
    /// All the same.
    Constant,
}

/// Runs it, and says how it went.
pub(crate) fn run(options: &Options<Load>) -> Result<Ending, String> {
    let Options { load, timeline, crowd, .. } = options;
    let mut plan = Plan::new(options, load.connections, true)?;
    plan.reconnect = Some(crowd.backoff());
    let plan = Arc::new(plan);
    let greeting = load.greet.then(|| load.payload.composer(plan.run())).transpose()?;
    let mut session = Session::new("churn", &plan, options)?;
    session.fact("connections at a time", load.connections);
    session.fact("lifetime", format!("{:?}, {:?}", load.lifetime, load.lifetimes));
    let a_second = f64::from(load.connections) / load.lifetime.as_secs_f64().max(0.001);
    session.pacing = Pacing::Open { rate: a_second };
    let (lifetime, lifetimes) = (load.lifetime, load.lifetimes);
    let make = move |_worker| Churn {
        lifetime,
        lifetimes,
        greeting: greeting.clone(),
        ends: BinaryHeap::new(),
        is_over: false,
    };
    let mut conductor = session.start(Timing::Upgrade, Some(timeline.duration), make)?;
    conductor.open(timeline.open_max);
    conductor.pause(timeline.warm_up);
    conductor.begin(Forget::All);
    conductor.pause(timeline.duration);
    conductor.end();
    session.measure_server(&conductor);
    conductor.order(Order::Rest);
    conductor.order(Order::OpenNoMore);
    session.finish(conductor)
}

/// One worker's connections, and when each ends.
#[derive(Debug)]
struct Churn {
    lifetime: Duration,
    lifetimes: Lifetimes,
    greeting: Option<Composer>,
    /// The soonest is on top. One that was lost before is no more there when its time comes.
    ends: BinaryHeap<Reverse<(Nanos, ConnId)>>,
    is_over: bool,
}

impl Workload for Churn {
    /// When we said that it is over.
    type Data = Nanos;

    fn on_rest(&mut self, _core: &mut Core, _connections: &mut LoadConnections<'_, Self>) {
        self.is_over = true;
    }

    fn on_open(&mut self, core: &mut Core, conn: &mut LoadConn<'_, Self>) {
        let now = now();
        let lifetime = match self.lifetimes {
            Lifetimes::Constant => self.lifetime,
            Lifetimes::Exponential => self.lifetime.mul_f64(exponential(&mut core.random)),
        };
        self.ends.push(Reverse((now.saturating_add(nanos(lifetime)), conn.id())));
        if let Some(greeting) = &mut self.greeting {
            let stream = conn.data().index;
            let stamp = Stamp { stream, intended: now, sent: now, ..Stamp::default() };
            let message = greeting.compose(stamp);
            let len = message.len();
            match conn.send(message) {
                Sent::Queued | Sent::AboveHighWater => core.sent(len, now, now),
                _ => core.recorder.count(Counter::Unsent, 1),
            }
        }
    }

    fn on_turn(
        &mut self,
        _core: &mut Core,
        connections: &mut LoadConnections<'_, Self>,
        now: Nanos,
    ) {
        while let Some(Reverse((end, id))) = self.ends.peek().copied()
            && end <= now
            && !self.is_over
        {
            self.ends.pop();
            if let Some(mut conn) = connections.conn(id) {
                conn.data_mut().own = now;
                conn.close(CloseCode::NORMAL, "");
            }
        }
    }

    fn on_close(&mut self, core: &mut Core, conn: &mut LoadConn<'_, Self>, cause: CloseCause) {
        if matches!(cause, CloseCause::Local(_)) {
            core.timed(Timing::Close, conn.data().own, now());
        }
    }

    fn on_message(
        &mut self,
        core: &mut Core,
        _conn: &mut LoadConn<'_, Self>,
        message: Message<'_>,
        _now: Nanos,
    ) {
        use crate::payload::Reading;
        if let Some(greeting) = &self.greeting
            && greeting.read(message.as_bytes()) == Reading::Corrupt
        {
            core.recorder.count(Counter::Corrupted, 1);
        }
    }

    fn next(&self) -> Option<Nanos> {
        self.ends.peek().filter(|_| !self.is_over).map(|Reverse((end, _))| *end)
    }
}

/// For the command line's help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  loadgen churn ws://127.0.0.1:9001 --connections 5000 --lifetime 10s
";
