//! The URL of a store that speaks the store protocol, parsed.

use crate::vector::url_parts::{Parameters, Template};
use std::net::IpAddr;
use url::{Host, Url};

const FORM: &str = "write it as https://host/path?index=…";
/// The most ids in one call, unless the URL says fewer: as many as a chunk has.
const MAX_IDS: usize = crate::task::MAX_CHUNK_OBJECTS;

/// A parsed URL of the form `https://host/path?index=…`.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// The URL without its parameters and without a slash at its end.
    pub(super) base: String,
    pub(super) index: Template,
    pub(super) max_ids: usize,
    pub(super) objects_per_second: Option<u32>,
    pub(super) auth: Auth,
}

/// How a call is authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Auth {
    /// It is not.
    None,
    /// By the token in `VECTOR_STORE_TOKEN`.
    Bearer,
    /// By the token in this secret of AWS Secrets Manager.
    #[cfg(feature = "secrets-manager")]
    BearerFromSecret(crate::vector::secret::SecretArn),
    /// By a signature with the function's own role (AWS Signature Version 4).
    SigV4 { service: String, region: String },
}

impl Address {
    /// Parses the URL.
    ///
    /// # Errors
    /// All errors in the URL, one sentence each.
    pub(super) fn read(url: &Url) -> Result<Self, Vec<String>> {
        let mut parameters = Parameters::of(url);
        let index = parameters.take("index");
        let index = Template::parse(index.as_deref().unwrap_or("{embedding_model_id}"));
        let index = parameters.keep_error("index", index);
        let max_ids = match parameters.take("max_ids") {
            None => Some(MAX_IDS),
            Some(text) => {
                let number = text.parse().ok().filter(|n| (1..=MAX_IDS).contains(n));
                let error = || format!("is `{text}`: give a whole number from 1 to {MAX_IDS}");
                parameters.keep_error("max_ids", number.ok_or_else(error))
            }
        };
        let objects_per_second = parameters.per_second("objects_per_second");
        let auth = auth(&mut parameters);
        let base = base(url).map_err(|error| parameters.errors.push(error));
        let errors = parameters.finish();
        match (base, index, max_ids) {
            (Ok(base), Some(index), Some(max_ids)) if errors.is_empty() => Ok(Self {
                base,
                index,
                max_ids,
                objects_per_second,
                auth,
            }),
            _ => Err(errors),
        }
    }
}

fn auth(parameters: &mut Parameters) -> Auth {
    let kind = parameters.take("auth");
    let (service, region) = (parameters.take("service"), parameters.take("region"));
    let secret = parameters.take("token_secret");
    let auth = match (kind.as_deref(), service, region) {
        (Some("sigv4"), Some(service), Some(region)) => Auth::SigV4 { service, region },
        (Some("sigv4"), service, region) => {
            for (name, given) in [("service", &service), ("region", &region)] {
                if given.is_none() {
                    let error = format!(
                        "`{name}` is missing: auth=sigv4 needs it, such as service=lambda&region=eu-west-1"
                    );
                    parameters.errors.push(error);
                }
            }
            Auth::None
        }
        (kind, None, None) => match kind {
            None | Some("none") => Auth::None,
            Some("bearer") => Auth::Bearer,
            Some(other) => {
                let error = format!("`auth`: is `{other}`: give `none`, `bearer` or `sigv4`");
                parameters.errors.push(error);
                Auth::None
            }
        },
        _ => {
            let error = "`service` and `region` go with auth=sigv4".to_owned();
            parameters.errors.push(error);
            Auth::None
        }
    };
    match secret {
        None => auth,
        Some(arn) if kind.as_deref() == Some("bearer") => bearer_from_secret(&arn, parameters),
        Some(_) => {
            let error = "`token_secret` goes with auth=bearer".to_owned();
            parameters.errors.push(error);
            auth
        }
    }
}

#[cfg(feature = "secrets-manager")]
fn bearer_from_secret(arn: &str, parameters: &mut Parameters) -> Auth {
    let arn = crate::vector::secret::SecretArn::parse(arn);
    let arn = parameters.keep_error("token_secret", arn);
    arn.map_or(Auth::Bearer, Auth::BearerFromSecret)
}

