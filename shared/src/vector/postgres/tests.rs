use super::address::PasswordSource;
use super::names::Identifier;
use super::*;
use crate::vector::url_parts::Template;

fn errors(url: &str) -> Vec<String> {
    match Factory::parse(&Url::parse(url).unwrap()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors,
    }
}

#[test]
fn a_url_names_a_table_or_a_layout() {
    for url in [
        "postgres://ann@db.example.com/vectors?table=items&id_column=object_id",
        "postgresql://ann@10.0.0.1:6432/vectors?table=items&id_column=object_id&sslmode=disable",
        "postgres://ann@[::1]/v?table={embedding_model_id}&id_column=id&schema=s-{embedding_model_id}",
        "postgres://ann:p%40ss%7Bw@localhost/v?table=%22;drop&id_column=id",
        "postgres://ann@localhost/v?layout=embedding-studio&sslmode=require&row_security=on",
        "postgres://db/v?layout=embedding-studio&password_secret=arn:aws:secretsmanager:eu-west-1:1:secret:a",
    ] {
        assert_eq!(errors(url), Vec::<String>::new(), "{url}");
    }
}

#[test]
fn a_limit_is_of_a_table() {
    let limit = |url: &str, model: &str| {
        let factory = Factory::parse(&Url::parse(url).unwrap()).unwrap();
        factory.limit(&ModelId::new(model).unwrap())
    };
    let url = "postgres://ann:hunter2@db/v?table={embedding_model_id}&id_column=id";
    assert_eq!(limit(url, "a"), None);
    let limited = format!("{url}&objects_per_second=100");
    let address = "postgres://db:5432/v/\"a\"".to_owned();
    assert_eq!(
        limit(&limited, "a"),
        Some((address, Quota::new(100, u32::MAX)))
    );
    assert_ne!(limit(&limited, "a"), limit(&limited, "b"));
}

#[test]
fn every_error_of_a_url_is_named_at_once() {
    let all = errors(
        "postgres:///?id_column=a{x}&schema={model}&sslmode=maybe&layuot=x&password_secret=p",
    );
    for word in [
        "there is no host",
        "there is no database",
        "`schema`: ",
        "`table` is missing",
        "`id_column`: ",
        "sslmode `maybe`",
        "`layuot` is not known",
        "ARN",
    ] {
        let found = all.iter().filter(|error| error.contains(word)).count();
        assert_eq!(found, 1, "{word}: {all:#?}");
    }
    assert_eq!(all.len(), 8, "{all:#?}");
}

#[test]
fn a_url_that_says_too_much_or_too_little_is_refused() {
    const ROWS: &str = "table=items&id_column=id";
    let long = "a".repeat(64);
    for url in [
        format!("postgres://h/d?{ROWS}"),                        // no user
        format!("postgres://u@h/{{embedding_model_id}}?{ROWS}"), // a database by model
        format!("postgres://u@h/d?{ROWS}&table=b"),
        format!("postgres://u@h/d?{ROWS}&layout=other"),
        format!("postgres://u@h/d?{ROWS}&layout=embedding-studio"),
        format!("postgres://u@h/d?{ROWS}#x"),
        format!("postgres://u@h/d?{ROWS}&row_security=off"),
        format!("postgres://u@h/d?{ROWS}&sslrootcert=/no/such/file"),
        format!("postgres://u@h/d?{ROWS}&sslmode=disable&sslrootcert=/dev/null"),
        format!("postgres://u@h/d?table={long}&id_column=id"),
        format!("postgres://u@h/d?table=items&id_column={long}"),
        "postgres://u@h/d?table=items".to_owned(),
        format!("postgres://u:p@h/d?{ROWS}&password_secret=arn:aws:secretsmanager:r:1:secret:a"),
    ] {
        assert!(!errors(&url).is_empty(), "{url}");
    }
}

/// The address that a URL names, in its debug form, with the password.
#[track_caller]
fn address(url: &str) -> String {
    let parsed = Url::parse(url).or_else(|error| url_without_host(url).ok_or(error));
    let factory = Factory::parse(&parsed.unwrap());
    let address = factory
        .unwrap_or_else(|errors| panic!("{url}: {errors:#?}"))
        .address;
    let password = match &address.password {
        PasswordSource::Url(password) => password.reveal(),
        _ => "no password",
    };
    format!("{address:?} {password}")
}

