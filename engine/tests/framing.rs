//! RFC 6455 §5 to §8 from outside: rules and their answers, and the laws that hold for any stream.

use proptest::prelude::*;
use throng::protocol::{
    Assembler, CloseCode, CloseFrame, Decoder, Event, FrameHeader, Incoming, Limits, MaskingKey,
    Message, Opcode,
    ProtocolError::{self, *},
    Role, Rsv, append_frame, frame_header, fuzz,
};

const KEY: Option<MaskingKey> = Some(MaskingKey::new([0x37, 0xFA, 0x21, 0x3D]));

/// What a peer said, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Compressed(Opcode, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl Said {
    fn new(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Message(Message::Text(text)) => Self::Text(text.to_owned()),
            Incoming::Message(Message::Binary(bytes)) => Self::Binary(bytes.to_vec()),
            Incoming::Extended { opcode, rsv, payload } => {
                assert_eq!(rsv, Rsv::RSV1);
                Self::Compressed(opcode, payload.to_vec())
            }
            Incoming::Ping(payload) => Self::Ping(payload.to_vec()),
            Incoming::Pong(payload) => Self::Pong(payload.to_vec()),
            Incoming::Close(frame) => {
                Self::Close(frame.map(|frame| (frame.code.value(), frame.reason.to_owned())))
            }
        }
    }

    /// Opcode, bits of the first frame, and payload.
    fn parts(&self) -> (Opcode, Rsv, Vec<u8>) {
        match self {
            Self::Text(text) => (Opcode::Text, Rsv::NONE, text.clone().into_bytes()),
            Self::Binary(bytes) => (Opcode::Binary, Rsv::NONE, bytes.clone()),
            Self::Compressed(opcode, bytes) => (*opcode, Rsv::RSV1, bytes.clone()),
            Self::Ping(payload) => (Opcode::Ping, Rsv::NONE, payload.clone()),
            Self::Pong(payload) => (Opcode::Pong, Rsv::NONE, payload.clone()),
            Self::Close(None) => (Opcode::Close, Rsv::NONE, Vec::new()),
            Self::Close(Some((code, reason))) => {
                let payload = CloseFrame::encode_payload(Some(CloseCode::new(*code)), reason);
                (Opcode::Close, Rsv::NONE, payload.to_vec())
            }
        }
    }
}

/// One end of a connection, and all it heard.
struct Receiver {
    decoder: Decoder,
    assembler: Assembler,
    limits: Limits,
    message: Vec<u8>,
    said: Vec<Said>,
}

