//! Counts instructions, with valgrind's callgrind, and memory.
//!
//! It counts until a function asks for its first event, and until it has responded to its first
//! event, with DynamoDB and SQS behind TLS.

use super::build::{Binary, Kind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local::Running;
use std::path::PathBuf;
use std::process::Command as Program;
use tests::bench;
use tests::bench::callgrind::Callgrind;
use tests::bus::Bus;
use tests::runtime_api::{Function, event};
use tests::tls::{Certificate, Https};
use tokio::process::Command;

/// The files in which distributions keep the system's roots.
const BUNDLES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// The point at which to stop counting.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    FirstNext,
    FirstAnswer(Roots),
}

/// The roots that the function trusts. The services' authority is added to them in a file that
/// replaces the system's. So here a function reads Amazon's roots from text, which takes more than
/// its built-in roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    Amazon,
    System,
}

impl Roots {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Amazon => "Amazon's roots",
            Self::System => "the system's roots",
        }
    }
}

/// The roots with which the first request of a binary is counted. `hello` makes no call.
pub(super) fn roots_of(binary: &Binary) -> &'static [Roots] {
    match binary.kind {
        Kind::Hello | Kind::Background => &[],
        Kind::Defaults => &[Roots::System],
        Kind::Api => &[Roots::Amazon, Roots::System],
    }
}

/// The counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) instructions: u64,
    /// The peak of the resident memory (`VmHWM`), including files that other processes may share.
    pub(super) peak_kilobytes: u64,
    /// The memory that was resident at the end and belongs to no file (`RssAnon`).
    pub(super) private_kilobytes: u64,
}

/// The embedded services, each also behind TLS, and an event bus.
pub(super) struct Services {
    running: Running,
    dynamodb: Https,
    sqs: Https,
    bus: Bus,
    amazon: PathBuf,
    system: PathBuf,
}

impl Services {
    pub(super) async fn start(bus: Bus) -> Self {
        let running = bench::start(bench::services_only()).await;
        let body = event("create-deletion-task")["body"].clone();
        let body = body.as_str().expect("a text").to_owned();
        bench::run(&running, body).await; // what the other events are about
        let certificate = Certificate::of(&["localhost"]);
        let system = BUNDLES
            .iter()
            .find_map(|path| std::fs::read_to_string(path).ok());
        let system = system.expect("the system has root certificates in one file");
        let amazon = amazon_roots();
        Self {
            dynamodb: Https::before(running.dynamodb, &certificate).await,
            sqs: Https::before(running.sqs, &certificate).await,
            bus,
            amazon: certificate.authority_file("and-amazon", &amazon),
            system: certificate.authority_file("and-system", &system),
            running,
        }
    }

    /// Counts instructions in one process, under callgrind, and memory in another.
    pub(super) async fn count(&self, binary: &Binary, until: Until) -> Counted {
        eprintln!("counting {}: {until:?}", binary.name);
        let (callgrind, command) = Callgrind::of(&binary.path, &[]);
        let function = self.run(binary, command, until).await;
        let id = function.id().expect("it runs").to_string();
        // Callgrind writes its counts when its process gets a signal to end.
        let asked = Program::new("kill").arg(id).status();
        assert!(asked.expect("kill runs").success());
        function.ended().await;
        let instructions = callgrind.counts().of("Ir");

        let function = self.run(binary, Command::new(&binary.path), until).await;
        Counted {
            instructions,
            peak_kilobytes: function.memory("VmHWM").expect("Linux says"),
            private_kilobytes: function.memory("RssAnon").expect("Linux says"),
        }
    }

    async fn run(&self, binary: &Binary, command: Command, until: Until) -> Function {
        let function = &binary.function;
        let roots = match until {
            Until::FirstAnswer(Roots::System) => Some(&self.system),
            Until::FirstAnswer(Roots::Amazon) => Some(&self.amazon),
            Until::FirstNext => None,
        };
        let mut changes = vec![
            ("LOG_LEVEL", "info".to_owned()),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.url()),
            ("AWS_ENDPOINT_URL_SQS", self.sqs.url()),
            ("AWS_ENDPOINT_URL_EVENTBRIDGE", self.bus.url()),
        ];
        if let Some(roots) = roots {
            let roots = roots.to_str().expect("a path in UTF-8");
            changes.push(("SSL_CERT_FILE", roots.to_owned()));
            changes.push(("TLS_ROOTS", "system".to_owned()));
        }
        let mut process = Function::start_command(function, command, &self.running, &changes).await;
        process.ready().await;
        if roots.is_some() {
            let reply = process.call(&event(function)).await;
            assert_eq!(reply.status, 200, "{}", reply.text);
        }
        process
    }
}

/// The roots that are built into the functions, as text (RFC 7468).
fn amazon_roots() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/src/aws/roots");
    let files = std::fs::read_dir(folder).expect("a folder of the repository");
    let certificates = files.map(|file| {
        let bytes = std::fs::read(file.expect("a file").path()).expect("it can be read");
        let text = STANDARD.encode(bytes);
        let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
        let lines = lines.collect::<Vec<_>>().join("\n");
        format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
    });
    certificates.collect()
}
