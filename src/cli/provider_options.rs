//! The options that say whom to ask, and the embedded provider for those who say nothing.

use std::{env, ffi::OsString, path::PathBuf, time::Duration};

use actix_responses::{
    Runtime,
    actors::{SupervisorConfig, Workers},
    loopback::{Loopback, LoopbackOptions},
    provider::{NoAuth, Preset, Provider, ProviderCatalog, ProviderSettings},
    retry::RetryPolicy,
    transport::{AwcTransportFactory, KeepAlive, ProxyConfig, TlsConfig},
    wire::Wire,
};
use clap::{Args, ValueEnum};

use super::{
    base_url, console,
    secrets::Secrets,
    system,
    time_options::{ConnectionOptions, TimeoutOptions},
    usage_error::UsageError,
};

const BASE_URL_VARIABLE: &str = "OPENAI_BASE_URL";
/// What a key stands in for that comes from no variable, where the provider names none.
const GIVEN_KEY: &str = "PROVIDER_KEY";
const CA_FILE_VARIABLE: &str = "SSL_CERT_FILE";
/// Among the options that most people need.
const COMMON: Option<&str> = None;
/// How much is repeated of a provider's name that nobody knows, in characters.
const MAX_NAME_CHARS: usize = 40;
/// The time between two events of the embedded provider: a person sees them come.
const EMBEDDED_PACE: Duration = Duration::from_millis(25);

/// An API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum WireName {
    /// The Responses API
    #[default]
    Responses,
    /// The Chat Completions API
    Chat,
}

impl From<WireName> for Wire {
    fn from(name: WireName) -> Self {
        match name {
            WireName::Responses => Self::Responses,
            WireName::Chat => Self::Chat,
        }
    }
}

#[derive(Args)]
#[command(next_help_heading = "Provider")]
pub(super) struct ProviderOptions {
    /// A provider by its name: openai, azure-openai, openrouter, perplexity, groq, deepseek, mistral, xai, ollama, lm-studio,
    /// llama-cpp, vllm, or one of --providers-file. The other options go before what it says
    #[arg(long, value_name = "NAME", help_heading = COMMON)]
    provider: Option<String>,

    /// Where the API is, such as http://localhost:8000/v1. With neither this nor --provider it is OpenAI's, if there is a key,
    /// else the embedded provider [env: OPENAI_BASE_URL]
    #[arg(long, value_name = "URL", help_heading = COMMON)]
    base_url: Option<String>,

    /// The environment variable with the key; it must be set then. Without this it is the provider's own, such as
    /// OPENAI_API_KEY
    #[arg(long, value_name = "NAME", help_heading = COMMON)]
    api_key_env: Option<String>,

    /// A TOML file with providers of one's own
    #[arg(long, value_name = "FILE", requires = "provider")]
    providers_file: Option<PathBuf>,

    /// The API it speaks [default: what the provider speaks, else responses]
    #[arg(long, value_enum)]
    wire: Option<WireName>,

    /// A header to send; may be repeated. Others see a key in it while this runs: --api-key-env names a variable instead
    // Read later: clap would print one that is wrong, with the key that it may hold.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// A query parameter to send; may be repeated. Others see a key in it, too
    #[arg(long = "query", value_name = "NAME=VALUE")]
    queries: Vec<String>,

    /// A PEM file with certificate authorities to trust besides the usual ones [env: SSL_CERT_FILE]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// A PEM file with the certificate to show to a server that asks for one [env: SSL_CLIENT_CERT_FILE]
    #[arg(long, value_name = "FILE")]
    client_cert: Option<PathBuf>,

    /// A PEM file with the key of --client-cert [default: the same file] [env: SSL_CLIENT_KEY_FILE]
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,

    /// How many attempts there may be, the first included [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(RetryPolicy::MAX_ATTEMPTS)))]
    max_attempts: Option<u32>,

    #[command(flatten)]
    timeouts: TimeoutOptions,

