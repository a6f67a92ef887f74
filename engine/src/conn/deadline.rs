//! Every time limit that a connection can have, as one coarse deadline.

use std::{fmt, time::Duration};

use super::{Connection, Flags, Phase};

/// Coarse time since the reactor started, in units of [`Tick::LEN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u32);

impl Tick {
    /// The length of a tick. `u32` counts 34 years of them.
    pub(crate) const LEN: Duration = Duration::from_millis(250);
    /// Later than any deadline.
    pub(crate) const NEVER: Self = Self(u32::MAX);

    /// The tick that `elapsed` lies in.
    pub(crate) fn at(elapsed: Duration) -> Self {
        Self((elapsed.as_millis() / Self::LEN.as_millis()) as u32)
    }

    /// The first tick by which at least `duration` has passed.
    pub(crate) fn after(self, duration: Duration) -> Self {
        let ticks = duration.as_millis().div_ceil(Self::LEN.as_millis()) + 1;
        Self(self.0.saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX)).min(u32::MAX - 1))
    }

    /// The time from `earlier` to this.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Self::LEN * self.0.saturating_sub(earlier.0)
    }
}

/// Time limits of a connection; `None` is no limit. They are kept to within about a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the accepted connection to the end of the opening handshake, a deferred decision
    /// included. Default: 10 s.
    pub handshake: Option<Duration>,
    /// Silence after which the peer is sent a ping. Default: 30 s.
    pub ping: Option<Duration>,
    /// Silence after which the connection is given up, pongs being noise. Default: 60 s.
    pub idle: Option<Duration>,
    /// From the first byte of a message to its last. Default: 60 s.
    pub message: Option<Duration>,
    /// For the closing handshake, and for the last output to leave. Default: 5 s.
    pub close: Duration,
    /// Age at which an open connection is closed with 1001. Default: none.
    pub lifetime: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Some(Duration::from_secs(10)),
            ping: Some(Duration::from_secs(30)),
            idle: Some(Duration::from_secs(60)),
            message: Some(Duration::from_secs(60)),
            close: Duration::from_secs(5),
            lifetime: None,
        }
    }
}

/// Which time limit passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Deadline {
    /// The opening handshake took too long.
    Handshake,
    /// Nothing was heard from the peer, not even an answer to a ping.
    Idle,
    /// A message was begun and not finished.
    Message,
    /// The closing handshake, or the last output, took too long.
    Close,
    /// The connection was as old as it may become.
    Lifetime,
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "opening handshake",
            Self::Idle => "nothing heard from the peer",
            Self::Message => "unfinished message",
            Self::Close => "closing handshake",
            Self::Lifetime => "lifetime",
        })
    }
}

/// What a connection's deadline asks for, now that it may have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing yet: look again at this time.
    Later(Tick),
    /// This limit has passed.
    Expired(Deadline),
    /// The peer has been silent: send a ping.
    Ping,
    /// The application's timer.
    Timer,
}

impl<T> Connection<T> {
    /// What is due at `now`. `index` is the connection's place, which spreads its pings.
    ///
    /// Activity never touches the deadline: it only notes when it was, and the deadline, when it
    /// comes, looks at the note.
    pub(crate) fn due(&self, now: Tick, timeouts: &Timeouts, index: u32) -> Due {
        let expired = |limit: Deadline, at: Tick| (at <= now).then_some(Due::Expired(limit));
        let after = |from: Tick, limit: Option<Duration>| {
            limit.map_or(Tick::NEVER, |limit| from.after(limit))
        };
        match self.phase {
            Phase::Opening | Phase::Deciding => {
                let at = after(self.opened_at, timeouts.handshake);
                expired(Deadline::Handshake, at).unwrap_or(Due::Later(at))
            }
            Phase::Open => {
                let idle_at = after(self.heard_at, timeouts.idle);
                let lifetime_at = after(self.opened_at, timeouts.lifetime);
                let begun_at = self.inbound.as_ref().and_then(|inbound| inbound.begun_at());
                let message_at = begun_at.map_or(Tick::NEVER, |at| after(at, timeouts.message));
                let timer_at = self.extra.as_ref().and_then(|extra| extra.timer_at);
                let timer_at = timer_at.unwrap_or(Tick::NEVER);
                let pinged = self.flags.has(Flags::PINGED);
                let ping_at = match timeouts.ping {
                    Some(ping) if !pinged => self.heard_at.after(ping - ping_jitter(ping, index)),
                    _ => Tick::NEVER,
                };
                expired(Deadline::Idle, idle_at)
                    .or_else(|| expired(Deadline::Lifetime, lifetime_at))
                    .or_else(|| expired(Deadline::Message, message_at))
                    .or_else(|| (timer_at <= now).then_some(Due::Timer))
                    .or_else(|| (ping_at <= now).then_some(Due::Ping))
                    .unwrap_or_else(|| {
                        let at = idle_at.min(lifetime_at).min(message_at).min(timer_at);
                        Due::Later(at.min(ping_at))
                    })
            }
            Phase::CloseSent(_) | Phase::Ending | Phase::Lingering => {
                // `opened_at` has served its purpose and holds when the ending began.
                let at = self.opened_at.after(timeouts.close);
                expired(Deadline::Close, at).unwrap_or(Due::Later(at))
            }
            Phase::Dead => Due::Later(Tick::NEVER),
        }
    }
}

/// Up to an eighth of the interval, different from place to place: connections that fell silent
/// together are not pinged together.
fn ping_jitter(ping: Duration, index: u32) -> Duration {
    let spread = index.wrapping_mul(0x9E37_79B9) >> 24; // Fibonacci hashing: 0–255
    ping / 8 * spread / 256
}
