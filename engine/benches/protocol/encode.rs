//! Messages to frames, as a server and as a client sends them.

use std::hint::black_box;

use throng::protocol::{MaskingKey, Opcode, Rsv, append_frame};

use super::{Case, KEY};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("encode/server, 20 B", None, 20),
        case("encode/server, 128 B", None, 128),
        case("encode/server, 16 KiB", None, 16 << 10),
        case("encode/client, 20 B", Some(KEY), 20),
        case("encode/client, 128 B", Some(KEY), 128),
        case("encode/client, 16 KiB", Some(KEY), 16 << 10),
    ]
}

fn case(name: &'static str, key: Option<MaskingKey>, len: usize) -> Case {
    let payload = vec![b'x'; len];
    let mut out = Vec::new();
    Case::new(name, 1, move || {
        out.clear();
        let (payload, key) = black_box((&payload[..], key));
        append_frame(&mut out, true, Rsv::NONE, Opcode::Binary, key, payload);
        black_box(&out);
    })
}
