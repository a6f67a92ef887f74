//! `echo`: messages go out and have to come back as they were.
//!
//! In the *open loop* a message leaves when its time has come, whatever became of those before it, and
//! its latency counts from the time that was intended. In the *closed loop* each connection sends a
//! message for each answer: that finds the highest rate, and flatters the latency.

use std::{collections::VecDeque, sync::Arc};

use clap::Args;
use throng::{CloseCause, Message, Sent};

use crate::{
    cli::{Options, PayloadOptions, connections, positive},
    clock::{Nanos, now},
    crew::{Core, LoadConn, LoadConnections, Plan, Workload},
    members::{Members, Place},
    pacing::{Arrivals, Pacer},
    payload::{Composer, Reading, Stamp},
    record::{Counter, Forget, Pacing, Seen, Sequence, Timing},
    session::{Ending, Session},
};

/// How much is sent.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct Load {
    /// How many connections.
    #[arg(long, short, value_name = "N", default_value_t = 100,
          value_parser = connections)]
    connections: u32,
    /// Open loop: messages a second, all connections together. Without it the loop is closed.
    #[arg(long, short, value_name = "N", conflicts_with = "pipeline", value_parser = positive)]
    rate: Option<f64>,
    /// How the messages of the open loop are spread.
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    arrivals: Arrivals,
    /// Closed loop: unanswered messages of each connection.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..))]
    pipeline: u32,
    #[command(flatten)]
    payload: PayloadOptions,
}

/// Runs it, and says how it went.
pub(crate) fn run(options: &Options<Load>) -> Result<Ending, String> {
    let Options { load, timeline, .. } = options;
    let plan = Arc::new(Plan::new(options, load.connections, false)?);
    let composer = load.payload.composer(plan.run())?;
    let mut session = Session::new("echo", &plan, options)?;
    session.pacing = match load.rate {
        Some(rate) => Pacing::Open { rate },
        None => Pacing::Closed { in_flight: load.pipeline.into() },
    };
    session.fact("connections", load.connections);
    session.message(&load.payload, &composer);
    let make = Echo::maker(composer, load.arrivals, load.pipeline, &plan);
    let mut conductor = session.start(Timing::RoundTrip, Some(timeline.duration), make)?;
    conductor.open(timeline.open_max);
    session.load(&mut conductor, load.rate, Forget::Messages);
    conductor.rest(timeline.grace);
    session.finish(conductor)
}

/// One worker's echoes.
#[derive(Debug)]
pub(crate) struct Echo {
    composer: Composer,
    arrivals: Arrivals,
    pipeline: u32,
    seed: u64,
    load: Loop,
    members: Members,
    outstanding: u64,
}

/// What makes messages leave.
#[derive(Debug)]
enum Loop {
    /// Nothing.
    Resting,
    /// The time.
    Open(Pacer),
    /// Answers.
    Closed,
}

/// What one connection's echoes need.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    place: Place,
    /// The number of the next message, and of the first that counts.
    next: u64,
    seen: Sequence,
    /// Intended and true times of plain messages on their way, which cannot carry them.
    plain: VecDeque<(Nanos, Nanos)>,
}

impl Echo {
    /// Makes the echoes of each worker.
    pub(crate) fn maker(
        composer: Composer,
        arrivals: Arrivals,
        pipeline: u32,
        plan: &Arc<Plan>,
    ) -> impl Fn(usize) -> Self + Send + Sync + 'static {
        let plan = plan.clone();
        move |worker| Self {
            composer: composer.clone(),
            arrivals,
            pipeline,
            seed: plan.seed_for(worker, ARRIVALS),
            load: Loop::Resting,
            members: Members::default(),
            outstanding: 0,
        }
    }

    fn send(
        &mut self,
        core: &mut Core,
        conn: &mut LoadConn<'_, Self>,
        intended: Nanos,
        now: Nanos,
    ) {
        let member = conn.data_mut();
        if member.own.next == 0 {
            member.asked(now);
        }
        let stamp = Stamp {
            run: 0,
            stream: member.index,
            sequence: member.own.next as u32,
            intended,
            sent: now,
        };
        let message = self.composer.compose(stamp);
        let len = message.len();
        if !matches!(conn.send(message), Sent::Queued | Sent::AboveHighWater) {
            core.recorder.count(Counter::Unsent, 1);
            return;
        }
        let stream = &mut conn.data_mut().own;
        stream.next += 1;
        if !self.composer.is_stamped() {
            stream.plain.push_back((intended, now));
        }
        self.outstanding += 1;
        core.sent(len, intended, now);
    }

    /// Fills a connection's pipeline, in the closed loop.
    fn begin(&mut self, core: &mut Core, conn: &mut LoadConn<'_, Self>) {
        for _ in 0..self.pipeline {
            let now = now();
            self.send(core, conn, now, now);
        }
    }

    /// Looks at a message that has a stamp, or should have. Says how many messages it is the end of.
    fn check_stamped(
        &mut self,
        core: &mut Core,
        conn: &mut LoadConn<'_, Self>,
        message: Message<'_>,
        now: Nanos,
    ) -> u64 {
        let member = conn.data_mut();
        match self.composer.read(message.as_bytes()) {
            Reading::Ours(stamp) if stamp.stream == member.index => {
                let seen = member.own.seen.see(stamp.sequence.into());
                core.recorder.seen(seen);
                if seen == Seen::Duplicate {
                    return 0;
                }
                core.timed(Timing::RoundTrip, stamp.intended, now);
                core.timed(Timing::RoundTripService, stamp.sent, now);
                match seen {
                    Seen::Gap(lost) => 1 + lost,
                    // It was given up when its successor came.
                    Seen::Reordered => 0,
                    _ => 1,
                }
            }
            Reading::Ours(_) => {
                core.recorder.error(MISDELIVERED);
                0
            }
            Reading::Corrupt => {
                core.recorder.count(Counter::Corrupted, 1);
                0
            }
            Reading::Foreign => {
                core.recorder.error(FOREIGN);
                0
            }
        }
    }

    /// Looks at a message that is compared with what we send.
    fn check_plain(
        &mut self,
        core: &mut Core,
        conn: &mut LoadConn<'_, Self>,
        message: Message<'_>,
        now: Nanos,
    ) -> u64 {
        let Some((intended, sent)) = conn.data_mut().own.plain.pop_front() else {
            core.recorder.count(Counter::Duplicated, 1);
            return 0;
        };
        if self.composer.is_plain_echo(message.as_bytes()) {
            core.timed(Timing::RoundTrip, intended, now);
            core.timed(Timing::RoundTripService, sent, now);
        } else {
            core.recorder.count(Counter::Corrupted, 1);
        }
        1
    }

    /// Messages of a connection that have not come back.
    fn missing(&self, stream: &Stream) -> u64 {
        match self.composer.is_stamped() {
            true => stream.seen.missing_before(stream.next),
            false => stream.plain.len() as u64,
        }
    }
}

