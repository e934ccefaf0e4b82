//! What proves to a server who asks.

use std::{env, error::Error, fmt};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use url::Url;

use crate::{
    protocol::error::{ApiError, ErrorKind, Phase},
    secret::{
        Secret,
        redaction::{RedactedHeaders, RedactedUrl},
    },
};

/// Gives the headers that authenticate a request. It is asked before every attempt, and again where a server sends the request on to
/// another path of its own; what it returns is sent to [`AuthRequest::url`] and nowhere else.
///
/// One that signs the request, as AWS's Signature Version 4 does, finds in [`AuthRequest`] all that is going to be sent. Its headers
/// take the place of those of their names.
///
/// A token that expires is fetched anew when the server refused the last one:
///
/// ```
/// use std::sync::Mutex;
///
/// use actix_responses::provider::{AuthError, AuthProvider, AuthRequest, BearerAuth};
/// use futures_core::future::BoxFuture;
/// use http::HeaderMap;
///
/// #[derive(Debug)]
/// struct ShortLivedToken {
///     cached: Mutex<Option<BearerAuth>>,
/// }
///
/// async fn fetch_token() -> Result<String, std::io::Error> {
///     Ok("from a file, a command or another server".replace(' ', "-"))
/// }
///
/// impl AuthProvider for ShortLivedToken {
///     fn headers<'a>(
///         &'a self,
///         request: &'a AuthRequest,
///     ) -> BoxFuture<'a, Result<HeaderMap, AuthError>> {
///         Box::pin(async move {
///             let cached = self.cached.lock().unwrap().clone();
///             let bearer = match cached {
///                 Some(bearer) if !request.refresh => bearer,
///                 _ => {
///                     let token = fetch_token().await.map_err(|error| {
///                         AuthError::new("can't fetch a token").with_source(error)
///                     })?;
///                     BearerAuth::new(token)?
///                 }
///             };
///             *self.cached.lock().unwrap() = Some(bearer.clone());
///             bearer.headers(request).await
///         })
///     }
///
///     fn can_refresh(&self) -> bool {
///         true
///     }
/// }
/// ```
pub trait AuthProvider: fmt::Debug + Send + Sync {
    /// Gives the headers for one attempt. Those that hold a secret need no mark: all of them are treated as one.
    fn headers<'a>(
        &'a self,
        request: &'a AuthRequest,
    ) -> BoxFuture<'a, Result<HeaderMap, AuthError>>;

    /// Whether asking again with [`AuthRequest::refresh`] can help after a 401. It is done once per request. The attempt that was
    /// refused asks this, on its worker's thread; a panic here loses that attempt and nothing else.
    fn can_refresh(&self) -> bool {
        false
    }

    /// Whether it gives no headers at all, so that what a request itself says of who asks goes to the server.
    fn is_none(&self) -> bool {
        false
    }
}

/// The attempt that headers are asked for, as it is going to be sent.
#[derive(Clone)]
#[non_exhaustive]
pub struct AuthRequest {
    /// Where the request goes. Its host, with the port where that is not the scheme's own, is what the transport sends as `host`.
    pub url: Url,
    /// How it is asked.
    pub method: Method,
    /// The headers that are sent, but for those of the answer to this and what the transport sets: `host`, `date`, `accept-encoding`, and
    /// everything about length and connection. Who signs a date returns the header with it. What is sent again over a new connection,
    /// because the server had closed the old one, is signed once: see [`RetryPolicy::max_attempts`](crate::retry::RetryPolicy).
    pub headers: HeaderMap,
    /// The body, byte for byte as it is sent: compressed, where the provider compresses. Empty is none.
    pub body: Bytes,
    /// Which attempt; the first is 1.
    pub attempt: u32,
    /// The server refused the headers of the last attempt with a 401: cached ones are no good.
    pub refresh: bool,
}

impl AuthRequest {
    /// Asks for the first attempt at a URL: a POST, without headers and a body yet.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            method: Method::POST,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            attempt: 1,
            refresh: false,
        }
    }
}

/// Secrets and the body are left out.
impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest")
            .field("url", &RedactedUrl(&self.url))
            .field("method", &self.method)
            .field("headers", &RedactedHeaders(&self.headers))
            .field("body_bytes", &self.body.len())
            .field("attempt", &self.attempt)
            .field("refresh", &self.refresh)
            .finish()
    }
}

