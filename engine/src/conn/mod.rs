//! One connection's life, without a socket and without a clock.
//!
//! ```text
//!  Waiting ── its turn ──▶ Connecting ── the transport is there ──▶ Opening   (a client's begins so)
//!                          Connecting ── the driver has it ──▶ Open        (one that we adopt, so)
//!
//!            head complete            answered             Close sent
//!  Opening ───────────────▶ Deciding ─────────▶ Open ─────────────────▶ CloseSent(code)
//!     │  (deferred upgrades only)   ╲            │                            │
//!     │ refused, plain HTTP          ╲           │ Close received, failure,   │ Close received
//!     ▼                               ▼          ▼ or the peer is gone        ▼
//!   Ending ◀────────────────────────────────────────────────────────────── Ending
//!     │ all output has left
//!     ▼
//!   Lingering ── end of stream, or deadline ──▶ Dead ── the driver let go ──▶ (the place is vacant)
//! ```
//!
//! A clean closing handshake needs no lingering: neither side has anything left to say (RFC 6455
//! §7.1.1). After a failure the peer may still be sending, and closing at once would reset the
//! connection and could destroy the Close frame on its way: so we say FIN, and read on for a while.
//!
//! [`Connection`] is the entry of the table: one cache line, whatever it is doing. What only some
//! connections need at some times lives in boxes: a half-received message ([`Inbound`]), output that
//! the socket would not take ([`Outbox`]), and what is rare ([`Extra`]).
#![forbid(unsafe_code)]

mod adopt_error;
mod cause;
mod connect_error;
mod deadline;
#[cfg(feature = "deflate")]
mod deflating;
#[cfg(not(feature = "deflate"))]
#[path = "no_deflate.rs"]
mod deflating;
mod inbound;
mod outbound;
mod peer;

pub use self::{
    adopt_error::AdoptError,
    cause::CloseCause,
    connect_error::{ConnectError, FailedResponse},
    deadline::{Deadline, Timeouts},
    outbound::{Overflow, SendQueue, Sent},
};
pub(crate) use self::{
    deadline::{Due, Tick},
    deflating::{Agreed, Deflate, DeflateOffer, Deflating, accept},
    inbound::{Inbound, Polled, Refusal, Spill, head_scanner, whole_frame},
    outbound::{Outbox, Piece},
    peer::Peer,
};

use std::{net::Ipv6Addr, sync::Arc, time::Duration};

use crate::protocol::{
    CloseCode, Role, Rsv,
    handshake::{AcceptKey, Proposal},
};

/// A connection, as the table holds it.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    pub(crate) phase: Phase,
    pub(crate) flags: Flags,
    /// When the peer's last byte arrived.
    pub(crate) heard_at: Tick,
    /// When the connection was accepted, or asked for; when it was upgraded, from then on.
    pub(crate) opened_at: Tick,
    /// One more than its index in this turn's list of connections with something to say; or 0.
    pub(crate) dirty: u32,
    pub(crate) peer: Peer,
    /// What is half received. `None` between frames.
    pub(crate) inbound: Option<Box<Inbound>>,
    /// Output that has to wait. `None` while the socket takes everything.
    pub(crate) outbox: Option<Box<Outbox>>,
    /// What few connections have.
    pub(crate) extra: Option<Box<Extra>>,
    /// The application's own.
    pub(crate) data: T,
}

/// Where in its life a connection is (RFC 6455 §4.1, §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is asked for, and the driver does not know of it yet: others come first.
    Waiting,
    /// The transport is being made, or handed to the driver.
    Connecting,
    /// The request head is arriving; at the client's end, the server's answer.
    Opening,
    /// The application decides about the upgrade, later.
    Deciding,
    /// Frames go both ways.
    Open,
    /// We sent Close with this code and wait for the peer's. In bytes, so that nothing needs alignment.
    CloseSent([u8; 2]),
    /// No more input counts; output is on its way.
    Ending,
    /// All output has left; we wait for the peer's end of stream.
    Lingering,
    /// The driver closes the socket.
    Dead,
}

impl Phase {
    /// Close was sent with this code.
    pub(crate) fn close_sent(code: CloseCode) -> Self {
        Self::CloseSent(code.value().to_be_bytes())
    }

