//! Numbers as people write them: 20k, 1.5M.

/// A number above zero.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match number(text) {
        Some(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("use a number above zero, as in 500, 20k or 1.5M".to_owned()),
    }
}

/// How many connections, if there have to be any.
pub(crate) fn connections(text: &str) -> Result<u32, String> {
    match count(text) {
        Ok(0) | Err(_) => Err("use a number from 1 on, as in 500, 20k or 1M".to_owned()),
        count => count,
    }
}

/// How many of something.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    match number(text) {
        Some(number) if (0.0..=f64::from(u32::MAX)).contains(&number) => Ok(number as u32),
        _ => Err("use a number, as in 500, 20k or 1M".to_owned()),
    }
}

fn number(text: &str) -> Option<f64> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    Some(digits.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_suffixes() {
        for (text, expected) in [("7", 7.0), ("0.5", 0.5), ("20k", 2e4), ("1.5M", 1.5e6)] {
            assert_eq!(positive(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "-1", "k", "NaN", "inf", "5G"] {
            assert!(positive(text).is_err(), "{text}");
        }
        assert_eq!(connections("100k"), Ok(100_000));
        assert_eq!(count("0"), Ok(0));
        assert!(connections("0").is_err() && connections("5000M").is_err());
    }
}
