//! The connections of one reactor, and everything that can be done to them from inside a turn.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    counters::Counters,
    deadlines::Deadlines,
    handover::Handover,
    masking::MaskingKeys,
    output::{COMMON_LEN_MAX, Output, Outputs},
};
use crate::{
    config::Config,
    conn::{
        CloseCause, ConnectError, Connection, Deflating, Flags, Inbound, Outbox, Overflow, Phase,
        Piece, RttPing, Sent, Spill, Tick, Timeouts,
    },
    driver::{Op, Payload, Route},
    pool::{Arena, BufferPool, Exhausted, Key, Slab},
    protocol::{
        CloseCode, FrameHeader, MaskingKey, Opcode, Prepared, Role, Rsv, frame_len,
        masked_frame_header, write_frame,
    },
};

/// Everything that one reactor keeps.
pub(crate) struct Table<T> {
    pub(crate) connections: Slab<Connection<T>>,
    pub(crate) deadlines: Deadlines,
    pub(crate) pool: BufferPool,
    pub(crate) counters: Arc<Counters>,
    pub(crate) config: Arc<Config>,
    /// Time since the reactor started, as the turn began.
    pub(crate) elapsed: Duration,
    /// The same, as coarsely as deadlines need it.
    pub(crate) now: Tick,
    /// When the application wants to be woken.
    pub(crate) wake_at: Option<Instant>,
    /// A drain has begun: who still arrives is turned away.
    pub(super) leaving: bool,
    /// What compresses and inflates, if messages may be compressed.
    pub(super) deflating: Option<Box<Deflating>>,
    /// Room for one message that was compressed.
    pub(super) inflated: Vec<u8>,
    /// Room for one message that is sent from several places.
    pub(super) gathered: Vec<u8>,
    /// What frames of a client are masked with.
    pub(super) masking_keys: MaskingKeys,
    /// Connections that are asked for and not begun, in order.
    pub(super) waiting: VecDeque<(Key, Arc<Route>)>,
    /// What connections have to say at the end of the turn.
    pub(super) outputs: Outputs,
    /// The message that is being handed on, if its buffer may be.
    pub(super) handover: Handover,
    /// What else to ask of the driver, in order, before the output.
    pub(super) ops: Vec<(Op, Key)>,
    /// Connections that ended, whose `on_close` is due.
    pub(super) ended: Vec<(Key, CloseCause)>,
    /// Connections that will not open, whose `on_connect_failed` is due.
    pub(super) unopened: Vec<(Key, ConnectError)>,
    /// Connections with input left over from their last share of a turn.
    pub(super) unfinished: VecDeque<Key>,
    /// Boxes to use again: a connection's entry has room for a pointer, not for an `Inbound`.
    #[expect(clippy::vec_box)]
    spare_inbounds: Vec<Box<Inbound>>,
}

/// Whether a message may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compress {
    /// If both sides agreed to that, and it gets shorter.
    IfAgreed,
    Never,
}

/// What a callback reaches: the reactor's connections, and the arena that corks their output.
pub(crate) struct Turn<'a, T> {
    pub(crate) table: &'a mut Table<T>,
    pub(crate) arena: &'a mut Arena,
}

/// Bytes of buffers that the pool keeps for reuse as long as it needs them, and a quarter of what it
/// lends at most.
const POOL_KEPT_MAX: usize = 64 << 20;

/// Boxes for half-received input that are kept for reuse.
const SPARE_INBOUNDS_MAX: usize = 256;

impl<T: Default> Table<T> {
    /// An empty table.
    pub(crate) fn new(config: Arc<Config>, counters: Arc<Counters>) -> Self {
        let deflating = config.deflate.as_ref().map(|settings| Box::new(Deflating::new(settings)));
        Self {
            connections: Slab::new(),
            deadlines: Deadlines::default(),
            pool: BufferPool::new(POOL_KEPT_MAX.min(config.memory_max / 4), config.memory_max),
            counters,
            config,
            elapsed: Duration::ZERO,
            now: Tick::default(),
            wake_at: None,
            leaving: false,
            deflating,
            inflated: Vec::new(),
            gathered: Vec::new(),
            masking_keys: MaskingKeys::default(),
            waiting: VecDeque::new(),
            outputs: Outputs::default(),
            handover: Handover::default(),
            ops: Vec::new(),
            ended: Vec::new(),
            unopened: Vec::new(),
            unfinished: VecDeque::new(),
            spare_inbounds: Vec::new(),
        }
    }
}

