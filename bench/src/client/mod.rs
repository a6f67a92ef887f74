//! Clients: real opening handshakes, masked frames, answers compared byte for byte.

pub(crate) mod echo;
pub(crate) mod idle;

mod connection;
mod crowd;
mod frame;

pub(crate) use self::connection::{ACCEPTANCE, Connection, source_address};
