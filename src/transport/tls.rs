//! Whom to trust, and who we are.

use std::{
    env,
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{TransportError, TransportErrorKind as Kind};
use crate::{files, protocol::error::ApiError};

/// Which certificate authorities are trusted, and the certificate that is shown to servers that want one. Or all of it by
/// [`rustls`](Self::rustls), for what this has no field for.
#[derive(Clone)]
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
    /// A configuration of one's own, with authorities, certificates, versions, cryptography and all, in place of everything else here:
    /// a file beside it is an error, and the two lists of roots are not looked at. Connections speak HTTP/1.1 alone, so its
    /// `alpn_protocols` must be empty, which is taken for `http/1.1`, or that.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use actix_responses::{rustls, transport::TlsConfig};
    /// # fn of(config: rustls::ClientConfig) -> TlsConfig {
    /// let tls = TlsConfig::default().with_rustls(Arc::new(config));
    /// # tls
    /// # }
    /// ```
    pub rustls: Option<Arc<ClientConfig>>,
}

with_fields!(TlsConfig {
    with_web_roots(web_roots: bool),
    with_native_roots(native_roots: bool),
    with_extra_ca_file(extra_ca_file: impl Into<PathBuf> => Some(extra_ca_file.into())),
    with_client_cert_file(client_cert_file: impl Into<PathBuf> => Some(client_cert_file.into())),
    with_client_key_file(client_key_file: impl Into<PathBuf> => Some(client_key_file.into())),
    with_rustls(rustls: Arc<ClientConfig> => Some(rustls)),
});

/// Of a configuration of rustls nothing is shown: what it holds may print keys.
impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("web_roots", &self.web_roots)
            .field("native_roots", &self.native_roots)
            .field("extra_ca_file", &self.extra_ca_file)
            .field("client_cert_file", &self.client_cert_file)
            .field("client_key_file", &self.client_key_file)
            .field("rustls", &self.rustls.as_ref().map(|_| "..."))
            .finish()
    }
}

/// A configuration of rustls is equal to itself alone.
impl PartialEq for TlsConfig {
    fn eq(&self, other: &Self) -> bool {
        let rustls = |config: &Self| config.rustls.as_ref().map(Arc::as_ptr);
        self.web_roots == other.web_roots
            && self.native_roots == other.native_roots
            && self.extra_ca_file == other.extra_ca_file
            && self.client_cert_file == other.client_cert_file
            && self.client_key_file == other.client_key_file
            && rustls(self) == rustls(other)
    }
}

impl Eq for TlsConfig {}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            web_roots: true,
            native_roots: true,
            extra_ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            rustls: None,
        }
    }
}

/// The variable that names a file of authorities, as OpenSSL and what is built on it read it.
const CA_FILE_VARIABLE: &str = "SSL_CERT_FILE";
const CLIENT_CERT_VARIABLE: &str = "SSL_CLIENT_CERT_FILE";
const CLIENT_KEY_VARIABLE: &str = "SSL_CLIENT_KEY_FILE";
/// The most bytes of a PEM file. What a whole system trusts has a quarter of a mebibyte.
const MAX_PEM_BYTES: u64 = 16 << 20;

impl TlsConfig {
    /// The variables that name the files of the certificate that servers are shown, and of its key.
    pub(crate) const CLIENT_VARIABLES: [&str; 2] = [CLIENT_CERT_VARIABLE, CLIENT_KEY_VARIABLE];

