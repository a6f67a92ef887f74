//! What can go wrong with a server as a whole.

use std::{fmt, io};

/// Why a server could not be built, or ended before it was told to.
///
/// What goes wrong with a single connection is never one of these: that is a
/// [`CloseCause`](crate::CloseCause).
///
/// `Debug` says what `Display` says, so that a `main` which returns it ends with a sentence.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be honoured. Says which, what it was, and what would do.
    #[error("{setting} {value:?}: {remedy}")]
    Setting {
        /// The setting's name, as the builder calls it.
        setting: &'static str,
        /// What it was set to.
        value: String,
        /// What would be accepted, or what to do about it.
        remedy: String,
    },
    /// A system call failed.
    #[error("{operation}: {source}")]
    Io {
        /// What was being done, and to what.
        operation: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A reactor's thread panicked outside of any callback: a bug in the engine.
    #[error("reactor {0} panicked")]
    ReactorPanicked(usize),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    pub(crate) fn io(operation: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { operation: operation.into(), source: source.into() }
    }

    pub(crate) fn setting(
        setting: &'static str,
        value: impl ToString,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Setting { setting, value: value.to_string(), remedy: remedy.into() }
    }
}
