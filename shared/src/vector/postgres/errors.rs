//! The errors of PostgreSQL and of the connection to it, sorted by meaning: the kind of each error,
//! and its cause.

use crate::vector::port::{VectorError, VectorErrorKind};
use std::error::Error;
use tokio_postgres::error::{DbError, Severity};
use tokio_rustls::rustls;

/// The detail for a database in which nothing can be deleted.
pub(super) const READ_ONLY: &str = "The vector store's database is read-only: connect to the primary instead of a read replica, or turn default_transaction_read_only off";

/// The SQLSTATEs for a text with a character that the database's encoding does not have.
const ENCODING: [&str; 2] = ["22P05", "22021"];

/// The SQLSTATEs for a table that has changed since its facts were read.
const CHANGED: [&str; 5] = ["42P01", "3F000", "42703", "42883", "42804"];
/// The functions in PostgreSQL's source that raise an error, for errors whose SQLSTATE is not
/// specific enough. They are for row security that would hide rows (`rls.c`), a publication
/// (`execReplication.c`), and `RAISE` (`pl_exec.c`).
const ROW_SECURITY: &str = "check_enable_rls";
const REPLICA_IDENTITY: &str = "CheckCmdReplicaIdentity";
const RAISE: &str = "exec_stmt_raise";

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// An error of a statement that reads, from the server or the connection.
    #[error(transparent)]
    Reading(#[from] tokio_postgres::Error),
    /// An error of a statement that deletes, from the server or the connection.
    #[error(transparent)]
    Deleting(tokio_postgres::Error),
    /// An error of a login, from the server or the connection. No statement was sent.
    #[error(transparent)]
    LoggingIn(tokio_postgres::Error),
    /// An error that is sorted already.
    #[error(transparent)]
    Sorted(#[from] VectorError),
}

impl Failure {
    /// Turns the failure into one of a login: no statement was sent.
    pub(super) fn before_all(self) -> Self {
        match self {
            Self::Reading(error) => Self::LoggingIn(error),
            other => other,
        }
    }

    fn error(&self) -> Option<&tokio_postgres::Error> {
        match self {
            Self::Reading(error) | Self::Deleting(error) | Self::LoggingIn(error) => Some(error),
            Self::Sorted(_) => None,
        }
    }

    fn server(&self) -> Option<&DbError> {
        self.error().and_then(tokio_postgres::Error::as_db_error)
    }

    /// The SQLSTATE, if the server responded with an error.
    fn code(&self) -> Option<&str> {
        self.server().map(|error| error.code().code())
    }

    /// Whether the server rejected the login.
    #[cfg(feature = "secrets-manager")]
    pub(super) fn is_authentication(&self) -> bool {
        self.code().is_some_and(|code| code.starts_with("28"))
    }

    /// Whether the connection is gone: closed by the server, or cut.
    pub(super) fn is_lost_connection(&self) -> bool {
        let (Self::Reading(error) | Self::Deleting(error)) = self else {
            return false;
        };
        match self.server() {
            // The server shuts down, starts up, or ends this session. A trigger may raise the same
            // codes, but with severity ERROR.
            Some(server) => server.parsed_severity() != Some(Severity::Error),
            None => error.is_closed() || cause::<std::io::Error>(error).is_some(),
        }
    }

    /// Whether the server rejected the statement. Then no part of it was done, and the session goes
    /// on.
    pub(super) fn is_of_the_statement(&self) -> bool {
        self.code().is_some() && !self.is_lost_connection()
    }

    /// Whether the server canceled a delete because it, or what it triggered, took too long.
    pub(super) fn is_too_slow(&self) -> bool {
        let Self::Deleting(error) = self else {
            return false;
        };
        let server = error.as_db_error();
        server.is_some_and(|error| error.code().code() == "57014" && !is_raised(error))
    }

    /// Whether the table has changed since its facts were read: it is gone, was renamed, or has
    /// other types. If so, nothing was done.
    pub(super) fn is_of_a_changed_table(&self) -> bool {
        let server = self.server().filter(|error| is_of_the_text(error));
        server.is_some_and(|error| CHANGED.contains(&error.code().code()))
    }

    /// Whether the catalog has the reason: which right is missing, or why a table does not allow
    /// deletes.
    pub(super) fn is_told_by_the_catalog(&self) -> bool {
        let told = ["42501", "55000", "42809"];
        let is_told = |error: &DbError| {
            told.contains(&error.code().code())
                && !is_set_off(error)
                && ![Some(ROW_SECURITY), Some(REPLICA_IDENTITY)].contains(&error.routine())
        };
        !matches!(self, Self::LoggingIn(_)) && self.server().is_some_and(is_told)
    }

    /// Sorts the failure by meaning. The server's message is not repeated, since it may contain
    /// data. Names of functions, tables and constraints are.
    pub(super) fn about(self, table: &str) -> VectorError {
        type Sort = fn(&DbError, &str) -> (VectorErrorKind, String);
        let (error, lost, sort): (_, _, Sort) = match self {
            Self::Sorted(error) => return error,
            Self::Reading(error) => (error, VectorErrorKind::Unanswered, of_a_read),
            Self::Deleting(error) => (error, VectorErrorKind::Unanswered, of_a_delete),
            // No statement was sent, so nothing can still be carried out.
            Self::LoggingIn(error) => (error, VectorErrorKind::Temporary, of_a_login),
        };
        let (kind, detail) = match error.as_db_error() {
            Some(server) => sort(server, table),
            None => without_code(&error, lost),
        };
        // Without a SQLSTATE, the library's own text, which contains no data.
        let code = error.code().map(|code| code.code().to_owned());
        VectorError {
            kind,
            detail,
            code: code.unwrap_or_else(|| error.to_string()),
            source: Some(error.into()),
        }
    }
}

/// Sorts an error of a login. It cannot come from a table's trigger.
fn of_a_login(error: &DbError, _: &str) -> (VectorErrorKind, String) {
    use VectorErrorKind::{Denied, IndexMissing, Temporary};
    let code = error.code().code();
    if let Some(passing) = passing(code, "") {
        return passing;
    }
    let (kind, detail) = match (code, code.get(..2).unwrap_or_default()) {
        ("3D000", _) => (IndexMissing, "The vector store's database does not exist"),
        (_, "28") => (
            Denied,
            "The vector store does not accept the user or the password",
        ),
        ("42501", _) => (
            Denied,
            "The role may not connect to the vector store's database",
        ),
        ("55000", _) => (
            Denied,
            "The vector store's database does not accept connections",
        ),
        (_, "XX") => (
            Temporary,
            "The vector store failed to carry out the request",
        ),
        _ => {
            let detail = format!("The vector store rejects the session (SQLSTATE {code})");
            return (Denied, detail);
        }
    };
    (kind, detail.to_owned())
}

/// Sorts an error of a statement that deletes. Unless the error is known to concern all objects, it
/// counts as the error of one object, so that the others are deleted. If it does concern all
/// objects, each of them fails with it.
fn of_a_delete(error: &DbError, table: &str) -> (VectorErrorKind, String) {
    use VectorErrorKind::{Denied, KeptObject, TooSlow};
    let code = error.code().code();
    if is_raised(error) {
        return (KeptObject, of_what_was_set_off(error, table));
    }
    match (code, error.routine()) {
        ("57014", _) => {
            let detail = format!(
                "Deleting from table {table} took too long: check {table} and the tables that reference it for a slow trigger or a missing index"
            );
            return (TooSlow, detail);
        }
        ("55P03", _) => return (TooSlow, locked(table)),
        // Row security was switched on after the facts of the table were read.
        (_, Some(ROW_SECURITY)) if !is_set_off(error) => return (Denied, hidden(table)),
        (_, Some(REPLICA_IDENTITY)) => {
            let detail = format!(
                "Table {table}, or a partition of it, does not allow deletes: it is published for logical replication and has no usable replica identity (set one with ALTER TABLE … REPLICA IDENTITY)"
            );
            return (KeptObject, detail);
        }
        _ => {}
    }
    if let Some(passing) = passing(code, table) {
        return passing;
    }
    if is_set_off(error) {
        return (KeptObject, of_what_was_set_off(error, table));
    }
    match (code, code.get(..2).unwrap_or_default()) {
        ("25006", _) => (Denied, READ_ONLY.to_owned()),
        // The catalog has more about these.
        ("42501" | "55000" | "42809", _) => of_the_statement(error, table),
        (_, "23") => (KeptObject, by_constraint(error, table)),
        // Errors of a rule, and of the executor about what a trigger returns, have no context.
        (_, "21" | "22" | "27" | "2F" | "38" | "39" | "44" | "P0") if !ENCODING.contains(&code) => {
            let does = what_it_does(code);
            (
                KeptObject,
                format!("A rule or a trigger of table {table} {does}"),
            )
        }
        _ if is_of_the_text(error) || ENCODING.contains(&code) => of_the_statement(error, table),
        _ => (KeptObject, unknown(code, table)),
    }
}

/// The detail for an error of a delete whose origin is not known.
pub(super) fn unknown(code: &str, table: &str) -> String {
    format!(
        "PostgreSQL refuses to delete the object from table {table} (SQLSTATE {code}): check the table's rules and triggers, and the server's log"
    )
}

/// Sorts an error of a statement that reads.
fn of_a_read(error: &DbError, table: &str) -> (VectorErrorKind, String) {
    use VectorErrorKind::{Denied, KeptObject, Temporary};
    let code = error.code().code();
    match code {
        "57014" => {
            let detail = format!(
                "Reading table {table} took too long: check for a missing index on the column of the ids"
            );
            return (Temporary, detail);
        }
        "55P03" => return (Temporary, locked(table)),
        _ => {}
    }
    if error.routine() == Some(ROW_SECURITY) {
        return (Denied, hidden(table));
    }
    if !is_raised(error)
        && let Some(passing) = passing(code, table)
    {
        return passing;
    }
    let does = what_it_does(code);
    if is_set_off(error) {
        let who = match function_in(error) {
            Some(function) => format!("Function `{function}`, which reading table {table} calls,"),
            None => format!("A view, a policy or a function behind table {table}"),
        };
        return (KeptObject, format!("{who} {does}"));
    }
    match code.get(..2).unwrap_or_default() {
        _ if ENCODING.contains(&code) => of_the_statement(error, table),
        "21" | "22" | "P0" => (
            KeptObject,
            format!("A view, a policy or a function behind table {table} {does}"),
        ),
        _ => of_the_statement(error, table),
    }
}

fn locked(table: &str) -> String {
    format!("Rows of table {table} are locked by other transactions")
}

/// Sorts the errors that may pass, whatever the statement, by SQLSTATE ("PostgreSQL Error Codes",
/// appendix A of the manual).
fn passing(code: &str, table: &str) -> Option<(VectorErrorKind, String)> {
    use VectorErrorKind::{Temporary, Throttled};
    let (kind, detail) = match (code, code.get(..2).unwrap_or_default()) {
        // The server, the database or the user has too many connections.
        ("53300" | "53400", _) => (Throttled, "The vector store has too many connections"),
        ("53100", _) => (Temporary, "The vector store's disk is full"),
        ("53200", _) => (Temporary, "The vector store is out of memory"),
        ("40001" | "40P01", _) => return Some((Temporary, locked(table))),
        (_, "08" | "53" | "57" | "58") => (
            Temporary,
            "The vector store failed to carry out the request",
        ),
        _ => return None,
    };
    Some((kind, detail.to_owned()))
}

/// Sorts an error in our own statement.
fn of_the_statement(error: &DbError, table: &str) -> (VectorErrorKind, String) {
    use VectorErrorKind::{Denied, IndexMissing, InvalidId, Temporary};
    let code = error.code().code();
    match (code, code.get(..2).unwrap_or_default()) {
        ("42P01" | "3F000", _) => (IndexMissing, format!("Table {table} does not exist")),
        ("42703", _) => (
            IndexMissing,
            format!("Table {table} does not have the expected columns"),
        ),
        ("25006", _) => (Denied, READ_ONLY.to_owned()),
        ("42501", _) => (Denied, format!("Access to table {table} is denied")),
        _ if ENCODING.contains(&code) => (
            InvalidId,
            "The encoding of the vector store's database cannot represent this id".to_owned(),
        ),
        ("42883" | "42804", _) => (
            Temporary,
            format!("The column types of table {table} changed"),
        ),
        ("55000" | "42809", _) => (Denied, format!("Table {table} does not allow deletes")),
        (_, "42" | "0A" | "P0") => (
            Denied,
            format!("PostgreSQL rejects the statement on table {table} (SQLSTATE {code})"),
        ),
        _ => (
            Temporary,
            format!("The vector store failed to carry out the request (SQLSTATE {code})"),
        ),
    }
}

/// The detail for rows that may be hidden.
pub(super) fn hidden(table: &str) -> String {
    format!(
        "Row security of table {table}, or of a table behind it, may hide rows from the role: give the role BYPASSRLS, or add row_security=on to the store's URL to treat hidden rows as absent"
    )
}

/// Whether a function raised the error by `RAISE`, which may use any SQLSTATE.
fn is_raised(error: &DbError) -> bool {
    error.routine() == Some(RAISE)
}

/// Whether the error is in the text of our own statement, because it does not fit the table. For
/// such an error the server gives a position.
fn is_of_the_text(error: &DbError) -> bool {
    error.position().is_some() && !is_set_off(error)
}

/// Whether the error came from something that the statement set off: a trigger, a rule, a policy, a
/// foreign key's action or a foreign server. For such an error the server gives the context,
/// innermost first. It also gives a context for a parameter that it cannot decode.
fn is_set_off(error: &DbError) -> bool {
    let is_of_a_parameter = ENCODING.contains(&error.code().code()) && function_in(error).is_none();
    error.where_().is_some() && !is_of_a_parameter
}

/// The detail for an error that came from something that the delete set off.
fn of_what_was_set_off(error: &DbError, table: &str) -> String {
    let context = error.where_().unwrap_or_default();
    let who = match (function_in(error), acting_table(context)) {
        (Some(function), None) => {
            format!(
                "Function `{function}`, which a trigger, rule or policy of table {table} calls,"
            )
        }
        (Some(function), Some(other)) => format!(
            "Function `{function}`, which table `{other}` calls when its foreign key acts on a delete from table {table},"
        ),
        (None, Some(other)) => {
            format!("The foreign key of table `{other}` that acts on a delete from table {table}")
        }
        (None, None) => format!("A trigger, a rule or a foreign table behind table {table}"),
    };
    let does = match (error.constraint(), error.table()) {
        // `RAISE` may set these to anything.
        (Some(constraint), Some(of)) if !is_raised(error) => {
            format!("breaks constraint `{constraint}` of table `{of}`")
        }
        _ => what_it_does(error.code().code()),
    };
    format!("{who} {does}")
}

/// The detail for a constraint that prevents the delete.
fn by_constraint(error: &DbError, table: &str) -> String {
    let of = |what: Option<&str>| what.map_or(String::new(), |what| format!(" `{what}`"));
    let (constraint, other) = (of(error.constraint()), of(error.table()));
    match error.code().code() {
        "23503" | "23001" if !other.is_empty() => {
            format!("Foreign key{constraint} of table{other} keeps the object in table {table}")
        }
        _ if !other.is_empty() => {
            format!("Constraint{constraint} of table{other} keeps the object in table {table}")
        }
        _ => format!("A constraint of the database keeps the object in table {table}"),
    }
}

fn what_it_does(code: &str) -> String {
    let does = match (code, code.get(..2).unwrap_or_default()) {
        ("P0001", _) => "raises an error",
        ("42501", _) => "is denied access to something that it uses",
        ("42P01", _) => "uses a table that does not exist",
        ("3F000", _) => "uses a schema that does not exist",
        ("42703", _) => "uses a column that does not exist",
        ("42883", _) => "uses a function or an operator that does not exist",
        (_, "22") => "meets a value that it cannot use",
        (_, "23") => "breaks a constraint",
        _ => return format!("fails (SQLSTATE {code})"),
    };
    format!("{does} (SQLSTATE {code})")
}

/// The outermost function in an error's context: the one that a trigger, a rule or a policy calls.
/// A line that names a function contains its programming language (`PL/…`) and its signature,
/// whatever the language of the server's messages.
fn function_in(error: &DbError) -> Option<&str> {
    let line = error.where_()?.lines().rfind(|line| line.contains("PL/"))?;
    let is_part_of_a_name = |c: char| c.is_alphanumeric() || "_$.\"".contains(c);
    let signature = line.split_once('(').map(|(before, _)| before);
    let name = match signature {
        Some(before) => before.rsplit(|c| !is_part_of_a_name(c)).next()?,
        // PL/Perl and PL/Python give only the name, quoted.
        None => line.split('"').nth(1)?,
    };
    let is_name = (1..=128).contains(&name.len()) && name.chars().all(is_part_of_a_name);
    let is_whole = name.matches('"').count() % 2 == 0;
    (is_name && is_whole).then_some(name)
}

/// The table whose foreign key acts on the delete. It is in the statement that the action runs:
/// `DELETE FROM ONLY "schema"."table" WHERE $1 OPERATOR(…`, or an `UPDATE`.
fn acting_table(context: &str) -> Option<&str> {
    let (before, after) = context.split_once(" WHERE $1 OPERATOR(pg_catalog.")?;
    // A function further out caused the action, not the delete itself.
    if after.contains("PL/") {
        return None;
    }
    let starts = ["DELETE FROM ", "UPDATE "];
    let after = starts
        .iter()
        .find_map(|start| Some(before.rsplit_once(start)?.1))?;
    let (table, rest) = after.split_once("\".\"")?.1.split_once('"')?;
    let is_whole = !rest.starts_with('"');
    let table = Some(table).filter(|_| is_whole)?;
    (1..=63).contains(&table.len()).then_some(table)
}

/// The kind and the detail for an error without a response of the server. `lost`: the kind if the
/// connection was lost.
fn without_code(error: &tokio_postgres::Error, lost: VectorErrorKind) -> (VectorErrorKind, String) {
    use VectorErrorKind::Denied;
    if let Some(error) = cause::<rustls::Error>(error) {
        return (Denied, of_the_handshake(error).to_owned());
    }
    if cause::<std::io::Error>(error).is_some() || error.is_closed() {
        let detail = "The vector store is out of reach, or closed the connection";
        return (lost, detail.to_owned());
    }
    // The library distinguishes these only by their text.
    let detail = match error.to_string().as_str() {
        "error performing TLS handshake" => "The vector store does not offer TLS",
        "invalid configuration" => "The vector store requires a password, and none is configured",
        "authentication error" => {
            "The vector store requires an authentication method that is not supported"
        }
        _ => {
            let detail = "The vector store sent an unexpected response";
            return (lost, detail.to_owned());
        }
    };
    (Denied, detail.to_owned())
}

/// The detail for a TLS handshake that failed.
fn of_the_handshake(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Bad;
    match error {
        // A bad signature: an authority of that name is trusted, but with another key.
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "The vector store's certificate is signed by an authority that is not trusted: add sslrootcert to the store's URL, with a file of the authority's certificate"
        }
        rustls::Error::InvalidCertificate(
            Bad::NotValidForName | Bad::NotValidForNameContext { .. },
        ) => {
            "The vector store's certificate is for another host: write a host that it names in the store's URL"
        }
        rustls::Error::InvalidCertificate(
            Bad::Expired
            | Bad::ExpiredContext { .. }
            | Bad::NotValidYet
            | Bad::NotValidYetContext { .. },
        ) => {
            "The vector store's certificate has expired or is not valid yet: renew it at the server"
        }
        _ => {
            "The TLS handshake with the vector store failed: check its certificate and its versions of TLS (1.2 or 1.3)"
        }
    }
}

/// The first cause of this type. It may be the error inside an I/O error, which is not its
/// `source`.
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
