//! The opening handshake, as a client goes through it (RFC 6455 §4.1).

use super::{
    compression::{Compression, Deflating, Inflating},
    connect_error::{ConnectError, Phase},
    transport::Line,
    until::Until,
};
use crate::{
    client::FailedResponse,
    protocol::{
        Limits,
        handshake::{AcceptKey, HeadScanner, HeaderSlot, Proposal, Reply, ReplyError, RequestKey},
    },
    reactor::MaskingKeys,
};

/// What the handshake led to.
pub(super) struct Opened {
    pub(super) subprotocol: Option<String>,
    /// Those of the answer, names as sent.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) deflating: Deflating,
    pub(super) inflating: Inflating,
    /// What came behind the answer.
    pub(super) early: Vec<u8>,
}

/// Says `proposal` and reads the answer.
///
/// # Errors
///
/// [`ConnectError::Refused`] with an answer other than 101, and as much of its body as comes in time.
pub(super) fn open(
    line: &Line,
    proposal: &Proposal,
    compression: &Compression,
    keys: &mut MaskingKeys,
    limits: &Limits,
    until: Until,
) -> Result<Opened, ConnectError> {
    let lost = ConnectError::during(Phase::Opening);
    let key = RequestKey::of_nonce(keys.nonce());
    let offered = compression.offer();
    let mut request = Vec::new();
    proposal
        .encode_with(offered.text().as_ref(), &key, &mut request)
        .map_err(ConnectError::Request)?;
    line.write_all(&request, until).map_err(&lost)?;

    let (mut received, head_len) = read_head(line, limits.head_len_max, until, lost)?;
    let rest = received.split_off(head_len);
    let mut slots = vec![HeaderSlot::uninit(); limits.header_count_max];
    let reply = Reply::parse(&received, &mut slots).map_err(ConnectError::Failed)?;
    match reply.check_upgrade_but_extensions(proposal, &AcceptKey::new(&key)) {
        Ok(()) => {}
        Err(ReplyError::Status(_)) => {
            let body = read_body(line, rest, &reply, until);
            return Err(ConnectError::Refused(Box::new(FailedResponse::new(&reply, &body))));
        }
        Err(error) => return Err(ConnectError::Failed(error)),
    }
    let (deflating, inflating) = offered.accept(&reply).map_err(ConnectError::Failed)?;
    let owned = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_owned());
    Ok(Opened {
        subprotocol: reply.subprotocol().map(str::to_owned),
        headers: reply.headers().map(owned).collect(),
        deflating,
        inflating,
        early: rest,
    })
}

/// Reads up to the end of an answer's head, of at most `len_max` bytes: what was received, and how
/// much of it is the head.
pub(super) fn read_head(
    line: &Line,
    len_max: usize,
    until: Until,
    lost: impl Fn(std::io::Error) -> ConnectError,
) -> Result<(Vec<u8>, usize), ConnectError> {
    let mut scanner = HeadScanner::for_reply();
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match line.read(&mut piece, until).map_err(&lost)? {
            0 => return Err(lost(std::io::ErrorKind::UnexpectedEof.into())),
            len => received.extend_from_slice(&piece[..len]),
        }
        let found = scanner.find_end(&received, len_max);
        if let Some(head_len) = found.map_err(|error| ConnectError::Failed(error.into()))? {
            return Ok((received, head_len));
        }
    }
}

/// As much of a body as is kept and comes in time, behind what has come with the head.
pub(super) fn read_body(
    line: &Line,
    mut body: Vec<u8>,
    reply: &Reply<'_>,
    until: Until,
) -> Vec<u8> {
    let len = reply.body_len().unwrap_or(usize::MAX).min(FailedResponse::BODY_LEN_MAX);
    // Chunks are kept as they are; but a connection that stays open is not waited for (RFC 9112 §7.1).
    let is_chunked = reply.header_values("Transfer-Encoding").next().is_some();
    let is_last_chunk = |body: &[u8]| body == b"0\r\n\r\n" || body.ends_with(b"\r\n0\r\n\r\n");
    let mut piece = [0; 4096];
    while body.len() < len && !(is_chunked && is_last_chunk(&body)) {
        match line.read(&mut piece, until) {
            Ok(read_len @ 1..) => body.extend_from_slice(&piece[..read_len]),
            _ => break,
        }
    }
    body.truncate(len);
    body
}
