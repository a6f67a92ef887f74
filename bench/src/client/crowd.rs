//! Connections that are held, more than one descriptor table holds.

use std::{io, net::SocketAddrV4, ops::Range};

use rustix::process::{Resource, getrlimit};

use super::{
    connection::Connection,
    frame::{Exchange, Opcode},
    workers::{Workers, share_len},
};
use crate::bounds::Bounds;

/// Connections that are held by threads, each of which has its share.
#[derive(Debug)]
pub(crate) struct Crowd(Workers<Step, ()>);

/// What all of a crowd can be told to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Open,
    /// Send a message on every connection, and wait for the answer.
    Exchange,
    Close,
}

impl Crowd {
    /// Threads for `count` connections to `target`, none of which is open yet.
    pub(crate) fn new(target: SocketAddrV4, count: usize, bounds: &Bounds) -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self(Workers::start(count, share_len(limit as usize), |share| {
            let (bounds, mut connections) = (bounds.clone(), Vec::with_capacity(share.len()));
            move |step| match step {
                Step::Open => open(&mut connections, target, share.clone(), &bounds),
                Step::Exchange => exchange(&connections, &bounds),
                Step::Close => {
                    connections.clear();
                    Ok(())
                }
            }
        }))
    }

    /// Has every thread do `step` for its share, and waits for all of them.
    pub(crate) fn each(&self, step: Step) -> io::Result<()> {
        self.0.begin(&step);
        self.0.finish().into_iter().collect()
    }
}

fn open(
    connections: &mut Vec<Connection>,
    target: SocketAddrV4,
    share: Range<usize>,
    bounds: &Bounds,
) -> io::Result<()> {
    for start in share.clone().step_by(CHECK_EACH) {
        bounds.check()?;
        let end = share.end.min(start + CHECK_EACH);
        connections.extend(Connection::open_all(target, start..end)?);
    }
    Ok(())
}

fn exchange(connections: &[Connection], bounds: &Bounds) -> io::Result<()> {
    let message = Exchange::new(Opcode::Binary, MESSAGE_LEN);
    let mut answer = Vec::new();
    for (index, connection) in connections.iter().enumerate() {
        if index % CHECK_EACH == 0 {
            bounds.check()?;
        }
        connection.exchange(&message, &mut answer)?;
    }
    Ok(())
}

/// How many connections between two looks at memory and clock.
const CHECK_EACH: usize = 500;
const MESSAGE_LEN: usize = 64;
