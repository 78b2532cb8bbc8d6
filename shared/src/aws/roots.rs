//! The root certificates that the SDK's clients trust.

use std::str::FromStr;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// The roots of Amazon Trust Services, which sign the certificates of AWS's endpoints. They are the
/// five that the page "Amazon Trust Services Repository" recommends for a custom trust store. The
/// first of them expires in 2037.
const AMAZON: [&[u8]; 5] = [
    include_bytes!("roots/amazon-root-ca-1.der"),
    include_bytes!("roots/amazon-root-ca-2.der"),
    include_bytes!("roots/amazon-root-ca-3.der"),
    include_bytes!("roots/amazon-root-ca-4.der"),
    include_bytes!("roots/starfield-services-root-ca-g2.der"),
];

/// Which root certificates are trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsRoots {
    /// The roots of Amazon Trust Services, which are part of the program. Loading them takes almost
    /// no time.
    #[default]
    Amazon,
    /// The system's, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`: some 140 certificates to load
    /// at each start.
    System,
}

impl TlsRoots {
    /// The values of the setting, for the text of an error.
    pub const CHOICES: &str = "`amazon` or `system`";

    /// The certificates.
    pub(crate) fn load(self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        match self {
            Self::Amazon => roots.add_parsable_certificates(AMAZON.map(CertificateDer::from)),
            Self::System => {
                let found = rustls_native_certs::load_native_certs();
                if found.certs.is_empty() {
                    tracing::error!(
                        "no root certificates were found, so no TLS connection can be made"
                    );
                }
                roots.add_parsable_certificates(found.certs)
            }
        };
        roots
    }
}

impl FromStr for TlsRoots {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "amazon" => Ok(Self::Amazon),
            "system" => Ok(Self::System),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// "SHA-256 Hash of Subject Public Key Information" on the page "Amazon Trust Services
    /// Repository".
    const PUBLISHED: [&str; 5] = [
        "fbe3018031f9586bcbf41727e417b7d1c45c2f47f93be372a17b96b50757d5a2",
        "7f4296fc5b6a4e3b35d3c369623e364ab1af381d8fa7121533c9d6c633ea2461",
        "36abc32656acfc645c61b71613c4bf21c787f5cabbee48348d58597803d7abc9",
        "f7ecded5c66047d28ed6466b543c40e0743abe81d109254dcf845d4c2c7853c5",
        "2b071c59a0a0ae76b0eadb2bad23bad4580b69c3601b630c2eaf0613afa83f92",
    ];

    #[test]
    fn amazons_roots_are_the_published_ones() {
        let roots = TlsRoots::Amazon.load().roots;
        let hashes = roots.iter().map(|root| {
            let content = root.subject_public_key_info.as_ref();
            // A trust anchor has no header: a SEQUENCE with its length (ITU-T X.690).
            let length = u16::try_from(content.len()).unwrap();
            let header = match length {
                0..0x80 => vec![0x30, length.to_be_bytes()[1]],
                0x80..0x100 => vec![0x30, 0x81, length.to_be_bytes()[1]],
                _ => [&[0x30, 0x82], length.to_be_bytes().as_slice()].concat(),
            };
            let hash = Sha256::digest([&header, content].concat());
            hash.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        });
        assert_eq!(hashes.collect::<Vec<_>>(), PUBLISHED);
    }
}