impl<T> Table<T> {
    /// Notes that the peer was heard, and says whether what arrived may be plain messages: the
    /// connection is open, has nothing half received, is not paused, and is a server's end. It is
    /// expected to answer.
    #[inline]
    pub(super) fn hear(&mut self, key: Key, arena: &Arena) -> bool {
        let Self { connections, outputs, now, .. } = self;
        let Some(conn) = connections.get_mut(key) else { return false };
        conn.heard_at = *now;
        conn.flags.remove(Flags::PINGED);
        if conn.phase != Phase::Open || conn.inbound.is_some() || conn.flags.has(Flags::NOT_PLAIN) {
            return false;
        }
        if conn.outbox.is_none() {
            outputs.expect(conn, key, arena);
        }
        true
    }

    /// A box for half-received input, of a connection of which we are this end.
    pub(super) fn lend_inbound(&mut self, role: Role, allowed: Rsv) -> Box<Inbound> {
        lend(&mut self.spare_inbounds, role, allowed)
    }

    /// Takes back a box, and with it what was half received.
    pub(super) fn give_back_inbound(&mut self, mut inbound: Box<Inbound>) {
        inbound.release(&mut self.pool);
        if self.spare_inbounds.len() < SPARE_INBOUNDS_MAX {
            self.spare_inbounds.push(inbound);
        }
    }

    /// What the connection has half received, made if need be.
    pub(super) fn inbound_mut(&mut self, key: Key) -> Option<&mut Inbound> {
        let Self { connections, spare_inbounds, .. } = self;
        let conn = connections.get_mut(key)?;
        let (role, allowed) = (conn.role(), conn.allowed_rsv());
        Some(conn.inbound.get_or_insert_with(|| lend(spare_inbounds, role, allowed)))
    }

    /// Takes what the connection has half received, if it is in the middle of something.
    pub(super) fn take_inbound(&mut self, key: Key) -> Option<Box<Inbound>> {
        let inbound = self.connections.get_mut(key)?.inbound.take()?;
        if !inbound.is_idle() {
            return Some(inbound);
        }
        self.give_back_inbound(inbound);
        None
    }

    /// Puts back what `take_inbound` took, unless the connection has no more use for it.
    pub(super) fn put_back_inbound(&mut self, key: Key, inbound: Box<Inbound>) {
        match self.connections.get_mut(key).filter(|conn| conn.phase.is_live()) {
            Some(conn) => conn.inbound = Some(inbound),
            None => self.give_back_inbound(inbound),
        }
    }

    /// Forgets what the connection has half received.
    pub(super) fn release_inbound(&mut self, key: Key) {
        let inbound = self.connections.get_mut(key).and_then(|conn| conn.inbound.take());
        inbound.into_iter().for_each(|inbound| self.give_back_inbound(inbound));
    }

    /// Ends the handing on of the message that `inbound` holds: if it was promised to a connection, that
    /// gets the buffer.
    pub(super) fn hand_over(&mut self, inbound: &mut Inbound) {
        let Handover::Promised { to, opcode } = std::mem::take(&mut self.handover) else { return };
        let (lease, from) = inbound.take_frame(opcode);
        let frame = Piece::Owned { lease, from };
        let outbox = self.connections.get_mut(to).and_then(|conn| conn.outbox.as_mut());
        let unclaimed = match outbox {
            Some(outbox) => outbox.fulfil(frame).err(),
            None => Some(frame),
        };
        unclaimed.into_iter().for_each(|frame| frame.release(&mut self.pool));
    }

    /// Keeps raw bytes behind those that wait.
    pub(super) fn spill(&mut self, key: Key, bytes: &[u8]) -> Result<(), Exhausted> {
        let mut spill = self.take_spill(key);
        let spilled = spill.push(bytes, &mut self.pool);
        self.put_back_spill(key, spill);
        spilled
    }

    /// Takes the raw bytes that wait.
    pub(super) fn take_spill(&mut self, key: Key) -> Spill {
        let conn = self.connections.get_mut(key);
        let inbound = conn.and_then(|conn| conn.inbound.as_mut());
        inbound.map(|inbound| std::mem::take(&mut inbound.spill)).unwrap_or_default()
    }

