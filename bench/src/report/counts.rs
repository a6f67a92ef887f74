//! `instructions.md`: a row for each server, a column for each scenario.

use std::fmt::Write as _;

use super::{number, table::cell};
use crate::results::{Count, Instructions};

pub(super) fn page(instructions: &Instructions) -> String {
    let Instructions { servers, scenarios, counts } = instructions;
    let mut page = String::from(
        "# User instructions\n\nOf one unit, counted by valgrind's callgrind; all servers are built for the \
         processor `x86-64-v3`. What the kernel does is not in them.\n\n| server |",
    );
    for scenario in scenarios {
        let _ = write!(page, " ({}) {}, a {} |", scenario.id, scenario.title, scenario.unit);
    }
    let _ = writeln!(page, "\n|---|{}", "---|".repeat(scenarios.len()));
    for server in servers {
        let _ = write!(page, "| {} |", server.title);
        for scenario in scenarios {
            let is_it = |count: &&Count| count.server == server.id && count.scenario == scenario.id;
            let each = counts.iter().find(is_it).and_then(|count| count.each);
            let _ = write!(page, " {} |", each.map_or_else(|| "–".into(), number));
        }
        page.push('\n');
    }
    page.push('\n');
    for server in servers {
        if let Some(problem) = &server.problem {
            let _ = writeln!(page, "- {}: not built: {}", server.title, cell(problem));
        }
    }
    for count in counts {
        if let Some(problem) = &count.problem {
            let _ = writeln!(page, "- ({}) {}: {}", count.scenario, count.server, cell(problem));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        results::{Entry, Heading},
        roster::Side,
    };

    #[test]
    fn counts_and_their_absence() {
        let count = |scenario: &str, each: Option<f64>| Count {
            server: "us".into(),
            scenario: scenario.into(),
            each,
            problem: each.is_none().then(|| "it fell over".into()),
        };
        let heading = |id: &str| Heading { id: id.into(), title: "few".into(), unit: "bit".into() };
        let entry = Entry {
            id: "us".into(),
            title: "Us".into(),
            version: "1".into(),
            side: Side::Ours,
            problem: None,
        };
        let page = page(&Instructions {
            servers: vec![entry],
            scenarios: vec![heading("i"), heading("v")],
            counts: vec![count("i", Some(1234.0)), count("v", None)],
        });
        assert!(page.contains("| server | (i) few, a bit | (v) few, a bit |"), "{page}");
        assert!(page.contains("| Us | 1,234 | – |"), "{page}");
        assert!(page.contains("- (v) us: it fell over"), "{page}");
    }
}
