//! Whom a request asks when its provider failed for good.

use std::{fmt, sync::Arc};

use http::HeaderMap;

use crate::{
    protocol::error::{ApiError, ErrorKind},
    provider::Provider,
    retry::RetryPolicy,
    secret::redaction::RedactedHeaders,
};

/// Another provider for a request: asked when the one before it failed for good and nothing of an answer had come.
///
/// It may speak the other API, and call the model by another name. Its attempts count on from those of the provider before, each with the
/// policy of its own provider; together they are at most [`RetryPolicy::MAX_ATTEMPTS`]. While a provider's endpoint counts as down
/// ([`BreakerPolicy`](crate::retry::BreakerPolicy)) it is not waited for: the next is asked at once. Subscribers see one stream with one end, as
/// with any attempt that is tried again before output. After output, or once a server has accepted a `background` response, no other provider
/// is asked. Observers are told by [`Milestone::FellBack`](crate::actors::Milestone::FellBack), and each of their notices names the provider of its
/// attempt, as [`RequestStatus`](crate::actors::RequestStatus) does; the error at the end is that of the last, and its `attempts` name the
/// provider of each.
///
/// # What is asked
/// The prompt is written for each provider when the request is accepted, and held until output came or the request has ended. Of a prompt of
/// [`Prompt::from_body`](crate::protocol::Prompt::from_body) the body goes out as it came over its own wire, and is written from the
/// fields for the other. What belongs to the server that made it stays behind: reasoning that is sealed or says nothing that could be read, and
/// the ids of items. [`SubmitRequest::headers`](super::SubmitRequest::headers), which may hold a key, and the turn's state go to the first provider
/// alone. [`Timeouts::total`](crate::provider::Timeouts::total) counts from the acceptance, and of several the shortest holds.
///
/// What can't be asked of another server is an error at once, before anything is sent: a prompt with `previous_response_id`, `conversation`, a
/// template, a reference to a stored item or a compaction; one that the provider's wire has no form for; deliveries
/// [with blocks](super::SubmitRequest::with_blocks) over two wires; an answer [in one piece](super::InOnePiece).
///
/// # Which failures
/// Those that say something of the provider. One that says something of the request would come again, and be paid for.
///
/// | kind | next | because |
/// |---|---|---|
/// | `invalid_configuration` | no | the program is to correct it |
/// | `invalid_request` | no | it is the request's own fault |
/// | `authentication` | yes | the key is this provider's |
/// | `permission_denied` | yes | the key is this provider's |
/// | `not_found` | yes | this provider has no such model |
/// | `context_length_exceeded` | no | the input is too long |
/// | `quota_exceeded` | yes | the account is with this provider |
/// | `usage_limit_reached` | yes | the account is with this provider |
/// | `usage_not_included` | yes | the account is with this provider |
/// | `content_policy` | no | what is refused is not carried around until somebody takes it |
/// | `rate_limited` | yes | others have limits of their own |
/// | `overloaded` | yes | others are not |
/// | `unavailable` | yes | others are not down |
/// | `server_error` | yes | others may not fail |
/// | `unexpected_status` | yes | this server is another than meant, or in trouble |
/// | `dns` | yes | others have other hosts |
/// | `connect` | yes | others have other hosts |
/// | `proxy` | yes | others may be reached in another way |
/// | `local_limit` | no | this machine has no room for others either |
/// | `tls` | yes | others have other hosts |
/// | `certificate` | yes | others have other hosts |
/// | `connect_timeout` | yes | others have other hosts |
/// | `response_head_timeout` | yes | others may be faster |
/// | `first_event_timeout` | yes | others may be faster |
/// | `idle_timeout` | yes | others may be faster |
/// | `progress_timeout` | yes | others may be faster |
/// | `total_timeout` | no | the request's time is over |
/// | `connection` | yes | others have other hosts |
/// | `incomplete` | no | it is an answer |
/// | `invalid_output` | no | it is an answer |
/// | `truncated` | yes | others may not be cut |
/// | `protocol` | yes | others may speak the API |
/// | `too_large` | no | the limit is the program's |
/// | `lagged` | no | it is a subscriber's |
/// | `attempt_lost` | no | it is a defect of the program |
/// | `node_lost` | no | its answer had begun, and its request was sent |
/// | `store_unavailable` | no | what was to be read again lies nowhere else |
/// | `shut_down` | no | nothing is to follow |
/// | `cancelled` | no | nothing is to follow |
///
/// ```
/// use actix_responses::{actors::{Fallback, SubmitRequest}, protocol::Prompt, provider::Provider};
///
/// let request = SubmitRequest::new(Prompt::user("hello").with_model("gpt-5"))
///     .with_fallback(Fallback::new(Provider::new("local", "http://localhost:8000/v1")?).with_model("qwen3"));
/// # let _ = request;
/// # Ok::<(), actix_responses::ApiError>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Fallback {
    /// Whom to ask.
    pub provider: Arc<Provider>,
    /// What it calls the model, where that is another name.
    pub model: Option<String>,
    /// Headers of the request there; they replace the provider's of the same name.
    pub headers: HeaderMap,
    /// When it is tried again there, instead of the request's policy.
    pub retry: Option<RetryPolicy>,
}

