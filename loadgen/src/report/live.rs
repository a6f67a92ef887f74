//! The line that shows how a run is going.

use std::{borrow::Cow, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::units::{count, number, span, time};
use crate::record::{Counter, Phase, Progress};

/// On a terminal one line that changes, with a bar when it is known how long the run is; otherwise a
/// line an interval. Both go to stderr, so that stdout has nothing but results.
#[derive(Debug)]
pub(crate) struct Live {
    /// `None`: plain lines.
    bar: Option<ProgressBar>,
}

impl Live {
    /// Shows progress until it is dropped, the bar growing for as long as the measurement is.
    pub(crate) fn new(is_terminal: bool, measurement: Option<Duration>) -> Self {
        Self { bar: is_terminal.then(|| bar(measurement)) }
    }

    /// Shows an interval.
    pub(crate) fn show(&self, progress: &Progress) {
        match &self.bar {
            Some(bar) => {
                if progress.phase == Phase::Measuring {
                    bar.set_position(progress.point.at.as_millis() as u64);
                }
                bar.set_message(line(progress));
                bar.tick();
            }
            None => eprintln!("{}", line(progress)),
        }
    }

    /// Says something that stays: what begins now, a warning.
    pub(crate) fn say<'a>(&self, sentence: impl Into<Cow<'a, str>>) {
        let sentence = sentence.into();
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{sentence}")),
            None => eprintln!("{sentence}"),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(measurement: Option<Duration>) -> ProgressBar {
    let (length, template) = match measurement {
        Some(length) => (Some(length.as_millis() as u64), "{bar:8.cyan/dim} {wide_msg}"),
        None => (None, "{spinner} {wide_msg}"),
    };
    let style = ProgressStyle::with_template(template).expect("the template is well-formed");
    ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr()).with_style(style)
}

/// An interval in one line; what is zero and should be is left out.
fn line(progress: &Progress) -> String {
    let point = &progress.point;
    let mut parts = vec![
        format!("{} {}", phase(progress.phase), span(point.at)),
        format!("{} open", count(point.open)),
    ];
    // First what is wrong: a narrow terminal cuts off the end.
    for counter in [Counter::Failed, Counter::Errors].into_iter().chain(Counter::FAULTS) {
        let so_far = progress.so_far[counter];
        if so_far > 0 {
            parts.push(format!("{} {}", counter.name(), count(so_far)));
        }
    }
    let rates = [
        ("connects", Counter::Connected),
        ("sent", Counter::Sent),
        ("received", Counter::Received),
    ];
    for (name, counter) in rates {
        if point.counters[counter] > 0 {
            parts.push(format!("{name} {}/s", number(point.rate(counter))));
        }
    }
    if point.p50.is_some() {
        let (p50, p99, max) = (time(point.p50), time(point.p99), time(point.max));
        parts.push(format!("p50 {p50} p99 {p99} max {max}"));
    }
    if point.backlog > 0 {
        parts.push(format!("backlog {}", count(point.backlog)));
    }
    parts.push(format!("cpu {:.0} %", point.cpu * 100.0));
    parts.join("  ")
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::WarmUp => "warm-up",
        Phase::Measuring => "measuring",
        Phase::Draining => "draining",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_line_leaves_out_what_is_not() {
        let point = sample::echo().series.swap_remove(2);
        let mut progress = Progress { phase: Phase::Measuring, point, so_far: Default::default() };
        assert_eq!(
            line(&progress),
            "measuring 3 s  1,000 open  sent 10.0 k/s  received 10.0 k/s  p50 118 µs p99 428 µs max 4.06 ms  cpu 25 %"
        );
        progress.phase = Phase::WarmUp;
        progress.point = Default::default();
        progress.so_far[Counter::Lost] = 3;
        assert_eq!(line(&progress), "warm-up 0 s  0 open  lost 3  cpu 0 %");
        let live = Live::new(false, None);
        live.show(&progress);
        live.say("connecting");
    }

    #[test]
    fn bars_have_templates() {
        bar(None);
        bar(Some(Duration::from_secs(1)));
    }
}
