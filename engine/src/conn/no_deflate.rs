//! The place of [`deflating`](super::deflating) in a build without the feature `deflate`: its types,
//! of which there are no values, and so nothing that can be done with them.

use super::Connection;
use crate::protocol::{
    ProtocolError,
    extension::{Answer, Offer},
    handshake::ReplyError,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deflate {}

#[derive(Debug)]
pub(crate) enum Agreed {}

#[derive(Debug)]
pub(crate) enum DeflateOffer {}

#[derive(Debug)]
pub(crate) enum Deflating {}

impl Deflating {
    pub(crate) fn new(settings: &Deflate) -> Self {
        match *settings {}
    }

    pub(crate) fn negotiate<'a>(
        &self,
        _offers: impl IntoIterator<Item = Offer<'a>>,
    ) -> Option<(Answer, Agreed)> {
        match *self {}
    }

    pub(crate) fn offer(&self) -> DeflateOffer {
        match *self {}
    }

    pub(crate) fn inflate<T>(
        &mut self,
        _conn: &mut Connection<T>,
        _payload: &[u8],
        _len_max: usize,
        _out: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        match *self {}
    }

    pub(crate) fn compress<T>(
        &mut self,
        _conn: &mut Connection<T>,
        _payload: &[u8],
    ) -> Option<&[u8]> {
        match *self {}
    }

    pub(crate) fn compress_for_many(&mut self, _payload: &[u8]) -> Option<&[u8]> {
        match *self {}
    }
}

impl DeflateOffer {
    pub(crate) fn text(&self) -> Answer {
        match *self {}
    }
}

impl<T> Connection<T> {
    pub(crate) fn begin_to_deflate(&mut self, agreed: Agreed) {
        match agreed {}
    }

    pub(crate) fn takes_common(&self, _len: usize) -> bool {
        false
    }
}

pub(crate) fn accept(offer: DeflateOffer, _answer: &Offer<'_>) -> Result<Agreed, ReplyError> {
    match offer {}
}
