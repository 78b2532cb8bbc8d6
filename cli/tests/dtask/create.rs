//! Creating tasks: from lists of any length, again after a crash, and never from input that is not
//! valid.

use crate::service::Service;
use crate::{FULL, long_ids};

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_one_request_cannot_take_become_parts_and_each_id_has_one_outcome() {
    let service = Service::start().await;
    let ids = long_ids(12_000);
    service.index("long", &ids[..2_000]).await;
    // A repeat in another part counts once.
    let file = service.file("ids.txt", ids.iter().chain(&ids[..10]));
    let run = service
        .dtask(&[
            "run",
            "long",
            "--file",
            &file,
            "--task-id",
            "erase",
            "--reason",
            "Ticket 7",
            "--wait",
        ])
        .await;
    run.assert(0);
    run.assert_out("objects   12,000: 2,000 deleted, 10,000 failed, 0 remaining");
    run.assert_out("parts     3: 3 done");
    assert_eq!(run.err, "10 repeated ids were left out.\n");

    // Each of its names means all parts.
    for name in ["erase", "erase.2-of-3"] {
        let outcomes = service.dtask(&["outcomes", name]).await.json();
        let found: Vec<_> = outcomes
            .iter()
            .map(|line| line["object_id"].as_str().unwrap())
            .collect();
        assert!(found == ids, "{name}: {} outcomes", found.len());
        assert!(
            outcomes[..2_000]
                .iter()
                .all(|line| line["outcome"] == "deleted")
        );
    }
    let tasks = service.dtask(&["--json", "info", "erase"]).await.json();
    assert!(
        tasks
            .iter()
            .all(|task| task["reason"] == "Ticket 7" && task["attempt"] == 1)
    );
    // The output can be read as input again.
    let failed = service
        .dtask(&["outcomes", "erase", "--outcome", "failed"])
        .await
        .out;
    let again = service
        .dtask_with(
            &[
                "run",
                "long",
                "-",
                "--format",
                "jsonl",
                "--task-id",
                "again",
            ],
            failed,
        )
        .await;
    again.assert(0);
    assert_eq!(again.out, "again was created in 2 parts: 10,000 objects\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_goes_on_without_a_second_task() {
    let service = Service::without_worker().await;
    let file = service.file("ids.txt", &long_ids(40_000));
    let arguments = ["run", "embed-456", "--file", &file, "--task-id", "erase"];
    let mut killed = service.spawn(&arguments);
    service.until(|tasks| !tasks.is_empty()).await;
    killed.kill().await.unwrap();
    let before = service.tasks().await;
    assert!(before.len() < 8, "it was killed half-way");
    assert!(
        before.iter().any(|task| task["id"] == "erase.8-of-8"),
        "the last part comes first: {before:?}"
    );

    service.dtask(&arguments).await.assert(0);
    let mut ids: Vec<_> = service
        .tasks()
        .await
        .iter()
        .map(|task| task["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    assert_eq!(
        ids,
        (1..=8)
            .map(|number| format!("erase.{number}-of-8"))
            .collect::<Vec<_>>()
    );
    let again = service.dtask(&arguments).await;
    assert_eq!(
        again.out,
        "erase has 8 parts, of which 8 existed already: 40,000 objects; 8 pending\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_changed_is_refused_and_changes_nothing() {
    let service = Service::without_worker().await;
    let ids = long_ids(12_000);
    let first = service.file("ids.txt", &ids);
    let run = async |file: &str| {
        service
            .dtask(&["run", "embed-456", "--file", file, "--task-id", "erase"])
            .await
    };
    run(&first).await.assert(0);
    let before = service.tasks().await;

    let other_end = service.file("end.txt", ids[..11_999].iter().chain([&"other".to_owned()]));
    let refused = run(&other_end).await;
    refused.assert(1);
    refused.assert_err("`erase.3-of-3` exists already, with other objects");

    for (lines, parts) in [(1_000, 1), (6_000, 2)] {
        let shorter = service.file("shorter.txt", &ids[..lines]);
        let refused = run(&shorter).await;
        refused.assert(1);
        let expected = format!(
            "`erase.3-of-3` exists already, but these ids need another number of parts ({parts})"
        );
        refused.assert_err(&expected);
    }
    let longer = service.file("longer.txt", &long_ids(20_000));
    run(&longer).await.assert(1);
    assert_eq!(service.tasks().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_input_is_named_whole_before_anything_is_sent() {
    let service = Service::start().await;
    let file = service.file("ids.txt", &["good".to_owned(), "x".repeat(1025)]);
    let run = service.dtask(&["run", "embed-456", "--file", &file]).await;
    run.assert(2);
    run.assert_err("line 2: an id must be at most 1024 bytes of UTF-8, got 1025");
    let run = service
        .dtask(&["run", "", "a", "--task-id", "a b", "--reason", ""])
        .await;
    run.assert(2);
    for expected in [
        "MODEL must not be empty",
        "--task-id must not contain white space",
        "--reason must not be empty",
    ] {
        run.assert_err(expected);
    }
    service
        .dtask(&["run", "embed-456", "--file", "/does/not/exist"])
        .await
        .assert(2);
    service.dtask(&["run", "embed-456"]).await.assert(2);
    service
        .dtask(&["list", "--since", "yesterday"])
        .await
        .assert(2);
    service.dtask(&["cancel"]).await.assert(2);
    assert!(service.tasks().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_within_a_part_that_exists_is_seen_before_anything_is_created() {
    let service = Service::without_worker().await;
    let mut ids = long_ids(12_000);
    // The state after a run that was killed before the first part.
    for (name, ids) in [
        ("erase.3-of-3", &ids[2 * FULL..]),
        ("erase.2-of-3", &ids[FULL..2 * FULL]),
    ] {
        service.create(name, ids).await;
    }
    let before = service.tasks().await;
    let info = service.dtask(&["info", "erase"]).await;
    info.assert(1);
    info.assert_err("Not found: erase.1-of-3");

    let right = ids[FULL + 7].clone();
    ids[FULL + 7] = "other".repeat(205)[..1024].to_owned();
    let run = async |ids: &[String]| {
        let file = service.file("ids.txt", ids);
        service
            .dtask(&["run", "embed-456", "--file", &file, "--task-id", "erase"])
            .await
    };
    let refused = run(&ids).await;
    refused.assert(1);
    assert!(
        refused
            .err
            .starts_with("error: `erase.2-of-3` exists already"),
        "{}",
        refused.err
    );
    assert_eq!(service.tasks().await, before);
    // With the original ids, it goes on.
    ids[FULL + 7] = right;
    let goes_on = run(&ids).await;
    goes_on.assert(0);
    assert!(
        goes_on
            .out
            .starts_with("erase has 3 parts, of which 2 existed already"),
        "{}",
        goes_on.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_has_parts_gets_no_task_beside_them() {
    let service = Service::without_worker().await;
    let file = service.file("ids.txt", &long_ids(12_000));
    let run = ["run", "embed-456", "--file", &file, "--task-id", "erase"];
    service.dtask(&run).await.assert(0);
    let one = service
        .dtask(&["run", "embed-456", "obj-1", "--task-id", "erase"])
        .await;
    one.assert(1);
    one.assert_err("`erase.3-of-3` exists already");
    assert_eq!(service.tasks().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_another_format_does_not_pass_for_ids() {
    let service = Service::without_worker().await;
    let run = ["run", "embed-456", "-"];
    for (input, format) in [
        ("object_id,name\na,1\n", "csv"),
        ("name,\"id\"\nx,a\n", "csv"),
        ("id\na\n", "csv"),
        ("name;id\nx;a\n", "csv"),
        ("{\"object_id\":\"a\"}\n", "jsonl"),
        ("{\n\"object_id\": \"a\"\n}\n", "jsonl"),
        ("[\"a\", \"b\"]\n", "jsonl"),
        ("\"a\"\n", "jsonl"),
    ] {
        let refused = service.dtask_with(&run, input.to_owned()).await;
        refused.assert(2);
        let expected = format!("add --format {format}");
        refused.assert_err(&expected);
    }
    let file = service.file(
        "ids.txt",
        &["customer_id,name".to_owned(), "c-1,Ann".to_owned()],
    );
    let semicolons = service.file(
        "ids.csv",
        &["customer_id;name".to_owned(), "c-1;Ann".to_owned()],
    );
    for (arguments, expected) in [
        (&["-", "obj-1"][..], "`-` reads standard input"),
        (
            &["obj-1", "--format", "csv"][..],
            "--format and --column are for ids",
        ),
        (
            &["--file", &file, "--column", "customer_id"][..],
            "add --format csv",
        ),
        (
            &["--file", &file, "--no-header", "--column", "1"][..],
            "add --format csv",
        ),
        (
            &["--file", &semicolons, "--column", "1"][..],
            "its fields must be separated by commas",
        ),
    ] {
        let refused = service
            .dtask(&[&["run", "embed-456"], arguments].concat())
            .await;
        refused.assert(2);
        refused.assert_err(expected);
    }
    assert!(service.tasks().await.is_empty());
    let input = "id\nobj-1\n".to_owned();
    let lines = service
        .dtask_with(&["run", "embed-456", "-", "--format", "lines"], input)
        .await;
    lines.assert(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_the_name_of_a_file_is_an_id_and_a_note_says_so() {
    let service = Service::without_worker().await;
    let file = service.file("ids.txt", &["obj-1".to_owned()]);
    let run = service.dtask(&["run", "embed-456", &file]).await;
    run.assert(0);
    run.assert_err("To read ids from it, use --file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_may_have_a_name_that_is_too_long_for_parts() {
    let service = Service::without_worker().await;
    let name = "x".repeat(255);
    let absent = service.dtask(&["cancel", &name]).await;
    absent.assert(1);
    assert!(absent.err.ends_with("not found\n"), "{}", absent.err);
    let run = ["run", "embed-456", "obj-1", "--task-id", &name];
    service.dtask(&run).await.assert(0);
    service.dtask(&["cancel", &name]).await.assert(0);
    service.dtask(&["restart", &name]).await.assert(0);
}
