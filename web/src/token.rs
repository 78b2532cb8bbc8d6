//! The token that the console's calls must carry if a program forwards them with its own rights.
//!
//! Every user of a machine can connect to loopback, so a connection proves nothing. The token is in
//! the fragment of the address that the program prints. A browser never sends a fragment to a
//! server, not even in `Referer`. The page keeps the token for its origin, port included, and sends
//! it as a bearer token (RFC 6750). A cookie would go to every port of the host, and so to other
//! users' servers.

use crate::server::{Reply, problem};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use std::fmt;
use std::hint::black_box;
use std::net::SocketAddr;

/// A secret for one start of a program: 122 random bits from the system.
pub struct Token(String);

impl Token {
    /// Makes a new token.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The address to open in a browser: the console at `server`, with the token.
    #[must_use]
    pub fn console(&self, server: SocketAddr) -> String {
        format!("http://{server}/#token={}", self.0)
    }

    /// The response to a request that does not carry this token. `None` if the request does.
    #[must_use]
    pub fn refusal(&self, headers: &HeaderMap) -> Option<Reply> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let is_right = match (given.next(), given.next()) {
            (Some(given), None) => bearer(given).is_some_and(|given| self.is(given)),
            _ => false,
        };
        if is_right {
            return None;
        }
        let detail = "This page has no token, or that of an earlier start. Open the address that the program printed at its last start";
        let mut refusal = problem(StatusCode::UNAUTHORIZED, detail);
        let scheme = HeaderValue::from_static("Bearer");
        refusal.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        Some(refusal)
    }

    /// Compares in the same time for every text of the token's length, so that the token cannot be
    /// guessed byte by byte.
    fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differences = own.iter().zip(given).map(|(own, given)| own ^ given);
        let differ = differences.fold(0, |all, one| black_box(all | one));
        given.len() == own.len() && differ == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

fn bearer(authorization: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = authorization.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|value| value.parse().unwrap());
        values.map(|value| (AUTHORIZATION, value)).collect()
    }

    #[test]
    fn only_the_token_itself_is_let_in() {
        let token = Token::random();
        let right = format!("Bearer {}", token.0);
        assert!(token.refusal(&headers(&[&right])).is_none());
        let lower = format!("bearer {}", token.0);
        assert!(token.refusal(&headers(&[&lower])).is_none());

        let other = format!("Bearer {}", Token::random().0);
        let mut all = vec![
            vec![],
            vec![""],
            vec!["Bearer"],
            vec!["Bearer "],
            vec![token.0.as_str()],
            vec![other.as_str()],
            vec![right.as_str(), right.as_str()],
            vec![right.as_str(), other.as_str()],
        ];
        let basic = right.replace("Bearer", "Basic ");
        let (longer, shorter) = (format!("{right}0"), &right[..right.len() - 1]);
        all.extend([vec![basic.as_str()], vec![longer.as_str()], vec![shorter]]);
        // Each byte matters.
        let changed = (7..right.len()).map(|at| {
            let mut bytes = right.clone().into_bytes();
            bytes[at] ^= 1;
            String::from_utf8(bytes).unwrap()
        });
        let changed: Vec<_> = changed.collect();
        all.extend(changed.iter().map(|one| vec![one.as_str()]));
        for wrong in all {
            let refusal = token.refusal(&headers(&wrong));
            let refusal = refusal.unwrap_or_else(|| panic!("{wrong:?} is let in"));
            assert_eq!(refusal.status(), 401);
            assert_eq!(refusal.headers()[WWW_AUTHENTICATE], "Bearer");
        }
    }

    #[test]
    fn the_address_has_the_token_in_its_fragment_and_a_log_has_it_nowhere() {
        let token = Token::random();
        let address = token.console(([127, 0, 0, 1], 9000).into());
        let expected = format!("http://127.0.0.1:9000/#token={}", token.0);
        assert_eq!(address, expected);
        assert!(!format!("{token:?}").contains(&token.0));
    }
}