    /// The opening handshake is not done.
    pub(crate) fn is_opening(self) -> bool {
        matches!(self, Self::Waiting | Self::Connecting | Self::Opening | Self::Deciding)
    }

    /// The application has been told that it is open, and not yet that it is closed.
    pub(crate) fn is_live(self) -> bool {
        matches!(self, Self::Open | Self::CloseSent(_))
    }
}

/// What is true of a connection right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    /// The peer has sent its end of stream.
    pub(crate) const FINISHED: Self = Self(1);
    /// The socket would not take more; `Writable` will come.
    pub(crate) const BLOCKED: Self = Self(1 << 1);
    /// A send that will be acknowledged is on its way.
    pub(crate) const SENDING: Self = Self(1 << 2);
    /// A ping went out and nothing has been heard since.
    pub(crate) const PINGED: Self = Self(1 << 3);
    /// The outbox has passed its high-water mark; `on_drain` is owed.
    pub(crate) const HIGH_WATER: Self = Self(1 << 4);
    /// Both Close frames have been exchanged: no need to linger.
    pub(crate) const CLEAN: Self = Self(1 << 5);
    /// Receiving is paused, because spilled input comes first, a decision is pending, or the application
    /// says so.
    pub(crate) const PAUSED: Self = Self(1 << 6);
    /// We are the client's end of it.
    pub(crate) const CLIENT: Self = Self(1 << 7);
    /// The application takes no messages for now.
    pub(crate) const HELD: Self = Self(1 << 8);
    /// Messages may be compressed, in either direction.
    pub(crate) const DEFLATE: Self = Self(1 << 9);
    /// The application takes no messages any more: one that arrives fails the connection.
    pub(crate) const REFUSING: Self = Self(1 << 10);
    /// Messages are handed on in parts.
    pub(crate) const BY_PARTS: Self = Self(1 << 11);
    /// A message is being sent in parts.
    pub(crate) const IN_PARTS: Self = Self(1 << 12);

    /// What arrives is not handed on as it arrives, or not as a whole; or is not masked; or may be
    /// compressed.
    pub(crate) const NOT_PLAIN: Self = Self(
        Self::PAUSED.0 | Self::CLIENT.0 | Self::DEFLATE.0 | Self::REFUSING.0 | Self::BY_PARTS.0,
    );

    /// What arrives is not handed on as it arrives any more: the application said so meanwhile.
    pub(crate) const NOT_PLAIN_SINCE: Self =
        Self(Self::HELD.0 | Self::REFUSING.0 | Self::BY_PARTS.0);
    /// Its output takes the general way.
    pub(crate) const NOT_SPEAKING: Self =
        Self(Self::HELD.0 | Self::CLIENT.0 | Self::DEFLATE.0 | Self::REFUSING.0 | Self::IN_PARTS.0);
    /// What it is sent may differ from what others are sent, or has to wait.
    pub(crate) const NOT_SHARING: Self = Self(Self::CLIENT.0 | Self::DEFLATE.0 | Self::IN_PARTS.0);

    #[inline]
    pub(crate) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    #[inline]
    pub(crate) fn insert(&mut self, flag: Self) {
        self.0 |= flag.0;
    }

    #[inline]
    pub(crate) fn remove(&mut self, flag: Self) {
        self.0 &= !flag.0;
    }
}

/// What few connections have at a time: boxed, so that the others do not pay for it.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// When `on_timer` is due.
    pub(crate) timer_at: Option<Tick>,
    /// Answers a deferred upgrade, or is what the server has to answer.
    pub(crate) accept_key: Option<AcceptKey>,
    /// What we ask the server for. Until the application has been told what came of it.
    pub(crate) proposal: Option<Arc<Proposal>>,
    /// The ping whose pong is waited for to measure a round trip.
    pub(crate) rtt_ping: Option<Box<RttPing>>,
    /// Time limits of its own.
    pub(crate) timeouts: Option<Arc<Timeouts>>,
    /// Where an IPv6 peer is.
    pub(crate) peer: Option<(Ipv6Addr, u16)>,
    /// What we offered the server, for as long as `proposal` is there.
    pub(crate) offer: Option<Box<DeflateOffer>>,
    /// How messages are compressed, unless that goes without saying.
    pub(crate) agreed: Option<Agreed>,
}

