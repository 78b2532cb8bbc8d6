//! The command line of Deletion Tasks: `dtask --help`.
//!
//! `args.rs` defines the commands. `run.rs`, `wait.rs`, `info.rs`, `outcomes.rs`, `control.rs` and
//! `console.rs` carry them out. They call the service through `api.rs`, read ids through `ids.rs`,
//! and name the parts of a task through `parts.rs`.

mod api;
mod args;
mod console;
mod control;
mod error;
mod ids;
mod info;
mod outcomes;
mod parts;
mod run;
mod screen;
mod session;
mod shell;
mod show;
mod wait;
mod when;

use args::{Arguments, Command};
use clap::{CommandFactory, Parser};
use error::Error;
use screen::safe_lines;
use session::Session;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::file("The program cannot start")(error)),
    };
    // The TLS provider of the SDK and reqwest.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = runtime.block_on(carry_out(arguments));
    // A thread may still wait for standard input.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn carry_out(arguments: Arguments) -> Result<(), Error> {
    if let Command::Completions { shell } = arguments.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "dtask", &mut script);
        return Ok(std::io::stdout().write_all(&script)?);
    }
    let session = Session::open(&arguments.connection, arguments.json).await?;
    let command = async {
        match arguments.command {
            Command::Run(run) => run::run(&session, run).await,
            Command::Wait(named) => wait::wait(&session, &named.name).await,
            Command::Info(named) => info::info(&session, &named.name).await,
            Command::List(list) => info::list(&session, list).await,
            Command::Outcomes(outcomes) => outcomes::outcomes(&session, outcomes).await,
            Command::Restart(restart) => control::restart(&session, restart).await,
            Command::Cancel(cancel) => control::cancel(&session, cancel).await,
            Command::Console { port } => console::serve(&session, port).await,
            Command::Completions { .. } => Ok(()),
        }
    };
    let result = tokio::select! {
        result = command => result,
        _ = tokio::signal::ctrl_c() => session.interrupted(),
    };
    session.screen.clear();
    result.map_err(|error| session.explained(error))
}

/// Prints why the command ends.
fn fail(error: &Error) -> ExitCode {
    let text = error.to_string();
    if !matches!(error, Error::OutputClosed) && !text.is_empty() {
        let _ = writeln!(
            anstream::stderr(),
            "\x1b[31merror:\x1b[0m {}",
            safe_lines(&text)
        );
    }
    error.exit_code()
}
