//! HTTP's `CONNECT` (RFC 9110 §9.3.6).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{ProxyError, User};
use crate::{
    client::{
        FailedResponse,
        blocking::{
            connect_error::{ConnectError, Phase},
            opening::{read_body, read_head},
            transport::Line,
            until::Until,
        },
    },
    protocol::handshake::{Reply, ReplyError, header_slots},
};

pub(super) fn connect(
    line: &Line,
    host: &str,
    port: u16,
    user: Option<&User>,
    until: Until,
) -> Result<(), ConnectError> {
    let lost = ConnectError::during(Phase::Proxy);
    let authority = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(User { name, password }) = user {
        let credentials = STANDARD.encode(format!("{name}:{password}")); // RFC 7617 §2
        request.extend(["Proxy-Authorization: Basic ", &credentials, "\r\n"]);
    }
    request.push_str("\r\n");
    line.write_all(request.as_bytes(), until).map_err(&lost)?;

    let not_http = |error| ConnectError::from(ProxyError::NotHttp(error));
    let (mut received, head_len) =
        read_head(line, HEAD_LEN_MAX, until, lost).map_err(|error| match error {
            ConnectError::Failed(error) => not_http(error),
            error => error,
        })?;
    let rest = received.split_off(head_len);
    let mut slots = header_slots::<64>();
    let reply = Reply::parse(&received, &mut slots).map_err(not_http)?;
    match reply.status() {
        // We speak first: a server that has something to say already is not the one we asked for.
        200..300 if rest.is_empty() => Ok(()),
        200..300 => Err(not_http(ReplyError::NotHttp)),
        _ => {
            let body = read_body(line, rest, &reply, until);
            Err(ProxyError::Refused(Box::new(FailedResponse::new(&reply, &body))).into())
        }
    }
}

const HEAD_LEN_MAX: usize = 8 * 1024;
