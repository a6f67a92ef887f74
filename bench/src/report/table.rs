//! `results.md`: who took part, who won, and every figure.

use std::fmt::Write as _;

use super::{Measure, Spread, number, plot};
use crate::{
    client::idle::Silence,
    results::{Outcome, Results, Row, Sample},
    roster::{FLOOR, REFERENCE, Side},
};

/// The whole page.
pub(super) fn page(results: &Results) -> String {
    let mut page = String::from("# Results\n\n");
    page += &conditions(results);
    page += &servers(results);
    page += &summary(results);
    for outcome in &results.scenarios {
        page += &scenario(results, outcome);
    }
    page
}

fn conditions(results: &Results) -> String {
    let (machine, settings) = (&results.machine, &results.settings);
    let mut text = format!(
        "{}, {} cores, {} GiB; Linux {}; TCP congestion control {}. {}.\n\n",
        machine.processor,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.congestion_control,
        machine.compilers.join("; "),
    );
    let _ = writeln!(
        text,
        "Servers: one thread on core {}, built for the processor `{}`. Load: one thread on core {}, \
         over loopback, without TLS or compression. {} rounds of {} s, another server first in each. \
         The first answer on each connection is compared byte for byte.\n",
        settings.server_core, settings.cpu, settings.load_core, settings.rounds, settings.seconds,
    );
    text
}

fn servers(results: &Results) -> String {
    let mut text = String::from("| server | version |\n|---|---|\n");
    for server in &results.servers {
        let problem = server.problem.as_ref();
        let problem =
            problem.map_or(String::new(), |why| format!(" — **not built**: {}", cell(why)));
        let _ = writeln!(text, "| {} | {}{problem} |", server.title, server.version);
    }
    text + "\n"
}

/// What everybody needs, against what the reference needs.
fn summary(results: &Results) -> String {
    let Some(reference) = results.server(REFERENCE) else { return String::new() };
    let mut text = format!(
        "## In short\n\nWhat a unit costs, against {}: below 1 is cheaper. Of the least that each \
         needed in any window. A star marks where a peer is cheaper than both of Throng's drivers.\n\n\
         | |",
        reference.title
    );
    for server in &results.servers {
        let _ = write!(text, " {} |", server.title);
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(results.servers.len()));
    for outcome in &results.scenarios {
        let _ = write!(text, "| ({}) {} |", outcome.id, outcome.title);
        let ratios = ratios(results, outcome);
        let ours = ratios.iter().filter(|(side, _)| *side == Side::Ours);
        let ours = ours.filter_map(|(_, ratio)| *ratio).min_by(f64::total_cmp);
        for (side, ratio) in ratios {
            let is_loss = side == Side::Peer && ratio.zip(ours).is_some_and(|(it, us)| it < us);
            let _ = write!(text, " {}{} |", times(ratio), if is_loss { " ★" } else { "" });
        }
        text.push('\n');
    }
    text + "\n"
}

/// Each server's cost against the reference's.
fn ratios(results: &Results, outcome: &Outcome) -> Vec<(Side, Option<f64>)> {
    let ratio = |id: &String| {
        let row = outcome.rows.iter().find(|row| row.server == *id)?;
        Measure::of(outcome).ratio(row, outcome, REFERENCE)
    };
    results.servers.iter().map(|server| (server.side, ratio(&server.id))).collect()
}

fn scenario(results: &Results, outcome: &Outcome) -> String {
    let measure = Measure::of(outcome);
    let mut text = format!(
        "## ({}) {}\n\n![{}]({})\n\nOf one {}; median (least–most) of the windows; ratios are of the \
         least {}.\n\n",
        outcome.id,
        outcome.title,
        outcome.title,
        plot::file_name(outcome),
        outcome.unit,
        measure.name(),
    );
    let headings = if measure == Measure::Memory { SILENCE } else { WINDOW };
    let _ =
        writeln!(text, "| server | {} | ÷ uWebSockets | ÷ io_uring floor |", headings.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(headings.len() + 3));
    for row in &outcome.rows {
        let title = results.server(&row.server).map_or(&*row.server, |server| &server.title);
        let cells = match measure {
            Measure::Memory => silence_cells(row),
            Measure::Cycles | Measure::CpuTime => window_cells(row),
        };
        let ratio = |server| times(measure.ratio(row, outcome, server));
        let (reference, floor) = (ratio(REFERENCE), ratio(FLOOR));
        let _ = writeln!(text, "| {title} | {} | {reference} | {floor} |", cells.join(" | "));
    }
    text += "\n";
    for row in &outcome.rows {
        if let Some(problem) = &row.problem {
            let _ = writeln!(text, "- {}: {}\n", row.server, cell(problem));
        }
    }
    text
}

