//! One receive and one send for each event.

use std::{net::TcpListener, os::fd::AsRawFd, os::fd::OwnedFd};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    io::Errno,
    net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send},
};

use super::{Never, Options, first_answer, report_full};

pub(super) fn serve(listener: &TcpListener, options: &Options) -> Never {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;

    let mut connections = Connections::default();
    let mut buffer = vec![0; options.buffer_len()];
    let mut events = Vec::with_capacity(EVENT_COUNT);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Err(Errno::INTR) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => connections.accept(listener, &epoll)?,
                index => connections.receive(index as usize, &mut buffer, options.broadcast),
            }
        }
    }
}

/// By descriptor number.
#[derive(Debug, Default)]
struct Connections(Vec<Option<Connection>>);

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    is_open: bool,
}

impl Connections {
    fn accept(&mut self, listener: &TcpListener, epoll: &OwnedFd) -> rustix::io::Result<()> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = match accept_with(listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error),
            };
            let index = socket.as_raw_fd() as usize;
            epoll::add(epoll, &socket, EventData::new_u64(index as u64), EventFlags::IN)?;
            self.0.resize_with(self.0.len().max(index + 1), || None);
            self.0[index] = Some(Connection { socket, is_open: false });
        }
    }

    #[inline]
    fn receive(&mut self, index: usize, buffer: &mut [u8], broadcast: bool) {
        let Some(connection) = &mut self.0[index] else { return };
        let received = match recv(&connection.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((len, _)) if len > 0 => &buffer[..len],
            Err(Errno::AGAIN | Errno::INTR) => return,
            _ => return self.0[index] = None,
        };
        if !connection.is_open {
            connection.is_open = true;
            match first_answer(received) {
                Some(answer) => self.send(index, answer),
                None => self.0[index] = None,
            }
        } else if broadcast {
            for index in 0..self.0.len() {
                self.send(index, received);
            }
        } else {
            self.send(index, received);
        }
    }

    #[inline]
    fn send(&mut self, index: usize, bytes: &[u8]) {
        let Some(Connection { socket, is_open: true }) = &self.0[index] else { return };
        match send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(len) if len == bytes.len() => {}
            result => {
                report_full(result.unwrap_or(0));
                self.0[index] = None;
            }
        }
    }
}

/// No descriptor has this number.
const LISTENER: u64 = u64::MAX;
const EVENT_COUNT: usize = 1024;
