//! One endpoint: where it is, how to ask it, and what it is asked with.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use http::{HeaderMap, HeaderValue, header};
use url::{Url, form_urlencoded};

use super::{
    auth::{AuthProvider, NoAuth},
    compression::RequestCompression,
    headers::{Accept, checked_header, replace},
    stream_transport::StreamTransport,
    timeouts::Timeouts,
};
use crate::{
    protocol::error::ApiError,
    secret::{
        Secret,
        redaction::{
            RedactedHeaders, RedactedQuery, RedactedUrl, is_secret_name, secrets_in_headers,
            secrets_in_path, secrets_in_query,
        },
    },
    transport::DrainLimits,
    wire::{Quirks, Wire},
};

/// The `user-agent` of a request whose provider names no other.
const USER_AGENT: &str = concat!("actix-responses/", env!("CARGO_PKG_VERSION"));

/// One endpoint and how to ask it. Plain data: cheap enough to clone, and it opens nothing.
///
/// ```
/// use actix_responses::provider::{BearerAuth, Provider};
///
/// # fn main() -> Result<(), actix_responses::ApiError> {
/// let provider = Provider::new("gateway", "https://gateway.example/v1?region=eu")?
///     .with_header("x-team", "search")?
///     .with_auth(BearerAuth::new("sk-0123")?);
/// assert_eq!(
///     provider.url_for("responses", &[]).as_str(),
///     "https://gateway.example/v1/responses?region=eu"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Provider {
    name: String,
    base_url: Url,
    origin: Arc<str>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    /// Where each wire's streaming requests go, put together for the first of them.
    request_urls: [OnceLock<Url>; 2],
    /// Which dialect it speaks.
    pub wire: Wire,
    /// What proves who asks.
    pub auth: Arc<dyn AuthProvider>,
    /// How long each part of a request may take.
    pub timeouts: Timeouts,
    /// How much of a body is read after its terminal event.
    pub drain: DrainLimits,
    /// What it wants differently in request bodies.
    pub quirks: Quirks,
    /// How request bodies are compressed. Default: they are not.
    pub request_compression: RequestCompression,
    /// How the requests for streams are sent. Default: as a POST that is answered by SSE.
    pub stream_transport: StreamTransport,
    /// How many attempts a request to it may have, the first included, instead of what the
    /// [`RetryPolicy`](crate::retry::RetryPolicy) of all providers says. That of a single request goes before.
    pub max_attempts: Option<u32>,
}

with_fields!(some of Provider {
    with_wire(wire: Wire),
    with_auth(auth: impl AuthProvider + 'static => Arc::new(auth)),
    with_timeouts(timeouts: Timeouts),
    with_drain(drain: DrainLimits),
    with_quirks(quirks: Quirks),
    with_request_compression(request_compression: RequestCompression),
    with_stream_transport(stream_transport: StreamTransport),
    with_max_attempts(max_attempts: u32 => Some(max_attempts)),
});

impl Provider {
    /// An endpoint that speaks the Responses wire and asks for no key.
    ///
    /// The paths of requests are put behind the path of `base_url`, whether that ends with a slash or not. A query in
    /// `base_url` is part of every request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when `base_url` is no `http` or `https` URL, or holds a fragment or credentials.
    pub fn new(name: impl Into<String>, base_url: &str) -> Result<Self, ApiError> {
        let name = name.into();
        let base_url = checked_base_url(base_url).map_err(|reason| {
            ApiError::misconfigured(format!("base URL of provider {name:?}: {reason}"))
        })?;
        Ok(Self::from_parts(name, base_url))
    }

    /// OpenAI's own API. Its key is yet to be set, with [`with_auth`](Self::with_auth).
    pub fn openai() -> Self {
        let base_url = Url::parse("https://api.openai.com/v1").expect("it is a URL");
        Self::from_parts("openai".to_owned(), base_url)
    }

    fn from_parts(name: String, base_url: Url) -> Self {
        Self {
            name,
            origin: base_url.origin().ascii_serialization().into(),
            base_url,
            query: Vec::new(),
            headers: HeaderMap::new(),
            request_urls: Default::default(),
            wire: Wire::default(),
            auth: Arc::new(NoAuth),
            timeouts: Timeouts::default(),
            drain: DrainLimits::default(),
            quirks: Quirks::default(),
            request_compression: RequestCompression::default(),
            stream_transport: StreamTransport::default(),
            max_attempts: None,
        }
    }

    /// The same host with another path in front of those of requests.
    pub(super) fn with_base_path(mut self, path: &str) -> Self {
        self.base_url.set_path(path);
        self.request_urls = Default::default();
        self
    }

    /// Adds a query parameter to every request. The order is kept; name and value are encoded here.
    #[must_use]
    pub fn with_query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self.request_urls = Default::default();
        self
    }

    /// Sets a header of every request, in place of an earlier one of that name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when the name or the value can't be sent, or the transport sets that header
    /// itself. The message names the header; the value may be a secret.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, ApiError> {
        let (name, value) = checked_header(name, value)?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// The name it goes by in errors and logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL that paths are put behind.
    pub fn base_url(&self) -> &Url {
        &self.base_url
    }

    /// Scheme, host and port: what a connection is good for.
    pub(crate) fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    /// Where streaming requests of its wire go.
    pub(crate) fn request_url(&self) -> &Url {
        let url = match self.wire {
            Wire::Responses => &self.request_urls[0],
            Wire::Chat => &self.request_urls[1],
        };
        url.get_or_init(|| self.url_for(self.wire.path(), &[]))
    }

    /// The query parameters of every request, without those of the base URL.
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// The headers of every request.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What must not be shown to anybody: the values of its headers and query parameters that are secret by their names, and
    /// segments of its path that look like keys, in the parts in which a server may repeat them. What [`auth`](Self::auth) sends is not known here. For a program that
    /// prints what servers send; errors are free of them already.
    pub fn secrets(&self) -> Vec<Secret> {
        let mut secrets = secrets_in_headers(&self.headers);
        secrets.extend(secrets_in_query(&self.url_for("", &[])));
        secrets.extend(secrets_in_path(&self.base_url));
        secrets.into_iter().map(Secret::new).collect()
    }

    /// The host, with its port where it is not the scheme's own.
    pub fn host(&self) -> String {
        let host = self.base_url.host_str().unwrap_or_default();
        match self.base_url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// The URL of one request.
    ///
    /// `path` is relative to the base URL, with or without a slash in front; empty is the base URL itself. A `?` in it is
    /// encoded like any other character that a path can't hold; `%` is taken as the start of what is encoded already.
    /// Parameters come in the order base URL, provider, `extra_query`. One that is named again replaces those that came with
    /// an earlier of the three.
    pub fn url_for(&self, path: &str, extra_query: &[(&str, &str)]) -> Url {
        let mut url = self.base_url.clone();
        if !path.is_empty() {
            let base = url.path().trim_end_matches('/');
            let joined = format!("{base}/{}", path.trim_start_matches('/'));
            url.set_path(&joined);
        }
        let own = self.query.iter().map(|(name, value)| (&**name, &**value));
        let query = merged_query(url.query(), [own.collect(), extra_query.to_vec()]);
        url.set_query((!query.is_empty()).then_some(&query));
        url
    }

    /// Refuses what could not be asked with these headers of a request.
    pub(crate) fn check(&self, request: &HeaderMap) -> Result<(), ApiError> {
        self.timeouts.validate()?;
        self.stream_transport.check(self.wire)?;
        self.request_compression.check(&self.headers)?;
        self.request_compression.check(request)
    }

    /// The headers of one request with a JSON body, without those of the [`AuthProvider`], which [`add_auth`](super::add_auth) adds.
    ///
    /// A header of a later kind replaces those of its name: this client's own, the provider's, the request's, `accept` and
    /// `content-type`. Headers that hold a secret are marked sensitive.
    pub(crate) fn headers_for(&self, request: &HeaderMap, accept: Accept) -> HeaderMap {
        // As many as mostly come together, so that the map does not grow.
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        // The provider's own were marked when they were set.
        replace(&mut headers, &self.headers, |_| false);
        replace(&mut headers, request, |name| is_secret_name(name.as_str()));
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept.as_str()));
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        headers
    }
}

