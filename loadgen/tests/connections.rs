//! `idle`, `storm` and `churn`: connections are opened, held, killed and replaced.

mod support;

use support::{DRIVERS, Echo, load, serve};
use throng::{CloseCode, Conn, Handler, Request, Response, Upgrade};

/// Lets nobody in.
#[derive(Clone)]
struct Bouncer;

impl Handler for Bouncer {
    type Data = ();

    fn on_upgrade(&mut self, _request: &Request<'_>) -> Upgrade<()> {
        Upgrade::refuse(Response::text(503, "full\n"))
    }
}

/// Sends everybody away who is in.
#[derive(Clone)]
struct Host;

impl Handler for Host {
    type Data = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.close(CloseCode::SERVICE_RESTART, "");
    }
}

#[test]
fn idle_holds_them_and_knows_what_they_cost() {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Echo);
        let pid = std::process::id().to_string();
        let ran = load("idle", server.url(), name, &["-c", "300", "--pid", &pid]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let counts = ["attempted", "connected", "failed", "closed"].map(|name| ran.counter(name));
        assert_eq!(counts, [300, 300, 0, 0], "{}", ran.stdout);
        assert_eq!(ran.json["open"], 300);
        assert_eq!(ran.latency_count("connect"), 300);
        assert_eq!(ran.latency_count("upgrade"), 300);
        let whose: Vec<_> = ran.json["memory"].as_array().unwrap().iter().collect();
        assert_eq!(whose.len(), 2, "the server's and our own: {whose:?}");
        assert!(whose.iter().all(|memory| memory["connection_count"] == 300));
    }
}

#[test]
fn a_ramp_takes_its_time() {
    let (driver, name) = DRIVERS[0];
    let server = serve(driver, Echo);
    let begun = std::time::Instant::now();
    let ran = load("idle", server.url(), name, &["-c", "50", "--ramp", "500ms"]);
    assert_eq!(ran.counter("connected"), 50);
    assert!(begun.elapsed() >= std::time::Duration::from_millis(500), "not before its time");
}

#[test]
fn a_storm_replaces_what_it_closes() {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Echo);
        let ran = load("storm", server.url(), name, &["-c", "10"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.counter("connected") > 10, "{}", ran.stdout);
        assert_eq!((ran.counter("failed"), ran.counter("errors")), (0, 0), "{}", ran.stdout);
        assert!(ran.latency_count("close") > 0);
        let ran = load("storm", server.url(), name, &["-c", "10", "--rate", "200"]);
        assert!(ran.counter("connected") > 10, "{}", ran.stdout);
        assert!(ran.counter("attempted") <= 80, "{}", ran.stdout);
    }
}

#[test]
fn those_that_are_killed_come_back() {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Echo);
        let words = ["-c", "40", "--kill", "2", "--backoff", "5ms"];
        let ran = load("storm", server.url(), name, &words);
        let counts = ["connected", "closed", "failed"].map(|name| ran.counter(name));
        assert_eq!(counts, [80, 80, 0], "twice all of them: {}", ran.stdout);
        assert_eq!(ran.json["open"], 40, "{}", ran.stdout);
        for round in ["round 1", "round 2"] {
            let outcome = ran.json["parameters"][round].as_str().unwrap_or_default();
            assert!(outcome.starts_with("all back after"), "{outcome}");
        }
    }
}

#[test]
fn churn_keeps_the_number_and_changes_the_faces() {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Echo);
        for lifetimes in ["exponential", "constant"] {
            let words = ["-c", "30", "--lifetime", "50ms", "--lifetimes", lifetimes, "--greet"];
            let ran = load("churn", server.url(), name, &words);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            assert!(ran.counter("closed") >= 30, "{}", ran.stdout);
            assert_eq!(ran.counter("failed"), 0, "{}", ran.stdout);
            assert!(ran.json["closes"].to_string().contains("1000"));
            assert!(ran.counter("received") > 0, "{}", ran.stdout);
        }
    }
}

#[test]
fn refusals_and_farewells_are_counted() {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Bouncer);
        let ran = load("idle", server.url(), name, &["-c", "10"]);
        assert_eq!((ran.counter("failed"), ran.counter("connected")), (10, 0), "{}", ran.stdout);
        assert!(ran.json["errors"].to_string().contains("503"), "{}", ran.json["errors"]);
        let server = serve(driver, Host);
        let ran = load("idle", server.url(), name, &["-c", "10"]);
        assert_eq!((ran.counter("connected"), ran.counter("closed")), (10, 10), "{}", ran.stdout);
        let closes = ran.json["closes"].to_string();
        assert!(closes.contains("1012") && closes.contains("server"), "{closes}");
    }
}
