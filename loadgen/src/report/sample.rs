//! A run that tests make reports from.

use std::time::Duration;

use crate::record::{
    Counter, Facts, Latencies, Memory, Pacing, Point, Run, SCHEMA, Side, Tally, Timing, Verdict,
};

/// An open-loop echo of ten seconds in which nearly everything was well.
pub(crate) fn echo() -> Run {
    let mut tally = Tally::default();
    for number in 1..=1000 {
        tally.record(Timing::Connect, Duration::from_micros(100 + number / 10));
        tally.record(Timing::Upgrade, Duration::from_micros(200 + number / 10));
    }
    for number in 1..=100_000 {
        tally.record(Timing::RoundTrip, round_trip(number));
        tally.record(Timing::RoundTripService, round_trip(number) * 9 / 10);
    }
    let counters = &mut tally.counters;
    counters[Counter::Attempted] = 1001;
    counters[Counter::Connected] = 1000;
    counters[Counter::Failed] = 1;
    counters[Counter::Sent] = 100_002;
    counters[Counter::SentBytes] = 100_002 * 64;
    counters[Counter::Received] = 100_000;
    counters[Counter::ReceivedBytes] = 100_000 * 64;
    counters[Counter::Lost] = 2;
    tally.error("connect: connection refused");
    (0..998).for_each(|_| tally.closed(1000, Side::Client));
    (0..2).for_each(|_| tally.closed(1006, Side::Lost));
    Run {
        schema: SCHEMA,
        program: "throng-loadgen 0.1.0".into(),
        started: "2026-11-21T23:50:00Z".into(),
        command_line: ["throng-loadgen", "echo", "--rate", "10k"].map(String::from).into(),
        environment: Facts::from_iter([
            ("kernel", "6.18"),
            ("cpu", "2 cores"),
            ("driver", "epoll"),
        ]),
        workload: "echo".into(),
        parameters: Facts::from_iter([
            ("connections", "1000"),
            ("rate", "10 k/s"),
            ("payload", "64 B"),
        ]),
        pacing: Pacing::Open { rate: 10_000.0 },
        warm_up: Duration::from_secs(2),
        duration: Duration::from_secs(10),
        notes: vec!["debug build".into()],
        verdict: Verdict::because(Vec::new()),
        main: Timing::RoundTrip,
        tally,
        open: 1000,
        memory: vec![Memory {
            whose: "server".into(),
            connection_count: 1000,
            user_len: 64_000,
            kernel_len: Some(4_100_000),
        }],
        steps: Vec::new(),
        series: (1..=10).map(point).collect(),
    }
}

/// From 50 µs on, with a tail of a few milliseconds.
fn round_trip(number: u64) -> Duration {
    Duration::from_nanos(50_000 + number % 1000 * 100 + 40_000_000 / number)
}

fn point(second: u64) -> Point {
    let mut point = Point {
        at: Duration::from_secs(second),
        length: Duration::from_secs(1),
        open: 1000,
        cpu: 0.25,
        ..Point::default()
    };
    point.counters[Counter::Sent] = 10_000 + second % 3;
    point.counters[Counter::Received] = 10_000 + second % 2;
    point.counters[Counter::SentBytes] = point.counters[Counter::Sent] * 64;
    point.counters[Counter::ReceivedBytes] = point.counters[Counter::Received] * 64;
    let mut latencies = Latencies::coarse();
    for number in 1..=1000 {
        latencies.record(round_trip(number * 10) + Duration::from_micros(second));
    }
    point.p50 = latencies.quantile(0.5);
    point.p99 = latencies.quantile(0.99);
    point.max = latencies.max();
    point
}