/// A ping that is recognised by its payload, and when it was sent.
#[derive(Debug)]
pub(crate) struct RttPing {
    pub(crate) payload: [u8; 16],
    /// Since the reactor started.
    pub(crate) sent_at: Duration,
}

impl Extra {
    fn is_empty(&self) -> bool {
        let Self { timer_at, accept_key, proposal, rtt_ping, timeouts, peer, offer, agreed } = self;
        let is_handshaken = accept_key.is_none() && proposal.is_none() && offer.is_none();
        let has_no_clock = timer_at.is_none() && rtt_ping.is_none() && timeouts.is_none();
        is_handshaken && has_no_clock && peer.is_none() && agreed.is_none()
    }
}

impl<T: Default> Connection<T> {
    /// A connection that was accepted at `now`.
    pub(crate) fn new(now: Tick) -> Self {
        Self::with_data(now, T::default())
    }
}

impl<T> Connection<T> {
    /// A connection that is asked for at `now`, to make `proposal`.
    pub(crate) fn to_server(now: Tick, proposal: Arc<Proposal>, data: T) -> Self {
        let mut connection = Self::with_data(now, data);
        connection.phase = Phase::Waiting;
        connection.flags = Flags::CLIENT;
        connection.extra_mut().proposal = Some(proposal);
        connection
    }

    /// A connection that somebody else has upgraded, whose socket the driver is about to get.
    pub(crate) fn adopted(now: Tick, data: T) -> Self {
        Self { phase: Phase::Connecting, ..Self::with_data(now, data) }
    }

    fn with_data(now: Tick, data: T) -> Self {
        Self {
            phase: Phase::Opening,
            flags: Flags::default(),
            heard_at: now,
            opened_at: now,
            dirty: 0,
            peer: Peer::Unknown,
            inbound: None,
            outbox: None,
            extra: None,
            data,
        }
    }

    /// Which end of it we are.
    #[inline]
    pub(crate) fn role(&self) -> Role {
        if self.flags.has(Flags::CLIENT) { Role::Client } else { Role::Server }
    }

    /// The reserved bits that frames to us may carry.
    pub(crate) fn allowed_rsv(&self) -> Rsv {
        if self.flags.has(Flags::DEFLATE) { Rsv::RSV1 } else { Rsv::NONE }
    }

    /// What few connections have, made on first use.
    pub(crate) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Whether output waits for the socket: what is urgent may then pass by. What has only been
    /// queued this turn keeps its order, the answer to the handshake before everything else.
    #[inline]
    pub(crate) fn output_waits(&self) -> bool {
        self.flags.0 & (Flags::BLOCKED.0 | Flags::SENDING.0) != 0
    }

    /// Unsets the timer.
    pub(crate) fn take_timer(&mut self) {
        self.extra_mut().timer_at = None;
        self.tidy();
    }

    /// Takes what a deferred upgrade is answered with.
    pub(crate) fn take_accept_key(&mut self) -> Option<AcceptKey> {
        let accept_key = self.extra_mut().accept_key.take();
        self.tidy();
        accept_key
    }

    /// Takes what we ask the server for, and what it has to answer: the application is about to be told
    /// what came of it. `None`: it has been told, or nothing was asked.
    pub(crate) fn take_proposal(&mut self) -> Option<Arc<Proposal>> {
        let extra = self.extra.as_mut()?;
        let proposal = extra.proposal.take()?;
        extra.accept_key = None;
        extra.offer = None;
        self.tidy();
        Some(proposal)
    }

    /// How long the ping was on its way that this pong answers, if it is the one that is waited for.
    pub(crate) fn take_rtt(&mut self, pong: &[u8], elapsed: Duration) -> Option<Duration> {
        let extra = self.extra.as_mut()?;
        let ping = extra.rtt_ping.take_if(|ping| ping.payload == pong)?;
        self.tidy();
        Some(elapsed.saturating_sub(ping.sent_at))
    }

    /// Gives back what is rare, when there is nothing rare any more.
    fn tidy(&mut self) {
        if self.extra.as_deref().is_some_and(Extra::is_empty) {
            self.extra = None;
        }
    }

    /// Bytes of output that wait in its outbox.
    pub(crate) fn queued_len(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a connection whose upgrade is decided later holds beside its entry.
    #[test]
    fn what_is_rare_stays_small() {
        assert!(size_of::<Extra>() <= 112, "{} bytes", size_of::<Extra>());
    }
}
