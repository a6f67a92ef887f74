//! The command line: what is refused, what is asserted, what is written.

mod support;

use std::{fs, net::TcpListener};

use rustix::process::{Pid, Signal, kill_process};
use support::{DRIVERS, Echo, load, program, run, scratch, serve};
use throng::{Acceptance, Conn, Handler, Message, Request, Response, Upgrade};

#[test]
fn there_is_no_load_on_other_machines() {
    for workload in ["echo", "push", "idle", "storm", "churn", "limit", "slow"] {
        let ran = run(&[workload, "ws://192.0.2.1:9/"]);
        assert_eq!(ran.code, 1, "{workload}: {}", ran.stderr);
        assert!(ran.stderr.contains("--allow-target 192.0.2.1"), "{}", ran.stderr);
        let ran = run(&[workload, "ws://192.0.2.1:9/", "--allow-target", "192.0.2.2"]);
        assert_eq!(ran.code, 1, "another name does not allow it: {}", ran.stderr);
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (words, word) in [
        (&["echo", "http://127.0.0.1/"][..], "ws://"),
        (&["echo", "wss://127.0.0.1:1"], "TLS"),
        (&["echo", "ws://127.0.0.1:1", "--template", "no place"], "{payload}"),
        (&["echo", "ws://127.0.0.1:1", "--payload-file", "/no/such/file"], "/no/such/file"),
        (&["echo", "ws://127.0.0.1:1", "--size", "99999999"], "too long"),
        (&["push", "ws://127.0.0.1:1", "--size", "10"], "48"),
        (&["idle", "ws://127.0.0.1:1", "--pid", "4294967295"], "--pid"),
        (&["compare", "/no/such.json", "/no/such.json"], "/no/such.json"),
    ] {
        let ran = run(words);
        assert_eq!(ran.code, 1, "{words:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(word), "{words:?}: {}", ran.stderr);
    }
    for words in [
        &["echo"][..],
        &["echo", "ws://127.0.0.1:1", "--rate", "0"],
        &["echo", "ws://127.0.0.1:1", "--assert", "p99 is fine"],
        &["echo", "ws://127.0.0.1:1", "--rate", "5", "--pipeline", "5"],
    ] {
        assert_eq!(run(words).code, 2, "{words:?}");
    }
}

/// Lets those in who say the right words.
#[derive(Clone)]
struct Doorman;

impl Handler for Doorman {
    type Data = ();

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        let knows = request.header("Authorization") == Some("Bearer open sesame");
        match knows && request.path() == "/inner" {
            true => Upgrade::accept_as(Acceptance::new().subprotocol("v2")),
            false => Upgrade::refuse(Response::text(401, "who are you?\n")),
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
    }
}

#[test]
fn headers_and_subprotocols_are_said_and_targets_take_turns() {
    for (driver, name) in DRIVERS {
        let servers = [serve(driver, Doorman), serve(driver, Doorman)];
        let urls = servers.each_ref().map(|server| format!("{}inner", server.url()));
        let words = ["-H", "Authorization: Bearer open sesame", "-c", "6", "-r", "200"];
        let more = [urls[1].as_str(), "--subprotocol", "v1", "--subprotocol", "v2"];
        let ran = load("echo", &urls[0], name, &[&more[..], &words[..]].concat());
        let counts = ["connected", "failed", "lost"].map(|name| ran.counter(name));
        assert_eq!(counts, [6, 0, 0], "{}", ran.stdout);
        servers.iter().for_each(|server| server.until_open(3));
        let ran = load("echo", &urls[0], name, &["-c", "6", "--subprotocol", "v2"]);
        assert!(ran.json["errors"].to_string().contains("401"), "{}", ran.json["errors"]);
    }
}

#[test]
fn a_file_is_sent_as_it_is_or_around_the_payload() {
    let (driver, name) = DRIVERS[0];
    let server = serve(driver, Echo);
    let file = scratch("txt");
    let path = file.to_string_lossy();
    for (content, caveat) in [("just this", true), ("before {payload} after", false)] {
        fs::write(&file, content).unwrap();
        let ran = load("echo", server.url(), name, &["--payload-file", &path, "-r", "200"]);
        assert_eq!(ran.counter("lost") + ran.counter("corrupted"), 0, "{}", ran.stdout);
        assert!(ran.counter("received") > 0, "{}", ran.stdout);
        assert_eq!(ran.json["notes"].to_string().contains("no room for a stamp"), caveat);
    }
    fs::remove_file(&file).unwrap();
}

#[test]
fn an_interrupted_run_still_reports() {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Echo);
        let words = ["echo", server.url(), "--driver", name, "-c", "7", "-r", "100", "-d", "1h"];
        let child = program(&words).spawn().expect("it starts");
        server.until_open(7);
        let pid = Pid::from_raw(child.id() as i32).expect("it is a process");
        kill_process(pid, Signal::INT).expect("it is ours");
        let output = child.wait_with_output().expect("it ends");
        let report = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{report}");
        assert!(report.contains("ended early") && report.contains("connected"), "{report}");
    }
}

#[test]
fn broken_assertions_exit_with_three() {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Echo);
        let words = ["-c", "2", "--rate", "500", "--assert", "lost==0", "connected==2"];
        let ran = load("echo", server.url(), name, &words);
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        let words = ["-c", "2", "--rate", "500", "--assert", "lost==0", "connected==3"];
        let ran = load("echo", server.url(), name, &words);
        assert_eq!(ran.code, 3, "{}", ran.stdout);
        assert!(ran.stdout.contains("connected==3"), "{}", ran.stdout);
    }
}

#[test]
fn a_server_that_is_not_there_is_an_error_in_the_table() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (_, name) in DRIVERS {
        let url = format!("ws://127.0.0.1:{port}/");
        let ran = load("echo", &url, name, &["-c", "5", "--assert", "failed==0"]);
        assert_eq!(ran.code, 3, "{}", ran.stdout);
        assert_eq!((ran.counter("attempted"), ran.counter("failed")), (5, 5), "{}", ran.stdout);
        assert!(ran.json["errors"].to_string().contains("refused"), "{}", ran.json["errors"]);
    }
}

#[test]
fn every_kind_of_report_is_written_and_runs_can_be_compared() {
    let (driver, name) = DRIVERS[1];
    let server = serve(driver, Echo);
    let (json, csv, html, hdr) = (scratch("json"), scratch("csv"), scratch("html"), scratch("hdr"));
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let words = ["echo", server.url(), "--driver", name, "-c", "2", "-d", "200ms", "-q"];
    let files = [
        "--json",
        &path(&json),
        "--csv",
        &path(&csv),
        "--html",
        &path(&html),
        "--hdr",
        &path(&hdr),
    ];
    let ran = run(&[&words[..], &files[..]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for (file, word) in [(&json, "\"schema\""), (&csv, ","), (&html, "<html")] {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(word), "{file:?} has no {word}");
    }
    let compared = run(&["compare", &path(&json), &path(&json)]);
    assert_eq!(compared.code, 0, "{}", compared.stderr);
    assert!(compared.stdout.contains("round trip"), "{}", compared.stdout);
    let prefix = path(&hdr);
    let folder = hdr.parent().unwrap();
    let files: Vec<_> = fs::read_dir(folder).unwrap().flatten().map(|file| file.path()).collect();
    let written: Vec<_> = files.iter().filter(|file| path(file).starts_with(&prefix)).collect();
    assert!(!written.is_empty());
    for file in written.into_iter().chain([&json, &csv, &html]) {
        fs::remove_file(file).unwrap();
    }
}
