//! The environment, read once and in one place. A missing or bad variable is named, all of them at once.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `TABLE_NAME` | the DynamoDB table | required where used |
//! | `QUEUE_URL` | the SQS queue | required where used |
//! | `VECTOR_STORES` | JSON object: model id pattern → store URL | required where used |
//! | `VECTOR_STORE_PASSWORD` | what to log in with at stores whose URL names no password | none |
//! | `RETENTION_DAYS` | days a task is kept, 1 to 3,650 | 90 |
//! | `TASK_ID_REUSE` | `return` or `reject` a task id used for another request | `return` |
//! | `LIST_SHARDS` | index partitions a status, 1 to 64; never lower it while tasks are stored | 4 |
//! | `LOG_LEVEL` | `error`, `warn`, `info`, `debug` or `trace` | `info` |
//! | `METRICS_NAMESPACE` | the CloudWatch namespace of the metrics | no metrics |
//! | `TLS_ROOTS` | whose certificates AWS's may be: `amazon`, the roots of Amazon Trust Services, or `system` | `amazon` |
//!
//! Region, credentials and endpoints are the AWS SDK's own variables: `AWS_REGION` or `AWS_DEFAULT_REGION`,
//! `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_<service>`,
//! `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS`, `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`.

mod aws;

pub use aws::AwsSettings;

use crate::task::ChunkLimits;
use crate::telemetry::{MetricsNamespace, TelemetryConfig};
use crate::vector::{Password, VectorStoreRules};
use chrono::TimeDelta;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// Where tasks are stored.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The DynamoDB table's name.
    pub table_name: String,
    /// Index partitions a status.
    pub list_shards: u32,
    /// How large a chunk of a task may be. No variable sets it: it follows from what a vector store's delete and a
    /// DynamoDB item take. Tests make it small.
    pub chunk_limits: ChunkLimits,
}

/// How the API creates tasks.
#[derive(Clone, Copy, Debug)]
pub struct ApiConfig {
    /// How long a task is kept.
    pub retention: TimeDelta,
    /// What to do when a task id is used again for another request.
    pub task_id_reuse: TaskIdReuse,
}

/// What `/run` answers when its task id names a task with another model or other objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskIdReuse {
    /// 200 and the stored task, with the header `Idempotent-Mismatch: true`.
    #[default]
    Return,
    /// 409.
    Reject,
}

impl FromStr for TaskIdReuse {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "return" => Ok(Self::Return),
            "reject" => Ok(Self::Reject),
            _ => Err(()),
        }
    }
}

/// What is wrong with the environment: every fault, a line each.
pub struct ConfigError(Vec<String>);

/// As `main` shows it when it returns it.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// The environment, and what was found wrong with it so far.
///
/// Ask for each part, then call [`Environment::finish`]: the parts are good only if it succeeds.
pub struct Environment {
    variables: HashMap<String, String>,
    faults: Vec<String>,
}

