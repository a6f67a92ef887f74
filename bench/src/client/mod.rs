//! Clients: real opening handshakes, masked frames, answers compared byte for byte.

pub(crate) mod broadcast;
pub(crate) mod echo;
pub(crate) mod handshakes;
pub(crate) mod idle;

mod connection;
mod crowd;
mod frame;
mod load;
mod sockets;
mod workers;

pub(crate) use self::{
    connection::{ACCEPTANCE, Connection},
    frame::{Opcode, masked},
    load::{Done, Load, Window, measure},
    workers::{Workers, share_len},
};
