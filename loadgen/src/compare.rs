//! `compare`: two runs side by side.

use std::path::PathBuf;

use clap::Args;

use crate::{
    report::{compare, json},
    session::{Ending, print},
};

/// Puts two runs side by side, as --json wrote them.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The run that was before.
    #[arg(value_name = "A.json")]
    before: PathBuf,
    /// The run that came after.
    #[arg(value_name = "B.json")]
    after: PathBuf,
}

/// Reads both, and prints them.
pub(crate) fn run(options: &Options) -> Result<Ending, String> {
    let (before, after) = (json::read(&options.before)?, json::read(&options.after)?);
    print(&compare::text(&before, &after));
    Ok(Ending::Good)
}
