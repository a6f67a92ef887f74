//! The examples of RFC 7692 §7.2.3, what peers do that is legal and rare, and laws.

use proptest::prelude::*;
use zlib_rs::{DeflateFlush, InflateFlush};

use super::*;
use crate::protocol::{CloseCode, ProtocolError, extension::Offers};

fn inflate(payload: &[u8]) -> Result<Vec<u8>, ProtocolError> {
    let mut out = Vec::new();
    Inflater::new().message(payload, None, 1 << 20, &mut out).map(|()| out)
}

fn terms(bits: u8, takeover: bool) -> Terms {
    Terms { window_bits: WindowBits::new(bits).unwrap(), takeover }
}

fn history(bits: u8) -> History {
    let window_bits = WindowBits::new(bits).unwrap();
    History::of_received(window_bits, &Budget::new(1 << 15)).unwrap()
}

/// A message like many that are sent.
fn tick(len: usize) -> Vec<u8> {
    let ticks = (0_u64..).flat_map(|number| {
        let price = number.wrapping_mul(7919) % 100_000;
        format!(r#"{{"symbol":"EURUSD","price":{price},"number":{number}}},"#).into_bytes()
    });
    ticks.take(len).collect()
}

/// Bytes that do not get smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn examples_of_the_rfc() {
    const HELLO: &[u8] = b"Hello";
    for (section, payload, expected) in [
        ("§7.2.3.1", &b"\xF2\x48\xCD\xC9\xC9\x07\x00"[..], HELLO),
        ("§7.2.3.3", b"\x00\x05\x00\xFA\xFF\x48\x65\x6C\x6C\x6F\x00", HELLO),
        ("§7.2.3.4", b"\xF3\x48\xCD\xC9\xC9\x07\x00\x00", HELLO),
        ("§7.2.3.5", b"\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00", HELLO),
        ("§7.2.3.6", b"\x00", b""),
    ] {
        assert_eq!(inflate(payload).as_deref(), Ok(expected), "{section}");
    }
    // §7.2.3.2: the second refers to the first.
    let mut history = history(15);
    let mut inflater = Inflater::new();
    for payload in [&b"\xF2\x48\xCD\xC9\xC9\x07\x00"[..], b"\xF2\x00\x11\x00\x00"] {
        let mut out = Vec::new();
        inflater.message(payload, Some(&mut history), 5, &mut out).unwrap();
        assert_eq!(out, HELLO);
    }
    assert_eq!(history.bytes(), b"HelloHello");
    assert_eq!(inflate(b"\xF2\x00\x11\x00\x00"), Err(ProtocolError::InvalidDeflate));
}

#[test]
fn what_is_legal_and_rare() {
    const FINAL_HELLO: &[u8] = b"\xF3\x48\xCD\xC9\xC9\x07\x00";
    let final_stored = |text: &[u8]| {
        let len = (text.len() as u16).to_le_bytes();
        [&[0x01, len[0], len[1], !len[0], !len[1]], text].concat()
    };
    for (payload, expected) in [
        // Several final blocks, and what follows them.
        ([FINAL_HELLO, FINAL_HELLO, b"\x00"].concat(), "HelloHello"),
        ([FINAL_HELLO, b"\xF2\x48\xCD\xC9\xC9\x07\x00"].concat(), "HelloHello"),
        ([&final_stored(b"a"), FINAL_HELLO, &final_stored(b"b"), b"\x00"].concat(), "aHellob"),
        // The empty block at the end is a final one.
        ([b"\xF2\x48\xCD\xC9\xC9\x07\x00\x00\x00\xFF\xFF", &b"\x01"[..]].concat(), "Hello"),
        (b"\x01".to_vec(), ""),
        // A final block, and no empty one after it.
        (FINAL_HELLO.to_vec(), "Hello"),
        ([FINAL_HELLO, FINAL_HELLO].concat(), "HelloHello"),
        // Nothing at all.
        (Vec::new(), ""),
        // Empty blocks by the dozen.
        ([&[0x00, 0x00, 0x00, 0xFF, 0xFF].repeat(100)[..], b"\x00"].concat(), ""),
        ([&[0x01, 0x00, 0x00, 0xFF, 0xFF].repeat(100)[..], b"\x00"].concat(), ""),
    ] {
        let inflated = inflate(&payload);
        assert_eq!(inflated.as_deref(), Ok(expected.as_bytes()), "{payload:x?}");
    }
}

