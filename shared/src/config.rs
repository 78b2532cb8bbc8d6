//! The environment, read once and in one place. One error names all missing and invalid variables.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `TABLE_NAME` | the DynamoDB table | required where used |
//! | `QUEUE_URL` | the SQS queue | required where used |
//! | `EVENT_BUS` | the name or ARN of the EventBridge bus | required where used |
//! | `VECTOR_STORES` | JSON object: model id pattern → store URL | required where used |
//! | `VECTOR_STORE_PASSWORD` | the password for stores whose URL contains none | none |
//! | `VECTOR_STORE_TOKEN` | the token for the store at an `https://` URL that requires one | none |
//! | `RETENTION_DAYS` | days a task is kept, 1 to 3,650 | 90 |
//! | `TASK_ID_REUSE` | `return` or `reject`: what to do if a task id is already used by a different request | `return` |
//! | `LIST_SHARDS` | index partitions for each status, 1 to 64; never lower it while tasks are stored | 4 |
//! | `LOG_LEVEL` | `error`, `warn`, `info`, `debug` or `trace` | `info` |
//! | `METRICS_NAMESPACE` | the CloudWatch namespace of the metrics | no metrics |
//! | `TLS_ROOTS` | the trusted root certificates: `amazon` (Amazon Trust Services) or `system` | `amazon` |
//!
//! Region, credentials and endpoints are the AWS SDK's own variables: `AWS_REGION` or
//! `AWS_DEFAULT_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
//! `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_<service>`, `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS`,
//! `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`.

use crate::api::ApiConfig;
use crate::aws::{AwsSettings, TlsRoots};
use crate::store::StoreConfig;
use crate::task::ChunkLimits;
use crate::telemetry::{MetricsNamespace, TelemetryConfig};
use crate::vector::{Password, VectorStoreRules};
use chrono::TimeDelta;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// The values of an on/off variable, for a person.
const SWITCH: &str = "`true` or `false`";
/// What the credential variables are for, for a person.
const CREDENTIALS: &str = "the credentials to call AWS with; Lambda sets it, elsewhere \
                           `aws configure export-credentials --format env` prints it";

/// Every error in the environment, one a line.
pub struct ConfigError(Vec<String>);

/// The text that `main` shows when it returns this error.
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

/// The environment, and the errors found in it so far.
///
/// Read each part, then call [`Environment::finish`]. The parts are valid only if it succeeds.
pub struct Environment {
    variables: HashMap<String, String>,
    errors: Vec<String>,
}

