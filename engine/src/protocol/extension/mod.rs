//! Extensions: what a client offers, and how a server answers (RFC 6455 §9).
//!
//! This is the grammar of `Sec-WebSocket-Extensions` and the shape of a negotiation. What an agreed
//! extension does to frames is its own affair; to everyone else it says one thing, which
//! reserved bits ([`Rsv`]) it gives a meaning to, since any other must be zero (§5.2).
//!
//! ```
//! use throng::protocol::extension::{Answer, Extension, Offer, Offers, Rsv, negotiate};
//!
//! /// An extension with one parameter that the client must name.
//! struct Quick;
//!
//! impl Extension for Quick {
//!     fn name(&self) -> &'static str {
//!         "x-quick"
//!     }
//!
//!     fn rsv(&self) -> Rsv {
//!         Rsv::RSV2
//!     }
//!
//!     fn agree(&self, offer: &Offer<'_>) -> Option<Answer> {
//!         let bits = offer.params().find(|param| param.name == "bits")?.value?;
//!         Some(Answer::new(self.name()).param("bits", &bits))
//!     }
//! }
//!
//! let offers = Offers::new(r#"x-quick, x-quick; bits="12"; later"#).map_while(Result::ok);
//! let answer = negotiate(offers, &Quick).expect("the second offer is acceptable");
//! assert_eq!(answer.text(), Ok("x-quick; bits=12"));
//! ```

#[cfg(feature = "deflate")]
pub mod deflate;

use std::borrow::Cow;

pub use super::Rsv;
use crate::protocol::handshake::{HandshakeError, ResponseError, tokens};

/// Something that can be agreed on in the opening handshake (RFC 6455 §9.1).
pub trait Extension {
    /// The name under which it is offered, registered with IANA or begun with `x-` (§11.4).
    fn name(&self) -> &'static str;

    /// The reserved bits that frames may carry once it is agreed on. Two extensions that claim the
    /// same bit cannot be agreed on together (§9.2).
    fn rsv(&self) -> Rsv;

    /// The answer to one offer of this name, or `None` to decline it: a parameter that is unknown,
    /// repeated or out of range is a reason to (RFC 7692 §5.1).
    fn agree(&self, offer: &Offer<'_>) -> Option<Answer>;
}

/// The answer to the first offer that `extension` agrees to. A client that offers one name several
/// times lists the terms it likes better first (RFC 6455 §9.1).
pub fn negotiate<'a>(
    offers: impl IntoIterator<Item = Offer<'a>>,
    extension: &(impl Extension + ?Sized),
) -> Option<Answer> {
    offers
        .into_iter()
        .filter(|offer| offer.name() == extension.name())
        .find_map(|offer| extension.agree(&offer))
}

/// One extension that a client offers, on its terms. Borrowed from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    name: &'a str,
    params: &'a str,
}

/// A parameter of an [`Offer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// Its name, a token.
    pub name: &'a str,
    /// Its value, a token without the quotes it may have come in; `None` for a bare name. Borrowed,
    /// unless a backslash stood between the quotes.
    pub value: Option<Cow<'a, str>>,
}

impl<'a> Offer<'a> {
    /// The name of the extension, a token.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its parameters in order, repeated ones too.
    pub fn params(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let mut cursor = Cursor { rest: self.params };
        std::iter::from_fn(move || cursor.param().expect("read once, when it was offered"))
    }
}

/// The offers in one `Sec-WebSocket-Extensions` header, in order (RFC 6455 §9.1).
///
/// What does not follow the grammar is one error, and nothing after it. Several headers count as one
/// list: [`Request::extensions`] walks them all.
///
/// [`Request::extensions`]: crate::protocol::handshake::Request::extensions
#[derive(Clone, Debug)]
pub struct Offers<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Offers<'a> {
    /// The offers in the value of a header.
    pub fn new(value: &'a str) -> Self {
        Self { cursor: Cursor { rest: value } }
    }
}

impl<'a> Iterator for Offers<'a> {
    type Item = Result<Offer<'a>, HandshakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.cursor.offer();
        if result.is_err() {
            self.cursor.rest = "";
        }
        result.map_err(|Malformed| HandshakeError::InvalidExtensions).transpose()
    }
}

/// The server's half of an agreement: a name and its parameters, as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    text: String,
    is_valid: bool,
}

