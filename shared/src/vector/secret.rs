//! A password or a token in AWS Secrets Manager.

use super::password::{Credentials, Password};
use super::port::{VectorError, VectorErrorKind};
use crate::aws::{self, error_code};
use aws_config::{Region, SdkConfig};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use futures_util::FutureExt;
use serde::Deserialize;
use std::sync::{Mutex, PoisonError};

/// The ARN of a secret, and its region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SecretArn {
    arn: String,
    region: String,
}

impl SecretArn {
    pub(super) fn parse(arn: &str) -> Result<Self, String> {
        let parts: Vec<_> = arn.splitn(7, ':').collect();
        match parts.as_slice() {
            [
                "arn",
                partition,
                "secretsmanager",
                region,
                account,
                "secret",
                name,
            ] if [*partition, *region, *account, *name]
                .iter()
                .all(|part| !part.is_empty()) =>
            {
                Ok(Self {
                    arn: arn.to_owned(),
                    region: (*region).to_owned(),
                })
            }
            _ => Err(
                "write the secret's ARN, as arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME"
                    .to_owned(),
            ),
        }
    }
}

/// A secret, and the credentials that it held when it was last fetched.
#[derive(Debug)]
pub(super) struct Secret {
    client: Client,
    arn: String,
    known: Mutex<Option<Credentials>>,
}

impl Secret {
    pub(super) fn new(config: &SdkConfig, arn: &SecretArn) -> Self {
        Self {
            client: aws::secretsmanager_client(config, Region::new(arn.region.clone())),
            arn: arn.arn.clone(),
            known: Mutex::new(None),
        }
    }

    /// The credentials that were last fetched.
    pub(super) fn known(&self) -> Option<Credentials> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Fetches the credentials.
    pub(super) async fn fetch(&self) -> Result<Credentials, VectorError> {
        let response = self.client.get_secret_value().secret_id(&self.arn).send();
        let response = response.boxed().await.map_err(|error| {
            let (kind, detail) = match error.code() {
                Some("AccessDeniedException") => (
                    VectorErrorKind::Denied,
                    "Access to the vector store's secret is denied",
                ),
                Some("ResourceNotFoundException" | "InvalidRequestException") => (
                    VectorErrorKind::Denied,
                    "The vector store's secret does not exist",
                ),
                _ => (
                    VectorErrorKind::Temporary,
                    "The vector store's secret could not be fetched from AWS Secrets Manager",
                ),
            };
            VectorError {
                kind,
                detail: detail.to_owned(),
                code: error_code(&error).to_owned(),
                source: Some(error.into()),
            }
        })?;
        let credentials = read(response.secret_string().unwrap_or_default())?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(credentials.clone());
        Ok(credentials)
    }
}

/// Parses a secret. It is a JSON object with a `password` and perhaps a `username`, as Amazon RDS
/// makes it, or with a `token`; or it is the bare password or token.
fn read(text: &str) -> Result<Credentials, VectorError> {
    #[derive(Deserialize)]
    struct Fields {
        username: Option<String>,
        #[serde(alias = "token")]
        password: Option<String>,
    }
    let credentials = match serde_json::from_str(text) {
        Ok(Fields { username, password }) => password.map(|password| (username, password)),
        Err(_) if text.trim_start().starts_with('{') => None,
        Err(_) => Some((None, text.to_owned())),
    };
    match credentials {
        Some((user, password)) if !password.is_empty() => Ok(Credentials {
            user,
            password: Some(Password::new(password)),
        }),
        _ => Err(VectorError {
            kind: VectorErrorKind::Denied,
            detail: "The vector store's secret contains neither a password nor a token".to_owned(),
            code: "no password".to_owned(),
            source: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_an_object_such_as_rds_makes_or_the_bare_word() {
        let rds = r#"{"username": "ann", "password": "p w", "engine": "postgres", "port": 5432}"#;
        for (text, user, password) in [
            (rds, Some("ann"), "p w"),
            (r#"{"password": "p-1"}"#, None, "p-1"),
            (r#"{"token": "t-1"}"#, None, "t-1"),
            ("plain", None, "plain"),
            ("12345", None, "12345"),
        ] {
            let credentials = read(text).unwrap();
            assert_eq!(credentials.user.as_deref(), user);
            assert_eq!(credentials.password, Some(Password::new(password)));
            assert!(!format!("{credentials:?}").contains(password));
        }
        for text in [
            "",
            "{}",
            r#"{"password": 1}"#,
            r#"{"password": ""}"#,
            "{oops",
        ] {
            assert_eq!(
                read(text).unwrap_err().kind,
                VectorErrorKind::Denied,
                "{text}"
            );
        }
    }

    #[test]
    fn an_arn_names_its_region() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db/user-AbCdEf";
        assert_eq!(SecretArn::parse(arn).unwrap().region, "eu-west-1");
        for arn in [
            "",
            "db/user",
            "arn:aws:s3:::bucket",
            "arn:aws:secretsmanager::1:secret:a",
        ] {
            assert!(SecretArn::parse(arn).is_err(), "{arn}");
        }
    }
}
