//! TLS by rustls with ring, under tokio-postgres.

use crate::aws::TlsRoots;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{self, CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_rustls::{Connect, TlsConnector, client};

/// The certificate authorities of Amazon RDS. No system trusts them by default.
const RDS: &[u8] = include_bytes!("rds.pem");
/// The suffix of every endpoint of Amazon RDS, and of the names in the certificates of its
/// authorities.
const RDS_HOST: &str = ".rds.amazonaws.com";

/// Which server is trusted, as `sslmode`, `sslrootcert` and the host determine.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// No TLS.
    Disable,
    /// TLS with any certificate: the connection is encrypted, but the other end could be any
    /// server.
    Require,
    /// TLS with a certificate for the host, signed by one of these authorities.
    VerifyFull(Authorities),
}

/// Certificate authorities.
#[derive(Clone, Debug)]
pub(super) enum Authorities {
    /// The authorities that the system trusts.
    System,
    /// The authorities of Amazon RDS, and Amazon Trust Services, which signs the certificates of
    /// RDS Proxy.
    Rds,
    /// The authorities in the file that the URL names.
    Named(Arc<RootCertStore>),
}

impl Authorities {
    /// Loads the certificates. Reading those of the system takes some milliseconds.
    fn load(&self) -> Arc<RootCertStore> {
        Arc::new(match self {
            Self::System => TlsRoots::System.load(),
            Self::Rds => {
                let mut roots = TlsRoots::Amazon.load();
                roots.add_parsable_certificates(CertificateDer::pem_slice_iter(RDS).flatten());
                roots
            }
            Self::Named(roots) => return Arc::clone(roots),
        })
    }
}

impl Trust {
    /// Reads the trust from the parameters `sslmode` and `sslrootcert` and the host.
    pub(super) fn read(mode: &str, roots: Option<&str>, host: &str) -> Result<Self, String> {
        match (mode, roots) {
            ("disable", None) => Ok(Self::Disable),
            ("require", None) => Ok(Self::Require),
            (mode @ ("disable" | "require"), Some(_)) => Err(format!(
                "sslmode `{mode}` does not verify certificates: leave `sslrootcert` out, or use `verify-full`"
            )),
            ("verify-full", roots) => Ok(Self::VerifyFull(match roots {
                Some("system") => Authorities::System,
                Some(path) => Authorities::Named(Arc::new(read_roots(path)?)),
                None if host.ends_with(RDS_HOST) => Authorities::Rds,
                None => Authorities::System,
            })),
            (other, _) => Err(format!(
                "sslmode `{other}` is not supported: use `disable`, `require` or `verify-full`"
            )),
        }
    }

    pub(super) fn ssl_mode(&self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Require | Self::VerifyFull(_) => SslMode::Require,
        }
    }

    /// Makes the TLS for this trust; `None` if there is none.
    pub(super) fn connector(&self) -> Result<Option<Tls>, Error> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let config = match self {
            Self::Disable => return Ok(None),
            Self::Require => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
            Self::VerifyFull(authorities) => config.with_root_certificates(authorities.load()),
        };
        let config = config.with_no_client_auth();
        Ok(Some(Tls(TlsConnector::from(Arc::new(config)))))
    }
}

fn read_roots(path: &str) -> Result<RootCertStore, String> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|_| {
            format!("sslrootcert `{path}` cannot be read as a file of PEM certificates")
        })?;
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(certificates);
    match good {
        0 => Err(format!("sslrootcert `{path}` contains no certificate")),
        _ => Ok(roots),
    }
}

/// Accepts any certificate, but verifies that the server has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Makes TLS connections.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Secure<S>;
    type TlsConnect = TlsTo;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<TlsTo> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connector = self.0.clone();
        Ok(TlsTo { connector, name })
    }
}

/// One handshake.
pub(super) struct TlsTo {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for TlsTo {
    type Stream = Secure<S>;
    type Error = io::Error;
    type Future = Handshake<S>;

    fn connect(self, stream: S) -> Handshake<S> {
        Handshake(self.connector.connect(self.name, stream))
    }
}

pub(super) struct Handshake<S>(Connect<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Handshake<S> {
    type Output = io::Result<Secure<S>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map_ok(|stream| Secure(Box::new(stream)))
    }
}

/// A TLS stream.
pub(super) struct Secure<S>(Box<client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Secure<S> {
    /// There is no channel binding: it would need a parsed certificate, and `verify-full` proves
    /// the server's identity without it.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secure<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secure<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The common names of the authorities that are trusted for this host. They are in the subject
    /// as text.
    fn trusted(host: &str) -> Vec<String> {
        let Ok(Trust::VerifyFull(authorities)) = Trust::read("verify-full", None, host) else {
            panic!("{host} is not verified");
        };
        let roots = authorities.load().subjects();
        let names = roots
            .iter()
            .map(|name| String::from_utf8_lossy(name.as_ref()).into_owned());
        names.collect()
    }

    #[test]
    fn the_authorities_of_rds_are_trusted_for_its_hosts_and_for_no_other() {
        let names = trusted("db.c1.eu-west-1.rds.amazonaws.com");
        // Three for each of 27 regions, and five of Amazon Trust Services. A certificate that
        // cannot be parsed would be missing.
        assert_eq!(names.len(), 27 * 3 + 5);
        for kind in ["RSA2048", "RSA4096", "ECC384"] {
            let name = format!("Amazon RDS eu-west-1 Root CA {kind} G1");
            assert!(names.iter().any(|one| one.contains(&name)), "{name}");
        }
        assert!(names.iter().any(|one| one.contains("Amazon Root CA 1")));
        for host in [
            "db.example.com",
            "rds.amazonaws.com.example.com",
            "xrds.amazonaws.com",
        ] {
            let names = trusted(host);
            assert!(
                !names.iter().any(|one| one.contains("Amazon RDS")),
                "{host}"
            );
        }
    }
}
