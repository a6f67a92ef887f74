//! Frames, the message that clients send in one, and the two answers there are to it.

/// A message in one masked frame, and what comes back.
#[derive(Debug)]
pub(crate) struct Exchange {
    frame: Vec<u8>,
    answer: Vec<u8>,
}

/// What a frame is (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// Who answers: told by the mask bit of an answer's second byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A WebSocket server sends the payload back, in a frame of its own.
    Message,
    /// A floor sends the frame back as it came.
    Frame,
}

impl Exchange {
    /// A message of `payload_len` bytes.
    pub(crate) fn new(opcode: Opcode, payload_len: usize) -> Self {
        let payload: Vec<u8> = (0..payload_len).map(|n| b'a' + (n % 26) as u8).collect();
        let mut answer = header(opcode, payload_len, 0);
        answer.extend(&payload);
        Self { frame: masked(opcode, &payload), answer }
    }

    /// What a client sends.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// What it is answered.
    pub(crate) fn answer(&self, kind: Answer) -> &[u8] {
        match kind {
            Answer::Message => &self.answer,
            Answer::Frame => &self.frame,
        }
    }
}

impl Answer {
    /// Whose answer begins with these two bytes?
    pub(crate) fn of(begin: [u8; 2]) -> Self {
        if begin[1] & MASKED == 0 { Self::Message } else { Self::Frame }
    }
}

impl Opcode {
    /// The first byte of a final frame (RFC 6455 §5.2).
    pub(crate) fn first_byte(self) -> u8 {
        0x80 | self as u8
    }
}

/// A final frame as clients send it.
pub(crate) fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, payload.len(), MASKED);
    frame.extend(MASKING_KEY);
    frame.extend(payload.iter().zip(MASKING_KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The header of a final frame (RFC 6455 §5.2), up to its masking key.
fn header(opcode: Opcode, payload_len: usize, masked: u8) -> Vec<u8> {
    let mut header = vec![opcode.first_byte()];
    match payload_len {
        0..=125 => header.push(masked | payload_len as u8),
        126..=0xffff => {
            header.push(masked | 126);
            header.extend((payload_len as u16).to_be_bytes());
        }
        _ => {
            header.push(masked | 127);
            header.extend((payload_len as u64).to_be_bytes());
        }
    }
    header
}

const MASKED: u8 = 0x80;
/// Fixed, so that a frame is made once: a server cannot tell.
const MASKING_KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_and_its_answers() {
        let check = |payload_len: usize, masked: &[u8], unmasked: &[u8]| {
            let exchange = Exchange::new(Opcode::Binary, payload_len);
            let (frame, answer) = (exchange.frame(), exchange.answer(Answer::Message));
            assert!(frame.starts_with(masked) && answer.starts_with(unmasked));
            assert_eq!(frame.len(), masked.len() + MASKING_KEY.len() + payload_len);
            assert_eq!(answer.len(), unmasked.len() + payload_len);
            assert_eq!(exchange.answer(Answer::Frame), frame);
            assert_eq!(Answer::of([frame[0], frame[1]]), Answer::Frame);
            assert_eq!(Answer::of([answer[0], answer[1]]), Answer::Message);
            let payload = &frame[masked.len() + MASKING_KEY.len()..];
            for (n, byte) in payload.iter().enumerate() {
                assert_eq!(byte ^ MASKING_KEY[n % 4], answer[unmasked.len() + n]);
            }
        };
        check(0, &[0x82, 0x80], &[0x82, 0]);
        check(64, &[0x82, 0xc0], &[0x82, 64]);
        check(125, &[0x82, 0xfd], &[0x82, 125]);
        check(126, &[0x82, 0xfe, 0, 126], &[0x82, 126, 0, 126]);
        check(65535, &[0x82, 0xfe, 255, 255], &[0x82, 126, 255, 255]);
        check(65536, &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert!(Exchange::new(Opcode::Text, 5).frame().starts_with(&[0x81, 0x85]));
    }
}
