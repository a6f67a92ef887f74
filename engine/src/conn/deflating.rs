//! Compressed messages: what a reactor needs for them, and what a connection carries (RFC 7692).
//!
//! A build without the feature `deflate` has `no_deflate.rs` in its stead.

use super::{Connection, Flags};
pub(crate) use crate::protocol::extension::deflate::{Agreed, Deflate, DeflateOffer};
use crate::protocol::{
    ProtocolError,
    extension::{
        Answer, Offer,
        deflate::{Budget, Compressor, Inflater, NAME, Terms, WindowBits},
    },
    handshake::ReplyError,
};

/// A reactor's machines: one of each, for all of its connections.
#[derive(Debug)]
pub(crate) struct Deflating {
    settings: Deflate,
    budget: Budget,
    /// Made on first use.
    compressor: Option<Box<Compressor>>,
    inflater: Option<Box<Inflater>>,
}

impl Deflating {
    pub(crate) fn new(settings: &Deflate) -> Self {
        let budget = Budget::of(settings);
        Self { settings: settings.clone(), budget, compressor: None, inflater: None }
    }

    /// What a server answers to the first offer that can be agreed to.
    pub(crate) fn negotiate<'a>(
        &self,
        offers: impl IntoIterator<Item = Offer<'a>>,
    ) -> Option<(Answer, Agreed)> {
        self.settings.negotiate(offers, &self.budget)
    }

    /// What a client offers.
    pub(crate) fn offer(&self) -> DeflateOffer {
        self.settings.offer(&self.budget)
    }

    /// Appends to `out` what was compressed to `payload`, at most `len_max` bytes.
    pub(crate) fn inflate<T>(
        &mut self,
        conn: &mut Connection<T>,
        payload: &[u8],
        len_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let context = conn.agreed_mut().and_then(|agreed| agreed.context.as_mut());
        let history = context.and_then(|context| context.received.as_mut());
        let inflater = self.inflater.get_or_insert_default();
        inflater.message(payload, history, len_max, out)
    }

    /// The payload to send in the place of `payload`; it has to be sent. `None`: that itself.
    pub(crate) fn compress<T>(
        &mut self,
        conn: &mut Connection<T>,
        payload: &[u8],
    ) -> Option<&[u8]> {
        let terms = conn.terms();
        let context = conn.agreed_mut().and_then(|agreed| agreed.context.as_mut());
        let history = context.and_then(|context| context.sent.as_mut());
        self.compressor().compress(payload, terms, history)
    }

    /// The payload to send in the place of `payload` to all who
    /// [take what many do](Connection::takes_common).
    pub(crate) fn compress_for_many(&mut self, payload: &[u8]) -> Option<&[u8]> {
        self.compressor().compress(payload, PLAINEST, None)
    }

    fn compressor(&mut self) -> &mut Compressor {
        self.compressor.get_or_insert_with(|| Box::new(Compressor::new(&self.settings)))
    }
}

impl<T> Connection<T> {
    /// Messages may be compressed from now on, in both directions.
    pub(crate) fn begin_to_deflate(&mut self, agreed: Agreed) {
        self.flags.insert(Flags::DEFLATE);
        // How the peer compresses makes no difference to how that is inflated.
        let terms = agreed.agreement.sender(self.role());
        if agreed.context.is_some() || terms != PLAINEST {
            self.extra_mut().agreed = Some(agreed);
        }
    }

    /// Whether a payload of `len` bytes that was compressed for many is fine for it.
    pub(crate) fn takes_common(&self, len: usize) -> bool {
        self.flags.has(Flags::DEFLATE) && self.terms().takes_alone(len)
    }

    /// How we compress.
    fn terms(&self) -> Terms {
        let agreed = self.extra.as_ref().and_then(|extra| extra.agreed.as_ref());
        agreed.map_or(PLAINEST, |agreed| agreed.agreement.sender(self.role()))
    }

    fn agreed_mut(&mut self) -> Option<&mut Agreed> {
        self.extra.as_mut()?.agreed.as_mut()
    }
}

/// What is agreed on by the server's answer to `offer`.
pub(crate) fn accept(offer: DeflateOffer, answer: &Offer<'_>) -> Result<Agreed, ReplyError> {
    match answer.name() == NAME {
        true => offer.accept(answer).map_err(ReplyError::InvalidDeflate),
        false => Err(ReplyError::ExtensionNotOffered),
    }
}

/// Messages by themselves, in the largest window: what needs no note on the connection.
const PLAINEST: Terms = Terms { window_bits: WindowBits::MAX, takeover: false };
