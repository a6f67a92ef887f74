//! Received bytes to events.
//!
//! Two ways, one meaning. A frame that lies whole in the received bytes, and is a message by itself,
//! is unmasked and handed on where it lies ([`whole_frame`]). Everything else (a frame cut off, a
//! fragment) goes through the incremental decoder and the assembler in an [`Inbound`], which exists
//! only while something is half received.

use super::Tick;
use crate::{
    pool::{BufferPool, Exhausted, Lease},
    protocol::{
        Assembler, Decoder, FrameHeader, Incoming, Limits, MaskedEvent, Opcode, Part,
        ProtocolError, Role, Rsv, frame_header,
        handshake::{HandshakeError, HeadScanner},
    },
};

/// What is half received.
#[derive(Debug)]
pub(crate) struct Inbound {
    decoder: Decoder,
    assembler: Assembler,
    /// The message so far, behind room for the header of the frame it may leave in.
    message: Lease,
    /// Nothing of it is gathered: it is handed on in parts.
    in_parts: bool,
    /// Of the message that is handed on in parts nothing has been, so far.
    is_first_part: bool,
    /// How much of it there was when it was lent out to receive more.
    lent_at: usize,
    begun_at: Option<Tick>,
    /// Raw bytes that have not been looked at: a request head that is still arriving, or frames
    /// that came after the connection had had its share of the turn.
    pub(crate) spill: Spill,
    /// How far the request head has been searched for its end.
    scanner: HeadScanner,
    /// Bytes of head and body that make the request whole, once that is known.
    request_len: usize,
}

/// Room before a message, for the longest header that is not masked.
const ROOM_LEN: usize = 10;

/// Raw bytes in waiting.
#[derive(Debug, Default)]
pub(crate) struct Spill {
    lease: Lease,
    from: usize,
}

/// What [`Inbound::poll`] finds: something whole, gathered in the `Inbound` itself, or a part of a
/// message, where it lies in the input.
#[derive(Debug)]
pub(crate) enum Polled<'s, 'i> {
    Incoming(Incoming<'s>),
    Part(Part<'i>),
}

/// Why receiving cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The peer broke a rule.
    Protocol(ProtocolError),
    /// The application takes no messages.
    Unwanted,
    /// Our memory for half-received messages is used up.
    Exhausted,
}

impl From<ProtocolError> for Refusal {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<Exhausted> for Refusal {
    fn from(Exhausted: Exhausted) -> Self {
        Self::Exhausted
    }
}

/// Takes a frame off the front of `input` that lies there whole and is a message by itself.
///
/// `None` when it does not, and nothing was taken: [`Inbound::poll`] is the general way.
#[inline]
pub(crate) fn whole_frame<'a>(
    input: &mut &'a mut [u8],
    receiver: Role,
    allowed: Rsv,
    limits: &Limits,
) -> Result<Option<Incoming<'a>>, ProtocolError> {
    let Some((header, header_len)) = FrameHeader::decode(input)? else { return Ok(None) };
    header.check(receiver, allowed)?;
    let fits = header.payload_len <= (input.len() - header_len) as u64;
    if !fits || !header.fin || header.opcode == Opcode::Continuation {
        return Ok(None);
    }
    if header.payload_len > limits.message_len_max as u64 {
        return Err(ProtocolError::MessageTooBig);
    }
    let frame_len = header_len + header.payload_len as usize;
    let (frame, rest) = std::mem::take(input).split_at_mut(frame_len);
    *input = rest;
    let payload = &mut frame[header_len..];
    if let Some(mask) = header.mask {
        mask.apply(payload, 0);
    }
    Incoming::new(header.opcode, header.rsv, payload).map(Some)
}

/// Finds the end of the head that opens the connection: a request's, or the answer's to one.
pub(crate) fn head_scanner(receiver: Role) -> HeadScanner {
    match receiver {
        Role::Server => HeadScanner::default(),
        Role::Client => HeadScanner::for_reply(),
    }
}

impl Inbound {
    /// Nothing received yet. Frames may carry the reserved bits `allowed`.
    pub(crate) fn new(receiver: Role, allowed: Rsv) -> Self {
        Self {
            decoder: Decoder::new(receiver, allowed),
            assembler: Assembler::default(),
            message: Lease::default(),
            in_parts: false,
            is_first_part: false,
            lent_at: 0,
            begun_at: None,
            spill: Spill::default(),
            scanner: head_scanner(receiver),
            request_len: 0,
        }
    }

