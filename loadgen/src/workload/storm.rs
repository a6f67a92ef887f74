//! `storm`: opening handshakes as fast as the server takes them, or a crowd that is cut off and comes
//! back all at once.

use std::{sync::Arc, time::Duration};

use clap::Args;
use throng::CloseCode;

use crate::{
    backoff::Backoff,
    cli::{Options, connections, positive},
    clock::{Nanos, now},
    crew::{Conductor, Core, LoadConn, LoadConnections, Order, Plan, Workload},
    pacing::{Arrivals, Pacer},
    record::{Forget, Pacing, Timing},
    session::{Ending, Session},
};

/// How much of a storm it is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct Load {
    /// How many connections there are at a time.
    #[arg(long, short, value_name = "N", default_value_t = 100,
          value_parser = connections)]
    connections: u32,
    /// Open loop: connections a second, each closed when it is open. Without it each is replaced
    /// when it was closed.
    #[arg(long, short, value_name = "N", conflicts_with = "kill", value_parser = positive)]
    rate: Option<f64>,
    /// How the connections of the open loop are spread.
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    arrivals: Arrivals,
    /// Instead, open the connections, kill all of them, and wait until they are back: so many times.
    #[arg(long, value_name = "ROUNDS")]
    kill: Option<u32>,
}

/// Runs it, and says how it went.
pub(crate) fn run(options: &Options<Load>) -> Result<Ending, String> {
    match options.load.kill {
        Some(rounds) => kill(options, rounds),
        None => storm(options),
    }
}

/// Handshakes as fast as they go, or at a rate.
fn storm(options: &Options<Load>) -> Result<Ending, String> {
    let Options { load, timeline, .. } = options;
    let mut plan = Plan::new(options, load.connections, true)?;
    plan.reconnect = load.rate.is_none().then_some(AFTER_FAILURE);
    let plan = Arc::new(plan);
    let mut session = Session::new("storm", &plan, options)?;
    session.fact("connections at a time", load.connections);
    session.pacing = match load.rate {
        Some(rate) => Pacing::Open { rate },
        None => Pacing::Closed { in_flight: 1 },
    };
    let (arrivals, of_workers) = (load.arrivals, plan.clone());
    let make = move |worker| Storm {
        arrivals,
        seed: of_workers.seed_for(worker, ARRIVALS),
        pacer: None,
        closes: true,
    };
    let mut conductor = session.start(Timing::Upgrade, Some(timeline.duration), make)?;
    if load.rate.is_none() {
        conductor.order(Order::Open(now()));
    }
    session.load(&mut conductor, load.rate, Forget::All);
    conductor.order(Order::Rest);
    conductor.order(Order::OpenNoMore);
    session.finish(conductor)
}

/// A crowd that is cut off and comes back.
fn kill(options: &Options<Load>, rounds: u32) -> Result<Ending, String> {
    let Options { load, timeline, crowd, .. } = options;
    let mut plan = Plan::new(options, load.connections, true)?;
    plan.reconnect = Some(crowd.backoff());
    let plan = Arc::new(plan);
    let mut session = Session::new("storm", &plan, options)?;
    session.fact("connections", load.connections);
    session.fact("kills", rounds);
    session.fact(
        "back-off",
        format!("up to {:?}, doubled up to {:?}", crowd.backoff, crowd.backoff_max),
    );
    let make =
        |_worker| Storm { arrivals: Arrivals::Constant, seed: 0, pacer: None, closes: false };
    let mut conductor = session.start(Timing::Upgrade, None, make)?;
    conductor.open(timeline.open_max);
    conductor.pause(timeline.warm_up);
    conductor.begin(Forget::All);
    for round in 1..=rounds {
        let took = back_after(&mut conductor, timeline.open_max);
        let outcome = match took {
            Some(took) => format!("all back after {:.3} s", took.as_secs_f64()),
            None => format!("{} of {} came back", conductor.open_count(), load.connections),
        };
        session.fact(&format!("round {round}"), outcome);
    }
    conductor.end();
    session.measure_server(&conductor);
    conductor.order(Order::Rest);
    conductor.order(Order::OpenNoMore);
    session.finish(conductor)
}

/// Kills all connections, and says how long it took until all were back.
fn back_after(conductor: &mut Conductor, patience: Duration) -> Option<Duration> {
    let killed_at = now();
    conductor.order(Order::Kill);
    let all = conductor.wait_settled(patience);
    all.then(|| Duration::from_nanos(now() - killed_at))
}

/// One worker's storm.
#[derive(Debug)]
struct Storm {
    arrivals: Arrivals,
    seed: u64,
    /// The open loop's next connections.
    pacer: Option<Pacer>,
    /// Whether a connection that is open has done its duty.
    closes: bool,
}

impl Workload for Storm {
    /// When we said that it is over.
    type Data = Nanos;

    fn on_load(
        &mut self,
        core: &mut Core,
        _connections: &mut LoadConnections<'_, Self>,
        at: Nanos,
        rate: Option<f64>,
    ) {
        let rate = rate.map(|rate| rate / core.plan.worker_count as f64);
        self.pacer = rate.map(|rate| Pacer::new(self.arrivals, rate, at, self.seed));
    }

    fn on_rest(&mut self, _core: &mut Core, _connections: &mut LoadConnections<'_, Self>) {
        self.pacer = None;
    }

    fn on_open(&mut self, _core: &mut Core, conn: &mut LoadConn<'_, Self>) {
        if self.closes {
            conn.data_mut().own = now();
            conn.close(CloseCode::NORMAL, "");
        }
    }

    fn on_close(
        &mut self,
        core: &mut Core,
        conn: &mut LoadConn<'_, Self>,
        _cause: throng::CloseCause,
    ) {
        if self.closes {
            core.timed(Timing::Close, conn.data().own, now());
        }
    }

    fn on_turn(
        &mut self,
        core: &mut Core,
        _connections: &mut LoadConnections<'_, Self>,
        now: Nanos,
    ) {
        while let Some(intended) = self.pacer.as_mut().and_then(|pacer| pacer.due(now)) {
            core.open_at(0, intended);
        }
    }

    fn next(&self) -> Option<Nanos> {
        self.pacer.as_ref().and_then(Pacer::next)
    }
}

/// A server that refuses is not asked again at once.
const AFTER_FAILURE: Backoff =
    Backoff { first: Duration::from_millis(10), max: Duration::from_secs(1) };
/// What a seed is for.
const ARRIVALS: u64 = 4;
/// For the command line's help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  loadgen storm ws://127.0.0.1:9001 --connections 200
  loadgen storm ws://127.0.0.1:9001 --connections 10000 --kill 3 --backoff 1s --backoff-max 30s
";
