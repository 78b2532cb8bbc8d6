//! The runner: requests over HTTP, from a thread of their own that writes prepared bytes and reads what comes back.

use super::tasks::Tasks;
use super::{WARM_UP, What, figures};
use crate::processor::now;
use local::{NAME, Running};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::measure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The runner's time for the tasks after the warm-up.
pub(super) async fn measure(running: &Running, tasks: &Tasks, what: What, clients: usize) -> Value {
    let requests: Vec<_> = (0..tasks.ids.len()).map(|n| tasks.request(n)).collect();
    let (warm_up, timed) = requests.split_at(WARM_UP);
    send_all(running.api, clients, warm_up.to_vec()).await;
    if what == What::Tasks {
        all_done(running).await;
    }
    let (timed, count) = (timed.to_vec(), timed.len());
    let processor = measure::processor_seconds();
    let began = Instant::now();
    let sender = send_all(running.api, clients, timed).await;
    if what == What::Tasks {
        all_done(running).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    // The sender's thread has ended, and is not among those that are summed.
    let processor = measure::processor_seconds() - processor + sender;
    figures(count, seconds, processor, sender)
}

/// Sends requests over so many connections, from a thread of its own; answers the seconds of processor time that it took.
async fn send_all(api: SocketAddr, clients: usize, requests: Vec<Vec<u8>>) -> f64 {
    let sending = move || {
        let before = now();
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().expect("a runtime");
        let requests = Arc::new(requests);
        let next = Arc::new(AtomicUsize::new(0));
        runtime.block_on(async {
            let mut senders = JoinSet::new();
            for _ in 0..clients {
                let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
                senders.spawn(async move {
                    let mut stream = TcpStream::connect(api).await.expect("the API listens");
                    stream.set_nodelay(true).expect("a socket");
                    let mut read = vec![0; 64 * 1024];
                    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                        stream.write_all(request).await.expect("it is sent");
                        answered(&mut stream, &mut read).await;
                    }
                });
            }
            while let Some(ended) = senders.join_next().await {
                ended.expect("a client's requests are answered");
            }
        });
        (now() - before) / 1e6
    };
    let sent = tokio::task::spawn_blocking(|| std::thread::spawn(sending).join());
    sent.await.expect("it ran").expect("all was answered")
}

/// Reads one answer, which must be a success. Our answers end in a line feed, after a brace.
async fn answered(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut length = 0;
    while !buffer[..length].ends_with(b"}\n") {
        let read = stream.read(&mut buffer[length..]).await.expect("an answer");
        assert!(read > 0, "a whole answer");
        length += read;
    }
    assert!(buffer.starts_with(b"HTTP/1.1 200 "), "a success");
}

/// Waits until no task is open.
async fn all_done(running: &Running) {
    measure::until(Instant::now(), async || {
        for status in ["pending", "processing"] {
            for shard in 0..4 {
                let query = running.clients.dynamodb.query().table_name(NAME);
                let query = query.index_name(shared::store::INDEX_NAME).limit(1);
                let partition = format!("{status}#{shard}");
                let query = query.key_condition_expression("list_pk = :partition");
                let value = aws_sdk_dynamodb::types::AttributeValue::S(partition);
                let query = query.expression_attribute_values(":partition", value);
                let found = query.send().await.expect("DynamoDB answers");
                if found.count > 0 {
                    return false;
                }
            }
        }
        true
    })
    .await;
}
