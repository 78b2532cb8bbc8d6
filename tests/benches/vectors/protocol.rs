//! Measures the ids deleted per second over the store protocol: by the whole service, and by a bare
//! client of the same bridge.

use crate::Row;
use crate::bare::{BATCH, CONCURRENCY};
use crate::data::ids;
use crate::timed::{MODEL, Sample, service, time};
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use shared::clock::Clock;
use std::time::Duration;
use tests::bench::table::{number, row};
use tests::bench::{median, range};
use tests::bridge::Bridge;
use tokio::net::TcpStream;

/// Measures both in turn, several times.
pub(crate) async fn measure(quick: bool) -> Vec<Row> {
    let (objects, times) = if quick { (20_000, 1) } else { (100_000, 5) };
    let ids = ids(objects);
    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    for time_number in 1..=times {
        eprintln!("store protocol, {time_number} of {times}");
        let bridge = filled(&ids).await;
        whole.push(service(&bridge.url(), objects).await);
        assert!(bridge.left(MODEL).is_empty());
        let bridge = filled(&ids).await;
        bare.push(time(in_batches(&bridge, &ids)).await);
        assert!(bridge.left(MODEL).is_empty());
    }
    let rate =
        |samples: &[Sample]| objects as f64 / median(samples.iter().map(|sample| sample.elapsed));
    let rows = [
        ("the service", &whole),
        ("bare client, the same batches", &bare),
    ];
    let rows = rows.map(|(who, samples)| {
        let (least, most) = range(samples.iter().map(|sample| sample.elapsed));
        row([
            ("store protocol", who.into()),
            ("ids", objects.into()),
            ("times", samples.len().into()),
            ("seconds", format!("{least:.2} to {most:.2}").into()),
            ("ids a second", number(rate(samples), 0)),
            ("× bare", number(rate(samples) / rate(&bare), 2)),
        ])
    });
    rows.into()
}

async fn filled(ids: &[String]) -> Bridge {
    let bridge = Bridge::start(&[MODEL]).await;
    bridge.put(MODEL, ids);
    bridge
}

/// Deletes in the service's batches, several at once: an existence check and a delete for each.
async fn in_batches(bridge: &Bridge, ids: &[String]) {
    let url: Uri = bridge.url().parse().expect("a URL");
    let batches: Vec<_> = ids.chunks(BATCH).collect();
    let shares = (0..CONCURRENCY).map(|number| {
        let batches = batches.iter().skip(number).step_by(CONCURRENCY);
        let url = &url;
        async move {
            let authority = url.authority().expect("a host").as_str();
            let stream = TcpStream::connect(authority).await.expect("the bridge");
            let handshake = http1::handshake(TokioIo::new(stream)).await;
            let (mut client, connection) = handshake.expect("HTTP");
            tokio::spawn(connection);
            for batch in batches {
                let present = json!({"index": MODEL, "ids": batch});
                let present = call(&mut client, url, "present", &present).await;
                assert_eq!(present["present"], json!(vec![true; batch.len()]));
                let not_after = (Clock::System.now() + Duration::from_secs(10)).to_rfc3339();
                let delete = json!({"index": MODEL, "ids": batch, "not_after": not_after});
                let deleted = call(&mut client, url, "delete", &delete).await;
                assert_eq!(deleted["outcomes"], json!(vec!["gone"; batch.len()]));
            }
        }
    });
    join_all(shares).await;
}

async fn call(
    client: &mut http1::SendRequest<Full<Bytes>>,
    url: &Uri,
    operation: &str,
    body: &Value,
) -> Value {
    let request = Request::post(format!("{}/{operation}", url.path()))
        .header("host", url.authority().expect("a host").as_str())
        .header("content-type", "application/json")
        .header("deletion-tasks-protocol", "1")
        .body(Full::from(body.to_string()));
    client.ready().await.expect("a connection");
    let response = client.send_request(request.expect("a request")).await;
    let body = response.expect("a response").into_body().collect().await;
    serde_json::from_slice(&body.expect("a body").to_bytes()).expect("JSON")
}