impl Receiver {
    fn new(role: Role) -> Self {
        Self {
            decoder: Decoder::new(role, Rsv::RSV1),
            assembler: Assembler::default(),
            limits: Limits {
                message_len_max: 1000,
                continuation_count_max: 4,
                ..Limits::default()
            },
            message: Vec::new(),
            said: Vec::new(),
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        while let Some(event) = self.decoder.decode(&mut input)? {
            match event {
                Event::Header(header) => {
                    self.assembler.start(&header, &self.limits, &mut self.message)?;
                }
                Event::Payload { bytes, last } => {
                    self.assembler.push(bytes, &mut self.message)?;
                    if last {
                        self.said.extend(self.assembler.finish(&self.message)?.map(Said::new));
                    }
                }
            }
        }
        Ok(())
    }

    /// Receives a byte at a time and says how many of them it took to fail.
    fn receive_until_error(&mut self, bytes: &[u8]) -> Option<(usize, ProtocolError)> {
        (1..)
            .zip(bytes.chunks(1))
            .find_map(|(count, byte)| Some((count, self.receive(byte).err()?)))
    }
}

/// Frames one after the other: `(fin, opcode, payload)`.
fn frames(mask: Option<MaskingKey>, frames: &[(bool, Opcode, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (fin, opcode, payload) in frames {
        append_frame(&mut out, *fin, Rsv::NONE, *opcode, mask, payload);
    }
    out
}

#[test]
fn every_broken_rule_is_named_and_answered() {
    use Opcode::*;
    let long = [b'a'; 1001];
    let server = |list: &[_]| (Role::Server, frames(KEY, list));
    let client = |bytes: &[u8]| (Role::Client, bytes.to_vec());
    // (received, rule, close code, section)
    let rows = [
        (client(b"\xA1\x00"), ReservedBits, 1002, "§5.2"),
        (client(b"\x91\x00"), ReservedBits, 1002, "§5.2"),
        (client(b"\xC9\x00"), ReservedBits, 1002, "§5.2"),
        (client(b"\x41\x00\xC0\x00"), ReservedBits, 1002, "§5.2"),
        (client(b"\x83\x00"), ReservedOpcode(3), 1002, "§5.2"),
        (client(b"\x8F\x00"), ReservedOpcode(15), 1002, "§5.2"),
        (client(b"\x81\x80\x00\x00\x00\x00"), MaskedFrame, 1002, "§5.1"),
        ((Role::Server, frames(None, &[(true, Text, b"a")])), UnmaskedFrame, 1002, "§5.1"),
        (server(&[(false, Ping, b"")]), FragmentedControl, 1002, "§5.5"),
        (server(&[(true, Pong, &long[..126])]), ControlTooLong, 1002, "§5.5"),
        (client(b"\x82\x7E\x00\x7D"), LengthNotMinimal, 1002, "§5.2"),
        (client(b"\x82\x7F\0\0\0\0\0\0\xFF\xFF"), LengthNotMinimal, 1002, "§5.2"),
        (client(b"\x82\x7F\x80\0\0\0\0\0\0\0"), LengthTooLarge, 1002, "§5.2"),
        (server(&[(true, Continuation, b"")]), UnexpectedContinuation, 1002, "§5.4"),
        (
            server(&[(false, Text, b"a"), (true, Continuation, b"b"), (false, Continuation, b"c")]),
            UnexpectedContinuation,
            1002,
            "§5.4",
        ),
        (server(&[(false, Text, b"a"), (true, Text, b"b")]), ExpectedContinuation, 1002, "§5.4"),
        (server(&[(false, Text, b""), (false, Binary, b"")]), ExpectedContinuation, 1002, "§5.4"),
        (server(&[(true, Binary, &long)]), MessageTooBig, 1009, "§10.4"),
        (
            server(&[(false, Binary, &long[..600]), (true, Continuation, &long[..401])]),
            MessageTooBig,
            1009,
            "§10.4",
        ),
        (
            server(&[
                (false, Text, b""),
                (false, Continuation, b""),
                (false, Continuation, b""),
                (false, Continuation, b""),
                (false, Continuation, b""),
                (true, Continuation, b""),
            ]),
            TooManyFragments,
            1009,
            "§10.4",
        ),
        (server(&[(true, Text, b"\xFF")]), InvalidUtf8, 1007, "§8.1"),
        (server(&[(true, Text, b"caf\xC3")]), InvalidUtf8, 1007, "§8.1"),
        (server(&[(false, Text, b"\xC3"), (true, Continuation, b"a")]), InvalidUtf8, 1007, "§8.1"),
        (server(&[(false, Text, b"\xC3"), (true, Continuation, b"")]), InvalidUtf8, 1007, "§8.1"),
        (server(&[(true, Close, b"\x03")]), ClosePayloadTooShort, 1002, "§5.5.1"),
        (server(&[(true, Close, b"\x03\xE8\xFF")]), InvalidCloseReason, 1007, "§5.5.1"),
        (server(&[(true, Close, b"\x03\xED")]), InvalidCloseCode(1005), 1002, "§7.4"),
        (server(&[(true, Close, b"\xFF\xFF")]), InvalidCloseCode(65535), 1002, "§7.4"),
    ];
    for ((role, stream), error, close_code, section) in rows {
        assert_eq!(Receiver::new(role).receive(&stream), Err(error), "{stream:02X?}");
        let bytewise = Receiver::new(role).receive_until_error(&stream);
        assert_eq!(bytewise.map(|(_, error)| error), Some(error), "{stream:02X?} a byte at a time");
        assert_eq!(error.close_code().value(), close_code, "{error}");
        assert_eq!(error.section(), section, "{error}");
    }
}

#[test]
fn close_codes_that_a_peer_may_and_may_not_send() {
    let close = |code: u16| frames(KEY, &[(true, Opcode::Close, &code.to_be_bytes())]);
    let may = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1014, 3000, 3999, 4000, 4999];
    for code in may {
        let mut receiver = Receiver::new(Role::Server);
        assert_eq!(receiver.receive(&close(code)), Ok(()));
        assert_eq!(receiver.said, [Said::Close(Some((code, String::new())))]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        let outcome = Receiver::new(Role::Server).receive(&close(code));
        assert_eq!(outcome, Err(InvalidCloseCode(code)));
    }
}

#[test]
fn a_violation_is_found_at_its_first_byte() {
    use Opcode::*;
    // (what a client receives, how many bytes show that it is wrong, how)
    let rows: [(Vec<u8>, usize, ProtocolError); 8] = [
        (b"\x8B\x05Hello".to_vec(), 2, ReservedOpcode(11)),
        (b"\x09\x05Hello".to_vec(), 2, FragmentedControl),
        (b"\x89\x7E\x00\x7EHello".to_vec(), 2, ControlTooLong),
        (frames(None, &[(true, Text, b"\xCE\xBA\xED\xA0\x80edited")]), 2 + 4, InvalidUtf8),
        (frames(None, &[(true, Text, b"\xF4\x90\x80\x80")]), 2 + 2, InvalidUtf8),
        (frames(None, &[(true, Text, b"\xE0\x80")]), 2 + 2, InvalidUtf8),
        (
            frames(None, &[(false, Text, b"\xF4"), (true, Continuation, b"\x90")]),
            3 + 3,
            InvalidUtf8,
        ),
        (frame_header(Binary, 1001).to_vec(), 4, MessageTooBig),
    ];
    for (stream, byte_count, error) in rows {
        let found = Receiver::new(Role::Client).receive_until_error(&stream);
        assert_eq!(found, Some((byte_count, error)), "{stream:02X?}");
    }
}

#[test]
fn what_came_before_a_violation_was_said() {
    let mut stream = frames(KEY, &[(true, Opcode::Text, b"fine"), (true, Opcode::Ping, b"")]);
    stream.extend_from_slice(b"\x83\x80");
    let mut receiver = Receiver::new(Role::Server);
    assert_eq!(receiver.receive(&stream), Err(ReservedOpcode(3)));
    assert_eq!(receiver.said, [Said::Text("fine".into()), Said::Ping(Vec::new())]);
}

#[test]
fn control_frames_pass_between_fragments() {
    use Opcode::*;
    let stream = frames(
        KEY,
        &[
            (false, Text, b"caf\xC3"),
            (true, Ping, b"one"),
            (false, Continuation, b""),
            (true, Pong, &[0xFF; 125]),
            (true, Continuation, b"\xA9"),
            (true, Close, b"\x03\xE8"),
        ],
    );
    let mut receiver = Receiver::new(Role::Server);
    for byte in stream.chunks(1) {
        receiver.receive(byte).unwrap();
    }
    let expected = [
        Said::Ping(b"one".to_vec()),
        Said::Pong(vec![0xFF; 125]),
        Said::Text("café".into()),
        Said::Close(Some((1000, String::new()))),
    ];
    assert_eq!(receiver.said, expected);
}

#[test]
fn the_machines_know_where_they_are() {
    use Opcode::*;
    let mut receiver = Receiver::new(Role::Client);
    // (received, between frames, idle, in a message)
    let rows: [(&[u8], bool, bool, bool); 8] = [
        (b"\x01", false, true, false),
        (b"\x02a", false, false, true),
        (b"b", true, false, true),
        (b"\x89\x01", false, false, true),
        (b"p", true, false, true),
        (b"\x80\x00", true, true, false),
        (b"\x89\x01", false, false, false),
        (b"p", true, true, false),
    ];
    for (bytes, between_frames, idle, mid_message) in rows {
        receiver.receive(bytes).unwrap();
        assert_eq!(receiver.decoder.is_between_frames(), between_frames, "{bytes:02X?}");
        assert_eq!(receiver.assembler.is_idle(), idle, "{bytes:02X?}");
        assert_eq!(receiver.assembler.is_mid_message(), mid_message, "{bytes:02X?}");
    }
    assert_eq!(receiver.said.len(), 3);
    assert_eq!(receiver.said[1], Said::Text("ab".into()));
    receiver.receive(&frames(None, &[(true, Binary, b"")])).unwrap();
    assert_eq!(receiver.said[3], Said::Binary(Vec::new()), "the next message starts afresh");
}

#[test]
fn a_limit_itself_is_within_the_limit() {
    use Opcode::*;
    let mut receiver = Receiver::new(Role::Server);
    let payload = [b'a'; 1000];
    receiver.receive(&frames(KEY, &[(true, Binary, &payload)])).unwrap();
    let mut five = vec![(false, Text, &payload[..200])];
    five.extend([(false, Continuation, &payload[..200]); 3]);
    five.push((true, Continuation, &payload[..200]));
    receiver.receive(&frames(KEY, &five)).unwrap();
    assert_eq!(receiver.said.len(), 2);
}

#[test]
fn a_length_is_believed_only_when_it_arrives() {
    let announce = |byte| [byte, 0x7F, 0x40, 0, 0, 0, 0, 0, 0, 0];
    for (limit, outcome) in [(1000, Err(MessageTooBig)), (usize::MAX, Ok(()))] {
        let mut receiver = Receiver::new(Role::Client);
        receiver.limits.message_len_max = limit;
        assert_eq!(receiver.receive(&announce(0x02)), outcome);
        assert_eq!(receiver.message.capacity(), 0, "nothing is set aside for it");
    }
}

#[test]
fn a_sum_of_lengths_does_not_overflow() {
    let limits = Limits { message_len_max: usize::MAX, ..Limits::default() };
    let (mut assembler, mut message) = (Assembler::default(), Vec::new());
    let mut fragment = |opcode| {
        let (rsv, payload_len) = (Rsv::NONE, 1 << 62);
        let header = FrameHeader { fin: false, rsv, opcode, mask: None, payload_len };
        assembler.start(&header, &limits, &mut message)?;
        assembler.finish(&message).map(drop)
    };
    assert_eq!(fragment(Opcode::Text), Ok(()));
    assert_eq!(fragment(Opcode::Continuation), Ok(()));
    assert_eq!(fragment(Opcode::Continuation), Ok(()));
    assert_eq!(fragment(Opcode::Continuation), Err(MessageTooBig), "4 × 2⁶² is more than 64 bits");
}

#[test]
fn compressed_text_is_not_checked_before_it_is_inflated() {
    let mut stream = Vec::new();
    append_frame(&mut stream, false, Rsv::RSV1, Opcode::Text, KEY, b"\xFF");
    append_frame(&mut stream, true, Rsv::NONE, Opcode::Continuation, KEY, b"\xFE");
    let mut receiver = Receiver::new(Role::Server);
    receiver.receive(&stream).unwrap();
    assert_eq!(receiver.said, [Said::Compressed(Opcode::Text, vec![0xFF, 0xFE])]);
}

#[test]
fn a_peer_that_is_not_ours_understands_us_and_we_it() {
    use tungstenite::{Message, WebSocket, protocol::Role as TheirRole};

    for len in [0, 1, 125, 126, 127, 999] {
        let text: String = "héllo wörld ".chars().cycle().take(len / 2).collect();
        let ours = Said::Text(text.clone());
        let theirs = Message::text(text);

        for (role, their_role, key) in [
            (Role::Server, TheirRole::Client, None),
            (Role::Client, TheirRole::Server, Some(MaskingKey::new([9, 8, 7, 6]))),
        ] {
            let mut pipe = Pipe::default();
            append_frame(&mut pipe.0, true, Rsv::NONE, Opcode::Text, key, &ours.parts().2);
            let mut peer = WebSocket::from_raw_socket(pipe, their_role, None);
            assert_eq!(peer.read().unwrap(), theirs);

            peer.send(theirs.clone()).unwrap();
            let mut receiver = Receiver::new(role);
            receiver.receive(&peer.get_ref().0).unwrap();
            assert_eq!(receiver.said, std::slice::from_ref(&ours));
        }
    }

    /// What is written can be read.
    #[derive(Default)]
    struct Pipe(Vec<u8>);

    impl std::io::Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = buffer.len().min(self.0.len());
            buffer[..len].copy_from_slice(&self.0[..len]);
            self.0.drain(..len);
            Ok(len)
        }
    }

    impl std::io::Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}

/// Anything a peer may say within the limits of [`Receiver::new`].
fn said() -> impl Strategy<Value = Said> {
    let bytes = |len_max| prop::collection::vec(any::<u8>(), 0..=len_max);
    let code = prop_oneof![1000..=1003_u16, 1007..=1014_u16, 3000..=4999_u16];
    prop_oneof![
        3 => ".{0,60}".prop_map(Said::Text),
        2 => bytes(1000).prop_map(Said::Binary),
        1 => bytes(200).prop_map(|bytes| Said::Compressed(Opcode::Text, bytes)),
        1 => bytes(200).prop_map(|bytes| Said::Compressed(Opcode::Binary, bytes)),
        1 => bytes(125).prop_map(Said::Ping),
        1 => bytes(125).prop_map(Said::Pong),
        1 => prop::option::of((code, ".{0,30}")).prop_map(Said::Close),
    ]
}

/// A message, how it is cut into fragments, and its key.
type Sent = (Said, Vec<prop::sample::Index>, [u8; 4]);

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..5);
    prop::collection::vec((said(), cuts, any::<[u8; 4]>()), 0..6)
}

