//! A peer with a script.

use std::{collections::VecDeque, fmt};

use super::{PANIC, REQUEST};
use crate::{
    driver::sim::{Dice, Network, Peer},
    protocol::{
        Assembler, CloseCode, CloseFrame, Decoder, Event, Incoming, Limits, MaskingKey, Message,
        Opcode, Role, Rsv, append_frame,
    },
};

/// One scripted peer.
pub(super) struct Actor {
    peer: Peer,
    dice: Dice,
    script: VecDeque<Step>,
    pub(super) state: Wire,
    /// The answers it is owed, in order.
    pub(super) owed: VecDeque<Vec<u8>>,
    unread: Vec<u8>,
    decoder: Decoder,
    assembler: Assembler,
    message: Vec<u8>,
    pub(super) close_code: Option<CloseCode>,
    stalled: bool,
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor")
            .field("peer", &self.peer)
            .field("end", &self.peer.end())
            .field("script", &self.script)
            .field("state", &self.state)
            .field("owed", &self.owed.len())
            .field("close_code", &self.close_code)
            .field("stalled", &self.stalled)
            .finish_non_exhaustive()
    }
}

/// How far an actor's wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Handshake,
    Open,
    Gone,
}

/// What an actor does next.
#[derive(Clone, Debug)]
enum Step {
    /// Says this, in so many fragments, perhaps with a ping between them.
    Say { len: usize, fragments: usize, ping: bool },
    /// Stops reading, or reads again.
    Stall(bool),
    /// Begins the closing handshake.
    Close,
    /// Ends the stream without one.
    Finish,
    /// Resets the connection.
    Reset,
    /// Breaks the protocol.
    Misbehave,
    /// Makes the handler panic.
    Panic,
    /// Sends a part of a frame, and nothing ever again.
    StopMidFrame,
    /// Says nothing more; pings go unanswered.
    FallSilent,
}

impl Actor {
    pub(super) fn new(network: &Network, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut script: VecDeque<_> =
            (0..dice.up_to(8)).map(|_| Step::any_word(&mut dice)).collect();
        script.push_back(Step::any_end(&mut dice));
        let peer = network.connect(0);
        peer.send(REQUEST);
        Self {
            peer,
            dice,
            script,
            state: Wire::Handshake,
            owed: VecDeque::new(),
            unread: Vec::new(),
            decoder: Decoder::new(Role::Client, Rsv::NONE),
            assembler: Assembler::default(),
            message: Vec::new(),
            close_code: None,
            stalled: false,
        }
    }

    /// Reads what has come, and perhaps does the next thing. `true` while there is more to do.
    pub(super) fn act(&mut self) -> bool {
        if self.state == Wire::Gone {
            return false;
        }
        if !self.stalled {
            self.unread.extend(self.peer.received());
            self.read();
        }
        if self.peer.end().is_some() {
            self.peer.close();
            self.state = Wire::Gone;
            return false;
        }
        // Steps may come before the handshake is answered: what follows it is not lost.
        if self.dice.chance(0.2)
            && let Some(step) = self.script.pop_front()
        {
            self.take(step);
        }
        true
    }

