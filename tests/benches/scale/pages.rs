//! List pages over a small and a large table.

use local::{Options, Running};
use serde_json::{Value, json};
use tests::bench::meter::Meter;
use tests::bench::process::processor_seconds;
use tests::bench::{self, median};
use tests::http::{self, ROOT};
use tests::seed::tasks::fill;
use tokio::time::Instant;

/// The limit of a measured page.
const LIMIT: usize = 100;

/// Stores this many tasks, and times and counts pages of each kind, `times` times each.
pub(crate) async fn measure(tasks: usize, times: usize) -> Vec<Value> {
    let meter = Meter::default();
    let options = Options {
        sweep_interval: None,
        ..bench::unpaced(Some(meter.http_client()))
    };
    let running = bench::start(options).await;
    fill(&running, tasks).await;
    let mut rows = Vec::new();
    for filter in ["", "status=done", "embedding_model_id=rare"] {
        for (place, cursor) in places(&running, filter).await {
            let query = format!("limit={LIMIT}&{filter}{cursor}");
            list(&running, &query).await;
            let (mut taken, mut processor) = (Vec::new(), Vec::new());
            for _ in 0..times {
                let (before, began) = (processor_seconds(), Instant::now());
                list(&running, &query).await;
                taken.push(began.elapsed().as_secs_f64() * 1e3);
                processor.push((processor_seconds() - before) * 1e3);
            }
            meter.turn_on();
            let page = list(&running, &query).await;
            let tally = meter.turn_off();
            rows.push(json!({
                "what": "page",
                "tasks": tasks,
                "filter": filter,
                "place": place,
                "rows": rows_of(&page),
                "times": times,
                "median_ms": median(taken),
                "processor_ms": median(processor),
                "tally": tally.to_json(),
            }));
        }
    }
    running.shutdown().await;
    rows
}

async fn list(running: &Running, query: &str) -> Value {
    let path = format!("{ROOT}/list?{query}");
    http::send(running.api, "GET", &path, None, "").await.ok()
}

fn rows_of(page: &Value) -> usize {
    page["tasks"].as_array().map_or(0, Vec::len)
}

/// Where the first page, a middle page and the last page with rows begin. They are found page by
/// page, as by a caller.
async fn places(running: &Running, filter: &str) -> Vec<(&'static str, String)> {
    let mut begins = vec![String::new()];
    let mut last = String::new();
    loop {
        let page = list(running, &format!("limit={LIMIT}&{filter}{last}")).await;
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        last = format!("&cursor={next}");
        begins.push(last.clone());
    }
    let middle = begins.swap_remove(begins.len() / 2);
    vec![("first", String::new()), ("middle", middle), ("last", last)]
}
