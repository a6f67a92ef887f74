//! Memory, lent and returned. Knows no WebSocket.
//!
//! * [`Slab`]: the connection table, in chunks, so that growth never moves an entry; a [`Key`]
//!   carries the generation of its place, so that an old one misses.
//! * [`Column`]: something small about each of its places, beside it.
//! * [`BufferPool`]: size-classed buffers for what has to outlive a turn, bounded.
//! * [`Arena`]: where the output of one turn is corked, one [`Region`] that never moves.

mod arena;
mod buffer;
mod column;
mod region;
mod slab;

pub(crate) use self::{
    arena::Arena,
    buffer::{BufferPool, Exhausted, Lease},
    column::Column,
    region::Region,
    slab::{Key, Slab},
};
