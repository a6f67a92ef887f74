//! A storm of newcomers: each connects, is accepted, and leaves.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use rustix::{
    event::{Timespec, epoll::EventFlags},
    net::{RecvFlags, recv},
};

use super::{
    Done, Load,
    connection::{Connection, check_acceptance},
    sockets::Sockets,
};

/// Visitors, as many at a time as it was told.
pub(crate) struct Storm {
    target: SocketAddrV4,
    visitors: Vec<Option<Visitor>>,
    sockets: Sockets,
    /// Whether another one comes when one leaves.
    is_going_on: bool,
    /// How many have come.
    begun: usize,
    /// Those that were accepted.
    done: Done,
}

struct Visitor {
    connection: Connection,
    began: Instant,
    response: Vec<u8>,
}

impl Storm {
    /// The first visitors come.
    pub(crate) fn open(target: SocketAddrV4, concurrent: usize) -> io::Result<Self> {
        let mut storm = Self {
            target,
            visitors: Vec::with_capacity(concurrent),
            sockets: Sockets::new()?,
            is_going_on: true,
            begun: 0,
            done: Done::default(),
        };
        for place in 0..concurrent {
            let visitor = storm.begin(place)?;
            storm.visitors.push(Some(visitor));
        }
        Ok(storm)
    }

    fn begin(&mut self, place: usize) -> io::Result<Visitor> {
        let began = Instant::now();
        let connection = Connection::begin(self.target, source_address(self.begun))?;
        self.begun += 1;
        self.sockets.watch(&connection, place, EventFlags::IN)?;
        Ok(Visitor { connection, began, response: Vec::new() })
    }
}

impl Visitor {
    /// Receives what is there, and says whether that completes the response, which has to be right.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 1024];
        let (len, _) = recv(&self.connection.socket, &mut buffer, RecvFlags::DONTWAIT)?;
        if len == 0 {
            return Err(io::Error::other("the server closed a connection instead of accepting it"));
        }
        self.response.extend(&buffer[..len]);
        if !self.response.ends_with(b"\r\n\r\n") {
            return Ok(false);
        }
        check_acceptance(&self.response)?;
        Ok(true)
    }
}

impl Load for Storm {
    fn turn(&mut self) -> io::Result<()> {
        let ready: Vec<_> = self.sockets.ready(&TURN_MAX)?.collect();
        for place in ready {
            let Some(visitor) = &mut self.visitors[place] else { continue };
            if !visitor.receive()? {
                continue;
            }
            self.done.latencies.record(visitor.began.elapsed());
            self.done.count += 1;
            // Closes its socket.
            self.visitors[place] = None;
            if self.is_going_on {
                self.visitors[place] = Some(self.begin(place)?);
            }
        }
        Ok(())
    }

    fn done(&mut self) -> &mut Done {
        &mut self.done
    }

    fn finish(&mut self) -> io::Result<()> {
        let end = Instant::now() + DRAIN_MAX;
        self.is_going_on = false;
        while self.visitors.iter().any(Option::is_some) {
            if Instant::now() >= end {
                return Err(io::Error::other("some handshakes were never answered"));
            }
            self.turn()?;
        }
        Ok(())
    }
}

/// Another address for each visitor, so that the ports of those who have left, which are kept for a
/// minute, are not searched for one that is free.
fn source_address(index: usize) -> Ipv4Addr {
    const FIRST: u32 = Ipv4Addr::new(127, 80, 0, 1).to_bits();
    Ipv4Addr::from_bits(FIRST + (index % ADDRESS_COUNT) as u32)
}

const ADDRESS_COUNT: usize = 10_000;
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long a turn may wait, so that the window ends even when nothing comes.
const TURN_MAX: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
