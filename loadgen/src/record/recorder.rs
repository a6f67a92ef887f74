//! What one reactor thread records.

use std::{
    sync::mpsc::Sender,
    time::{Duration, Instant},
};

use super::{
    Counter, Counters, Latencies, Seen, Side, Tally, Timing,
    collector::{Interval, News},
};

/// What all recorders of a run agree on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// When the run begins, warm-up included.
    pub(crate) start: Instant,
    /// How long an interval of the live line and the plots is. At least
    /// 10 ms.
    pub(crate) interval: Duration,
    /// The latency that is plotted over time, and that `p99` without more means.
    pub(crate) main: Timing,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Nothing counts yet.
    WarmUp,
    /// Everything counts.
    Measuring,
    /// Nothing is sent any more; what still arrives counts, but not in the series.
    Draining,
}

/// What the beginning of a measurement forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forget {
    /// Everything: where connecting is the workload, the warm-up has openings of its own.
    All,
    /// Everything but how connections were opened, how they ended, and errors: where connections
    /// are opened once, before the messages that are measured.
    Messages,
}

/// One reactor's counters and histograms. It belongs to its thread, and nothing in it is shared.
///
/// A run is a warm-up from [`Settings::start`] on, a measurement from [`begin`](Self::begin) to
/// [`end`](Self::end), a while for the last answers, and then [`hand_over`](Self::hand_over). Any
/// number of measurements can follow each other.
#[derive(Debug)]
pub(crate) struct Recorder {
    settings: Settings,
    news: Sender<News>,
    phase: Phase,
    /// How many measurements have begun.
    measurement: u32,
    /// What counts so far.
    tally: Tally,
    /// What was begun earlier has no latency.
    counted_from: Instant,
    /// When the phase began: intervals are counted from here.
    phase_start: Instant,
    /// The interval that is under way, from zero.
    interval_index: u32,
    /// The counters when it began.
    interval_counters: Counters,
    /// The main latencies in it.
    interval_latencies: Latencies,
    open: u64,
    backlog: u64,
    /// CPU time of this thread in this interval.
    cpu: Duration,
}

impl Recorder {
    pub(super) fn new(settings: Settings, news: Sender<News>) -> Self {
        Self {
            settings,
            news,
            phase: Phase::WarmUp,
            measurement: 0,
            tally: Tally::default(),
            counted_from: settings.start,
            phase_start: settings.start,
            interval_index: 0,
            interval_counters: Counters::default(),
            interval_latencies: Latencies::coarse(),
            open: 0,
            backlog: 0,
            cpu: Duration::ZERO,
        }
    }

    /// Adds to a counter.
    #[inline]
    pub(crate) fn count(&mut self, counter: Counter, more: u64) {
        self.tally.counters[counter] += more;
    }

    /// A message with so many bytes of payload was sent.
    #[inline]
    pub(crate) fn sent(&mut self, payload_len: usize) {
        self.count(Counter::Sent, 1);
        self.count(Counter::SentBytes, payload_len as u64);
    }

    /// A message with so many bytes of payload arrived.
    #[inline]
    pub(crate) fn received(&mut self, payload_len: usize) {
        self.count(Counter::Received, 1);
        self.count(Counter::ReceivedBytes, payload_len as u64);
    }

    /// A latency from `from` to `now`. Excluded when `from` lies before the measurement: what was
    /// begun in the warm-up belongs to it, even if it ends later.
    #[inline]
    pub(crate) fn latency(&mut self, timing: Timing, from: Instant, now: Instant) {
        if from >= self.counted_from {
            self.duration(timing, now.saturating_duration_since(from));
        }
    }

    /// A latency that was computed elsewhere, such as one between two clocks.
    #[inline]
    pub(crate) fn duration(&mut self, timing: Timing, latency: Duration) {
        self.tally.record(timing, latency);
        if timing == self.settings.main {
            self.interval_latencies.record(latency);
        }
    }

    /// What the arrival of a numbered message says about its stream.
    #[inline]
    pub(crate) fn seen(&mut self, seen: Seen) {
        let counters = &mut self.tally.counters;
        match seen {
            Seen::InOrder => {}
            // A wrong number can jump over nearly all that there are.
            Seen::Gap(jumped) => {
                counters[Counter::Lost] = counters[Counter::Lost].saturating_add(jumped);
            }
            Seen::Duplicate => counters[Counter::Duplicated] += 1,
            Seen::Reordered => {
                counters[Counter::Reordered] += 1;
                // The gap may have been counted in the warm-up.
                counters[Counter::Lost] = counters[Counter::Lost].saturating_sub(1);
            }
        }
    }

    /// A connection is open now.
    pub(crate) fn opened(&mut self) {
        self.open += 1;
        self.count(Counter::Connected, 1);
    }

    /// A connection that was open has ended, with this close code (1005: none was given, 1006: it
    /// was lost).
    pub(crate) fn closed(&mut self, code: u16, by: Side) {
        self.open = self.open.saturating_sub(1);
        self.tally.closed(code, by);
    }

    /// A connection ended before it was open. The kind is a short fixed text: it is a row of the
    /// table of errors.
    pub(crate) fn failed(&mut self, kind: &str) {
        self.count(Counter::Failed, 1);
        self.error(kind);
    }

