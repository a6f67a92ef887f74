//! What is said on the connections: a file for each subcommand.

pub(crate) mod echo;
