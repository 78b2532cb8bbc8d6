//! Tests of the built runner as a process: held connections, unread logs, signals, requests from
//! other origins.
#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails there"
)]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A generous limit for steps that take milliseconds.
const LONG: Duration = Duration::from_secs(20);

/// A runner and the addresses of its four listeners. Dropping this kills it.
struct Runner {
    child: Child,
    /// The lines that it prints after `Ready`. They stay unread unless a test reads them.
    said: Lines<BufReader<ChildStdout>>,
    api: SocketAddr,
    others: Vec<SocketAddr>,
}

impl Runner {
    /// Starts a runner with these additional arguments. Its log is a pipe that nobody reads.
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_deletion-tasks"))
            .args(["--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the runner can be run");
        let mut said = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut addresses = Vec::new();
        for line in said.by_ref() {
            let line = line.expect("a line");
            if line.contains("Ready") {
                break;
            }
            let is_address = line.starts_with("API ") || line.starts_with("AWS_ENDPOINT_URL_");
            if let Some((_, address)) = line.split_once("http://").filter(|_| is_address) {
                addresses.push(address.parse().expect("an address"));
            }
        }
        let [api, others @ ..] = addresses.as_slice() else {
            panic!("it printed no address");
        };
        Self {
            child,
            said,
            api: *api,
            others: others.to_vec(),
        }
    }

    fn create(&self, id: &str) -> String {
        let body = format!(
            r#"{{"embedding_model_id":"embed-456","task_id":"{id}","object_ids":["obj-2"]}}"#
        );
        call(self.api, "POST", "/internal/deletion-tasks/run", &body)
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill can be run").success());
    }

    fn has_ended(&mut self) -> bool {
        for _ in 0..LONG.as_millis() / 20 {
            if self.child.try_wait().expect("a state").is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes one call on its own connection, and returns the whole response.
fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = connect(address);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("it is sent");
    stream.write_all(body.as_bytes()).expect("it is sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LONG).expect("it connects");
    stream.set_read_timeout(Some(LONG)).expect("a time limit");
    stream.set_write_timeout(Some(LONG)).expect("a time limit");
    stream
}

/// How many files this process may open: its limit on Linux, a small guess elsewhere.
fn may_open() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(256)
}

#[test]
fn ten_thousand_unfinished_connections_stop_no_caller() {
    let runner = Runner::start(&[]);
    let mut all = vec![runner.api];
    all.extend(&runner.others);
    let parts: [&[u8]; 4] = [
        b"",
        b"POST /internal/deletion-tasks/run HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /internal/deletion-tasks/run HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
        b"POST /internal/deletion-tasks/run HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    // Hold all connections, or as many as this process may have open files.
    let most = may_open().saturating_sub(200);
    let mut held = VecDeque::new();
    for (number, part) in parts.iter().cycle().take(10_000).enumerate() {
        let mut stream = connect(all[number / 4 % all.len()]);
        // The runner may have closed it to make room.
        let _ = stream.write_all(part);
        held.push_back(stream);
        if held.len() > most {
            held.pop_front();
        }
        if number % 1_000 == 999 {
            let response = runner.create(&format!("task-{number}"));
            assert!(response.starts_with("HTTP/1.1 200"), "{number}: {response}");
        }
    }
    for address in all {
        let response = call(address, "GET", "/", "");
        assert!(response.starts_with("HTTP/1.1 "), "{address}: {response}");
    }
}

#[test]
fn each_change_of_a_tasks_status_is_printed_as_the_event_that_eventbridge_has() {
    let mut runner = Runner::start(&[]);
    runner.create("task-1");
    for status in ["pending", "processing", "done"] {
        let line = runner.said.next().expect("a line").expect("UTF-8");
        let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            event["detail-type"], "Deletion Task Status Change",
            "{line}"
        );
        assert_eq!(event["detail"]["id"], "task-1", "{line}");
        assert_eq!(event["detail"]["status"], status, "{line}");
    }
}

#[test]
fn what_it_says_and_nobody_reads_stops_neither_a_caller_nor_the_end() {
    let mut runner = Runner::start(&["--log-level", "debug"]);
    // More than a pipe holds, which is 64 KB.
    for number in 0..400 {
        let response = runner.create(&format!("task-{number}"));
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    }
    runner.signal("TERM");
    assert!(runner.has_ended());
}

#[test]
fn each_signal_that_asks_it_to_end_ends_it() {
    for signal in ["TERM", "HUP", "INT"] {
        let mut runner = Runner::start(&[]);
        runner.signal(signal);
        assert!(runner.has_ended(), "{signal}");
    }
}

#[test]
fn every_listener_refuses_requests_for_other_hosts_and_from_other_origins() {
    let runner = Runner::start(&["--allow-host", "dev.example"]);
    let mut all = vec![runner.api];
    all.extend(&runner.others);
    for address in all {
        for (headers, status) in [
            ("Host: evil.example", "403"),
            ("Host: localhost\r\nOrigin: http://evil.example", "403"),
            ("Host: localhost\r\nSec-Fetch-Site: cross-site", "403"),
            ("Host: dev.example\r\nOrigin: http://dev.example", ""),
        ] {
            for method in ["GET", "POST", "PUT", "OPTIONS"] {
                let mut stream = connect(address);
                let request = format!(
                    "{method} /internal/deletion-tasks/list HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n"
                );
                stream.write_all(request.as_bytes()).unwrap();
                let mut response = String::new();
                stream.read_to_string(&mut response).unwrap();
                let is_refused = response.starts_with("HTTP/1.1 403");
                assert_eq!(
                    is_refused,
                    !status.is_empty(),
                    "{address} {headers}: {response}"
                );
                let lets_in = response.to_ascii_lowercase();
                assert!(!lets_in.contains("access-control-allow"), "{response}");
                if is_refused {
                    assert!(response.contains("application/problem+json"), "{response}");
                }
            }
        }
    }
}
