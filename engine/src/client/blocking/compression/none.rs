//! Nothing is compressed: the feature `deflate` is off.

use crate::protocol::{
    Message, Opcode, ProtocolError, Rsv,
    extension::Answer,
    handshake::{Reply, ReplyError},
};

/// How messages would be compressed.
#[derive(Clone, Debug, Default)]
pub(super) struct Compression(());

/// What is offered: nothing.
pub(super) struct Offered;

/// What is received is as it was sent.
#[derive(Default)]
pub(super) struct Inflating(());

/// What is sent is as it is.
#[derive(Default)]
pub(super) struct Deflating(());

impl Compression {
    pub(super) fn offer(&self) -> Offered {
        Offered
    }
}

impl Offered {
    pub(super) fn text(&self) -> Option<Answer> {
        None
    }

    pub(super) fn accept(self, reply: &Reply<'_>) -> Result<(Deflating, Inflating), ReplyError> {
        match reply.extensions().next() {
            Some(_) => Err(ReplyError::ExtensionNotOffered),
            None => Ok(Default::default()),
        }
    }
}

impl Deflating {
    pub(super) fn compress(&mut self, _message: &[u8]) -> Option<&[u8]> {
        None
    }
}

impl Inflating {
    pub(super) fn rsv(&self) -> Rsv {
        Rsv::NONE
    }

    pub(super) fn message(
        &mut self,
        _opcode: Opcode,
        _payload: &[u8],
        _len_max: usize,
    ) -> Result<Message<'_>, ProtocolError> {
        Err(ProtocolError::ReservedBits)
    }
}