    /// Something else went wrong.
    pub(crate) fn error(&mut self, kind: &str) {
        self.tally.error(kind);
    }

    /// How many messages are due and not yet sent.
    #[inline]
    pub(crate) fn set_backlog(&mut self, message_count: u64) {
        self.backlog = message_count;
    }

    /// CPU time that this thread has used since the last call. Call it with the last
    /// [`tick`](Self::tick) of an interval, or before each.
    pub(crate) fn used_cpu(&mut self, more: Duration) {
        self.cpu += more;
    }

    /// Passes on the intervals that have ended. Once a turn: it costs a comparison until then.
    #[inline]
    pub(crate) fn tick(&mut self, now: Instant) {
        while now >= self.interval_end() && self.phase != Phase::Draining {
            self.pass_on(self.settings.interval);
        }
    }

    /// A measurement begins: what was recorded so far is forgotten, except for how many connections
    /// are open. All recorders are told the same instant.
    pub(crate) fn begin(&mut self, at: Instant, forget: Forget) {
        self.tick(at);
        match forget {
            Forget::All => self.tally = Tally::default(),
            Forget::Messages => self.tally.forget_messages(),
        }
        self.counted_from = at;
        self.measurement += 1;
        self.enter(Phase::Measuring, at);
    }

    /// The measurement ends. What still arrives is counted, but in no interval any more; nor is a
    /// rest that is shorter than half an interval.
    pub(crate) fn end(&mut self, at: Instant) {
        self.tick(at);
        let rest = at.saturating_duration_since(self.interval_start());
        // A short rest would be a point with a rate of its own that says little.
        let is_first = self.interval_index == 0 && !rest.is_zero();
        if is_first || rest >= self.settings.interval / 2 {
            self.pass_on(rest);
        }
        self.enter(Phase::Draining, at);
    }

    /// Hands the collector what was measured since [`begin`](Self::begin), late answers included.
    pub(crate) fn hand_over(&mut self) {
        let tally = Box::new(std::mem::take(&mut self.tally));
        self.interval_counters = Counters::default();
        // Without a collector nobody wants to know.
        let _ = self.news.send(News::Measured(self.measurement, tally));
    }

    /// How many connections are open.
    pub(crate) fn open_count(&self) -> u64 {
        self.open
    }

    fn enter(&mut self, phase: Phase, at: Instant) {
        self.phase = phase;
        self.phase_start = at;
        self.interval_index = 0;
        self.interval_counters = self.tally.counters;
        self.interval_latencies.clear();
        self.cpu = Duration::ZERO;
    }

    fn interval_start(&self) -> Instant {
        self.phase_start + self.settings.interval * self.interval_index
    }

    fn interval_end(&self) -> Instant {
        self.phase_start + self.settings.interval * (self.interval_index + 1)
    }

    fn pass_on(&mut self, length: Duration) {
        let counters = self.tally.counters;
        let interval = Interval {
            measurement: self.measurement,
            phase: self.phase,
            index: self.interval_index,
            length,
            counters: counters.since(&self.interval_counters),
            latencies: self.interval_latencies.clone(),
            open: self.open,
            backlog: self.backlog,
            cpu: self.cpu,
        };
        let _ = self.news.send(News::Interval(Box::new(interval)));
        self.interval_index += 1;
        self.interval_counters = counters;
        self.interval_latencies.clear();
        self.cpu = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn streams_are_counted_by_what_was_seen() {
        let (news, _) = channel();
        let (start, interval) = (Instant::now(), Duration::from_secs(1));
        let settings = Settings { start, interval, main: Timing::OneWay };
        let mut recorder = Recorder::new(settings, news);
        for seen in [Seen::InOrder, Seen::Gap(2), Seen::Reordered, Seen::Duplicate] {
            recorder.seen(seen);
        }
        let lost = |recorder: &Recorder| recorder.tally.counters[Counter::Lost];
        assert_eq!(lost(&recorder), 1);
        assert_eq!(recorder.tally.counters[Counter::Reordered], 1);
        assert_eq!(recorder.tally.counters[Counter::Duplicated], 1);
        recorder.begin(start, Forget::Messages);
        recorder.seen(Seen::Reordered);
        assert_eq!(lost(&recorder), 0, "what it fills was lost in the warm-up");
        recorder.seen(Seen::Gap(u64::MAX));
        recorder.seen(Seen::Gap(u64::MAX));
        assert_eq!(lost(&recorder), u64::MAX);
    }

    #[test]
    fn connections_are_counted_by_how_they_ended() {
        let (news, _) = channel();
        let (start, interval) = (Instant::now(), Duration::from_secs(1));
        let mut recorder = Recorder::new(Settings { start, interval, main: Timing::Connect }, news);
        recorder.opened();
        recorder.opened();
        recorder.closed(1001, Side::Server);
        recorder.failed("connect: refused");
        assert_eq!(recorder.open_count(), 1);
        let counters = &recorder.tally.counters;
        let counted = [Counter::Connected, Counter::Closed, Counter::Failed, Counter::Errors];
        assert_eq!(counted.map(|counter| counters[counter]), [2, 1, 1, 1]);
        recorder.begin(start, Forget::All);
        assert_eq!((recorder.open_count(), recorder.tally), (1, Tally::default()));
    }
}
