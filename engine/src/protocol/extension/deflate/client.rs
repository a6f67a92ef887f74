//! The client's half of the negotiation: an offer, and whether the answer fits it (RFC 7692 §7.1).

use super::{
    agreement::{Agreed, Agreement, Terms},
    budget::Budget,
    history::History,
    params::{
        AnswerError, CLIENT_MAX_WINDOW_BITS, Params, SERVER_MAX_WINDOW_BITS,
        SERVER_NO_CONTEXT_TAKEOVER, WindowBits,
    },
    settings::{Deflate, DeflateMode},
};
use crate::protocol::extension::{Answer, Offer};

/// What a client offers, until the server answers. Holds its part of the budget.
#[derive(Debug)]
pub struct DeflateOffer {
    server_bits: WindowBits,
    client_bits: WindowBits,
    sent: Option<History>,
    received: Option<History>,
}

impl Deflate {
    /// What a client with these settings offers. Where `budget` has no room, it takes nothing over,
    /// and asks the server not to.
    pub fn offer(&self, budget: &Budget) -> DeflateOffer {
        match self.mode {
            DeflateMode::Shared => DeflateOffer {
                server_bits: WindowBits::MAX,
                client_bits: WindowBits::MAX,
                sent: None,
                received: None,
            },
            DeflateMode::Dedicated { server_window_bits, client_window_bits, .. } => {
                let received = History::of_received(server_window_bits, budget);
                DeflateOffer {
                    // Without a history there is no reason to limit the server.
                    server_bits: received.as_ref().map_or(WindowBits::MAX, |_| server_window_bits),
                    client_bits: client_window_bits,
                    sent: History::of_sent(client_window_bits, budget),
                    received,
                }
            }
        }
    }
}

impl DeflateOffer {
    /// The offer, as an element of `Sec-WebSocket-Extensions`.
    pub fn text(&self) -> Answer {
        let limit = |bits: WindowBits| (bits < WindowBits::MAX).then_some(bits);
        let params = Params {
            server_no_context_takeover: self.received.is_none(),
            client_no_context_takeover: self.sent.is_none(),
            server_max_window_bits: limit(self.server_bits),
            client_max_window_bits: Some(limit(self.client_bits)),
        };
        params.write()
    }

