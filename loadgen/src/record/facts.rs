//! Names and values for people, in the order they were said.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

/// What a report says about a machine or a workload: a JSON object that keeps its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts(Vec<(String, String)>);

impl Facts {
    /// Adds a fact, or replaces the value of a name that is there.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl fmt::Display) {
        let (name, value) = (name.into(), value.to_string());
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some(fact) => fact.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// The value of `name`, if it was said.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Names and values, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: fmt::Display> FromIterator<(N, V)> for Facts {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut facts = Self::default();
        pairs.into_iter().for_each(|(name, value)| facts.set(name, value));
        facts
    }
}

impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Facts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Facts, A::Error> {
                let mut facts = Facts::default();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    facts.set(name, value);
                }
                Ok(facts)
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept() {
        let mut facts = Facts::from_iter([("kernel", "6.18"), ("cpu", "two cores")]);
        facts.set("kernel", "6.19");
        let json = serde_json::to_string(&facts).unwrap();
        assert_eq!(json, r#"{"kernel":"6.19","cpu":"two cores"}"#);
        assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
        assert_eq!((facts.value("cpu"), facts.value("disk")), (Some("two cores"), None));
    }
}
