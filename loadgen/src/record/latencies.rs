//! How often which latency was seen.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer as HistogramReader, Serializer as _, V2DeflateSerializer},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser, ser::SerializeStruct};

/// The longest latency that is told apart, one hour; a longer one counts as this.
const LATENCY_MAX: Duration = Duration::from_secs(3600);

/// A histogram of latencies, from a nanosecond to an hour.
///
/// Its memory never grows: 264 KiB for three significant figures, 36 KiB for two. Recording costs a
/// handful of instructions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// Three significant figures: what a quantile says is at most 0.1 % too long.
    pub(crate) fn fine() -> Self {
        Self::with_figures(3)
    }

    /// Two significant figures, for one interval among many.
    pub(crate) fn coarse() -> Self {
        Self::with_figures(2)
    }

    fn with_figures(figures: u8) -> Self {
        let nanos_max = LATENCY_MAX.as_nanos() as u64;
        Self(Histogram::new_with_bounds(1, nanos_max, figures).expect("the bounds are in order"))
    }

    /// Counts one latency.
    #[inline]
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts all of `other` as well.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms here have the same bounds");
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `part` (0 to 1) of all do not exceed; `None` when there are none.
    pub(crate) fn quantile(&self, part: f64) -> Option<Duration> {
        self.unless_empty(|histogram| histogram.value_at_quantile(part))
    }

    /// The shortest.
    pub(crate) fn min(&self) -> Option<Duration> {
        self.unless_empty(Histogram::min)
    }

    /// The longest.
    pub(crate) fn max(&self) -> Option<Duration> {
        self.unless_empty(Histogram::max)
    }

    /// The arithmetic mean.
    pub(crate) fn mean(&self) -> Option<Duration> {
        self.unless_empty(|histogram| histogram.mean() as u64)
    }

    /// The standard deviation.
    pub(crate) fn deviation(&self) -> Option<Duration> {
        self.unless_empty(|histogram| histogram.stdev() as u64)
    }

    /// Steps towards the longest: quantile, latency and how many up to there. Each half of what
    /// remains is cut into `steps`.
    pub(crate) fn steps(&self, steps: u32) -> impl Iterator<Item = (f64, Duration, u64)> {
        let (mut seen, mut is_over) = (0, false);
        self.0.iter_quantiles(steps).map_while(move |step| {
            seen += step.count_since_last_iteration();
            let latency = Duration::from_nanos(step.value_iterated_to());
            // The last step comes twice.
            let was_over = std::mem::replace(&mut is_over, step.quantile() >= 1.0);
            (!was_over).then_some((step.quantile(), latency, seen))
        })
    }

    fn unless_empty(&self, nanos: impl FnOnce(&Histogram<u64>) -> u64) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_nanos(nanos(&self.0)))
    }

    /// HdrHistogram's V2 format, deflated and in base64, in nanoseconds.
    fn encoded(&self) -> Result<String, String> {
        let mut bytes = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        serializer.serialize(&self.0, &mut bytes).map_err(|error| error.to_string())?;
        Ok(BASE64_STANDARD.encode(bytes))
    }

    fn decoded(text: &str) -> Result<Self, String> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|error| error.to_string())?;
        let read: Histogram<u64> = HistogramReader::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("not a histogram in the V2 format: {error}"))?;
        let mut latencies = Self::with_figures(read.sigfig().min(3));
        latencies.0.add(&read).map_err(|error| format!("not a histogram of latencies: {error}"))?;
        Ok(latencies)
    }
}

/// The quantiles that every report shows, with their names.
pub(crate) const QUANTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// Summary in seconds for people and scripts, and the whole histogram for tools.
impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = |latency: Option<Duration>| latency.map(|latency| latency.as_secs_f64());
        let mut fields = serializer.serialize_struct("Latencies", 5 + QUANTILES.len())?;
        fields.serialize_field("count", &self.count())?;
        fields.serialize_field("min", &seconds(self.min()))?;
        fields.serialize_field("mean", &seconds(self.mean()))?;
        for (name, part) in QUANTILES {
            fields.serialize_field(name, &seconds(self.quantile(part)))?;
        }
        fields.serialize_field("max", &seconds(self.max()))?;
        fields.serialize_field("histogram", &self.encoded().map_err(ser::Error::custom)?)?;
        fields.end()
    }
}