/// No way to authenticate: a variable is unset, a token unusable, its source out of reach.
///
/// It ends the attempt with [`ErrorKind::Authentication`], and another can help only with a provider that can refresh. The
/// message must not hold the secret.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct AuthError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl AuthError {
    /// Makes an error; `message` is lower case, without a full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let mut api_error =
            Self::new(ErrorKind::Authentication, error.message).with_phase(Phase::Authorize);
        api_error.details_mut().source = error.source.map(Into::into);
        api_error
    }
}

/// Sends nothing: for servers that ask for no key, as local ones do.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAuth;

impl AuthProvider for NoAuth {
    fn headers<'a>(&'a self, _: &'a AuthRequest) -> BoxFuture<'a, Result<HeaderMap, AuthError>> {
        ready(Ok(HeaderMap::new()))
    }

    fn is_none(&self) -> bool {
        true
    }
}

/// Sends `Authorization: Bearer TOKEN`, and `ChatGPT-Account-ID` where an account is set.
#[derive(Clone, Debug)]
pub struct BearerAuth {
    // Marked sensitive, so the derived `Debug` leaves them out.
    authorization: HeaderValue,
    account_id: Option<HeaderValue>,
}

impl BearerAuth {
    /// Takes a token; white space around it is cut off.
    ///
    /// # Errors
    /// When it is blank or holds what a header can't.
    pub fn new(token: impl Into<Secret>) -> Result<Self, AuthError> {
        Self::named(&token.into(), "the token")
    }

    /// Takes the token from an environment variable, now.
    ///
    /// # Errors
    /// When the variable is unset or as for [`new`](Self::new); the message names the variable.
    pub fn from_env(variable: &str) -> Result<Self, AuthError> {
        Self::from_variable(variable, env::var(variable))
    }

    /// Adds the id of the account that the request is for.
    ///
    /// # Errors
    /// When it is blank or holds what a header can't.
    pub fn with_account_id(mut self, account_id: impl Into<Secret>) -> Result<Self, AuthError> {
        self.account_id = Some(secret_value("", &account_id.into(), "the account id")?);
        Ok(self)
    }

    fn from_variable(
        variable: &str,
        value: Result<String, env::VarError>,
    ) -> Result<Self, AuthError> {
        let place = format!("environment variable {variable}");
        match value {
            Ok(token) => Self::named(&token.into(), &place),
            Err(env::VarError::NotPresent) => Err(AuthError::new(format!(
                "{place} is not set: put the key there"
            ))),
            // The source would print the value.
            Err(env::VarError::NotUnicode(_)) => {
                Err(AuthError::new(format!("{place} is not valid Unicode")))
            }
        }
    }

    fn named(token: &Secret, place: &str) -> Result<Self, AuthError> {
        Ok(Self {
            authorization: secret_value("Bearer ", token, place)?,
            account_id: None,
        })
    }
}

impl AuthProvider for BearerAuth {
    fn headers<'a>(&'a self, _: &'a AuthRequest) -> BoxFuture<'a, Result<HeaderMap, AuthError>> {
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(header::AUTHORIZATION, self.authorization.clone());
        if let Some(account_id) = &self.account_id {
            let name = HeaderName::from_static("chatgpt-account-id");
            headers.insert(name, account_id.clone());
        }
        ready(Ok(headers))
    }
}

/// Sends a key in a header of its own, such as Azure's `api-key`.
#[derive(Clone, Debug)]
pub struct HeaderAuth {
    name: HeaderName,
    value: HeaderValue,
}

impl HeaderAuth {
    /// Takes the header's name and the key; white space around the key is cut off.
    ///
    /// # Errors
    /// When `name` is no header's name, or the key is blank or holds what a header can't.
    pub fn new(name: &str, key: impl Into<Secret>) -> Result<Self, AuthError> {
        let name = HeaderName::try_from(name)
            .map_err(|_| AuthError::new(format!("{name:?} is no header's name")))?;
        let place = format!("the key for header {name}");
        let value = secret_value("", &key.into(), &place)?;
        Ok(Self { name, value })
    }
}

impl AuthProvider for HeaderAuth {
    fn headers<'a>(&'a self, _: &'a AuthRequest) -> BoxFuture<'a, Result<HeaderMap, AuthError>> {
        ready(Ok(HeaderMap::from_iter([(
            self.name.clone(),
            self.value.clone(),
        )])))
    }
}

