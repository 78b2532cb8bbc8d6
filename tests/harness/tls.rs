//! Certificates, and servers behind TLS.

use crate::files::in_target;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate with its key, and the authority that signed it.
#[derive(Debug)]
pub struct Certificate {
    config: Arc<ServerConfig>,
    authority: String,
}

impl Certificate {
    /// Creates a certificate for these host names, signed by an authority of its own.
    pub fn of(names: &[&str]) -> Self {
        Self::made(names, |_| {})
    }

    /// Creates the same certificate, but no longer valid.
    pub fn that_has_expired(names: &[&str]) -> Self {
        Self::made(names, |certificate| {
            certificate.not_after = date_time_ymd(2020, 1, 1);
        })
    }

    fn made(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        let authority_key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new(Vec::new()).expect("no names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority
            .self_signed(&authority_key)
            .expect("a certificate")
            .pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().expect("a key");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut certificate = CertificateParams::new(names).expect("host names");
        change(&mut certificate);
        let certificate = certificate.signed_by(&key, &issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        Self {
            config: Arc::new(config),
            authority: authority_pem,
        }
    }

    /// Writes a file with the certificates in `others`, followed by the authority's.
    pub fn authority_file(&self, name: &str, others: &str) -> PathBuf {
        let path = in_target(&format!("test-authority-{name}.pem"));
        let text = format!("{others}{}", self.authority);
        std::fs::write(&path, text).expect("a file can be written");
        path
    }

    /// Returns an acceptor of TLS connections with this certificate.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

/// HTTPS in front of a server that speaks HTTP. It stops when this is dropped.
#[derive(Debug)]
pub struct Https {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Https {
    /// Starts in front of `server`, with a certificate for `localhost`.
    pub async fn before(server: SocketAddr, certificate: &Certificate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let tls = certificate.acceptor();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let tls = tls.clone();
                tokio::spawn(async move {
                    let (client, server) =
                        tokio::join!(tls.accept(client), TcpStream::connect(server));
                    if let (Ok(mut client), Ok(mut server)) = (client, server) {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { address, task }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.task.abort();
    }
}