    /// The next event in `input`. `None`: all of `input` has been taken in, more is needed. A message
    /// that begins is handed on `in_parts`, or gathered.
    pub(crate) fn poll<'s, 'i>(
        &'s mut self,
        input: &mut &'i mut [u8],
        in_parts: bool,
        now: Tick,
        limits: &Limits,
        pool: &mut BufferPool,
    ) -> Result<Option<Polled<'s, 'i>>, Refusal> {
        while let Some(event) = self.decoder.decode_masked(input)? {
            match event {
                MaskedEvent::Header(header) => {
                    if matches!(header.opcode, Opcode::Text | Opcode::Binary) {
                        // What was compressed is inflated as a whole.
                        self.in_parts = in_parts && header.rsv.is_empty();
                        self.is_first_part = true;
                        self.begun_at = None;
                    }
                    self.start(&header, limits)?;
                    if !self.in_parts || header.opcode.is_control() {
                        self.begun_at.get_or_insert(now);
                    }
                }
                MaskedEvent::Payload { bytes, key, last }
                    if self.in_parts && !self.assembler.is_control() =>
                {
                    if let Some(key) = key {
                        key.apply(bytes, 0);
                    }
                    if let Some(part) = self.part(bytes, last)? {
                        return Ok(Some(Polled::Part(part)));
                    }
                }
                MaskedEvent::Payload { bytes, key, last } => {
                    if !self.assembler.is_control() {
                        self.make_room(bytes.len(), pool)?;
                    }
                    let message = self.message.bytes_mut();
                    match key {
                        Some(key) => self.assembler.push_masked(bytes, key, message)?,
                        None => self.assembler.push(bytes, message)?,
                    }
                    if last && self.assembler.completes() {
                        return Ok(self.finish()?.map(Polled::Incoming));
                    }
                    if last {
                        self.finish()?;
                    }
                }
            }
        }
        Ok(None)
    }

    /// A frame begins. Of what is not gathered no length is too long.
    fn start(&mut self, header: &FrameHeader, limits: &Limits) -> Result<(), ProtocolError> {
        let message = self.message.bytes_mut();
        match self.in_parts {
            false => self.assembler.start(header, limits, message),
            true => {
                let limits = Limits { message_len_max: usize::MAX, ..limits.clone() };
                self.assembler.start(header, &limits, message)
            }
        }
    }

