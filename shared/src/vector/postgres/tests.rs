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

#[test]
fn no_error_and_no_debug_form_shows_a_password() {
    for url in [
        "postgres://ann:hunter2@h/d?table=items&id_column=id",
        "postgres://ann:hunter2@h/d?table=it{ems}&sslmode=x&password_secret=a",
        "postgres://ann:hunter2@h",
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
