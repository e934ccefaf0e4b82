//! An authority of one's own, and servers that it has signed.

use std::{
    net::TcpStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use actix_responses::transport::TlsConfig;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};

use super::Folder;

/// A certificate for one host in a file to trust it by, and the configuration of a server that shows it.
pub(crate) struct Identity {
    pub(crate) ca_file: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) server: Arc<rustls::ServerConfig>,
    _folder: Folder,
}

impl Identity {
    pub(crate) fn new(host: &str) -> Self {
        Self::with(host, |_| {})
    }

    /// One that is valid no more.
    pub(crate) fn expired(host: &str) -> Self {
        Self::with(host, |params| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    fn with(host: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        static ISSUERS: AtomicU32 = AtomicU32::new(0);
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
        // Else all of them have the same issuer, and the signature is what is wrong.
        let issuer = format!("issuer {}", ISSUERS.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, issuer);
        change(&mut params);
        let certificate = params.self_signed(&key).expect("a certificate");
        let folder = Folder::new();
        let ca_file = folder.write("authority.pem", certificate.pem()).into();
        let key_file = folder.write("key.pem", key.serialize_pem()).into();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::from(key))
            .expect("a certificate");
        Self {
            ca_file,
            key_file,
            server: Arc::new(server),
            _folder: folder,
        }
    }

    /// Another configuration of the server, for those alone who show this client's certificate.
    pub(crate) fn server_for(&self, client: &Self) -> Arc<rustls::ServerConfig> {
        let mut roots = rustls::RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(&client.ca_file).expect("a certificate");
        roots.add(certificate).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&provider),
        );
        let chain = vec![CertificateDer::from_pem_file(&self.ca_file).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(&self.key_file).expect("a key");
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients.build().expect("a verifier"))
            .with_single_cert(chain, key)
            .expect("a certificate");
        Arc::new(server)
    }

    /// The configuration of a client that trusts this authority alone and shows a certificate.
    pub(crate) fn client_for(&self, client: &Self) -> rustls::ClientConfig {
        let certificate = |of: &Self| CertificateDer::from_pem_file(&of.ca_file);
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(certificate(self).expect("a certificate"))
            .expect("an authority");
        let chain = vec![certificate(client).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(&client.key_file).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("a key that goes with its certificate")
    }

    /// Trusts this authority and no other.
    pub(crate) fn trusted(&self) -> TlsConfig {
        let mut tls = TlsConfig::default();
        tls.web_roots = false;
        tls.native_roots = false;
        tls.extra_ca_file = Some(self.ca_file.clone());
        tls
    }

    /// The server's side of a connection; the handshake begins with the first read.
    pub(crate) fn over_tls(
        server: &Arc<rustls::ServerConfig>,
        stream: TcpStream,
    ) -> rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
        let session = rustls::ServerConnection::new(Arc::clone(server)).expect("a session");
        rustls::StreamOwned::new(session, stream)
    }
}
