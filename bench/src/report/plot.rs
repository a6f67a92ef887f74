//! A plot: a bar for each server, as long as what it costs.

use std::fmt::Write as _;

use super::{Measure, Spread, number};
use crate::{
    results::{Outcome, Results},
    roster::Side,
};

/// Where a scenario's plot is, beside the tables.
pub(super) fn file_name(outcome: &Outcome) -> String {
    format!("{}.svg", outcome.id)
}

/// The least cost as a bar, the most as a line, and the median as a mark on it.
pub(super) fn svg(results: &Results, outcome: &Outcome) -> String {
    let measure = Measure::of(outcome);
    let bars: Vec<_> = outcome
        .rows
        .iter()
        .filter_map(|row| {
            let server = results.server(&row.server)?;
            Some((&*server.title, server.side, measure.spread(row)?))
        })
        .collect();
    let longest = bars.iter().map(|(.., spread)| spread.median).fold(0.0, f64::max);
    let height = TOP + bars.len() * ROW + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"bold\">({}) {}</text>\n\
         <text x=\"16\" y=\"46\" fill=\"#555555\">{} of the server, one {}: bar least, mark median; \
         shorter is better</text>\n",
        outcome.id,
        escaped(&outcome.title),
        measure.name(),
        outcome.unit,
    );
    for (index, (title, side, spread)) in bars.iter().enumerate() {
        svg += &bar(TOP + index * ROW, title, *side, *spread, LENGTH / longest);
    }
    svg + "</svg>\n"
}

fn bar(y: usize, title: &str, side: Side, spread: Spread, scale: f64) -> String {
    let color = match side {
        Side::Ours => "#d1495b",
        Side::Peer => "#5b7db1",
        Side::Floor => "#9aa5b1",
    };
    let (middle, least, median) = (y + 15, spread.min * scale, spread.median * scale);
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
        LEFT - 8,
        middle + 4,
        escaped(title)
    );
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{}\" width=\"{least:.1}\" height=\"18\" fill=\"{color}\"/>",
        middle - 9
    );
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {middle}H{:.1}m0 -5v10\" stroke=\"#333333\" fill=\"none\"/>",
        LEFT as f64 + least,
        LEFT as f64 + median
    );
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{}\">{}</text>",
        LEFT as f64 + median + 8.0,
        middle + 4,
        number(spread.min)
    );
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

const WIDTH: usize = 760;
const LEFT: usize = 190;
/// Of the longest bar.
const LENGTH: f64 = 480.0;
const TOP: usize = 60;
const ROW: usize = 26;
const BOTTOM: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_a_plot() {
        assert_eq!(escaped("a < b & c"), "a &lt; b &amp; c");
    }
}
