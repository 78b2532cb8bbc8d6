//! The parsed OpenAPI document: YAML that keeps its order, with references followed.

use yaml_rust2::{Yaml, YamlLoader};

/// The document.
#[derive(Debug)]
pub(super) struct Document(Yaml);

impl Document {
    /// Parses a document. Text that is not YAML gives an empty page; the real document is compiled in and tested.
    pub(super) fn parse(text: &str) -> Self {
        let documents = YamlLoader::load_from_str(text).unwrap_or_default();
        Self(documents.into_iter().next().unwrap_or(Yaml::BadValue))
    }

    pub(super) fn root(&self) -> &Yaml {
        &self.0
    }

    /// What `value` refers to, or `value` itself if it is no reference.
    pub(super) fn resolved<'a>(&'a self, value: &'a Yaml) -> &'a Yaml {
        let Some(pointer) = value["$ref"].as_str() else {
            return value;
        };
        let steps = pointer.split('/').skip(1);
        steps.fold(&self.0, |found, step| {
            &found[step.replace("~1", "/").replace("~0", "~").as_str()]
        })
    }
}

/// The name at the end of a reference.
pub(super) fn referred(value: &Yaml) -> Option<&str> {
    value["$ref"].as_str()?.rsplit('/').next()
}

/// The entries of a mapping, in order; none for anything else.
pub(super) fn entries(value: &Yaml) -> impl Iterator<Item = (&str, &Yaml)> {
    let entries = value.as_hash().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.as_str()?, value)))
}

/// The items of a sequence; none for anything else.
pub(super) fn items(value: &Yaml) -> impl Iterator<Item = &Yaml> {
    value.as_vec().into_iter().flatten()
}

/// A string; empty for anything else.
pub(super) fn text(value: &Yaml) -> &str {
    value.as_str().unwrap_or_default()
}
