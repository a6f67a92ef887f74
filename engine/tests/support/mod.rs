//! What the tests share: a server to talk to, and a peer that may say anything.
//!
//! A test is a scene, a function of the driver, and plays on both:
//!
//! ```text
//! on_each_driver!(a_text_comes_back);
//!
//! fn a_text_comes_back(driver: DriverKind) {
//!     let server = serve(driver, Echo);
//!     let mut client = server.open();
//!     client.send(&Frame::text("hello"));
//!     client.expect(&Frame::text("hello"));
//! }
//! ```
//!
//! Whatever a bug does, a scene ends: everything that waits has [`PATIENCE`], and no more. And when
//! a server leaves the stage it is held against what always holds: its threads end, no connection is
//! left, each that was opened was closed.
#![allow(dead_code, unused_imports)] // each topic uses its share

mod calling;
mod child;
mod client;
#[cfg(feature = "deflate")]
mod deflating;
mod frame;
mod handler;
mod serving;

use std::{env, sync::LazyLock, time::Duration};

use throng::DriverKind;

#[cfg(feature = "deflate")]
pub(crate) use self::deflating::{Deflating, dedicated, shared};
pub(crate) use self::{
    calling::{
        Calling, OwnedMessage, Seen, client, client_with, peer, read_frame, read_request,
        switching, to,
    },
    child::{Child, driver_name, is_child},
    client::{Answer, Client, request},
    frame::Frame,
    handler::{Echo, Event, Log, echo, logged},
    serving::{Serving, serve, serve_with},
};

/// How long a test waits for anything. Nothing else depends on it: it is how late a failure shows.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Makes a test of every scene for each driver.
macro_rules! on_each_driver {
    ($($scene:ident),* $(,)?) => {
        mod uring {
            $(#[test] fn $scene() {
                $crate::support::play(throng::DriverKind::Uring, super::$scene);
            })*
        }
        mod epoll {
            $(#[test] fn $scene() {
                $crate::support::play(throng::DriverKind::Epoll, super::$scene);
            })*
        }
    };
}
pub(crate) use on_each_driver;

/// Plays a scene, unless `THRONG_DRIVER` says that the other driver alone is to be tested. Where a
/// driver does not work its tests fail: to leave one out is a decision, and never happens by itself.
pub(crate) fn play(driver: DriverKind, scene: fn(DriverKind)) {
    let only = env::var("THRONG_DRIVER").unwrap_or_default();
    let is_wanted = match driver {
        DriverKind::Uring => only != "epoll",
        _ => only != "uring",
    };
    if is_wanted {
        scene(driver);
    } else {
        eprintln!("skipped: THRONG_DRIVER={only}");
    }
}

/// Bytes without a pattern that a mistake could repeat, the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    // Cut from one stretch that goes round and round: tests are built without optimization, and some
    // messages are long.
    static STRETCH: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
            (state >> 56) as u8
        };
        (0..65_537).map(|_| next()).collect()
    });
    let start = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % STRETCH.len();
    let mut bytes = Vec::with_capacity(len + STRETCH.len());
    bytes.extend_from_slice(&STRETCH[start..]);
    while bytes.len() < len {
        bytes.extend_from_slice(&STRETCH);
    }
    bytes.truncate(len);
    bytes
}

/// Text with characters of one to four bytes, of exactly this many bytes.
pub(crate) fn prose(len: usize) -> String {
    let mut text = "Grüße, 世界! 🦀 ".repeat(len / 22 + 1);
    let mut end = len;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(&"~".repeat(len - end));
    text
}
