//! What is said on the connections: a file for each subcommand.

pub(crate) mod churn;
pub(crate) mod echo;
pub(crate) mod idle;
pub(crate) mod limit;
pub(crate) mod push;
pub(crate) mod slow;
pub(crate) mod storm;
