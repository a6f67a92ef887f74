//! `million`, with a few hundred: every phase reaches everyone, and nothing stays behind.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

#[test]
fn epoll() {
    reaches_everyone("epoll");
}

#[test]
fn uring() {
    // A server that finds its standard input at its end leaves at once, if it came to be at all.
    let mut command = Command::new(PROGRAM);
    command.args(["million-server", "--driver=uring", "--reactors=1", "--give-up=1"]);
    if command.output().unwrap().status.success() {
        reaches_everyone("uring");
    }
}

#[test]
fn none_is_too_few() {
    let output = Command::new(PROGRAM).args(["million", "--driver=epoll", "--count=0"]).output();
    let output = output.unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--count is 0: use at least 1"));
}

fn reaches_everyone(driver: &str) {
    let path = json_path(driver);
    let mut command = Command::new(PROGRAM);
    command.args(["million", "--count=300", "--reactors=3", "--driver", driver, "--json"]);
    let output = command.arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    fs::remove_file(path).unwrap();
    for phase in ["connected", "pinged", "told", "closed"] {
        assert_eq!(report[phase]["count"], 300, "{phase}");
    }
    assert_eq!(report["dropped"], 0);
    assert_eq!((&report["stopped"], &report["problem"]), (&Value::Null, &Value::Null));
}

fn json_path(driver: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("million-{driver}.json"))
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_throng-bench");
