//! The URL of a PostgreSQL database, read.

use super::names::Identifier;
use super::tls::Trust;
use crate::vector::password::Password;
use crate::vector::url_parts::{Parameters, Template};
use percent_encoding::percent_decode_str;
use std::net::IpAddr;
use url::{Host, Url};

/// Where a database is, and how to log in.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    /// Absent: the secret names it.
    pub(super) user: Option<String>,
    pub(super) password: PasswordSource,
    pub(super) trust: Trust,
}

/// Where the password comes from.
#[derive(Clone, Debug)]
pub(super) enum PasswordSource {
    /// From the environment, or there is none.
    Environment,
    /// From the URL itself.
    Url(Password),
    /// From this secret in AWS Secrets Manager.
    #[cfg(feature = "secrets-manager")]
    Secret(super::secret::SecretArn),
}

impl Parameters {
    /// A parameter that is an identifier, perhaps another one for each model.
    pub(super) fn name(&mut self, name: &'static str) -> Option<Template> {
        let text = self.take(name)?;
        let checked = Template::parse(&text).and_then(|template| {
            // What is the same for all models is checked at once, the rest when the model is known.
            match template.fixed().map(Identifier::new) {
                Some(Err(fault)) => Err(fault),
                _ => Ok(template),
            }
        });
        self.keep_fault(name, checked)
    }

    /// A parameter that is the same identifier for all models.
    pub(super) fn fixed_name(&mut self, name: &'static str) -> Option<Identifier> {
        let text = self.take(name)?;
        let checked = match text.contains(['{', '}']) {
            true => Err("holds a placeholder: only `table` and `schema` can".to_owned()),
            false => Identifier::new(&text),
        };
        self.keep_fault(name, checked)
    }
}

impl Address {
    /// Reads all but the parameters that say which tables are meant. `None` only where there are faults.
    pub(super) fn read(url: &Url, parameters: &mut Parameters) -> Option<Self> {
        let decoded = |what: &str, text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            let text = text.map_err(|_| format!("the {what} is not UTF-8"))?;
            // The password may well hold braces; it never comes here.
            match text.contains(['{', '}']) {
                true => Err(format!(
                    "the {what} holds a placeholder: only `table` and `schema` can"
                )),
                false => Ok(text.into_owned()),
            }
        };
        let mut faults = Vec::new();
        let mut part = |value: Result<String, String>, absent: &str| match value {
            Ok(value) if !value.is_empty() => Some(value),
            Ok(_) if absent.is_empty() => None,
            Ok(_) => {
                faults.push(absent.to_owned());
                None
            }
            Err(fault) => {
                faults.push(fault);
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
            // A secret may name the user too.
            Some(_) => "",
            None => "there is no user: write postgres://user@host/database?…",
        };
        let user = part(decoded("user", url.username()), no_user);
        if url.fragment().is_some() {
            faults.push("has a `#`: write it as %23".to_owned());
        }
        parameters.faults.append(&mut faults);

        let password = password_source(url, secret, parameters);
        let (mode, roots) = (parameters.take("sslmode"), parameters.take("sslrootcert"));
        let trust = Trust::read(
            mode.as_deref(),
            roots.as_deref(),
            is_loopback(host.as_deref().unwrap_or_default()),
        );
        let trust = trust.map_err(|fault| parameters.faults.push(fault)).ok();
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
    /// What to say at the start of a store whose server nobody verifies: it is asked to prove that it knows the password, and may
    /// ask for the password itself.
    pub(super) fn trusts_anybody(&self) -> Option<&'static str> {
        match self.trust {
            Trust::VerifyFull(_) => None,
            Trust::Disable if is_loopback(&self.host) => None,
            Trust::Require => Some(
                "sslmode=require checks no certificate: whoever answers gets the password; use verify-full",
            ),
            Trust::Disable => Some(
                "sslmode=disable checks and encrypts nothing: whoever answers gets the password; use verify-full",
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
            let fault = "has a password and `password_secret` too: give one of them";
            parameters.faults.push(fault.to_owned());
            None
        }
        (Some(password), None) => match percent_decode_str(password).decode_utf8() {
            Ok(password) => Some(PasswordSource::Url(Password::new(password))),
            Err(_) => {
                let fault = "the password is not UTF-8";
                parameters.faults.push(fault.to_owned());
                None
            }
        },
        #[cfg(feature = "secrets-manager")]
        (None, Some(arn)) => {
            let arn = super::secret::SecretArn::parse(&arn);
            parameters
                .keep_fault("password_secret", arn)
                .map(PasswordSource::Secret)
        }
        #[cfg(not(feature = "secrets-manager"))]
        (None, Some(_)) => {
            let fault = Err("AWS Secrets Manager was left out of this build".to_owned());
            parameters.keep_fault("password_secret", fault)
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let ip = host.parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}
