//! Why a connection was not taken in.

/// Why a connection that another server has upgraded was not taken in. Its socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The reactor holds as many connections as it can number.
    #[error("the reactor's table is full")]
    TableFull,
    /// The reactor is shutting down.
    #[error("the reactor is shutting down")]
    Leaving,
    /// [`memory_max`](crate::ServerBuilder::memory_max) has no room for what was read ahead.
    #[error("no memory is left for what was read ahead")]
    OutOfMemory,
}
