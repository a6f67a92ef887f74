//! Puts together what the recorders saw.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use super::{Counters, Latencies, Phase, Point, Recorder, Settings, Tally};

/// What a recorder sends: one a recorder and interval, so the channel needs no bound.
#[derive(Debug)]
pub(super) enum News {
    /// An interval that has ended.
    Interval(Box<Interval>),
    /// A recorder's last word.
    Finished(Box<Tally>),
}

/// What one recorder saw in one interval.
#[derive(Debug)]
pub(super) struct Interval {
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
    /// Intervals that some recorders have yet to report, by phase and index.
    unfinished: BTreeMap<(Phase, u32), Merged>,
    outcome: Outcome,
    /// Counted in the phase that is under way.
    so_far: Counters,
    phase: Phase,
}

/// What [`Collector::wait`] has found.
#[derive(Clone, Debug)]
pub(crate) enum Update {
    /// All recorders have reported an interval.
    Interval(Box<Progress>),
    /// Nothing to show yet.
    Nothing,
    /// All recorders have [finished](Recorder::finish), or are gone.
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
    /// Counters, tables and latencies.
    pub(crate) tally: Tally,
    /// The measurement interval by interval, without the warm-up.
    pub(crate) series: Vec<Point>,
}

impl Collector {
    /// A collector and the recorders that report to it, one a reactor.
    pub(crate) fn new(settings: Settings, recorder_count: usize) -> (Self, Vec<Recorder>) {
        let (sender, news) = channel();
        let recorders =
            (0..recorder_count).map(|_| Recorder::new(settings, sender.clone())).collect();
        let collector = Self {
            interval: settings.interval,
            news,
            recorder_count,
            unfinished: BTreeMap::new(),
            outcome: Outcome::default(),
            so_far: Counters::default(),
            phase: Phase::WarmUp,
        };
        (collector, recorders)
    }

    /// Waits at most `timeout` for one piece of news.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Update {
        match self.news.recv_timeout(timeout) {
            Ok(news) => self
                .take(news)
                .map_or(Update::Nothing, |progress| Update::Interval(Box::new(progress))),
            Err(RecvTimeoutError::Timeout) => Update::Nothing,
            Err(RecvTimeoutError::Disconnected) => Update::Finished,
        }
    }

    /// Waits until all recorders have [finished](Recorder::finish) or are gone, and adds up.
    pub(crate) fn finish(mut self) -> Outcome {
        while let Ok(news) = self.news.recv() {
            self.take(news);
        }
        // A recorder that is gone leaves intervals without its part.
        for (_, merged) in std::mem::take(&mut self.unfinished) {
            self.complete(merged);
        }
        self.outcome
    }

    fn take(&mut self, news: News) -> Option<Progress> {
        match news {
            News::Finished(tally) => {
                self.outcome.tally.merge(&tally);
                None
            }
            News::Interval(interval) => {
                let key = (interval.phase, interval.index);
                let merged =
                    self.unfinished.entry(key).or_insert_with(|| Merged::of(interval.phase));
                merged.add(&interval, self.interval);
                let merged = match merged.part_count == self.recorder_count {
                    true => self.unfinished.remove(&key)?,
                    false => return None,
                };
                Some(self.complete(merged))
            }
        }
    }

    /// All recorders have reported an interval.
    fn complete(&mut self, merged: Merged) -> Progress {
        let Merged { phase, mut point, latencies, .. } = merged;
        if phase != self.phase {
            self.phase = phase;
            self.so_far = Counters::default();
        }
        point.p50 = latencies.quantile(0.5);
        point.p99 = latencies.quantile(0.99);
        point.max = latencies.max();
        self.so_far += point.counters;
        if phase == Phase::Measuring {
            self.outcome.series.push(point.clone());
        }
        Progress { phase, point, so_far: self.so_far }
    }
}

/// An interval, as far as it was reported.
#[derive(Debug)]
struct Merged {
    phase: Phase,
    part_count: usize,
    point: Point,
    latencies: Latencies,
}

impl Merged {
    fn of(phase: Phase) -> Self {
        Self { phase, part_count: 0, point: Point::default(), latencies: Latencies::coarse() }
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
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::record::{Counter, Timing};

    const INTERVAL: Duration = Duration::from_secs(1);
    const TICK: Duration = Duration::from_millis(100);

    fn start(recorder_count: usize) -> (Instant, Collector, Vec<Recorder>) {
        let start = Instant::now();
        let settings = Settings { start, interval: INTERVAL, main: Timing::RoundTrip };
        let (collector, recorders) = Collector::new(settings, recorder_count);
        (start, collector, recorders)
    }

    fn progress(collector: &mut Collector) -> Vec<Progress> {
        let mut all = Vec::new();
        while let Ok(news) = collector.news.try_recv() {
            all.extend(collector.take(news));
        }
        all
    }

    #[test]
    fn intervals_are_put_together_when_all_have_reported() {
        let (start, mut collector, mut recorders) = start(2);
        recorders[0].begin(start);
        recorders[1].begin(start);
        recorders[0].opened();
        recorders[0].sent(10);
        recorders[0].latency(Timing::RoundTrip, start, start + 2 * TICK);
        recorders[0].used_cpu(5 * TICK);
        recorders[0].tick(start + INTERVAL);
        assert!(progress(&mut collector).is_empty(), "one has not reported");
        recorders[1].sent(10);
        recorders[1].tick(start + 2 * INTERVAL);
        let seen = progress(&mut collector);
        assert_eq!(seen.len(), 1);
        let point = &seen[0].point;
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
        recorder.begin(begin);
        // Begun in the warm-up, ended in the measurement.
        recorder.latency(Timing::RoundTrip, start + INTERVAL, begin + TICK);
        recorder.latency(Timing::RoundTrip, begin, begin + TICK);
        recorder.sent(1);
        recorder.tick(begin + INTERVAL);
        let end = begin + INTERVAL + 3 * TICK;
        recorder.sent(1);
        recorder.end(end);
        // Still counts, but in no interval.
        recorder.latency(Timing::RoundTrip, end - TICK, end + 20 * INTERVAL);
        recorder.tick(end + 20 * INTERVAL);
        recorder.finish();
        let phases: Vec<_> = progress(&mut collector)
            .iter()
            .map(|seen| (seen.phase, seen.so_far[Counter::Sent]))
            .collect();
        let measuring = Phase::Measuring;
        assert_eq!(phases, [(Phase::WarmUp, 1), (measuring, 1), (measuring, 2)]);
        let outcome = collector.finish();
        assert_eq!(outcome.tally.counters[Counter::Sent], 2);
        assert_eq!(outcome.tally.latencies(Timing::RoundTrip).unwrap().count(), 2);
        let at: Vec<_> = outcome.series.iter().map(|point| (point.at, point.open)).collect();
        assert_eq!(at, [(INTERVAL, 1), (end - begin, 1)]);
    }

    #[test]
    fn a_recorder_that_is_gone_holds_nothing_up() {
        let (start, mut collector, mut recorders) = start(2);
        for recorder in &mut recorders {
            recorder.begin(start);
        }
        drop(recorders.pop());
        let mut left = recorders.pop().unwrap();
        left.sent(1);
        left.end(start + INTERVAL);
        left.finish();
        assert!(matches!(collector.wait(Duration::ZERO), Update::Nothing));
        let outcome = collector.finish();
        assert_eq!((outcome.series.len(), outcome.tally.counters[Counter::Sent]), (1, 1));
    }
}
