//! The guard: it accepts requests of this machine's programs and of this server's own pages, and
//! refuses all others.
//!
//! Any page in a browser can reach every listener of the browser's machine. So the guard refuses a
//! request from a page of another origin. It also refuses a request to a name that is not this
//! machine's, since a page's domain may be made to resolve to this machine. It relies on headers
//! that the browser sets and that no page can change: `Host` (RFC 9110), `Origin` (RFC 6454), and
//! the `Sec-Fetch-` headers (Fetch Metadata Request Headers, W3C).

use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Method, Uri};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DESTINATION: HeaderName = HeaderName::from_static("sec-fetch-dest");
const USER: HeaderName = HeaderName::from_static("sec-fetch-user");

/// Decides which requests a listener accepts. The default accepts only the names of loopback.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Further names of this machine, in lower case.
    names: Arc<[String]>,
    /// The command line flag that adds such a name.
    flag: Option<&'static str>,
}

impl Guard {
    /// Makes a guard that accepts these names in addition to those of loopback. `flag` is the
    /// command line flag for them.
    pub fn of(names: &[String], flag: &'static str) -> Self {
        let names = names.iter().map(|name| bare(name).to_ascii_lowercase());
        Self {
            names: names.collect(),
            flag: Some(flag),
        }
    }

    /// Accepts a request, or refuses it.
    ///
    /// # Errors
    /// Why it is refused, and what to do.
    pub(super) fn lets_in(&self, request: &Parts, is_page: fn(&str) -> bool) -> Result<(), String> {
        let host = self.host(request)?;
        if is_navigation(request, is_page) {
            return Ok(());
        }
        if let Some(origin) = one(&request.headers, &ORIGIN)? {
            let own = origin.strip_prefix("http://");
            let own = own.or_else(|| origin.strip_prefix("https://"));
            if !own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
                return Err(refusal("Origin", origin));
            }
        }
        match one(&request.headers, &SITE)? {
            None | Some("none" | "same-origin") => Ok(()),
            Some(site) => Err(refusal("Sec-Fetch-Site", site)),
        }
    }

    /// The name and port that the request was sent to, which must be this machine's.
    fn host<'a>(&self, request: &'a Parts) -> Result<&'a str, String> {
        let named = request.uri.authority().map(|authority| authority.as_str());
        let host = one(&request.headers, &HOST)?;
        for host in host.into_iter().chain(named) {
            if !self.is_this_machine(host) {
                let shown_host = shown(host);
                let name = Uri::try_from(host).ok();
                let name = name.as_ref().and_then(Uri::host).unwrap_or("NAME");
                let name = shown(bare(name));
                let remedy = self.flag.map_or_else(
                    || "Use 127.0.0.1 or localhost".to_owned(),
                    |flag| format!("To accept it, start with {flag} {name}"),
                );
                return Err(format!(
                    "`Host` is `{shown_host}`, which is not a name of this machine. {remedy}"
                ));
            }
        }
        host.ok_or_else(|| "The request has no `Host`".to_owned())
    }

    fn is_this_machine(&self, host: &str) -> bool {
        // Any port is accepted, since it may be forwarded.
        let Some(name) = without_port(host) else {
            return false;
        };
        let name = name.to_ascii_lowercase();
        name == "localhost"
            || name.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
            || (host.starts_with('[') && name.parse() == Ok(Ipv6Addr::LOCALHOST))
            || self.names.contains(&name)
    }
}

/// Whether a person opened a page as a document of its own. The page with the link cannot see what
/// it shows.
fn is_navigation(request: &Parts, is_page: fn(&str) -> bool) -> bool {
    let has = |name: &HeaderName, what: &str| {
        let mut all = request.headers.get_all(name).iter();
        all.next().is_some_and(|value| value == what) && all.next().is_none()
    };
    [Method::GET, Method::HEAD].contains(&request.method)
        && is_page(request.uri.path())
        && has(&MODE, "navigate")
        && has(&DESTINATION, "document")
        && has(&USER, "?1")
}

/// The value of a header that may occur once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, String> {
    let mut all = headers.get_all(name).iter();
    let (first, more) = (all.next(), all.next());
    let first = first.map(|value| value.to_str()).transpose();
    match (first, more) {
        (Ok(first), None) => Ok(first),
        _ => Err(format!("The header `{name}` is repeated or not readable")),
    }
}

fn refusal(header: &str, value: &str) -> String {
    format!(
        "A page of another origin sent this request: its `{header}` is `{}`. Call from a program such as curl, or from a page of this address",
        shown(value)
    )
}

