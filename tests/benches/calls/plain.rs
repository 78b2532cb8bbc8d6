//! The plain design: what an engineer would write who knows DynamoDB but does not optimize.
//!
//! It runs over the same embedded services and under the same meter.
//!
//! It has a table of tasks with the ids as a list. A create is a conditional put and a message.
//! Each step of a task (`pending`, `queued`, `processing`, `deleting`, `done`) is a conditional
//! update and a log line, and each object that failed is an item. Lists by status need an index of
//! status and creation time. The list of all tasks, newest first, needs a second index, of creation
//! time alone; with only one index there is no such list. Both indexes hold what a list row shows,
//! but not the ids. That is more careful than the default, which is all attributes.
//!
//! It guarantees less than the service: if a worker dies between two steps, nobody continues the
//! task, and the objects that it had deleted are reported as not found.

use crate::operations::OBJECTS;
use crate::service::{Cost, Metered};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, Projection, ProjectionType, ScalarAttributeType,
};
use local::NAME;
use serde_json::{Value, json};
use shared::clock::Clock;
use tests::seed::{self, BUCKET};

const SEED: u64 = 9;
const TASK: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";
const MODEL: &str = "embeddings-of-products";

fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn now() -> String {
    Clock::System.now().to_rfc3339()
}

/// Measures a small task.
pub(crate) async fn measure(service: &Metered, indexes: usize) -> Cost {
    let plain = Plain {
        service,
        table: format!("plain-{indexes}"),
        vectors: format!("{MODEL}-{indexes}"),
        indexes,
    };
    plain.create_table().await;
    let ids: Vec<_> = seed::object_ids(SEED, OBJECTS).collect();
    let s3vectors = &service.running.clients.s3vectors;
    seed::index(s3vectors, &plain.vectors, &ids[..OBJECTS - 1]).await;
    service.meter.turn_on();
    let mut lines = Vec::new();
    plain.create(&ids, &mut lines).await;
    plain.carry_out(&mut lines).await;
    Cost::new(service.meter.turn_off(), 1, 2, lines)
}

struct Plain<'a> {
    service: &'a Metered,
    table: String,
    vectors: String,
    indexes: usize,
}

