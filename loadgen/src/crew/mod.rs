//! The threads that carry the load, and who directs them.
//!
//! A run is directed from the main thread: a [`Conductor`] tells the workers when to open their
//! connections, when the load begins and ends, and what of it counts. A [`Worker`](worker::Worker) is one reactor's
//! handler: it opens its share of the connections, keeps them open, times their handshakes and
//! watches itself; what is said on them is the business of its [`Workload`].
//!
//! ```text
//! main thread   Conductor ──Order──▶ Worker ◀── the engine's callbacks
//!                   ▲                  │  ╲
//!                   └──── Board ───────┘   Workload: echo, push, …
//! ```

mod conductor;
mod opener;
mod order;
mod plan;
mod worker;
mod workload;

pub(crate) use self::{
    conductor::Conductor,
    order::{Board, Order},
    plan::Plan,
    worker::{Core, Member},
    workload::{LoadConn, LoadConnections, Workload},
};