/// The stream in which `messages` reach `receiver`.
fn stream(receiver: Role, messages: &[Sent]) -> Vec<u8> {
    let mut out = Vec::new();
    for (said, cuts, key) in messages {
        let (mut opcode, mut rsv, payload) = said.parts();
        let mask = (receiver == Role::Server).then(|| MaskingKey::new(*key));
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        ends.retain(|_| opcode.is_data());
        ends.sort_unstable();
        let mut start = 0;
        for end in ends {
            append_frame(&mut out, false, rsv, opcode, mask, &payload[start..end]);
            (opcode, rsv, start) = (Opcode::Continuation, Rsv::NONE, end);
        }
        append_frame(&mut out, true, rsv, opcode, mask, &payload[start..]);
    }
    out
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn round_trip(role in role(), messages in sent(), piece_len in 1_usize..2000) {
        let mut receiver = Receiver::new(role);
        for piece in stream(role, &messages).chunks(piece_len) {
            prop_assert_eq!(receiver.receive(piece), Ok(()));
        }
        prop_assert!(receiver.decoder.is_between_frames() && receiver.assembler.is_idle());
        let expected: Vec<_> = messages.into_iter().map(|(said, ..)| said).collect();
        prop_assert_eq!(receiver.said, expected);
    }

    /// Streams that are fine, cut short, or wrong in a byte or two.
    #[test]
    fn split_anywhere(
        (flags, piece_len) in (0_u8..4, any::<u8>()),
        messages in sent(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut_off in 0_usize..4,
    ) {
        let role = if flags & 1 == 0 { Role::Server } else { Role::Client };
        let mut data = vec![flags, piece_len];
        data.extend(stream(role, &messages));
        for (place, byte) in damage {
            let place = place.index(data.len());
            data[place] = byte;
        }
        data.truncate(data.len() - cut_off.min(data.len()));
        fuzz::decode(&data);
        fuzz::decode_split(&data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Bytes of no meaning, with many headers that almost have one.
    #[test]
    fn nothing_panics(
        (flags, piece_len) in (0_u8..4, any::<u8>()),
        chunks in prop::collection::vec(
            (
                prop::sample::select(b"\x00\x01\x02\x80\x81\x82\x88\x89\x8A\xC1\x03\x09".as_slice()),
                prop_oneof![0..6_u8, 0x7C..0x86_u8, 0xFC..=0xFF_u8],
                prop::collection::vec(any::<u8>(), 0..16),
            ),
            0..12,
        ),
    ) {
        let mut data = vec![flags, piece_len];
        for (first, second, rest) in chunks {
            data.extend([first, second]);
            data.extend(rest);
        }
        fuzz::decode(&data);
        fuzz::decode_split(&data);
        fuzz::decode(&data[1..]);
        fuzz::decode_split(&data[1..]);
    }
}
