//! The URL of a PostgreSQL database, parsed.

use super::key_words;
use super::names::Identifier;
use super::tls::Trust;
use crate::vector::password::Password;
use crate::vector::url_parts::{Parameters, Template};
use percent_encoding::percent_decode_str;
use std::net::IpAddr;
use std::time::Duration;
use url::{Host, Url};

/// The longest time limit of a connection to one address of the host.
pub(super) const ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);
/// The settings of a session that the worker sets itself.
const OWN_SETTINGS: [&str; 7] = [
    "client_encoding",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "role",
    "row_security",
    "session_authorization",
    "statement_timeout",
];

/// Where a database is, and how to log in.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// A name, an IP address, or the directory of a Unix socket.
    pub(super) host: String,
    /// The address to connect to instead of the host. The host is then only the name that the
    /// certificate must be for.
    pub(super) host_address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) database: String,
    /// `None`: the secret names the user, or over a socket the system does.
    pub(super) user: Option<String>,
    pub(super) password: PasswordSource,
    pub(super) trust: Trust,
    /// The time limit of a connection to one address of the host.
    pub(super) connect_timeout: Duration,
    pub(super) application_name: String,
    /// Options for the server, as on its command line.
    pub(super) options: Option<String>,
}

/// Where the password comes from.
#[derive(Clone, Debug)]
pub(super) enum PasswordSource {
    /// From the environment, which may have none.
    Environment,
    /// From the URL itself.
    Url(Password),
    /// From this secret in AWS Secrets Manager.
    #[cfg(feature = "secrets-manager")]
    Secret(crate::vector::secret::SecretArn),
}

impl Parameters {
    /// Takes a parameter that is an identifier and may depend on the model.
    pub(super) fn name(&mut self, name: &'static str) -> Option<Template> {
        let text = self.take(name)?;
        let checked = Template::parse(&text).and_then(|template| {
            // A name that is the same for all models is checked here, the others when the model is
            // known.
            match template.fixed().map(Identifier::new) {
                Some(Err(error)) => Err(error),
                _ => Ok(template),
            }
        });
        self.keep_error(name, checked)
    }

    /// Takes a parameter that is the same identifier for all models.
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

impl Parameters {
    /// Takes a parameter that is the same text for all models.
    fn fixed(&mut self, name: &'static str) -> Option<String> {
        let text = self.take(name)?;
        let checked = fixed(name, text);
        self.keep(checked)
    }

    /// Takes a part of a URL that may be before the `?` or, as in libpq, a parameter. `absent`: the
    /// error if it is in neither place.
    fn part(
        &mut self,
        what: &str,
        before: Option<&str>,
        name: &'static str,
        absent: Option<&str>,
    ) -> Option<String> {
        let before = before.filter(|text| !text.is_empty());
        let text = match (before, self.take(name)) {
            (Some(_), Some(_)) => Err(format!(
                "names the {what} before the `?` and as `{name}`: give only one of them"
            )),
            (Some(text), None) => {
                let text = percent_decode_str(text).decode_utf8();
                let text = text.map_err(|_| format!("the {what} is not UTF-8"));
                text.and_then(|text| fixed(what, text.into_owned()))
            }
            (None, Some(text)) => fixed(what, text),
            (None, None) => {
                self.errors.extend(absent.map(str::to_owned));
                return None;
            }
        };
        self.keep(text)
    }

