//! `echo` finds out what a server does with messages.

mod support;

use support::{DRIVERS, Ran, load, serve};
use throng::{CloseCode, Conn, Handler, Message};

/// What a server does with each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    Good,
    /// Each tenth is forgotten.
    Forgetful,
    /// Each tenth comes twice.
    Stuttering,
    /// Each tenth comes after its successor.
    Disorderly,
    /// Of each tenth the last byte is changed.
    Clumsy,
    /// After ten the connection is closed.
    Impatient,
}

#[derive(Clone)]
struct Echo(Manners);

impl Handler for Echo {
    type Data = (u64, Option<Vec<u8>>);

    fn on_message(&mut self, conn: &mut Conn<'_, Self::Data>, message: Message<'_>) {
        let (number, kept) = conn.data_mut();
        *number += 1;
        let is_tenth = *number % 10 == 0;
        let kept = kept.take();
        match self.0 {
            Manners::Impatient if is_tenth => conn.close(CloseCode::TRY_AGAIN_LATER, "enough"),
            Manners::Forgetful if is_tenth => {}
            Manners::Disorderly if is_tenth => {
                conn.data_mut().1 = Some(message.as_bytes().to_vec());
            }
            Manners::Clumsy if is_tenth => {
                let mut bytes = message.as_bytes().to_vec();
                *bytes.last_mut().expect("it is not empty") ^= 1;
                conn.send(Message::Binary(&bytes));
            }
            manners => {
                conn.send(message);
                if manners == Manners::Stuttering && is_tenth {
                    conn.send(message);
                }
            }
        }
        if let Some(kept) = kept {
            conn.send(Message::Binary(&kept));
        }
    }
}

#[track_caller]
fn check(manners: Manners, words: &[&str], expected: impl Fn(&Ran)) {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Echo(manners));
        let ran = load("echo", server.url(), name, words);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(ran.counter("errors"), 0, "{}", ran.stdout);
        expected(&ran);
    }
}

/// Everything that was sent came back once, unharmed and in order.
#[track_caller]
fn is_flawless(ran: &Ran) {
    assert!(ran.counter("sent") > 0, "{}", ran.stdout);
    assert_eq!(ran.counter("sent"), ran.counter("received"), "{}", ran.stdout);
    for fault in ["lost", "duplicated", "reordered", "corrupted", "failed", "closed"] {
        assert_eq!(ran.counter(fault), 0, "{fault}: {}", ran.stdout);
    }
    for timing in ["round_trip", "round_trip_service"] {
        assert_eq!(ran.latency_count(timing), ran.counter("received"), "{timing}");
    }
}

const OPEN_LOOP: &[&str] = &["-c", "4", "--rate", "1000"];

#[test]
fn the_open_loop_sends_what_it_was_told() {
    check(Manners::Good, OPEN_LOOP, |ran| {
        is_flawless(ran);
        assert_eq!(ran.counter("connected"), 4);
        assert_eq!(ran.json["pacing"]["loop"], "open");
        assert!(ran.stdout.contains("intended"), "{}", ran.stdout);
        // Each of the two workers may send one message more than its part.
        let due = 1000.0 * ran.json["duration"].as_f64().unwrap() + 2.0;
        assert!(ran.counter("sent") as f64 <= due, "{}", ran.stdout);
    });
}

#[test]
fn poisson_arrivals_and_text_and_a_template() {
    let words = ["-c", "4", "--rate", "1000", "--arrivals", "poisson", "--kind", "text"];
    let template = ["--template", r#"{"say":"{payload}"}"#, "--size", "200"];
    check(Manners::Good, &[&words[..], &template[..]].concat(), is_flawless);
}

#[test]
fn the_closed_loop_says_so() {
    for pipeline in ["1", "8"] {
        check(Manners::Good, &["-c", "3", "--pipeline", pipeline], |ran| {
            is_flawless(ran);
            assert_eq!(ran.json["pacing"]["loop"], "closed");
            assert!(ran.stdout.contains("closed loop"), "{}", ran.stdout);
        });
    }
}

#[test]
fn short_messages_are_compared_and_that_is_said() {
    check(Manners::Good, &["-c", "3", "--size", "10", "--pipeline", "4"], |ran| {
        is_flawless(ran);
        let notes = ran.json["notes"].to_string();
        assert!(notes.contains("order and duplicates are not"), "{notes}");
    });
    check(Manners::Clumsy, &["-c", "3", "--size", "10"], |ran| {
        assert!(ran.counter("corrupted") > 0, "{}", ran.stdout);
        assert_eq!(ran.counter("lost"), 0, "{}", ran.stdout);
    });
}

#[test]
fn losses_are_found() {
    check(Manners::Forgetful, OPEN_LOOP, |ran| {
        let (sent, received) = (ran.counter("sent"), ran.counter("received"));
        assert!(ran.counter("lost") > 0, "{}", ran.stdout);
        assert_eq!(ran.counter("lost"), sent - received, "{}", ran.stdout);
        assert_eq!((ran.counter("duplicated"), ran.counter("reordered")), (0, 0));
    });
}

#[test]
fn duplicates_are_found() {
    check(Manners::Stuttering, OPEN_LOOP, |ran| {
        let more = ran.counter("received") - ran.counter("sent");
        assert!(more > 0, "{}", ran.stdout);
        assert_eq!((ran.counter("duplicated"), ran.counter("lost")), (more, 0), "{}", ran.stdout);
        assert_eq!(ran.latency_count("round_trip"), ran.counter("sent"), "each counts once");
    });
}

#[test]
fn reorders_are_found() {
    check(Manners::Disorderly, OPEN_LOOP, |ran| {
        assert!(ran.counter("reordered") > 0, "{}", ran.stdout);
        // One that is kept when the run ends never comes.
        assert!(ran.counter("lost") <= 4, "{}", ran.stdout);
        assert_eq!(ran.counter("duplicated"), 0);
    });
}

#[test]
fn corruption_is_found() {
    check(Manners::Clumsy, OPEN_LOOP, |ran| {
        assert!(ran.counter("corrupted") > 0, "{}", ran.stdout);
        assert_eq!(ran.counter("corrupted"), ran.counter("lost"), "a harmed message is lost");
    });
}

#[test]
fn closes_are_in_a_table() {
    check(Manners::Impatient, &["-c", "4", "--pipeline", "2"], |ran| {
        assert_eq!(ran.counter("closed"), 4, "{}", ran.stdout);
        let closes = ran.json["closes"].to_string();
        assert!(closes.contains("1013") && closes.contains("server"), "{closes}");
        assert!(ran.stdout.contains("1013"), "{}", ran.stdout);
    });
}

#[test]
fn lost_connections_come_back_if_they_should() {
    let words = ["-c", "4", "--pipeline", "2", "--reconnect", "--backoff", "1ms"];
    check(Manners::Impatient, &words, |ran| {
        assert!(ran.counter("connected") > 4, "{}", ran.stdout);
    });
}
