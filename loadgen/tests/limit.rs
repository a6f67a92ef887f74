//! `limit`: the rate at which an objective breaks is found.

mod support;

use support::{DRIVERS, load, serve};
use throng::{Conn, Handler, Message};

#[derive(Clone)]
struct Echo;

impl Handler for Echo {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
    }
}

#[test]
fn the_rate_rises_until_the_objective_breaks() {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Echo);
        // More than 100 messages a step are too many.
        let words = ["-c", "4", "--from", "200", "--factor", "2", "--halvings", "1", "--objective"];
        let words = [&words[..], &["sent<100", "lost==0"]].concat();
        let ran = load("limit", server.url(), name, &words);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let steps = ran.json["steps"].as_array().unwrap();
        let held: Vec<_> = steps.iter().map(|step| step["is_held"].as_bool().unwrap()).collect();
        assert_eq!(held, [true, false, true], "{}", ran.stdout);
        assert_eq!(steps[2]["load"], 300.0, "{}", ran.stdout);
        assert!(ran.json["parameters"]["limit"].to_string().contains("300"), "{}", ran.stdout);
    }
}
