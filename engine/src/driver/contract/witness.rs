//! The laws of the contract that hold in every scene.

use std::{collections::HashMap, fmt, io, net::SocketAddr};

use super::super::{Completion, Op, Payload, RECEIVE_LEN_MAX, Socket, Token};
use crate::pool::Lease;

/// A completion to keep.
pub(crate) enum Event {
    Accepted { listener: usize, socket: Socket, peer: Option<SocketAddr> },
    AcceptFailed(usize, io::Error),
    Connected(Token),
    Received(Token, Vec<u8>),
    Readable(Token),
    Filled(Token, Lease),
    Finished(Token),
    Sent(Token, Option<Vec<u8>>),
    Unsent(Token, Payload),
    Writable(Token),
    Failed(Token, io::Error),
    Closed(Token),
}

impl Event {
    pub(super) fn token(&self) -> Option<Token> {
        match *self {
            Self::Accepted { .. } | Self::AcceptFailed(..) => None,
            Self::Connected(token)
            | Self::Received(token, _)
            | Self::Readable(token)
            | Self::Filled(token, _)
            | Self::Finished(token)
            | Self::Sent(token, _)
            | Self::Unsent(token, _)
            | Self::Writable(token)
            | Self::Failed(token, _)
            | Self::Closed(token) => Some(token),
        }
    }
}

impl From<Completion<'_>> for Event {
    fn from(completion: Completion<'_>) -> Self {
        match completion {
            Completion::Accepted { listener, socket, peer } => {
                Self::Accepted { listener, socket, peer }
            }
            Completion::AcceptFailed { listener, error } => Self::AcceptFailed(listener, error),
            Completion::Connected { token } => Self::Connected(token),
            Completion::Received { token, bytes } => Self::Received(token, bytes.to_vec()),
            Completion::Readable { token } => Self::Readable(token),
            Completion::Filled { token, lease } => Self::Filled(token, lease),
            Completion::Finished { token } => Self::Finished(token),
            Completion::Sent { token, lease } => {
                Self::Sent(token, lease.map(|lease| lease.bytes().to_vec()))
            }
            Completion::Unsent { token, rest } => Self::Unsent(token, rest),
            Completion::Writable { token } => Self::Writable(token),
            Completion::Failed { token, error } => Self::Failed(token, error),
            Completion::Closed { token } => Self::Closed(token),
        }
    }
}

/// Shows lengths where the bytes would fill the screen.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { listener, socket, .. } => {
                write!(f, "Accepted {listener} {socket:?}")
            }
            Self::AcceptFailed(listener, error) => write!(f, "AcceptFailed {listener} {error}"),
            Self::Connected(token) => write!(f, "Connected {token:?}"),
            Self::Received(token, bytes) => write!(f, "Received {token:?} {} B", bytes.len()),
            Self::Readable(token) => write!(f, "Readable {token:?}"),
            Self::Filled(token, lease) => {
                write!(f, "Filled {token:?} {} B", lease.bytes().len())
            }
            Self::Finished(token) => write!(f, "Finished {token:?}"),
            Self::Sent(token, _) => write!(f, "Sent {token:?}"),
            Self::Unsent(token, rest) => write!(f, "Unsent {token:?} {} B", visible(rest).len()),
            Self::Writable(token) => write!(f, "Writable {token:?}"),
            Self::Failed(token, error) => write!(f, "Failed {token:?} {error}"),
            Self::Closed(token) => write!(f, "Closed {token:?}"),
        }
    }
}

/// Knows the laws of the contract that hold in every scene.
#[derive(Default)]
pub(super) struct Witness {
    tenants: HashMap<Token, Tenant>,
}

/// What was said about an attached socket.
#[derive(Debug, Default)]
struct Tenant {
    connecting: bool,
    paused: bool,
    asking: bool,
    asked: bool,
    filling: bool,
    blocked: bool,
    finished: bool,
    failed: bool,
    closing: bool,
}

impl Witness {
    /// Whether `token` owes the rest of a send that its socket did not take.
    pub(super) fn is_blocked(&self, token: Token) -> bool {
        self.tenants.get(&token).is_some_and(|tenant| tenant.blocked)
    }

