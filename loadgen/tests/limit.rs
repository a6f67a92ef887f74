//! `limit`: the rate at which an objective breaks is found.

mod support;

use support::{DRIVERS, load, serve};
use throng::{Conn, Handler, Message};

/// How many messages the server echoes in all.
const ECHOED_MAX: u64 = 300;

/// Echoes for a while, and then forgets.
#[derive(Clone, Default)]
struct Tired {
    echoed: u64,
}

impl Handler for Tired {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        if self.echoed < ECHOED_MAX {
            self.echoed += 1;
            conn.send(message);
        }
    }
}

#[test]
fn the_rate_rises_until_the_objective_breaks() {
    for (driver, name) in DRIVERS {
        let server = serve(driver, Tired::default());
        let mut words = vec!["-c", "4", "--from", "200", "--factor", "4", "--halvings", "1"];
        words.extend(["--objective", "lost==0", "--duration", "500ms", "--grace", "200ms"]);
        let ran = load("limit", server.url(), name, &words);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let steps = ran.json["steps"].as_array().unwrap();
        let loads: Vec<_> = steps.iter().map(|step| step["load"].as_f64().unwrap()).collect();
        assert_eq!(loads, [200.0, 800.0, 500.0], "{}", ran.stdout);
        let held: Vec<_> = steps.iter().map(|step| step["is_held"].as_bool().unwrap()).collect();
        assert_eq!(held, [true, false, false], "{}", ran.stdout);
        let reason = steps[1]["reason"].as_str().unwrap();
        assert!(reason.contains("lost"), "{reason}");
        assert!(ran.json["parameters"]["limit"].to_string().contains("200"), "{}", ran.stdout);
    }
}
