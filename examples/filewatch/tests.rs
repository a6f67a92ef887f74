//! Clients that are not ours look at a file.

use std::{fs, path::PathBuf, thread, time::Duration};

use throng::Server;
use tungstenite::Message;

use self::visit::{open, while_up};
use super::{Viewer, watch};

#[path = "../visit.rs"]
mod visit;

/// A file of this test process, which is removed at the end.
struct Watched(PathBuf);

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn everyone_sees_the_file_as_it_is_and_as_it_becomes() {
    let file = Watched(std::env::temp_dir().join(format!("filewatch-{}", std::process::id())));
    let server = Server::builder().listen("127.0.0.1:0").reactors(2).build().unwrap();
    while_up(
        server,
        |_| Viewer::default(),
        |address, remote| {
            let (remote, path) = (remote.clone(), file.0.clone());
            thread::spawn(move || watch(&path, Duration::from_millis(5), &remote));

            let mut early = open(address);
            let missing = early.read().unwrap();
            assert!(missing.to_text().unwrap().contains("No such file"), "{missing}");

            // A write may be seen half done: what counts is what is seen in the end.
            for contents in ["one", "two, Grüße", &"long ".repeat(5000)] {
                fs::write(&file.0, contents).unwrap();
                while early.read().unwrap() != Message::text(contents) {}
                let mut late = open(address);
                while late.read().unwrap() != Message::text(contents) {}
            }

            let tail = "x".repeat(64 * 1024);
            fs::write(&file.0, format!("not this{tail}")).unwrap();
            while early.read().unwrap() != Message::text(&*tail) {}
        },
    );
}
