//! permessage-deflate, as one connection uses it (RFC 7692).

use crate::{
    conn::accept,
    protocol::{
        Message, Opcode, ProtocolError, Rsv,
        extension::{
            Answer,
            deflate::{
                Agreed, Budget, COMPRESSED, Compressor, Deflate, DeflateMode, DeflateOffer,
                History, Inflater, Terms, WindowBits,
            },
        },
        handshake::{Reply, ReplyError},
        utf8,
    },
};

/// How messages are to be compressed, if they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Compression(pub(super) Option<Deflate>);

/// What is offered, until the server answers.
pub(super) struct Offered(Option<(Deflate, DeflateOffer)>);

/// What is sent is compressed, if that was agreed on.
#[derive(Default)]
pub(super) struct Deflating(Option<Sending>);

struct Sending {
    settings: Deflate,
    terms: Terms,
    history: Option<History>,
    /// Made when a message is first long enough.
    compressor: Option<Box<Compressor>>,
}

/// What is received is inflated, if that was agreed on.
#[derive(Default)]
pub(super) struct Inflating(Option<Receiving>);

struct Receiving {
    history: Option<History>,
    /// Made when a compressed message first comes.
    inflater: Option<Box<Inflater>>,
    message: Vec<u8>,
}

impl Compression {
    /// What a new connection offers. Of the budget for histories it may have all.
    pub(super) fn offer(&self) -> Offered {
        Offered(self.0.as_ref().map(|settings| {
            let budget = match settings.mode {
                DeflateMode::Shared => Budget::new(0),
                DeflateMode::Dedicated { .. } => Budget::new(2 * WindowBits::MAX.window_len()),
            };
            (settings.clone(), settings.offer(&budget))
        }))
    }
}

impl Offered {
    /// The offer, as a request says it.
    pub(super) fn text(&self) -> Option<Answer> {
        self.0.as_ref().map(|(_, offer)| offer.text())
    }

    /// What is agreed on by the server's answer: perhaps nothing.
    ///
    /// # Errors
    ///
    /// It answers what was not offered (RFC 6455 §4.1, RFC 7692 §7.1).
    pub(super) fn accept(self, reply: &Reply<'_>) -> Result<(Deflating, Inflating), ReplyError> {
        let mut answers = reply.extensions();
        let Some(answer) = answers.next() else { return Ok(Default::default()) };
        let answer = answer.map_err(|_| ReplyError::InvalidExtensions)?;
        let (settings, offer) = self.0.ok_or(ReplyError::ExtensionNotOffered)?;
        let agreed = accept(offer, &answer)?;
        match answers.next() {
            Some(_) => Err(ReplyError::ExtensionNotOffered),
            None => Ok(as_agreed(settings, agreed)),
        }
    }
}

fn as_agreed(settings: Deflate, agreed: Agreed) -> (Deflating, Inflating) {
    let terms = agreed.agreement.client;
    let (sent, received) = match agreed.context {
        Some(context) => (context.sent, context.received),
        None => (None, None),
    };
    let sending = Sending { settings, terms, history: sent, compressor: None };
    let receiving = Receiving { history: received, inflater: None, message: Vec::new() };
    (Deflating(Some(sending)), Inflating(Some(receiving)))
}

impl Deflating {
    /// The payload to send instead of `message`, if it is shorter.
    pub(super) fn compress(&mut self, message: &[u8]) -> Option<&[u8]> {
        let Sending { settings, terms, history, compressor } = self.0.as_mut()?;
        if message.len() < settings.threshold_len {
            return None;
        }
        let compressor = compressor.get_or_insert_with(|| Box::new(Compressor::new(settings)));
        compressor.compress(message, *terms, history.as_mut())
    }
}

impl Inflating {
    /// The reserved bits that a message may have.
    pub(super) fn rsv(&self) -> Rsv {
        if self.0.is_some() { COMPRESSED } else { Rsv::NONE }
    }

    /// The message that was sent as `payload`, of at most `len_max` bytes.
    pub(super) fn message(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        len_max: usize,
    ) -> Result<Message<'_>, ProtocolError> {
        let Some(Receiving { history, inflater, message }) = &mut self.0 else {
            return Err(ProtocolError::ReservedBits);
        };
        let inflater = inflater.get_or_insert_default();
        message.clear();
        message.shrink_to(MESSAGE_LEN_KEPT);
        inflater.message(payload, history.as_mut(), len_max, message)?;
        match opcode {
            Opcode::Text => utf8::validate(message).map(Message::Text),
            _ => Ok(Message::Binary(message)),
        }
    }
}

/// Of a longer message the buffer is given up when the next comes.
const MESSAGE_LEN_KEPT: usize = 256 * 1024;
