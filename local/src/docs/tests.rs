use super::*;

const ORIGIN: &str = "http://127.0.0.1:9000";

fn page() -> String {
    String::from_utf8(Docs::new(ORIGIN).page.to_vec()).unwrap()
}

fn respond(method: &str, path: &str) -> Option<Response<Body>> {
    let request = lambda_http::http::Request::builder()
        .method(method)
        .uri(path);
    Docs::new(ORIGIN).respond(&request.body(Body::Empty).unwrap())
}

/// The values of an attribute, wherever it is.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let start = format!("{attribute}=\"");
    let found = page.split(start.as_str()).skip(1);
    found.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn the_page_shows_every_call_parameter_status_and_schema() {
    let (page, document) = (page(), Document::parse(DOCUMENT));
    let root = document.root();
    let mut calls = 0;
    for (path, item) in document::entries(&root["paths"]) {
        for (method, operation) in document::entries(item) {
            calls += 1;
            let section = page
                .split("<section class=call ")
                .find(|part| part.contains(&format!("</span> <code>{path}</code>")));
            let section = section.unwrap_or_else(|| panic!("no {path}"));
            assert!(
                section.contains(&format!("<span class=\"method {method}\">")),
                "{path}"
            );
            for parameter in document::items(&operation["parameters"]) {
                let name = document::text(&document.resolved(parameter)["name"]);
                assert!(
                    section.contains(&format!("<code>{name}</code>")),
                    "{path} {name}"
                );
            }
            for (status, _) in document::entries(&operation["responses"]) {
                assert!(
                    section.contains(&format!("\">{status}</span>")),
                    "{path} {status}"
                );
            }
        }
    }
    assert_eq!(calls, 5);
    let places = values(&page, " id");
    for (name, _) in document::entries(&root["components"]["schemas"]) {
        assert!(places.contains(&name), "{name}");
    }
}

#[test]
fn every_link_leads_somewhere_and_nothing_is_loaded() {
    let page = page();
    let places = values(&page, " id");
    for link in values(&page, "href") {
        match link.strip_prefix('#') {
            Some(place) => assert!(place == "top" || places.contains(&place), "{link}"),
            None => assert_eq!(link, RAW),
        }
    }
    for way in ["src=", "url(", "@import", "<link", "fetch(", "import("] {
        assert!(!page.contains(way), "{way}");
    }
}

#[test]
fn tags_are_closed_in_the_order_in_which_they_were_opened() {
    let page = page();
    let body = page
        .split("<body>")
        .nth(1)
        .unwrap()
        .split("<script>")
        .next()
        .unwrap();
    let mut open = Vec::new();
    for tag in body.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
            None if tag == "br" => {}
            None => open.push(tag.split(' ').next().unwrap()),
        }
    }
    assert_eq!(open, ["html"; 0]);
}

#[test]
fn commands_can_be_pasted_as_they_are() {
    let page = page();
    let run = "curl -sS -X POST &#39;http://127.0.0.1:9000/internal/deletion-tasks/run&#39; \\\n  \
               -H &#39;content-type: application/json&#39; \\\n  -d &#39;{&quot;embedding_model_id&quot;";
    assert!(page.contains(run));
    let info = "curl -sS -X GET &#39;http://127.0.0.1:9000/internal/deletion-tasks/info?task_id=delete-xyz&amp;outcome=all&#39;";
    assert!(page.contains(info));
    assert!(page.contains("head -c 6291457 /dev/zero | curl "));
}

#[test]
fn the_document_is_served_as_it_is_and_other_paths_are_left_to_the_api() {
    let raw = respond("GET", RAW).unwrap();
    assert_eq!(raw.headers()["content-type"], "application/yaml");
    assert_eq!(**raw.body(), *DOCUMENT.as_bytes());
    let page = respond("GET", "/docs").unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let refused = respond("POST", "/docs").unwrap();
    assert_eq!(refused.status(), 405);
    assert_eq!(refused.headers()["allow"], "GET, HEAD");
    for path in [
        "/",
        "/docs/",
        "/docs/page.css",
        "/internal/deletion-tasks/run",
    ] {
        assert!(respond("GET", path).is_none(), "{path}");
    }
}

#[test]
fn prose_is_marked_up_and_everything_else_is_harmless() {
    assert_eq!(
        text::blocks("A `b<c>` d.\n\n- one\n- `two`\n  more"),
        "<p>A <code>b&lt;c&gt;</code> d.</p><ul><li>one</li><li><code>two</code>\n  more</li></ul>"
    );
    assert_eq!(text::escaped("<&\"'>"), "&lt;&amp;&quot;&#39;&gt;");
    // The document uses no other markup.
    for mark in ["**", "](", "\n#", "\n* ", "```", "<"] {
        let prose = Document::parse(DOCUMENT);
        assert!(
            !described(prose.root())
                .iter()
                .any(|text| text.contains(mark)),
            "{mark}"
        );
    }
}

/// Every description and summary.
fn described(value: &yaml_rust2::Yaml) -> Vec<String> {
    let mut found = Vec::new();
    for (name, inner) in document::entries(value) {
        match inner.as_str() {
            Some(text) if ["description", "summary"].contains(&name) => found.push(text.to_owned()),
            _ => found.extend(described(inner)),
        }
    }
    for inner in document::items(value) {
        found.extend(described(inner));
    }
    found
}
