//! `VECTOR_STORES`: which store holds which model's vectors.

use super::schemes::{self, Target};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The rules in the order written: the first whose pattern matches the model id wins. Those with the same URL share its target.
#[derive(Clone, Debug, Default)]
pub struct VectorStoreRules(Vec<(Pattern, Arc<dyn Target>)>);

impl VectorStoreRules {
    /// Reads the JSON object of patterns and URLs.
    ///
    /// # Errors
    /// Every fault, a sentence each.
    pub fn parse(json: &str) -> Result<Self, Vec<String>> {
        // The library's own message may repeat a part of the text, and that a password.
        let pairs: Pairs = serde_json::from_str(json).map_err(|error| {
            vec![format!(
                "not a JSON object of model id patterns and store URLs: look at line {}, column {}",
                error.line(),
                error.column()
            )]
        })?;
        let mut faults = Vec::new();
        let mut rules: Vec<(Pattern, Arc<dyn Target>)> = Vec::new();
        let mut targets: HashMap<String, Arc<dyn Target>> = HashMap::new();
        if pairs.0.is_empty() {
            faults.push("has no entry: no task could ever be carried out".to_owned());
        }
        for (number, (pattern, url)) in (1..).zip(pairs.0) {
            // A pattern that is a URL is a mistake, and may hold a password.
            let name = match pattern.contains("://") {
                true => format!("entry {number}"),
                false => format!("pattern `{pattern}`"),
            };
            if pattern.is_empty() {
                faults.push("an empty pattern matches no model: use \"*\" for all".to_owned());
            }
            if rules.iter().any(|(known, _)| known.0 == pattern) {
                faults.push(format!("{name} is given twice"));
            }
            let target = match targets.get(&url) {
                Some(target) => Ok(Arc::clone(target)),
                None => schemes::parse(&url),
            };
            match target {
                Ok(target) => {
                    targets.insert(url, Arc::clone(&target));
                    rules.push((Pattern(pattern), target));
                }
                Err(found) => {
                    let found = found.into_iter();
                    faults.extend(found.map(|fault| format!("{name}: {fault}")));
                }
            }
        }
        match faults.is_empty() {
            true => Ok(Self(rules)),
            false => Err(faults),
        }
    }

    /// Each pattern with what its URL names, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Pattern, &Arc<dyn Target>)> {
        self.0.iter().map(|(pattern, target)| (pattern, target))
    }
}

/// A model id in which each `*` stands for any text, also none.
#[derive(Clone, Debug)]
pub(super) struct Pattern(String);

impl Pattern {
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty(); // no `*` at all
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// A JSON object's entries in the order written, repeated ones too.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose values are URLs")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first pattern that matches, and what its URL names.
    fn rule_for<'a>(rules: &'a VectorStoreRules, model: &str) -> Option<(&'a str, String)> {
        let mut rules = rules.iter();
        let (pattern, target) = rules.find(|(pattern, _)| pattern.matches(model))?;
        Some((&pattern.0, format!("{target:?}")))
    }

    #[test]
    fn the_first_matching_pattern_in_the_order_written_wins() {
        let rules = VectorStoreRules::parse(
            r#"{"embed-4*": "s3vectors://four/{embedding_model_id}", "b": "s3vectors://only/b",
                "*-v2": "s3vectors://two/x-{embedding_model_id}", "*": "s3vectors://rest/all"}"#,
        )
        .unwrap();
        for (model, pattern, bucket) in [
            ("embed-456", "embed-4*", "four"),
            ("embed-4-v2", "embed-4*", "four"),
            ("b", "b", "only"),
            ("bb", "*", "rest"),
            ("a-v2", "*-v2", "two"),
        ] {
            let (found, target) = rule_for(&rules, model).unwrap();
            assert_eq!(found, pattern, "{model}");
            assert!(target.contains(bucket), "{model}: {target}");
        }
    }

    #[test]
    fn a_star_stands_for_any_text_also_none() {
        let matches = |pattern: &str, text| Pattern(pattern.into()).matches(text);
        for (pattern, text) in [
            ("*", ""),
            ("*", "x"),
            ("a*", "a"),
            ("a*c", "abc"),
            ("a*b*c", "a-b-b-c"),
            ("a", "a"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("a", "ab"),
            ("a*", "b"),
            ("ab*b", "ab"),
            ("a*b*c", "acb"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn rules_with_the_same_url_share_what_it_names() {
        let rules = VectorStoreRules::parse(
            r#"{"a": "s3vectors://bucket/i", "b": "s3vectors://bucket/i", "c": "s3vectors://bucket/j"}"#,
        )
        .unwrap();
        let targets: Vec<_> = rules.iter().map(|(_, target)| target).collect();
        assert!(Arc::ptr_eq(targets[0], targets[1]));
        assert!(!Arc::ptr_eq(targets[0], targets[2]));
    }

    #[test]
    fn a_model_that_nothing_matches_has_no_store() {
        let rules = VectorStoreRules::parse(r#"{"a": "s3vectors://bucket/i"}"#).unwrap();
        assert_eq!(rule_for(&rules, "z"), None);
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let faults = VectorStoreRules::parse(
            r#"{"a": "ftp://b/i", "b": "s3vectors://bucket", "c": "s3vectors://bucket/{model}", "d": "nonsense", "": "s3vectors://bucket/i",
                "e": "s3vectors://bucket/i?x=1", "e2": "s3vectors://bucket/i", "e2": "s3vectors://bucket/i",
                "f": "s3vectors://My_Bucket/i", "g": "s3vectors://:pw@bucket:99/i"}"#,
        )
        .unwrap_err();
        assert_eq!(faults.len(), 9, "{faults:#?}");
        for json in [
            "\"postgres://u:hunter2@h/d\"",
            r#"{"postgres://u:hunter2@h/d": "*"}"#,
            "",
            "[]",
            "null",
            r#"{"a": 1}"#,
            "{}",
            "{",
        ] {
            let faults = VectorStoreRules::parse(json).unwrap_err();
            assert_eq!(faults.len(), 1, "{json}");
            assert!(!faults[0].contains("hunter2"), "{faults:?}");
        }
    }
}
