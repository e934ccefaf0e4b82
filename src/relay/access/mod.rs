//! Who may ask, and whose a stream is.

mod client;
mod origin;
mod refusal;
mod streams;
mod tokens;

use std::sync::{Arc, PoisonError, RwLock};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
};

use self::client::KEY_HEADERS;
pub(super) use self::origin::{host_name, page_origin};
pub use self::tokens::Tokens;
pub(crate) use self::{client::Client, refusal::Refusal, streams::StreamPermit};
use super::{config::RelayConfig, watched};

/// What is known of those who ask.
pub(super) struct Access {
    hosts: Vec<String>,
    origins: Vec<String>,
    /// Nothing: everybody may ask.
    tokens: RwLock<Option<Arc<Tokens>>>,
    streams: Arc<streams::Streams>,
}

impl Access {
    pub(super) fn new(config: &RelayConfig) -> Self {
        Self {
            hosts: config
                .hosts
                .iter()
                // What is none stays, for with a list only its names are let in.
                .map(|host| host_name(host).unwrap_or_default())
                .collect(),
            origins: config
                .origins
                .iter()
                .filter_map(|origin| page_origin(origin).ok())
                .collect(),
            tokens: RwLock::default(),
            streams: Arc::new(streams::Streams::new(config.max_streams)),
        }
    }

    pub(super) fn set_tokens(&self, tokens: Option<Tokens>) {
        let mut current = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        *current = tokens.map(Arc::new);
    }

    fn tokens(&self) -> Option<Arc<Tokens>> {
        let tokens = self.tokens.read();
        tokens.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a header of a client's holds a token of this relay: then it goes to no server.
    pub(super) fn is_token(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        let is_known = |tokens: Arc<Tokens>| tokens.owner(value.as_bytes()).is_some();
        KEY_HEADERS.contains(name) && self.tokens().is_some_and(is_known)
    }

    /// Room for one more stream of a client's, for as long as the permit lives.
    pub(super) fn begin_stream(&self, client: &Client) -> Result<StreamPermit, Refusal> {
        self.streams.begin(client)
    }

    /// Whose a request is, if they may ask.
    pub(super) fn admit(&self, request: &HttpRequest) -> Result<Client, Refusal> {
        let tokens = self.tokens();
        let local = watched::listener_of(request);
        // Where everybody needs a token, a page that calls itself by another name has none.
        if tokens.is_none() || !self.hosts.is_empty() {
            origin::check_host(request, local, &self.hosts)?;
        }
        origin::check_origin(request, &self.origins)?;
        let headers = request.headers();
        let Some(tokens) = tokens else {
            return Ok(Client::of(headers));
        };
        let shown = KEY_HEADERS
            .into_iter()
            .flat_map(|name| headers.get_all(name));
        let mut owners = shown.filter_map(|key| tokens.owner(key.as_bytes()));
        owners.next().map(Client::Named).ok_or_else(|| {
            Refusal::new(
                StatusCode::UNAUTHORIZED,
                "invalid_api_key",
                "this relay wants a token of its own: send it as Authorization: Bearer TOKEN, or as x-api-key",
            )
        })
    }

    /// The origin of a page that may ask, which is named in the configuration.
    pub(super) fn named_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        origin::named(headers, &self.origins)
    }

    /// The answer to a browser that asks whether the page may ask.
    pub(super) fn preflight(request: &HttpRequest) -> Option<HttpResponse> {
        origin::preflight(request)
    }

    /// Lets the page of a named origin read an answer.
    pub(super) fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
        origin::allow(headers, origin);
    }
}
