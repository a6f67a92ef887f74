//! A run as a page: one file that needs nothing else, for `--html`.
//!
//! The tables are those of the terminal. The plots are drawn in the browser, as wide as it is.

mod chart;

use minijinja::{Environment, Value, context, value::Serde};
use serde::Serialize;

use self::chart::charts;
use super::{
    sections::{INVALID, headline, sections},
    units::{count, number, time},
};
use crate::record::{Counter, Run};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page. Whatever a run says about itself is escaped.
pub(crate) fn page(run: &Run) -> String {
    let context = context! {
        title => format!("{}: {}", run.program, run.workload),
        headline => headline(run),
        invalid => INVALID,
        reasons => Serde(run.verdict.reasons()),
        tiles => Serde(tiles(run)),
        sections => Serde(sections(run)),
        style => Value::from_safe_string(STYLE.into()),
        script => Value::from_safe_string(SCRIPT.into()),
        charts => Value::from_safe_string(data(run)),
    };
    // The name's ending is what turns escaping on.
    let rendered = Environment::new().render_named_str("page.html", PAGE, context);
    rendered.expect("the template goes with its context")
}

/// What one looks at first.
#[derive(Serialize)]
struct Tile {
    name: String,
    value: String,
    /// Whether it should be zero, and is not.
    is_bad: bool,
}

fn tiles(run: &Run) -> Vec<Tile> {
    let counters = &run.tally.counters;
    let tile = |name: String, value: String, is_bad: bool| Tile { name, value, is_bad };
    let mut tiles = vec![
        tile("open connections".into(), count(run.open), false),
        tile("received".into(), format!("{}/s", number(run.rate(Counter::Received))), false),
    ];
    if let Some(latencies) = run.tally.latencies(run.main) {
        let title = run.main.title();
        for (name, part) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            tiles.push(tile(format!("{title} {name}"), time(latencies.quantile(part)), false));
        }
    }
    for counter in [Counter::Lost, Counter::Errors] {
        let value = counters[counter];
        tiles.push(tile(counter.name().into(), count(value), value > 0));
    }
    tiles
}

/// The plots as JSON that cannot end the element it stands in.
fn data(run: &Run) -> String {
    let json = serde_json::to_string(&charts(run)).expect("all keys are strings");
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{Tally, Verdict},
        report::sample,
    };

    #[test]
    fn a_page_needs_nothing_else() {
        let page = page(&sample::echo());
        for part in ["<!doctype html>", "open loop at 10.0 k", "connection refused", "102 µs"] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        for part in ["src=", "href=", "@import", "url(", "fetch(", INVALID] {
            assert!(!page.contains(part), "{part} is in {page}");
        }
    }

    #[test]
    fn what_a_run_says_is_escaped() {
        let mut run = sample::echo();
        let evil = "</script><script>alert('x')</script>";
        run.workload = evil.into();
        run.command_line = vec![evil.into()];
        run.notes = vec![evil.into()];
        run.environment.set(evil, evil);
        run.tally.error(evil);
        run.verdict = Verdict::because(vec![evil.into()]);
        let page = page(&run);
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>alert"), "{page}");
        assert_eq!(page.matches("</script>").count(), 2, "the plots' data and what draws them");
        assert!(page.contains(INVALID));
    }

    #[test]
    fn a_run_of_nothing_has_a_page() {
        let mut run = sample::echo();
        run.tally = Tally::default();
        run.series.clear();
        assert!(page(&run).contains("[]"));
    }
}
