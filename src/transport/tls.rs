//! Whom to trust, and who we are.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{TransportError, TransportErrorKind};
use crate::protocol::error::ApiError;

/// Which certificate authorities are trusted, and the certificate that is shown to servers that want one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsConfig {
    /// Whether Mozilla's list is, as it was when this program was built: what browsers trust works in a bare container. Default true.
    pub web_roots: bool,
    /// Whether the platform's are: what an administrator has added works, too. On Linux `SSL_CERT_FILE` and `SSL_CERT_DIR` name others
    /// in their place. Those that can't be read are logged and left out. Default true.
    pub native_roots: bool,
    /// A PEM file with further authorities, such as a company's own. Nothing but certificates is read from it. A blank path
    /// is none, so that an environment variable can be passed on as it is.
    /// Authorities in it that can't be read are logged and left out, unless there is no other.
    pub extra_ca_file: Option<PathBuf>,
    /// A PEM file with the certificate that servers are shown which ask for one, and those that lead from it to its authority.
    pub client_cert_file: Option<PathBuf>,
    /// A PEM file with the key of that certificate; by default the same file.
    pub client_key_file: Option<PathBuf>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            web_roots: true,
            native_roots: true,
            extra_ca_file: None,
            client_cert_file: None,
            client_key_file: None,
        }
    }
}

/// The variable that names a file of authorities, as OpenSSL and what is built on it read it.
const CA_FILE_VARIABLE: &str = "SSL_CERT_FILE";

impl TlsConfig {
    /// The defaults, and the authorities in the file that `SSL_CERT_FILE` names, if it is set and not blank. `lookup` gives
    /// environment variables.
    ///
    /// The file is read here, so that one that can't be used is an error with the variable's name, and not a certificate
    /// that is refused later for no visible reason.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when the file can't be read or holds no certificate that can be
    /// used.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ApiError> {
        let extra_ca_file = lookup(CA_FILE_VARIABLE)
            .map(PathBuf::from)
            .filter(|path| !is_blank(path));
        if let Some(path) = &extra_ca_file {
            read_file(path).map_err(|error| {
                let mut named: ApiError = error.into();
                let message = &mut named.details_mut().message;
                message.insert_str(0, &format!("environment variable {CA_FILE_VARIABLE}: "));
                named
            })?;
        }
        Ok(Self {
            extra_ca_file,
            ..Self::default()
        })
    }

    /// Reads the certificates. It blocks on files and is meant to be done once, not per connection or worker.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>, TransportError> {
        let mut store = RootCertStore::empty();
        if self.web_roots {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        if self.native_roots {
            add_native(&mut store);
        }
        if let Some(path) = self.extra_ca_file.as_ref().filter(|path| !is_blank(path)) {
            store.extend(read_file(path)?.roots);
        }
        if store.is_empty() {
            let message = "no certificate authority to trust: set `extra_ca_file`, `web_roots` or `native_roots`";
            return Err(TransportError::new(
                TransportErrorKind::InvalidRequest,
                message,
            ));
        }
        // The provider is named here, for the process's default is the program's to choose.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                TransportError::new(TransportErrorKind::InvalidRequest, "can't set up TLS")
                    .with_source(error)
            })?
            .with_root_certificates(store);
        let mut config = match &self.client_cert_file {
            Some(path) => {
                let key_path = self.client_key_file.as_ref().unwrap_or(path);
                let (chain, key) = read_client_identity(path, key_path)?;
                config.with_client_auth_cert(chain, key).map_err(|cause| {
                    unusable("client certificate", path, "it does not go with its key")
                        .with_source(cause)
                })?
            }
            None => config.with_no_client_auth(),
        };
        // No HTTP/2: the client's comes from h2 0.3, which has an open advisory (RUSTSEC-2026-0258) and trouble with
        // early resets. One connection a stream is also what makes closing it a cancel.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn is_blank(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.trim().is_empty())
}

fn add_native(store: &mut RootCertStore) {
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "native certificate authorities left out");
    }
    // Platforms keep ancient certificates that no longer parse; those can't vouch for anyone.
    store.add_parsable_certificates(native.certs);
}

fn unusable(what: &str, path: &Path, reason: &str) -> TransportError {
    let message = format!("{what} in {}: {reason}", path.display());
    TransportError::new(TransportErrorKind::InvalidRequest, message)
}

