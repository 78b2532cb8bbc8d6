//! `VECTOR_STORES`: which store holds which model's vectors.

use super::pace::Quota;
use super::port::{Services, StoreFactory, VectorStore};
#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "store-protocol")]
use super::protocol;
#[cfg(feature = "s3vectors")]
use super::s3vectors;
use super::turns::Turns;
use crate::task::ModelId;
use chrono::{DateTime, Utc};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use url::Url;

/// Each pattern with the factory of its URL, in the order written: the first pattern that matches
/// the model id wins. Patterns with the same URL share a factory.
type Rules = Vec<(Pattern, Arc<dyn StoreFactory>)>;

/// If there are this many turns, those at rest are forgotten.
const MAX_IDLE_TURNS: usize = 1_000;

/// The setting `VECTOR_STORES`, parsed.
#[derive(Debug, Default)]
pub struct VectorStoreRules {
    rules: Rules,
    /// Whether any store is sent the token.
    pub needs_token: bool,
}

impl VectorStoreRules {
    /// Parses the JSON object of patterns and URLs.
    ///
    /// # Errors
    /// All errors, one sentence each.
    pub fn parse(json: &str) -> Result<Self, Vec<String>> {
        // The library's own message may repeat a part of the text, which may be a password.
        let pairs: Pairs = serde_json::from_str(json).map_err(|error| {
            vec![format!(
                "not a JSON object of model id patterns and store URLs: see line {}, column {}",
                error.line(),
                error.column()
            )]
        })?;
        let mut errors = Vec::new();
        let mut rules = Rules::new();
        let mut factories: HashMap<String, Arc<dyn StoreFactory>> = HashMap::new();
        if pairs.0.is_empty() {
            errors.push("has no entries: no task could be carried out".to_owned());
        }
        for (number, (pattern, url)) in (1..).zip(pairs.0) {
            // A pattern that is a URL is a mistake. It may hold a password, so it is not repeated.
            let name = if pattern.contains("://") {
                format!("entry {number}")
            } else {
                format!("pattern `{pattern}`")
            };
            if pattern.is_empty() {
                errors.push("an empty pattern matches no model: use \"*\" for all".to_owned());
            }
            if rules.iter().any(|(known, _)| known.0 == pattern) {
                errors.push(format!("{name} is given twice"));
            }
            let factory = match factories.get(&url) {
                Some(factory) => Ok(Arc::clone(factory)),
                None => factory_of(&url),
            };
            match factory {
                Ok(factory) => {
                    factories.insert(url, Arc::clone(&factory));
                    rules.push((Pattern(pattern), factory));
                }
                Err(found) => {
                    let found = found.into_iter();
                    errors.extend(found.map(|error| format!("{name}: {error}")));
                }
            }
        }
        let origins = origins_of_the_token(factories.keys()).len();
        if origins > 1 {
            errors.push(
                "auth=bearer stands in URLs of several hosts: VECTOR_STORE_TOKEN is for one only, since each would see it"
                    .to_owned(),
            );
        }
        if errors.is_empty() {
            Ok(Self {
                rules,
                needs_token: origins > 0,
            })
        } else {
            Err(errors)
        }
    }
}

/// The origins that are sent the token.
fn origins_of_the_token<'a>(urls: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let urls = urls.filter_map(|url| Url::parse(url).ok());
    let with_token = urls.filter(|url| {
        let mut has_bearer = false;
        let mut has_secret = false;
        for (name, value) in url.query_pairs() {
            has_bearer |= name == "auth" && value == "bearer";
            has_secret |= name == "token_secret";
        }
        matches!(url.scheme(), "https" | "http") && has_bearer && !has_secret
    });
    with_token
        .map(|url| url.origin().ascii_serialization())
        .collect()
}