/// Shows only the names, because a value may be a password.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// Returns the process's environment.
    pub fn process() -> Self {
        Self::from_pairs(std::env::vars_os().filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        }))
    }

    /// Returns an environment with these variables.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            variables: pairs.into_iter().collect(),
            errors: Vec::new(),
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

    /// `EVENT_BUS`.
    pub fn event_bus(&mut self) -> String {
        self.required("EVENT_BUS", "the name or ARN of the EventBridge bus")
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
            Ok(rules) => {
                let token = self.get("VECTOR_STORE_TOKEN");
                let is_good =
                    token.is_some_and(|token| token.bytes().all(|b| b.is_ascii_graphic()));
                if rules.needs_token && !is_good {
                    self.errors.push(
                        "VECTOR_STORE_TOKEN is not set, or is not a word of ASCII: a URL in VECTOR_STORES has auth=bearer and no token_secret".to_owned(),
                    );
                }
                rules
            }
            // The missing variable is already in the errors.
            Err(_) if text.is_empty() => VectorStoreRules::default(),
            Err(errors) => {
                let errors = errors.into_iter();
                self.errors
                    .extend(errors.map(|error| format!("VECTOR_STORES: {error}")));
                VectorStoreRules::default()
            }
        }
    }

    /// `VECTOR_STORE_PASSWORD`, not trimmed: white space may be part of the password.
    pub fn vector_store_password(&self) -> Option<Password> {
        let value = self.variables.get("VECTOR_STORE_PASSWORD")?;
        (!value.is_empty()).then(|| Password::new(value))
    }

    /// `VECTOR_STORE_TOKEN`.
    pub fn vector_store_token(&self) -> Option<Password> {
        self.get("VECTOR_STORE_TOKEN").map(Password::new)
    }

    /// `TLS_ROOTS`, and the AWS SDK's own variables.
    pub fn aws(&mut self) -> AwsSettings {
        let region = match self.get("AWS_REGION").or(self.get("AWS_DEFAULT_REGION")) {
            Some(region) => region.to_owned(),
            None => self.required("AWS_REGION", "the AWS region, such as eu-west-1"),
        };
        let ignores_urls =
            self.optional("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", SWITCH) == Some(true);
        let urls = self.variables.iter().filter(|(name, url)| {
            name.starts_with("AWS_ENDPOINT_URL") && !url.is_empty() && !ignores_urls
        });
        AwsSettings {
            region,
            endpoint_urls: urls.map(|(n, url)| (n.clone(), url.clone())).collect(),
            access_key_id: self.required("AWS_ACCESS_KEY_ID", CREDENTIALS),
            secret_access_key: self.required("AWS_SECRET_ACCESS_KEY", CREDENTIALS),
            session_token: self.get("AWS_SESSION_TOKEN").map(str::to_owned),
            use_fips: self.optional("AWS_USE_FIPS_ENDPOINT", SWITCH),
            use_dual_stack: self.optional("AWS_USE_DUALSTACK_ENDPOINT", SWITCH),
            tls_roots: self.parsed("TLS_ROOTS", TlsRoots::CHOICES),
        }
    }

    /// `LOG_LEVEL` and `METRICS_NAMESPACE`.
    pub fn telemetry(&mut self) -> TelemetryConfig {
        TelemetryConfig {
            level: self.parsed("LOG_LEVEL", "`error`, `warn`, `info`, `debug` or `trace`"),
            metrics: self.optional("METRICS_NAMESPACE", MetricsNamespace::CHOICES),
        }
    }

    /// Finishes reading.
    ///
    /// # Errors
    /// Names every variable that is missing or invalid.
    pub fn finish(self) -> Result<(), ConfigError> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(ConfigError(self.errors))
        }
    }

    /// Returns the value of a variable. An empty value counts as absent.
    fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?.trim();
        (!value.is_empty()).then_some(value)
    }

    fn required(&mut self, name: &str, meaning: &str) -> String {
        if let Some(value) = self.get(name) {
            return value.to_owned();
        }
        self.errors
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
                let error =
                    format!("{name} is `{value}`: set it to a whole number from {min} to {max}");
                self.errors.push(error);
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
            let error = format!("{name} is `{value}`: set it to {choices}");
            self.errors.push(error);
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::TaskIdReuse;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
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

    const GIVEN_BY_LAMBDA: [(&str, &str); 4] = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_SESSION_TOKEN", "hunter2-too"),
    ];

    fn with(more: &[(&str, &str)]) -> Environment {
        environment(&[&GIVEN_BY_LAMBDA, more].concat())
    }

    #[test]
    fn what_lambda_gives_is_enough_and_secrets_are_never_shown() {
        let mut env = with(&[]);
        let aws = env.aws();
        assert_eq!(aws.region, "eu-west-1");
        assert_eq!(aws.session_token.as_deref(), Some("hunter2-too"));
        assert_eq!(aws.tls_roots, TlsRoots::Amazon);
        assert!(!format!("{aws:?}{env:?}").contains("hunter2"));
        env.finish().unwrap();
    }

    #[test]
    fn endpoints_roots_and_switches_are_taken_from_the_environment() {
        let urls = [
            ("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9003"),
            ("AWS_ENDPOINT_URL_DYNAMODB", ""),
        ];
        let switches = [("TLS_ROOTS", "system"), ("AWS_USE_FIPS_ENDPOINT", "true")];
        let aws = with(&[urls, switches].concat()).aws();
        assert_eq!(aws.endpoint_urls.len(), 1);
        assert_eq!(
            aws.endpoint_urls["AWS_ENDPOINT_URL_SQS"],
            "http://127.0.0.1:9003"
        );
        assert_eq!((aws.use_fips, aws.use_dual_stack), (Some(true), None));
        assert_eq!(aws.tls_roots, TlsRoots::System);
        let ignored = [urls[0], ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")];
        assert!(with(&ignored).aws().endpoint_urls.is_empty());
    }

    #[test]
    fn what_is_missing_or_odd_is_named() {
        let mut env = environment(&[("TLS_ROOTS", "mine"), ("AWS_USE_FIPS_ENDPOINT", "perhaps")]);
        let _ = env.aws();
        let text = env.finish().unwrap_err().to_string();
        for name in [
            "AWS_REGION",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "TLS_ROOTS",
            "AWS_USE_FIPS_ENDPOINT",
        ] {
            let lines = text.lines().filter(|line| line.starts_with(name));
            assert_eq!(lines.count(), 1, "{name}: {text}");
        }
    }
}