    /// The defaults, and the files that variables name which are set and not blank: `SSL_CERT_FILE` one of authorities,
    /// `SSL_CLIENT_CERT_FILE` that of the certificate that servers are shown, and `SSL_CLIENT_KEY_FILE` that of its key, if it is
    /// another one. `lookup` gives environment variables, as [`env::var_os`] does.
    ///
    /// The files are read here, so that one that can't be used is an error with the variable's name, and not a certificate
    /// that is refused later for no visible reason.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when a file can't be read or holds nothing that can be used, or a
    /// key is named without a certificate.
    pub fn from_env(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, ApiError> {
        let path = |variable| {
            let path = lookup(variable).map(PathBuf::from);
            path.filter(|path| !is_blank(path))
        };
        let named = |variable: &str| {
            let place = format!("environment variable {variable}: ");
            move |error: TransportError| {
                let mut error = ApiError::from(error);
                error.details_mut().message.insert_str(0, &place);
                error
            }
        };
        let config = Self {
            extra_ca_file: path(CA_FILE_VARIABLE),
            client_cert_file: path(CLIENT_CERT_VARIABLE),
            client_key_file: path(CLIENT_KEY_VARIABLE),
            ..Self::default()
        };
        if let Some(path) = &config.extra_ca_file {
            read_file(path).map_err(named(CA_FILE_VARIABLE))?;
        }
        match (&config.client_cert_file, &config.client_key_file) {
            (Some(path), key_path) => {
                read_certificates(path).map_err(named(CLIENT_CERT_VARIABLE))?;
                let variable = match key_path {
                    Some(_) => CLIENT_KEY_VARIABLE,
                    None => CLIENT_CERT_VARIABLE,
                };
                read_key(key_path.as_ref().unwrap_or(path)).map_err(named(variable))?;
            }
            (None, Some(_)) => {
                return Err(ApiError::misconfigured(format!(
                    "environment variable {CLIENT_KEY_VARIABLE} names a key, and {CLIENT_CERT_VARIABLE} no certificate \
                     that it is for"
                )));
            }
            (None, None) => {}
        }
        Ok(config)
    }

    /// Reads the certificates. It blocks on files and is meant to be done once, not per connection or worker.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>, TransportError> {
        if let Some(config) = &self.rustls {
            return self.checked(config);
        }
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
            return Err(TransportError::new(Kind::InvalidRequest, message));
        }
        // The provider is named here, for the process's default is the program's to choose.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                TransportError::new(Kind::InvalidRequest, "can't set up TLS").with_source(error)
            })?
            .with_root_certificates(store);
        let mut config = match &self.client_cert_file {
            Some(path) => {
                let key_path = self.client_key_file.as_ref().unwrap_or(path);
                let (chain, key) = (read_certificates(path)?, read_key(key_path)?);
                config.with_client_auth_cert(chain, key).map_err(|cause| {
                    unusable("client certificate", path, "it does not go with its key")
                        .with_source(cause)
                })?
            }
            None => config.with_no_client_auth(),
        };
        // No HTTP/2: the client's comes from h2 0.3, which has an open advisory (RUSTSEC-2026-0258) and trouble with
        // early resets. One connection a stream is also what makes closing it a cancel.
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Arc::new(config))
    }

    /// The caller's own configuration, if nothing beside it and nothing in it speaks against it.
    fn checked(&self, config: &Arc<ClientConfig>) -> Result<Arc<ClientConfig>, TransportError> {
        let refused = |message| Err(TransportError::new(Kind::InvalidRequest, message));
        let files = [
            ("extra_ca_file", &self.extra_ca_file),
            ("client_cert_file", &self.client_cert_file),
            ("client_key_file", &self.client_key_file),
        ];
        let set =
            |(_, path): &(_, &Option<PathBuf>)| path.as_deref().is_some_and(|path| !is_blank(path));
        if let Some((name, _)) = files.into_iter().find(set) {
            return refused(format!(
                "`rustls` and `{name}` of the TLS settings are both set: put what the file holds into the configuration of \
                 rustls, or leave one of them out"
            ));
        }
        let mut protocols = config.alpn_protocols.iter();
        if let Some(other) = protocols.find(|protocol| *protocol != HTTP_1_1) {
            return refused(format!(
                "`alpn_protocols` of the configuration in `rustls` offers {:?}, and only http/1.1 is spoken: leave it empty",
                String::from_utf8_lossy(other)
            ));
        }
        if !config.alpn_protocols.is_empty() {
            return Ok(Arc::clone(config));
        }
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Arc::new(config))
    }
}

/// The one protocol that is offered by ALPN.
const HTTP_1_1: &[u8] = b"http/1.1";

fn is_blank(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.trim().is_empty())
}

fn add_native(store: &mut RootCertStore) {
    // The loader would read it to its end, if it has one.
    if let Some(path) = env::var_os(CA_FILE_VARIABLE) {
        let metadata = Path::new(&path).metadata();
        if metadata.is_ok_and(|file| !file.is_file() || file.len() > MAX_PEM_BYTES) {
            tracing::warn!(
                "native certificate authorities left out: {CA_FILE_VARIABLE} names no file of at most 16 MiB"
            );
            return;
        }
    }
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "native certificate authorities left out");
    }
    // Platforms keep ancient certificates that no longer parse; those can't vouch for anyone.
    store.add_parsable_certificates(native.certs);
}

fn unusable(what: &str, path: &Path, reason: &str) -> TransportError {
    let message = format!("{what} in {}: {reason}", path.display());
    TransportError::new(Kind::InvalidRequest, message)
}

/// The bytes of a PEM file; `what` is what errors call it.
fn read_pem(what: &str, path: &Path) -> Result<Vec<u8>, TransportError> {
    let unreadable =
        |cause: io::Error| unusable(what, path, "can't read the file").with_source(cause);
    files::read(path, MAX_PEM_BYTES).map_err(unreadable)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let what = "client certificate";
    let chain = CertificateDer::pem_slice_iter(&read_pem(what, path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|cause| unusable(what, path, "it is no valid PEM").with_source(cause))?;
    match chain.is_empty() {
        true => Err(unusable(what, path, "it holds no PEM certificate")),
        false => Ok(chain),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TransportError> {
    let what = "the client certificate's key";
    PrivateKeyDer::from_pem_slice(&read_pem(what, path)?).map_err(|cause| {
        let reason = "it holds no PEM key (one with a passphrase has to be decrypted first)";
        unusable(what, path, reason).with_source(cause)
    })
}

/// What OpenSSL calls a certificate with words on what it is trusted for.
const OPENSSL_TRUSTED: &[u8] = b"-----BEGIN TRUSTED CERTIFICATE-----";

fn read_file(path: &Path) -> Result<RootCertStore, TransportError> {
    let mut store = RootCertStore::empty();
    let what = "certificate authorities";
    let error = |reason: &str| unusable(what, path, reason);
    let pem = read_pem(what, path)?;
    let mut count = 0;
    let mut first_refused = None;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
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
        None if count == 0 => Err(
            match memchr::memmem::find(&pem, OPENSSL_TRUSTED).is_some() {
                true => error(
                    "it holds OpenSSL's TRUSTED CERTIFICATE: write a plain one with `openssl x509 -in FILE -out NEW`",
                ),
                false => error("it holds no PEM certificate"),
            },
        ),
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
            assert_eq!(error.kind(), Kind::InvalidRequest);
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
            let config = TlsConfig::from_env(|_| unset.map(OsString::from)).unwrap();
            assert_eq!(config, TlsConfig::default());
        }
        let good = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let path = file("named", &good.cert.pem());
        let lookup = |name: &str| (name == "SSL_CERT_FILE").then(|| path.clone().into());
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