#[test]
fn what_cannot_be_inflated() {
    let hello = b"\xF2\x48\xCD\xC9\xC9\x07\x00";
    let stored = b"\x00\x05\x00\xFA\xFF\x48\x65\x6C\x6C\x6F\x00";
    let mut rows: Vec<Vec<u8>> = vec![
        b"\xFF".to_vec(),
        b"\x07\x00".to_vec(),
        b"\x00\x05\x00\xFA\xFE\x48\x65\x6C\x6C\x6F\x00".to_vec(),
        // What is put back is read as data.
        b"\x00\x04\x00\xFB\xFF".to_vec(),
        b"\x01\x04\x00\xFB\xFF".to_vec(),
        b"\x01\x09\x00\xF6\xFF".to_vec(),
        // What is put back is there already.
        [&hello[..], b"\x00\x00\xFF\xFF\x00\x00"].concat(),
        // After the end.
        [&hello[..], b"garbage"].concat(),
        [&stored[..], b"\x00"].concat(),
    ];
    // It ends early.
    rows.extend((1..hello.len() - 1).map(|len| hello[..len].to_vec()));
    rows.push(b"\xF3\x48\xCD\xC9\xC9\x07".to_vec()); // its end would be in what is put back
    rows.extend((2..stored.len() - 1).map(|len| stored[..len].to_vec()));
    for payload in rows {
        assert_eq!(inflate(&payload), Err(ProtocolError::InvalidDeflate), "{payload:x?}");
    }
    assert_eq!(ProtocolError::InvalidDeflate.close_code(), CloseCode::INVALID_PAYLOAD);
}

#[test]
fn an_inflater_outlives_what_it_could_not_inflate() {
    let mut inflater = Inflater::new();
    for bad in [&b"\xFF"[..], b"\x00\x05\x00\xFA\xFF\x48", b"\xF2\x00\x11\x00\x00"] {
        let mut out = Vec::new();
        assert!(inflater.message(bad, None, 100, &mut out).is_err());
        out.clear();
        inflater.message(b"\xF2\x48\xCD\xC9\xC9\x07\x00", None, 100, &mut out).unwrap();
        assert_eq!(out, b"Hello");
    }
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let mut compressor = Compressor::new(&Deflate { level: 9, ..Deflate::default() });
    let bomb = compressor.compress(&vec![0; 64 << 20], terms(15, false), None).unwrap().to_vec();
    assert!(bomb.len() < 70_000);
    for len_max in [0, 1, 1000, 16_383, 16_384, 16_385, 1 << 20] {
        let mut out = Vec::new();
        let outcome = Inflater::new().message(&bomb, None, len_max, &mut out);
        assert_eq!(outcome, Err(ProtocolError::MessageTooBig));
        assert!(out.len() <= len_max);
        assert!(out.capacity() <= 2 * len_max, "{} for {len_max}", out.capacity());
        for len in [len_max.saturating_sub(1), len_max, len_max + 1] {
            let Some(payload) = compressor.compress(&vec![7; len], terms(15, false), None) else {
                continue;
            };
            let outcome = Inflater::new().message(payload, None, len_max, &mut Vec::new());
            assert_eq!(outcome.is_ok(), len <= len_max);
        }
    }
}

#[test]
fn a_message_that_is_too_long_and_invalid_is_too_long() {
    // "Hello", and a block of a kind that does not exist: one look at it finds both.
    let payload = b"\x00\x05\x00\xFA\xFF\x48\x65\x6C\x6C\x6F\x06";
    for (len_max, expected) in
        [(4, ProtocolError::MessageTooBig), (5, ProtocolError::InvalidDeflate)]
    {
        let outcome = Inflater::new().message(payload, None, len_max, &mut Vec::new());
        assert_eq!(outcome, Err(expected));
    }
}

#[test]
fn what_is_not_worth_it_is_sent_as_it_is() {
    for takeover in [false, true] {
        let mut compressor = Compressor::new(&Deflate::default());
        let mut sent = takeover.then(|| history(15));
        let mut compress = |message: &[u8]| {
            compressor.compress(message, terms(15, takeover), sent.as_mut()).map(<[u8]>::len)
        };
        assert_eq!(compress(&tick(63)), None, "below the threshold");
        assert_eq!(compress(b""), None);
        for len in [64, 100, 1000, 100_000] {
            assert_eq!(compress(&noise(len)), None, "{len}");
        }
        assert!(compress(&tick(1000)).unwrap() < 400);
        let Some(sent) = sent else { continue };
        assert_eq!(sent.bytes(), tick(1000), "what was not compressed is not remembered");
    }
}

