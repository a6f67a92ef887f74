//! What fuzz targets call. No part of the public interface.

use super::{
    AcceptKey, Acceptance, HandshakeError, HeadScanner, OriginPattern, OriginPolicy, Request,
    header_slots,
};

/// Reads `bytes` as a client's request and asks everything that can be asked of it. Panics when a
/// law is broken: whole and piecewise scanning agree, the scanner and the parser agree about where
/// the head ends, and every refusal can be written.
pub fn request(bytes: &[u8]) {
    let found = HeadScanner::default().find_end(bytes, HEAD_LEN_MAX);
    let mut scanner = HeadScanner::default();
    let mut piecewise = (0..=bytes.len()).map(|len| scanner.find_end(&bytes[..len], HEAD_LEN_MAX));
    let piecewise = piecewise.find(|result| *result != Ok(None)).unwrap_or(Ok(None));
    assert_eq!(found, piecewise, "split anywhere");

    let answer = match found {
        Ok(None) => return,
        Ok(Some(end)) => answer(&bytes[..end], &bytes[end..]),
        Err(error) => Err(error),
    };
    let mut out = Vec::new();
    match answer {
        Ok(key) => Acceptance::new().encode(&key, &mut out).expect("nothing was added"),
        Err(error) => error.response().encode(&mut out).expect("our own words"),
    }
    let mut headers = [httparse::EMPTY_HEADER; 8];
    let parsed = httparse::Response::new(&mut headers).parse(&out);
    assert!(matches!(parsed, Ok(httparse::Status::Complete(_))), "{parsed:?}");
}

fn answer(head: &[u8], body: &[u8]) -> Result<AcceptKey, HandshakeError> {
    let mut slots = header_slots::<64>();
    let request = Request::parse(head, &mut slots)
        .inspect_err(|&error| assert_ne!(error, HandshakeError::IncompleteHead))?
        .with_body(body);
    for (name, value) in request.headers() {
        assert!(request.header_values(name).any(|other| other == value));
    }
    assert!(request.target().ends_with(request.query().unwrap_or_default()));
    let _ = (request.path(), request.host(), request.cookie("a"), request.body_len(1 << 16));
    let _ = (request.cookies().count(), request.query_params().count());
    let _ = (request.subprotocols().count(), request.is_upgrade(), request.has_body());
    let _ = request.extensions().map(|offer| offer.params().count()).sum::<usize>();
    if let Some(origin) = request.origin()
        && request.header_values("Origin").count() == 1
        && origin.contains("://")
        && !origin.contains('*')
        && let Ok(pattern) = OriginPattern::parse(origin)
    {
        let spelled_out = OriginPolicy::Patterns(vec![pattern]).check(&request);
        assert!(spelled_out.is_ok() || origin.len() > 255, "{origin:?} matches itself");
    }
    let key = request.check_upgrade()?;
    OriginPolicy::SameHost.check(&request)?;
    Ok(key)
}

const HEAD_LEN_MAX: usize = 8 * 1024;
