//! What PostgreSQL and the way to it answer, by meaning: what kind of error it is, and who is to blame for it.

use crate::vector::port::{VectorError, VectorErrorKind};
use std::error::Error;
use tokio_postgres::error::{DbError, Severity};
use tokio_rustls::rustls;

/// That nothing can be deleted in a database.
pub(super) const READ_ONLY: &str = "The vector store's database is read-only: name the primary and not a read replica, or clear default_transaction_read_only";

/// The text has a character that the database's encoding does not.
const ENCODING: [&str; 2] = ["22P05", "22021"];

/// What is said where a table was looked up and is another by now.
const CHANGED: [&str; 5] = ["42P01", "3F000", "42703", "42883", "42804"];
/// The functions of PostgreSQL's source that raise an error, where the code says too little: of row security that would hide rows
/// (`rls.c`), of a publication (`execReplication.c`), and of `RAISE` (`pl_exec.c`).
const ROW_SECURITY: &str = "check_enable_rls";
const REPLICA_IDENTITY: &str = "CheckCmdReplicaIdentity";
const RAISE: &str = "exec_stmt_raise";

/// Why a statement was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server's answer to a statement that reads, or what became of the connection.
    #[error(transparent)]
    Reading(#[from] tokio_postgres::Error),
    /// The same of a statement that deletes.
    #[error(transparent)]
    Deleting(tokio_postgres::Error),
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

    /// The SQLSTATE, where the server answered with an error.
    fn code(&self) -> Option<&str> {
        self.server().map(|error| error.code().code())
    }

    /// Whether the server does not accept the password.
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
            // The server shuts down, starts up, or ends this session. A trigger may raise the same codes, and nothing is lost.
            Some(server) => server.parsed_severity() != Some(Severity::Error),
            None => error.is_closed() || cause::<std::io::Error>(error).is_some(),
        }
    }

    /// Whether the server refused the statement, so that nothing of it was done and the session goes on.
    pub(super) fn is_of_the_statement(&self) -> bool {
        self.code().is_some() && !self.is_lost_connection()
    }

    /// Whether a statement was taken back because it took too long, itself or by what it set off.
    pub(super) fn is_too_slow(&self) -> bool {
        let Self::Deleting(error) = self else {
            return false;
        };
        let server = error.as_db_error();
        server.is_some_and(|error| error.code().code() == "57014" && !is_raised(error))
    }

    /// Whether a table is not what it was when it was looked up: it is gone, was renamed, or has other types. Nothing was
    /// done then.
    pub(super) fn is_of_a_changed_table(&self) -> bool {
        let server = self.server().filter(|error| is_of_the_text(error));
        server.is_some_and(|error| CHANGED.contains(&error.code().code()))
    }

    /// Whether the reason stands in the catalog: what is denied, or why a table takes no deletes.
    pub(super) fn is_told_by_the_catalog(&self) -> bool {
        let told = ["42501", "55000", "42809"];
        let is_told = |error: &DbError| {
            told.contains(&error.code().code())
                && !is_from_inside(error)
                && ![Some(ROW_SECURITY), Some(REPLICA_IDENTITY)].contains(&error.routine())
        };
        !matches!(self, Self::LoggingIn(_)) && self.server().is_some_and(is_told)
    }

    /// Sorts it by meaning. The server's own words may hold data and are not repeated; names of functions, tables and
    /// constraints are.
    pub(super) fn about(self, table: &str) -> VectorError {
        type Sort = fn(&DbError, &str) -> (VectorErrorKind, String);
        let (error, lost, sort): (_, _, Sort) = match self {
            Self::Sorted(error) => return error,
            Self::Reading(error) => (error, VectorErrorKind::Unanswered, of_a_read),
            Self::Deleting(error) => (error, VectorErrorKind::Unanswered, of_a_delete),
            // Nothing can still be carried out.
            Self::LoggingIn(error) => (error, VectorErrorKind::Temporary, of_a_login),
        };
        let (kind, detail) = match error.as_db_error() {
            Some(server) => sort(server, table),
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

/// An error of a login. No trigger of a table has a part in it.
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
        (_, "XX") => (Temporary, "The vector store kept failing"),
        _ => {
            let detail = format!("The vector store refuses the session (SQLSTATE {code})");
            return (Denied, detail);
        }
    };
    (kind, detail.to_owned())
}

