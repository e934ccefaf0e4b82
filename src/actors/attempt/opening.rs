//! From a request to the head of its response.

use std::{borrow::Cow, cell::Cell, rc::Rc, time::Duration};

use bytes::BytesMut;
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode, header};
use tokio::time::Instant;
use url::Url;

use super::{alarm::until, clock::Limit, head::shown_head, spec::Attempt};
use crate::{
    json::excerpt::cut,
    protocol::{
        RateLimitSnapshot,
        error::{ApiError, ErrorKind, Phase},
    },
    provider::{AuthRequest, add_auth},
    secret::Secrets,
    telemetry,
    transport::{
        BodyStream, Pooled, TransportError, TransportErrorKind, TransportRequest, TransportResponse,
    },
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
    /// When the head of that response came.
    pub(crate) head_at: Option<Instant>,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            rate_limits: Vec::new(),
            head_at: None,
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
    telemetry::record_status(&attempt.span, response.status);
    let is_good = response.status.is_success() || is_unchanged;
    attempt.report_head(response.status, &response.headers, is_good);
    if is_good {
        return Ok((response, secrets));
    }
    let head_at = Some(Instant::now());
    // The head is there, so its limit does not count any more: what it says is an error that is known.
    let mut error = refusal(response.status, &response.headers, response.body).await;
    hint_at_path(&mut error, &attempt.spec.url);
    if response.status == StatusCode::UPGRADE_REQUIRED && attempt.spec.socket_turn().is_some() {
        error.details_mut().message +=
            " (it knows no WebSocket: with the transport `auto` it is asked by SSE)";
    }
    let rate_limits = RateLimitSnapshot::from_headers(&response.headers);
    error.details_mut().rate_limits = rate_limits.first().cloned();
    error.details_mut().head = Some(shown_head(response.status, response.headers, &secrets));
    secrets.scrub(&mut error);
    Err(Refusal {
        error,
        rate_limits,
        head_at,
    })
}

/// Says what is wrong with a base URL to which its user has added the path of the API.
fn hint_at_path(error: &mut ApiError, url: &Url) {
    let is_nowhere = matches!(error.details().status, Some(404 | 405));
    let path = url.path().trim_end_matches('/');
    let ends = ["/responses", "/chat/completions"];
    let twice = ends.iter().find(|end| {
        let before = ends.iter().find_map(|last| path.strip_suffix(last));
        before.is_some_and(|before| before.ends_with(*end))
    });
    if let Some(end) = twice.filter(|_| is_nowhere) {
        let hint = format!(" (the base URL ends in {end} already, which is to be left out)");
        error.details_mut().message += &hint;
    }
}

/// The head of a response, with what the request was sent with, and whether that asked for an answer only if it has changed.
type Opened = (TransportResponse, Secrets, bool);

/// Sends the request, and to another path of the same server if that says so.
async fn head(
    attempt: &Attempt,
    transport: &Rc<Pooled>,
    phase: &Cell<Phase>,
) -> Result<Opened, ApiError> {
    let (_, asked, _) = attempt.asks();
    let mut opened = head_at(asked, attempt, transport, phase).await?;
    let mut url = Cow::Borrowed(asked);
    for _ in 0..MAX_REDIRECTS {
        let Some(target) = redirection(&opened.0, &url) else {
            break;
        };
        transport.drain(
            &attempt.spec.origin,
            opened.0.body,
            attempt.spec.provider.drain,
        );
        opened = head_at(&target, attempt, transport, phase).await?;
        url = Cow::Owned(target);
    }
    Ok(opened)
}

