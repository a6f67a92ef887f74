//! Puts together what the recorders saw.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use super::{Counters, Latencies, Phase, Point, Recorder, Settings, Tally};

/// A shorter interval would cost more than it shows.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What a recorder sends: one a recorder and interval, so the channel needs no bound.
#[derive(Debug)]
pub(super) enum News {
    /// An interval that has ended.
    Interval(Box<Interval>),
    /// What a recorder measured in the measurement with this number.
    Measured(u32, Box<Tally>),
}

/// What one recorder saw in one interval.
#[derive(Debug)]
pub(super) struct Interval {
    /// How many measurements had begun.
    pub(super) measurement: u32,
    pub(super) phase: Phase,
    pub(super) index: u32,
    pub(super) length: Duration,
    pub(super) counters: Counters,
    pub(super) latencies: Latencies,
    pub(super) open: u64,
    pub(super) backlog: u64,
    pub(super) cpu: Duration,
}

/// Receives from all recorders of a run, on the thread that shows the live line.
#[derive(Debug)]
pub(crate) struct Collector {
    interval: Duration,
    news: Receiver<News>,
    recorder_count: usize,
    /// Intervals that some recorders have yet to report, by measurement, phase and index.
    unfinished: BTreeMap<(u32, Phase, u32), Merged>,
    /// Measurements that some recorders have yet to hand over, by number.
    outcomes: BTreeMap<u32, Outcome>,
    /// Counted in the phase that is under way.
    so_far: Counters,
    phase: Phase,
}

/// What [`Collector::wait`] has found.
#[derive(Clone, Debug)]
pub(crate) enum Update {
    /// All recorders have reported an interval.
    Interval(Box<Progress>),
    /// All recorders have [handed over](Recorder::hand_over) a measurement.
    Measured(Box<Outcome>),
    /// Nothing to show yet.
    Nothing,
    /// All recorders are gone, and there is nothing more to come.
    Finished,
}

/// What the live line shows: one interval of all recorders.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// What the run was doing in it.
    pub(crate) phase: Phase,
    /// The interval.
    pub(crate) point: Point,
    /// All that was counted in this phase so far.
    pub(crate) so_far: Counters,
}

/// What was measured, all recorders together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// How many recorders have handed over.
    pub(crate) part_count: usize,
    /// How many have not, and never will: their figures are missing.
    pub(crate) missing_count: usize,
    /// Counters, tables and latencies.
    pub(crate) tally: Tally,
    /// The measurement interval by interval, without the warm-up.
    pub(crate) series: Vec<Point>,
}

impl Collector {
    /// A collector and the recorders that report to it, one a reactor.
    pub(crate) fn new(mut settings: Settings, recorder_count: usize) -> (Self, Vec<Recorder>) {
        settings.interval = settings.interval.max(INTERVAL_MIN);
        let (sender, news) = channel();
        let recorders =
            (0..recorder_count).map(|_| Recorder::new(settings, sender.clone())).collect();
        let collector = Self {
            interval: settings.interval,
            news,
            recorder_count,
            unfinished: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            so_far: Counters::default(),
            phase: Phase::WarmUp,
        };
        (collector, recorders)
    }

