//! The parameters of libpq that this client does not support ("Parameter Key Words" in PostgreSQL's
//! manual). Each is rejected by name, unless its value asks for what the client does anyway.
//! `address.rs` reads the supported ones.

use crate::vector::url_parts::Parameters;

/// A parameter: its name, the values that ask for what the client does anyway, and what to do
/// instead of any other value.
type KeyWord = (&'static str, &'static [&'static str], &'static str);

const OTHER_LOGINS: &str = "the worker logs in with a password, or without one";
const CLIENT_CERTIFICATE: &str = "the worker has no client certificate: log in with a password";
const TIMES: &str =
    "the worker's own limits hold, on which the time limit of a delete rests: leave it out";
const TLS: &str = "the worker uses TLS 1.2 and 1.3: leave it out, and set the limit at the server";
const PROTOCOL: &str = "the worker speaks version 3.0 of the protocol: leave it out";
const REVOCATION: &str = "the worker reads no lists of revoked certificates: leave it out";
const SERVICE: &str =
    "the worker reads no service file: write the service's parameters into the URL";
const KERBEROS: &str = "the worker does not use GSSAPI: leave it out, and log in with a password";
const OAUTH: &str = "the worker does not use OAuth: leave it out, and log in with a password";
const SCRAM: &str = "the worker keeps no SCRAM keys: give the password itself";

const KEY_WORDS: &[KeyWord] = &[
    (
        "passfile",
        &[],
        "the worker reads no password file: use VECTOR_STORE_PASSWORD or `password_secret`",
    ),
    ("require_auth", &[], OTHER_LOGINS),
    (
        "channel_binding",
        &["disable"],
        "the worker does not bind SCRAM to the TLS channel: leave it out, and use `sslmode=verify-full`, which proves who the server is",
    ),
    (
        "client_encoding",
        &["utf8", "utf-8"],
        "ids are sent in UTF-8: leave it out",
    ),
    ("keepalives", &["1"], TIMES),
    ("keepalives_idle", &[], TIMES),
    ("keepalives_interval", &[], TIMES),
    ("keepalives_count", &[], TIMES),
    ("tcp_user_timeout", &[], TIMES),
    (
        "replication",
        &["false", "off", "no", "0"],
        "the worker sends SQL: leave it out",
    ),
    ("gssencmode", &["disable"], KERBEROS),
    ("gssdelegation", &["0"], KERBEROS),
    ("krbsrvname", &[], KERBEROS),
    ("gsslib", &[], KERBEROS),
    (
        "sslnegotiation",
        &["postgres"],
        "the worker asks for TLS over PostgreSQL's protocol: leave it out",
    ),
    (
        "requiressl",
        &[],
        "libpq itself no longer has it: use `sslmode`",
    ),
    (
        "sslcompression",
        &["0"],
        "the worker compresses nothing: leave it out",
    ),
    ("sslcert", &[], CLIENT_CERTIFICATE),
    ("sslkey", &[], CLIENT_CERTIFICATE),
    ("sslpassword", &[], CLIENT_CERTIFICATE),
    ("sslcertmode", &["disable"], CLIENT_CERTIFICATE),
    (
        "sslkeylogfile",
        &[],
        "the worker writes no keys to files: leave it out",
    ),
    ("sslcrl", &[], REVOCATION),
    ("sslcrldir", &[], REVOCATION),
    (
        "sslsni",
        &["1"],
        "the worker names the host in the handshake: leave it out",
    ),
    (
        "requirepeer",
        &[],
        "the worker does not check who serves a socket: leave it out, and protect the socket's directory",
    ),
    ("ssl_min_protocol_version", &["TLSv1.2"], TLS),
    ("ssl_max_protocol_version", &["TLSv1.3"], TLS),
    ("min_protocol_version", &["3.0"], PROTOCOL),
    ("max_protocol_version", &["3.0"], PROTOCOL),
    ("service", &[], SERVICE),
    ("servicefile", &[], SERVICE),
    (
        "target_session_attrs",
        &["read-write", "primary"],
        "deletes need the primary: name its host, and leave this out",
    ),
    (
        "load_balance_hosts",
        &["disable"],
        "a URL has one host, the primary's: leave it out",
    ),
    ("scram_client_key", &[], SCRAM),
    ("scram_server_key", &[], SCRAM),
    ("oauth_issuer", &[], OAUTH),
    ("oauth_client_id", &[], OAUTH),
    ("oauth_client_secret", &[], OAUTH),
    ("oauth_scope", &[], OAUTH),
];

/// Rejects each given parameter that asks for something that the client does not do. The value is
/// not repeated, since it may be secret.
pub(super) fn refuse(parameters: &mut Parameters) {
    for (name, accepted, instead) in KEY_WORDS {
        let Some(value) = parameters.remove(name) else {
            continue;
        };
        if accepted
            .iter()
            .any(|accepted| accepted.eq_ignore_ascii_case(&value))
        {
            continue;
        }
        let error = if accepted.is_empty() {
            format!("libpq's parameter `{name}` is not supported: {instead}")
        } else {
            let accepted = accepted.join("` or `");
            format!("libpq's parameter `{name}` can only be `{accepted}` here: {instead}")
        };
        parameters.errors.push(error);
    }
}