impl Workload for Echo {
    type Data = Stream;

    fn on_load(
        &mut self,
        core: &mut Core,
        connections: &mut LoadConnections<'_, Self>,
        at: Nanos,
        rate: Option<f64>,
    ) {
        if let Some(rate) = rate {
            let rate = rate * core.share();
            self.load = Loop::Open(Pacer::new(self.arrivals, rate, at, self.seed));
            return;
        }
        self.load = Loop::Closed;
        for id in connections.ids() {
            if let Some(mut conn) = connections.conn(id) {
                self.begin(core, &mut conn);
            }
        }
    }

    fn on_rest(&mut self, _core: &mut Core, _connections: &mut LoadConnections<'_, Self>) {
        self.load = Loop::Resting;
    }

    fn on_open(&mut self, core: &mut Core, conn: &mut LoadConn<'_, Self>) {
        let place = self.members.add(conn.id());
        let stream = &mut conn.data_mut().own;
        stream.place = place;
        stream.seen = Sequence::starting_at(0);
        if matches!(self.load, Loop::Closed) {
            self.begin(core, conn);
        }
    }

    fn on_message(
        &mut self,
        core: &mut Core,
        conn: &mut LoadConn<'_, Self>,
        message: Message<'_>,
        now: Nanos,
    ) {
        let answered = match self.composer.is_stamped() {
            true => self.check_stamped(core, conn, message, now),
            false => self.check_plain(core, conn, message, now),
        };
        self.outstanding = self.outstanding.saturating_sub(answered);
        if matches!(self.load, Loop::Closed) {
            for _ in 0..answered {
                self.send(core, conn, now, now);
            }
        }
    }

    fn on_close(&mut self, core: &mut Core, conn: &mut LoadConn<'_, Self>, _cause: CloseCause) {
        let stream = &conn.data().own;
        let (place, missing) = (stream.place, self.missing(stream));
        core.recorder.count(Counter::Lost, missing);
        self.outstanding = self.outstanding.saturating_sub(missing);
        if let Some(moved) = self.members.remove(place)
            && let Some(mut other) = conn.connections().conn(moved)
        {
            other.data_mut().own.place = place;
        }
    }

    fn on_turn(
        &mut self,
        core: &mut Core,
        connections: &mut LoadConnections<'_, Self>,
        now: Nanos,
    ) {
        loop {
            let Loop::Open(pacer) = &mut self.load else { return };
            let Some(intended) = pacer.due(now) else { return };
            let id = self.members.next();
            match id.and_then(|id| connections.conn(id)) {
                Some(mut conn) => self.send(core, &mut conn, intended, crate::clock::now()),
                None => core.recorder.count(Counter::Unsent, 1),
            }
        }
    }

    fn next(&self) -> Option<Nanos> {
        match &self.load {
            Loop::Open(pacer) => pacer.next(),
            Loop::Resting | Loop::Closed => None,
        }
    }

    fn overdue_count(&self, now: Nanos) -> u64 {
        match &self.load {
            Loop::Open(pacer) => pacer.overdue_count(now),
            Loop::Resting | Loop::Closed => 0,
        }
    }

    fn outstanding(&self) -> u64 {
        self.outstanding
    }

    fn on_hand_over(&mut self, core: &mut Core, connections: &mut LoadConnections<'_, Self>) {
        for id in connections.ids() {
            let Some(mut conn) = connections.conn(id) else { continue };
            let stream = &mut conn.data_mut().own;
            core.recorder.count(Counter::Lost, self.missing(stream));
            // What is given up now is not missed again in a later measurement.
            stream.seen = Sequence::starting_at(stream.next);
            stream.plain.clear();
        }
        self.outstanding = 0;
    }
}

/// An error that says what `push` is for.
const MISDELIVERED: &str = "a message of another connection arrived (does the server broadcast?)";
const FOREIGN: &str = "a message arrived that is not ours";
/// What a seed is for.
const ARRIVALS: u64 = 3;
/// For the command line's help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  loadgen echo ws://127.0.0.1:9001 --connections 1000 --rate 20000 --arrivals poisson
  loadgen echo ws://127.0.0.1:9001 --pipeline 16 --size 16 --assert 'lost==0' 'p99<5ms'
";
