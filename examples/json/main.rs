//! A small API in JSON: an account a connection, requests and answers matched by number.
//!
//! ```sh
//! cargo run --release --example json      # then, with any client of ws://127.0.0.1:9003:
//! ```
//!
//! ```text
//! {"id":1,"call":"deposit","amount":70}    ▶  {"id":1,"balance":70}
//! {"id":2,"call":"withdraw","amount":99}   ▶  {"id":2,"error":"there are only 70"}
//! {"id":3,"call":"withdraw"}               ▶  Close 1007 (invalid JSON: missing field `amount` …)
//! ```

use serde::{Deserialize, Serialize};
use throng::{Conn, Handler, Message, Server};

#[derive(Deserialize)]
struct Request {
    id: u64,
    #[serde(flatten)]
    call: Call,
}

#[derive(Deserialize)]
#[serde(tag = "call", rename_all = "lowercase")]
enum Call {
    Balance,
    Deposit { amount: u64 },
    Withdraw { amount: u64 },
}

#[derive(Serialize)]
struct Answer {
    id: u64,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Balance(u64),
    Error(String),
}

impl Call {
    fn obey(self, balance: &mut u64) -> Outcome {
        let (changed, trouble) = match self {
            Self::Balance => (Some(*balance), "nothing"),
            Self::Deposit { amount } => (balance.checked_add(amount), "there is no room beside"),
            Self::Withdraw { amount } => (balance.checked_sub(amount), "there are only"),
        };
        match changed {
            Some(changed) => {
                *balance = changed;
                Outcome::Balance(changed)
            }
            None => Outcome::Error(format!("{trouble} {balance}")),
        }
    }
}

struct Bank;

impl Handler for Bank {
    /// What is in the account.
    type Data = u64;

    fn on_message(&mut self, conn: &mut Conn<'_, u64>, message: Message<'_>) {
        match message.json() {
            Ok(Request { id, call }) => {
                let answer = Answer { id, outcome: call.obey(conn.data_mut()) };
                conn.send_json(&answer).expect("numbers and text are JSON");
            }
            // What is no request of ours ends the connection, and says why.
            Err(error) => conn.fail_with(&error),
        }
    }
}

fn main() -> throng::Result<()> {
    let server = Server::builder().listen("127.0.0.1:9003").build()?;
    println!("ws://{}", server.addresses()[0]);
    server.run(|_reactor| Bank)
}

#[cfg(test)]
mod tests;