    fn keep<T>(&mut self, value: Result<T, String>) -> Option<T> {
        value.map_err(|error| self.errors.push(error)).ok()
    }
}

/// Checks that a text has no placeholder. A password may contain braces, and is not checked here.
fn fixed(what: &str, text: String) -> Result<String, String> {
    if text.contains(['{', '}']) {
        return Err(format!(
            "the {what} has a placeholder: only `table` and `schema` may have one"
        ));
    }
    if text.contains('\0') {
        return Err(format!("the {what} contains a null character"));
    }
    Ok(text)
}

impl Address {
    /// Parses everything except the parameters that name tables. `None` only if there are errors.
    pub(super) fn read(url: &Url, parameters: &mut Parameters) -> Option<Self> {
        key_words::refuse(parameters);
        let host_address = parameters.take("hostaddr").map(|text| {
            let error = format!("`hostaddr` is `{text}`: give one IP address");
            parameters.keep(text.parse::<IpAddr>().map_err(|_| error))
        });
        let before = url.host().map(|host| match host {
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
            Host::Domain(name) => name.to_owned(),
        });
        let absent = "there is no host: write postgres://user@host/database?…";
        let absent = host_address.is_none().then_some(absent);
        let host = parameters.part("host", before.as_deref(), "host", absent);
        let host = host.and_then(|host| {
            let error = if host.contains(',') {
                "the host is a list: name one host, the primary"
            } else if host.starts_with('@') {
                "the host is an abstract socket: name the directory of a socket in the file system"
            } else if host.starts_with('/') && host_address.is_some() {
                "the host is a socket, which has no `hostaddr`: give only one of them"
            } else {
                return Some(host);
            };
            parameters.keep(Err(error.to_owned()))
        });
        let is_socket = host.as_deref().is_some_and(|host| host.starts_with('/'));
        let port = port(url, parameters);
        let path = url.path().strip_prefix('/');
        let absent = "there is no database: write postgres://user@host/database?…";
        let database = parameters.part("database", path, "dbname", Some(absent));
        let secret = parameters.take("password_secret");
        let absent = "there is no user: write postgres://user@host/database?…";
        let needs_user = secret.is_none() && !is_socket;
        let absent = needs_user.then_some(absent);
        let user = parameters.part("user", Some(url.username()), "user", absent);
        if url.fragment().is_some() {
            parameters
                .errors
                .push("has a `#`: write it as %23".to_owned());
        }
        let password = password_source(url, secret, parameters);
        // Without a name, the certificate must be for the address.
        let host_address = host_address.flatten();
        let host = host.or_else(|| Some(host_address?.to_string()));
        let trust = trust(
            host.as_deref().unwrap_or_default(),
            host_address,
            parameters,
        );
        let fallback = parameters.fixed("fallback_application_name");
        let application_name = parameters.fixed("application_name").or(fallback);
        Some(Self {
            connect_timeout: connect_timeout(parameters),
            options: options(parameters),
            host: host?,
            host_address,
            port: port?,
            database: database?,
            user,
            password: password?,
            trust: trust?,
            application_name: application_name.unwrap_or_else(|| "deletion-tasks".to_owned()),
        })
    }

    /// Whether the host is the directory of a Unix socket.
    pub(super) fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// Why the store's server is not verified, as a sentence for the log; `None` if it is verified.
    /// A server that is not verified can ask for the password, and gets it.
    pub(super) fn why_unverified(&self) -> Option<&'static str> {
        match self.trust {
            Trust::VerifyFull(_) => None,
            Trust::Disable if is_local(&self.host, self.host_address) => None,
            Trust::Require => Some(
                "sslmode=require checks no certificate: any server that responds can get the password; use verify-full",
            ),
            Trust::Disable => Some(
                "sslmode=disable checks and encrypts nothing: any server that responds can get the password; use verify-full",
            ),
        }
    }
}

/// Whether a connection stays on this machine.
fn is_local(host: &str, address: Option<IpAddr>) -> bool {
    let is_loopback = |ip: IpAddr| ip.is_loopback();
    let named = host == "localhost" || host.starts_with('/') || host.parse().is_ok_and(is_loopback);
    named && address.is_none_or(is_loopback)
}