fn ready<'a>(headers: Result<HeaderMap, AuthError>) -> BoxFuture<'a, Result<HeaderMap, AuthError>> {
    Box::pin(std::future::ready(headers))
}

/// A header's value that is never printed; errors name the place it came from, not what it is.
fn secret_value(prefix: &str, secret: &Secret, place: &str) -> Result<HeaderValue, AuthError> {
    let text = secret.expose().trim();
    if text.is_empty() {
        return Err(AuthError::new(format!("{place} is blank")));
    }
    // Servers read ASCII only, and `HeaderValue` would let other bytes pass.
    if !text
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    {
        let message =
            format!("{place} holds a character that a header can't: was it pasted whole?");
        return Err(AuthError::new(message));
    }
    let mut value = HeaderValue::try_from(format!("{prefix}{text}"))
        .map_err(|_| AuthError::new(format!("{place} can't be sent in a header")))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const SECRET: &str = "sk-hunter2";

    fn headers_of(auth: &dyn AuthProvider) -> HeaderMap {
        let request = AuthRequest::new(Url::parse("https://host/").unwrap());
        auth.headers(&request).now_or_never().unwrap().unwrap()
    }

    #[test]
    fn bearer_sends_token_and_account() {
        let auth = BearerAuth::new(" sk-hunter2\n").unwrap();
        assert_eq!(headers_of(&auth)["authorization"], "Bearer sk-hunter2");
        assert_eq!(headers_of(&auth).len(), 1);
        let auth = auth.with_account_id("acct-1").unwrap();
        assert_eq!(headers_of(&auth)["chatgpt-account-id"], "acct-1");
    }

    #[test]
    fn key_goes_into_the_named_header_alone() {
        let auth = HeaderAuth::new("api-key", SECRET).unwrap();
        let headers = headers_of(&auth);
        assert_eq!(headers["api-key"], SECRET);
        assert_eq!(headers.len(), 1);
        assert!(headers_of(&NoAuth).is_empty());
    }

    #[test]
    fn unusable_key_is_named_by_its_place_and_not_shown() {
        for (value, said) in [
            (
                Err(env::VarError::NotPresent),
                "environment variable MY_KEY is not set: put the key there",
            ),
            (
                Err(env::VarError::NotUnicode(SECRET.into())),
                "environment variable MY_KEY is not valid Unicode",
            ),
            (Ok(" \n".to_owned()), "environment variable MY_KEY is blank"),
            (
                Ok(format!("{SECRET}\nrest")),
                "environment variable MY_KEY holds a character that a header can't: was it pasted whole?",
            ),
            (
                Ok(format!("{SECRET}…")),
                "environment variable MY_KEY holds a character that a header can't: was it pasted whole?",
            ),
        ] {
            let error = BearerAuth::from_variable("MY_KEY", value).unwrap_err();
            assert_eq!(error.to_string(), said);
            assert!(!format!("{error:?}").contains("hunter2"));
        }
        assert!(
            BearerAuth::new("")
                .unwrap_err()
                .to_string()
                .starts_with("the token")
        );
        assert!(
            HeaderAuth::new("api key", SECRET)
                .unwrap_err()
                .to_string()
                .contains("\"api key\"")
        );
    }

    #[test]
    fn failing_to_authenticate_is_an_authentication_error_with_its_cause() {
        let cause = std::io::Error::other("no such file");
        let error = ApiError::from(AuthError::new("can't read the token").with_source(cause));
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert_eq!(error.details().phase, Some(Phase::Authorize));
        assert_eq!(error.source().unwrap().to_string(), "no such file");
    }

    #[test]
    fn secrets_are_not_printed() {
        let url = Url::parse("https://host/?api-key=sk-hunter2").unwrap();
        let bearer = BearerAuth::new(SECRET)
            .unwrap()
            .with_account_id(SECRET)
            .unwrap();
        let mut request = AuthRequest::new(url);
        request.headers = headers_of(&bearer);
        request.body = SECRET.into();
        let printed = [
            format!("{:?} {0}", Secret::new(SECRET)),
            format!("{bearer:?}"),
            format!("{:?}", HeaderAuth::new("api-key", SECRET).unwrap()),
            format!("{request:?}"),
        ];
        for text in printed {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
