//! What a provider is made from: settings of one's own, a preset beneath them, and environment variables.

use std::{env, ffi::OsString, fmt, path::PathBuf};

use super::{
    auth::{BearerAuth, HeaderAuth},
    compression::RequestCompression,
    endpoint::Provider,
    presets::Preset,
    stream_transport::StreamTransport,
    timeouts::Timeouts,
};
use crate::{
    protocol::error::ApiError,
    secret::redaction::is_secret_name,
    transport::TlsConfig,
    wire::{Quirks, Wire},
};

/// The header of a key that is sent as `Bearer KEY`.
const AUTHORIZATION: &str = "authorization";

/// What a provider is made from. What is set here goes before the preset; what neither sets has
/// [`Provider`]'s default.
///
/// ```
/// use actix_responses::provider::{Preset, ProviderSettings};
///
/// # fn main() -> Result<(), actix_responses::ApiError> {
/// let mut settings = ProviderSettings::from_preset(Preset::named("vllm")?);
/// settings.base_url = Some("http://gpu-7:8000/v1".to_owned());
/// let provider = settings.provider("vllm", |name| std::env::var_os(name))?;
/// assert_eq!(provider.host(), "gpu-7:8000");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ProviderSettings {
    /// What to begin with.
    pub preset: Option<&'static Preset>,
    /// Where it is. Needed unless the preset, or a variable that the preset names, says so.
    pub base_url: Option<String>,
    /// The dialect.
    pub wire: Option<Wire>,
    /// The environment variable with the key. Named here it must be set; the preset's may be unset where no key is required.
    pub key_env: Option<String>,
    /// The header that carries the key alone. `authorization` is the usual one, with `Bearer` in front.
    pub auth_header: Option<String>,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Headers of every request whose values are in environment variables, which must be set: name and variable.
    pub env_headers: Vec<(String, String)>,
    /// Query parameters of every request.
    pub query: Vec<(String, String)>,
    /// How long each part of a request may take.
    pub timeouts: Timeouts,
    /// How many attempts a request may have; see [`Provider::max_attempts`].
    pub max_attempts: Option<u32>,
    /// How request bodies are compressed.
    pub request_compression: RequestCompression,
    /// How the requests for streams are sent.
    pub stream_transport: StreamTransport,
    /// A PEM file with the certificate that it is shown when it asks for one; see [`tls`](Self::tls).
    pub client_cert: Option<PathBuf>,
    /// A PEM file with the key of that certificate; by default the same file.
    pub client_key: Option<PathBuf>,
    /// What it wants differently in request bodies, in place of all the preset's quirks.
    pub quirks: Option<Quirks>,
}

