//! Many sockets, each with a number, of which it is told which have something to do.

use std::{io, os::fd::OwnedFd};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    io::Errno,
};

use super::connection::Connection;

/// The sockets that are watched. A closed one is forgotten.
pub(super) struct Sockets {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Sockets {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENT_COUNT) })
    }

    /// Watches a connection's socket from now on, which has this number.
    pub(super) fn watch(
        &self,
        connection: &Connection,
        number: usize,
        flags: EventFlags,
    ) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, &connection.socket, EventData::new_u64(number as u64), flags)?)
    }

    /// The numbers of those that have something to do, after `patience` at the latest.
    pub(super) fn ready(&mut self, patience: &Timespec) -> io::Result<impl Iterator<Item = usize>> {
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(patience)) {
            Err(Errno::INTR) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(|event| event.data.u64() as usize))
    }
}

/// Of one look.
const EVENT_COUNT: usize = 1024;