    /// The next part of the message, of which `bytes` have come, which may be the last of their frame.
    /// `None`: there is nothing to tell.
    fn part<'i>(
        &mut self,
        bytes: &'i [u8],
        is_last_of_frame: bool,
    ) -> Result<Option<Part<'i>>, ProtocolError> {
        let is_text = self.assembler.is_text();
        self.assembler.pushed(bytes)?;
        let is_last = is_last_of_frame && self.assembler.finish_part()?;
        if bytes.is_empty() && !is_last {
            return Ok(None);
        }
        let is_first = std::mem::take(&mut self.is_first_part);
        Ok(Some(Part { is_text, bytes, is_first, is_last }))
    }

    /// The frame ends, and with it perhaps a message.
    fn finish(&mut self) -> Result<Option<Incoming<'_>>, ProtocolError> {
        self.assembler.finish(self.message.bytes().get(ROOM_LEN..).unwrap_or_default())
    }

    /// How many bytes of the message's current frame are still to come: they, and nothing else, may be
    /// received straight into the message.
    pub(crate) fn remaining_len(&self) -> usize {
        match self.assembler.is_control() || self.in_parts {
            true => 0,
            false => usize::try_from(self.decoder.remaining().0).unwrap_or(usize::MAX),
        }
    }

    /// Lends the message out, to receive more of it into: the buffer, and for how many bytes there is
    /// room, which are `len_max` at most. Until [`poll_filled`](Self::poll_filled) has it back, nothing
    /// else may be received.
    pub(crate) fn lend_message(
        &mut self,
        len_max: usize,
        pool: &mut BufferPool,
    ) -> Result<(Lease, usize), Exhausted> {
        let len = self.remaining_len().min(len_max);
        self.make_room(len, pool)?;
        self.lent_at = self.message.bytes().len();
        Ok((std::mem::take(&mut self.message), len))
    }

    /// How many bytes more of the message `lease` has brought, which was lent out.
    pub(crate) fn filled_len(&self, lease: &Lease) -> usize {
        lease.bytes().len() - self.lent_at
    }

    /// Takes the message back, with more of it, and says whether it is complete: as
    /// [`poll`](Self::poll) would of those bytes.
    pub(crate) fn poll_filled(&mut self, lease: Lease) -> Result<Option<Incoming<'_>>, Refusal> {
        self.message = lease;
        let bytes = &mut self.message.bytes_mut()[self.lent_at..];
        let (_, key) = self.decoder.remaining();
        if let Some(key) = key {
            key.apply(bytes, 0);
        }
        self.assembler.pushed(bytes)?;
        match !bytes.is_empty() && self.decoder.pass(bytes.len()) {
            true => Ok(self.finish()?),
            false => Ok(None),
        }
    }

    /// Takes the message back, and the bytes that it has got meanwhile off it, as they came.
    pub(crate) fn take_filled(&mut self, mut lease: Lease) -> Vec<u8> {
        let filled = lease.bytes_mut().split_off(self.lent_at);
        self.message = lease;
        filled
    }

    /// Makes room for the next `len` bytes of the message.
    fn make_room(&mut self, len: usize, pool: &mut BufferPool) -> Result<(), Exhausted> {
        let expected_len = self.assembler.announced_len().saturating_add(ROOM_LEN);
        let begins = self.message.bytes().is_empty();
        let room_len = if begins { ROOM_LEN } else { 0 };
        pool.reserve_towards(&mut self.message, room_len + len, expected_len)?;
        if begins {
            self.message.bytes_mut().resize(ROOM_LEN, 0);
        }
        Ok(())
    }

    /// Takes the message that has just been completed out, in a frame that carries it unmasked: a buffer,
    /// and where in it the frame begins.
    pub(crate) fn take_frame(&mut self, opcode: Opcode) -> (Lease, usize) {
        let mut lease = std::mem::take(&mut self.message);
        let header = frame_header(opcode, lease.bytes().len() - ROOM_LEN);
        let from = ROOM_LEN - header.len();
        lease.bytes_mut()[from..ROOM_LEN].copy_from_slice(&header);
        (lease, from)
    }

    /// Where the request head in the spilled bytes ends, if the request is all there. Bytes that were
    /// searched are not searched again.
    pub(crate) fn find_head_end(&mut self, limit: usize) -> Result<Option<usize>, HandshakeError> {
        if self.spill.bytes().len() < self.request_len {
            return Ok(None);
        }
        self.scanner.find_end(self.spill.bytes(), limit)
    }

    /// The request is not whole before so many bytes of it are there.
    pub(crate) fn expect_request(&mut self, len: usize) {
        self.request_len = len;
    }

    /// Whether the request's head has been read, and its body is waited for.
    pub(crate) fn expects_request(&self) -> bool {
        self.request_len > 0
    }

    /// Whether nothing is half received: the next frame may take the short way.
    pub(crate) fn is_idle(&self) -> bool {
        self.decoder.is_between_frames() && self.assembler.is_idle()
    }

    /// Whether a message has begun.
    pub(crate) fn is_mid_message(&self) -> bool {
        self.assembler.is_mid_message()
    }

    /// When the message that is half received began.
    pub(crate) fn begun_at(&self) -> Option<Tick> {
        self.begun_at
    }

    /// Gives its buffers back.
    pub(crate) fn release(&mut self, pool: &mut BufferPool) {
        pool.give_back(std::mem::take(&mut self.message));
        self.spill.clear(pool);
    }
}

impl Spill {
    /// Adds bytes behind those that wait.
    pub(crate) fn push(&mut self, bytes: &[u8], pool: &mut BufferPool) -> Result<(), Exhausted> {
        pool.reserve(&mut self.lease, bytes.len())?;
        self.lease.bytes_mut().extend_from_slice(bytes);
        Ok(())
    }

    /// The bytes that wait.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.lease.bytes()[self.from..]
    }

    /// The bytes that wait, to be unmasked in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.lease.bytes_mut()[self.from..]
    }

    /// Forgets the first `len` bytes.
    pub(crate) fn advance(&mut self, len: usize) {
        self.from += len;
    }

    /// Forgets everything and gives the buffer back.
    pub(crate) fn clear(&mut self, pool: &mut BufferPool) {
        self.from = 0;
        pool.give_back(std::mem::take(&mut self.lease));
    }
}
