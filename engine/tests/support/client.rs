//! A client that may say anything, and waits for nothing longer than it has patience.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr},
    path::Path,
    time::Duration,
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{Frame, PATIENCE};

/// One connection to a server.
pub(crate) struct Client {
    socket: Socket,
    /// What the next read goes to.
    room: Vec<u8>,
    received: Vec<u8>,
    /// What of `received` has been taken.
    taken_len: usize,
    /// The server may compress: that was agreed on.
    is_deflated: bool,
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// The head of a request for a WebSocket, with more headers of the form `Name: value\r\n`.
pub(crate) fn request(more: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\n\
         Host: server.example.com\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\
         {more}\r\n"
    )
}

/// The answer to that key (RFC 6455 §1.3).
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Connecting.
impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        Self::over(socket, &address.into())
    }

    pub(crate) fn connect_unix(path: &Path) -> Self {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        Self::over(socket, &SockAddr::unix(path).unwrap())
    }

    /// Connects with a receive buffer of (about) this many bytes: who does not read holds the server
    /// up soon.
    pub(crate) fn connect_narrow(address: SocketAddr, receive_len: usize) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(receive_len).unwrap();
        Self::over(socket, &address.into())
    }

    fn over(socket: Socket, address: &SockAddr) -> Self {
        socket.connect_timeout(address, PATIENCE).unwrap();
        Self::of(socket)
    }

    fn of(socket: Socket) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let _ = socket.set_tcp_nodelay(true); // a Unix socket knows no delay
        let room = vec![0; 64 * 1024];
        Self { socket, room, received: Vec::new(), taken_len: 0, is_deflated: false }
    }

    /// Does the opening handshake.
    pub(crate) fn opened(mut self) -> Self {
        self.send_bytes(request("").as_bytes());
        self.expect_opened();
        self
    }

    /// The server accepts the request for a WebSocket.
    pub(crate) fn expect_opened(&mut self) -> Answer {
        let answer = self.head();
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("Upgrade"), Some("websocket"));
        assert_eq!(answer.header("Sec-WebSocket-Accept"), Some(ACCEPT));
        self.is_deflated = answer.header("Sec-WebSocket-Extensions").is_some();
        answer
    }

    /// Waits at most so long for room to send.
    pub(crate) fn set_write_timeout(&self, timeout: Duration) {
        self.socket.set_write_timeout(Some(timeout)).unwrap();
    }

    /// A second hold on the same connection, to send from another thread. It has received nothing.
    pub(crate) fn another_hold(&self) -> Self {
        Self::of(self.socket.try_clone().unwrap())
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr().unwrap().as_socket()
    }
}

/// Speaking.
impl Client {
    #[track_caller]
    pub(crate) fn send(&mut self, frame: &Frame) {
        self.send_bytes(&frame.masked());
    }

    #[track_caller]
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send_bytes(bytes).unwrap();
    }

    /// The server may hang up at any time.
    pub(crate) fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Says that it will send no more (FIN).
    pub(crate) fn finish(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Hangs up without a word (RST).
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Listening.
impl Client {
    /// The next frame. `None`: the server has said its last, in an orderly way.
    pub(crate) fn try_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some((frame, len)) = Frame::take(&self.received[self.taken_len..]) {
                self.taken_len += len;
                assert!(self.is_deflated || !frame.compressed, "nobody agreed to that");
                return Ok(Some(frame));
            }
            if self.receive()? == 0 {
                let rest = &self.received[self.taken_len..];
                assert!(rest.is_empty(), "the stream ends in the middle of a frame: {rest:?}");
                return Ok(None);
            }
        }
    }

    #[track_caller]
    pub(crate) fn frame(&mut self) -> Frame {
        let frame = self.try_frame().expect("a frame is on its way");
        frame.expect("the server has more to say")
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &Frame) {
        assert_eq!(&self.frame(), expected);
    }

    /// The server closes with this code, and says nothing before that.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) {
        let frame = self.frame();
        let received = frame.close_parts().map(|(code, _reason)| code);
        assert_eq!(received, Some(code), "{frame:?}");
    }

    /// The stream ends in an orderly way (FIN).
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        match self.try_frame() {
            Ok(None) => {}
            other => panic!("the end of the stream was expected: {other:?}"),
        }
    }

    /// The stream ends or the connection is reset; nothing more is said.
    #[track_caller]
    pub(crate) fn expect_gone(&mut self) {
        match self.try_frame() {
            Ok(None) => {}
            Err(error) if is_hang_up(&error) => {}
            other => panic!("the end of the connection was expected: {other:?}"),
        }
    }

    /// Everything that arrives up to the end of the connection, however that comes.
    pub(crate) fn frames_to_the_end(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            match self.try_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return frames,
                Err(error) if is_hang_up(&error) => return frames,
                Err(error) => panic!("after {} frames: {error}", frames.len()),
            }
        }
    }

    /// A response with its body, which goes on to the end of the stream.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        while self.receive().expect("the body is on its way") > 0 {}
        let body = &self.received[self.taken_len..];
        answer.body = String::from_utf8(body.to_vec()).expect("all our bodies are text");
        self.taken_len = self.received.len();
        answer
    }

    /// A response without what follows it.
    #[track_caller]
    fn head(&mut self) -> Answer {
        loop {
            let waiting = &self.received[self.taken_len..];
            if let Some(len) = waiting.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(waiting[..len + 4].to_vec()).unwrap();
                self.taken_len += len + 4;
                let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
                let status = status.and_then(|status| status.parse().ok());
                let status = status.unwrap_or_else(|| panic!("no status: {head}"));
                return Answer { status, head, body: String::new() };
            }
            let received = self.receive().expect("a response is on its way");
            assert_ne!(received, 0, "a response was expected: {:?}", self.received);
        }
    }

    /// Receives what there is, and says how much that was.
    fn receive(&mut self) -> io::Result<usize> {
        self.received.drain(..self.taken_len);
        self.taken_len = 0;
        let received = loop {
            match self.socket.read(&mut self.room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        self.received.extend_from_slice(&self.room[..received]);
        Ok(received)
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