fn read_client_identity(
    path: &Path,
    key_path: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TransportError> {
    let what = "client certificate";
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| unusable(what, path, "can't read it as PEM").with_source(cause))?;
    if chain.is_empty() {
        return Err(unusable(what, path, "it holds no PEM certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(key_path).map_err(|cause| {
        let reason = "can't read a PEM key (one with a passphrase has to be decrypted first)";
        unusable("the client certificate's key", key_path, reason).with_source(cause)
    })?;
    Ok((chain, key))
}

/// What OpenSSL calls a certificate with words on what it is trusted for.
const OPENSSL_TRUSTED: &str = "-----BEGIN TRUSTED CERTIFICATE-----";

fn read_file(path: &Path) -> Result<RootCertStore, TransportError> {
    let mut store = RootCertStore::empty();
    let error = |reason: &str| unusable("certificate authorities", path, reason);
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|cause| error("can't read the file").with_source(cause))?;
    let mut count = 0;
    let mut first_refused = None;
    for certificate in certificates {
        let certificate =
            certificate.map_err(|cause| error("it is no valid PEM").with_source(cause))?;
        count += 1;
        if let Err(cause) = store.add(certificate) {
            tracing::warn!(path = %path.display(), count, %cause, "a certificate authority is left out");
            let reason = format!("certificate {count} is not valid");
            first_refused.get_or_insert_with(|| error(&reason).with_source(cause));
        }
    }
    match first_refused {
        // Bundles of a whole system hold ancient certificates that no longer parse, among good ones.
        Some(refused) if store.is_empty() => Err(refused),
        None if count == 0 => {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            Err(match text.contains(OPENSSL_TRUSTED) {
                true => error(
                    "it holds OpenSSL's TRUSTED CERTIFICATE: write a plain one with `openssl x509 -in FILE -out NEW`",
                ),
                false => error("it holds no PEM certificate"),
            })
        }
        _ => Ok(store),
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, fs};

    use super::*;

    fn only(extra_ca_file: Option<PathBuf>) -> TlsConfig {
        TlsConfig {
            web_roots: false,
            native_roots: false,
            extra_ca_file,
            ..TlsConfig::default()
        }
    }

    fn file(name: &str, text: &str) -> PathBuf {
        let name = format!("actix-responses-{}-{name}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn blank_path_is_no_file() {
        for path in ["", " "] {
            let config = TlsConfig {
                native_roots: false,
                extra_ca_file: Some(path.into()),
                ..TlsConfig::default()
            };
            let config = config.client_config().unwrap();
            assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
        }
    }

    #[test]
    fn trusting_nobody_is_refused() {
        let error = only(None).client_config().unwrap_err();
        assert!(error.to_string().contains("extra_ca_file"));
    }

    #[test]
    fn file_that_can_not_be_used_is_named() {
        let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let cut = "-----BEGIN CERTIFICATE-----\nMAA=\n";
        for (path, said) in [
            (PathBuf::from("no-such-file.pem"), "can't read the file"),
            (file("empty", "hello"), "it holds no PEM certificate"),
            (file("broken", broken), "certificate 1 is not valid"),
            (file("cut", cut), "it is no valid PEM"),
            (
                file(
                    "trusted",
                    &broken.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
                ),
                "openssl x509 -in FILE",
            ),
        ] {
            let error = only(Some(path.clone())).client_config().unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::InvalidRequest);
            let text = error.to_string();
            assert!(
                text.contains(said) && text.contains(path.to_str().unwrap()),
                "{text}"
            );
            let is_read = said.contains("holds no") || said.contains("openssl");
            assert_eq!(error.source().is_none(), is_read);
            let _ = fs::remove_file(path);
        }
    }

    #[test]
    fn bundle_of_several_certificates_is_read_whole() {
        let certificate = |name: &str| {
            rcgen::generate_simple_self_signed([name.to_owned()])
                .unwrap()
                .cert
                .pem()
        };
        let path = file(
            "bundle",
            &format!("# two\n{}\n{}", certificate("a"), certificate("b")),
        );
        assert_eq!(read_file(&path).unwrap().len(), 2);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn broken_certificate_among_good_ones_is_left_out() {
        let good = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let path = file("mixed", &format!("{broken}{}", good.cert.pem()));
        assert_eq!(read_file(&path).unwrap().len(), 1);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn environment_names_a_file_or_none() {
        for unset in [None, Some(""), Some(" ")] {
            let config = TlsConfig::from_env(|_| unset.map(str::to_owned)).unwrap();
            assert_eq!(config, TlsConfig::default());
        }
        let good = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let path = file("named", &good.cert.pem());
        let lookup = |name: &str| {
            assert_eq!(name, "SSL_CERT_FILE");
            Some(path.to_str().unwrap().to_owned())
        };
        let config = TlsConfig::from_env(lookup).unwrap();
        assert_eq!(config.extra_ca_file.as_deref(), Some(&*path));
        fs::remove_file(&path).unwrap();
        let error = TlsConfig::from_env(lookup).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidConfiguration);
        for named in [
            "SSL_CERT_FILE",
            path.to_str().unwrap(),
            "can't read the file",
        ] {
            assert!(error.message().contains(named), "{error}");
        }
    }
}
