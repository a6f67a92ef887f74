//! What is timed.

use serde::{Deserialize, Serialize};

/// What a latency is the latency of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Timing {
    /// From the intended start of a connection to the established TCP connection.
    Connect,
    /// From the established TCP connection to the last byte of the `101` answer.
    Upgrade,
    /// From the `101` answer to the first message of the server.
    FirstMessage,
    /// From the moment a message *should* have been sent to its echo.
    RoundTrip,
    /// From the moment a message *was* sent to its echo.
    RoundTripService,
    /// From the moment a publication should have been sent to its arrival at one subscriber.
    OneWay,
    /// From the moment a publication was sent to its arrival at one subscriber.
    OneWayService,
    /// From our close frame to the end of the connection.
    Close,
    /// From the moment a message should have been sent to the moment it was: our own delay.
    SendDelay,
    /// How long a turn of one of our own reactors kept the others waiting.
    LoopLag,
}

impl Timing {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// All, in the order reports show them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Connect,
        Self::Upgrade,
        Self::FirstMessage,
        Self::RoundTrip,
        Self::RoundTripService,
        Self::OneWay,
        Self::OneWayService,
        Self::Close,
        Self::SendDelay,
        Self::LoopLag,
    ];

    /// Whether it is about the opening of a connection.
    pub(crate) fn is_of_openings(self) -> bool {
        matches!(self, Self::Connect | Self::Upgrade | Self::FirstMessage)
    }

    /// The name in files and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Upgrade => "upgrade",
            Self::FirstMessage => "first_message",
            Self::RoundTrip => "round_trip",
            Self::RoundTripService => "round_trip_service",
            Self::OneWay => "one_way",
            Self::OneWayService => "one_way_service",
            Self::Close => "close",
            Self::SendDelay => "send_delay",
            Self::LoopLag => "loop_lag",
        }
    }

    /// The name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Upgrade => "upgrade",
            Self::FirstMessage => "first message",
            Self::RoundTrip => "round trip",
            Self::RoundTripService => "round trip, service",
            Self::OneWay => "one-way",
            Self::OneWayService => "one-way, service",
            Self::Close => "close",
            Self::SendDelay => "own send delay",
            Self::LoopLag => "own loop lag",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_in_the_list_is_the_number() {
        for (index, timing) in Timing::ALL.into_iter().enumerate() {
            assert_eq!(timing as usize, index);
            let json = serde_json::to_string(&timing).unwrap();
            assert_eq!(json, format!("\"{}\"", timing.name()));
        }
    }
}