with_fields!(ProviderSettings {
    with_preset(preset: &'static Preset => Some(preset)),
    with_base_url(base_url: impl Into<String> => Some(base_url.into())),
    with_wire(wire: Wire => Some(wire)),
    with_key_env(key_env: impl Into<String> => Some(key_env.into())),
    with_auth_header(auth_header: impl Into<String> => Some(auth_header.into())),
    with_headers(headers: Vec<(String, String)>),
    with_env_headers(env_headers: Vec<(String, String)>),
    with_query(query: Vec<(String, String)>),
    with_timeouts(timeouts: Timeouts),
    with_max_attempts(max_attempts: u32 => Some(max_attempts)),
    with_request_compression(request_compression: RequestCompression),
    with_stream_transport(stream_transport: StreamTransport),
    with_client_cert(client_cert: impl Into<PathBuf> => Some(client_cert.into())),
    with_client_key(client_key: impl Into<PathBuf> => Some(client_key.into())),
    with_quirks(quirks: Quirks => Some(quirks)),
});

impl ProviderSettings {
    /// The settings that change nothing about a preset.
    pub fn from_preset(preset: &'static Preset) -> Self {
        Self {
            preset: Some(preset),
            ..Self::default()
        }
    }

    /// What OpenAI's own variables name, and nothing where they are unset: with `OPENAI_BASE_URL` the server there, which is asked with
    /// the key in `OPENAI_API_KEY` if there is one; else with `OPENAI_API_KEY` OpenAI itself. `lookup` gives environment variables, as
    /// [`std::env::var_os`] does; blank ones count as unset.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when one of the two is not UTF-8; the message names it.
    pub fn from_env<V: Into<OsString>>(
        lookup: impl Fn(&str) -> Option<V>,
    ) -> Result<Option<Self>, ApiError> {
        let get = |name: &'static str| match text_of(name, lookup(name)) {
            Err(Problem::Ours(message)) => Err(ApiError::misconfigured(message)),
            Err(Problem::Theirs(_, error)) => Err(error),
            Ok(text) => Ok(text.map(|text| text.trim().to_owned())),
        };
        let has_key = get(KEY_VARIABLE)?.is_some();
        Ok(match get(BASE_URL_VARIABLE)? {
            Some(base_url) => Some(Self {
                base_url: Some(base_url),
                // A server of one's own asks for none.
                key_env: has_key.then(|| KEY_VARIABLE.to_owned()),
                ..Self::default()
            }),
            None => (Preset::find("openai").filter(|_| has_key)).map(Self::from_preset),
        })
    }

    /// Makes the provider. `name` is what errors and logs call it; `lookup` gives environment variables, as [`std::env::var_os`]
    /// does, of which blank ones count as unset.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when a setting can't be used or a variable is unset or not UTF-8; the
    /// message names the provider, and the setting or the variable.
    pub fn provider<V: Into<OsString>>(
        &self,
        name: &str,
        lookup: impl Fn(&str) -> Option<V>,
    ) -> Result<Provider, ApiError> {
        let lookup = |variable: &str| text_of(variable, lookup(variable));
        self.build(name, &lookup).map_err(|error| match error {
            Problem::Ours(message) => {
                ApiError::misconfigured(format!("provider {name:?}: {message}"))
            }
            Problem::Theirs(place, error) => {
                let message = format!("provider {name:?}: {place}: {}", error.message());
                let mut wrapped = ApiError::misconfigured(message);
                wrapped.details_mut().source = error.details().source.clone();
                wrapped
            }
        })
    }

    /// How the transport is to meet it, such as [`AwcTransportFactory`](crate::transport::AwcTransportFactory): as
    /// [`TlsConfig::from_env`] has it, with the certificate of these settings in place of the environment's. A certificate belongs to
    /// a transport, and so to all that is asked over it.
    ///
    /// # Errors
    /// As for [`TlsConfig::from_env`].
    pub fn tls(&self, lookup: impl Fn(&str) -> Option<OsString>) -> Result<TlsConfig, ApiError> {
        let Some(path) = &self.client_cert else {
            return TlsConfig::from_env(lookup);
        };
        let is_ours = |name: &str| TlsConfig::CLIENT_VARIABLES.contains(&name);
        let mut tls = TlsConfig::from_env(|name| lookup(name).filter(|_| !is_ours(name)))?;
        tls.client_cert_file = Some(path.clone());
        tls.client_key_file = self.client_key.clone();
        Ok(tls)
    }

    /// The environment variable that the key is looked for in.
    pub fn key_variable(&self) -> Option<&str> {
        let of_preset = self.preset.map(|preset| preset.key_env);
        self.key_env.as_deref().or(of_preset)
    }

    fn build(&self, name: &str, lookup: &Lookup<'_>) -> Result<Provider, Problem> {
        let (base_url, place) = self.base_url(lookup)?;
        let mut provider =
            Provider::new(name, &base_url).map_err(|error| Problem::Theirs(place, error))?;
        if let Some(preset) = self.preset {
            provider.wire = preset.wire;
            provider.quirks = preset.quirks();
            for (header, variable) in preset.env_headers {
                let value = lookup(variable)?;
                if let Some(value) = value.filter(|_| !provider.headers().contains_key(*header)) {
                    provider = with_header(provider, header, value.trim(), variable)?;
                }
            }
            for (parameter, variable) in preset.env_query {
                let is_named = |(name, _): &(String, String)| name == parameter;
                if let Some(value) = lookup(variable)?.filter(|_| !self.query.iter().any(is_named))
                {
                    provider = provider.with_query(*parameter, value.trim());
                }
            }
        }
        for (header, value) in &self.headers {
            provider = with_header(provider, header, value, "headers")?;
        }
        for (header, variable) in &self.env_headers {
            let value = lookup(variable)?.ok_or_else(|| unset(variable, "env_headers"))?;
            provider = with_header(provider, header, value.trim(), variable)?;
        }
        for (parameter, value) in &self.query {
            provider = provider.with_query(parameter, value);
        }
        if let Some(preset) = self.preset {
            provider = preset.complete(provider);
        }
        provider.wire = self.wire.unwrap_or(provider.wire);
        provider.quirks = self.quirks.clone().unwrap_or(provider.quirks);
        provider.timeouts = self.timeouts.clone();
        provider.max_attempts = self.max_attempts;
        provider.request_compression = self.request_compression;
        provider.stream_transport = self.stream_transport;
        let named = |error| Problem::Theirs("timeouts".to_owned(), error);
        provider.timeouts.validate().map_err(named)?;
        self.with_key(provider, lookup)
    }

    /// The base URL, and which setting or variable gave it.
    fn base_url(&self, lookup: &Lookup<'_>) -> Result<(String, String), Problem> {
        if let Some(base_url) = &self.base_url {
            return Ok((base_url.clone(), "base_url".to_owned()));
        }
        let Some(preset) = self.preset else {
            let message = "it has neither a `base_url` nor a `preset`";
            return Err(Problem::Ours(message.to_owned()));
        };
        if let Some(variable) = preset.base_url_env
            && let Some(base_url) = lookup(variable)?
        {
            return Ok((base_url, variable.to_owned()));
        }
        let base_url = preset.base_url.ok_or_else(|| {
            let variable = preset.base_url_env.unwrap_or_default();
            Problem::Ours(format!(
                "where it is depends on the account: set {variable}, or a base URL"
            ))
        })?;
        Ok((base_url.to_owned(), "base_url".to_owned()))
    }

    fn with_key(&self, provider: Provider, lookup: &Lookup<'_>) -> Result<Provider, Problem> {
        let Some(variable) = self.key_variable() else {
            return Ok(provider);
        };
        let is_required =
            self.key_env.is_some() || self.preset.is_some_and(|preset| preset.key_required);
        let key = match lookup(variable)? {
            Some(key) => key,
            None if is_required => return Err(unset(variable, "key_env")),
            None => return Ok(provider),
        };
        let preset_header = self.preset.and_then(|preset| preset.key_header);
        let header = self.auth_header.as_deref().or(preset_header);
        let unusable = |error: super::AuthError| {
            Problem::Ours(format!("{}: {error}", variable_said(variable)))
        };
        Ok(
            match header.filter(|header| !header.eq_ignore_ascii_case(AUTHORIZATION)) {
                None => provider.with_auth(BearerAuth::new(key).map_err(unusable)?),
                Some(header) => provider.with_auth(HeaderAuth::new(header, key).map_err(unusable)?),
            },
        )
    }
}