#[cfg(not(feature = "secrets-manager"))]
fn bearer_from_secret(_arn: &str, parameters: &mut Parameters) -> Auth {
    let error = "`token_secret`: AWS Secrets Manager was left out of this build".to_owned();
    parameters.errors.push(error);
    Auth::Bearer
}

fn base(url: &Url) -> Result<String, String> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password: use `auth` and VECTOR_STORE_TOKEN".to_owned());
    }
    if url.fragment().is_some() {
        return Err(format!("has a fragment: {FORM}"));
    }
    if url.path().contains("%7B") || url.path().contains('{') {
        return Err(
            "has a placeholder in its path: only `index` may have one, as in ?index={embedding_model_id}"
                .to_owned(),
        );
    }
    let is_loopback = match url.host() {
        None => return Err(format!("has no host: {FORM}")),
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
    };
    if url.scheme() == "http" && !is_loopback {
        return Err("is not encrypted: use https://; http:// is only for this machine".to_owned());
    }
    let mut bare = url.clone();
    bare.set_query(None);
    Ok(bare.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::ModelId;

    fn read(url: &str) -> Result<Address, Vec<String>> {
        Address::read(&Url::parse(url).unwrap())
    }

    #[test]
    fn the_model_names_the_index_unless_the_url_says_otherwise() {
        let model = ModelId::new("embed/4?x#y").unwrap();
        for (url, index) in [
            ("https://h/p", "embed/4?x#y"),
            ("https://h/p?index=v-{embedding_model_id}", "v-embed/4?x#y"),
            ("https://h/p?index=fixed", "fixed"),
        ] {
            let address = read(url).unwrap();
            assert_eq!(address.index.fill(&model), index, "{url}");
            assert_eq!(address.base, "https://h/p", "{url}");
            assert_eq!((address.max_ids, &address.auth), (500, &Auth::None));
        }
        assert_eq!(read("https://h").unwrap().base, "https://h");
        assert_eq!(
            read("https://h:8443/a/b/").unwrap().base,
            "https://h:8443/a/b"
        );
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for host in ["127.0.0.1:8000", "127.1.2.3", "[::1]:8000", "localhost"] {
            assert!(read(&format!("http://{host}/p")).is_ok(), "{host}");
        }
        for host in ["h", "localhost.example.com", "10.0.0.1", "[::2]", "0.0.0.0"] {
            let errors = read(&format!("http://{host}/p")).unwrap_err();
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains("https://"), "{errors:?}");
        }
    }

    #[test]
    fn each_way_to_authenticate_is_read() {
        let sigv4 = Auth::SigV4 {
            service: "lambda".to_owned(),
            region: "eu-west-1".to_owned(),
        };
        for (query, auth) in [
            ("auth=none", Auth::None),
            ("auth=bearer", Auth::Bearer),
            ("auth=sigv4&service=lambda&region=eu-west-1", sigv4),
        ] {
            assert_eq!(read(&format!("https://h/?{query}")).unwrap().auth, auth);
        }
    }

    #[test]
    fn every_error_is_named() {
        for (url, expected) in [
            ("https://u:hunter2@h/p", "has a user or a password"),
            ("https://h/p#f", "has a fragment"),
            (
                "https://h/{embedding_model_id}",
                "a placeholder in its path",
            ),
            ("https://h/p?index={model}", "a placeholder other than"),
            ("https://h/p?max_ids=0", "from 1 to 500"),
            ("https://h/p?max_ids=501", "from 1 to 500"),
            ("https://h/p?auth=basic", "`none`, `bearer` or `sigv4`"),
            ("https://h/p?auth=sigv4&region=r", "`service` is missing"),
            ("https://h/p?auth=bearer&region=r", "go with auth=sigv4"),
            ("https://h/p?token_secret=a", "goes with auth=bearer"),
            (
                "https://h/p?auth=bearer&token_secret=a",
                "`token_secret`: write the secret's ARN",
            ),
            ("https://h/p?token=t", "parameter `token` is not known"),
        ] {
            let errors = read(url).unwrap_err();
            assert_eq!(errors.len(), 1, "{url}: {errors:?}");
            assert!(errors[0].contains(expected), "{url}: {errors:?}");
            assert!(!errors[0].contains("hunter2"), "{errors:?}");
        }
        assert_eq!(
            read("https://h/p?auth=sigv4&max_ids=x&y=1")
                .unwrap_err()
                .len(),
            4
        );
    }
}
