//! Broadcasts: one connection sends a message, and everyone gets it, the sender included.

use std::{
    io,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use rustix::{
    event::{Timespec, epoll::EventFlags},
    net::{RecvFlags, recv},
};

use super::{
    Done, Load,
    connection::Connection,
    frame::{Answer, Exchange, Opcode},
    sockets::Sockets,
};

/// Connections that listen, and the first of them speaks.
pub(crate) struct Audience {
    listeners: Vec<Listener>,
    sockets: Sockets,
    exchange: Exchange,
    answer_len: usize,
    buffer: Vec<u8>,
    /// Deliveries; but a latency is that from a message until the last of all listeners has it.
    done: Done,
}

struct Listener {
    connection: Connection,
    /// Bytes of the message that have arrived.
    received_len: usize,
}

impl Audience {
    /// Connects everyone, and sees the first message reach them, byte for byte.
    pub(crate) fn open(
        target: SocketAddrV4,
        connections: usize,
        payload_len: usize,
    ) -> io::Result<Self> {
        let exchange = Exchange::new(Opcode::Binary, payload_len);
        let connections = Connection::open_all(target, 0..connections)?;
        let Some(speaker) = connections.first() else {
            return Err(io::Error::other("a broadcast needs listeners"));
        };
        speaker.send_all(exchange.frame())?;
        let mut answer = Vec::new();
        let mut kind = Answer::Message;
        let sockets = Sockets::new()?;
        for (number, connection) in connections.iter().enumerate() {
            kind = connection.receive_answer(&exchange, &mut answer)?;
            sockets.watch(connection, number, EventFlags::IN)?;
        }
        let listeners = connections.into_iter();
        let listeners = listeners.map(|connection| Listener { connection, received_len: 0 });
        Ok(Self {
            listeners: listeners.collect(),
            sockets,
            answer_len: exchange.answer(kind).len(),
            exchange,
            buffer: vec![0; BUFFER_LEN],
            done: Done::default(),
        })
    }

    /// Receives what has arrived, and says how many listeners have the whole message by that.
    fn receive(&mut self) -> io::Result<usize> {
        let mut complete = 0;
        for number in self.sockets.ready(&WAIT_MAX)? {
            let listener = &mut self.listeners[number];
            let socket = &listener.connection.socket;
            let (len, _) = recv(socket, &mut *self.buffer, RecvFlags::DONTWAIT)?;
            listener.received_len += len;
            if len == 0 || listener.received_len > self.answer_len {
                return Err(io::Error::other("a listener gets something else than the message"));
            }
            if listener.received_len == self.answer_len {
                listener.received_len = 0;
                complete += 1;
            }
        }
        Ok(complete)
    }
}

impl Load for Audience {
    /// A message, until everyone has it.
    fn turn(&mut self) -> io::Result<()> {
        let start = Instant::now();
        self.listeners[0].connection.send_all(self.exchange.frame())?;
        let mut awaited = self.listeners.len();
        while awaited > 0 {
            awaited -= self.receive()?;
            if start.elapsed() > DELIVERY_MAX {
                return Err(io::Error::other(format!("{awaited} listeners never got a message")));
            }
        }
        self.done.latencies.record(start.elapsed());
        self.done.count += self.listeners.len() as u64;
        Ok(())
    }

    fn done(&mut self) -> &mut Done {
        &mut self.done
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const DELIVERY_MAX: Duration = Duration::from_secs(30);
const WAIT_MAX: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
const BUFFER_LEN: usize = 64 << 10;