impl Preset {
    /// Makes the provider. `lookup` gives environment variables, as [`std::env::var_os`] does; blank ones count as unset. For
    /// another base URL or key begin with [`ProviderSettings::from_preset`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when a variable that it needs is unset, or holds what can't be
    /// used; the message names it.
    pub fn provider<V: Into<OsString>>(
        &'static self,
        lookup: impl Fn(&str) -> Option<V>,
    ) -> Result<Provider, ApiError> {
        ProviderSettings::from_preset(self).provider(self.name, lookup)
    }
}

impl Provider {
    /// The provider that OpenAI's own variables name, as the command does without options: `OPENAI_BASE_URL`, or OpenAI itself, asked
    /// with the key in `OPENAI_API_KEY`. OpenAI is told `OPENAI_ORG_ID` (or `OPENAI_ORGANIZATION`) and `OPENAI_PROJECT_ID` (or
    /// `OPENAI_PROJECT`), where they are set. Blank variables count as unset. What the variables choose can be changed before
    /// they do: [`ProviderSettings::from_env`].
    ///
    /// ```no_run
    /// use actix_responses::{Runtime, provider::Provider};
    ///
    /// # fn main() -> Result<(), actix_responses::ApiError> {
    /// let runtime = Runtime::start(Provider::from_env()?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when neither a base URL nor a key is there, or a variable is not UTF-8 or
    /// can't be used. The message names the variable and never holds its value.
    pub fn from_env() -> Result<Self, ApiError> {
        Self::from_variables(|name| env::var_os(name))
    }

