//! What both ends of a connection share: the handler, what its callbacks hold, and the threads.
#![forbid(unsafe_code)]

mod answered;
mod app;
mod connect;
mod crew;
mod handle;
mod handler;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "protobuf")]
mod protobuf;
mod remote;
mod request;
#[cfg(any(feature = "json", feature = "protobuf"))]
mod scratch;
mod setup;
mod ticket;
mod upgraded;
mod url;
mod writer;

pub use self::{
    answered::Answered,
    connect::Connect,
    crew::{Report, Running},
    handle::{Conn, ConnId, Connections},
    handler::Handler,
    remote::{Remote, RemoteError, Shutdown},
    request::{Request, Upgrade},
    ticket::Ticket,
    upgraded::Upgraded,
    writer::MessageWriter,
};
pub(crate) use self::{
    app::Application,
    crew::Crew,
    remote::Link,
    setup::{Setup, common_settings},
    url::{Url, resolve},
};