impl Answer {
    /// Agrees on the extension of this name. Names and values are tokens; another is an error when
    /// the answer is written.
    pub fn new(name: &str) -> Self {
        Self { text: name.to_owned(), is_valid: tokens::is_token(name) }
    }

    /// Adds a parameter that has no value.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.is_valid &= tokens::is_token(name);
        self.text.extend(["; ", name]);
        self
    }

    /// Adds a parameter.
    #[must_use]
    pub fn param(mut self, name: &str, value: &str) -> Self {
        self.is_valid &= tokens::is_token(name) && tokens::is_token(value);
        self.text.extend(["; ", name, "=", value]);
        self
    }

    /// The answer as it is written in `Sec-WebSocket-Extensions`.
    ///
    /// # Errors
    ///
    /// [`InvalidExtension`](ResponseError::InvalidExtension) when a name or a value is no token.
    pub fn text(&self) -> Result<&str, ResponseError> {
        if self.is_valid {
            Ok(&self.text)
        } else {
            Err(ResponseError::InvalidExtension { answer: self.text.as_str().into() })
        }
    }
}

/// The text does not follow the grammar of §9.1.
#[derive(Debug)]
struct Malformed;

/// Reads the grammar of §9.1 from left to right; white space is allowed between any two tokens.
///
/// ```text
/// extension-list  = 1#extension
/// extension       = token *( ";" extension-param )
/// extension-param = token [ "=" ( token | quoted-string ) ]
/// ```
#[derive(Clone, Debug)]
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// The next extension of a list, and the comma that follows it.
    fn offer(&mut self) -> Result<Option<Offer<'a>>, Malformed> {
        while self.eat(b',') {} // an element of a list may be empty (RFC 9110 §5.6.1.2)
        if self.rest.is_empty() {
            return Ok(None);
        }
        let name = self.token()?;
        self.skip_space();
        let params = self.rest;
        while self.param()?.is_some() {}
        let params = &params[..params.len() - self.rest.len()];
        if self.eat(b',') || self.rest.is_empty() {
            Ok(Some(Offer { name, params }))
        } else {
            Err(Malformed)
        }
    }

    /// The next parameter of an extension, and the semicolon before it.
    fn param(&mut self) -> Result<Option<Param<'a>>, Malformed> {
        if !self.eat(b';') {
            return Ok(None);
        }
        self.skip_space();
        let name = self.token()?;
        let value = if self.eat(b'=') {
            self.skip_space();
            Some(self.value()?)
        } else {
            None
        };
        self.skip_space();
        Ok(Some(Param { name, value }))
    }

    /// A token, or a quoted string that is one once its backslashes are taken away.
    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            return self.token().map(Cow::Borrowed);
        };
        let mut escaped = false;
        let end = quoted.bytes().position(|byte| {
            let is_end = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            is_end
        });
        let (text, rest) = quoted.split_at(end.ok_or(Malformed)?);
        self.rest = &rest[1..];
        let value = if !text.contains('\\') {
            Cow::Borrowed(text)
        } else if text.contains(r"\\") {
            return Err(Malformed); // a backslash that is meant as one stands in no token
        } else {
            Cow::Owned(text.replace('\\', ""))
        };
        if tokens::is_token(&value) { Ok(value) } else { Err(Malformed) }
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        let is_separator = |byte: u8| !tokens::is_token_byte(byte);
        let len = self.rest.bytes().position(is_separator).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(len);
        self.rest = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// Takes `separator`, with white space before it, if it is what comes next.
    fn eat(&mut self, separator: u8) -> bool {
        self.skip_space();
        let is_next = self.rest.as_bytes().first() == Some(&separator);
        self.rest = &self.rest[usize::from(is_next)..];
        is_next
    }

    fn skip_space(&mut self) {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
        self.rest = &self.rest[self.rest.bytes().take_while(is_space).count()..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Offers written plainly: `name{param=value}{flag}`, and `!` where the grammar is broken.
    fn read(value: &str) -> String {
        Offers::new(value)
            .map(|offer| match offer {
                Err(error) => {
                    assert_eq!(error, HandshakeError::InvalidExtensions);
                    "!".to_owned()
                }
                Ok(offer) => {
                    let params = offer.params().map(|param| match param.value {
                        Some(value) => format!("{{{}={value}}}", param.name),
                        None => format!("{{{}}}", param.name),
                    });
                    offer.name().to_owned() + &params.collect::<String>()
                }
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn offers() {
        for (value, expected) in [
            ("", ""),
            (" \t", ""),
            ("foo", "foo"),
            ("foo, bar; baz=2", "foo bar{baz=2}"),
            ("bar; baz=2, foo", "bar{baz=2} foo"),
            (
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate{client_max_window_bits}",
            ),
            ("a;b;c=d;b", "a{b}{c=d}{b}"),
            (" a ; b = c , d ", "a{b=c} d"),
            ("\ta\t;\tb\t=\tc\t,\td", "a{b=c} d"),
            (",, a ,, b ,", "a b"),
            // Quoted values: a token once the quotes and backslashes are gone (§9.1).
            ("a; b=\"10\"", "a{b=10}"),
            ("a; b=\"10\" ; c, d", "a{b=10}{c} d"),
            ("a; b=\"\\1\\0\"", "a{b=10}"),
            ("a; b=\"x,y\"", "!"),
            ("a; b=\"x;y\"", "!"),
            ("a; b=\"x y\"", "!"),
            ("a; b=\"\"", "!"),
            ("a; b=\"10", "!"),
            ("a; b=\"10\\\"", "!"),
            ("a; b=\"1\\\\0\"", "!"),
            ("a; b=\"1\\\"0\"", "!"),
            ("a; b=\"10\"c", "!"),
            // Broken otherwise, and what came before it.
            (";", "!"),
            ("a;", "!"),
            ("a; =b", "!"),
            ("a; b=", "!"),
            ("a; b==c", "!"),
            ("a b", "!"),
            ("a=b", "!"),
            ("\"a\"", "!"),
            ("good, a;;b, never", "good !"),
            ("caf\u{e9}", "!"),
        ] {
            assert_eq!(read(value), expected, "{value:?}");
        }
    }

    #[test]
    fn answers() {
        let invalid = |answer: &str| Err(ResponseError::InvalidExtension { answer: answer.into() });
        for (answer, expected) in [
            (Answer::new("a"), Ok("a")),
            (Answer::new("a").flag("b").param("c", "10"), Ok("a; b; c=10")),
            (Answer::new(""), invalid("")),
            (Answer::new("a, b"), invalid("a, b")),
            (Answer::new("a").flag("b\r\n"), invalid("a; b\r\n")),
            (Answer::new("a").param("b", "").flag("c"), invalid("a; b=; c")),
        ] {
            assert_eq!(answer.text(), expected, "{answer:?}");
        }
    }

    struct Picky;

    impl Extension for Picky {
        fn name(&self) -> &'static str {
            "x-picky"
        }

        fn rsv(&self) -> Rsv {
            Rsv::RSV3
        }

        fn agree(&self, offer: &Offer<'_>) -> Option<Answer> {
            let mut params = offer.params();
            (params.next()?.name == "please" && params.next().is_none())
                .then(|| Answer::new(self.name()))
        }
    }

    #[test]
    fn the_first_acceptable_offer_is_answered() {
        let dynamic: &dyn Extension = &Picky;
        for (value, expected) in [
            ("x-picky; please", true),
            ("other; please, x-picky, x-picky; please", true),
            ("x-picky; please; more", false),
            ("other; please", false),
            ("X-Picky; please", false),
            ("", false),
        ] {
            let answer = negotiate(Offers::new(value).map_while(Result::ok), dynamic);
            assert_eq!(answer, expected.then(|| Answer::new("x-picky")), "{value:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_was_agreed_reads_back(
            name in "[a-z-]{1,8}",
            params in prop::collection::vec(("[a-z_]{1,8}", prop::option::of("[0-9a-z]{1,4}")), 0..4),
        ) {
            let mut answer = Answer::new(&name);
            for (name, value) in &params {
                answer = match value {
                    Some(value) => answer.param(name, value),
                    None => answer.flag(name),
                };
            }
            let mut offers = Offers::new(answer.text().unwrap());
            let offer = offers.next().unwrap().unwrap();
            prop_assert_eq!(offer.name(), name);
            let read: Vec<_> = offer
                .params()
                .map(|param| (param.name.to_owned(), param.value.map(Cow::into_owned)))
                .collect();
            prop_assert_eq!(read, params);
            prop_assert!(offers.next().is_none());
        }

        #[test]
        fn anything_ends_without_a_panic(value in "[ab;=,\"\\\\ \té]{0,40}") {
            prop_assert!(read(&value).len() <= 4 * value.len() + 1);
        }
    }
}
