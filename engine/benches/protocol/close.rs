//! The closing handshake.

use std::hint::black_box;

use throng::protocol::{CloseCode, CloseFrame, Opcode, Rsv, append_frame};

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("close/read, code alone", 1, || read(b"\x03\xE8")),
        Case::new("close/read, with a reason", 1, || read(b"\x03\xE9the page was left")),
        write("close/write, code alone", ""),
        write("close/write, with a reason", "the server is restarting"),
    ]
}

fn read(payload: &[u8]) {
    let _ = black_box(CloseFrame::parse(black_box(payload)));
}

fn write(name: &'static str, reason: &'static str) -> Case {
    let mut out = Vec::new();
    Case::new(name, 1, move || {
        out.clear();
        let (code, reason) = black_box((CloseCode::GOING_AWAY, reason));
        let payload = CloseFrame::encode_payload(Some(code), reason);
        append_frame(&mut out, true, Rsv::NONE, Opcode::Close, None, &payload);
        black_box(&out);
    })
}