/// The factory of the adapter for a URL's scheme. A new adapter is one more arm.
fn factory_of(text: &str) -> Result<Arc<dyn StoreFactory>, Vec<String>> {
    // The text itself may hold a password, so it is not repeated.
    let url = Url::parse(text);
    #[cfg(feature = "postgres")]
    let url = url.or_else(|error| postgres::url_without_host(text).ok_or(error));
    let url = url.map_err(|error| vec![format!("the URL cannot be read: {error}")])?;
    match url.scheme() {
        #[cfg(feature = "s3vectors")]
        "s3vectors" => Ok(Arc::new(s3vectors::Factory::parse(&url)?)),
        #[cfg(feature = "store-protocol")]
        "https" | "http" => Ok(Arc::new(protocol::Factory::parse(&url)?)),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Arc::new(postgres::Factory::parse(&url)?)),
        unknown => Err(vec![format!(
            "scheme `{unknown}` is not known, or was left out of this build: use `s3vectors`, `postgres`, `postgresql` or `https`"
        )]),
    }
}

/// The stores that a deployment is configured with. Clones share them and their connections.
#[derive(Clone)]
pub struct VectorStores {
    rules: Arc<Rules>,
    services: Arc<Services>,
    turns: Arc<Mutex<AllTurns>>,
}

/// The turns by index and limit. All tasks of an index in this process share them.
type AllTurns = HashMap<(String, Quota), Arc<Turns>>;

/// Where a model's vectors are.
#[derive(Clone)]
pub struct Index {
    /// The store.
    pub store: Arc<dyn VectorStore>,
    /// The turns of its deletes. `None`: deletes are not limited.
    pub turns: Option<Arc<Turns>>,
}

/// Leaves out the services, whose settings hold names of hosts and users.
impl fmt::Debug for VectorStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = self.rules.iter().map(|(pattern, _)| &pattern.0);
        f.debug_list().entries(patterns).finish()
    }
}

impl VectorStores {
    /// The stores that `rules` name. No store connects before it is first called.
    pub fn new(rules: VectorStoreRules, services: Services) -> Self {
        for (_, factory) in &rules.rules {
            factory.prepare(&services);
        }
        Self {
            rules: Arc::new(rules.rules),
            services: Arc::new(services),
            turns: Arc::default(),
        }
    }

    /// Where a model's vectors are, by the first rule that matches. `None`: no rule matches.
    pub fn for_model(&self, model: &ModelId, now: DateTime<Utc>) -> Option<Index> {
        let matches = |(pattern, _): &&(Pattern, _)| pattern.matches(model.as_str());
        let (_, factory) = self.rules.iter().find(matches)?;
        let limit = factory.limit(model);
        Some(Index {
            store: factory.open(&self.services, model),
            turns: limit.map(|(address, quota)| self.turns(address, quota, now)),
        })
    }

    fn turns(&self, address: String, quota: Quota, now: DateTime<Utc>) -> Arc<Turns> {
        let mut all = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_IDLE_TURNS {
            all.retain(|_, turns| Arc::strong_count(turns) > 1 || !turns.are_at_rest(now));
        }
        let turns = all.entry((address, quota));
        let turns = turns
            .or_insert_with_key(|(address, quota)| Arc::new(Turns::new(address.clone(), *quota)));
        Arc::clone(turns)
    }

    /// The same stores, each in the caller's wrapper. Tests and the simulation use it to change how
    /// stores behave.
    #[must_use]
    pub fn wrapped(
        self,
        wrap: impl Fn(Arc<dyn VectorStore>) -> Arc<dyn VectorStore> + Send + Sync + 'static,
    ) -> Self {
        let wrap: Arc<Wrap> = Arc::new(wrap);
        let wrapped = |(pattern, factory): &(Pattern, _)| {
            let (factory, wrap) = (Arc::clone(factory), Arc::clone(&wrap));
            let factory: Arc<dyn StoreFactory> = Arc::new(WrappedFactory { factory, wrap });
            (pattern.clone(), factory)
        };
        Self {
            rules: Arc::new(self.rules.iter().map(wrapped).collect()),
            services: self.services,
            turns: self.turns,
        }
    }
}

type Wrap = dyn Fn(Arc<dyn VectorStore>) -> Arc<dyn VectorStore> + Send + Sync;

