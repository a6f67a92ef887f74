//! A run in a file.

use std::{fs, path::Path};

use serde::Deserialize;

use crate::record::{Run, SCHEMA};

/// The run as JSON, for `--json`: times in seconds, sizes in bytes, histograms in HdrHistogram's V2
/// format in nanoseconds.
pub(crate) fn text(run: &Run) -> String {
    let mut text = serde_json::to_string_pretty(run).expect("all keys are strings");
    text.push('\n');
    text
}

/// Reads what [`text`] wrote.
///
/// # Errors
///
/// A sentence that names the file: it cannot be read, it is not a run, or a newer version wrote it.
pub(crate) fn read(path: &Path) -> Result<Run, String> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    parse(&text).map_err(|error| format!("{name}: {error}"))
}

fn parse(text: &str) -> Result<Run, String> {
    #[derive(Deserialize)]
    struct Versioned {
        schema: u32,
    }
    let not_a_run =
        |error| format!("this is not a run that `--json` of the load generator wrote ({error})");
    let Versioned { schema } = serde_json::from_str(text).map_err(not_a_run)?;
    if schema != SCHEMA {
        return Err(format!(
            "this run has schema {schema}, and only schema {SCHEMA} can be read: use the version of the load generator that wrote it"
        ));
    }
    serde_json::from_str(text).map_err(not_a_run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_run_survives() {
        let run = sample::echo();
        let text = text(&run);
        assert_eq!(parse(&text).unwrap(), run);
        for part in ["\"lost\": 2", "\"p99.9\": 0.0", "\"kernel\": \"6.18\"", "\"loop\": \"open\""]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn other_files_are_refused() {
        let check = |text: &str, part: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        check("", "not a run");
        check("{}", "not a run");
        check("{\"schema\": 1}", "missing field");
        check("{\"schema\": 99}", "schema 99");
        let error = read(Path::new("/nowhere/at/all.json")).unwrap_err();
        assert!(error.starts_with("/nowhere/at/all.json: No such file"), "{error}");
    }
}
