//! `cargo run`: Deletion Tasks on one machine.

use local::signals::Signals;
use local::{cli, logs, output};
use std::error::Error;
use std::process::ExitCode;

/// The exit code that a shell reports for a program killed by Ctrl-C.
const KILLED: i32 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let _logs = logs::init(arguments.log_level());
    let (print, _events) = output::events();
    match run(arguments.options(print)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::fail(error);
            ExitCode::FAILURE
        }
    }
}

async fn run(options: local::Options) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::catch()?;
    let running = tokio::select! {
        () = signals.next() => return Ok(()),
        running = local::start(options) => running?,
    };
    output::announce(&running);
    signals.next().await;
    tokio::select! {
        () = running.shutdown() => Ok(()),
        () = signals.next() => std::process::exit(KILLED),
    }
}
