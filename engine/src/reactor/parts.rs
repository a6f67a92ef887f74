//! Messages that come and go in parts (RFC 6455 §5.4).
//!
//! Of a connection that receives in parts nothing is gathered: what is there of a payload is handed on.
//! (What was compressed is, since it is inflated as a whole.) While a message leaves in parts, no other
//! may begin: those that are sent meanwhile wait behind it, in the outbox. Control frames pass.

use super::{App, Core, Turn, net};
use crate::{
    conn::{CloseCause, Flags, Overflow, Phase, Sent},
    pool::{Arena, Exhausted, Key},
    protocol::{CloseCode, FrameHeader, MaskingKey, Opcode, Part, Rsv},
};

impl<T> Turn<'_, T> {
    /// Sends a part of a message, in a frame of its own.
    pub(crate) fn send_part(&mut self, key: Key, part: Part<'_>) -> Sent {
        let Some(conn) = self.table.connections.get(key) else { return Sent::Closed };
        let has_begun = conn.flags.has(Flags::IN_PARTS);
        if conn.phase == Phase::Open && has_begun == part.is_first {
            return Sent::Dropped; // of a message whose beginning was dropped, or amid another
        }
        match self.admit(key, FrameHeader::LEN_MAX + part.bytes.len()) {
            Sent::Queued => {}
            Sent::Dropped if has_begun => {
                // A message with a hole in it is none.
                debug_assert_eq!(self.table.config.send_queue.overflow, Overflow::DropNewest);
                let code = CloseCode::TRY_AGAIN_LATER;
                self.terminate(key, CloseCause::SlowConsumer, code, "send queue full");
                return Sent::Dropped;
            }
            refused => return refused,
        }
        let mask = self.mask_for(key);
        let opcode = if has_begun { Opcode::Continuation } else { part.opcode() };
        let payload_len = part.bytes.len() as u64;
        let header =
            FrameHeader { fin: part.is_last, rsv: Rsv::NONE, opcode, mask, payload_len }.encode();
        let queued = self.enqueue(key, &header, part.bytes, mask);
        self.table.outputs.forget_speaker();
        if let Some(conn) = self.table.connections.get_mut(key) {
            match part.is_last {
                false => conn.flags.insert(Flags::IN_PARTS),
                true => {
                    conn.flags.remove(Flags::IN_PARTS);
                    if let Some(outbox) = &mut conn.outbox {
                        outbox.push_behind();
                    }
                }
            }
        }
        match queued {
            Ok(()) => self.sent_frame(key, header.len() + part.bytes.len(), part.is_last),
            Err(Exhausted) => self.out_of_memory(key),
        }
    }

    /// Hands messages on in parts, or whole, from the next one on.
    pub(crate) fn receive_in_parts(&mut self, key: Key, in_parts: bool) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        match in_parts {
            true => conn.flags.insert(Flags::BY_PARTS),
            false => conn.flags.remove(Flags::BY_PARTS),
        }
        self.table.outputs.forget_speaker(); // whose messages are handed on whole, one after another
    }

    /// Sends the message that `slices` make, one behind the other.
    pub(crate) fn send_gathered(&mut self, key: Key, is_text: bool, slices: &[&[u8]]) -> Sent {
        let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
        let mut message = std::mem::take(&mut self.table.gathered);
        slices.iter().for_each(|slice| message.extend_from_slice(slice));
        let sent = self.send(key, opcode, &message);
        message.clear();
        message.shrink_to(GATHERED_LEN_KEPT);
        self.table.gathered = message;
        sent
    }

    /// Queues the frame of a message: behind the one that is being sent in parts, if one is.
    pub(super) fn enqueue_message(
        &mut self,
        key: Key,
        header: &[u8],
        payload: &[u8],
        mask: Option<MaskingKey>,
    ) -> Result<(), Exhausted> {
        if self.is_in_parts(key) {
            return self
                .outbox(key)?
                .map_or(Ok(()), |(outbox, pool)| outbox.keep_behind(header, payload, mask, pool));
        }
        self.enqueue(key, header, payload, mask)
    }
}

impl<A: App> Core<A> {
    /// Hands on a part of a message.
    pub(super) fn part(&mut self, key: Key, part: Part<'_>, arena: &mut Arena) {
        self.table.counters.messages_in.add(u64::from(part.is_last));
        let mut turn = Turn { table: &mut self.table, arena };
        let outcome = net(|| self.app.on_part(&mut turn, key, part));
        self.survive(key, outcome, arena);
    }
}

/// Of the room for gathered messages so much is kept.
const GATHERED_LEN_KEPT: usize = 64 * 1024;
