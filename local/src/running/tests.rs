use super::*;
use crate::options::Ports;
use lambda_http::{Body, Request, http};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::SystemTime;
use tokio::net::TcpStream;

/// Calls the API without HTTP.
async fn call(running: &Running, method: &str, path: &str, body: Body) -> Value {
    let request = http::Request::builder()
        .method(method)
        .uri(format!("/internal/deletion-tasks{path}"));
    let request: Request = request.body(body).unwrap();
    let response = running.handlers.api.handle(request).await;
    assert_eq!(response.status(), 200, "{:?}", response.body());
    serde_json::from_slice(response.body()).unwrap()
}

async fn create(running: &Running, id: &str, objects: &[&str]) {
    let body = json!({"embedding_model_id": "embed-456", "task_id": id, "object_ids": objects});
    call(running, "POST", "/run", body.to_string().into()).await;
}

async fn info(running: &Running, id: &str) -> Value {
    call(running, "GET", &format!("/info?task_id={id}"), Body::Empty).await
}

/// Waits until a task is done, and returns it.
async fn done(running: &Running, id: &str) -> Value {
    let done = async {
        loop {
            let task = info(running, id).await;
            if task["status"] == "done" {
                return task;
            }
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, done).await.unwrap()
}

/// A directory that no other test uses, removed at the end.
struct Directory(PathBuf);

impl Directory {
    #[allow(clippy::disallowed_methods, reason = "for a name, not for the time")]
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let name = format!(
            "deletion-tasks-{}-{}",
            std::process::id(),
            now.unwrap().as_nanos()
        );
        Self(std::env::temp_dir().join(name))
    }

    fn options(&self) -> Options {
        Options {
            data: Some(self.0.clone()),
            ..Options::default()
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn the_first_example_gives_the_documented_response() {
    let running = start(Options::default()).await.unwrap();
    create(&running, "delete-xyz", &["obj-1", "obj-2"]).await;
    let task = done(&running, "delete-xyz").await;
    assert_eq!(
        task["failed_item_ids"],
        json!([{"object_id": "obj-2", "detail": "Object not found in index"}])
    );
    assert_eq!(
        task["progress"],
        json!({"total": 2, "deleted": 1, "failed": 1, "remaining": 0})
    );
    running.shutdown().await;
}

#[tokio::test]
async fn without_a_worker_and_a_sweeper_a_task_stays_pending() {
    let options = Options {
        worker_concurrency: 0,
        sweep_interval: None,
        ..Options::default()
    };
    let running = start(options).await.unwrap();
    create(&running, "waits", &["obj-1"]).await;
    let call = running
        .clients
        .sqs
        .receive_message()
        .queue_url(&running.queue_url);
    let response = call.wait_time_seconds(5).send().await.unwrap();
    assert_eq!(response.messages().len(), 1);
    assert_eq!(info(&running, "waits").await["status"], "pending");
    running.shutdown().await;
}

#[tokio::test]
async fn tasks_in_a_directory_outlive_the_run_and_belong_to_one_runner_at_a_time() {
    let directory = Directory::new();
    let running = start(directory.options()).await.unwrap();
    create(&running, "kept", &["obj-1"]).await;
    done(&running, "kept").await;
    let second = start(directory.options()).await;
    let error = second.unwrap_err().to_string();
    assert!(error.contains("another runner uses it"), "{error}");
    running.shutdown().await;

    let running = start(directory.options()).await.unwrap();
    assert_eq!(info(&running, "kept").await["status"], "done");
    running.shutdown().await;
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_a_directory_of_tasks() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let directory = Directory::new();
    for round in ["created", "found open to others"] {
        let running = start(directory.options()).await.unwrap();
        create(&running, round.split(' ').next().unwrap(), &["obj-1"]).await;
        assert_eq!(mode(&directory.0), 0o700, "{round}");
        let entries: Vec<_> = fs::read_dir(&directory.0).unwrap().collect();
        assert!(entries.len() >= 2, "{entries:?}");
        for entry in entries {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{round}: {}", path.display());
        }
        running.shutdown().await;
        for entry in fs::read_dir(&directory.0).unwrap() {
            fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o644)).unwrap();
        }
        fs::set_permissions(&directory.0, Permissions::from_mode(0o755)).unwrap();
    }
    // The permissions of a directory that holds other files are not changed.
    fs::write(directory.0.join("notes"), "").unwrap();
    start(directory.options()).await.unwrap().shutdown().await;
    assert_eq!(mode(&directory.0), 0o755);
    assert_eq!(mode(&directory.0.join("tasks.db")), 0o600);
}

#[tokio::test]
async fn a_first_run_that_was_killed_before_it_had_its_table_starts_over() {
    let directory = Directory::new();
    std::fs::create_dir(&directory.0).unwrap();
    for file in ["new", "tasks.db"] {
        std::fs::write(directory.0.join(file), "").unwrap();
    }
    start(directory.options()).await.unwrap().shutdown().await;
    assert!(!directory.0.join("new").exists());
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let directory = Directory::new();
    std::fs::write(&directory.0, "a file").unwrap();
    let error = start(directory.options()).await.unwrap_err().to_string();
    std::fs::remove_file(&directory.0).unwrap();
    std::fs::create_dir(&directory.0).unwrap();
    std::fs::write(directory.0.join("tasks.db"), "no database").unwrap();
    let damaged = start(directory.options()).await.unwrap_err().to_string();
    std::fs::write(directory.0.join("tasks.db"), "").unwrap();
    let empty = start(directory.options()).await.unwrap_err().to_string();
    for (error, reason) in [
        (error, "it is not a directory"),
        (damaged, "its tasks.db is damaged"),
        (empty, "its tasks.db is empty, so it is damaged"),
    ] {
        assert!(
            error.contains(reason) && error.contains("--data"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_flag_and_free_again_after_shutdown() {
    let first = start(Options::default()).await.unwrap();
    for flag in [
        "--port",
        "--dynamodb-port",
        "--sqs-port",
        "--s3vectors-port",
    ] {
        let mut ports = Ports::default();
        let (chosen, taken) = match flag {
            "--port" => (&mut ports.api, first.api),
            "--dynamodb-port" => (&mut ports.dynamodb, first.dynamodb),
            "--sqs-port" => (&mut ports.sqs, first.sqs),
            _ => (&mut ports.s3vectors, first.s3vectors),
        };
        *chosen = taken.port();
        let options = Options {
            ports,
            ..Options::default()
        };
        let error = start(options).await.unwrap_err().to_string();
        assert!(
            error.contains(&taken.port().to_string()) && error.contains(flag),
            "{error}"
        );
    }
    let addresses = [first.api, first.dynamodb, first.sqs, first.s3vectors];
    first.shutdown().await;
    for address in addresses {
        TcpStream::connect(address).await.unwrap_err();
    }
}

#[tokio::test]
async fn every_bad_setting_is_named_and_an_empty_one_is_the_default() {
    let settings = |pairs: &[(&str, &str)]| Options {
        settings: pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Options::default()
    };
    let bad = [("VECTOR_STORES", "{"), ("RETENTION_DAYS", "0")];
    let error = start(settings(&bad)).await.unwrap_err().to_string();
    assert_eq!(error.lines().count(), 2, "{error}");
    for (name, _) in bad {
        assert!(error.contains(name), "{error}");
    }
    let running = start(settings(&[("VECTOR_STORES", ""), ("LIST_SHARDS", " ")])).await;
    running.unwrap().shutdown().await;
}
