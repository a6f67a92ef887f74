//! The four parameters, as either side writes them (RFC 7692 §7.1).

use crate::protocol::extension::{Answer, Offer};

/// How far back a sender may refer: 2 to the power of 8 to 15 bytes (RFC 7692 §7.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 8, of which zlib does not make proper use: it is honoured, and not asked for.
    pub const MIN: Self = Self(8);
    /// 15, which holds unless something else is agreed on.
    pub const MAX: Self = Self(15);

    /// `None` unless `bits` is 8 to 15.
    pub const fn new(bits: u8) -> Option<Self> {
        match bits {
            8..=15 => Some(Self(bits)),
            _ => None,
        }
    }

    /// The number of bits.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The window in bytes: 256 to 32,768.
    pub const fn window_len(self) -> usize {
        1 << self.0
    }

    /// A decimal number without leading zeros (§7.1.2.1).
    fn parse(text: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        text.parse().ok().filter(|_| is_plain).and_then(Self::new)
    }
}

/// Why a server's answer is not acceptable: the client has to fail the connection (RFC 7692 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// A parameter that permessage-deflate does not have.
    #[error("it has no such parameter")]
    UnknownParam,
    /// The same parameter twice.
    #[error("{0} more than once")]
    RepeatedParam(&'static str),
    /// A value out of range, or missing, or one too many.
    #[error("a value that {0} cannot have")]
    InvalidValue(&'static str),
    /// A parameter, or a value of it, that the client did not offer.
    #[error("more than was offered of {0}")]
    NotOffered(&'static str),
    /// What the client asked for is not granted.
    #[error("{0} was asked for and is not granted")]
    NotGranted(&'static str),
}

/// What an offer or an answer says.
#[derive(Debug, Default)]
pub(super) struct Params {
    pub(super) server_no_context_takeover: bool,
    pub(super) client_no_context_takeover: bool,
    pub(super) server_max_window_bits: Option<WindowBits>,
    /// Offered without a value, it says that the client knows the parameter.
    pub(super) client_max_window_bits: Option<Option<WindowBits>>,
}

pub(super) const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
pub(super) const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
pub(super) const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
pub(super) const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

impl Params {
    /// Reads them, and finds what is invalid in an offer as in an answer.
    pub(super) fn read(offer: &Offer<'_>) -> Result<Self, AnswerError> {
        let mut params = Self::default();
        let mut server_max_window_bits = None;
        for param in offer.params() {
            let value = param.value.as_deref();
            match param.name {
                SERVER_NO_CONTEXT_TAKEOVER => {
                    let flag = &mut params.server_no_context_takeover;
                    set_flag(flag, SERVER_NO_CONTEXT_TAKEOVER, value)?;
                }
                CLIENT_NO_CONTEXT_TAKEOVER => {
                    let flag = &mut params.client_no_context_takeover;
                    set_flag(flag, CLIENT_NO_CONTEXT_TAKEOVER, value)?;
                }
                SERVER_MAX_WINDOW_BITS => {
                    set_bits(&mut server_max_window_bits, SERVER_MAX_WINDOW_BITS, value)?;
                }
                CLIENT_MAX_WINDOW_BITS => {
                    let bits = &mut params.client_max_window_bits;
                    set_bits(bits, CLIENT_MAX_WINDOW_BITS, value)?;
                }
                _ => return Err(AnswerError::UnknownParam),
            }
        }
        if let Some(bits) = server_max_window_bits {
            let bits = bits.ok_or(AnswerError::InvalidValue(SERVER_MAX_WINDOW_BITS))?;
            params.server_max_window_bits = Some(bits);
        }
        Ok(params)
    }

    /// Writes them.
    pub(super) fn write(&self) -> Answer {
        let bits = |answer: Answer, name, bits: Option<WindowBits>| match bits {
            Some(bits) => answer.param(name, &bits.get().to_string()),
            None => answer.flag(name),
        };
        let mut answer = Answer::new(super::NAME);
        if self.server_no_context_takeover {
            answer = answer.flag(SERVER_NO_CONTEXT_TAKEOVER);
        }
        if self.client_no_context_takeover {
            answer = answer.flag(CLIENT_NO_CONTEXT_TAKEOVER);
        }
        if self.server_max_window_bits.is_some() {
            answer = bits(answer, SERVER_MAX_WINDOW_BITS, self.server_max_window_bits);
        }
        if let Some(max) = self.client_max_window_bits {
            answer = bits(answer, CLIENT_MAX_WINDOW_BITS, max);
        }
        answer
    }
}

fn set_flag(flag: &mut bool, name: &'static str, value: Option<&str>) -> Result<(), AnswerError> {
    match (value, std::mem::replace(flag, true)) {
        (Some(_), _) => Err(AnswerError::InvalidValue(name)),
        (None, true) => Err(AnswerError::RepeatedParam(name)),
        (None, false) => Ok(()),
    }
}

fn set_bits(
    bits: &mut Option<Option<WindowBits>>,
    name: &'static str,
    value: Option<&str>,
) -> Result<(), AnswerError> {
    let read = |text| WindowBits::parse(text).ok_or(AnswerError::InvalidValue(name));
    match bits.replace(value.map(read).transpose()?) {
        Some(_) => Err(AnswerError::RepeatedParam(name)),
        None => Ok(()),
    }
}
