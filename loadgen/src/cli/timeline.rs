//! How long a run takes.

use std::time::Duration;

use clap::Args;
use humantime::parse_duration;

/// How long a run takes. It is over after these, whatever the server does.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Time")]
pub(crate) struct TimelineOptions {
    /// How long to measure.
    #[arg(long, short, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// Load before that which does not count.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub(crate) warm_up: Duration,
    /// How long to wait afterwards for messages that are on their way; what has not come then is lost.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub(crate) grace: Duration,
    /// The longest time to open all connections.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub(crate) open_max: Duration,
}