/// What did not fit was left in zlib's buffers, where it added up until they overflowed.
#[test]
fn what_does_not_get_shorter_leaves_nothing_behind() {
    for bits in [9, 12, 15] {
        let mut compressor = Compressor::new(&Deflate::default());
        let mut sent = history(bits);
        let mut compress = |message: &[u8]| {
            let payload = compressor.compress(message, terms(bits, true), Some(&mut sent));
            payload.map(<[u8]>::len)
        };
        for len in [100, 1000, 10_000].repeat(200) {
            assert_eq!(compress(&noise(len)), None, "{len} bytes");
        }
        assert!(compress(&tick(10_000)).is_some());
    }
}

#[test]
fn a_window_of_8_bits_is_kept_to() {
    let mut compressor = Compressor::new(&Deflate::default());
    assert!(compressor.compress(&[b'x'; 256], terms(8, false), None).is_some());
    assert!(compressor.compress(&[b'x'; 257], terms(8, false), None).is_none());
    assert!(compressor.compress(&[b'x'; 256], terms(8, true), None).is_none());
}

#[test]
fn without_takeover_the_message_ends_with_one_final_block() {
    let mut compressor = Compressor::new(&Deflate::default());
    let payload = compressor.compress(&tick(1000), terms(15, false), None).unwrap();
    let mut stream = zlib_rs::Inflate::new(false, 15);
    let mut out = [0; 2000];
    let status = stream.decompress(payload, &mut out, InflateFlush::SyncFlush);
    assert_eq!(status, Ok(zlib_rs::Status::StreamEnd));
    assert_eq!(stream.total_in() as usize, payload.len() - 1);
    assert_eq!(payload.last(), Some(&0x00));
    // A peer that keeps a stream alive would be left with one that has ended.
    let payload = compressor.compress(&tick(1000), terms(15, true), None).unwrap();
    stream.reset(false);
    let status = stream.decompress(payload, &mut out, InflateFlush::SyncFlush);
    assert_eq!(status, Ok(zlib_rs::Status::Ok));
}

#[test]
fn takeover_pays() {
    let mut compressor = Compressor::new(&Deflate::default());
    let mut sent = history(12);
    let mut compress = || {
        let payload = compressor.compress(&tick(1000), terms(12, true), Some(&mut sent));
        payload.expect("it is shorter so").len()
    };
    let (first, second) = (compress(), compress());
    assert!(second < 30 && second < first / 4, "{first}, then {second}");
}

/// A peer that has heard all of `said` inflates another message, and sees to it that nothing is out of
/// the reach of `bits`.
fn hear(said: &mut Vec<u8>, payload: &[u8], bits: u8) -> Vec<u8> {
    let start = said.len();
    let distance_max = naive::inflate(&[payload, &TAIL].concat(), said).expect("it is DEFLATE");
    assert!(distance_max <= 1 << bits, "{distance_max} in a window of {bits} bits");
    said[start..].to_vec()
}

/// A peer that keeps a stream alive, as we do not.
fn compress_alive(stream: &mut zlib_rs::Deflate, message: &[u8]) -> Vec<u8> {
    if message.is_empty() {
        return vec![0x00]; // zlib does not flush twice in a row
    }
    let mut out = vec![0; message.len() * 2 + 100];
    let made = stream.total_out();
    stream.compress(message, &mut out, DeflateFlush::SyncFlush).unwrap();
    out.truncate((stream.total_out() - made) as usize);
    assert!(out.ends_with(&TAIL));
    out.truncate(out.len() - TAIL.len());
    out
}

