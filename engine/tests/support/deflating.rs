//! A client that compresses: with the machines of the protocol, and without the engine around them.

use throng::{
    Deflate, DeflateMode, WindowBits,
    protocol::extension::{
        Offers,
        deflate::{Agreed, Budget, Compressor, DeflateOffer, Inflater},
    },
};

use super::{Client, Frame, Serving, request};

/// Messages by themselves.
pub(crate) fn shared() -> Deflate {
    Deflate::default()
}

/// Messages that refer to those before, as far back as this, in both directions.
pub(crate) fn dedicated(window_bits: u8) -> Deflate {
    let window_bits = WindowBits::new(window_bits).expect("8 to 15");
    let mode = DeflateMode::Dedicated {
        server_window_bits: window_bits,
        client_window_bits: window_bits,
        budget_len: 1 << 20,
    };
    Deflate { mode, ..Deflate::default() }
}

/// One connection to a server, on which messages may be compressed.
pub(crate) struct Deflating {
    pub(crate) client: Client,
    pub(crate) agreed: Agreed,
    compressor: Compressor,
    inflater: Inflater,
}

impl Deflating {
    /// An offer, and the request that makes it.
    pub(crate) fn request(settings: &Deflate) -> (DeflateOffer, String) {
        let offer = settings.offer(&Budget::of(settings));
        let text = offer.text();
        let text = text.text().expect("it can be said");
        (offer, request(&format!("Sec-WebSocket-Extensions: {text}\r\n")))
    }

    pub(crate) fn open(server: &Serving, settings: &Deflate) -> Self {
        let mut client = server.connect();
        let (offer, request) = Self::request(settings);
        client.send_bytes(request.as_bytes());
        Self::opened(client, offer)
    }

    /// The server agrees to `offer`.
    #[track_caller]
    pub(crate) fn opened(mut client: Client, offer: DeflateOffer) -> Self {
        let answer = client.expect_opened();
        let answer = answer.header("Sec-WebSocket-Extensions").expect("it agrees");
        let answer = Offers::new(answer).next().expect("to one").expect("in order");
        let agreed = offer.accept(&answer).expect("to what was offered");
        let everything = Deflate { threshold_len: 0, ..Deflate::default() };
        Self { client, agreed, compressor: Compressor::new(&everything), inflater: Inflater::new() }
    }

    /// The message of `frame` as it is to be sent next: compressed, if it gets shorter.
    pub(crate) fn compress(&mut self, frame: &Frame) -> Frame {
        let terms = self.agreed.agreement.client;
        let history = self.agreed.context.as_mut().and_then(|context| context.sent.as_mut());
        match self.compressor.compress(&frame.payload, terms, history) {
            Some(payload) => Frame::whole(frame.opcode, payload).compressed(),
            None => frame.clone(),
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, frame: &Frame) {
        let frame = self.compress(frame);
        self.client.send(&frame);
    }

    /// The next message, and whether it came compressed.
    #[track_caller]
    pub(crate) fn message(&mut self) -> (Frame, bool) {
        let frame = self.client.frame();
        assert!(frame.fin, "a server of ours does not fragment: {frame:?}");
        if !frame.compressed {
            return (frame, false);
        }
        let mut message = Vec::new();
        let history = self.agreed.context.as_mut().and_then(|context| context.received.as_mut());
        self.inflater
            .message(&frame.payload, history, usize::MAX, &mut message)
            .unwrap_or_else(|error| panic!("{error}: {frame:?}"));
        (Frame::whole(frame.opcode, &message), true)
    }

    /// This message comes, and says whether it does compressed.
    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &Frame) -> bool {
        let (message, compressed) = self.message();
        assert_eq!(&message, expected);
        compressed
    }
}
