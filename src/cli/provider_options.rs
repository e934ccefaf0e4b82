//! The options that say whom to ask, and the embedded provider for those who say nothing.

use std::{env, path::PathBuf, time::Duration};

use actix_responses::{
    ApiError,
    duration::parse_duration,
    provider::{BearerAuth, Loopback, LoopbackOptions, Provider, Timeouts, TlsConfig, TlsRoots},
    wire::Wire,
};
use clap::{Args, ValueEnum};

use super::{UsageError, console, secrets::Secrets};

const BASE_URL_VARIABLE: &str = "OPENAI_BASE_URL";
const KEY_VARIABLE: &str = "OPENAI_API_KEY";
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
    /// Where the API is, such as http://localhost:8000/v1; without it OpenAI's, if there is a key, else the embedded
    /// provider [env: OPENAI_BASE_URL]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,

    /// The environment variable with the key; it must be set then. Without this, OPENAI_API_KEY is used if it is set
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,

    /// The API it speaks
    #[arg(long, value_enum, default_value_t)]
    wire: WireName,

    /// A header to send; may be repeated
    // Read later: clap would print one that is wrong, with the key that it may hold.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// A query parameter to send; may be repeated
    #[arg(long = "query", value_name = "NAME=VALUE")]
    queries: Vec<String>,

    /// A PEM file with certificate authorities to trust besides the usual ones
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    #[command(flatten)]
    timeouts: TimeoutOptions,
}

#[derive(Args)]
#[command(next_help_heading = "Timeouts (such as 500ms, 2s, 5m)")]
struct TimeoutOptions {
    /// To resolve the host and connect [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    connect_timeout: Option<Duration>,

    /// From the request until the head of the response [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    response_head_timeout: Option<Duration>,

    /// From the head of the response until the first event [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    first_event_timeout: Option<Duration>,

    /// Without a single byte [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    idle_timeout: Option<Duration>,

    /// Without an event, even if bytes come that keep the connection alive [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    progress_timeout: Option<Duration>,

    /// For the request with all its attempts [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    total_timeout: Option<Duration>,
}

impl TimeoutOptions {
    fn timeouts(&self) -> Result<Timeouts, ApiError> {
        let mut timeouts = Timeouts::default();
        timeouts.connect = self.connect_timeout.unwrap_or(timeouts.connect);
        timeouts.response_head = self.response_head_timeout.unwrap_or(timeouts.response_head);
        timeouts.first_event = self.first_event_timeout;
        timeouts.idle = self.idle_timeout.unwrap_or(timeouts.idle);
        timeouts.progress = self.progress_timeout;
        timeouts.total = self.total_timeout;
        timeouts.validate()?;
        Ok(timeouts)
    }
}

/// Whom to ask.
pub(super) struct Upstream {
    pub(super) provider: Provider,
    pub(super) tls: TlsConfig,
    /// What must not be printed.
    pub(super) secrets: Secrets,
    /// The model to ask for when none is named; nothing where there is no sensible one.
    pub(super) default_model: Option<&'static str>,
    /// The embedded provider, if that is it. It serves as long as this lives.
    embedded: Option<Loopback>,
}

impl Upstream {
    /// Says so on stderr if the embedded provider is going to answer.
    pub(super) fn announce(&self) {
        if self.embedded.is_some() {
            console::complain(
                "no key and no base URL, so the embedded provider answers; set OPENAI_API_KEY or give --base-url to ask a \
                 real one",
            );
        }
    }
}

impl ProviderOptions {
    /// Makes the provider; starts the embedded one when there is neither a base URL nor a key.
    pub(super) fn upstream(&self) -> Result<Upstream, UsageError> {
        let key = self.key()?;
        let (base_url, place) = match &self.base_url {
            Some(base_url) => (Some(base_url.clone()), "--base-url"),
            None => (variable(BASE_URL_VARIABLE), BASE_URL_VARIABLE),
        };
        let mut embedded = None;
        let mut provider = match &base_url {
            Some(base_url) => Provider::new("openai-compatible", base_url)
                .map_err(|error| UsageError::at(place, &error))?,
            None if key.is_some() => Provider::openai(),
            None => {
                let loopback = Loopback::start(LoopbackOptions {
                    pace: EMBEDDED_PACE,
                    ..LoopbackOptions::default()
                })
                .map_err(|error| UsageError::at("the embedded provider", &error))?;
                let provider = Provider::new("embedded", &loopback.base_url())?;
                embedded = Some(loopback);
                provider
            }
        };
        provider = self.with_headers_and_query(provider)?;
        let mut secrets: Vec<String> = Vec::new();
        if let Some((name, key)) = &key {
            let auth = BearerAuth::from_env(name)
                .map_err(|error| UsageError::new(format!("no usable key: {error}")))?;
            provider = provider.with_auth(auth);
            secrets.push(key.clone());
        }
        for value in provider
            .headers()
            .values()
            .filter(|value| value.is_sensitive())
        {
            // `Bearer KEY` and a bare key alike.
            let words = value.to_str().unwrap_or_default().split_whitespace();
            secrets.extend(words.last().map(str::to_owned));
        }
        provider = provider
            .with_wire(self.wire.into())
            .with_timeouts(self.timeouts.timeouts()?);
        let default_model = match embedded {
            Some(_) => Some("loopback"),
            None if provider.host() == Provider::openai().host() => None,
            // Servers of one model do not look at the name; others refuse it in words of their own.
            None => Some("default"),
        };
        Ok(Upstream {
            tls: self.tls(&provider),
            secrets: Secrets::new(secrets),
            default_model,
            provider,
            embedded,
        })
    }

    /// The variable with the key, and what it holds.
    fn key(&self) -> Result<Option<(&str, String)>, UsageError> {
        let name = self.api_key_env.as_deref().unwrap_or(KEY_VARIABLE);
        match variable(name) {
            Some(key) => Ok(Some((name, key))),
            None if self.api_key_env.is_some() => Err(UsageError::new(format!(
                "--api-key-env: environment variable {name} is not set, or blank: put the key there"
            ))),
            None => Ok(None),
        }
    }

    fn with_headers_and_query(&self, mut provider: Provider) -> Result<Provider, UsageError> {
        for (index, header) in self.headers.iter().enumerate() {
            let (name, value) = header.split_once(':').ok_or_else(|| {
                let number = index + 1;
                UsageError::new(format!(
                    "--header: number {number} has no colon: write it as 'Name: value'"
                ))
            })?;
            provider = provider
                .with_header(name.trim(), value.trim())
                .map_err(|error| UsageError::at("--header", &error))?;
        }
        for (index, query) in self.queries.iter().enumerate() {
            let (name, value) = query
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| {
                    let number = index + 1;
                    UsageError::new(format!(
                        "--query: number {number} has no name: write it as name=value"
                    ))
                })?;
            provider = provider.with_query(name, value);
        }
        Ok(provider)
    }

    /// Plain HTTP asks for no certificates, and reading the platform's takes longer than everything else before the request.
    fn tls(&self, provider: &Provider) -> TlsConfig {
        TlsConfig {
            roots: match provider.base_url().scheme() {
                "http" => TlsRoots::Web,
                _ => TlsRoots::WebAndNative,
            },
            extra_ca_file: self.ca_file.clone(),
        }
    }
}

/// The value of an environment variable, if it is set and not blank.
pub(super) fn variable(name: &str) -> Option<String> {
    // `var` panics on no name; one that holds `=` or NUL it takes for unset.
    let value = env::var_os(name).map(|value| value.to_string_lossy().trim().to_owned());
    value.filter(|value| !value.is_empty())
}