    /// Puts back what `take_spill` took.
    pub(super) fn put_back_spill(&mut self, key: Key, mut spill: Spill) {
        match self.inbound_mut(key) {
            Some(inbound) => inbound.spill = spill,
            None => spill.clear(&mut self.pool),
        }
    }

    /// Puts `key` on the list of connections to look at when the turn is flushed.
    pub(super) fn mark_dirty(&mut self, key: Key) {
        if let Some(conn) = self.connections.get_mut(key) {
            self.outputs.of(conn, key);
        }
    }

    /// Counts a message that was queued.
    #[inline]
    fn count_sent(&self, len: usize) {
        self.counters.messages_out.add(1);
        self.counters.bytes_out.add(len as u64);
    }

    /// The connection's time limits.
    pub(crate) fn timeouts(&self, key: Key) -> &Timeouts {
        let common = &self.config.timeouts;
        self.connections.get(key).map_or(common, |conn| conn.timeouts(common))
    }

    /// Sets time limits of the connection's own.
    pub(crate) fn set_timeouts(&mut self, key: Key, timeouts: Arc<Timeouts>) {
        if let Some(conn) = self.connections.get_mut(key) {
            conn.extra_mut().timeouts = Some(timeouts);
            self.review_deadline(key);
        }
    }

    /// Sees to it that the connection's deadlines are looked at again soon: they have changed.
    pub(super) fn review_deadline(&mut self, key: Key) {
        self.deadlines.bring_forward(key.index, self.now);
    }
}