fn trust(host: &str, address: Option<IpAddr>, parameters: &mut Parameters) -> Option<Trust> {
    let (mut mode, roots) = (parameters.take("sslmode"), parameters.take("sslrootcert"));
    // libpq accepts this parameter of URLs for JDBC.
    if let Some(ssl) = parameters.remove("ssl") {
        if ssl != "true" || mode.is_some() {
            let error = "`ssl` can only be `true`, in place of `sslmode`: use `sslmode`";
            return parameters.keep(Err(error.to_owned()));
        }
        mode = Some("require".to_owned());
    }
    let is_socket = host.starts_with('/');
    if is_socket && (roots.is_some() || mode.as_deref().is_some_and(|mode| mode != "disable")) {
        let error = "a socket has no TLS: leave `sslmode` and `sslrootcert` out";
        return parameters.keep(Err(error.to_owned()));
    }
    let default = if roots.is_none() && is_local(host, address) {
        "disable"
    } else {
        "verify-full"
    };
    let mode = mode.as_deref().unwrap_or(default);
    parameters.keep(Trust::read(mode, roots.as_deref(), host))
}

/// The port, 5432 by default.
fn port(url: &Url, parameters: &mut Parameters) -> Option<u16> {
    let port = match (url.port(), parameters.take("port")) {
        (Some(_), Some(_)) => {
            Err("names the port before the `?` and as `port`: give only one of them".to_owned())
        }
        (before, None) => Ok(before.unwrap_or(5432)),
        (None, Some(text)) => text
            .parse()
            .map_err(|_| format!("`port` is `{text}`: give one whole number from 1 to 65535")),
    };
    let port = port.and_then(|port| match port {
        0 => Err("the port is 0: give a whole number from 1 to 65535".to_owned()),
        port => Ok(port),
    });
    parameters.keep(port)
}

/// The time limit for connecting: at most the worker's own.
fn connect_timeout(parameters: &mut Parameters) -> Duration {
    let Some(text) = parameters.take("connect_timeout") else {
        return ADDRESS_TIMEOUT;
    };
    match text.parse() {
        Ok(seconds @ 1..) => ADDRESS_TIMEOUT.min(Duration::from_secs(seconds)),
        _ => {
            let error = format!("`connect_timeout` is `{text}`: give whole seconds, at least 1");
            parameters.errors.push(error);
            ADDRESS_TIMEOUT
        }
    }
}

/// Options for the server. Settings that the worker sets itself are rejected, since it would undo
/// them.
fn options(parameters: &mut Parameters) -> Option<String> {
    let options = parameters.fixed("options")?;
    let names = options.split_ascii_whitespace().filter_map(|word| {
        let setting = word.strip_prefix("-c").or(word.strip_prefix("--"));
        let (name, _) = setting.unwrap_or(word).split_once('=')?;
        Some(name.replace('-', "_").to_ascii_lowercase())
    });
    for name in names.filter(|name| OWN_SETTINGS.contains(&name.as_str())) {
        let error = format!("`options` sets `{name}`, which the worker sets itself: leave it out");
        parameters.errors.push(error);
    }
    Some(options)
}

fn password_source(
    url: &Url,
    secret: Option<String>,
    parameters: &mut Parameters,
) -> Option<PasswordSource> {
    let before = url.password().filter(|password| !password.is_empty());
    let given = match (before, parameters.take("password")) {
        (Some(_), Some(_)) => {
            let error = "names a password before the `?` and as `password`: give only one of them";
            return parameters.keep(Err(error.to_owned()));
        }
        (Some(password), None) => {
            let password = percent_decode_str(password).decode_utf8();
            let password = password.map_err(|_| "the password is not UTF-8".to_owned());
            Some(parameters.keep(password)?.into_owned())
        }
        (None, given) => given,
    };
    match (given, secret) {
        (None, None) => Some(PasswordSource::Environment),
        (Some(_), Some(_)) => {
            let error = "has a password and `password_secret`: give only one of them";
            parameters.keep(Err(error.to_owned()))
        }
        (Some(password), None) => Some(PasswordSource::Url(Password::new(password))),
        #[cfg(feature = "secrets-manager")]
        (None, Some(arn)) => {
            let arn = crate::vector::secret::SecretArn::parse(&arn);
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
