//! The URL of a PostgreSQL database, parsed.

use super::names::Identifier;
use super::tls::{Trust, is_loopback};
use crate::vector::password::Password;
use crate::vector::url_parts::{Parameters, Template};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// Where a database is, and how to log in.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    /// Absent: the secret names the user.
    pub(super) user: Option<String>,
    pub(super) password: PasswordSource,
    pub(super) trust: Trust,
}

/// Where the password comes from.
#[derive(Clone, Debug)]
pub(super) enum PasswordSource {
    /// From the environment; there may be none.
    Environment,
    /// From the URL itself.
    Url(Password),
    /// From this secret in AWS Secrets Manager.
    #[cfg(feature = "secrets-manager")]
    Secret(super::secret::SecretArn),
}

impl Parameters {
    /// A parameter that is an identifier, which may depend on the model.
    pub(super) fn name(&mut self, name: &'static str) -> Option<Template> {
        let text = self.take(name)?;
        let checked = Template::parse(&text).and_then(|template| {
            // A name that is the same for all models is checked here, the others when the model is known.
            match template.fixed().map(Identifier::new) {
                Some(Err(error)) => Err(error),
                _ => Ok(template),
            }
        });
        self.keep_error(name, checked)
    }

    /// A parameter that is the same identifier for all models.
    pub(super) fn fixed_name(&mut self, name: &'static str) -> Option<Identifier> {
        let text = self.take(name)?;
        let checked = if text.contains(['{', '}']) {
            Err("has a placeholder: only `table` and `schema` may have one".to_owned())
        } else {
            Identifier::new(&text)
        };
        self.keep_error(name, checked)
    }
}

impl Address {
    /// Parses everything but the parameters that name tables. `None` only where there are errors.
    pub(super) fn read(url: &Url, parameters: &mut Parameters) -> Option<Self> {
        let decoded = |what: &str, text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            let text = text.map_err(|_| format!("the {what} is not UTF-8"))?;
            // A password may contain braces, and is not decoded here.
            if text.contains(['{', '}']) {
                return Err(format!(
                    "the {what} has a placeholder: only `table` and `schema` may have one"
                ));
            }
            Ok(text.into_owned())
        };
        let mut errors = Vec::new();
        let mut part = |value: Result<String, String>, absent: &str| match value {
            Ok(value) if !value.is_empty() => Some(value),
            Ok(_) if absent.is_empty() => None,
            Ok(_) => {
                errors.push(absent.to_owned());
                None
            }
            Err(error) => {
                errors.push(error);
                None
            }
        };
        let host = match url.host() {
            Some(Host::Ipv4(ip)) => Ok(ip.to_string()),
            Some(Host::Ipv6(ip)) => Ok(ip.to_string()),
            Some(Host::Domain(name)) => decoded("host", name),
            None => Ok(String::new()),
        };
        let host = part(
            host,
            "there is no host: write postgres://user@host/database?…",
        );
        let path = url.path().strip_prefix('/').unwrap_or_default();
        let no_database = "there is no database: write postgres://user@host/database?…";
        let database = part(decoded("database", path), no_database);
        let secret = parameters.take("password_secret");
        let no_user = match secret {
            // The secret may name the user.
            Some(_) => "",
            None => "there is no user: write postgres://user@host/database?…",
        };
        let user = part(decoded("user", url.username()), no_user);
        if url.fragment().is_some() {
            errors.push("has a `#`: write it as %23".to_owned());
        }
        parameters.errors.append(&mut errors);

        let password = password_source(url, secret, parameters);
        let (mode, roots) = (parameters.take("sslmode"), parameters.take("sslrootcert"));
        let trust = Trust::read(
            mode.as_deref(),
            roots.as_deref(),
            host.as_deref().unwrap_or_default(),
        );
        let trust = trust.map_err(|error| parameters.errors.push(error)).ok();
        Some(Self {
            host: host?,
            port: url.port().unwrap_or(5432),
            database: database?,
            user,
            password: password?,
            trust: trust?,
        })
    }
}

impl Address {
    /// Why the store's server is not verified, as a sentence for the log; `None` if it is. Such a server can ask for the password, and
    /// gets it.
    pub(super) fn why_unverified(&self) -> Option<&'static str> {
        match self.trust {
            Trust::VerifyFull(_) => None,
            Trust::Disable if is_loopback(&self.host) => None,
            Trust::Require => Some(
                "sslmode=require checks no certificate: any server that responds can get the password; use verify-full",
            ),
            Trust::Disable => Some(
                "sslmode=disable checks and encrypts nothing: any server that responds can get the password; use verify-full",
            ),
        }
    }
}

fn password_source(
    url: &Url,
    secret: Option<String>,
    parameters: &mut Parameters,
) -> Option<PasswordSource> {
    let given = url.password().filter(|password| !password.is_empty());
    match (given, secret) {
        (None, None) => Some(PasswordSource::Environment),
        (Some(_), Some(_)) => {
            let error = "has a password and `password_secret`: give only one of them";
            parameters.errors.push(error.to_owned());
            None
        }
        (Some(password), None) => match percent_decode_str(password).decode_utf8() {
            Ok(password) => Some(PasswordSource::Url(Password::new(password))),
            Err(_) => {
                let error = "the password is not UTF-8";
                parameters.errors.push(error.to_owned());
                None
            }
        },
        #[cfg(feature = "secrets-manager")]
        (None, Some(arn)) => {
            let arn = super::secret::SecretArn::parse(&arn);
            parameters
                .keep_error("password_secret", arn)
                .map(PasswordSource::Secret)
        }
        #[cfg(not(feature = "secrets-manager"))]
        (None, Some(_)) => {
            let error = Err("AWS Secrets Manager was left out of this build".to_owned());
            parameters.keep_error("password_secret", error)
        }
    }
}