    #[command(flatten)]
    connection: ConnectionOptions,
}

/// Whom to ask.
pub(super) struct Upstream {
    pub(super) provider: Provider,
    pub(super) tls: TlsConfig,
    keep_alive: KeepAlive,
    /// What must not be printed.
    pub(super) secrets: Secrets,
    /// The model to ask for when none is named; nothing where there is no sensible one.
    pub(super) default_model: Option<&'static str>,
    /// The embedded provider, if that is it. It serves as long as this lives.
    embedded: Option<Loopback>,
}

impl Upstream {
    /// A runtime for one request, which keeps one thread busy.
    pub(super) fn runtime(&self, retry: RetryPolicy) -> Result<Runtime, UsageError> {
        let mut config = SupervisorConfig::new(self.provider.clone());
        config.retry = retry;
        config.workers = Workers::Current;
        Ok(Runtime::with_transport(config, self.transport()?)?)
    }

    /// How it is met.
    pub(super) fn transport(&self) -> Result<AwcTransportFactory, UsageError> {
        let factory = AwcTransportFactory::new(&self.tls, &ProxyConfig::default())
            .map_err(|error| UsageError::at("can't set up the transport", &error))?;
        Ok(factory.with_keep_alive(self.keep_alive))
    }

    /// What to say of an error that a base URL without a path may have caused, when `path` was asked.
    pub(super) fn hint(&self, path: &str) -> Option<String> {
        match &self.embedded {
            Some(_) => None,
            None => base_url::hint(&self.provider, path),
        }
    }

    /// Whether the embedded provider is going to answer.
    pub(super) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Says so on stderr if the embedded provider is going to answer.
    pub(super) fn announce(&self) {
        if self.is_embedded() {
            console::complain(
                "no key and no base URL, so the embedded provider answers; set OPENAI_API_KEY or give --base-url to ask a \
                 real one",
            );
        }
    }
}

impl ProviderOptions {
    /// Makes the provider; starts the embedded one when nothing says whom to ask.
    pub(super) fn upstream(&self) -> Result<Upstream, UsageError> {
        self.upstream_asked(false, None)
    }

    /// The same with this key, or for who passes on the keys of others: a preset's own key may be unset.
    pub(super) fn upstream_with_clients_key(
        &self,
        key: Option<&str>,
    ) -> Result<Upstream, UsageError> {
        self.upstream_asked(true, key)
    }

    fn upstream_asked(&self, by_others: bool, key: Option<&str>) -> Result<Upstream, UsageError> {
        let mut embedded = None;
        let Chosen {
            name,
            mut settings,
            place,
        } = match self.chosen(key.is_some())? {
            Some(chosen) => chosen,
            None => {
                system::has_room_for_a_runtime()?;
                let mut options = LoopbackOptions::default();
                options.pace = EMBEDDED_PACE;
                let loopback = Loopback::start(options)
                    .map_err(|error| UsageError::at("the embedded provider", &error))?;
                let mut settings = ProviderSettings::default();
                settings.base_url = Some(loopback.base_url());
                settings.wire = self.wire.map(Wire::from);
                embedded = Some(loopback);
                Chosen {
                    name: "embedded".to_owned(),
                    settings,
                    place: "the embedded provider",
                }
            }
        };
        if key.is_some() {
            let variable = settings.key_variable().unwrap_or(GIVEN_KEY).to_owned();
            settings.key_env = Some(variable);
        }
        let given = key.zip(settings.key_env.clone());
        let own_key = settings.preset.map(|preset| preset.key_env);
        let is_passed = by_others
            && settings.key_env.is_none()
            && own_key.is_some_and(|name| matches!(variable(name), Ok(None)));
        let lookup = |name: &str| match &given {
            Some((key, variable)) if variable == name => Some((*key).into()),
            _ if is_passed && own_key == Some(name) => Some("unset".into()),
            _ => env::var_os(name),
        };
        let mut provider = settings
            .provider(&name, lookup)
            .map_err(|error| UsageError::at(place, &error))?;
        if is_passed {
            provider = provider.with_auth(NoAuth);
        }
        let mut provider = self.with_headers_and_query(provider)?;
        provider.max_attempts = self.max_attempts.or(provider.max_attempts);
        self.timeouts.apply(&mut provider.timeouts);
        provider.timeouts.validate()?;
        let key = match key {
            Some(key) => Some(key.to_owned()),
            None => settings.key_variable().map_or(Ok(None), variable)?,
        };
        let mut secrets = Vec::from_iter(key);
        let of_provider = provider.secrets();
        secrets.extend(of_provider.iter().map(|secret| secret.expose().to_owned()));
        let is_service = settings.preset.is_some_and(|preset| preset.key_required);
        let default_model = match embedded {
            Some(_) => Some("loopback"),
            None if is_service || provider.host() == Provider::openai().host() => None,
            // Servers of one model do not look at the name; others refuse it in words of their own.
            None => Some("default"),
        };
        Ok(Upstream {
            tls: self.tls(&provider, settings)?,
            keep_alive: self.connection.keep_alive(),
            secrets: Secrets::new(secrets),
            default_model,
            provider,
            embedded,
        })
    }

