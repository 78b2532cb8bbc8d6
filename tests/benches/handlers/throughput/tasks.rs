//! The tasks that are created and carried out, and their objects.

use crate::requests::OBJECTS;
use local::Running;
use tests::measure::{self, ROOT, object_ids, run_body};

/// Indexes that the tasks are spread over, so that no index's quota is in the way.
const INDEXES: usize = 100;

/// Tasks, and what is theirs.
pub(super) struct Tasks {
    pub(super) ids: Vec<String>,
}

impl Tasks {
    pub(super) fn new(count: usize) -> Self {
        Self {
            ids: object_ids(0, count).collect(),
        }
    }

    pub(super) fn index(number: usize) -> String {
        format!("index-{:03}", number % INDEXES)
    }

    pub(super) fn seed_of(number: usize) -> u64 {
        1000 + u64::try_from(number).expect("it fits")
    }

    /// Makes the indexes, with every second object of each task.
    pub(super) async fn seed(&self, running: &Running) {
        let client = &running.clients.s3vectors;
        for index in 0..INDEXES {
            measure::seed_index(client, &Self::index(index), 0, 0).await;
            let tasks = (index..self.ids.len()).step_by(INDEXES);
            let objects =
                tasks.flat_map(|number| object_ids(Self::seed_of(number), OBJECTS).step_by(2));
            measure::put_vectors(client, &Self::index(index), objects.collect()).await;
        }
    }

    /// The request of one, as bytes.
    pub(super) fn request(&self, number: usize) -> Vec<u8> {
        let body = run_body(
            &Self::index(number),
            &self.ids[number],
            Self::seed_of(number),
            OBJECTS,
        );
        let head = format!(
            "POST {ROOT}/run HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        (head + &body).into_bytes()
    }
}
