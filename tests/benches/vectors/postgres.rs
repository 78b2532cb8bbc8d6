//! Ids deleted a second from PostgreSQL: by the whole service from the request to the end of the task, and by bare clients.

use crate::Row;
use crate::bare;
use crate::data::{Data, Layout, ROWS, ids};
use local::Options;
use serde_json::json;
use tests::http;
use tests::measure::{self, ROOT, median};
use tokio::time::Instant;

/// Who deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// The service, over a table of rows or EmbeddingStudio's.
    Service(Layout),
    /// A client that sends the service's batches.
    Bare,
    /// A client that deletes one row at a time.
    OneByOne,
    /// What EmbeddingStudio does, over tables of its layout.
    Studio(Layout),
}

impl Who {
    fn shown(self) -> &'static str {
        match self {
            Self::Service(Layout::Rows) => "the service, one table",
            Self::Bare => "bare client, the same batches, one table",
            Self::OneByOne => "one row at a time, one table",
            Self::Service(Layout::Studio) => "the service, EmbeddingStudio's tables",
            Self::Service(Layout::StudioIndexed) => {
                "the service, these with an index on `original_id`"
            }
            Self::Studio(Layout::StudioIndexed) => {
                "EmbeddingStudio's algorithm, these with the index"
            }
            Self::Studio(_) => "EmbeddingStudio's algorithm, its tables",
        }
    }

    fn layout(self) -> Layout {
        match self {
            Self::Service(layout) | Self::Studio(layout) => layout,
            Self::Bare | Self::OneByOne => Layout::Rows,
        }
    }
}

/// Measures them in turn, several times.
pub(crate) async fn measure(quick: bool) -> Vec<Row> {
    let (objects, times) = if quick { (20_000, 1) } else { (100_000, 5) };
    let data = Data::make().await;
    let all = [
        Who::Service(Layout::Rows),
        Who::Bare,
        Who::OneByOne,
        Who::Service(Layout::Studio),
        Who::Studio(Layout::Studio),
        Who::Service(Layout::StudioIndexed),
        Who::Studio(Layout::StudioIndexed),
    ];
    let mut seconds = all.map(|_| Vec::new());
    for time in 1..=times {
        for (who, seconds) in all.iter().zip(&mut seconds) {
            eprintln!("PostgreSQL, {}, {time} of {times}", who.shown());
            seconds.push(run(&data, *who, objects).await);
        }
    }
    let rates: Vec<f64> = all
        .iter()
        .zip(&seconds)
        .map(|(who, seconds)| count(*who, objects) as f64 / median(seconds.clone()))
        .collect();
    let rows = all
        .iter()
        .zip(&rates)
        .zip(seconds)
        .map(|((who, rate), seconds)| {
            let times = |other: usize| format!("{:.2}", rate / rates[other]);
            let (least, most) = (
                seconds.iter().copied().fold(f64::INFINITY, f64::min),
                seconds.iter().copied().fold(0.0, f64::max),
            );
            vec![
                ("PostgreSQL", who.shown().into()),
                ("ids", count(*who, objects).into()),
                ("times", seconds.len().into()),
                (
                    "seconds",
                    format!("{:.2} ({least:.2} to {most:.2})", median(seconds)).into(),
                ),
                ("ids a second", format!("{rate:.0}").into()),
                ("× bare", times(1).into()),
                ("× one row at a time", times(2).into()),
                ("× EmbeddingStudio's", times(4).into()),
            ]
        });
    rows.collect()
}

/// How many ids are deleted. One row at a time takes so long that a part of them has to do.
fn count(who: Who, objects: usize) -> usize {
    if who == Who::OneByOne {
        objects / 10
    } else {
        objects
    }
}

/// The seconds that it takes.
async fn run(data: &Data, who: Who, objects: usize) -> f64 {
    let copy = data.copy(who.layout()).await;
    let (schema, ids) = (&copy.schema, ids(count(who, objects)));
    let table = format!("{schema}.items");
    let url = match who.layout() {
        Layout::Rows => format!("schema={schema}&table=items&id_column=object_id"),
        Layout::Studio | Layout::StudioIndexed => {
            format!("schema={schema}&layout=embedding-studio")
        }
    };
    let url = copy.database.url(&url);
    let seconds = match who {
        Who::Service(_) => service(&url, objects).await,
        Who::Bare | Who::OneByOne | Who::Studio(_) => {
            let began = Instant::now();
            match who {
                Who::Bare => bare::in_batches(&url, &table, &ids).await,
                Who::OneByOne => bare::one_by_one(&url, &table, &ids).await,
                _ => bare::as_embedding_studio(&url, schema, &ids).await,
            }
            began.elapsed().as_secs_f64()
        }
    };
    for table in who.layout().tables() {
        copy.assert_left(table, ROWS - ids.len()).await;
    }
    data.done_with(copy).await;
    seconds
}

/// From the request until the task is done.
async fn service(url: &str, objects: usize) -> f64 {
    let options = Options {
        settings: vec![("VECTOR_STORES".to_owned(), json!({ "*": url }).to_string())],
        ..Options::default()
    };
    let running = measure::start(options).await;
    let body = measure::run_body("items", "task", 1, objects);
    let path = format!("{ROOT}/run");
    let began = Instant::now();
    let reply = http::send(running.api, "POST", &path, Some("application/json"), body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let attribute = async |name| measure::attribute(&running.clients.dynamodb, "task", name).await;
    measure::until(began, async || attribute("status").await == "done").await;
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(attribute("deleted").await, objects.to_string());
    running.shutdown().await;
    seconds
}
