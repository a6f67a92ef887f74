//! A storm of newcomers: each connects, is accepted, and leaves.

use std::{
    io, mem,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    io::Errno,
    net::{RecvFlags, recv},
};

use super::{
    Load,
    connection::{Connection, check_acceptance},
};
use crate::measure::Latencies;

/// Visitors, as many at a time as it was told.
pub(crate) struct Storm {
    target: SocketAddrV4,
    visitors: Vec<Option<Visitor>>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    /// Whether another one comes when one leaves.
    is_going_on: bool,
    /// How many have come.
    begun: usize,
    /// How many have been accepted.
    count: u64,
    latencies: Latencies,
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
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENT_COUNT),
            is_going_on: true,
            begun: 0,
            count: 0,
            latencies: Latencies::default(),
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
        let data = EventData::new_u64(place as u64);
        epoll::add(&self.epoll, &connection.socket, data, EventFlags::IN)?;
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
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&TURN_MAX)) {
            Err(Errno::INTR) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        for event in mem::take(&mut self.events) {
            let place = event.data.u64() as usize;
            let Some(visitor) = &mut self.visitors[place] else { continue };
            if !visitor.receive()? {
                continue;
            }
            self.latencies.record(visitor.began.elapsed());
            self.count += 1;
            // Closes its socket.
            self.visitors[place] = None;
            if self.is_going_on {
                self.visitors[place] = Some(self.begin(place)?);
            }
        }
        self.events.reserve(EVENT_COUNT);
        Ok(())
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn take_latencies(&mut self) -> Latencies {
        mem::take(&mut self.latencies)
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
const EVENT_COUNT: usize = 256;
