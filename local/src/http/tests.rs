use super::*;
use lambda_http::RequestExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use web::listen;

/// Responds with the request's method, its URI and the length of its body.
async fn echo(request: lambda_http::Request) -> lambda_http::Response<Body> {
    let text = format!(
        "{} {} {}",
        request.method(),
        request.uri(),
        request.body().len()
    );
    lambda_http::Response::new(Body::Text(text))
}

async fn start() -> ApiServer {
    ApiServer::start(listen(0, "").await.unwrap(), Guard::default(), echo).unwrap()
}

async fn connect(server: &ApiServer) -> TcpStream {
    TcpStream::connect(server.address()).await.unwrap()
}

/// Sends `head` (without its `Host` and its last empty line) and `body`, and reads until the server
/// closes.
async fn exchange(server: &ApiServer, head: &str, body: &[u8]) -> String {
    let mut stream = connect(server).await;
    stream
        .write_all(format!("{head}\r\nHost: localhost\r\n\r\n").as_bytes())
        .await
        .unwrap();
    stream.write_all(body).await.unwrap();
    let mut response = String::new();
    let read = timeout(
        Duration::from_secs(20),
        stream.read_to_string(&mut response),
    )
    .await;
    read.expect("the server does not close").unwrap();
    response
}

fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn a_handler_sees_the_request_as_it_was_sent() {
    let server = start().await;
    let head = "PUT /a%2Fb?x=%F0%9F%97%91&x=2 HTTP/1.1\r\nContent-Length: 3\r\nConnection: close";
    let response = exchange(&server, head, b"abc").await;
    assert!(
        response.ends_with("\r\n\r\nPUT /a%2Fb?x=%F0%9F%97%91&x=2 3"),
        "{response}"
    );
}

#[tokio::test]
async fn the_response_to_a_head_request_has_no_body() {
    let server = start().await;
    let response = exchange(&server, "HEAD / HTTP/1.1\r\nConnection: close", b"").await;
    assert!(
        response.starts_with("HTTP/1.1 200") && response.ends_with("\r\n\r\n"),
        "{response}"
    );
}

#[tokio::test]
async fn the_largest_body_is_accepted() {
    let server = start().await;
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {MAX_BODY_BYTES}\r\nConnection: close");
    let response = exchange(&server, &head, &vec![b' '; MAX_BODY_BYTES]).await;
    assert!(
        response.ends_with(&format!("POST / {MAX_BODY_BYTES}")),
        "{response}"
    );
}

#[tokio::test]
async fn the_sender_of_a_larger_body_can_read_the_refusal() {
    let server = start().await;
    for length in [MAX_BODY_BYTES + 1, 3 * MAX_BODY_BYTES] {
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {length}");
        let response = exchange(&server, &head, &vec![b' '; length]).await;
        assert_eq!(status(&response), "413");
        assert!(response.contains("application/problem+json"), "{response}");
    }
}

#[tokio::test]
async fn a_larger_body_of_undeclared_length_is_refused() {
    let server = start().await;
    let mut body = format!("{:x}\r\n", 2 * MAX_BODY_BYTES).into_bytes();
    body.extend(vec![b' '; 2 * MAX_BODY_BYTES]);
    body.extend(b"\r\n0\r\n\r\n");
    let response = exchange(
        &server,
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked",
        &body,
    )
    .await;
    assert_eq!(status(&response), "413");
}

#[tokio::test]
async fn a_caller_that_expects_100_continue_is_refused_before_it_sends() {
    let server = start().await;
    let length = MAX_BODY_BYTES + 1;
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\nExpect: 100-continue");
    let response = exchange(&server, &head, b"").await;
    assert_eq!(status(&response), "413");
}

/// The paused clock jumps to the next limit when every task is idle.
#[tokio::test(start_paused = true)]
async fn the_wait_for_a_caller_that_stops_half_way_is_bounded() {
    let server = start().await;
    for (part, ends_with) in [
        ("", ""),
        ("POST / HTTP/1.1\r\nHost: localhost\r\n", ""),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc",
            r#""detail":"The body took longer than 30 s","status":408,"title":"Request Timeout","type":"about:blank"}"#,
        ),
    ] {
        let mut stream = connect(&server).await;
        stream.write_all(part.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.ends_with(ends_with), "{part}: {response}");
        assert_eq!(
            response.is_empty(),
            ends_with.is_empty(),
            "{part}: {response}"
        );
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_stop_what_has_begun() {
    let (begun, go_on, ended) = (
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
    );
    let notes = (Arc::clone(&begun), Arc::clone(&go_on), Arc::clone(&ended));
    let handler = move |request| {
        let (begun, go_on, ended) = notes.clone();
        async move {
            begun.notify_one();
            go_on.notified().await;
            ended.notify_one();
            echo(request).await
        }
    };
    let server = ApiServer::start(listen(0, "").await.unwrap(), Guard::default(), handler).unwrap();
    let mut stream = connect(&server).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    begun.notified().await;
    stream.shutdown().await.unwrap();
    // The server also closes its side: it has dropped the connection and everything that belongs to
    // it.
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    go_on.notify_one();
    timeout(Duration::from_secs(20), ended.notified())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_handler_that_panics_is_a_generic_500_and_the_next_request_is_served() {
    let handler = |request: lambda_http::Request| async move {
        assert_ne!(request.raw_http_path(), "never");
        assert_ne!(request.uri().path(), "/panic", "this panic is wanted");
        echo(request).await
    };
    let server = ApiServer::start(listen(0, "").await.unwrap(), Guard::default(), handler).unwrap();
    let response = exchange(&server, "GET /panic HTTP/1.1\r\nConnection: close", b"").await;
    assert_eq!(status(&response), "500");
    assert!(
        response.contains("application/problem+json") && !response.contains("panic"),
        "{response}"
    );
    let response = exchange(&server, "GET / HTTP/1.1\r\nConnection: close", b"").await;
    assert_eq!(status(&response), "200");
}

#[tokio::test]
async fn shutdown_waits_for_a_request_for_a_bounded_time() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let notes = (Arc::clone(&begun), Arc::clone(&go_on));
    let handler = move |request| {
        let (begun, go_on) = notes.clone();
        async move {
            begun.notify_one();
            go_on.notified().await;
            echo(request).await
        }
    };
    for finishes in [true, false] {
        let server = ApiServer::start(
            listen(0, "").await.unwrap(),
            Guard::default(),
            handler.clone(),
        )
        .unwrap();
        let mut stream = connect(&server).await;
        let _idle = connect(&server).await;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        begun.notified().await;
        let ended = tokio::spawn(server.shutdown());
        tokio::task::yield_now().await;
        if finishes {
            go_on.notify_one();
        }
        timeout(GRACE * 3, ended).await.unwrap().unwrap();
        let mut response = String::new();
        let _ = stream.read_to_string(&mut response).await;
        assert_eq!(response.starts_with("HTTP/1.1 200"), finishes, "{response}");
    }
}