/// Secrets are left out.
impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.name)
            .field("base_url", &RedactedUrl(&self.base_url))
            .field("query", &RedactedQuery(&self.query))
            .field("headers", &RedactedHeaders(&self.headers))
            .field("wire", &self.wire)
            .field("auth", &self.auth)
            .field("timeouts", &self.timeouts)
            .field("drain", &self.drain)
            .field("quirks", &self.quirks)
            .field("request_compression", &self.request_compression)
            .field("stream_transport", &self.stream_transport)
            .field("max_attempts", &self.max_attempts)
            .finish()
    }
}

/// Says what is wrong without the URL itself, which may hold a key.
fn checked_base_url(text: &str) -> Result<Url, String> {
    let text = text.trim();
    // The parser would take the path for the host.
    if text
        .split_once(':')
        .is_some_and(|(_, rest)| rest.starts_with("///"))
    {
        return Err("it names no host: it should look like https://api.example.com/v1".into());
    }
    let url = Url::parse(text)
        .map_err(|error| format!("{error}: it should look like https://api.example.com/v1"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "scheme {:?} is neither http nor https",
            url.scheme()
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "it holds credentials: give them to an AuthProvider, such as BearerAuth or HeaderAuth"
                .into(),
        );
    }
    if url.fragment().is_some() {
        return Err("it holds a fragment (#...), which is never sent".into());
    }
    Ok(url)
}

/// The parameters of `base` as they are written, then those of each later level.
fn merged_query(base: Option<&str>, levels: [Vec<(&str, &str)>; 2]) -> String {
    let written = base.into_iter().flat_map(|query| query.split('&'));
    let mut merged: Vec<(String, String)> = written
        .filter_map(|parameter| {
            let (name, _) = form_urlencoded::parse(parameter.as_bytes()).next()?;
            Some((name.into_owned(), parameter.to_owned()))
        })
        .collect();
    for level in levels {
        merged.retain(|(name, _)| level.iter().all(|(later, _)| later != name));
        merged.extend(level.iter().map(|&(name, value)| {
            (
                name.to_owned(),
                format!("{}={}", encoded(name), encoded(value)),
            )
        }));
    }
    let parameters: Vec<_> = merged.into_iter().map(|(_, parameter)| parameter).collect();
    parameters.join("&")
}

/// Encodes a part of a query. A space becomes `%20`, for not every server reads `+` as one.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes())
        .map(|part| if part == "+" { "%20" } else { part })
        .collect()
}

#[cfg(test)]
mod tests;
