//! The server's half of the negotiation: the first offer that can be agreed to (RFC 7692 §5.1, §7.1).

use super::{
    NAME,
    agreement::{Agreed, Agreement, Terms},
    budget::Budget,
    history::History,
    params::{Params, WindowBits},
    settings::{Deflate, DeflateMode},
};
use crate::protocol::extension::{Answer, Offer};

impl Deflate {
    /// Agrees to the first of a client's offers that is valid, and says what to answer.
    ///
    /// `None`: there is none, and messages travel as they are. Any valid offer can be agreed to,
    /// since either side's takeover may always be ruled out in the answer (§7.1.1): which is what
    /// happens where the client asks for it, where its window cannot be limited to ours, and where
    /// `budget` has no room. The server's own history has precedence.
    ///
    /// What is agreed on holds its part of the budget from now on; drop it if the handshake fails.
    pub fn negotiate<'a>(
        &self,
        offers: impl IntoIterator<Item = Offer<'a>>,
        budget: &Budget,
    ) -> Option<(Answer, Agreed)> {
        let mut offers = offers.into_iter().filter(|offer| offer.name() == NAME);
        let asked = offers.find_map(|offer| Params::read(&offer).ok())?;
        Some(self.agree(&asked, budget))
    }

    fn agree(&self, asked: &Params, budget: &Budget) -> (Answer, Agreed) {
        let server_bits = asked.server_max_window_bits.unwrap_or(WindowBits::MAX);
        let client_bits = asked.client_max_window_bits.flatten().unwrap_or(WindowBits::MAX);
        let (mut sent, mut received) = (None, None);
        if let DeflateMode::Dedicated { server_window_bits, client_window_bits, .. } = self.mode {
            let can_limit_client = asked.client_max_window_bits.is_some();
            if !asked.server_no_context_takeover {
                sent = History::of_sent(server_bits.min(server_window_bits), budget);
            }
            if !asked.client_no_context_takeover
                && (can_limit_client || client_bits <= client_window_bits)
            {
                received = History::of_received(client_bits.min(client_window_bits), budget);
            }
        }
        let terms = |window_bits, history: Option<&History>| Terms {
            window_bits: history.map_or(window_bits, History::window_bits),
            takeover: history.is_some(),
        };
        let agreement = Agreement {
            server: terms(server_bits, sent.as_ref()),
            client: terms(client_bits, received.as_ref()),
        };
        let answer = Params {
            server_no_context_takeover: !agreement.server.takeover,
            client_no_context_takeover: !agreement.client.takeover,
            server_max_window_bits: asked
                .server_max_window_bits
                .map(|_| agreement.server.window_bits),
            // Without takeover the client may refer as far back in its message as it likes.
            client_max_window_bits: received
                .as_ref()
                .map(|history| Some(history.window_bits()))
                .filter(|bits| *bits < Some(WindowBits::MAX)),
        };
        (answer.write(), Agreed::new(agreement, sent, received))
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
            budget_len: 1 << 20,
        };
        Deflate { mode, ..Deflate::default() }
    }

    /// The parameters of the answer to what is offered, as `s` and `c` for those without takeover, `S`
    /// and `C` for windows.
    fn answer(settings: &Deflate, offers: &str, budget: &Budget) -> Option<(String, Agreed)> {
        let offers = Offers::new(offers).map(|offer| offer.expect("the grammar holds"));
        let (answer, agreed) = settings.negotiate(offers, budget)?;
        let text = answer.text().unwrap().strip_prefix(NAME).unwrap().to_owned();
        let text = text
            .replace("server_no_context_takeover", "s")
            .replace("client_no_context_takeover", "c")
            .replace("server_max_window_bits", "S")
            .replace("client_max_window_bits", "C");
        Some((text, agreed))
    }

    fn expand(offers: &str) -> String {
        offers
            .split(' ')
            .map(|word| match word.trim_end_matches([',', ';']).split('=').next().unwrap() {
                "d" => word.replace('d', NAME),
                "s" => word.replace('s', "server_no_context_takeover"),
                "c" => word.replace('c', "client_no_context_takeover"),
                "S" => word.replace('S', "server_max_window_bits"),
                "C" => word.replace('C', "client_max_window_bits"),
                _ => word.to_owned(),
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[track_caller]
    fn check(settings: &Deflate, rows: &[(&str, Option<&str>)]) {
        let budget = Budget::of(settings);
        for (offers, expected) in rows {
            let found = answer(settings, &expand(offers), &budget);
            let text = found.as_ref().map(|(text, _)| text.as_str());
            assert_eq!(text, *expected, "{offers}");
            if let Some((text, Agreed { agreement, context })) = &found {
                let has = |flag: &str| text.split("; ").any(|param| param == flag);
                assert_eq!(agreement.server.takeover, !has("s"), "{offers}");
                assert_eq!(agreement.client.takeover, !has("c"), "{offers}");
                let context = context.as_deref();
                assert_eq!(context.is_some_and(|it| it.sent.is_some()), !has("s"));
                assert_eq!(context.is_some_and(|it| it.received.is_some()), !has("c"));
            }
            drop(found);
            assert_eq!(budget.left(), Budget::of(settings).left(), "all was given back");
        }
    }

    #[test]
    fn shared() {
        check(
            &Deflate::default(),
            &[
                ("d", Some("; s; c")),
                ("d; C", Some("; s; c")),
                ("d; C=9", Some("; s; c")),
                ("d; s; c; S=10; C=15", Some("; s; c; S=10")),
                ("d; S=15", Some("; s; c; S=15")),
                ("d; S=8", Some("; s; c; S=8")),
                ("d; S=\"9\"", Some("; s; c; S=9")),
                ("x-other, d; C", Some("; s; c")),
                // The first that is valid.
                ("d; S=16, d; S=9", Some("; s; c; S=9")),
                ("d; S=10, d; S=9", Some("; s; c; S=10")),
            ],
        );
    }

    #[test]
    fn dedicated_within_the_windows() {
        check(
            &dedicated(12, 11),
            &[
                ("d; C", Some("; C=11")),
                ("d; C=15", Some("; C=11")),
                ("d; C=10", Some("; C=10")),
                ("d; C=8", Some("; C=8")),
                // It did not offer to keep to a window.
                ("d", Some("; c")),
                ("d; S=15; C", Some("; S=12; C=11")),
                ("d; S=9; C", Some("; S=9; C=11")),
                ("d; S=8; C", Some("; s; S=8; C=11")),
                ("d; s; C", Some("; s; C=11")),
                ("d; c; C", Some("; c")),
                ("d; s; c", Some("; s; c")),
            ],
        );
        check(
            &dedicated(15, 15),
            &[("d", Some("")), ("d; C", Some("")), ("d; C=9", Some("; C=9"))],
        );
    }

    #[test]
    fn what_is_invalid_is_declined() {
        for settings in [Deflate::default(), dedicated(15, 15)] {
            check(
                &settings,
                &[
                    ("", None),
                    ("x-other", None),
                    ("Permessage-Deflate", None),
                    ("d; unknown", None),
                    ("d; s=1", None),
                    ("d; c=true", None),
                    ("d; s; s", None),
                    ("d; c; c", None),
                    ("d; S", None),
                    ("d; S=7", None),
                    ("d; S=16", None),
                    ("d; S=09", None),
                    ("d; S=+9", None),
                    ("d; S=9x", None),
                    ("d; S=265", None),
                    ("d; S=10; S=10", None),
                    ("d; C=7", None),
                    ("d; C=16", None),
                    ("d; C=010", None),
                    ("d; C; C", None),
                    ("d; C; C=10", None),
                ],
            );
        }
    }

    #[test]
    fn the_budget_is_never_exceeded() {
        let settings = dedicated(12, 12);
        let budget = Budget::new(3 * 4096);
        let offer = expand("d; C");
        let answers: Vec<_> = (0..3).map(|_| answer(&settings, &offer, &budget).unwrap()).collect();
        let texts: Vec<_> = answers.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["; C=12", "; c", "; s; c"]);
        assert_eq!(budget.left(), 0);
        drop(answers);
        assert_eq!(budget.left(), 3 * 4096);
    }

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Option<Agreement>>(), 4);
    }
}