impl<T> Turn<'_, T> {
    /// Sends a message, unless the connection is not open or its send queue is full.
    #[inline(always)] // into the callback, where the kind of the message is often known
    pub(crate) fn send(&mut self, key: Key, opcode: Opcode, payload: &[u8]) -> Sent {
        let len = frame_len(payload.len());
        let Some(frame) = self.cork(key, len) else {
            return self.send_behind(key, opcode, payload, Compress::IfAgreed);
        };
        write_frame(frame, opcode, payload);
        self.table.count_sent(len);
        Sent::Queued
    }

    /// Room for a frame of `len` bytes behind this turn's output of the connection: the common case.
    /// `None`: it is not open, or something waits, or the arena is full, or a client has to mask it.
    #[inline(always)]
    fn cork(&mut self, key: Key, len: usize) -> Option<&mut [u8]> {
        let Table { connections, outputs, .. } = &mut *self.table;
        if outputs.is_speaker(key) {
            return outputs.speak(self.arena, len);
        }
        outputs.begin_to_speak(connections.get_mut(key)?, key, self.arena, len)
    }

    /// Whether messages are handed on.
    #[inline]
    pub(super) fn is_heard(&self, key: Key) -> bool {
        let is_heard = |conn: &Connection<T>| {
            conn.phase == Phase::Open && !conn.flags.has(Flags::NOT_PLAIN_SINCE)
        };
        let table = &*self.table;
        table.outputs.is_speaker(key) || table.connections.get(key).is_some_and(is_heard)
    }

    /// Hands on no more messages, and makes the peer wait.
    pub(crate) fn hold(&mut self, key: Key) {
        let Table { connections, outputs, ops, .. } = &mut *self.table;
        let Some(conn) = connections.get_mut(key) else { return };
        if conn.phase != Phase::Open || conn.flags.has(Flags::HELD) {
            return;
        }
        conn.flags.insert(Flags::HELD);
        outputs.forget_speaker();
        if !conn.flags.has(Flags::PAUSED) {
            conn.flags.insert(Flags::PAUSED);
            ops.push((Op::Pause, key));
        }
    }

    /// Takes no more messages, and fails the connection if one comes.
    pub(crate) fn refuse_messages(&mut self, key: Key) {
        if let Some(conn) = self.table.connections.get_mut(key) {
            conn.flags.insert(Flags::REFUSING);
            self.table.outputs.forget_speaker();
        }
    }

    /// Hands on messages again: first those that have arrived meanwhile.
    pub(crate) fn go_on(&mut self, key: Key) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if conn.flags.has(Flags::HELD) {
            conn.flags.remove(Flags::HELD);
            conn.flags.remove(Flags::PINGED);
            conn.heard_at = self.table.now;
            self.table.unfinished.push_back(key);
            self.table.review_deadline(key);
        }
    }

    /// Sends a message behind what waits, masked, or compressed.
    #[cold]
    pub(crate) fn send_behind(
        &mut self,
        key: Key,
        opcode: Opcode,
        payload: &[u8],
        compress: Compress,
    ) -> Sent {
        match self.admit(key, FrameHeader::LEN_MAX + payload.len()) {
            Sent::Queued => {}
            refused => return refused,
        }
        if compress == Compress::IfAgreed
            && let Some(sent) = self.send_deflated(key, opcode, payload)
        {
            return match sent {
                Ok(len) => self.sent(key, len),
                Err(Exhausted) => self.out_of_memory(key),
            };
        }
        let mask = self.mask_for(key);
        let header = masked_frame_header(opcode, payload.len(), mask);
        let len = header.len() + payload.len();
        let queued = match mask {
            None if !self.is_in_parts(key) && self.table.handover.promise(payload, key, opcode) => {
                self.promise(key, len)
            }
            _ => self.enqueue_message(key, &header, payload, mask),
        };
        match queued {
            Ok(()) => self.sent(key, len),
            Err(Exhausted) => self.out_of_memory(key),
        }
    }

    /// Sends a message that other connections share. A long one is copied nowhere, but to a server: what
    /// that is sent is masked with a key of its own (RFC 6455 §5.3); and to who compares messages with
    /// those before (RFC 7692 §7.1.1).
    pub(crate) fn send_prepared(&mut self, key: Key, prepared: &Prepared) -> Sent {
        let Some(conn) = self.table.connections.get(key) else { return Sent::Closed };
        let may_share = !(conn.flags.has(Flags::CLIENT) || conn.flags.has(Flags::IN_PARTS));
        if !conn.flags.has(Flags::NOT_SHARING) {
            return self.send_shared(key, prepared.plain());
        }
        if may_share && let Some(frame) = self.deflated_for_many(key, prepared) {
            return self.send_shared(key, frame);
        }
        self.send_behind(key, prepared.opcode(), prepared.payload(), Compress::IfAgreed)
    }

    /// Sends a frame that other connections share.
    fn send_shared(&mut self, key: Key, frame: &Bytes) -> Sent {
        match self.admit(key, frame.len()) {
            Sent::Queued => {}
            refused => return refused,
        }
        match self.enqueue_shared(key, frame) {
            Ok(()) => self.sent(key, frame.len()),
            Err(Exhausted) => self.out_of_memory(key),
        }
    }

    /// Sends a message to every open connection, and says to how many.
    pub(crate) fn broadcast(&mut self, prepared: &Prepared) -> usize {
        let frame = prepared.plain();
        let shared = self.table.outputs.share(frame, self.arena);
        let mut count = 0;
        for index in 0..self.table.connections.capacity() as u32 {
            let Table { connections, outputs, .. } = &mut *self.table;
            let Some((key, conn)) = connections.at_mut(index) else { continue };
            let shares = !conn.flags.has(Flags::NOT_SHARING);
            if conn.phase == Phase::Open && conn.outbox.is_none() && shares {
                // The common case: it had nothing to say yet.
                let output = outputs.of(conn, key);
                if output.is_nothing() {
                    *output = shared;
                    count += 1;
                    self.table.count_sent(frame.len());
                    continue;
                }
            }
            let sent = self.send_prepared(key, prepared);
            count += usize::from(matches!(sent, Sent::Queued | Sent::AboveHighWater));
        }
        count
    }

    /// Sends a ping or a pong. Where data waits a pong goes before it, and replaces one that waits;
    /// a ping goes behind it, and is dropped if the send queue is full.
    pub(crate) fn control(&mut self, key: Key, opcode: Opcode, payload: &[u8]) -> Sent {
        let mask = self.mask_for(key);
        let Table { connections, pool, config, .. } = &mut *self.table;
        let Some(conn) = connections.get_mut(key) else { return Sent::Closed };
        if conn.phase != Phase::Open {
            return Sent::Closed;
        }
        let waits = conn.output_waits();
        let queued = match &mut conn.outbox {
            Some(outbox) if waits && opcode == Opcode::Pong => {
                outbox.push_urgent(opcode, payload, mask, pool)
            }
            Some(outbox) if outbox.len() > config.send_queue.len_max => return Sent::Dropped,
            _ => {
                let header = masked_frame_header(opcode, payload.len(), mask);
                self.enqueue(key, &header, payload, mask)
            }
        };
        match queued {
            Ok(()) => {
                self.table.mark_dirty(key);
                Sent::Queued
            }
            Err(Exhausted) => self.out_of_memory(key),
        }
    }

    /// Sends a ping whose pong is recognised, and takes the time.
    pub(crate) fn measure_rtt(&mut self, key: Key) -> Sent {
        if self.table.masking_keys.seed().is_err() {
            return Sent::Dropped;
        }
        let payload = self.table.masking_keys.nonce();
        let sent = self.control(key, Opcode::Ping, &payload);
        if sent == Sent::Queued
            && let Some(conn) = self.table.connections.get_mut(key)
        {
            let ping = RttPing { payload, sent_at: self.table.elapsed };
            conn.extra_mut().rtt_ping = Some(Box::new(ping));
        }
        sent
    }

    /// Queues raw bytes: a request, or the answer to one.
    pub(super) fn send_raw(&mut self, key: Key, bytes: &[u8]) {
        if self.enqueue(key, bytes, &[], None).is_err() {
            self.abort(key, CloseCause::OutOfMemory);
        }
    }

    /// Whether a message of `len` bytes may be queued, and what happens if not.
    #[inline]
    pub(super) fn admit(&mut self, key: Key, len: usize) -> Sent {
        let Some(conn) = self.table.connections.get(key) else { return Sent::Closed };
        if conn.phase != Phase::Open {
            return Sent::Closed;
        }
        let queued_len = conn.queued_len();
        let queue = &self.table.config.send_queue;
        if queued_len == 0 || queued_len + len <= queue.len_max {
            return Sent::Queued;
        }
        self.table.counters.messages_dropped.add(1);
        if queue.overflow == Overflow::Close {
            self.table.counters.slow_consumers.add(1);
            let code = CloseCode::TRY_AGAIN_LATER;
            self.terminate(key, CloseCause::SlowConsumer, code, "send queue full");
        }
        Sent::Dropped
    }

    /// Counts a message that was queued behind others, and looks at the high-water mark.
    fn sent(&mut self, key: Key, len: usize) -> Sent {
        self.sent_frame(key, len, true)
    }

    /// The same for a frame, which may complete a message.
    pub(super) fn sent_frame(&mut self, key: Key, len: usize, is_message: bool) -> Sent {
        self.table.counters.messages_out.add(u64::from(is_message));
        self.table.counters.bytes_out.add(len as u64);
        let high_water = self.table.config.send_queue.high_water;
        match self.table.connections.get_mut(key) {
            Some(conn) if conn.outbox.is_some() && conn.queued_len() > high_water => {
                conn.flags.insert(Flags::HIGH_WATER);
                Sent::AboveHighWater
            }
            _ => Sent::Queued,
        }
    }

    pub(super) fn out_of_memory(&mut self, key: Key) -> Sent {
        self.abort(key, CloseCause::OutOfMemory);
        Sent::Dropped
    }

    /// A fresh key, if we are the client's end of the connection (RFC 6455 §5.1).
    pub(super) fn mask_for(&mut self, key: Key) -> Option<MaskingKey> {
        let Table { connections, masking_keys, .. } = &mut *self.table;
        let is_client = connections.get(key)?.flags.has(Flags::CLIENT);
        is_client.then(|| masking_keys.next())
    }

    /// Appends bytes to what the connection has to say, the payload masked if there is a key.
    ///
    /// While the socket takes everything they go to the arena, behind the connection's other output
    /// of this turn. If something else has been corked since, or the arena is full, the connection
    /// gets an outbox.
    #[inline]
    pub(super) fn enqueue(
        &mut self,
        key: Key,
        header: &[u8],
        payload: &[u8],
        mask: Option<MaskingKey>,
    ) -> Result<(), Exhausted> {
        let Table { connections, outputs, pool, .. } = &mut *self.table;
        let Some(conn) = connections.get_mut(key) else { return Ok(()) };
        if conn.outbox.is_none()
            && let Some(room) = outputs.of(conn, key).cork(self.arena, header.len() + payload.len())
        {
            let (head, body) = room.split_at_mut(header.len());
            head.copy_from_slice(header);
            match mask {
                None => body.copy_from_slice(payload),
                Some(mask) => mask.copy(body, payload, 0),
            }
            return Ok(());
        }
        uncork(conn, key, outputs, self.arena, pool)?.push(header, payload, mask, pool)
    }

    /// Whether a message is being sent in parts.
    pub(crate) fn is_in_parts(&self, key: Key) -> bool {
        let is_in_parts = |conn: &Connection<T>| conn.flags.has(Flags::IN_PARTS);
        self.table.connections.get(key).is_some_and(is_in_parts)
    }

    /// The connection's outbox, made if need be, with its output of this turn in it; and the pool.
    pub(super) fn outbox(
        &mut self,
        key: Key,
    ) -> Result<Option<(&mut Outbox, &mut BufferPool)>, Exhausted> {
        let Table { connections, outputs, pool, .. } = &mut *self.table;
        let Some(conn) = connections.get_mut(key) else { return Ok(None) };
        let outbox = uncork(conn, key, outputs, self.arena, pool)?;
        Ok(Some((outbox, pool)))
    }

    /// Keeps a place in the connection's output for the frame that is being handed on.
    fn promise(&mut self, key: Key, len: usize) -> Result<(), Exhausted> {
        if let Some((outbox, _)) = self.outbox(key)? {
            outbox.promise(len);
        }
        Ok(())
    }

    /// The same for a frame that others share: a short one joins the connection's other output.
    fn enqueue_shared(&mut self, key: Key, frame: &Bytes) -> Result<(), Exhausted> {
        let Table { connections, outputs, pool, .. } = &mut *self.table;
        let Some(conn) = connections.get_mut(key) else { return Ok(()) };
        if conn.outbox.is_none() {
            if frame.len() <= COMMON_LEN_MAX
                && let Some(room) = outputs.of(conn, key).cork(self.arena, frame.len())
            {
                room.copy_from_slice(frame);
                return Ok(());
            }
            if outputs.of(conn, key).is_nothing() {
                *outputs.of(conn, key) = outputs.share(frame, self.arena);
                return Ok(());
            }
        }
        uncork(conn, key, outputs, self.arena, pool)?.push_shared(frame.clone(), pool)
    }

    /// The rest of a send that the socket would not take whole goes to the front of the queue,
    /// before what this turn has corked since.
    pub(super) fn put_back(&mut self, key: Key, rest: Payload) {
        let mut rest = match rest {
            Payload::Owned { lease, from } => Piece::Owned { lease, from },
            Payload::Shared(bytes) => Piece::Shared(bytes),
            Payload::Corked(_) | Payload::Common(_) => {
                unreachable!("a driver gives bytes of the arena back as owned")
            }
        };
        let Table { connections, outputs, pool, counters, deadlines, config, now, .. } =
            &mut *self.table;
        counters.blocked_sends.add(1);
        let Some(conn) = connections.get_mut(key).filter(|conn| conn.phase != Phase::Dead) else {
            return rest.release(pool);
        };
        conn.flags.insert(Flags::BLOCKED);
        conn.flags.remove(Flags::SENDING);
        match rest.count(pool).and_then(|()| uncork(conn, key, outputs, self.arena, pool)) {
            Ok(outbox) => {
                outbox.push_rest(rest, *now);
                if let Some(timeout) = conn.timeouts(&config.timeouts).send {
                    deadlines.bring_forward(key.index, now.after(timeout));
                }
            }
            Err(Exhausted) => {
                rest.release(pool);
                self.abort(key, CloseCause::OutOfMemory);
            }
        }
    }
}

/// A box for half-received input.
#[expect(clippy::vec_box)]
fn lend(spare_inbounds: &mut Vec<Box<Inbound>>, role: Role, allowed: Rsv) -> Box<Inbound> {
    let new = Inbound::new(role, allowed);
    match spare_inbounds.pop() {
        Some(mut inbound) => {
            *inbound = new;
            inbound
        }
        None => Box::new(new),
    }
}

/// The connection's outbox, with what it has to say this turn moved into it.
fn uncork<'a, T>(
    conn: &'a mut Connection<T>,
    key: Key,
    outputs: &mut Outputs,
    arena: &Arena,
    pool: &mut BufferPool,
) -> Result<&'a mut Outbox, Exhausted> {
    let output = std::mem::replace(outputs.of(conn, key), Output::Nothing);
    outputs.forget_speaker();
    let outbox = conn.outbox.get_or_insert_default();
    match output {
        Output::Corked(stretch) if stretch.is_empty() => {}
        Output::Corked(stretch) | Output::Common(stretch) => {
            outbox.push(arena.slice(stretch.range()), &[], None, pool)?;
        }
        Output::Shared(index) => outbox.push_shared(outputs.frame(index).clone(), pool)?,
        Output::Nothing => {}
    }
    Ok(outbox)
}