async fn head_at(
    url: &Url,
    attempt: &Attempt,
    transport: &Pooled,
    phase: &Cell<Phase>,
) -> Result<Opened, ApiError> {
    let spec = &attempt.spec;
    let provider = &spec.provider;
    phase.set(Phase::Authorize);
    let request = authorized(url, attempt).await?;
    let is_get = request.method == Method::GET;
    let conditions = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
    let is_conditional = is_get
        && conditions
            .iter()
            .any(|name| request.headers.contains_key(name));
    let secrets = Secrets::of(&request.headers, url);
    if let Some(content) = &spec.content {
        content.record_sent(&attempt.request_span, &secrets);
    }
    phase.set(Phase::ResponseHead);
    let sent = match spec.socket_turn().filter(|_| !is_get) {
        // A POST would have an answer generated.
        None if spec.stream.is_warm_up => Err(TransportError::new(
            TransportErrorKind::InvalidRequest,
            "a warm-up needs a WebSocket, which this provider is not asked over",
        )),
        None => transport.send(&spec.origin, provider.drain, request).await,
        Some(turn) => {
            let sending = transport.send_over_socket(&spec.origin, provider.drain, request, &turn);
            Box::pin(sending).await
        }
    };
    let response = sent.map_err(|error| {
        let mut error = ApiError::from(error);
        secrets.scrub(&mut error);
        error
    })?;
    if let Some(turn_state) = &spec.turn_state {
        turn_state.observe(&response.headers);
    }
    Ok((response, secrets, is_conditional))
}

/// The request as it goes out: with the headers of all who have some, its body compressed, and what the provider's auth adds to that.
async fn authorized(url: &Url, attempt: &Attempt) -> Result<TransportRequest, ApiError> {
    let spec = &attempt.spec;
    let provider = &spec.provider;
    let mut headers = provider.headers_for(&spec.headers, spec.accept);
    let (method, _, body) = attempt.asks();
    if *method == Method::GET {
        headers.remove(header::CONTENT_TYPE);
    }
    if let Some(turn_state) = &spec.turn_state {
        turn_state.apply(&mut headers);
    }
    telemetry::inject(spec.propagator.as_deref(), &attempt.span, &mut headers);
    let body = match body.is_empty() {
        true => body,
        false => provider.request_compression.encode(&body, &mut headers)?,
    };
    let mut auth_request = AuthRequest::new(url.clone());
    auth_request.method = method.clone();
    auth_request.headers = headers;
    auth_request.body = body;
    auth_request.attempt = attempt.number;
    auth_request.refresh = attempt.refresh_auth;
    let auth = provider.auth.headers(&auth_request).await?;
    provider.request_compression.check(&auth)?;
    let AuthRequest {
        mut headers, body, ..
    } = auth_request;
    add_auth(&mut headers, &auth);
    Ok(TransportRequest {
        request: spec.id.to_string(),
        attempt: attempt.number,
        method: method.clone(),
        url: url.clone(),
        headers,
        body,
        connect_timeout: provider.timeouts.connect,
        may_be_repeated: spec.retry.attempts() > 1,
    })
}

/// How often one request is sent on to another path.
const MAX_REDIRECTS: u32 = 3;

/// Where the same request is to be sent, if that is the server that it was sent to: no other gets the key.
fn redirection(response: &TransportResponse, url: &Url) -> Option<Url> {
    let keeps_method = matches!(
        response.status,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers.get(header::LOCATION)?.to_str().ok()?;
    let target = url.join(location).ok()?;
    (keeps_method && target.origin() == url.origin()).then_some(target)
}

/// A place as it can be shown: the query may hold anything.
fn shown_location(headers: &HeaderMap) -> String {
    let location = headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let place = location.and_then(|location| location.split(['?', '#']).next());
    place.map_or_else(
        || "nowhere".to_owned(),
        |place| cut(place, MAX_LOCATION_CHARS),
    )
}

/// How much is shown of the place that a redirect names.
const MAX_LOCATION_CHARS: usize = 300;

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
        let to = shown_location(headers);
        let message = match status {
            StatusCode::NOT_MODIFIED => {
                "the server says that nothing has changed, which it was not asked".to_owned()
            }
            _ => format!(
                "the server redirects to {to}, which is not followed: the key would go along, or the method change"
            ),
        };
        let mut error = ApiError::new(ErrorKind::UnexpectedStatus, message);
        error.details_mut().status = Some(status.as_u16());
        error
    } else {
        server_error::api_error_from_http(status.as_u16(), headers, &read)
    };
    let details = error.details_mut();
    details.body = Some(read.freeze());
    details.phase.get_or_insert(Phase::ResponseHead);
    // What the headers ask for is more precise than what the body says.
    let delay = crate::retry::delay_from_headers(headers, std::time::SystemTime::now());
    details.retry_after = delay.or(details.retry_after);
    error
}