    /// Whether `token` is attached and was not told to close.
    pub(super) fn is_open(&self, token: Token) -> bool {
        self.tenants.get(&token).is_some_and(|tenant| !tenant.closing)
    }

    /// What the driver is asked.
    pub(super) fn hear(&mut self, op: &Op, token: Token) {
        if let Op::Attach(_) | Op::Connect(_) | Op::Adopt(_) = op {
            let connecting = matches!(op, Op::Connect(_) | Op::Adopt(_));
            let tenant = Tenant { connecting, ..Tenant::default() };
            let before = self.tenants.insert(token, tenant);
            assert!(before.is_none(), "{token:?} is attached twice");
        }
        let tenant = self.tenants.get_mut(&token).expect("an attached token");
        assert!(!tenant.closing, "{op:?} for {token:?}, which is closing");
        match op {
            Op::Pause => tenant.paused = true,
            Op::Resume => tenant.paused = false,
            Op::Ask => tenant.asking = true,
            Op::Receive => {
                assert!(std::mem::take(&mut tenant.asked), "{op:?} answers nothing");
                tenant.asking = false;
            }
            Op::ReceiveInto { .. } => {
                assert!(std::mem::take(&mut tenant.asked), "{op:?} answers nothing");
                tenant.filling = true;
            }
            Op::Close | Op::Abort => tenant.closing = true,
            Op::Attach(_) | Op::Connect(_) | Op::Adopt(_) => {}
            Op::Send { .. } | Op::Shutdown => assert!(!tenant.connecting, "{op:?} too early"),
        }
    }

    /// What the driver answers.
    pub(super) fn see(&mut self, event: &Event) {
        let Some(token) = event.token() else { return };
        let tenant = self.tenants.get_mut(&token);
        let tenant = tenant.unwrap_or_else(|| panic!("{event:?} for a socket that is gone"));
        let is_there = !tenant.failed && !tenant.closing;
        let is_open = is_there && !tenant.connecting;
        let is_lawful = match event {
            Event::Connected(_) => std::mem::take(&mut tenant.connecting) && is_there,
            Event::Received(_, bytes) => {
                !bytes.is_empty()
                    && bytes.len() <= RECEIVE_LEN_MAX
                    && !tenant.paused
                    && !tenant.finished
                    && !tenant.asked
                    && !tenant.filling
                    && is_open
            }
            Event::Readable(_) => {
                tenant.asking
                    && !tenant.paused
                    && !tenant.finished
                    && !std::mem::replace(&mut tenant.asked, true)
                    && !tenant.filling
                    && is_open
            }
            Event::Filled(..) => std::mem::take(&mut tenant.filling),
            Event::Finished(_) => {
                !std::mem::replace(&mut tenant.finished, true) && !tenant.filling && is_open
            }
            // A buffer comes back whatever became of the socket.
            Event::Sent(..) => true,
            Event::Unsent(_, rest) => {
                !std::mem::replace(&mut tenant.blocked, true)
                    && !matches!(rest, Payload::Corked(_) | Payload::Common(_))
                    && !visible(rest).is_empty()
            }
            Event::Writable(_) => std::mem::replace(&mut tenant.blocked, false) && is_open,
            Event::Failed(..) => !std::mem::replace(&mut tenant.failed, true),
            Event::Closed(_) => tenant.closing && !tenant.filling,
            Event::Accepted { .. } | Event::AcceptFailed(..) => true,
        };
        assert!(is_lawful, "{event:?} is against the contract: {tenant:?}");
        if let Event::Closed(_) = event {
            self.tenants.remove(&token);
        }
    }
}

/// The bytes of what is left of a send.
pub(super) fn visible(rest: &Payload) -> &[u8] {
    match rest {
        Payload::Corked(_) | Payload::Common(_) => panic!("what is left outlives the arena"),
        Payload::Owned { lease, from } => &lease.bytes()[*from..],
        Payload::Shared(bytes) => bytes,
    }
}
