//! The table at the end of a run.

use super::sections::{INVALID, Section, headline, sections};
use crate::record::Run;

/// The run as text for a terminal, about 100 columns wide. What makes it invalid comes last, where
/// nobody overlooks it.
pub(crate) fn text(run: &Run) -> String {
    let mut text = format!("{}\n", headline(run));
    for Section { title, grid, sentences: list } in sections(run) {
        if !title.is_empty() {
            text += &format!("\n{title}\n");
        }
        text += &grid.text();
        text += &sentences(&list);
    }
    if !run.verdict.is_valid() {
        text += &format!("\n{INVALID}\n{}", sentences(run.verdict.reasons()));
    }
    text
}

fn sentences(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| format!("  {sentence}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        record::{Pacing, Step, Tally, Verdict},
        report::sample,
    };

    #[test]
    fn a_run_as_a_table() {
        assert_eq!(text(&sample::echo()), ECHO);
    }

    #[test]
    fn what_is_not_there_has_no_heading() {
        let mut run = sample::echo();
        run.tally = Tally::default();
        run.memory.clear();
        run.notes.clear();
        run.pacing = Pacing::Idle;
        run.duration = Duration::ZERO;
        let text = text(&run);
        assert!(text.starts_with("echo: nothing sent, 0 s after 2 s of warm-up\n"), "{text}");
        for heading in ["latency", "closes", "errors", "memory", "steps", "notes", "INVALID"] {
            assert!(!text.contains(&format!("\n{heading}")), "{text}");
        }
    }

    #[test]
    fn an_invalid_run_and_its_steps() {
        let mut run = sample::echo();
        run.verdict = Verdict::because(vec!["the loops lagged".into()]);
        run.pacing = Pacing::Closed { in_flight: 1 };
        run.warm_up = Duration::ZERO;
        let step = Step {
            load: 1000.0,
            rate: 999.5,
            p50: Some(Duration::from_micros(80)),
            p99: Some(Duration::from_millis(1)),
            lost: 0,
            is_held: true,
            reason: String::new(),
        };
        let late = Step { load: 2000.0, is_held: false, reason: "p99<1ms".into(), ..step.clone() };
        run.steps = vec![step, late];
        let text = text(&run);
        assert!(
            text.starts_with("echo: closed loop with 1 in flight a connection (a slow"),
            "{text}"
        );
        assert!(text.contains(STEPS), "{text}");
        assert!(text.ends_with(&format!("\n{INVALID}\n  the loops lagged\n")), "{text}");
    }

    const STEPS: &str = "
steps
  load             received      p50      p99  lost
  1.00 k  held     1.00 k/s  80.0 µs  1.00 ms     0
  2.00 k  p99<1ms  1.00 k/s  80.0 µs  1.00 ms     0
";

    const ECHO: &str = "\
echo: open loop at 10.0 k/s, latency from the intended time, 10 s after 2 s of warm-up
  connections  1000
  rate         10 k/s
  payload      64 B

latency
                           p50     p90     p95     p99   p99.9   p99.99      max    count
  connect               150 µs  190 µs  195 µs  199 µs  199 µs   200 µs   200 µs    1,000
  upgrade               250 µs  290 µs  295 µs  299 µs  299 µs   300 µs   300 µs    1,000
  round trip            102 µs  143 µs  148 µs  170 µs  456 µs  3.69 ms  40.1 ms  100,000
  round trip, service  92.2 µs  128 µs  133 µs  153 µs  411 µs  3.32 ms  36.1 ms  100,000

messages
  sent      100,002  10.0 k/s  625 KiB/s
  received  100,000  10.0 k/s  625 KiB/s
  lost 2, duplicated 0, reordered 0, corrupted 0, late 0, unsent 0

connections
  attempted 1,001, connected 1,000, failed 1, closed 1,000, open at the end 1,000

closes
  code  by      count
  1000  client    998
  1006  lost        2

errors
  connect: connection refused  1

memory of a connection
          process    kernel  connections
  server     64 B  4.00 KiB        1,000

notes
  debug build

environment
  program  throng-loadgen 0.1.0
  started  2026-11-21T23:50:00Z
  command  throng-loadgen echo --rate 10k
  kernel   6.18
  cpu      2 cores
  driver   epoll
";
}
