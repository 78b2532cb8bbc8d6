//! What PostgreSQL and the way to it answer, by meaning.

use super::names::Table;
use crate::vector::{VectorError, VectorErrorKind};
use std::error::Error;
use tokio_postgres::error::SqlState;
use tokio_rustls::rustls;

/// Why a statement was not carried out.
#[derive(Debug, thiserror::Error)]
pub(in crate::vector) enum Failure {
    /// The server's answer, or what became of the connection.
    #[error(transparent)]
    Server(#[from] tokio_postgres::Error),
    /// The same while logging in: no statement was sent.
    #[error(transparent)]
    LoggingIn(tokio_postgres::Error),
    /// What already speaks of meaning.
    #[error(transparent)]
    Sorted(#[from] VectorError),
}

impl Failure {
    /// The failure of a login, after which no statement was sent.
    pub(super) fn before_all(self) -> Self {
        match self {
            Self::Server(error) => Self::LoggingIn(error),
            other => other,
        }
    }

    /// Whether the server does not accept the password.
    #[cfg(feature = "secrets-manager")]
    pub(super) fn is_authentication(&self) -> bool {
        let code = match self {
            Self::Server(error) | Self::LoggingIn(error) => error.code(),
            Self::Sorted(_) => None,
        };
        code.is_some_and(|code| code.code().starts_with("28"))
    }

    /// Whether the connection is gone: closed by the server, or cut.
    pub(super) fn is_lost_connection(&self) -> bool {
        let Self::Server(error) = self else {
            return false;
        };
        match error.code() {
            // 57P01 to 57P05: the server shuts down, starts up, or ends this session.
            Some(code) => code.code().starts_with("57P") || code.code().starts_with("08"),
            None => error.is_closed() || cause::<std::io::Error>(error).is_some(),
        }
    }

    /// Whether a statement did not fit the types of the columns, as when a table was made anew.
    pub(in crate::vector) fn is_other_type(&self) -> bool {
        let Self::Server(error) = self else {
            return false;
        };
        let code = error.code();
        code.is_some_and(|code| {
            [SqlState::UNDEFINED_FUNCTION, SqlState::DATATYPE_MISMATCH].contains(code)
        })
    }

    /// Sorts it by meaning. The server's own words may hold data and are not repeated.
    pub(in crate::vector) fn about(self, table: &Table) -> VectorError {
        let (error, lost) = match self {
            Self::Sorted(error) => return error,
            Self::Server(error) => (error, VectorErrorKind::Unanswered),
            // Nothing can still be carried out.
            Self::LoggingIn(error) => (error, VectorErrorKind::Temporary),
        };
        let table = table.shown();
        let (kind, detail) = match error.code() {
            Some(code) => by_code(code.code(), &table),
            None => without_code(&error, lost),
        };
        // Without a code, what the library itself says of it, which is the same for all data.
        let code = error.code().map(|code| code.code().to_owned());
        VectorError {
            kind,
            detail,
            code: code.unwrap_or_else(|| error.to_string()),
            source: Some(error.into()),
        }
    }
}

/// By SQLSTATE ("PostgreSQL Error Codes", appendix A of its manual).
fn by_code(code: &str, table: &str) -> (VectorErrorKind, String) {
    use VectorErrorKind::{Denied, IndexMissing, InvalidId, Temporary, Throttled};
    let class = code.get(..2).unwrap_or_default();
    match (code, class) {
        ("42P01" | "3F000", _) => (IndexMissing, format!("Table {table} does not exist")),
        ("42703", _) => (
            IndexMissing,
            format!("Table {table} does not have its columns"),
        ),
        ("3D000", _) => (
            IndexMissing,
            "The vector store's database does not exist".to_owned(),
        ),
        ("42501", _) => (Denied, format!("Access to table {table} is denied")),
        (_, "28") => (
            Denied,
            "The vector store does not accept the user or the password".to_owned(),
        ),
        // No room for one more connection, or more than this user may have.
        ("53300" | "53400", _) => (
            Throttled,
            "The vector store kept refusing connections, having too many".to_owned(),
        ),
        ("57014", _) => (
            Temporary,
            "The vector store did not end a statement in time".to_owned(),
        ),
        ("55P03" | "40001" | "40P01", _) => (
            Temporary,
            format!("Others kept the rows of table {table} locked"),
        ),
        // The text has a character that the database's encoding does not.
        ("22P05" | "22021", _) => (
            InvalidId,
            "The vector store's encoding cannot write this id".to_owned(),
        ),
        (_, "23") => (
            Denied,
            format!("A constraint of the database keeps rows of table {table} from being deleted"),
        ),
        ("42883" | "42804", _) => (Temporary, format!("The columns of table {table} changed")),
        (_, "42" | "0A" | "P0") => (Denied, format!("Table {table} refuses the statement")),
        _ => (Temporary, "The vector store kept failing".to_owned()),
    }
}

/// What the server never answered to; `lost` is what it means when the connection is.
fn without_code(error: &tokio_postgres::Error, lost: VectorErrorKind) -> (VectorErrorKind, String) {
    use VectorErrorKind::Denied;
    if cause::<rustls::Error>(error).is_some() {
        let detail = "The vector store's certificate or its TLS is not trusted";
        return (Denied, detail.to_owned());
    }
    if cause::<std::io::Error>(error).is_some() || error.is_closed() {
        let detail = "The vector store is out of reach, or closed the connection";
        return (lost, detail.to_owned());
    }
    // The library tells these apart by nothing but their text, which it wrote itself.
    let detail = match error.to_string().as_str() {
        "error performing TLS handshake" => "The vector store does not offer TLS",
        "invalid configuration" => "The vector store asks for a password, and none is configured",
        "authentication error" => "The vector store asks for a way to log in that is not supported",
        _ => {
            let detail = "The vector store gave an answer that makes no sense";
            return (lost, detail.to_owned());
        }
    };
    (Denied, detail.to_owned())
}

/// The first cause of this type. An I/O error keeps its own cause where `source` does not show it.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
