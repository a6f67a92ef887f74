//! A request's head to the `101` that answers it.

use std::hint::black_box;

use throng::protocol::handshake::{
    AcceptKey, Acceptance, HeadScanner, OriginPolicy, Request, header_slots,
};

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        answer("handshake/short", SHORT),
        answer("handshake/of a browser", BROWSER),
        Case::new("handshake/accept key alone", 1, || {
            black_box(AcceptKey::new(black_box("dGhlIHNhbXBsZSBub25jZQ==")));
        }),
    ]
}

/// From the bytes of a request to those of its answer.
fn answer(name: &'static str, head: &'static str) -> Case {
    let mut out = Vec::with_capacity(256);
    Case::new(name, 1, move || {
        out.clear();
        let received = black_box(head).as_bytes();
        let end = HeadScanner::default().find_end(received, 8 << 10);
        let end = end.expect("a request").expect("all of it");
        let mut slots = header_slots::<64>();
        let request = Request::parse(&received[..end], &mut slots).expect("well-formed");
        let key = request.check_upgrade().expect("of version 13");
        OriginPolicy::SameHost.check(&request).expect("of the same host");
        Acceptance::new().encode(&key, &mut out).expect("nothing was added to it");
        black_box(&out);
    })
}

/// What a client says that says no more than it must.
const SHORT: &str = "GET / HTTP/1.1\r\n\
    Host: 127.0.0.1:9001\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// What Chromium says.
const BROWSER: &str = "GET /chat?room=7 HTTP/1.1\r\n\
    Host: chat.example.com\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://chat.example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
