//! `push` and `slow`: one publishes, all receive, and what goes wrong on the way is found out.

mod support;

use support::{DRIVERS, Ran, load, serve, serve_with};
use throng::{Conn, Handler, Message, SendQueue};

/// Passes each message on to all, with words of its own around it.
#[derive(Clone, Copy, Default)]
struct Chat {
    /// Each tenth message is passed on to nobody.
    forgets: bool,
    /// Each tenth message is passed on twice.
    stutters: bool,
    count: u64,
}

impl Handler for Chat {
    type Data = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.send("welcome");
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let Message::Text(text) = message else { return };
        let Some(words) = text.strip_prefix("say ") else { return };
        self.count += 1;
        let is_tenth = self.count.is_multiple_of(10);
        if self.forgets && is_tenth {
            return;
        }
        let line = format!("somebody said:\n{words}");
        for _ in 0..if self.stutters && is_tenth { 2 } else { 1 } {
            conn.connections().broadcast(&line);
        }
    }
}

const WORDS: &[&str] = &[
    "-c",
    "20",
    "--publishers",
    "3",
    "--publish-rate",
    "300",
    "--kind",
    "text",
    "--template",
    "say {payload}",
];

#[test]
fn everybody_receives_everything() {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Chat::default());
        let ran = load("push", server.url(), name, WORDS);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let sent = ran.counter("sent");
        assert!(sent > 0, "{}", ran.stdout);
        assert_eq!(ran.latency_count("one_way"), 20 * sent, "{}", ran.stdout);
        assert_eq!(ran.latency_count("one_way_service"), 20 * sent);
        assert_eq!(ran.latency_count("first_message"), 23, "the welcome");
        for fault in ["lost", "duplicated", "reordered", "corrupted", "errors"] {
            assert_eq!(ran.counter(fault), 0, "{fault}: {}", ran.stdout);
        }
    }
}

#[test]
fn what_does_not_arrive_is_missed_by_each() {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Chat { forgets: true, ..Chat::default() });
        let ran = load("push", server.url(), name, WORDS);
        let forgotten = ran.counter("sent") / 10;
        assert!(forgotten > 0, "{}", ran.stdout);
        assert_eq!(ran.counter("lost"), 20 * forgotten, "{}", ran.stdout);
    }
}

#[test]
fn what_arrives_twice_is_noticed_by_each() {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Chat { stutters: true, ..Chat::default() });
        let ran = load("push", server.url(), name, WORDS);
        let doubled = ran.counter("sent") / 10;
        assert!(doubled > 0, "{}", ran.stdout);
        assert_eq!(ran.counter("duplicated"), 20 * doubled, "{}", ran.stdout);
        assert_eq!(ran.counter("lost"), 0, "{}", ran.stdout);
    }
}

const LONG_MESSAGES: &[&str] = &[
    "--publish-rate",
    "100",
    "--size",
    "60000",
    "--kind",
    "text",
    "--template",
    "say {payload}",
    "--duration",
    "1s",
];

/// What became of the slow readers.
fn outcome(ran: &Ran) -> String {
    ran.json["parameters"]["of the slow ones"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_server_with_patience_keeps_the_sleepers_and_the_others_miss_nothing() {
    for (driver, name) in DRIVERS {
        let queue = SendQueue { len_max: 1 << 30, ..SendQueue::default() };
        let server = serve_with(driver, Chat::default(), |builder| builder.send_queue(queue));
        let words = [LONG_MESSAGES, &["-c", "5", "--slow", "0.4"]].concat();
        let ran = load("slow", server.url(), name, &words);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let faults = ["lost", "closed", "errors"].map(|name| ran.counter(name));
        assert_eq!(faults, [0, 0, 0], "the others: {}", ran.stdout);
        assert_eq!(ran.latency_count("one_way"), 3 * ran.counter("sent"), "{}", ran.stdout);
        assert!(outcome(&ran).starts_with("2 stayed, "), "{}", outcome(&ran));
    }
}

#[test]
fn a_server_without_patience_cuts_the_sleepers_off() {
    for (driver, name) in DRIVERS {
        let queue = SendQueue { len_max: 64 << 10, ..SendQueue::default() };
        let server = serve_with(driver, Chat::default(), |builder| builder.send_queue(queue));
        let words = [LONG_MESSAGES, &["-c", "2", "--slow", "1"]].concat();
        let ran = load("slow", server.url(), name, &words);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        // On a machine that has a lot to do, it may not come to more than the kernel's buffers hold.
        let is_enough = ran.counter("sent_bytes") > 5 << 20;
        let expected = if is_enough { "0 stayed, 2 " } else { "" };
        assert!(outcome(&ran).starts_with(expected), "{}", outcome(&ran));
    }
}

#[test]
fn readers_that_are_slow_enough_stay() {
    let (driver, name) = DRIVERS[1];
    let server = serve(driver, Chat::default());
    let words = [WORDS, &["--slow", "0.5", "--read-rate", "1000000"]].concat();
    let ran = load("slow", server.url(), name, &words);
    assert_eq!(ran.counter("lost"), 0, "{}", ran.stdout);
    assert!(outcome(&ran).starts_with("10 stayed, "), "{}", outcome(&ran));
}
