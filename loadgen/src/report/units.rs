//! Numbers as people read them.

use std::time::Duration;

/// Three significant figures and a unit, as in `1.23 ms`; none is a dash.
pub(crate) fn time(duration: Option<Duration>) -> String {
    let Some(duration) = duration else { return "–".into() };
    let nanos = duration.as_nanos() as f64;
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 * ROUNDED_UP => format!("{} µs", figures(n / 1e3)),
        n if n < 1e9 * ROUNDED_UP => format!("{} ms", figures(n / 1e6)),
        n => format!("{} s", figures(n / 1e9)),
    }
}

/// A length that somebody chose, as in `10 s`: without the zeros of `10.0 s`.
pub(crate) fn span(duration: Duration) -> String {
    let text = time(Some(duration));
    match text.split_once(' ') {
        _ if duration.is_zero() => "0 s".into(),
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// Three significant figures with a decimal prefix, as in `12.3 k`; whole numbers below a thousand as
/// they are.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if v < 1e3 * ROUNDED_UP && v.fract() == 0.0 => format!("{value:.0}"),
        v if v < 1e3 * ROUNDED_UP => figures(value),
        v if v < 1e6 * ROUNDED_UP => format!("{} k", figures(value / 1e3)),
        v if v < 1e9 * ROUNDED_UP => format!("{} M", figures(value / 1e6)),
        _ => format!("{} G", figures(value / 1e9)),
    }
}

/// All digits, in groups of three, as in `1,234,567`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Three significant figures with a binary unit, as in `1.50 KiB`.
pub(crate) fn bytes(len: f64) -> String {
    const KIB: f64 = 1024.0;
    match len {
        n if n < KIB && n.fract() == 0.0 => format!("{n:.0} B"),
        n if n < KIB => format!("{} B", figures(n)),
        n if n < KIB * KIB => format!("{} KiB", figures(n / KIB)),
        n if n < KIB * KIB * KIB => format!("{} MiB", figures(n / KIB / KIB)),
        n => format!("{} GiB", figures(n / KIB / KIB / KIB)),
    }
}

/// What would be shown as `1000` of a unit is `1.00` of the next.
const ROUNDED_UP: f64 = 0.9995;

/// Three significant figures.
fn figures(value: f64) -> String {
    match value.abs() {
        v if v < 9.995 => format!("{value:.2}"),
        v if v < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let check = |nanos: u64, text: &str| {
            assert_eq!(time(Some(Duration::from_nanos(nanos))), text, "{nanos}");
        };
        check(0, "0 ns");
        check(999, "999 ns");
        check(1_000, "1.00 µs");
        check(1_234, "1.23 µs");
        check(45_678, "45.7 µs");
        check(999_400, "999 µs");
        check(999_600, "1.00 ms");
        check(50_000_000, "50.0 ms");
        check(1_500_000_000, "1.50 s");
        check(3_600_000_000_000, "3600 s");
        assert_eq!(time(None), "–");
        assert_eq!(span(Duration::from_secs(90)), "90 s");
        assert_eq!(span(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(span(Duration::from_micros(6_000_123)), "6 s");
        assert_eq!(span(Duration::from_secs(100)), "100 s");
        assert_eq!(span(Duration::ZERO), "0 s");
    }

    #[test]
    fn numbers() {
        let check = |value: f64, text: &str| assert_eq!(number(value), text);
        check(0.0, "0");
        check(0.25, "0.25");
        check(12.0, "12");
        check(999.9, "1.00 k");
        check(1_234.5, "1.23 k");
        check(10_000_000.0, "10.0 M");
        check(5e12, "5000 G");
        assert_eq!([0, 12, 999, 1_000, 1_234_567].map(count).join(" "), "0 12 999 1,000 1,234,567");
        assert_eq!(
            [0.0, 64.0, 1536.0, 1048576.0].map(bytes).join(" "),
            "0 B 64 B 1.50 KiB 1.00 MiB"
        );
    }
}
