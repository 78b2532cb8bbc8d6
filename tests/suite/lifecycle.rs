//! A task's life, as a caller sees it.

use serde_json::json;
use tests::{DEMO_INDEX, Service, example};

#[tokio::test]
async fn the_documented_example_gives_the_documented_answer() {
    let service = Service::start().await;
    let created = service.run(&example()).await.ok();
    assert_eq!(created["status"], "pending");
    service.work().await;
    let expected = json!({
        "id": "delete-xyz",
        "embedding_model_id": "embed-456",
        "status": "done",
        "created_at": "2024-05-21T12:00:00Z",
        "updated_at": "2024-05-21T12:00:00Z",
        "failed_item_ids": [{"object_id": "obj-2", "detail": "Object not found in index"}],
        "detail": null,
        "attempt": 1,
        "progress": {"total": 2, "deleted": 1, "failed": 1, "remaining": 0}
    });
    assert_eq!(service.task("delete-xyz").await, expected);
    assert_eq!(
        service.present(DEMO_INDEX, &["obj-1", "obj-3"]).await,
        ["obj-3"]
    );
}