const WINDOW: &[&str] = &[
    "per second",
    "CPU µs",
    "user %",
    "cycles",
    "instructions, user / kernel",
    "p50 / p99 / p99.9 µs",
    "busy %, server / load",
];
const SILENCE: &[&str] =
    &["resident bytes", "kernel's bytes at the server's end", "MB before the first", "busy ms/s"];

fn silence_cells(row: &Row) -> Vec<String> {
    let range = |value: fn(&Silence) -> Option<f64>| {
        Spread::of(row.silences.iter().filter_map(value)).map_or_else(unknown, range)
    };
    vec![
        range(|silence| Some(silence.resident)),
        range(|silence| silence.kernel),
        range(|silence| Some(silence.resident_before / 1e6)),
        range(|silence| Some(silence.busy * 1e3)),
    ]
}

fn window_cells(row: &Row) -> Vec<String> {
    let of = |value: fn(&Sample) -> Option<f64>| Spread::of(row.windows.iter().filter_map(value));
    let range = |value| of(value).map_or_else(unknown, range);
    let median = |value| of(value).map_or_else(unknown, |spread| number(spread.median));
    let percent =
        |value| of(value).map_or_else(unknown, |spread| format!("{:.0}", spread.median * 100.0));
    vec![
        range(|sample| Some(sample.per_second)),
        range(|sample| Some(sample.cpu_micros)),
        percent(|sample| sample.user_part),
        range(|sample| sample.cycles),
        format!(
            "{} / {}",
            median(|sample| sample.user_instructions),
            median(|sample| sample.kernel_instructions)
        ),
        format!(
            "{} / {} / {}",
            median(|sample| Some(sample.p50_micros)),
            median(|sample| Some(sample.p99_micros)),
            median(|sample| Some(sample.p999_micros))
        ),
        format!(
            "{} / {}",
            percent(|sample| Some(sample.server_busy)),
            percent(|sample| Some(sample.load_busy))
        ),
    ]
}

fn range(spread: Spread) -> String {
    let Spread { min, median, max } = spread;
    format!("{} ({}–{})", number(median), number(min), number(max))
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".into(), |ratio| format!("{ratio:.2}"))
}

fn unknown() -> String {
    "not available".into()
}

/// A text that fits into a cell.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::tests::outcome,
        results::{Entry, Machine, Settings},
        roster::Cpu,
    };

    fn results(outcome: Outcome) -> Results {
        let entry = |id: &str, side, problem: Option<&str>| Entry {
            id: id.into(),
            title: id.into(),
            version: "1.0".into(),
            side,
            problem: problem.map(ToOwned::to_owned),
        };
        let settings =
            Settings { rounds: 2, seconds: 1.0, server_core: 0, load_core: 1, cpu: Cpu::Native };
        Results {
            machine: Machine::default(),
            settings,
            servers: vec![
                entry("us", Side::Ours, None),
                entry("uws", Side::Peer, None),
                entry("other", Side::Peer, None),
                entry("lost", Side::Peer, Some("no | compiler")),
            ],
            scenarios: vec![outcome],
        }
    }

    #[test]
    fn wins_and_losses() {
        let check = |ours: &[f64], expected: &str| {
            let rows: [(&str, &[f64]); 3] =
                [("us", ours), ("uws", &[5.0, 4.0]), ("other", &[8.0, 9.0])];
            let page = page(&results(outcome(&rows, false)));
            assert!(page.contains(expected), "{page}");
        };
        check(&[3.0, 9.0], "| (i) a few connections | 0.75 | 1.00 | 2.00 | – |");
        check(&[4.4, 9.0], "| (i) a few connections | 1.10 | 1.00 ★ | 2.00 | – |");
        check(&[9.0, 9.0], "| (i) a few connections | 2.25 | 1.00 ★ | 2.00 ★ | – |");
        check(&[], "| (i) a few connections | – | 1.00 | 2.00 | – |");
        check(&[], "- us: it said nothing");
        check(&[], "| lost | 1.0 — **not built**: no \\| compiler |");
        check(&[2.0, 1.0, 4.0], "| 2.00 (1.00–4.00) | not available |");
    }
}