    /// Waits at most `timeout` for one piece of news. When a recorder is gone, what it has not handed
    /// over is missing, and what the others have comes when they are gone as well.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Update {
        match self.news.recv_timeout(timeout) {
            Ok(News::Interval(part)) => self.take_interval(&part),
            Ok(News::Measured(number, tally)) => self.take_measured(number, &tally),
            Err(RecvTimeoutError::Timeout) => Update::Nothing,
            Err(RecvTimeoutError::Disconnected) => self.take_rest(),
        }
    }

    fn take_interval(&mut self, part: &Interval) -> Update {
        let key = (part.measurement, part.phase, part.index);
        let merged = self.unfinished.entry(key).or_insert_with(Merged::new);
        merged.add(part, self.interval);
        if merged.part_count < self.recorder_count {
            return Update::Nothing;
        }
        let point = self.unfinished.remove(&key).expect("it is there").into_point();
        if part.phase != self.phase || part.index == 0 {
            self.phase = part.phase;
            self.so_far = Counters::default();
        }
        self.so_far += point.counters;
        if part.phase == Phase::Measuring {
            self.outcomes.entry(part.measurement).or_default().series.push(point.clone());
        }
        Update::Interval(Box::new(Progress { phase: part.phase, point, so_far: self.so_far }))
    }

    fn take_measured(&mut self, number: u32, tally: &Tally) -> Update {
        let outcome = self.outcomes.entry(number).or_default();
        outcome.tally.merge(tally);
        outcome.part_count += 1;
        if outcome.part_count < self.recorder_count {
            return Update::Nothing;
        }
        let outcome = self.outcomes.remove(&number).expect("it is there");
        Update::Measured(Box::new(outcome))
    }

    /// Nobody is left to report: what is incomplete stays so.
    fn take_rest(&mut self) -> Update {
        for ((number, phase, _), merged) in std::mem::take(&mut self.unfinished) {
            if phase == Phase::Measuring {
                self.outcomes.entry(number).or_default().series.push(merged.into_point());
            }
        }
        let Some((_, mut outcome)) = self.outcomes.pop_first() else { return Update::Finished };
        outcome.missing_count = self.recorder_count - outcome.part_count;
        Update::Measured(Box::new(outcome))
    }
}

/// An interval, as far as it was reported.
#[derive(Debug)]
struct Merged {
    part_count: usize,
    point: Point,
    latencies: Latencies,
}

impl Merged {
    fn new() -> Self {
        Self { part_count: 0, point: Point::default(), latencies: Latencies::coarse() }
    }

    fn add(&mut self, part: &Interval, interval: Duration) {
        let point = &mut self.point;
        self.part_count += 1;
        point.length = point.length.max(part.length);
        point.at = interval * part.index + point.length;
        point.counters += part.counters;
        point.open += part.open;
        point.backlog += part.backlog;
        point.cpu = point.cpu.max(part.cpu.as_secs_f64() / part.length.as_secs_f64());
        self.latencies.merge(&part.latencies);
    }