/// An error of a statement that deletes. What is not known to concern all objects alike is taken for one object's trouble: then
/// the others go, and if it is all of them they fail alike.
fn of_a_delete(error: &DbError, table: &str) -> (VectorErrorKind, String) {
    use VectorErrorKind::{Denied, KeptObject, TooSlow};
    let code = error.code().code();
    if is_raised(error) {
        return (KeptObject, from_inside(error, table));
    }
    match (code, error.routine()) {
        ("57014", _) => {
            let detail = format!(
                "Deleting from table {table} took too long: look for a slow trigger, or for a missing index on it or on a table that refers to it"
            );
            return (TooSlow, detail);
        }
        ("55P03", _) => return (TooSlow, locked(table)),
        // Switched on since the table was looked up.
        (_, Some(ROW_SECURITY)) if !is_from_inside(error) => return (Denied, hidden(table)),
        (_, Some(REPLICA_IDENTITY)) => {
            let detail = format!(
                "Table {table}, or a partition of it, takes no deletes: it is published for logical replication without a replica identity that serves (ALTER TABLE … REPLICA IDENTITY gives it one)"
            );
            return (KeptObject, detail);
        }
        _ => {}
    }
    if let Some(passing) = passing(code, table) {
        return passing;
    }
    if is_from_inside(error) {
        return (KeptObject, from_inside(error, table));
    }
    match (code, code.get(..2).unwrap_or_default()) {
        ("25006", _) => (Denied, READ_ONLY.to_owned()),
        // The catalog tells more of them.
        ("42501" | "55000" | "42809", _) => of_the_statement(error, table),
        (_, "23") => (KeptObject, by_constraint(error, table)),
        // What a rule does has no context, and neither has what the executor says of a trigger's doing.
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

/// The sentence for an error of a delete that says nothing of where it comes from.
pub(super) fn unknown(code: &str, table: &str) -> String {
    format!(
        "PostgreSQL refuses to delete the object from table {table} (SQLSTATE {code}): look at the table's rules and triggers, and into the server's log"
    )
}

/// An error of a statement that reads.
fn of_a_read(error: &DbError, table: &str) -> (VectorErrorKind, String) {
    use VectorErrorKind::{Denied, KeptObject, Temporary};
    let code = error.code().code();
    match code {
        "57014" => {
            let detail =
                format!("Reading table {table} took too long: look for a missing index on its ids");
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
    if is_from_inside(error) {
        let who = match function_in(error) {
            Some(function) => format!("Function `{function}`, which reading table {table} calls,"),
            None => format!("What table {table} is made of"),
        };
        return (KeptObject, format!("{who} {does}"));
    }
    match code.get(..2).unwrap_or_default() {
        _ if ENCODING.contains(&code) => of_the_statement(error, table),
        "21" | "22" | "P0" => (KeptObject, format!("What table {table} is made of {does}")),
        _ => of_the_statement(error, table),
    }
}

fn locked(table: &str) -> String {
    format!("Others kept the rows of table {table} locked")
}

/// What may pass, whoever ran into it. By SQLSTATE ("PostgreSQL Error Codes", appendix A of its manual).
fn passing(code: &str, table: &str) -> Option<(VectorErrorKind, String)> {
    use VectorErrorKind::{Temporary, Throttled};
    let (kind, detail) = match (code, code.get(..2).unwrap_or_default()) {
        // No room for one more connection, or more than this user may have.
        ("53300" | "53400", _) => (
            Throttled,
            "The vector store kept refusing connections, having too many",
        ),
        ("53100", _) => (Temporary, "The vector store's disk is full"),
        ("53200", _) => (Temporary, "The vector store is out of memory"),
        ("40001" | "40P01", _) => return Some((Temporary, locked(table))),
        (_, "08" | "53" | "57" | "58") => (Temporary, "The vector store kept failing"),
        _ => return None,
    };
    Some((kind, detail.to_owned()))
}

/// An error of our own statement.
fn of_the_statement(error: &DbError, table: &str) -> (VectorErrorKind, String) {
    use VectorErrorKind::{Denied, IndexMissing, InvalidId, Temporary};
    let code = error.code().code();
    match (code, code.get(..2).unwrap_or_default()) {
        ("42P01" | "3F000", _) => (IndexMissing, format!("Table {table} does not exist")),
        ("42703", _) => (
            IndexMissing,
            format!("Table {table} does not have its columns"),
        ),
        ("25006", _) => (Denied, READ_ONLY.to_owned()),
        ("42501", _) => (Denied, format!("Access to table {table} is denied")),
        _ if ENCODING.contains(&code) => (
            InvalidId,
            "The vector store's encoding cannot write this id".to_owned(),
        ),
        ("42883" | "42804", _) => (Temporary, format!("The columns of table {table} changed")),
        ("55000" | "42809", _) => (Denied, format!("Table {table} takes no deletes as it is")),
        (_, "42" | "0A" | "P0") => (
            Denied,
            format!("Table {table} refuses the statement (SQLSTATE {code})"),
        ),
        _ => (
            Temporary,
            format!("The vector store kept failing (SQLSTATE {code})"),
        ),
    }
}

/// That rows may be hidden, and what to do.
pub(super) fn hidden(table: &str) -> String {
    format!(
        "Row security of table {table}, or of one beneath it, may hide rows from the role: give the role BYPASSRLS, or add row_security=on to the store's URL, where hidden rows count as not there"
    )
}

/// Whether somebody's function raised it on purpose, with whatever code.
fn is_raised(error: &DbError) -> bool {
    error.routine() == Some(RAISE)
}

/// Whether the text of our own statement does not fit the tables: the server says where in it then.
fn is_of_the_text(error: &DbError) -> bool {
    error.position().is_some() && !is_from_inside(error)
}

/// Whether an error came from inside: from a trigger, a rule, a policy, a foreign key's action or a foreign server. The server gives its
/// context then, innermost first. It gives one for a parameter that it cannot read, too.
fn is_from_inside(error: &DbError) -> bool {
    let is_of_a_parameter = ENCODING.contains(&error.code().code()) && function_in(error).is_none();
    error.where_().is_some() && !is_of_a_parameter
}

/// The sentence for an error that came from inside.
fn from_inside(error: &DbError, table: &str) -> String {
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
        // What is raised may say anything there.
        (Some(constraint), Some(of)) if !is_raised(error) => {
            format!("breaks constraint `{constraint}` of table `{of}`")
        }
        _ => what_it_does(error.code().code()),
    };
    format!("{who} {does}")
}

/// The sentence for a constraint that keeps a row.
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

/// The outermost function in an error's context: what a trigger, a rule or a policy calls. A line that names one has its language
/// and its signature, whatever language the server speaks.
fn function_in(error: &DbError) -> Option<&str> {
    let line = error.where_()?.lines().rfind(|line| line.contains("PL/"))?;
    let is_part_of_a_name = |c: char| c.is_alphanumeric() || "_$.\"".contains(c);
    let signature = line.split_once('(').map(|(before, _)| before);
    let name = match signature {
        Some(before) => before.rsplit(|c| !is_part_of_a_name(c)).next()?,
        // PL/Perl and PL/Python quote the name alone.
        None => line.split('"').nth(1)?,
    };
    let is_name = (1..=128).contains(&name.len()) && name.chars().all(is_part_of_a_name);
    let is_whole = name.matches('"').count() % 2 == 0;
    (is_name && is_whole).then_some(name)
}

/// The table whose foreign key acts on the delete, by the statement that it runs: `DELETE FROM ONLY "schema"."table" WHERE $1
/// OPERATOR(…`, or an `UPDATE`.
fn acting_table(context: &str) -> Option<&str> {
    let (before, after) = context.split_once(" WHERE $1 OPERATOR(pg_catalog.")?;
    // A function further out set it off, not the delete itself.
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
