//! A client that is not ours goes to the bank.

use throng::Server;
use tungstenite::Message;

use self::visit::{ask, closed, open, while_up};
use super::Bank;

#[path = "../visit.rs"]
mod visit;

fn server() -> Server {
    Server::builder().listen("127.0.0.1:0").build().unwrap()
}

#[test]
fn requests_are_answered_by_number() {
    while_up(
        server(),
        |_| Bank,
        |address, _| {
            let (mut ada, mut bob) = (open(address), open(address));
            // (request, answer)
            let rows = [
                (r#"{"id":1,"call":"deposit","amount":70}"#, r#"{"id":1,"balance":70}"#),
                (r#"{"call":"withdraw","id":7,"amount":30}"#, r#"{"id":7,"balance":40}"#),
                (
                    r#"{"id":2,"call":"withdraw","amount":99}"#,
                    r#"{"id":2,"error":"there are only 40"}"#,
                ),
                (r#"{"id":3,"call":"balance"}"#, r#"{"id":3,"balance":40}"#),
            ];
            for (request, answer) in rows {
                assert_eq!(ask(&mut ada, request), Message::text(answer));
            }
            let balance = ask(&mut bob, r#"{"id":0,"call":"balance"}"#);
            assert_eq!(balance, Message::text(r#"{"id":0,"balance":0}"#));
        },
    );
}

#[test]
fn what_is_no_request_is_refused_by_name() {
    while_up(
        server(),
        |_| Bank,
        |address, _| {
            // (message, code, reason)
            let rows = [
                (Message::binary("{}"), 1003, "a binary message, where text was expected"),
                (Message::text("hello"), 1007, "invalid JSON: expected value at line 1 column 1"),
                (
                    Message::text(r#"{"id":1,"call":"deposit"}"#),
                    1007,
                    "invalid JSON: missing field `amount` at line 1 column 25",
                ),
                (
                    Message::text(r#"{"id":1,"call":"rob"}"#),
                    1007,
                    "invalid JSON: unknown variant `rob`, expected one of `balance`, `deposit`, `withdraw`",
                ),
            ];
            for (message, code, reason) in rows {
                let mut client = open(address);
                client.send(message).unwrap();
                let close = closed(client.read().unwrap());
                assert_eq!(u16::from(close.code), code);
                assert!(close.reason.starts_with(reason), "{}", close.reason);
            }
        },
    );
}