    fn from_variables(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, ApiError> {
        let settings = ProviderSettings::from_env(&lookup)?.ok_or_else(|| {
            ApiError::misconfigured(format!(
                "neither {KEY_VARIABLE} nor {BASE_URL_VARIABLE} is set, or they are blank: put the key into the one, or where the \
                 server is into the other"
            ))
        })?;
        let Some(preset) = settings.preset else {
            let provider = settings.provider("openai-compatible", lookup);
            // What is wrong is a variable, not a setting.
            return provider.map_err(|mut error| {
                let message = &mut error.details_mut().message;
                *message = message.replacen(": base_url:", &format!(": {BASE_URL_VARIABLE}:"), 1);
                error
            });
        };
        preset.provider(lookup)
    }
}

const BASE_URL_VARIABLE: &str = "OPENAI_BASE_URL";
const KEY_VARIABLE: &str = "OPENAI_API_KEY";

/// The value of an environment variable, if it is not blank.
fn text_of(variable: &str, value: Option<impl Into<OsString>>) -> Result<Option<String>, Problem> {
    match value.map(|value| value.into().into_string()) {
        Some(Ok(value)) => Ok(Some(value).filter(|value| !value.trim().is_empty())),
        None => Ok(None),
        // The value may be a key.
        Some(Err(_)) => Err(Problem::Ours(format!(
            "environment variable {variable} is not UTF-8: set it anew, or unset it"
        ))),
    }
}

/// Gives an environment variable that is not blank.
type Lookup<'a> = dyn Fn(&str) -> Result<Option<String>, Problem> + 'a;

/// What stands in the way of a provider.
enum Problem {
    Ours(String),
    /// An error of the provider's own, and the setting or the variable that caused it.
    Theirs(String, ApiError),
}

/// What errors call an environment variable. What does not look like the name of one is not said: it may be the key itself.
fn variable_said(name: &str) -> String {
    let is_of_names = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    match name.bytes().all(is_of_names) {
        true => format!("environment variable {name}"),
        false => "environment variable (not shown, for it may be a key: write the name of a variable that holds it, such as TEAM_KEY)".to_owned(),
    }
}

fn unset(variable: &str, setting: &str) -> Problem {
    Problem::Ours(format!(
        "{} (`{setting}`) is not set, or blank",
        variable_said(variable)
    ))
}

fn with_header(
    provider: Provider,
    header: &str,
    value: &str,
    place: &str,
) -> Result<Provider, Problem> {
    let named = |error| Problem::Theirs(place.to_owned(), error);
    provider.with_header(header, value).map_err(named)
}

/// Values of headers and parameters with a secret's name are left out.
impl fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |pairs: &[(String, String)]| {
            let shown = pairs
                .iter()
                .map(|(name, value)| match is_secret_name(name) {
                    true => (name.clone(), "[redacted]".to_owned()),
                    false => (name.clone(), value.clone()),
                });
            shown.collect::<Vec<_>>()
        };
        let env_headers = self.env_headers.iter();
        let env_headers = env_headers.map(|(header, variable)| (header, variable_said(variable)));
        let env_headers: Vec<_> = env_headers.collect();
        f.debug_struct("ProviderSettings")
            .field("preset", &self.preset.map(|preset| preset.name))
            .field("base_url", &self.base_url.as_ref().map(|_| "..."))
            .field("wire", &self.wire)
            .field("key_env", &self.key_env.as_deref().map(variable_said))
            .field("auth_header", &self.auth_header)
            .field("headers", &shown(&self.headers))
            .field("env_headers", &env_headers)
            .field("query", &shown(&self.query))
            .field("timeouts", &self.timeouts)
            .field("max_attempts", &self.max_attempts)
            .field("request_compression", &self.request_compression)
            .field("client_cert", &self.client_cert)
            .field("client_key", &self.client_key)
            .field("quirks", &self.quirks)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::ErrorKind;