/// A name or an address without its port; `None` if it is neither.
fn without_port(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, after) = rest.split_once(']')?;
            (
                name,
                after.strip_prefix(':').or(after.is_empty().then_some(""))?,
            )
        }
        None => host.split_once(':').unwrap_or((host, "")),
    };
    port.bytes().all(|c| c.is_ascii_digit()).then_some(name)
}

/// An IPv6 address without its brackets.
fn bare(name: &str) -> &str {
    name.trim_start_matches('[').trim_end_matches(']')
}

/// A caller's text, cut to a length that can be shown.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn check(
        guard: &Guard,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), String> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        guard.lets_in(&parts, |path| path == "/docs")
    }

    #[test]
    fn only_names_of_this_machine_are_let_in() {
        let guard = Guard::of(
            &["Dev.Example".to_owned(), "[fd00::1]".to_owned()],
            "--allow-host",
        );
        for host in [
            "127.0.0.1:9000",
            "127.9.8.7",
            "localhost:9000",
            "LOCALHOST",
            "[::1]:9000",
            "[::1]",
            "dev.example:80",
            "DEV.EXAMPLE",
            "[fd00::1]:9000",
        ] {
            assert_eq!(
                check(&guard, "POST", "/run", &[("host", host)]),
                Ok(()),
                "{host}"
            );
        }
        for host in [
            "",
            "evil.example:9000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:127.0.0.1",
            "0.0.0.0:9000",
            "10.0.0.1",
            "[::2]",
            "::1",
            "[::1]evil.example",
            "localhost:9000@evil.example",
            "sub.dev.example",
            "2130706433",
        ] {
            let refused = check(&guard, "POST", "/run", &[("host", host)]);
            assert!(refused.is_err(), "{host}");
        }
        assert!(
            check(&guard, "POST", "/run", &[]).is_err(),
            "no host at all"
        );
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(check(&guard, "POST", "/run", &two).is_err());
        let refused = check(&guard, "GET", "/list", &[("host", "evil.example:9000")]);
        assert!(refused.unwrap_err().ends_with("--allow-host evil.example"));
        let refused = check(&Guard::default(), "GET", "/", &[("host", "evil.example")]);
        assert!(refused.unwrap_err().ends_with("127.0.0.1 or localhost"));
        let absolute = "http://evil.example/run";
        assert!(check(&guard, "POST", absolute, &[("host", "localhost")]).is_err());
    }

    #[test]
    fn a_page_of_another_origin_is_refused_and_an_own_page_is_not() {
        let guard = Guard::default();
        let host = ("host", "localhost:9000");
        for own in [
            vec![("origin", "http://localhost:9000")],
            vec![
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://LOCALHOST:9000"),
            ],
            vec![("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
            vec![],
        ] {
            let headers: Vec<_> = own.iter().copied().chain([host]).collect();
            assert_eq!(check(&guard, "POST", "/run", &headers), Ok(()), "{own:?}");
        }
        for foreign in [
            vec![("origin", "http://evil.example")],
            vec![("origin", "http://localhost:3000")],
            vec![("origin", "http://127.0.0.1:9000")],
            vec![("origin", "localhost:9000")],
            vec![("origin", "null")],
            vec![("origin", "")],
            vec![
                ("origin", "http://localhost:9000"),
                ("origin", "http://evil.example"),
            ],
            vec![("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "same-site")],
            vec![("sec-fetch-site", "something new")],
            vec![
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://evil.example"),
            ],
        ] {
            let headers: Vec<_> = foreign.iter().copied().chain([host]).collect();
            let refused = check(&guard, "POST", "/run", &headers);
            assert!(refused.is_err(), "{foreign:?}");
        }
    }

    #[test]
    fn a_person_may_follow_a_link_to_a_page_and_nothing_else() {
        let guard = Guard::default();
        let link = [
            ("host", "127.0.0.1:9000"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-user", "?1"),
        ];
        assert_eq!(check(&guard, "GET", "/docs", &link), Ok(()));
        assert!(check(&guard, "POST", "/docs", &link).is_err());
        assert!(check(&guard, "GET", "/list", &link).is_err());
        for (at, other) in [
            (0, ("host", "evil.example:9000")),
            (2, ("sec-fetch-mode", "no-cors")),
            (3, ("sec-fetch-dest", "iframe")),
            (4, ("sec-fetch-user", "?0")),
        ] {
            let mut not_a_link = link;
            not_a_link[at] = other;
            let refused = check(&guard, "GET", "/docs", &not_a_link);
            assert!(refused.is_err(), "{other:?}");
        }
    }
}
