//! `VECTOR_STORES`: which store holds which model's vectors.

use crate::task::ModelId;
use percent_encoding::percent_decode_str;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;
use url::Url;

const PLACEHOLDER: &str = "{embedding_model_id}";

/// The rules in the order written: the first whose pattern matches the model id wins.
#[derive(Clone, Debug, Default)]
pub struct VectorStoreRules(Vec<(Pattern, Target)>);

impl VectorStoreRules {
    /// Reads the JSON object of patterns and URLs.
    ///
    /// # Errors
    /// Every fault, a sentence each.
    pub fn parse(json: &str) -> Result<Self, Vec<String>> {
        let pairs: Pairs = serde_json::from_str(json).map_err(|error| {
            vec![format!(
                "not a JSON object of model id patterns and store URLs: {error}"
            )]
        })?;
        let mut faults = Vec::new();
        let mut rules: Vec<(Pattern, Target)> = Vec::new();
        if pairs.0.is_empty() {
            faults.push("has no entry: no task could ever be carried out".to_owned());
        }
        for (pattern, url) in pairs.0 {
            if pattern.is_empty() {
                faults.push("an empty pattern matches no model: use \"*\" for all".to_owned());
            }
            if rules.iter().any(|(known, _)| known.0 == pattern) {
                faults.push(format!("pattern `{pattern}` is given twice"));
            }
            match Target::parse(&url) {
                Ok(target) => rules.push((Pattern(pattern), target)),
                Err(fault) => faults.push(format!("pattern `{pattern}`: {fault}")),
            }
        }
        match faults.is_empty() {
            true => Ok(Self(rules)),
            false => Err(faults),
        }
    }

    pub(super) fn find(&self, model: &ModelId) -> Option<&Target> {
        let rule = self
            .0
            .iter()
            .find(|(pattern, _)| pattern.matches(model.as_str()))?;
        Some(&rule.1)
    }
}

/// A model id in which each `*` stands for any text, also none.
#[derive(Clone, Debug)]
struct Pattern(String);

impl Pattern {
    fn matches(&self, text: &str) -> bool {
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

/// A part of a store's URL that may hold the model id. It is filled in after the URL was parsed, so no model id can
/// change the URL's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(String);

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let without = text.replace(PLACEHOLDER, "");
        match without.contains(['{', '}']) {
            true => Err(format!(
                "`{text}` has a placeholder other than {PLACEHOLDER}"
            )),
            false => Ok(Self(text.to_owned())),
        }
    }

    pub(super) fn fill(&self, model: &ModelId) -> String {
        self.0.replace(PLACEHOLDER, model.as_str())
    }
}

/// Where a rule points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `s3vectors://bucket/index`
    S3Vectors { bucket: String, index: Template },
}

impl Target {
    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        match url.scheme() {
            "s3vectors" => Self::parse_s3vectors(&url),
            other => Err(format!("scheme `{other}` is not known: use `s3vectors`")),
        }
    }

    fn parse_s3vectors(url: &Url) -> Result<Self, String> {
        const FORM: &str = "write it as s3vectors://bucket/index";
        let more = url.query().is_some() || url.fragment().is_some() || url.port().is_some();
        if more || !url.username().is_empty() || url.password().is_some() {
            return Err(format!("has more than a bucket and an index: {FORM}"));
        }
        let decode = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded
                .map(String::from)
                .map_err(|_| format!("is not UTF-8: {FORM}"))
        };
        let bucket = decode(url.host_str().unwrap_or_default())?;
        if !super::s3vectors::is_bucket_name(&bucket) {
            return Err(format!(
                "`{bucket}` is no name of a vector bucket (3 to 63 of a-z, 0-9 and -): {FORM}"
            ));
        }
        let index = decode(url.path().strip_prefix('/').unwrap_or_default())?;
        if index.is_empty() || index.contains('/') {
            return Err(format!("has no index name: {FORM}"));
        }
        let index = Template::parse(&index)?;
        Ok(Self::S3Vectors { bucket, index })
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

    fn index_of(rules: &VectorStoreRules, model: &str) -> Option<String> {
        let model = ModelId::new(model).unwrap();
        rules.find(&model).map(|target| match target {
            Target::S3Vectors { bucket, index } => format!("{bucket}/{}", index.fill(&model)),
        })
    }

    #[test]
    fn the_first_matching_pattern_in_the_order_written_wins() {
        let rules = VectorStoreRules::parse(
            r#"{"embed-4*": "s3vectors://four/{embedding_model_id}", "b": "s3vectors://only/b",
                "*-v2": "s3vectors://two/x-{embedding_model_id}", "*": "s3vectors://rest/all"}"#,
        )
        .unwrap();
        for (model, index) in [
            ("embed-456", "four/embed-456"),
            ("embed-4-v2", "four/embed-4-v2"),
            ("b", "only/b"),
            ("bb", "rest/all"),
            ("a-v2", "two/x-a-v2"),
        ] {
            assert_eq!(index_of(&rules, model).as_deref(), Some(index), "{model}");
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
    fn no_model_id_changes_where_a_url_points() {
        let rules =
            VectorStoreRules::parse(r#"{"*": "s3vectors://bucket/{embedding_model_id}"}"#).unwrap();
        for model in ["../x", "a/b", "?q=1", "#f", "%2e", "user@host"] {
            assert_eq!(index_of(&rules, model), Some(format!("bucket/{model}")));
        }
    }

    #[test]
    fn a_model_that_nothing_matches_has_no_store() {
        let rules = VectorStoreRules::parse(r#"{"a": "s3vectors://bucket/i"}"#).unwrap();
        assert_eq!(index_of(&rules, "z"), None);
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
        for json in ["", "[]", "null", r#"{"a": 1}"#, "{}", "{"] {
            assert_eq!(
                VectorStoreRules::parse(json).unwrap_err().len(),
                1,
                "{json}"
            );
        }
    }
}