    fn variables(name: &str) -> Option<String> {
        let value = match name {
            "KEY" | "AZURE_OPENAI_API_KEY" | "OPENAI_API_KEY" => "hunter2",
            "BLANK" => " ",
            "BROKEN" => "hunter2\nhunter2",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        type Set = fn(&mut ProviderSettings);
        let cases: [(Set, &str); 10] = [
            (|s| s.preset = None, "neither a `base_url` nor a `preset`"),
            (
                |s| s.base_url = Some("ftp://host".into()),
                "base_url: base URL of provider \"mine\": scheme \"ftp\"",
            ),
            (
                |s| s.key_env = Some("UNSET".into()),
                "environment variable UNSET (`key_env`) is not set",
            ),
            (
                |s| s.key_env = Some("BLANK".into()),
                "environment variable BLANK (`key_env`) is not set, or blank",
            ),
            (
                |s| s.key_env = Some("BROKEN".into()),
                "environment variable BROKEN: the token holds a character",
            ),
            (
                |s| s.headers = vec![("host".into(), "hunter2".into())],
                "headers: header host is set by the transport",
            ),
            (
                |s| s.env_headers = vec![("x-team".into(), "UNSET".into())],
                "environment variable UNSET (`env_headers`) is not set",
            ),
            (
                |s| s.key_env = Some("sk-hunter2".into()),
                "such as TEAM_KEY) (`key_env`) is not set",
            ),
            (
                |s| s.env_headers = vec![("x-team".into(), "hunter2".into())],
                "such as TEAM_KEY) (`env_headers`) is not set",
            ),
            (
                |s| s.timeouts.idle = std::time::Duration::ZERO,
                "timeouts: timeout `idle` is zero",
            ),
        ];
        for (set, said) in cases {
            let preset = Preset::find("openai").unwrap();
            let mut settings = ProviderSettings::from_preset(preset);
            set(&mut settings);
            let error = settings.provider("mine", variables).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            let text = error.report();
            assert!(text.contains(said) && text.contains("\"mine\""), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn variable_that_is_not_utf8_is_named_and_not_shown() {
        use std::os::unix::ffi::OsStringExt as _;

        let openai = Preset::find("openai").unwrap();
        for variable in ["OPENAI_API_KEY", "OPENAI_ORG_ID", "TEAM"] {
            let mut settings = ProviderSettings::from_preset(openai);
            settings.env_headers = vec![("x-team".into(), "TEAM".into())];
            let lookup = |name: &str| match name {
                "OPENAI_BASE_URL" => None,
                name if name == variable => Some(OsString::from_vec(b"hunter2\xff".into())),
                _ => Some("text".into()),
            };
            let text = settings.provider("mine", lookup).unwrap_err().report();
            assert!(
                text.contains(variable) && text.contains("not UTF-8"),
                "{text}"
            );
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn openais_own_variables_name_a_provider_or_what_is_wrong_with_them() {
        let provider = |variables: &[(&str, &str)]| {
            let variables: Vec<_> = (variables
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string())))
            .collect();
            Provider::from_variables(move |name| {
                let found = variables.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| value.into())
            })
        };
        let key = ("OPENAI_API_KEY", "hunter2");
        let openai = provider(&[
            key,
            ("OPENAI_ORG_ID", "org-1"),
            ("OPENAI_PROJECT", "p-1"),
            ("OPENAI_BASE_URL", " "),
        ])
        .unwrap();
        assert_eq!(
            (openai.name(), openai.host().as_str()),
            ("openai", "api.openai.com")
        );
        assert_eq!(openai.headers()["openai-organization"], "org-1");
        assert_eq!(openai.headers()["openai-project"], "p-1");
        assert!(format!("{:?}", openai.auth).contains("Bearer"));
        for (variables, auth) in [
            (
                &[("OPENAI_BASE_URL", "http://host:1/v1"), key][..],
                "Bearer",
            ),
            (&[("OPENAI_BASE_URL", "http://host:1/v1")], "NoAuth"),
        ] {
            let own = provider(variables).unwrap();
            assert_eq!(
                (own.name(), own.host().as_str()),
                ("openai-compatible", "host:1")
            );
            assert!(format!("{:?}", own.auth).contains(auth), "{own:?}");
            assert!(own.headers().is_empty());
        }
        for (variables, named) in [
            (&[][..], "OPENAI_API_KEY"),
            (&[("OPENAI_API_KEY", "")], "OPENAI_API_KEY"),
            (&[("OPENAI_API_KEY", "hunter2\nhunter2")], "OPENAI_API_KEY"),
            (
                &[("OPENAI_BASE_URL", "ftp://hunter2@host"), key],
                "OPENAI_BASE_URL",
            ),
        ] {
            let error = provider(variables).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            let text = error.report();
            assert!(text.contains(named) && !text.contains("hunter2"), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn openais_own_variable_that_is_not_utf8_is_named() {
        use std::os::unix::ffi::OsStringExt as _;

        for wrong in ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID"] {
            let error = Provider::from_variables(|name| match name {
                name if name == wrong => Some(OsString::from_vec(b"hunter2\xff".into())),
                "OPENAI_API_KEY" => Some("key".into()),
                _ => None,
            });
            let text = error.unwrap_err().report();
            assert!(text.contains(wrong) && text.contains("not UTF-8"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn azure_is_found_by_its_endpoint_alone() {
        for (endpoint, version, url) in [
            (
                "https://r.openai.azure.com",
                None,
                "https://r.openai.azure.com/openai/v1/responses",
            ),
            (
                "https://r.openai.azure.com/",
                Some("preview"),
                "https://r.openai.azure.com/openai/v1/responses?api-version=preview",
            ),
            (
                "https://r.openai.azure.com/",
                Some("2025-04-01-preview"),
                "https://r.openai.azure.com/openai/responses?api-version=2025-04-01-preview",
            ),
            (
                "https://r.openai.azure.com/openai/deployments/d",
                Some("2024-10-21"),
                "https://r.openai.azure.com/openai/deployments/d/responses?api-version=2024-10-21",
            ),
        ] {
            let lookup = |name: &str| match name {
                "AZURE_OPENAI_ENDPOINT" => Some(endpoint.to_owned()),
                "OPENAI_API_VERSION" => version.map(str::to_owned),
                name => variables(name),
            };
            let provider = Preset::named("azure-openai")
                .and_then(|preset| preset.provider(lookup))
                .unwrap();
            assert_eq!(provider.url_for(provider.wire.path(), &[]).as_str(), url);
        }
        let error = Preset::named("azure-openai")
            .and_then(|preset| preset.provider(variables))
            .unwrap_err();
        assert!(error.message().contains("AZURE_OPENAI_ENDPOINT"), "{error}");
    }

    #[test]
    fn secrets_are_not_printed() {
        let settings = ProviderSettings {
            base_url: Some("https://host?code=hunter2".into()),
            headers: vec![("x-api-key".into(), "hunter2".into())],
            query: vec![("sig".into(), "hunter2".into())],
            ..ProviderSettings::default()
        };
        let printed = format!("{settings:?} {settings:#?}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
