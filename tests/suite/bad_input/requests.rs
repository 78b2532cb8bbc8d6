//! Requests that are refused before their content is read: paths, methods, content types, sizes,
//! hang-ups.

use super::{JSON, RUN, assert_nothing_stored, post};
use hyper::header::{HeaderMap, HeaderName};
use serde_json::json;
use shared::api::{MAX_BODY_BYTES, Route};
use tests::http::Reply;
use tests::{Service, example, ids};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Opens a connection and sends these headers and this body, as a part of a request to `/run`.
async fn begin(service: &Service, headers: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(service.running.api).await.unwrap();
    let head =
        format!("POST {RUN} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream
}

/// Sends a request to `/run` with exactly these headers and this body.
async fn exchange(service: &Service, headers: &str, body: &[u8]) -> Reply {
    let mut response = String::new();
    let mut stream = begin(service, headers, body).await;
    stream.read_to_string(&mut response).await.unwrap();
    let (head, text) = response.split_once("\r\n\r\n").expect("a response");
    let (status, head) = head.split_once("\r\n").expect("a status line");
    let headers: HeaderMap = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
        .collect();
    Reply {
        status: status.split(' ').nth(1).unwrap().parse().unwrap(),
        headers,
        json: serde_json::from_str(text).unwrap_or_default(),
        text: text.to_owned(),
    }
}

/// A body in chunks (RFC 9112, section 7.1), without the last one.
fn chunks(body: &[u8]) -> Vec<u8> {
    let mut chunks = Vec::new();
    for piece in body.chunks(100_000) {
        chunks.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunks.extend_from_slice(piece);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks
}

fn all_chunks(body: &[u8]) -> Vec<u8> {
    [chunks(body), b"0\r\n\r\n".to_vec()].concat()
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[tokio::test]
async fn no_body_at_all_is_as_bad_as_an_empty_one() {
    let service = Service::start().await;
    for (headers, body) in [
        ("", &b""[..]),
        ("Content-Length: 0\r\n", b""),
        (CHUNKED, b"0\r\n\r\n"),
        ("Content-Type: application/json\r\n", b""),
    ] {
        let reply = exchange(&service, headers, body).await;
        let problem = reply.problem(400);
        assert!(
            problem["detail"].as_str().unwrap().contains("empty"),
            "{headers}"
        );
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn a_body_over_six_mebibytes_is_too_large_however_it_is_sent() {
    let service = Service::start().await;
    let mut body = example().to_string().into_bytes();
    body.resize(MAX_BODY_BYTES + 1, b' ');
    let replies = [
        post(&service, body.clone()).await,
        exchange(&service, CHUNKED, &all_chunks(&body)).await,
        post(&service, vec![b'['; 2 * MAX_BODY_BYTES]).await,
    ];
    for reply in replies {
        let problem = reply.problem(413);
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("6291456 bytes") && detail.contains("split"),
            "{detail}"
        );
    }
    assert_nothing_stored(&service).await;
    body.pop();
    post(&service, body).await.ok();
}

#[tokio::test]
async fn a_body_in_chunks_is_as_good_as_any() {
    let service = Service::start().await;
    let body = all_chunks(example().to_string().as_bytes());
    let reply = exchange(&service, CHUNKED, &body).await;
    assert_eq!(reply.ok()["id"], "delete-xyz");
}

#[tokio::test]
async fn a_caller_that_hangs_up_half_way_leaves_nothing_and_others_are_served() {
    let service = Service::start().await;
    let body = example().to_string();
    let half = &body.as_bytes()[..body.len() / 2];
    let declared = format!("Content-Length: {}\r\n", body.len());
    // The JSON is complete, but shorter than its declared length.
    let longer = format!("Content-Length: {}\r\n", body.len() + 1);
    for (headers, sent) in [
        (declared.as_str(), half.to_vec()),
        (&longer, body.clone().into_bytes()),
        (CHUNKED, chunks(half)),
        (CHUNKED, chunks(body.as_bytes())),
        (
            CHUNKED,
            [chunks(body.as_bytes()), b"0\r\n".to_vec()].concat(),
        ),
    ] {
        // The client says that no more will come, and waits for the server.
        let mut stream = begin(&service, headers, &sent).await;
        stream.shutdown().await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(
            response.is_empty() || response.starts_with("HTTP/1.1 400 "),
            "{response}"
        );
        // The client closes the connection.
        drop(begin(&service, headers, &sent).await);
        service.info("task_id=delete-xyz").await.problem(404);
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let service = Service::start().await;
    for route in Route::ALL {
        let (name, right) = (route.name(), route.method().as_str());
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PURGE",
        ] {
            if method == right {
                continue;
            }
            let path = format!("{}?task_id=t", route.path());
            let reply = service
                .send(method, &path, JSON, example().to_string())
                .await;
            assert_eq!(reply.header("allow"), Some(right), "{method} {name}");
            if method == "HEAD" {
                assert_eq!((reply.status, reply.text.as_str()), (405, ""));
                continue;
            }
            let problem = reply.problem(405);
            assert_eq!(problem["detail"], format!("Use {right} here, not {method}"));
        }
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn an_unknown_path_is_told_the_known_ones() {
    let service = Service::start().await;
    for path in [
        "/",
        "/run",
        "/internal",
        "/internal/deletion-tasks",
        "/internal/deletion-tasks/",
        "/internal/deletion-tasks/run/",
        "/internal/deletion-tasks//run",
        "//internal/deletion-tasks/run",
        "/internal/deletion-tasks/Run",
        "/Internal/Deletion-Tasks/run",
        "/internal/deletion-tasks/%72un",
        "/internal/deletion-tasks/run%20",
        "/internal/deletion-tasks/run%00",
        "/internal/deletion%2Dtasks/run",
        "/internal/deletion-tasks%2Frun",
        "/internal/deletion-tasks/./run",
        "/internal/deletion-tasks/info/../run",
        "/internal/deletion-tasks/runs",
        "/internal/deletion-tasks/run/t",
        "/internal/deletion-tasks/run;v=1",
        "/internal/deletion-tasks/%F0%9F%97%91",
    ] {
        let reply = service
            .send("POST", path, JSON, example().to_string())
            .await;
        let problem = reply.problem(404);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(path), "{detail}");
        assert!(
            detail.ends_with("are run, info, list, restart, cancel"),
            "{detail}"
        );
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn a_content_type_that_is_not_json_is_refused_and_none_is_needed() {
    let service = Service::start().await;
    let text = Some("text/plain");
    let reply = service.send("POST", RUN, text, example().to_string()).await;
    reply.problem(415);
    assert_nothing_stored(&service).await;
    for content_type in [None, JSON] {
        let body = example().to_string();
        service.send("POST", RUN, content_type, body).await.ok();
    }
}

#[tokio::test]
async fn an_encoded_body_is_refused_whatever_is_in_it() {
    let service = Service::start().await;
    let plain = example().to_string().into_bytes();
    for (coding, body) in [
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0".to_vec()),
        ("gzip", plain.clone()),
        ("br", Vec::new()),
    ] {
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", coding),
        ];
        let reply = service.send_with("POST", RUN, &headers, body).await;
        assert_eq!(reply.header("accept-encoding"), Some("identity"));
        let detail = reply.problem(415)["detail"].to_string();
        assert!(detail.contains(&format!("`{coding}`")), "{detail}");
    }
    assert_nothing_stored(&service).await;
    let identity = [("content-encoding", "identity")];
    service.send_with("POST", RUN, &identity, plain).await.ok();
}

#[tokio::test]
async fn what_no_longer_fits_in_one_chunk_is_taken_as_several() {
    let service = Service::start().await;
    let most_bytes: Vec<String> = (0..128).map(|i| format!("{i:0>1024}")).collect();
    let mut too_many_bytes = most_bytes.clone();
    too_many_bytes.push("x".to_owned());
    let mut repeated = ids("o", 500);
    repeated.extend(ids("o", 500));
    // The items are the task and, if the ids do not fit in it, the ids of each chunk.
    for (id, objects, total, items) in [
        ("most", &ids("o", 500), 500, 1),
        ("repeated", &repeated, 500, 1),
        ("longest", &most_bytes, 128, 1),
        ("one-more", &ids("o", 501), 501, 3),
        ("one-byte-more", &too_many_bytes, 129, 3),
    ] {
        let before = service.stored_items().await;
        let body = json!({"embedding_model_id": "m", "task_id": id, "object_ids": objects});
        let task = service.run(&body).await.ok();
        assert_eq!(task["progress"]["total"], total, "{id}");
        assert_eq!(service.stored_items().await - before, items, "{id}");
    }
}
