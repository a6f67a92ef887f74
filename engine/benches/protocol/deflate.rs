//! permessage-deflate: messages like those of a ticker, with and without a history.

use std::hint::black_box;

use throng::protocol::extension::{
    Offers,
    deflate::{Agreed, Budget, Compressor, Deflate, DeflateMode, Inflater, WindowBits},
};

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        deflate("deflate/256 B, alone", 256, None),
        deflate("deflate/1 KiB, alone", 1 << 10, None),
        deflate("deflate/16 KiB, alone", 16 << 10, None),
        deflate("deflate/1 KiB, history of 9 bits", 1 << 10, Some(9)),
        deflate("deflate/1 KiB, history of 12 bits", 1 << 10, Some(12)),
        deflate("deflate/1 KiB, history of 15 bits", 1 << 10, Some(15)),
        inflate("inflate/256 B, alone", 256, None),
        inflate("inflate/1 KiB, alone", 1 << 10, None),
        inflate("inflate/16 KiB, alone", 16 << 10, None),
        inflate("inflate/1 KiB, history of 9 bits", 1 << 10, Some(9)),
        inflate("inflate/1 KiB, history of 12 bits", 1 << 10, Some(12)),
        inflate("inflate/1 KiB, history of 15 bits", 1 << 10, Some(15)),
    ]
}

fn deflate(name: &'static str, len: usize, bits: Option<u8>) -> Case {
    let (settings, mut agreed) = agreed(bits);
    let terms = agreed.agreement.server;
    let mut compressor = Compressor::new(&settings);
    let messages = ticks(len);
    Case::new(name, messages.len(), move || {
        for message in &messages {
            let sent = agreed.context.as_mut().and_then(|context| context.sent.as_mut());
            black_box(compressor.compress(black_box(message), terms, sent));
        }
    })
}

/// With a history, what is received is a message that refers to nothing: the history is full all the
/// same.
fn inflate(name: &'static str, len: usize, bits: Option<u8>) -> Case {
    let (settings, mut agreed) = agreed(bits);
    let alone = self::agreed(None).1.agreement.server;
    let mut compressor = Compressor::new(&settings);
    let payloads: Vec<Vec<u8>> = ticks(len)
        .iter()
        .map(|message| compressor.compress(message, alone, None).expect("shorter").to_vec())
        .collect();
    let mut inflater = Inflater::new();
    let mut out = Vec::new();
    Case::new(name, payloads.len(), move || {
        for payload in &payloads {
            let received = agreed.context.as_mut().and_then(|context| context.received.as_mut());
            out.clear();
            inflater.message(black_box(payload), received, len, &mut out).expect("compressed");
            black_box(&out);
        }
    })
}

/// What a server makes of a browser's offer: alone, or with a history of `bits`.
fn agreed(bits: Option<u8>) -> (Deflate, Agreed) {
    let bits = bits.and_then(WindowBits::new);
    let mode = bits.map_or(DeflateMode::Shared, |bits| DeflateMode::Dedicated {
        server_window_bits: bits,
        client_window_bits: bits,
        budget_len: 1 << 16,
    });
    let settings = Deflate { mode, ..Deflate::default() };
    let offers = Offers::new("permessage-deflate; client_max_window_bits").map_while(Result::ok);
    let (_, agreed) = settings.negotiate(offers, &Budget::of(&settings)).expect("it is valid");
    (settings, agreed)
}

/// Messages of `len` bytes, all different.
fn ticks(len: usize) -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 40
    };
    let mut tick = move || {
        let symbol = ["EURUSD", "GBPJPY", "BTCUSD", "ETHEUR"][next() as usize % 4];
        let side = ["buy", "sell"][next() as usize % 2];
        let (price, size, time) = (next() % 100_000, next() % 1000, next());
        format!(
            r#"{{"symbol":"{symbol}","price":{price},"size":{size},"side":"{side}","ts":17{time}}},"#
        )
    };
    let message =
        |_| std::iter::repeat_with(&mut tick).flat_map(String::into_bytes).take(len).collect();
    (0..64).map(message).collect()
}