impl Plain<'_> {
    async fn create(&self, ids: &[String], lines: &mut Vec<String>) {
        let ids = ids.iter().map(s).collect();
        let put = self
            .service
            .clients
            .dynamodb
            .put_item()
            .table_name(&self.table);
        let mut put = put
            .item("task_id", s(TASK))
            .item("embedding_model_id", s(MODEL))
            .item("status", s("pending"))
            .item("object_ids", AttributeValue::L(ids))
            .item("total", n(OBJECTS))
            .item("deleted", n(0))
            .item("failed", n(0))
            .item("attempt", n(1))
            .item("created_at", s(now()))
            .item("updated_at", s(now()))
            .item("expires_at", n(Clock::System.now().timestamp()))
            .condition_expression("attribute_not_exists(task_id)");
        if self.indexes == 2 {
            put = put.item("kind", s("task"));
        }
        put.send().await.expect("a task is put");
        lines.push(line("create-deletion-task", "Task created", "", "pending"));
        let send = self.service.clients.sqs.send_message();
        let send = send.queue_url(&self.service.running.queue_url);
        let body = json!({"task_id": TASK, "attempt": 1}).to_string();
        send.message_body(body)
            .send()
            .await
            .expect("a message is sent");
        self.step("pending", "queued", lines).await;
    }

    async fn carry_out(&self, lines: &mut Vec<String>) {
        let (sqs, queue) = (&self.service.clients.sqs, &self.service.running.queue_url);
        let receive = sqs.receive_message().queue_url(queue).send().await;
        let messages = receive.expect("SQS responds").messages.expect("a message");
        let get = self
            .service
            .clients
            .dynamodb
            .get_item()
            .table_name(&self.table);
        let got = get.key("task_id", s(TASK)).consistent_read(true).send();
        let item = got
            .await
            .expect("DynamoDB responds")
            .item
            .expect("the task");
        let ids = item["object_ids"].as_l().expect("a list").iter();
        let ids: Vec<String> = ids.map(|id| id.as_s().expect("an id").clone()).collect();
        self.step("queued", "processing", lines).await;
        let s3vectors = &self.service.clients.s3vectors;
        let get = s3vectors.get_vectors().vector_bucket_name(BUCKET);
        let get = get.index_name(&self.vectors).set_keys(Some(ids.clone()));
        let found = get.send().await.expect("S3 Vectors responds").vectors;
        let present: Vec<_> = found.into_iter().map(|vector| vector.key).collect();
        self.step("processing", "deleting", lines).await;
        let delete = s3vectors.delete_vectors().vector_bucket_name(BUCKET);
        let delete = delete.index_name(&self.vectors);
        let deleted = delete.set_keys(Some(present.clone())).send().await;
        deleted.expect("vectors are deleted");
        for id in ids.iter().filter(|id| !present.contains(id)) {
            let put = self
                .service
                .clients
                .dynamodb
                .put_item()
                .table_name(&self.table);
            put.item("task_id", s(format!("{TASK}#{id}")))
                .item("object_id", s(id))
                .item("detail", s("Object not found in index"))
                .send()
                .await
                .expect("a failure is put");
        }
        self.step("deleting", "done", lines).await;
        for message in messages {
            let delete = sqs.delete_message().queue_url(queue);
            let delete = delete.set_receipt_handle(message.receipt_handle);
            delete.send().await.expect("a message is deleted");
        }
    }

    /// Moves the task from one status to the next. The last step writes the counters.
    async fn step(&self, from: &str, to: &str, lines: &mut Vec<String>) {
        let (deleted, failed) = match to {
            "done" => (OBJECTS - 1, 1),
            _ => (0, 0),
        };
        let update = self
            .service
            .clients
            .dynamodb
            .update_item()
            .table_name(&self.table);
        let update = update
            .key("task_id", s(TASK))
            .update_expression(
                "SET #status = :to, updated_at = :now, deleted = :deleted, failed = :failed",
            )
            .condition_expression("#status = :from")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":from", s(from))
            .expression_attribute_values(":to", s(to))
            .expression_attribute_values(":now", s(now()))
            .expression_attribute_values(":deleted", n(deleted))
            .expression_attribute_values(":failed", n(failed));
        update.send().await.expect("a task is updated");
        let function = match to {
            "queued" => "create-deletion-task",
            _ => "deletion-worker",
        };
        lines.push(line(function, "Task status changed", from, to));
    }

    async fn create_table(&self) {
        let by_status = ("by_status", "status");
        let of_all = ("of_all", "kind");
        let indexes = [by_status, of_all].into_iter().take(self.indexes);
        let mut names = vec!["task_id", "created_at"];
        let client = &self.service.running.clients.dynamodb;
        let mut create = client
            .create_table()
            .table_name(&self.table)
            .billing_mode(BillingMode::PayPerRequest)
            .key_schema(key("task_id", KeyType::Hash));
        let shown = [
            "embedding_model_id",
            "status",
            "total",
            "deleted",
            "failed",
            "attempt",
            "updated_at",
            "expires_at",
        ];
        for (index, hash) in indexes {
            names.push(hash);
            let shown = shown.iter().filter(|name| **name != hash);
            let projection = Projection::builder()
                .projection_type(ProjectionType::Include)
                .set_non_key_attributes(Some(shown.map(|name| (*name).to_owned()).collect()))
                .build();
            let index = GlobalSecondaryIndex::builder()
                .index_name(index)
                .key_schema(key(hash, KeyType::Hash))
                .key_schema(key("created_at", KeyType::Range))
                .projection(projection);
            create = create.global_secondary_indexes(index.build().expect("an index"));
        }
        for name in names {
            let attribute = AttributeDefinition::builder().attribute_name(name);
            let attribute = attribute.attribute_type(ScalarAttributeType::S);
            create = create.attribute_definitions(attribute.build().expect("an attribute"));
        }
        create.send().await.expect("a table is made");
        assert_ne!(self.table, NAME);
    }
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    let key = KeySchemaElement::builder().attribute_name(name);
    key.key_type(kind).build().expect("a key")
}

/// A line as a structured logger writes it with its defaults.
fn line(function: &str, message: &str, from: &str, to: &str) -> String {
    let fields: Value = json!({
        "timestamp": now(),
        "level": "INFO",
        "target": function,
        "message": message,
        "task_id": TASK,
        "embedding_model_id": MODEL,
        "from": from,
        "to": to,
        "objects": OBJECTS,
    });
    fields.to_string()
}