#[test]
fn a_part_of_a_url_may_be_a_parameter_as_in_libpq() {
    const ROWS: &str = "table=items&id_column=id";
    for [one, other] in [
        ["postgres://u@h/d?", "postgresql://u@h/d?"],
        [
            "postgres://u@h:6432/d?",
            "postgresql:///?dbname=d&user=u&host=h&port=6432&",
        ],
        [
            "postgres://u@h/d?",
            "postgres:///d?host=h&port=5432&user=u&",
        ],
        ["postgres://u@h/d?", "postgres://h/d?user=u&"],
        ["postgres://u:p%2Bw@h/d?", "postgres://u@h/d?password=p+w&"],
        ["postgres://u@[::1]/d?", "postgres:///d?host=::1&user=u&"],
        [
            "postgres://u@10.0.0.1/d?",
            "postgres://u@/d?hostaddr=10.0.0.1&host=10.0.0.1&",
        ],
        [
            "postgres://u@h/d?sslmode=require&",
            "postgres://u@h/d?ssl=true&",
        ],
        // A socket.
        [
            "postgres://u@%2Fvar%2Frun%2Fpostgresql/d?",
            "postgres:///d?user=u&host=/var/run/postgresql&",
        ],
        [
            "postgres://u:p%26w@%2Fvar%2Frun/d?",
            "postgresql://u:p&w@/d?host=/var/run&",
        ],
        [
            "postgres://u@%2Ftmp:6432/d?",
            "postgres://u@/d?host=%2Ftmp&port=6432&sslmode=disable&",
        ],
        ["postgres:///d?host=/tmp&", "postgres://%2Ftmp/d?"],
        [
            "postgres://u:p@%2Ftmp:6432/d?",
            "postgres://u@:6432/d?password=p&host=/tmp&",
        ],
        [
            "postgres://u:p@%2Ftmp:6432/d?",
            "postgres://:p@?user=u&host=/tmp&dbname=d&port=6432&",
        ],
    ] {
        let [one, other] = [one, other].map(|url| format!("{url}{ROWS}"));
        let same = address(&one).replace("Some(10.0.0.1)", "None");
        assert_eq!(
            address(&other).replace("Some(10.0.0.1)", "None"),
            same,
            "{other}"
        );
    }
    for url in [
        "postgres://u@h/d?user=v&",
        "postgres://u:p@h/d?password=q&",
        "postgres://u@h/d?host=i&",
        "postgres://u@h/d?dbname=e&",
        "postgres://u@h:1/d?port=2&",
        "postgres://u@h/d?sslmode=require&ssl=true&",
        "postgres://u@h/d?ssl=false&",
    ] {
        let errors = errors(&format!("{url}{ROWS}"));
        assert_eq!(errors.len(), 1, "{url}: {errors:#?}");
    }
}

#[test]
fn what_leaves_this_machine_is_verified_unless_the_url_says_otherwise() {
    for (host, trust) in [
        ("u@localhost/d?", "Disable"),
        ("u@127.0.0.1/d?", "Disable"),
        ("u@%2Ftmp/d?", "Disable"),
        ("u@localhost/d?hostaddr=127.0.0.1&", "Disable"),
        ("/d?user=u&hostaddr=127.0.0.1&", "Disable"),
        // The host's name is not that of the address.
        ("u@localhost/d?hostaddr=10.0.0.1&", "VerifyFull(System)"),
        ("u@db/d?hostaddr=127.0.0.1&", "VerifyFull(System)"),
        ("/d?user=u&hostaddr=10.0.0.1&", "VerifyFull(System)"),
        ("u@localhost/d?sslrootcert=system&", "VerifyFull(System)"),
        ("u@a.rds.amazonaws.com/d?", "VerifyFull(Rds)"),
        (
            "u@a.rds.amazonaws.com/d?sslrootcert=system&",
            "VerifyFull(System)",
        ),
    ] {
        let url = format!("postgres://{host}table=items&id_column=id");
        let address = address(&url);
        let found = format!("trust: {trust},");
        assert!(address.contains(&found), "{url}: {address}");
        let factory = Factory::parse(&Url::parse(&url).unwrap()).unwrap();
        assert_eq!(factory.address.why_unverified(), None, "{url}");
    }
}

/// A parameter of libpq: its name, the accepted values, each with what the address then holds, and
/// the rejected values.
type Libpq = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

