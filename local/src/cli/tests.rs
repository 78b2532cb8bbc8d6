use super::*;
use clap::CommandFactory;

fn arguments(words: &[&str]) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(["deletion-tasks"].iter().chain(words))
}

fn error(words: &[&str]) -> String {
    in_one_line(&arguments(words).unwrap_err())
}

#[test]
fn the_definition_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn without_flags_the_api_has_port_9000_and_state_is_in_memory() {
    let options = arguments(&[]).unwrap().options(|_| {});
    assert_eq!(options.ports.api, 9000);
    assert_eq!(
        (
            options.ports.dynamodb,
            options.ports.sqs,
            options.ports.s3vectors
        ),
        (0, 0, 0)
    );
    assert_eq!(options.data, None);
    assert_eq!(options.worker_timeout, Duration::from_secs(30));
    assert_eq!(options.visibility_timeout(), Duration::from_secs(180));
    assert_eq!(options.sweep_interval, Some(Duration::from_secs(60)));
    assert_eq!(options.max_receive_count, 1_000);
    assert_eq!(options.worker_concurrency, 10);
}

#[test]
fn every_flag_reaches_its_option() {
    let words = "--port 1 --dynamodb-port 2 --sqs-port 3 --s3vectors-port 4 --data dir --no-worker --worker-timeout 5 \
                 --sweep-interval 6 --vector-stores {} --vector-store-password p --retention-days 7 --task-id-reuse reject --list-shards 8 \
                 --log-level debug";
    let arguments = arguments(&words.split_whitespace().collect::<Vec<_>>()).unwrap();
    assert_eq!(arguments.log_level(), "debug".parse().unwrap());
    let options = arguments.options(|_| {});
    let Ports {
        api,
        dynamodb,
        sqs,
        s3vectors,
    } = options.ports;
    assert_eq!([api, dynamodb, sqs, s3vectors], [1, 2, 3, 4]);
    assert_eq!(options.data, Some("dir".into()));
    assert_eq!(options.worker_concurrency, 0);
    assert_eq!(options.worker_timeout, Duration::from_secs(5));
    assert_eq!(options.visibility_timeout(), Duration::from_secs(30));
    assert_eq!(options.sweep_interval, Some(Duration::from_secs(6)));
    let settings = options
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let expected = [
        ("VECTOR_STORES", "{}"),
        ("VECTOR_STORE_PASSWORD", "p"),
        ("RETENTION_DAYS", "7"),
        ("TASK_ID_REUSE", "reject"),
        ("LIST_SHARDS", "8"),
    ];
    assert_eq!(settings.collect::<Vec<_>>(), expected);
}

#[test]
fn a_wrong_command_line_is_one_line_that_names_the_flag() {
    for (words, parts) in [
        (&["--prot", "1"][..], &["--prot", "--port"][..]),
        (&["--port", "70000"], &["70000", "--port", "65535"]),
        (&["--port", "x"], &["'x'", "--port"]),
        (&["--worker-timeout", "0"], &["--worker-timeout", "1..=900"]),
        (&["--log-level", "loud"], &["loud", "--log-level", "debug"]),
        (&["--data"], &["--data"]),
        (&["word"], &["word"]),
    ] {
        let error = error(words);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!error.starts_with("error"), "{error}");
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

#[test]
fn the_help_says_what_can_be_set_and_how_to_look_inside() {
    let help = Arguments::command().render_long_help().to_string();
    for part in [
        "--data",
        "VECTOR_STORES",
        "AWS_ENDPOINT_URL_",
        "AWS_ACCESS_KEY_ID",
        "Ctrl-C",
        "[default: 9000]",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