    /// What is agreed on by the server's answer, an element of its `Sec-WebSocket-Extensions` with
    /// the name [`NAME`](super::NAME).
    ///
    /// # Errors
    ///
    /// The answer is not one to this offer: the connection is to be failed (§7.1).
    pub fn accept(self, answer: &Offer<'_>) -> Result<Agreed, AnswerError> {
        let granted = Params::read(answer)?;
        // A server may limit itself unasked (§7.1.2.1), and rule out takeover (§7.1.1).
        let server_bits = match granted.server_max_window_bits {
            Some(bits) if bits > self.server_bits => {
                return Err(AnswerError::NotOffered(SERVER_MAX_WINDOW_BITS));
            }
            None if self.server_bits < WindowBits::MAX => {
                return Err(AnswerError::NotGranted(SERVER_MAX_WINDOW_BITS));
            }
            bits => bits.unwrap_or(WindowBits::MAX),
        };
        let client_bits = match granted.client_max_window_bits {
            Some(None) => return Err(AnswerError::InvalidValue(CLIENT_MAX_WINDOW_BITS)),
            Some(Some(bits)) if bits > self.client_bits => {
                return Err(AnswerError::NotOffered(CLIENT_MAX_WINDOW_BITS));
            }
            Some(Some(bits)) => bits,
            None => self.client_bits,
        };
        if self.received.is_none() && !granted.server_no_context_takeover {
            return Err(AnswerError::NotGranted(SERVER_NO_CONTEXT_TAKEOVER));
        }
        let server =
            Terms { window_bits: server_bits, takeover: !granted.server_no_context_takeover };
        let client =
            Terms { window_bits: client_bits, takeover: !granted.client_no_context_takeover };
        let received = self.received.filter(|_| server.takeover);
        let received = received.map(|history| history.shrunk(server_bits));
        let may_refer = client.takeover && client_bits > WindowBits::MIN;
        let sent = self.sent.filter(|_| may_refer).map(|history| history.shrunk(client_bits));
        let agreement = Agreement { server, client };
        Ok(Agreed::new(agreement, sent, received))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::extension::Offers;

    fn dedicated(server: u8, client: u8) -> Deflate {
        let mode = DeflateMode::Dedicated {
            server_window_bits: WindowBits::new(server).unwrap(),
            client_window_bits: WindowBits::new(client).unwrap(),
            budget_len: 1 << 16,
        };
        Deflate { mode, ..Deflate::default() }
    }

    fn accept(settings: &Deflate, budget: &Budget, params: &str) -> Result<Agreed, AnswerError> {
        let answer = format!("permessage-deflate{params}");
        let answer = Offers::new(&answer).next().unwrap().unwrap();
        settings.offer(budget).accept(&answer)
    }

    #[test]
    fn offers() {
        for (settings, expected) in [
            (
                Deflate::default(),
                "; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
            ),
            (dedicated(15, 15), "; client_max_window_bits"),
            (dedicated(12, 15), "; server_max_window_bits=12; client_max_window_bits"),
            (dedicated(15, 9), "; client_max_window_bits=9"),
        ] {
            let budget = Budget::new(1 << 16);
            let text = settings.offer(&budget).text();
            assert_eq!(text.text().unwrap().strip_prefix("permessage-deflate"), Some(expected));
            assert_eq!(budget.left(), 1 << 16);
        }
        let text = dedicated(12, 12).offer(&Budget::new(4096)).text();
        assert_eq!(
            text.text(),
            Ok("permessage-deflate; client_no_context_takeover; \
                server_max_window_bits=12; client_max_window_bits=12"),
        );
    }

    #[test]
    fn answers() {
        let shared = Deflate::default();
        let not_granted = AnswerError::NotGranted;
        let invalid = AnswerError::InvalidValue;
        let not_offered = AnswerError::NotOffered;
        // What each may do: its window, and whether it takes over.
        let (yes, no) = (true, false);
        for (settings, params, expected) in [
            (&shared, "; server_no_context_takeover", Ok(((15, no), (15, yes)))),
            (
                &shared,
                "; server_no_context_takeover; client_no_context_takeover",
                Ok(((15, no), (15, no))),
            ),
            (
                &shared,
                "; server_no_context_takeover; client_max_window_bits=8; server_max_window_bits=9",
                Ok(((9, no), (8, yes))),
            ),
            (&shared, "", Err(not_granted(SERVER_NO_CONTEXT_TAKEOVER))),
            (&dedicated(15, 15), "", Ok(((15, yes), (15, yes)))),
            (&dedicated(15, 15), "; server_no_context_takeover", Ok(((15, no), (15, yes)))),
            (&dedicated(15, 15), "; client_no_context_takeover", Ok(((15, yes), (15, no)))),
            (&dedicated(15, 15), "; server_max_window_bits=8", Ok(((8, yes), (15, yes)))),
            (&dedicated(15, 15), "; client_max_window_bits=8", Ok(((15, yes), (8, yes)))),
            (&dedicated(15, 12), "; client_max_window_bits=10", Ok(((15, yes), (10, yes)))),
            (&dedicated(15, 12), "", Ok(((15, yes), (12, yes)))),
            (
                &dedicated(15, 12),
                "; client_max_window_bits=13",
                Err(not_offered(CLIENT_MAX_WINDOW_BITS)),
            ),
            (&dedicated(12, 15), "; server_max_window_bits=11", Ok(((11, yes), (15, yes)))),
            (
                &dedicated(12, 15),
                "; server_max_window_bits=13",
                Err(not_offered(SERVER_MAX_WINDOW_BITS)),
            ),
            (&dedicated(12, 15), "", Err(not_granted(SERVER_MAX_WINDOW_BITS))),
            (&shared, "; client_max_window_bits", Err(invalid(CLIENT_MAX_WINDOW_BITS))),
            (&shared, "; server_max_window_bits", Err(invalid(SERVER_MAX_WINDOW_BITS))),
            (&shared, "; server_max_window_bits=16", Err(invalid(SERVER_MAX_WINDOW_BITS))),
            (&shared, "; server_no_context_takeover=1", Err(invalid(SERVER_NO_CONTEXT_TAKEOVER))),
            (&shared, "; x", Err(AnswerError::UnknownParam)),
            (
                &shared,
                "; server_no_context_takeover; server_no_context_takeover",
                Err(AnswerError::RepeatedParam(SERVER_NO_CONTEXT_TAKEOVER)),
            ),
        ] {
            let budget = Budget::new(1 << 16);
            let agreed = accept(settings, &budget, params);
            let terms = |terms: Terms| (terms.window_bits.get(), terms.takeover);
            let found = agreed
                .as_ref()
                .map(|it| (terms(it.agreement.server), terms(it.agreement.client)))
                .map_err(|error| *error);
            assert_eq!(found, expected, "{params}");
            if let Ok(Agreed { agreement, context }) = &agreed {
                let context = context.as_deref();
                let sent = context.and_then(|context| context.sent.as_ref());
                let received = context.and_then(|context| context.received.as_ref());
                let promised = |terms: Terms, history: Option<&History>| match history {
                    Some(_) => terms.window_bits.window_len(),
                    None => 0,
                };
                let promised =
                    promised(agreement.server, received) + promised(agreement.client, sent);
                assert_eq!(budget.left(), (1 << 16) - promised, "{params}");
                assert_eq!(received.is_some(), agreement.server.takeover, "{params}");
            }
            drop(agreed);
            assert_eq!(budget.left(), 1 << 16, "{params}");
        }
    }
}