/// Every parameter of libpq 18 (`PQconndefaults`), and those of other versions.
const LIBPQ: &[Libpq] = &[
    (
        "host",
        &[("db", "host: \"db\""), ("/tmp", "host: \"/tmp\"")],
        &["a,b", "@abstract", "a%00b", "{x}"],
    ),
    (
        "hostaddr",
        &[("10.0.0.1", "host_address: Some(10.0.0.1)")],
        &["db", "10.0.0.1,10.0.0.2"],
    ),
    (
        "port",
        &[("6432", "port: 6432")],
        &["0", "65536", "-1", "5432,5433", "x"],
    ),
    ("dbname", &[("e", "database: \"e\"")], &["{x}"]),
    ("user", &[("v", "user: Some(\"v\")")], &["{x}", "a%00b"]),
    ("password", &[("p{w", "password: Url(")], &[]),
    (
        "connect_timeout",
        &[("1", "connect_timeout: 1s"), ("30", "connect_timeout: 2s")],
        &["0", "-1", "1.5", "x"],
    ),
    (
        "options",
        &[("-c%20geqo=off", "options: Some(\"-c geqo=off\")")],
        &[
            "-c%20statement_timeout=0",
            "-crole=x",
            "--lock-timeout=9",
            "--geqo=off%20-c%20ROW_SECURITY=off",
            "{x}",
        ],
    ),
    (
        "application_name",
        &[("a", "application_name: \"a\"")],
        &["{x}"],
    ),
    (
        "fallback_application_name",
        &[
            ("b", "application_name: \"b\""),
            ("b&application_name=a", "application_name: \"a\""),
        ],
        &[],
    ),
    (
        "sslmode",
        &[
            ("disable", "trust: Disable"),
            ("require", "trust: Require"),
            ("verify-full", "trust: VerifyFull"),
        ],
        &["allow", "prefer", "verify-ca", "x"],
    ),
    (
        "sslrootcert",
        &[("system", "trust: VerifyFull(System)")],
        &["/no/such/file"],
    ),
    (
        "client_encoding",
        &[("UTF8", ""), ("utf-8", "")],
        &["LATIN1", "auto"],
    ),
    (
        "channel_binding",
        &[("disable", "")],
        &["prefer", "require"],
    ),
    ("keepalives", &[("1", "")], &["0"]),
    ("replication", &[("off", "")], &["database"]),
    ("gssencmode", &[("disable", "")], &["prefer", "require"]),
    ("gssdelegation", &[("0", "")], &["1"]),
    ("sslnegotiation", &[("postgres", "")], &["direct"]),
    ("sslcompression", &[("0", "")], &["1"]),
    ("sslcertmode", &[("disable", "")], &["allow", "require"]),
    ("sslsni", &[("1", "")], &["0"]),
    (
        "ssl_min_protocol_version",
        &[("TLSv1.2", "")],
        &["TLSv1", "TLSv1.3"],
    ),
    ("ssl_max_protocol_version", &[("TLSv1.3", "")], &["TLSv1.2"]),
    ("min_protocol_version", &[("3.0", "")], &["3.2", "latest"]),
    ("max_protocol_version", &[("3.0", "")], &["3.2", "latest"]),
    (
        "target_session_attrs",
        &[("read-write", ""), ("primary", "")],
        &["any", "read-only", "standby", "prefer-standby"],
    ),
    ("load_balance_hosts", &[("disable", "")], &["random"]),
    ("service", &[], &["hunter2"]),
    ("servicefile", &[], &["hunter2"]),
    ("passfile", &[], &["hunter2"]),
    ("require_auth", &[], &["scram-sha-256"]),
    ("keepalives_idle", &[], &["1"]),
    ("keepalives_interval", &[], &["1"]),
    ("keepalives_count", &[], &["1"]),
    ("tcp_user_timeout", &[], &["1"]),
    ("requiressl", &[], &["1"]),
    ("sslcert", &[], &["hunter2"]),
    ("sslkey", &[], &["hunter2"]),
    ("sslpassword", &[], &["hunter2"]),
    ("sslkeylogfile", &[], &["hunter2"]),
    ("sslcrl", &[], &["hunter2"]),
    ("sslcrldir", &[], &["hunter2"]),
    ("requirepeer", &[], &["postgres"]),
    ("krbsrvname", &[], &["postgres"]),
    ("gsslib", &[], &["gssapi"]),
    ("scram_client_key", &[], &["hunter2"]),
    ("scram_server_key", &[], &["hunter2"]),
    ("oauth_issuer", &[], &["hunter2"]),
    ("oauth_client_id", &[], &["hunter2"]),
    ("oauth_client_secret", &[], &["hunter2"]),
    ("oauth_scope", &[], &["hunter2"]),
];