/// Reads the histogram alone: the summary follows from it.
impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Encoded {
            histogram: String,
        }
        let encoded = Encoded::deserialize(deserializer)?;
        Self::decoded(&encoded.histogram).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Latencies over five decades, in no order.
    fn scattered() -> Vec<Duration> {
        (1..=10_000u64)
            .map(|number| {
                let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                Duration::from_nanos(10u64.pow(4 + (random % 5) as u32) + random % 9_999)
            })
            .collect()
    }

    #[test]
    fn quantiles_are_those_of_a_sorted_list() {
        let mut sorted = scattered();
        for (mut latencies, tolerance) in [(Latencies::fine(), 0.001), (Latencies::coarse(), 0.01)]
        {
            sorted.iter().for_each(|latency| latencies.record(*latency));
            sorted.sort();
            for (name, part) in QUANTILES.into_iter().chain([("p100", 1.0)]) {
                let rank = (part * sorted.len() as f64).ceil().max(1.0) as usize;
                let exact = sorted[rank - 1].as_secs_f64();
                let found = latencies.quantile(part).unwrap().as_secs_f64();
                let is_close = found >= exact && found <= exact * (1.0 + tolerance) + 2e-9;
                assert!(is_close, "{name}: {found}, not {exact}");
            }
            assert_eq!(latencies.count(), sorted.len() as u64);
        }
    }

    #[test]
    fn merged_is_as_if_recorded_in_one() {
        let all = scattered();
        let (mut whole, mut left, mut right) =
            (Latencies::fine(), Latencies::fine(), Latencies::fine());
        for (index, latency) in all.iter().enumerate() {
            whole.record(*latency);
            if index % 3 == 0 { &mut left } else { &mut right }.record(*latency);
        }
        left.merge(&right);
        assert_eq!(left, whole);
    }

    #[test]
    fn json_keeps_every_bucket() {
        let mut latencies = Latencies::fine();
        scattered().into_iter().for_each(|latency| latencies.record(latency));
        let json = serde_json::to_string(&latencies).unwrap();
        assert_eq!(serde_json::from_str::<Latencies>(&json).unwrap(), latencies);
        let empty = serde_json::to_string(&Latencies::fine()).unwrap();
        assert!(empty.contains("\"p99\":null"), "{empty}");
        for broken in ["{}", "{\"histogram\":\"?\"}", "{\"histogram\":\"AAAA\"}"] {
            serde_json::from_str::<Latencies>(broken).unwrap_err();
        }
    }

    #[test]
    fn nothing_is_left_after_clear() {
        let mut latencies = Latencies::coarse();
        scattered().into_iter().for_each(|latency| latencies.record(latency));
        latencies.clear();
        assert_eq!(latencies, Latencies::coarse());
        latencies.record(Duration::from_nanos(5));
        let five = Some(Duration::from_nanos(5));
        assert_eq!((latencies.min(), latencies.max()), (five, five));
    }

    #[test]
    fn memory_is_as_documented() {
        let kib = |latencies: Latencies| latencies.0.distinct_values() * size_of::<u64>() / 1024;
        assert_eq!((kib(Latencies::fine()), kib(Latencies::coarse())), (264, 36));
    }

    #[test]
    fn nothing_is_too_long() {
        let mut latencies = Latencies::fine();
        latencies.record(Duration::MAX);
        latencies.record(Duration::ZERO);
        let max = latencies.max().unwrap();
        assert!(max >= LATENCY_MAX && max.as_secs_f64() < LATENCY_MAX.as_secs_f64() * 1.001);
        assert_eq!(Latencies::fine().quantile(0.5), None);
    }
}