    fn read(&mut self) {
        if self.state == Wire::Handshake {
            let Some(end) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                return;
            };
            if self.unread.starts_with(b"HTTP/1.1 503 ") {
                return; // no memory left, which is an honest answer
            }
            assert!(self.unread.starts_with(b"HTTP/1.1 101 "), "{}", self.unread.escape_ascii());
            self.unread.drain(..end + 4);
            self.state = Wire::Open;
        }
        let mut unread = std::mem::take(&mut self.unread);
        let mut input = &mut unread[..];
        let limits = Limits { message_len_max: 1 << 24, ..Limits::default() };
        while let Some(event) = self.decoder.decode(&mut input).expect("the server is correct") {
            let last = match event {
                Event::Header(header) => {
                    self.assembler.start(&header, &limits, &mut self.message).expect("as above");
                    continue;
                }
                Event::Payload { bytes, last } => {
                    self.assembler.push(bytes, &mut self.message).expect("as above");
                    last
                }
            };
            if !last {
                continue;
            }
            let pong = match self.assembler.finish(&self.message).expect("as above") {
                Some(Incoming::Message(Message::Binary(message))) => {
                    assert_eq!(self.close_code, None, "nothing follows a Close");
                    assert_eq!(self.owed.pop_front().as_deref(), Some(message), "in order");
                    None
                }
                Some(Incoming::Close(frame)) => {
                    assert_eq!(self.close_code, None, "one Close is enough");
                    self.close_code = Some(frame.map_or(CloseCode::NO_STATUS, |frame| frame.code));
                    None
                }
                Some(Incoming::Ping(payload)) => Some(payload.to_vec()),
                Some(Incoming::Pong(payload)) => {
                    assert_eq!(payload, b"still there?");
                    None
                }
                other => panic!("nobody sent {other:?}"),
            };
            if let Some(payload) = pong.filter(|_| !self.script.is_empty()) {
                self.frame(true, Opcode::Pong, &payload);
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Say { len, fragments, ping } => {
                let message: Vec<u8> = (0..len).map(|_| self.dice.roll() as u8).collect();
                let piece = len.div_ceil(fragments).max(1);
                let pieces: Vec<_> = message.chunks(piece).map(<[u8]>::to_vec).collect();
                for (index, piece) in pieces.iter().enumerate() {
                    let opcode = if index == 0 { Opcode::Binary } else { Opcode::Continuation };
                    self.frame(index + 1 == pieces.len(), opcode, piece);
                    if ping {
                        self.frame(true, Opcode::Ping, b"still there?");
                    }
                }
                if pieces.is_empty() {
                    self.frame(true, Opcode::Binary, &[]);
                }
                self.owed.push_back(message);
            }
            Step::Stall(stall) => {
                self.stalled = stall;
                self.peer.stop_reading(stall);
            }
            Step::Close => {
                let payload = CloseFrame::encode_payload(Some(CloseCode::NORMAL), "done");
                self.frame(true, Opcode::Close, &payload);
            }
            Step::Finish => self.peer.finish(),
            Step::Reset => {
                self.peer.reset();
                self.state = Wire::Gone;
            }
            Step::Misbehave => self.peer.send(&[0xFF; 16]),
            Step::Panic => self.frame(true, Opcode::Text, PANIC.as_bytes()),
            Step::StopMidFrame => self.peer.send(&[0x82, 0xFE, 0x10]),
            Step::FallSilent => {}
        }
    }

    fn frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) {
        let key = MaskingKey::new((self.dice.roll() as u32).to_ne_bytes());
        let mut frame = Vec::new();
        append_frame(&mut frame, fin, Rsv::NONE, opcode, Some(key), payload);
        self.peer.send(&frame);
    }
}

impl Step {
    fn any_word(dice: &mut Dice) -> Self {
        let longest = dice.pick(&[0, 10, 125, 126, 4000, 70_000, 200_000]);
        match dice.below(10) {
            0 => Self::Stall(true),
            1 => Self::Stall(false),
            _ => Self::Say {
                len: dice.up_to(longest),
                fragments: dice.pick(&[1, 1, 1, 2, 7]),
                ping: dice.chance(0.2),
            },
        }
    }

    fn any_end(dice: &mut Dice) -> Self {
        dice.pick(&[
            Ending::Close,
            Ending::Close,
            Ending::Finish,
            Ending::Reset,
            Ending::Misbehave,
            Ending::Panic,
            Ending::StopMidFrame,
            Ending::FallSilent,
        ])
        .into()
    }
}

/// The last steps, as something that can be picked.
#[derive(Clone, Copy)]
enum Ending {
    Close,
    Finish,
    Reset,
    Misbehave,
    Panic,
    StopMidFrame,
    FallSilent,
}

impl From<Ending> for Step {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Close => Self::Close,
            Ending::Finish => Self::Finish,
            Ending::Reset => Self::Reset,
            Ending::Misbehave => Self::Misbehave,
            Ending::Panic => Self::Panic,
            Ending::StopMidFrame => Self::StopMidFrame,
            Ending::FallSilent => Self::FallSilent,
        }
    }
}
