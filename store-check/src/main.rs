//! Checks a store that speaks the store protocol: `cargo run -p store-check -- --help`.
#![allow(
    clippy::print_stderr,
    clippy::panic,
    reason = "a program for a terminal, which catches the panics of its cases"
)]

use aws_config::SdkConfig;
use chrono::TimeDelta;
use clap::Parser;
use futures_util::FutureExt;
use shared::aws;
use shared::clock::{Clock, ManualClock};
use shared::config::{ConfigError, Environment};
use shared::vector::{Password, Services, VectorStoreRules, VectorStores};
use std::any::Any;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use store_check::scratch::{Ids, Scratch, Stores};
use store_check::{contract, every_case};
use url::Url;

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Checks a store that speaks the store protocol against the contract of all vector stores. It
/// inserts objects into a scratch index and deletes them.
///
/// Prints each case that holds, and for each one that does not, what to fix. For auth=sigv4 and
/// token_secret, set the usual AWS variables, such as AWS_ACCESS_KEY_ID.
#[derive(Debug, Parser)]
#[command(name = "store-check", version)]
struct Arguments {
    /// URL of the store, as in VECTOR_STORES, with the scratch index:
    /// https://host/path?index=scratch
    url: String,

    /// Shell command that inserts objects into the scratch index; it reads one id per line from
    /// standard input
    #[arg(long, value_name = "COMMAND")]
    insert: String,

    /// Form of the object ids
    #[arg(long, value_enum, default_value = "text")]
    ids: Ids,

    /// Token for auth=bearer
    #[arg(
        long,
        value_name = "TOKEN",
        env = "VECTOR_STORE_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let stores = match open(&arguments) {
        Ok(stores) => stores,
        Err(errors) => {
            for error in errors {
                eprintln!("error: {error}");
            }
            return ExitCode::from(2);
        }
    };
    // The table reports a case that does not hold, so the panic itself is not printed.
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = anstream::stdout();
    let mut broken = 0;
    macro_rules! check {
        (
            always { $($always:ident: $fix:literal)+ }
            late { $($late:ident: $fix_late:literal)+ }
            $($group:ident { $($unseen:ident: $about:literal)+ })+
        ) => {
            check!(@ $($always: $fix)+ $($late: $fix_late)+);
            let unseen = [$($($about),+),+].join(", ");
            let _ = writeln!(out, "\nNot checked, since it cannot be provoked from outside a store: {unseen}.");
        };
        (@ $($case:ident: $fix:literal)+) => {$(
            let case = async {
                let scratch = Scratch::new(&stores, &arguments.insert, arguments.ids).await;
                let scratch = scratch.unwrap_or_else(|error| panic!("{error}"));
                contract::$case(&scratch).await;
            };
            let name = stringify!($case).replace('_', " ");
            match AssertUnwindSafe(case).catch_unwind().await {
                Ok(()) => {
                    let _ = writeln!(out, "{GREEN}holds{PLAIN}   {name}");
                }
                Err(panic) => {
                    broken += 1;
                    let found = said(panic.as_ref()).replace('\n', "\n          ");
                    let _ = writeln!(out, "{RED}fix{PLAIN}     {name}\n          {}\n          found: {found}", $fix);
                }
            }
        )+};
    }
    every_case!(check);
    if broken == 0 {
        let _ = writeln!(out, "All of it holds.");
        ExitCode::SUCCESS
    } else {
        let _ = writeln!(out, "{broken} to fix.");
        ExitCode::FAILURE
    }
}

/// Opens the store at the URL.
fn open(arguments: &Arguments) -> Result<Stores, Vec<String>> {
    let mut other = Url::parse(&arguments.url)
        .map_err(|error| vec![format!("the URL cannot be read: {error}")])?;
    let kept = other.query_pairs().filter(|(name, _)| name != "index");
    let kept: Vec<_> = kept
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let missing = format!("store-check-missing-{}", fastrand::u64(1 << 32..));
    other
        .query_pairs_mut()
        .clear()
        .extend_pairs(kept)
        .append_pair("index", &missing);
    let parse = |url: &str| VectorStoreRules::parse(&serde_json::json!({ "*": url }).to_string());
    let (index, missing) = (parse(&arguments.url)?, parse(other.as_str())?);
    let late = parse(&arguments.url)?;
    if index.needs_token && arguments.token.is_none() {
        return Err(vec![
            "the URL has auth=bearer: set VECTOR_STORE_TOKEN".to_owned(),
        ]);
    }
    let services = Services {
        aws: aws_config(&other)?,
        password: None,
        token: arguments.token.as_deref().map(Password::new),
        clock: Clock::System,
    };
    let an_hour_ago = ManualClock::at(services.clock.now() - TimeDelta::hours(1));
    let too_late = Services {
        clock: Clock::Manual(an_hour_ago),
        ..services.clone()
    };
    Ok(Stores {
        index: VectorStores::new(index, services.clone()),
        missing: VectorStores::new(missing, services),
        late: VectorStores::new(late, too_late),
    })
}

/// Reads the AWS settings from the environment, if the URL needs AWS.
fn aws_config(url: &Url) -> Result<SdkConfig, Vec<String>> {
    let needs_aws = url
        .query_pairs()
        .any(|(name, value)| name == "token_secret" || (name == "auth" && value == "sigv4"));
    if !needs_aws {
        return Ok(aws::local_config("http://127.0.0.1:9", None));
    }
    let mut environment = Environment::process();
    let settings = environment.aws();
    let lines = |errors: ConfigError| -> Vec<_> {
        let text = errors.to_string();
        text.lines().map(str::to_owned).collect()
    };
    environment.finish().map_err(lines)?;
    Ok(aws::config(settings))
}

/// The beginning of a panic's message.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_default().chars().take(400).collect()
}