    /// Whom the options and the environment choose; nothing if they say nothing.
    fn chosen(&self, has_key: bool) -> Result<Option<Chosen>, UsageError> {
        if let Some(base_url) = &self.base_url {
            // What is wrong with it is better said of the option.
            base_url::check("--base-url", base_url)?;
        }
        let mut chosen = match &self.provider {
            Some(name) => Chosen {
                name: name.clone(),
                settings: self.named(name)?,
                place: "--provider",
            },
            None => match self.unnamed(has_key)? {
                Some(chosen) => chosen,
                None => return Ok(None),
            },
        };
        let settings = &mut chosen.settings;
        if let Some(base_url) = &self.base_url {
            settings.base_url = Some(base_url.clone());
            if chosen.place == BASE_URL_VARIABLE {
                // The URL is right; what can be wrong yet is the key.
                chosen.place = "the key";
            }
        }
        if let Some(name) = &self.api_key_env {
            if variable(name)?.is_none() {
                let is_of_names =
                    |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
                // What does not look like the name of a variable may be the key itself.
                let said = match name.bytes().all(is_of_names) {
                    true => name,
                    false => {
                        "(not shown, for it may be a key: write the name of one, such as TEAM_KEY)"
                    }
                };
                return Err(UsageError::new(format!(
                    "--api-key-env: environment variable {said} is not set, or blank: put the key there"
                )));
            }
            settings.key_env = Some(name.clone());
        }
        settings.wire = self.wire.map(Wire::from).or(settings.wire);
        Ok(Some(chosen))
    }

    fn named(&self, name: &str) -> Result<ProviderSettings, UsageError> {
        let (catalog, place) = match &self.providers_file {
            Some(path) => (ProviderCatalog::from_file(path), "--providers-file"),
            None => (Ok(ProviderCatalog::default()), "--provider"),
        };
        let catalog = catalog.map_err(|error| UsageError::at(place, &error))?;
        let settings = catalog.settings(name).or_else(|error| {
            let Some((end, _)) = name.char_indices().nth(MAX_NAME_CHARS) else {
                return Err(error);
            };
            // For the message; there is none of this name either.
            catalog.settings(&format!("{}\u{2026}", &name[..end]))
        });
        settings.map_err(|error| UsageError::at("--provider", &error))
    }

