//! From a request to the head of its response.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::BytesMut;
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode, header};
use tokio::time::Instant;

use super::{alarm::until, clock::Limit, spec::Attempt};
use crate::{
    protocol::{
        RateLimitSnapshot,
        error::{ApiError, ErrorKind, Phase},
    },
    provider::AuthRequest,
    secret::Secrets,
    transport::{BodyStream, Pooled, TransportRequest, TransportResponse},
    wire::server_error,
};

/// How much of an error's body is read: error objects have a few hundred bytes, error pages of proxies some kilobytes.
const ERROR_BODY_BYTES: usize = 64 * 1024;

/// How long an error's body may take once its head is there. What has come by then is reported.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);

/// Why there is no response: the error, and all limits that came with it.
pub(crate) struct Refusal {
    pub(crate) error: ApiError,
    pub(crate) rate_limits: Vec<RateLimitSnapshot>,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            rate_limits: Vec::new(),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

/// Asks for authentication, sends the request and reads the response's head, all within `head_limit`. A status that is no
/// success becomes the error that the server describes in its body; a 304 is one only where it was not asked for. `phase` says how far it has come, for the errors of
/// those who lose patience.
pub(crate) async fn open(
    attempt: Attempt,
    transport: Rc<Pooled>,
    phase: Rc<Cell<Phase>>,
    head_limit: Duration,
) -> Result<(TransportResponse, Secrets), Refusal> {
    let head = head(&attempt, &transport, &phase);
    let head = match Instant::now().checked_add(head_limit) {
        Some(at) => until(at, head).await,
        None => Some(head.await),
    };
    let (response, secrets, is_conditional) =
        head.ok_or_else(|| Limit::Head(head_limit).error(phase.get()))??;
    let is_unchanged = is_conditional && response.status == StatusCode::NOT_MODIFIED;
    if response.status.is_success() || is_unchanged {
        attempt.report_head();
        return Ok((response, secrets));
    }
    // The head is there, so its limit does not count any more: what it says is an error that is known.
    let mut error = refusal(response.status, &response.headers, response.body).await;
    let rate_limits = RateLimitSnapshot::from_headers(&response.headers);
    error.details_mut().rate_limits = rate_limits.first().cloned();
    secrets.scrub(&mut error);
    Err(Refusal { error, rate_limits })
}

/// Sends the request, and says whether it asks for an answer only if that has changed.
async fn head(
    attempt: &Attempt,
    transport: &Pooled,
    phase: &Cell<Phase>,
) -> Result<(TransportResponse, Secrets, bool), ApiError> {
    let spec = &attempt.spec;
    let provider = &spec.provider;
    phase.set(Phase::Authorize);
    let mut auth_request = AuthRequest::new(spec.url.clone());
    auth_request.attempt = attempt.number;
    auth_request.refresh = attempt.refresh_auth;
    let auth = provider.auth.headers(&auth_request).await?;
    let mut headers = provider.headers_for(&spec.headers, spec.accept, &auth);
    let is_get = spec.method == Method::GET;
    if is_get {
        headers.remove(header::CONTENT_TYPE);
    }
    let conditions = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
    let is_conditional = is_get && conditions.iter().any(|name| headers.contains_key(name));
    if let Some(turn_state) = &spec.turn_state {
        turn_state.apply(&mut headers);
    }
    let secrets = Secrets::of(&headers, &spec.url);
    let body = spec.body();
    let body = match body.is_empty() {
        true => body,
        false => provider.request_compression.encode(&body, &mut headers)?,
    };
    phase.set(Phase::ResponseHead);
    let request = TransportRequest {
        method: spec.method.clone(),
        url: spec.url.clone(),
        headers,
        body,
        connect_timeout: provider.timeouts.connect,
        may_be_repeated: spec.retry.attempts() > 1,
    };
    let response = transport
        .send(&spec.origin, provider.drain, request)
        .await?;
    if let Some(turn_state) = &spec.turn_state {
        turn_state.observe(&response.headers);
    }
    Ok((response, secrets, is_conditional))
}

/// The error that a response without success describes.
async fn refusal(status: StatusCode, headers: &HeaderMap, mut body: BodyStream) -> ApiError {
    let mut read = BytesMut::new();
    let reading = async {
        while let Some(Ok(chunk)) = body.next().await {
            let room = ERROR_BODY_BYTES - read.len();
            read.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if read.len() == ERROR_BODY_BYTES {
                break;
            }
        }
    };
    // Neither a slow nor a broken body hides the status: what was read of it is reported.
    let _ = tokio::time::timeout(ERROR_BODY_TIME, reading).await;
    let mut error = if status.is_redirection() {
        let to = headers
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("nowhere");
        let message = match status {
            StatusCode::NOT_MODIFIED => {
                "the server says that nothing has changed, which it was not asked".to_owned()
            }
            _ => format!(
                "the server redirects to {to}; redirects are not followed, because the key would go along"
            ),
        };
        let mut error = ApiError::new(ErrorKind::UnexpectedStatus, message);
        error.details_mut().status = Some(status.as_u16());
        error
    } else {
        server_error::api_error_from_http(status.as_u16(), headers, &read)
    };
    let details = error.details_mut();
    details.phase.get_or_insert(Phase::ResponseHead);
    // What the headers ask for is more precise than what the body says.
    let delay = crate::retry::delay_from_headers(headers, std::time::SystemTime::now());
    details.retry_after = delay.or(details.retry_after);
    error
}
