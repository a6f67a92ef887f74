//! Where the report goes, and what it has to say.

use std::{path::PathBuf, sync::LazyLock, time::Duration};

use clap::Args;
use humantime::parse_duration;

use crate::{
    record::Limits,
    report::assert::{Assertion, METRICS},
};

/// Where the report goes, and what it has to say.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Report")]
pub(crate) struct OutputOptions {
    /// The whole run as JSON, for scripts and for `compare`.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// The run over time, a line a second.
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Percentile distributions in HdrHistogram's text format, a file each: PREFIX-*.hgrm.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) hdr: Option<PathBuf>,
    /// A page with plots, in one file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// What has to be true, or the exit code is 3: 'p99<50ms' 'lost==0'
    #[arg(long, value_name = "EXPR", num_args = 1.., long_help = ASSERT_HELP.as_str())]
    pub(crate) assert: Vec<Assertion>,
    /// A thread of our own that is busier than this part of its time makes the run invalid.
    #[arg(long, value_name = "PART", default_value_t = 0.85)]
    pub(crate) own_cpu_max: f64,
    /// So does a lag of our own threads (99th percentile) beyond this.
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = parse_duration)]
    pub(crate) own_lag_max: Duration,
    /// So do more messages than this part of all that we sent late, or not at all.
    #[arg(long, value_name = "PART", default_value_t = 0.01)]
    pub(crate) own_late_max: f64,
    /// Nothing but the final table.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl OutputOptions {
    /// What trouble of our own makes a run invalid.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            cpu_max: self.own_cpu_max,
            loop_lag_max: self.own_lag_max,
            late_max: self.own_late_max,
            ..Limits::default()
        }
    }
}

static ASSERT_HELP: LazyLock<String> = LazyLock::new(|| {
    format!("What has to be true, or the exit code is 3: 'p99<50ms' 'lost==0'\n\n{METRICS}")
});
