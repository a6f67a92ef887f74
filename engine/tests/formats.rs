//! Messages that are values, and what becomes of those that are not: JSON and Protocol Buffers.
#![cfg(all(feature = "json", feature = "protobuf"))]

mod support;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use support::{Frame, Seen, client, on_each_driver, serve, to};
use throng::{
    CloseCause, CloseCode, Conn, DecodeError, DriverKind, Handler, Message, Prepared, Sent,
};

on_each_driver!(
    values_come_and_go,
    what_is_not_the_format_is_told_to_the_peer,
    a_long_reason_is_cut_between_characters,
    what_cannot_be_said_is_not_sent,
    from_the_other_end,
);

/// Adds up, twice: sent as they are, and prepared.
#[derive(Clone, Copy)]
struct Adder;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    terms: Vec<i64>,
}

#[derive(Serialize)]
struct Sum {
    sum: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Numbers {
    #[prost(int64, repeated, tag = "1")]
    numbers: Vec<i64>,
}

impl Adder {
    fn add(conn: &mut Conn<'_, ()>, message: Message<'_>) -> Result<(), DecodeError> {
        let Terms { terms } = message.json()?;
        let sum = Sum { sum: terms.iter().sum() };
        assert_eq!(conn.send_json(&sum).expect("a struct of a number"), Sent::Queued);
        conn.send_prepared(&Prepared::json(&sum).expect("a struct of a number"));
        Ok(())
    }
}

impl Handler for Adder {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        if let Err(error) = Self::add(conn, message) {
            conn.fail_with(&error);
        }
    }
}

/// Turns numbers round.
#[derive(Clone, Copy)]
struct Turner;

impl Handler for Turner {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        match message.protobuf::<Numbers>() {
            Ok(mut numbers) => {
                numbers.numbers.reverse();
                assert_eq!(conn.send_protobuf(&numbers), Sent::Queued);
                conn.send_prepared(&Prepared::protobuf(&numbers));
            }
            Err(error) => conn.fail_with(&error),
        }
    }
}

fn values_come_and_go(driver: DriverKind) {
    let server = serve(driver, Adder);
    let mut client = server.open();
    for (terms, sum) in [("[1,2,3]", 6), ("[]", 0), (&format!("[{}1]", "0,".repeat(100_000)), 1)] {
        client.send(&Frame::text(&format!(r#"{{"terms":{terms}}}"#)));
        for _ in 0..2 {
            client.expect(&Frame::text(&format!(r#"{{"sum":{sum}}}"#)));
        }
    }
    drop(client);
    let server = serve(driver, Turner);
    let mut client = server.open();
    client.send(&Frame::binary(b"\x0A\x03\x01\x02\x03"));
    for _ in 0..2 {
        client.expect(&Frame::binary(b"\x0A\x03\x03\x02\x01"));
    }
}

fn what_is_not_the_format_is_told_to_the_peer(driver: DriverKind) {
    let (adder, turner) = (serve(driver, Adder), serve(driver, Turner));
    // (to whom, what, code, reason)
    let rows = [
        (&adder, Frame::binary(b"{}"), 1003, "a binary message, where text was expected"),
        (&adder, Frame::text("{}"), 1007, "invalid JSON: missing field `terms` at line 1 column 2"),
        (&adder, Frame::text("1+2"), 1007, "invalid JSON: "),
        (&turner, Frame::text("[1,2,3]"), 1003, "a text message, where binary was expected"),
        (&turner, Frame::binary(b"\x0A\x03\x01"), 1007, "invalid protobuf: "),
    ];
    for (server, message, code, reason) in rows {
        let mut client = server.open();
        client.send(&message);
        let close = client.frame();
        let (told, why) = close.close_parts().expect("a Close");
        assert_eq!(told, code, "{why}");
        assert!(why.starts_with(reason), "{why}");
    }
}

fn a_long_reason_is_cut_between_characters(driver: DriverKind) {
    let server = serve(driver, Adder);
    for len in 0..4 {
        let mut client = server.open();
        let key = format!("{}{}", "x".repeat(len), "🦀".repeat(100));
        client.send(&Frame::text(&format!(r#"{{"{key}":0}}"#)));
        let close = client.frame();
        let (code, reason) = close.close_parts().expect("a Close");
        assert_eq!(code, 1007);
        assert!((120..=123).contains(&reason.len()), "{reason}");
    }
}

fn what_cannot_be_said_is_not_sent(driver: DriverKind) {
    #[derive(Clone, Copy)]
    struct Mumbler;

    impl Handler for Mumbler {
        type Data = ();

        fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
            // A part of it has been written when that shows.
            let pairs = BTreeMap::from([([1, 2], 3)]);
            assert!(conn.send_json(&("so far so good", pairs)).is_err());
            assert_eq!(conn.send_json("plainly").expect("a string"), Sent::Queued);
        }
    }

    let server = serve(driver, Mumbler);
    server.open().expect(&Frame::text("\"plainly\""));
}

fn from_the_other_end(driver: DriverKind) {
    let server = serve(driver, Adder);
    let client = client(driver);
    let id = client.open(&to(server.address()));
    client.order(move |connections| {
        let mut conn = connections.conn(id).expect("it is open");
        conn.send_json(&BTreeMap::from([("terms", [4, 5])])).expect("strings are keys");
    });
    for _ in 0..2 {
        assert!(matches!(client.next(), Seen::Text(sum) if sum == r#"{"sum":9}"#));
    }
    client.order(move |connections| {
        let mut conn = connections.conn(id).expect("it is open");
        conn.fail_with(&DecodeError::invalid("sum", "ten, not nine"));
    });
    assert!(matches!(client.next(), Seen::Closed(CloseCause::Local(CloseCode::INVALID_PAYLOAD))));
}
