//! What does not depend on where a server listens: the handler, what its callbacks hold, the threads.
#![forbid(unsafe_code)]

mod app;
mod crew;
mod handle;
mod handler;
mod remote;
mod request;
mod setup;

#[cfg(any(test, fuzzing))]
pub(crate) use self::{app::Application, remote::Link};
#[cfg(not(any(test, fuzzing)))]
use self::{app::Application, remote::Link};
pub(crate) use self::{
    crew::Crew,
    setup::{Setup, common_settings},
};
pub use self::{
    crew::{Report, Running},
    handle::{Conn, ConnId, Connections},
    handler::Handler,
    remote::{Remote, RemoteError, Shutdown},
    request::{Request, Ticket, Upgrade},
};