    fn into_point(self) -> Point {
        let Self { point, latencies, .. } = self;
        let (p50, p99) = (latencies.quantile(0.5), latencies.quantile(0.99));
        Point { p50, p99, max: latencies.max(), ..point }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::record::{Counter, Forget, Timing};

    const INTERVAL: Duration = Duration::from_secs(1);
    const TICK: Duration = Duration::from_millis(100);

    fn start(recorder_count: usize) -> (Instant, Collector, Vec<Recorder>) {
        let start = Instant::now();
        let settings = Settings { start, interval: INTERVAL, main: Timing::RoundTrip };
        let (collector, recorders) = Collector::new(settings, recorder_count);
        (start, collector, recorders)
    }

    /// All that the collector has to say now.
    fn news(collector: &mut Collector) -> (Vec<Progress>, Vec<Outcome>) {
        let (mut progress, mut outcomes) = (Vec::new(), Vec::new());
        loop {
            match collector.wait(Duration::ZERO) {
                Update::Interval(one) => progress.push(*one),
                Update::Measured(one) => outcomes.push(*one),
                Update::Finished => return (progress, outcomes),
                Update::Nothing if collector.unfinished.is_empty() => return (progress, outcomes),
                Update::Nothing => {}
            }
        }
    }

    #[test]
    fn intervals_are_put_together_when_all_have_reported() {
        let (start, mut collector, mut recorders) = start(2);
        recorders[0].begin(start, Forget::All);
        recorders[1].begin(start, Forget::All);
        recorders[0].opened();
        recorders[0].sent(10);
        recorders[0].latency(Timing::RoundTrip, start, start + 2 * TICK);
        recorders[0].used_cpu(5 * TICK);
        recorders[0].tick(start + INTERVAL);
        assert!(matches!(collector.wait(Duration::ZERO), Update::Nothing), "one is missing");
        recorders[1].sent(10);
        recorders[1].tick(start + 2 * INTERVAL);
        let Update::Interval(progress) = collector.wait(Duration::ZERO) else {
            panic!("all are here")
        };
        let point = &progress.point;
        assert_eq!((point.at, point.length, point.open), (INTERVAL, INTERVAL, 1));
        assert_eq!(point.counters[Counter::SentBytes], 20);
        assert_eq!(point.cpu, 0.5);
        assert!(point.p99.unwrap().abs_diff(2 * TICK) < TICK / 50, "{point:?}");
    }

    #[test]
    fn what_belongs_to_the_warm_up_is_excluded() {
        let (start, mut collector, mut recorders) = start(1);
        let mut recorder = recorders.pop().unwrap();
        recorder.opened();
        recorder.sent(1);
        recorder.latency(Timing::RoundTrip, start, start + TICK);
        let begin = start + INTERVAL + TICK;
        recorder.begin(begin, Forget::All);
        // Begun in the warm-up, ended in the measurement.
        recorder.latency(Timing::RoundTrip, start + INTERVAL, begin + TICK);
        recorder.latency(Timing::RoundTrip, begin, begin + TICK);
        recorder.sent(1);
        recorder.tick(begin + INTERVAL);
        let end = begin + INTERVAL + 6 * TICK;
        recorder.sent(1);
        recorder.end(end);
        // Still counts, but in no interval.
        recorder.latency(Timing::RoundTrip, end - TICK, end + 20 * INTERVAL);
        recorder.tick(end + 20 * INTERVAL);
        recorder.hand_over();
        drop(recorder);
        let (progress, outcomes) = news(&mut collector);
        let sent = |seen: &Progress| (seen.phase, seen.so_far[Counter::Sent]);
        let phases: Vec<_> = progress.iter().map(sent).collect();
        assert_eq!(phases, [(Phase::WarmUp, 1), (Phase::Measuring, 1), (Phase::Measuring, 2)]);
        let [outcome] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        assert_eq!((outcome.part_count, outcome.missing_count), (1, 0));
        assert_eq!(outcome.tally.counters[Counter::Sent], 2);
        assert_eq!(outcome.tally.latencies(Timing::RoundTrip).unwrap().count(), 2);
        let at: Vec<_> = outcome.series.iter().map(|point| (point.at, point.open)).collect();
        assert_eq!(at, [(INTERVAL, 1), (end - begin, 1)]);
    }

    #[test]
    fn measurements_follow_each_other() {
        let (start, mut collector, mut recorders) = start(2);
        for recorder in &mut recorders {
            // The second begins before the other recorder has ended the first. A rest of less than
            // half an interval is no point.
            for number in 0..2 {
                let begin = start + INTERVAL * number * 2;
                recorder.begin(begin, Forget::Messages);
                (0..=number).for_each(|_| recorder.sent(1));
                recorder.end(begin + INTERVAL + 4 * TICK);
                recorder.hand_over();
            }
        }
        drop(recorders);
        let (_, outcomes) = news(&mut collector);
        let sent: Vec<_> = outcomes
            .iter()
            .map(|one| (one.series.len(), one.tally.counters[Counter::Sent]))
            .collect();
        assert_eq!(sent, [(1, 2), (1, 4)]);
    }

    #[test]
    fn a_recorder_that_is_gone_is_missed() {
        let (start, mut collector, mut recorders) = start(2);
        for recorder in &mut recorders {
            recorder.begin(start, Forget::All);
        }
        drop(recorders.pop());
        let mut left = recorders.pop().unwrap();
        left.sent(1);
        left.end(start + INTERVAL);
        left.hand_over();
        drop(left);
        let (_, outcomes) = news(&mut collector);
        assert_eq!((outcomes[0].part_count, outcomes[0].missing_count), (1, 1));
        assert_eq!(outcomes[0].series.len(), 1);
        assert_eq!(outcomes[0].tally.counters[Counter::Sent], 1);
    }
}