with_fields!(some of Fallback {
    with_model(model: impl Into<String> => Some(model.into())),
    with_headers(headers: HeaderMap),
    with_retry(retry: RetryPolicy => Some(retry)),
});

impl Fallback {
    /// The most that a request may have: each holds a body, and what so many servers could not answer the next will not.
    pub const MAX: usize = 8;

    /// A provider that knows the model by the name in the prompt.
    pub fn new(provider: impl Into<Arc<Provider>>) -> Self {
        Self {
            provider: provider.into(),
            model: None,
            headers: HeaderMap::new(),
            retry: None,
        }
    }

    /// Whether another provider may answer where one failed so: the table above.
    pub fn can_help(error: &ApiError) -> bool {
        matches!(
            error.kind(),
            ErrorKind::Authentication
                | ErrorKind::PermissionDenied
                | ErrorKind::NotFound
                | ErrorKind::QuotaExceeded
                | ErrorKind::UsageLimitReached
                | ErrorKind::UsageNotIncluded
                | ErrorKind::RateLimited
                | ErrorKind::Overloaded
                | ErrorKind::Unavailable
                | ErrorKind::ServerError
                | ErrorKind::UnexpectedStatus
                | ErrorKind::Dns
                | ErrorKind::Connect
                | ErrorKind::Proxy
                | ErrorKind::Tls
                | ErrorKind::Certificate
                | ErrorKind::ConnectTimeout
                | ErrorKind::ResponseHeadTimeout
                | ErrorKind::FirstEventTimeout
                | ErrorKind::IdleTimeout
                | ErrorKind::ProgressTimeout
                | ErrorKind::Connection
                | ErrorKind::Truncated
                | ErrorKind::Protocol
        )
    }
}

impl From<Provider> for Fallback {
    fn from(provider: Provider) -> Self {
        Self::new(provider)
    }
}

impl From<Arc<Provider>> for Fallback {
    fn from(provider: Arc<Provider>) -> Self {
        Self::new(provider)
    }
}

/// Secrets are left out.
impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("provider", &self.provider)
            .field("model", &self.model)
            .field("headers", &RedactedHeaders(&self.headers))
            .field("retry", &self.retry)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_of_each_kind_what_is_done() {
        let rows = include_str!("fallback.rs").lines().filter_map(|line| {
            let row = line.strip_prefix("/// | `")?;
            let (kind, rest) = row.split_once("` | ")?;
            Some((kind, rest.starts_with("yes |")))
        });
        let written: Vec<_> = rows.collect();
        let can_help = |kind| Fallback::can_help(&ApiError::new(kind, "m"));
        let kinds = ErrorKind::ALL.iter();
        let decided: Vec<_> = kinds.map(|kind| (kind.as_str(), can_help(*kind))).collect();
        assert_eq!(written, decided);
    }
}
