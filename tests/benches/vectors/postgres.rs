//! Measures the ids deleted per second from PostgreSQL: by the whole service from the request to
//! the end of the task, and by bare clients.

use crate::Row;
use crate::bare;
use crate::data::{Data, Layout, ROWS, ids};
use crate::timed::{Sample, service, time};
use tests::bench::table::{number, row};
use tests::bench::{median, range};

/// The program that deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// The service, over a table of rows or EmbeddingStudio's.
    Service(Layout),
    /// A client that sends the service's batches.
    Bare,
    /// The same, with a read sent right after each delete, as in the service.
    BareReading,
    /// A client that deletes one row at a time.
    OneByOne,
    /// EmbeddingStudio's algorithm, over tables of its layout.
    Studio(Layout),
    /// Only the two deletes of EmbeddingStudio's algorithm.
    StudioDeletes,
}

impl Who {
    fn shown(self) -> &'static str {
        match self {
            Self::Service(Layout::Rows) => "the service, one table",
            Self::Bare => "bare client, the same batches, one table",
            Self::BareReading => "the same, each delete read back",
            Self::OneByOne => "one row at a time, one table",
            Self::Service(Layout::Studio) => "the service, EmbeddingStudio's tables",
            Self::Service(Layout::StudioIndexed) => {
                "the service, these with an index on `original_id`"
            }
            Self::Studio(Layout::StudioIndexed) => {
                "EmbeddingStudio's algorithm, these with the index"
            }
            Self::Studio(_) => "EmbeddingStudio's algorithm, its tables",
            Self::StudioDeletes => "the two deletes of that alone",
        }
    }

    fn layout(self) -> Layout {
        match self {
            Self::Service(layout) | Self::Studio(layout) => layout,
            Self::Bare | Self::BareReading | Self::OneByOne => Layout::Rows,
            Self::StudioDeletes => Layout::Studio,
        }
    }
}

/// Measures all of them in turn, several times.
pub(crate) async fn measure(quick: bool) -> Vec<Row> {
    let (objects, times) = if quick { (20_000, 1) } else { (100_000, 5) };
    let data = Data::make().await;
    let all = [
        Who::Service(Layout::Rows),
        Who::Bare,
        Who::BareReading,
        Who::OneByOne,
        Who::Service(Layout::Studio),
        Who::Studio(Layout::Studio),
        Who::StudioDeletes,
        Who::Service(Layout::StudioIndexed),
        Who::Studio(Layout::StudioIndexed),
    ];
    let mut samples = all.map(|_| Vec::new());
    for time in 1..=times {
        for (who, samples) in all.iter().zip(&mut samples) {
            eprintln!("PostgreSQL, {}, {time} of {times}", who.shown());
            samples.push(run(&data, *who, objects).await);
        }
    }
    let middle = |samples: &[Sample], of: fn(&Sample) -> f64| median(samples.iter().map(of));
    let rate = |who: usize| {
        count(all[who], objects) as f64 / middle(&samples[who], |sample| sample.elapsed)
    };
    let rows = all
        .iter()
        .zip(&samples)
        .enumerate()
        .map(|(who_number, (who, samples))| {
            let (least, most) = range(samples.iter().map(|sample| sample.elapsed));
            let seconds = middle(samples, |sample| sample.elapsed);
            let created = middle(samples, |sample| sample.created);
            let processor = middle(samples, |sample| sample.processor);
            let times = |other: usize| number(rate(who_number) / rate(other), 2);
            row([
                ("PostgreSQL", who.shown().into()),
                ("ids", count(*who, objects).into()),
                ("times", samples.len().into()),
                (
                    "seconds",
                    format!("{seconds:.2} ({least:.2} to {most:.2})").into(),
                ),
                ("until `/run` responded", number(created, 2)),
                ("processor, without PostgreSQL's", number(processor, 2)),
                ("ids a second", number(rate(who_number), 0)),
                ("× bare", times(1)),
                ("× one row at a time", times(3)),
                ("× EmbeddingStudio's", times(5)),
            ])
        });
    rows.collect()
}

/// How many ids are deleted. One row at a time takes so long that only a part of the ids is
/// deleted.
fn count(who: Who, objects: usize) -> usize {
    if who == Who::OneByOne {
        objects / 10
    } else {
        objects
    }
}

async fn run(data: &Data, who: Who, objects: usize) -> Sample {
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
    let sample = match who {
        Who::Service(_) => service(&url, objects).await,
        Who::Bare => time(bare::in_batches(&url, &table, &ids, false)).await,
        Who::BareReading => time(bare::in_batches(&url, &table, &ids, true)).await,
        Who::OneByOne => time(bare::one_by_one(&url, &table, &ids)).await,
        Who::Studio(_) => time(bare::as_embedding_studio(&url, schema, &ids, true)).await,
        Who::StudioDeletes => time(bare::as_embedding_studio(&url, schema, &ids, false)).await,
    };
    for table in who.layout().tables() {
        copy.assert_left(table, ROWS - ids.len()).await;
    }
    data.done_with(copy).await;
    sample
}