    /// Without a name: a base URL that is given, else OpenAI if there is a key.
    fn unnamed(&self, has_key: bool) -> Result<Option<Chosen>, UsageError> {
        let settings = ProviderSettings::from_env(|name| match &self.base_url {
            Some(base_url) if name == BASE_URL_VARIABLE => Some(base_url.into()),
            _ => env::var_os(name),
        });
        let settings = match settings.map_err(|error| UsageError::new(error.message()))? {
            None if has_key || self.api_key_env.is_some() => {
                let openai = Preset::named("openai")
                    .map_err(|error| UsageError::at("--provider", &error))?;
                ProviderSettings::from_preset(openai)
            }
            None => return Ok(None),
            Some(settings) => settings,
        };
        let (name, place) = match settings.preset {
            Some(preset) => (preset.name, "the key"),
            None => ("openai-compatible", BASE_URL_VARIABLE),
        };
        if let (BASE_URL_VARIABLE, Some(base_url)) = (place, &settings.base_url) {
            base_url::check(place, base_url)?;
        }
        Ok(Some(Chosen {
            name: name.to_owned(),
            settings,
            place,
        }))
    }

    fn with_headers_and_query(&self, mut provider: Provider) -> Result<Provider, UsageError> {
        let mut shown = Vec::new();
        let has_key =
            |url: &String| Provider::new("", url).is_ok_and(|url| !url.secrets().is_empty());
        if self.base_url.as_ref().is_some_and(has_key) {
            shown.push("--base-url".to_owned());
        }
        for (number, header) in (1..).zip(&self.headers) {
            let (name, value) = header.split_once(':').ok_or_else(|| {
                UsageError::new(format!(
                    "--header: number {number} has no colon: write it as 'Name: value'"
                ))
            })?;
            let secrets = provider.secrets();
            provider = provider
                .with_header(name.trim(), value.trim())
                .map_err(|error| UsageError::at("--header", &error))?;
            if provider.secrets() != secrets {
                shown.push(format!("--header {}", name.trim()));
            }
        }
        for (number, query) in (1..).zip(&self.queries) {
            let (name, value) = query
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| {
                    UsageError::new(format!(
                        "--query: number {number} has no name: write it as name=value"
                    ))
                })?;
            let secrets = provider.secrets();
            provider = provider.with_query(name, value);
            if provider.secrets() != secrets {
                shown.push(format!("--query {name}"));
            }
        }
        if !shown.is_empty() {
            console::complain(&format!(
                "warning: there seems to be a key in {}, and others on this machine see it in the list of processes; put it into a \
                 variable that --api-key-env names, or into --providers-file",
                shown.join(", ")
            ));
        }
        Ok(provider)
    }

    /// Plain HTTP asks for no certificates, and reading the platform's takes longer than everything else before the request.
    fn tls(
        &self,
        provider: &Provider,
        mut settings: ProviderSettings,
    ) -> Result<TlsConfig, UsageError> {
        if self.client_cert.is_some() {
            settings.client_cert = self.client_cert.clone();
            settings.client_key = self.client_key.clone();
        }
        let is_http = provider.base_url().scheme() == "http";
        let is_read = |name: &str| !is_http && (self.ca_file.is_none() || name != CA_FILE_VARIABLE);
        let mut tls = settings
            .tls(|name| env::var_os(name).filter(|_| is_read(name)))
            .map_err(|error| UsageError::at("TLS", &error))?;
        tls.extra_ca_file = self.ca_file.clone().or(tls.extra_ca_file);
        tls.native_roots = !is_http;
        Ok(tls)
    }
}

/// Whom to ask, before the options' headers, parameters and times.
struct Chosen {
    name: String,
    settings: ProviderSettings,
    /// What chose it, for errors.
    place: &'static str,
}

/// The value of an environment variable, if it is set and not blank. One that is not UTF-8 is not printed: it may be a key.
pub(super) fn variable(name: &str) -> Result<Option<String>, UsageError> {
    // `var` panics on no name; one that holds `=` or NUL it takes for unset.
    let value = env::var_os(name).map(OsString::into_string).transpose();
    let value = value.map_err(|_| {
        UsageError::new(format!(
            "environment variable {name} is not UTF-8: set it anew, or unset it"
        ))
    })?;
    let value = value.map(|value| value.trim().to_owned());
    Ok(value.filter(|value| !value.is_empty()))
}
