//! There is no TLS: the feature `tls` is off.

use std::convert::Infallible;

use super::{connect_error::ConnectError, transport::Line, until::Until};
use crate::error::Error;

/// How `wss://` would be secured.
#[derive(Clone, Default)]
pub(super) struct Tls(());

/// What there is none of.
pub(super) struct Prepared(Infallible);

impl Tls {
    pub(super) fn prepare(&self, host: &str) -> Result<Prepared, ConnectError> {
        let remedy = "wss:// needs TLS: build with the feature `tls` of the crate `throng`";
        Err(Error::setting("url", format!("wss://{host}"), remedy).into())
    }
}

impl Prepared {
    pub(super) fn handshake(self, _line: Line, _until: Until) -> Result<Line, ConnectError> {
        match self.0 {}
    }
}