#[test]
fn every_parameter_of_libpq_is_honoured_or_refused_by_name() {
    // The other required parameters, unless the tested one is among them.
    let rest = [("host", "h"), ("dbname", "d"), ("user", "u")];
    let base = "postgres:///?table=items&id_column=id";
    for (name, honoured, refused) in LIBPQ {
        let with = |value: &str| {
            let rest = rest.iter().filter(|(other, _)| other != name);
            let rest = rest.map(|(name, value)| format!("&{name}={value}"));
            let rest: String = rest.collect();
            format!("{base}{rest}&{name}={value}")
        };
        for (value, held) in *honoured {
            let address = address(&with(value));
            assert!(address.contains(held), "{name}={value}: {address}");
        }
        for value in *refused {
            let errors = errors(&with(value));
            assert_eq!(errors.len(), 1, "{name}={value}: {errors:#?}");
            let word = match *name {
                "dbname" => "database",
                name => name,
            };
            assert!(errors[0].contains(word), "{name}={value}: {errors:#?}");
            assert!(!errors[0].contains("is not known"), "{errors:#?}");
            assert!(!errors[0].contains("hunter2"), "{errors:#?}");
        }
        // An empty value means the default. A second value is an error.
        if !rest.iter().any(|(other, _)| other == name) {
            address(&with(""));
            let twice = errors(&format!("{}&{name}=x", with("x")));
            let says = format!("parameter `{name}` is given twice");
            assert!(twice.contains(&says), "{twice:#?}");
        }
    }
    let unknown = errors(&format!("{base}&host=h&dbname=d&user=u&pgbouncer=true"));
    assert_eq!(unknown.len(), 1, "{unknown:#?}");
    assert!(
        unknown[0].contains("`pgbouncer` is not known"),
        "{unknown:#?}"
    );
}

#[test]
fn a_socket_has_no_tls_and_no_address() {
    for parameters in [
        "sslmode=require",
        "sslmode=verify-full",
        "sslrootcert=system",
        "ssl=true",
        "hostaddr=127.0.0.1",
    ] {
        let url = format!("postgres://u@%2Ftmp/d?table=items&id_column=id&{parameters}");
        let errors = errors(&url);
        assert_eq!(errors.len(), 1, "{url}: {errors:#?}");
        assert!(errors[0].contains("socket"), "{errors:#?}");
    }
}

#[test]
fn no_error_and_no_debug_form_shows_a_password() {
    for url in [
        "postgres://ann:hunter2@h/d?table=items&id_column=id",
        "postgres://ann:hunter2@h/d?table=it{ems}&sslmode=x&password_secret=a",
        "postgres://ann:hunter2@h",
        "postgres://ann@h/d?password=hunter2&table=items&id_column=id",
        "postgres://ann:hunter2@h/d?password=hunter2&table=items&id_column=id",
        "postgres://ann@h/d?password=hunter2&password_secret=a&table=items&id_column=id",
        "postgres://ann@h/d?password=hunter2&password=hunter2&table=items&id_column=id",
    ] {
        let shown = match Factory::parse(&Url::parse(url).unwrap()) {
            Ok(factory) => format!("{factory:?}"),
            Err(errors) => errors.join("\n"),
        };
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_model_id_fills_in_a_name_and_nothing_else() {
    let layout = Layout {
        schema: None,
        table: Template::parse("v_{embedding_model_id}").unwrap(),
        id_column: Identifier::new("id").unwrap(),
        parts: None,
    };
    let filled = |model: &str| layout.of_model(&ModelId::new(model).unwrap());
    let relation = filled(r#"x"; DROP TABLE y; --"#).unwrap();
    assert_eq!(relation.table.quoted(), r#""v_x""; DROP TABLE y; --""#);
    assert!(filled(&"m".repeat(61)).is_ok());
    let why = filled(&"m".repeat(62)).unwrap_err();
    assert!(why.contains("63 bytes"), "{why}");
}
