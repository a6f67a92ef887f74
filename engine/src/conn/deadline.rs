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
        // In the integers that a `Duration` is made of: this is asked every turn.
        Self((elapsed.as_secs() * 4) as u32 + elapsed.subsec_nanos() / Self::LEN.subsec_nanos())
    }

    /// The first tick by which at least `duration` has passed.
    pub(crate) fn after(self, duration: Duration) -> Self {
        let of_seconds = duration.as_secs().saturating_mul(4);
        let of_rest = duration.subsec_nanos().div_ceil(Self::LEN.subsec_nanos()) + 1;
        let ticks = u64::from(self.0).saturating_add(of_seconds).saturating_add(of_rest.into());
        Self(u32::try_from(ticks).unwrap_or(u32::MAX).min(u32::MAX - 1))
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
    /// included; at the client's end, from being asked for the connection, connecting included.
    /// Default: 10 s.
    pub handshake: Option<Duration>,
    /// Silence after which the peer is sent a ping. Default: 30 s.
    pub ping: Option<Duration>,
    /// Silence after a ping after which the connection is given up. Default: none, `idle` is enough.
    pub pong: Option<Duration>,
    /// Silence after which the connection is given up, pongs being noise. Default: 60 s.
    pub idle: Option<Duration>,
    /// From the first header of a message to its last byte. Default: 60 s.
    pub message: Option<Duration>,
    /// From when the socket would not take more, because the peer reads too slowly or not at all, to when
    /// it takes some again. Default: 60 s.
    pub send: Option<Duration>,
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
            pong: None,
            idle: Some(Duration::from_secs(60)),
            message: Some(Duration::from_secs(60)),
            send: Some(Duration::from_secs(60)),
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
    /// A ping was not answered, by a pong or anything else.
    Pong,
    /// Nothing was heard from the peer, not even an answer to a ping.
    Idle,
    /// A message was begun and not finished.
    Message,
    /// Output waited, and the peer took none of it.
    Send,
    /// The closing handshake, or the last output, took too long.
    Close,
    /// The connection was as old as it may become.
    Lifetime,
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "opening handshake",
            Self::Pong => "ping not answered",
            Self::Idle => "nothing heard from the peer",
            Self::Message => "unfinished message",
            Self::Send => "output not taken by the peer",
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
    /// Its time limits: its own, or else those of all.
    pub(crate) fn timeouts<'a>(&'a self, common: &'a Timeouts) -> &'a Timeouts {
        let own = self.extra.as_ref().and_then(|extra| extra.timeouts.as_deref());
        own.unwrap_or(common)
    }

    /// What is due at `now`, by its own time limits or else by `timeouts`. `index` is the connection's place, which spreads its pings.
    ///
    /// Activity never touches the deadline: it only notes when it was, and the deadline, when it
    /// comes, looks at the note.
    pub(crate) fn due(&self, now: Tick, timeouts: &Timeouts, index: u32) -> Due {
        let timeouts = self.timeouts(timeouts);
        let expired = |limit: Deadline, at: Tick| (at <= now).then_some(Due::Expired(limit));
        let after = |from: Tick, limit: Option<Duration>| {
            limit.map_or(Tick::NEVER, |limit| from.after(limit))
        };
        match self.phase {
            Phase::Waiting | Phase::Connecting | Phase::Opening | Phase::Deciding => {
                let at = after(self.opened_at, timeouts.handshake);
                expired(Deadline::Handshake, at).unwrap_or(Due::Later(at))
            }
            Phase::Open => {
                // Of a peer that nobody listens to nothing is to be heard.
                let is_held = self.flags.has(Flags::HELD);
                let unless_held = |limit: Option<Duration>| limit.filter(|_| !is_held);
                let idle_at = after(self.heard_at, unless_held(timeouts.idle));
                let lifetime_at = after(self.opened_at, timeouts.lifetime);
                let begun_at = self.inbound.as_ref().and_then(|inbound| inbound.begun_at());
                let message_at =
                    begun_at.map_or(Tick::NEVER, |at| after(at, unless_held(timeouts.message)));
                let blocked = self.outbox.as_ref().filter(|_| self.flags.has(Flags::BLOCKED));
                let send_at =
                    blocked.map_or(Tick::NEVER, |outbox| after(outbox.blocked_at(), timeouts.send));
                let timer_at = self.extra.as_ref().and_then(|extra| extra.timer_at);
                let timer_at = timer_at.unwrap_or(Tick::NEVER);
                let pinged = self.flags.has(Flags::PINGED);
                // While a ping is unanswered there is nothing to do, but a look to take: an answer
                // does not touch the deadline.
                let ping = unless_held(timeouts.ping);
                let pong_at = match (ping, timeouts.pong) {
                    (Some(ping), Some(pong)) if pinged => {
                        self.heard_at.after(ping.saturating_add(pong))
                    }
                    _ => Tick::NEVER,
                };
                let (ping_at, look_at) = match ping {
                    None => (Tick::NEVER, Tick::NEVER),
                    Some(ping) if pinged => (Tick::NEVER, now.after(ping)),
                    Some(ping) => {
                        (self.heard_at.after(ping - ping_jitter(ping, index)), Tick::NEVER)
                    }
                };
                expired(Deadline::Idle, idle_at)
                    .or_else(|| expired(Deadline::Pong, pong_at))
                    .or_else(|| expired(Deadline::Lifetime, lifetime_at))
                    .or_else(|| expired(Deadline::Message, message_at))
                    .or_else(|| expired(Deadline::Send, send_at))
                    .or_else(|| (timer_at <= now).then_some(Due::Timer))
                    .or_else(|| (ping_at <= now).then_some(Due::Ping))
                    .unwrap_or_else(|| {
                        let at = idle_at.min(lifetime_at).min(message_at).min(send_at);
                        Due::Later(at.min(timer_at).min(ping_at).min(pong_at).min(look_at))
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
    ping / 2048 * spread
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(heard_at: u32, flags: Flags) -> Connection<()> {
        let mut conn = Connection::new(Tick(heard_at));
        conn.phase = Phase::Open;
        conn.flags = flags;
        conn
    }

    fn timeouts(ping: Option<u64>, idle: Option<u64>) -> Timeouts {
        let (ping, idle) = (ping.map(Duration::from_secs), idle.map(Duration::from_secs));
        Timeouts { ping, idle, ..Timeouts::default() }
    }

    #[test]
    fn a_tick_is_a_quarter_of_a_second() {
        let rows = [(0, 0), (249, 0), (250, 1), (999, 3), (1000, 4), (3_600_000, 14_400)];
        for (milliseconds, tick) in rows {
            assert_eq!(Tick::at(Duration::from_millis(milliseconds)), Tick(tick));
        }
        assert!(Tick(0).after(Duration::from_millis(1)) > Tick(0));
        assert!(Tick(7).after(Duration::MAX) < Tick::NEVER);
    }

    #[test]
    fn silence_is_answered_by_pings_and_at_last_by_the_end() {
        let limits = timeouts(Some(1), Some(10));
        let silent = open(0, Flags::default());
        assert!(matches!(silent.due(Tick(1), &limits, 0), Due::Later(at) if at <= Tick(5)));
        assert_eq!(silent.due(Tick(5), &limits, 0), Due::Ping);
        let pinged = open(0, Flags::PINGED);
        assert!(matches!(pinged.due(Tick(6), &limits, 0), Due::Later(at) if at <= Tick(11)));
        assert_eq!(pinged.due(Tick(41), &limits, 0), Due::Expired(Deadline::Idle));
    }

    #[test]
    fn an_unanswered_ping_has_a_limit_of_its_own() {
        let limits = Timeouts { pong: Some(Duration::from_secs(2)), ..timeouts(Some(1), Some(60)) };
        let pinged = open(0, Flags::PINGED);
        assert!(matches!(pinged.due(Tick(8), &limits, 0), Due::Later(at) if at <= Tick(13)));
        assert_eq!(pinged.due(Tick(13), &limits, 0), Due::Expired(Deadline::Pong));
        let answered = open(10, Flags::default());
        assert!(matches!(answered.due(Tick(13), &limits, 0), Due::Later(_)));
    }

    /// Its answer does not touch the deadline, so a pinged connection has to be looked at again.
    #[test]
    fn pings_go_on_without_any_other_limit() {
        let limits = Timeouts { lifetime: None, ..timeouts(Some(1), None) };
        let pinged = open(0, Flags::PINGED);
        assert!(matches!(pinged.due(Tick(100), &limits, 3), Due::Later(at) if at <= Tick(105)));
    }

    #[test]
    fn the_longest_time_is_for_ever() {
        let limits = Timeouts {
            handshake: Some(Duration::MAX),
            ping: Some(Duration::MAX),
            pong: Some(Duration::MAX),
            idle: Some(Duration::MAX),
            message: Some(Duration::MAX),
            send: Some(Duration::MAX),
            close: Duration::MAX,
            lifetime: Some(Duration::MAX),
        };
        for index in 0..1000 {
            let due = open(0, Flags::default()).due(Tick(1 << 30), &limits, index);
            assert!(matches!(due, Due::Later(at) if at > Tick(u32::MAX / 2)), "{due:?}");
        }
    }
}
