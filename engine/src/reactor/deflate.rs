//! Compressed messages on their way through a reactor (RFC 7692).
//!
//! Which connections have them was agreed in the opening handshake; they say and hear everything the
//! general way. The machines are the reactor's, one of each ([`Deflating`](crate::conn::Deflating)).

use super::{App, Core, HEADER_COUNT_MAX, Left, Turn};
use crate::{
    conn::{Agreed, Flags, Refusal, accept},
    pool::{Arena, Exhausted, Key},
    protocol::{
        FrameHeader, Incoming, Opcode, Prepared, ProtocolError, Rsv,
        handshake::{Acceptance, Reply, ReplyError, Request, header_slots},
    },
};

impl<T> Turn<'_, T> {
    /// Sends a message compressed, if the connection agreed to that and it gets shorter: `None` if
    /// not. The connection is open, and its queue has room.
    pub(super) fn send_deflated(
        &mut self,
        key: Key,
        opcode: Opcode,
        payload: &[u8],
    ) -> Option<Result<usize, Exhausted>> {
        let conn = self.table.connections.get_mut(key)?;
        if !conn.flags.has(Flags::DEFLATE) {
            return None;
        }
        // Out of the table, for the length of a message that lies in it.
        let mut deflating = self.table.deflating.take()?;
        let sent = deflating.compress(conn, payload).map(|payload| {
            let mask = self.mask_for(key);
            let payload_len = payload.len() as u64;
            let header =
                FrameHeader { fin: true, rsv: Rsv::RSV1, opcode, mask, payload_len }.encode();
            let queued = self.enqueue_message(key, &header, payload, mask);
            queued.map(|()| header.len() + payload.len())
        });
        self.table.deflating = Some(deflating);
        sent
    }

    /// The frame of a message that many compressed connections share: as it stands, if it is no shorter
    /// compressed. `None`: this connection needs one of its own.
    pub(super) fn deflated_for_many<'p>(
        &mut self,
        key: Key,
        prepared: &'p Prepared,
    ) -> Option<&'p bytes::Bytes> {
        let conn = self.table.connections.get(key)?;
        if !conn.takes_common(prepared.payload().len()) {
            return None;
        }
        let deflating = self.table.deflating.as_mut()?;
        let deflated = prepared.deflated(|payload| deflating.compress_for_many(payload));
        Some(deflated.unwrap_or(prepared.plain()))
    }
}

impl<A: App> Core<A> {
    /// Inflates a message and hands it on, and then the plain ones behind it, as
    /// [`messages`](Self::messages) does.
    pub(super) fn inflated(
        &mut self,
        key: Key,
        (opcode, payload): (Opcode, &[u8]),
        input: &mut [u8],
        share: usize,
        arena: &mut Arena,
    ) -> Left {
        let mut out = std::mem::take(&mut self.table.inflated);
        let left = match self.inflate(key, opcode, payload, &mut out) {
            Ok(Incoming::Message(message)) => {
                self.messages(key, Some(message), input, share, arena)
            }
            Ok(_) => unreachable!("a data frame is a message"),
            Err(error) => {
                self.refuse(key, Refusal::Protocol(error), arena);
                Left { len: 0, share: 0 }
            }
        };
        out.clear();
        out.shrink_to(INFLATED_LEN_KEPT);
        self.table.inflated = out;
        left
    }

    fn inflate<'o>(
        &mut self,
        key: Key,
        opcode: Opcode,
        payload: &[u8],
        out: &'o mut Vec<u8>,
    ) -> Result<Incoming<'o>, ProtocolError> {
        let len_max = self.config.limits.message_len_max;
        if let (Some(deflating), Some(conn)) =
            (&mut self.table.deflating, self.table.connections.get_mut(key))
        {
            deflating.inflate(conn, payload, len_max, out)?;
        }
        Incoming::new(opcode, Rsv::NONE, out)
    }

    /// What is agreed on about compression with the client whose request `head` is, and `acceptance`
    /// with the answer to its offer. `None`: messages travel as they are.
    #[inline(never)] // an opening handshake without it is the rule
    pub(super) fn agree(
        &mut self,
        head: &[u8],
        acceptance: &Acceptance,
    ) -> Option<(Acceptance, Agreed)> {
        let deflating = self.table.deflating.as_ref().filter(|_| acceptance.may_deflate())?;
        let mut slots = header_slots::<HEADER_COUNT_MAX>();
        let request = Request::parse(head, &mut slots).ok()?;
        let (answer, agreed) = deflating.negotiate(request.extensions())?;
        Some((acceptance.clone().extension(&answer), agreed))
    }

    /// What is agreed on by a server's answer to our offer.
    pub(super) fn agreed(
        &mut self,
        key: Key,
        reply: &Reply<'_>,
    ) -> Result<Option<Agreed>, ReplyError> {
        let mut answers = reply.extensions();
        let Some(answer) = answers.next() else { return Ok(None) };
        let answer = answer.map_err(|_| ReplyError::InvalidExtensions)?;
        let extra = self.table.connections.get_mut(key).and_then(|conn| conn.extra.as_mut());
        let offer = extra.and_then(|extra| extra.offer.take());
        match (offer, answers.next()) {
            (Some(offer), None) => accept(*offer, &answer).map(Some),
            _ => Err(ReplyError::ExtensionNotOffered),
        }
    }
}

/// Of the room that messages are inflated to so much is kept.
const INFLATED_LEN_KEPT: usize = 256 * 1024;
