//! Latencies as a percentile distribution, in the text form that HdrHistogram's plotters read.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::record::{Latencies, Run};

/// How many steps each half of the way to 100 % is cut into, as HdrHistogram's own tools do.
const STEPS: u32 = 5;

/// Writes one file a timing, named `{prefix}.{timing}.hgrm`, and says which.
///
/// # Errors
///
/// A file cannot be written: what, and why.
pub(crate) fn write(run: &Run, prefix: &Path) -> Result<Vec<PathBuf>, String> {
    let mut written = Vec::new();
    for (timing, latencies) in run.tally.timings() {
        let mut name = prefix.as_os_str().to_owned();
        name.push(format!(".{}.hgrm", timing.name()));
        let path = PathBuf::from(name);
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        fs::write(&path, text(latencies)).map_err(failed)?;
        written.push(path);
    }
    Ok(written)
}

/// The distribution, in milliseconds.
pub(crate) fn text(latencies: &Latencies) -> String {
    let millis =
        |latency: Option<std::time::Duration>| latency.unwrap_or_default().as_secs_f64() * 1e3;
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for (part, latency, seen) in latencies.steps(STEPS) {
        text += &format!("{:12.6} {part:2.12} {seen:10}", millis(Some(latency)));
        if part < 1.0 {
            text += &format!(" {:14.2}", 1.0 / (1.0 - part));
        }
        text.push('\n');
    }
    let (mean, deviation) = (millis(latencies.mean()), millis(latencies.deviation()));
    text += &format!("#[Mean    = {mean:12.6}, StdDeviation   = {deviation:12.6}]\n");
    let (max, count) = (millis(latencies.max()), latencies.count());
    text += &format!("#[Max     = {max:12.6}, Total count    = {count:12}]\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_ends_with_the_longest() {
        let mut latencies = Latencies::fine();
        (1..=1000).for_each(|number| latencies.record(Duration::from_micros(number)));
        let text = text(&latencies);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .filter(|line| line.starts_with("    "))
            .filter_map(|line| line.split_whitespace().map(|cell| cell.parse().ok()).collect())
            .collect();
        let median = rows.iter().find(|row| row[1] == 0.5).unwrap();
        assert!(
            (median[0] - 0.5).abs() < 0.001 && median[2] == 500.0 && median[3] == 2.0,
            "{median:?}"
        );
        assert_eq!(rows.iter().filter(|row| row[1] == 1.0).count(), 1);
        let last = rows.last().unwrap();
        assert!((last[0] - 1.0).abs() < 0.001 && last[1..] == [1.0, 1000.0], "{last:?}");
        assert!(rows.is_sorted_by(|one, next| one[0] <= next[0] && one[2] <= next[2]));
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