fn settings() -> impl Strategy<Value = Deflate> {
    let bits = || (8..=15_u8).prop_map(|bits| WindowBits::new(bits).unwrap());
    let windows = prop::option::of((bits(), bits()));
    windows.prop_map(|windows| match windows {
        None => Deflate::default(),
        Some((server_window_bits, client_window_bits)) => Deflate {
            mode: DeflateMode::Dedicated { server_window_bits, client_window_bits, budget_len: 0 },
            threshold_len: 0,
            ..Deflate::default()
        },
    })
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec!["price", "volume", "EURUSD", ",", ":", "0.1", "\0\0\0"]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(words, 0..2000).prop_map(|words| words.concat().into_bytes()),
        (any::<u8>(), 0..70_000_usize).prop_map(|(byte, len)| vec![byte; len]),
        (0..5000_usize).prop_map(tick),
        // Noise, and the same again, at any distance.
        (1..70_000_usize).prop_map(|len| [noise(len), noise(len.min(500))].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_we_compress_inflates_within_its_window(
        messages in prop::collection::vec(message(), 1..6),
        bits in 9..=15_u8,
        has_history: bool,
        level in 1..=9_u8,
    ) {
        let settings = Deflate { level, threshold_len: 0, ..Deflate::default() };
        let mut compressor = Compressor::new(&settings);
        let mut sent = has_history.then(|| history(bits));
        let mut said = Vec::new();
        for message in messages {
            if let Some(payload) = compressor.compress(&message, terms(bits, true), sent.as_mut()) {
                prop_assert!(payload.len() < message.len());
                prop_assert!(hear(&mut said, payload, bits) == message);
            }
        }
    }

    #[test]
    fn what_a_stream_kept_alive_compresses_is_inflated(
        messages in prop::collection::vec(message(), 1..6),
        bits in 9..=15_u8,
        level in 0..=9,
    ) {
        let mut stream = zlib_rs::Deflate::new(level, false, bits);
        let mut inflater = Inflater::new();
        let mut received = history(bits);
        for message in messages {
            let payload = compress_alive(&mut stream, &message);
            let mut out = b"before ".to_vec();
            inflater.message(&payload, Some(&mut received), message.len(), &mut out).unwrap();
            prop_assert!(out[7..] == message);
        }
    }

    #[test]
    fn without_takeover_each_message_is_by_itself(
        messages in prop::collection::vec(message(), 1..4),
        bits in 8..=15_u8,
    ) {
        let mut compressor = Compressor::new(&Deflate { threshold_len: 0, ..Deflate::default() });
        for message in messages {
            if let Some(payload) = compressor.compress(&message, terms(bits, false), None) {
                prop_assert!(hear(&mut Vec::new(), payload, bits) == message);
                prop_assert!(inflate(payload).unwrap() == message);
            }
        }
    }

    #[test]
    fn anything_inflates_alike_however_it_is_cut(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        fuzz::inflate(&bytes);
        fuzz::deflate(&bytes);
    }

    #[test]
    fn what_is_inflated_is_what_the_oracle_makes_of_it(
        bytes in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        if let Ok(found) = inflate(&bytes) {
            let mut expected = Vec::new();
            if naive::inflate(&[&bytes[..], &TAIL].concat(), &mut expected).is_none() {
                // It has a final block at its end, and nothing after it.
                expected.clear();
                prop_assert!(naive::inflate(&bytes, &mut expected).is_some());
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn our_ends_agree_and_understand_each_other(
        (client, server) in (settings(), settings()),
        (client_budget, server_budget) in (0..80_000_usize, 0..80_000_usize),
        messages in prop::collection::vec((message(), any::<bool>()), 0..6),
    ) {
        let (client_budget, server_budget) =
            (Budget::new(client_budget), Budget::new(server_budget));
        let offer = client.offer(&client_budget);
        let text = offer.text().text().unwrap().to_owned();
        let offers = Offers::new(&text).map(Result::unwrap);
        let (answer, server_agreed) = server.negotiate(offers, &server_budget).unwrap();
        let answer = Offers::new(answer.text().unwrap()).next().unwrap().unwrap();
        let client_agreed = offer.accept(&answer).unwrap();
        let (by_client, by_server) = (client_agreed.agreement, server_agreed.agreement);
        prop_assert_eq!(by_client.server.takeover, by_server.server.takeover);
        prop_assert_eq!(by_client.client.takeover, by_server.client.takeover);
        prop_assert!(by_client.server.window_bits >= by_server.server.window_bits);
        prop_assert!(by_client.client.window_bits <= by_server.client.window_bits);

        let (mut compressor, mut inflater) = (Compressor::new(&client), Inflater::new());
        let (mut client, mut server) = (client_agreed.context, server_agreed.context);
        for (message, is_servers) in messages {
            let (sender, receiver, terms) = match is_servers {
                true => (&mut server, &mut client, by_server.server),
                false => (&mut client, &mut server, by_client.client),
            };
            let sent = sender.as_mut().and_then(|context| context.sent.as_mut());
            let received = receiver.as_mut().and_then(|context| context.received.as_mut());
            if let Some(payload) = compressor.compress(&message, terms, sent) {
                let mut out = Vec::new();
                inflater.message(payload, received, message.len(), &mut out).unwrap();
                prop_assert!(out == message);
            }
        }
    }

    #[test]
    fn a_message_that_was_damaged_never_panics(
        message in message(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        piece_len: u8,
        takeover: bool,
    ) {
        let mut compressor = Compressor::new(&Deflate::default());
        if let Some(payload) = compressor.compress(&message, terms(15, takeover), None) {
            let mut payload = [&[17, piece_len], payload].concat();
            for (at, xor) in damage {
                let at = at.index(payload.len() - 2) + 2;
                payload[at] ^= xor;
            }
            fuzz::inflate(&payload);
        }
    }
}