/// Opens the stores of another factory, each in a wrapper.
struct WrappedFactory {
    factory: Arc<dyn StoreFactory>,
    wrap: Arc<Wrap>,
}

impl fmt::Debug for WrappedFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WrappedFactory")
            .field(&self.factory)
            .finish()
    }
}

impl StoreFactory for WrappedFactory {
    fn prepare(&self, services: &Services) {
        self.factory.prepare(services);
    }

    fn open(&self, services: &Services, model: &ModelId) -> Arc<dyn VectorStore> {
        (self.wrap)(self.factory.open(services, model))
    }

    fn limit(&self, model: &ModelId) -> Option<(String, Quota)> {
        self.factory.limit(model)
    }
}

/// A pattern for model ids. A `*` matches any sequence of characters, including an empty one.
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

/// The entries of a JSON object in the order written, with repeated keys.
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
        let mut rules = rules.rules.iter();
        let (pattern, factory) = rules.find(|(pattern, _)| pattern.matches(model))?;
        Some((&pattern.0, format!("{factory:?}")))
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
            let (found, factory) = rule_for(&rules, model).unwrap();
            assert_eq!(found, pattern, "{model}");
            assert!(factory.contains(bucket), "{model}: {factory}");
        }
    }

    #[test]
    fn a_star_matches_any_sequence_including_an_empty_one() {
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
    fn rules_with_the_same_url_share_a_factory() {
        let rules = VectorStoreRules::parse(
            r#"{"a": "s3vectors://bucket/i", "b": "s3vectors://bucket/i", "c": "s3vectors://bucket/j"}"#,
        )
        .unwrap();
        let factories: Vec<_> = rules.rules.iter().map(|(_, factory)| factory).collect();
        assert!(Arc::ptr_eq(factories[0], factories[1]));
        assert!(!Arc::ptr_eq(factories[0], factories[2]));
    }

    #[test]
    fn a_model_that_nothing_matches_has_no_store() {
        let rules = VectorStoreRules::parse(r#"{"a": "s3vectors://bucket/i"}"#).unwrap();
        assert_eq!(rule_for(&rules, "z"), None);
    }

    #[test]
    fn the_token_is_for_one_host_only() {
        let parse = |a: &str, b: &str| {
            let rules = serde_json::json!({"a": a, "b": b});
            VectorStoreRules::parse(&rules.to_string())
        };
        let token = "https://h.example/p?auth=bearer";
        for other in [
            "https://h.example/q?auth=bearer&index=i",
            "https://other.example/q",
            "https://other.example/q?auth=none",
        ] {
            assert!(parse(token, other).is_ok(), "{other}");
        }
        for other in [
            "https://other.example/p?auth=bearer",
            "https://h.example:8443/p?auth=bearer",
        ] {
            let errors = parse(token, other).unwrap_err();
            assert!(errors[0].contains("one only"), "{errors:?}");
        }
    }

    #[test]
    fn every_error_is_named_at_once() {
        let errors = VectorStoreRules::parse(
            r#"{"a": "ftp://b/i", "b": "s3vectors://bucket", "c": "s3vectors://bucket/{model}", "d": "nonsense", "": "s3vectors://bucket/i",
                "e": "s3vectors://bucket/i?x=1", "e2": "s3vectors://bucket/i", "e2": "s3vectors://bucket/i",
                "f": "s3vectors://My_Bucket/i", "g": "s3vectors://:pw@bucket:99/i"}"#,
        )
        .unwrap_err();
        assert_eq!(errors.len(), 9, "{errors:#?}");
        for json in [
            "\"postgres://u:hunter2@h/d\"",
            r#"{"postgres://u:hunter2@h/d": "*"}"#,
            r#"{"*": "postgres://u:hunter2@h:port/d"}"#,
            "",
            "[]",
            "null",
            r#"{"a": 1}"#,
            "{}",
            "{",
        ] {
            let errors = VectorStoreRules::parse(json).unwrap_err();
            assert_eq!(errors.len(), 1, "{json}");
            assert!(!errors[0].contains("hunter2"), "{errors:?}");
        }
    }
}
