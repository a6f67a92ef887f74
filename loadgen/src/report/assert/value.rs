//! Numbers with units.

use std::time::Duration;

use crate::report::units;

/// What an assertion compares with, in base units: seconds, bytes, parts of 1, or just a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) number: f64,
    pub(super) unit: Unit,
}

/// What a number is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things, or things a second.
    Plain,
    /// Seconds.
    Time,
    /// Bytes.
    Size,
    /// Parts of 1.
    Part,
}

/// What can follow a number, and what it multiplies it with.
const UNITS: &[(&str, Unit, f64)] = &[
    ("", Unit::Plain, 1.0),
    ("k", Unit::Plain, 1e3),
    ("M", Unit::Plain, 1e6),
    ("G", Unit::Plain, 1e9),
    ("ns", Unit::Time, 1e-9),
    ("us", Unit::Time, 1e-6),
    ("µs", Unit::Time, 1e-6),
    ("ms", Unit::Time, 1e-3),
    ("s", Unit::Time, 1.0),
    ("m", Unit::Time, 60.0),
    ("h", Unit::Time, 3600.0),
    ("B", Unit::Size, 1.0),
    ("KiB", Unit::Size, 1024.0),
    ("MiB", Unit::Size, 1024.0 * 1024.0),
    ("GiB", Unit::Size, 1024.0 * 1024.0 * 1024.0),
    ("%", Unit::Part, 0.01),
];

impl Value {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("no value after the comparison".into());
        }
        let (digits, suffix) = text.split_at(number_len(text));
        if digits.is_empty() {
            return Err(format!("no number in {text}"));
        }
        let number: f64 = digits.parse().map_err(|_| format!("{digits} is no number"))?;
        let suffix = suffix.trim_start();
        let row = UNITS.iter().find(|(name, ..)| *name == suffix).ok_or_else(|| {
            let names: Vec<_> = UNITS.iter().map(|(name, ..)| *name).skip(1).collect();
            format!("{suffix} is no unit; known are {}", names.join(", "))
        })?;
        Ok(Self { number: number * row.2, unit: row.1 })
    }
}

/// How much of a text is a number, with an exponent if it has one (`1e5`, but not `1h`).
fn number_len(text: &str) -> usize {
    let digits = |text: &str| {
        text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len()
    };
    let mantissa = digits(text);
    match text[mantissa..].strip_prefix('e').map(digits) {
        Some(exponent) if mantissa > 0 && exponent > 0 => mantissa + 1 + exponent,
        _ => mantissa,
    }
}

impl Unit {
    /// A number of this unit for people.
    pub(super) fn text(self, number: f64) -> String {
        match self {
            Self::Plain if number.fract() == 0.0 => units::count(number as u64),
            Self::Plain => units::number(number),
            Self::Time => units::time(Duration::try_from_secs_f64(number).ok()),
            Self::Size => units::bytes(number),
            Self::Part => format!("{:.4} %", number * 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let check = |text: &str, number: f64, unit: Unit| {
            assert_eq!(Value::parse(text), Ok(Value { number, unit }), "{text}");
        };
        check("0", 0.0, Unit::Plain);
        check("10k", 10_000.0, Unit::Plain);
        check("1e3", 1_000.0, Unit::Plain);
        check("1.5 s", 1.5, Unit::Time);
        check("2h", 7200.0, Unit::Time);
        check("2KiB", 2048.0, Unit::Size);
        check("50%", 0.5, Unit::Part);
    }

    #[test]
    fn people_read_them_with_units() {
        let text = [
            Unit::Plain.text(1234.0),
            Unit::Plain.text(1234.5),
            Unit::Time.text(0.0015),
            Unit::Size.text(2048.0),
            Unit::Part.text(0.0001),
        ];
        assert_eq!(text.join(", "), "1,234, 1.23 k, 1.50 ms, 2.00 KiB, 0.0100 %");
    }
}