/// The names only: a value may be a password.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// The process's environment.
    pub fn process() -> Self {
        Self::from_pairs(std::env::vars_os().filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        }))
    }

    /// An environment of these variables.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            variables: pairs.into_iter().collect(),
            faults: Vec::new(),
        }
    }

    /// `TABLE_NAME` and `LIST_SHARDS`.
    pub fn store(&mut self) -> StoreConfig {
        StoreConfig {
            table_name: self.required("TABLE_NAME", "the name of the DynamoDB table"),
            list_shards: self.number("LIST_SHARDS", 4, 1, 64),
            chunk_limits: ChunkLimits::default(),
        }
    }

    /// `QUEUE_URL`.
    pub fn queue_url(&mut self) -> String {
        self.required("QUEUE_URL", "the URL of the SQS queue")
    }

    /// `RETENTION_DAYS` and `TASK_ID_REUSE`.
    pub fn api(&mut self) -> ApiConfig {
        ApiConfig {
            retention: TimeDelta::days(self.number("RETENTION_DAYS", 90, 1, 3650).into()),
            task_id_reuse: self.parsed("TASK_ID_REUSE", "`return` or `reject`"),
        }
    }

    /// `VECTOR_STORES`.
    pub fn vector_stores(&mut self) -> VectorStoreRules {
        let text = self.required(
            "VECTOR_STORES",
            r#"a JSON object such as {"*": "s3vectors://my-bucket/{embedding_model_id}"}"#,
        );
        match VectorStoreRules::parse(&text) {
            Ok(rules) => rules,
            Err(_) if text.is_empty() => VectorStoreRules::default(), // its absence is a fault already
            Err(faults) => {
                let faults = faults.into_iter();
                self.faults
                    .extend(faults.map(|fault| format!("VECTOR_STORES: {fault}")));
                VectorStoreRules::default()
            }
        }
    }

    /// `VECTOR_STORE_PASSWORD`, as it is: white space may be part of it.
    pub fn vector_store_password(&self) -> Option<Password> {
        let value = self.variables.get("VECTOR_STORE_PASSWORD")?;
        (!value.is_empty()).then(|| Password::new(value))
    }

    /// `LOG_LEVEL` and `METRICS_NAMESPACE`.
    pub fn telemetry(&mut self) -> TelemetryConfig {
        TelemetryConfig {
            level: self.parsed("LOG_LEVEL", "`error`, `warn`, `info`, `debug` or `trace`"),
            metrics: self.optional("METRICS_NAMESPACE", MetricsNamespace::CHOICES),
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Names every variable that is missing or bad.
    pub fn finish(self) -> Result<(), ConfigError> {
        match self.faults.is_empty() {
            true => Ok(()),
            false => Err(ConfigError(self.faults)),
        }
    }

    /// A variable's value; one that is set to nothing counts as absent.
    fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?.trim();
        (!value.is_empty()).then_some(value)
    }

    fn required(&mut self, name: &str, meaning: &str) -> String {
        if let Some(value) = self.get(name) {
            return value.to_owned();
        }
        self.faults
            .push(format!("{name} is not set: set it to {meaning}"));
        String::new()
    }

    fn number(&mut self, name: &str, default: u32, min: u32, max: u32) -> u32 {
        let Some(value) = self.get(name) else {
            return default;
        };
        match value.parse() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                let fault =
                    format!("{name} is `{value}`: set it to a whole number from {min} to {max}");
                self.faults.push(fault);
                default
            }
        }
    }

    fn parsed<T: FromStr + Default>(&mut self, name: &str, choices: &str) -> T {
        self.optional(name, choices).unwrap_or_default()
    }

    fn optional<T: FromStr>(&mut self, name: &str, choices: &str) -> Option<T> {
        let value = self.get(name)?;
        let parsed = value.parse().ok();
        if parsed.is_none() {
            let fault = format!("{name} is `{value}`: set it to {choices}");
            self.faults.push(fault);
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_pairs(
            pairs
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned())),
        )
    }

    #[test]
    fn what_is_absent_or_empty_takes_its_default() {
        let mut env = environment(&[
            ("TABLE_NAME", "tasks"),
            ("LIST_SHARDS", " "),
            ("METRICS_NAMESPACE", ""),
        ]);
        let (store, api) = (env.store(), env.api());
        assert_eq!((store.table_name.as_str(), store.list_shards), ("tasks", 4));
        assert_eq!(api.retention, TimeDelta::days(90));
        assert_eq!(api.task_id_reuse, TaskIdReuse::Return);
        assert_eq!(env.telemetry(), TelemetryConfig::default());
        env.finish().unwrap();
    }

    #[test]
    fn a_password_is_taken_as_it_is_and_never_shown() {
        let env = environment(&[("VECTOR_STORE_PASSWORD", " hunter2 ")]);
        assert_eq!(
            env.vector_store_password(),
            Some(Password::new(" hunter2 "))
        );
        let shown = format!("{env:?} {:?}", env.vector_store_password());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(environment(&[]).vector_store_password(), None);
    }

    #[test]
    fn every_missing_and_bad_variable_is_named_at_once() {
        let mut env = environment(&[
            ("LIST_SHARDS", "0"),
            ("RETENTION_DAYS", "ninety"),
            ("TASK_ID_REUSE", "maybe"),
            ("LOG_LEVEL", "loud"),
            ("METRICS_NAMESPACE", "AWS/Lambda"),
            ("VECTOR_STORES", r#"{"*": "ftp://x/y"}"#),
        ]);
        let _ = (
            env.store(),
            env.queue_url(),
            env.api(),
            env.vector_stores(),
            env.telemetry(),
        );
        let text = env.finish().unwrap_err().to_string();
        for name in [
            "TABLE_NAME",
            "QUEUE_URL",
            "LIST_SHARDS",
            "RETENTION_DAYS",
            "TASK_ID_REUSE",
            "LOG_LEVEL",
            "METRICS_NAMESPACE",
            "VECTOR_STORES",
        ] {
            assert_eq!(
                text.lines().filter(|line| line.starts_with(name)).count(),
                1,
                "{text}"
            );
        }
    }
}
