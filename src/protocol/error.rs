//! All the ways in which a request can end badly.

mod attempts;
mod json;

use std::{any::Any, borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::protocol::{
    Id, RateLimitSnapshot, RawJson, ResponseHead, StreamAnomalies, Text, TokenUsage,
    duration_notation::some_of_millis, raw::present,
};

/// The kinds of failure: of each its name, and what a person can try.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $advice:literal;)*) => {
        /// What kind of failure it was: what a program matches on.
        ///
        /// Whether trying again can help is answered in one place, [`RetryPolicy`](crate::retry::RetryPolicy); each kind here says
        /// what that place makes of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* #[serde(rename = $name)] $kind,)*
        }

        impl ErrorKind {
            /// Every kind, for tables.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The kind's name in JSON and logs, snake case.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            fn advice(self) -> &'static str {
                match self {
                    $(Self::$kind => $advice,)*
                }
            }
        }
    };
}

kinds! {
    /// The provider, a header, a file or an option is wrong; nothing was sent. Never retried.
    InvalidConfiguration = "invalid_configuration",
        "correct the setting that the message names";
    /// The server refuses the request as it stands (400, 413, 422, `invalid_prompt`, ...). Never retried.
    InvalidRequest = "invalid_request",
        "correct the request: the server says what it does not take";
    /// The key is missing, wrong or expired (401), or the [`AuthProvider`](crate::provider::AuthProvider) failed. Retried
    /// once when the provider can refresh.
    Authentication = "authentication",
        "check the key, and that it belongs to this host";
    /// The key may not do this (403). Never retried.
    PermissionDenied = "permission_denied",
        "check what the key may do, and the organization and project it is for";
    /// No such endpoint, model or response (404). Never retried.
    NotFound = "not_found",
        "check the base URL and the model's name";
    /// The input is longer than the model takes. Never retried.
    ContextLengthExceeded = "context_length_exceeded",
        "shorten or compact the input";
    /// The account has no credit left (`insufficient_quota`). Never retried.
    QuotaExceeded = "quota_exceeded",
        "check the account's plan and billing";
    /// The plan's usage limit is reached (`usage_limit_reached`). Never retried.
    UsageLimitReached = "usage_limit_reached",
        "wait until the limit resets, or change the plan";
    /// The plan does not include this (`usage_not_included`). Never retried.
    UsageNotIncluded = "usage_not_included",
        "use another plan or an API key";
    /// The server refuses the content (`cyber_policy`, `content_policy_violation`, ...). Never retried.
    ContentPolicy = "content_policy",
        "change the content that the server refuses";
    /// Too many requests or tokens (429, `rate_limit_exceeded`). Retried, after the time that the server names.
    RateLimited = "rate_limited",
        "wait, send less at once, or allow more attempts";
    /// The server is overloaded (`server_is_overloaded`, `slow_down`, 503, 529). Retried.
    Overloaded = "overloaded",
        "try again later; give the request id when you report it";
    /// The attempt was not sent, because the last ones all found the endpoint down
    /// ([`BreakerPolicy`](crate::retry::BreakerPolicy)). Retried, when the endpoint is tried again.
    Unavailable = "unavailable",
        "see the failures before it, and wait until the endpoint is back";
    /// The server failed (other 5xx, `server_error`). Retried.
    ServerError = "server_error",
        "try again later; give the request id when you report it";
    /// A status that has no kind of its own, or a success without a body. 408, 409 and 425 are retried, and a 200 without a body.
    UnexpectedStatus = "unexpected_status",
        "check that the base URL is that of the API itself";
    /// The host's name could not be resolved. Retried.
    Dns = "dns",
        "check the host's name and the network";
    /// No connection (refused, unreachable). Retried.
    Connect = "connect",
        "check that the server runs and that the host and port are right";
    /// The proxy could not be reached, or opened no connection. Retried.
    Proxy = "proxy",
        "check the proxy that the message names, and where it is set";
    /// This machine has too few open files or ports left for a connection. It was waited for within the time for connecting, and is
    /// retried; the endpoint has no part in it. Or as many requests run as the runtime may have, and this one was not begun.
    LocalLimit = "local_limit",
        "raise the limit that the message names (of open files with `ulimit -n`), or run fewer streams at once";
    /// The TLS handshake failed. Retried, for it may have been cut; a bad certificate is not.
    Tls = "tls",
        "check that the server speaks TLS on this port";
    /// The server's certificate was refused. Never retried.
    Certificate = "certificate",
        "check the host's name, the clock, and the certificate authorities that are trusted";
    /// [`Timeouts::connect`](crate::provider::Timeouts) passed. Retried.
    ConnectTimeout = "connect_timeout",
        "check the network, or raise the connect timeout";
    /// [`Timeouts::response_head`](crate::provider::Timeouts) passed. Retried.
    ResponseHeadTimeout = "response_head_timeout",
        "the server took the request and said nothing: raise the response head timeout if it is merely slow";
    /// [`Timeouts::first_event`](crate::provider::Timeouts) passed. Retried.
    FirstEventTimeout = "first_event_timeout",
        "raise the first event timeout if the model is merely slow";
    /// [`Timeouts::idle`](crate::provider::Timeouts) passed without a byte. Retried.
    IdleTimeout = "idle_timeout",
        "raise the idle timeout if the server is merely slow";
    /// [`Timeouts::progress`](crate::provider::Timeouts) passed without an event, though bytes came. Retried.
    ProgressTimeout = "progress_timeout",
        "the server keeps the connection alive without an answer: raise the progress timeout if it is merely slow";
    /// [`Timeouts::total`](crate::provider::Timeouts) passed. Never retried: it bounds all attempts together.
    TotalTimeout = "total_timeout",
        "raise the total timeout";
    /// The connection broke (reset, broken pipe). Retried.
    Connection = "connection",
        "try again; if it repeats, look for a proxy that cuts long answers";
    /// The answer ended, and is not whole: it ran into a limit, or was withheld. Only where a whole one was asked for, such as by
    /// [`ResponseStream::text`](crate::ResponseStream::text); its events end with `incomplete`. Never retried.
    Incomplete = "incomplete",
        "see the reason: raise the limit on tokens, or ask for less at once";
    /// The answer is whole, and not what it was asked to be: [`Response::parse`](crate::protocol::Response::parse) found no such JSON.
    InvalidOutput = "invalid_output",
        "ask again, or hold the model to a schema";
    /// The stream ended before its terminal event, or a piece of the answer broke on its way: an event that is no JSON. Retried.
    Truncated = "truncated",
        "try again; if it repeats, look for a proxy that cuts long answers";
    /// What came is not what the API sends: no HTTP, no event stream, JSON of the wrong shape. Never retried.
    Protocol = "protocol",
        "check that the base URL is that of the API itself, and the wire";
    /// A line, event, head or body is over its named limit. Never retried.
    TooLarge = "too_large",
        "raise the limit that the message names";
    /// The subscriber did not keep up and its subscription ended; the request itself may go on. Never retried.
    Lagged = "lagged",
        "read faster, raise the limits, or choose a delivery policy that drops deltas";
    /// The attempt's actor panicked, was killed or lost its thread: retried. Or the supervisor panicked, which ends all requests.
    AttemptLost = "attempt_lost",
        "report it: this is a defect of the program";
    /// The process that wrote a [stored](crate::actors::SubmitRequest::with_stored_as) stream is gone, and nobody can go on with its answer. Never
    /// retried.
    NodeLost = "node_lost",
        "ask again; an answer with `background` and `store` is gone on with where its server has that";
    /// The store of a stream did not answer for long. Never retried: that was waited for.
    StoreUnavailable = "store_unavailable",
        "see that the store runs and can be reached, and read the stream again";
    /// The runtime shut down. Never retried.
    ShutDown = "shut_down",
        "start the runtime again";
    /// The request, of which an answer was waited for, was cancelled. Never retried.
    Cancelled = "cancelled",
        "nothing: somebody wanted that";
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far an attempt had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Nothing was sent: the request was being checked and built.
    Prepare,
    /// The [`AuthProvider`](crate::provider::AuthProvider) was asked.
    Authorize,
    /// Connecting, sending the request, or waiting for a connection.
    Connect,
    /// Waiting for the response's head.
    ResponseHead,
    /// Reading the response's body.
    Body,
    /// Handing events to a subscriber.
    Deliver,
}

impl Phase {
    /// The phase's name in JSON and logs, snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Authorize => "authorize",
            Self::Connect => "connect",
            Self::ResponseHead => "response_head",
            Self::Body => "body",
            Self::Deliver => "deliver",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One attempt that failed, as an error that came after several lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttemptFailure {
    /// Which attempt; the first is 1.
    pub attempt: u32,
    /// What kind of failure.
    pub kind: ErrorKind,
    /// What was said of it.
    pub message: String,
    /// The server's id for that attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The provider that it was at, of a request that has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

impl AttemptFailure {
    fn told(&self) -> Cow<'_, str> {
        match &self.provider {
            Some(provider) => Cow::Owned(format!("{provider}: {}", self.message)),
            None => Cow::Borrowed(&self.message),
        }
    }
}

/// Why a request, or a subscription to one, ended badly.
///
/// `Display` is one line without the cause, which is [`source`](Error::source); [`report`](Self::report) is the paragraph
/// for people. It never holds a key: headers of the request are not part of it. The error is built where the failure is
/// known and completed on its way up with the attempt, the host and what had been delivered.
///
/// As JSON it is `{"kind", "message", ...}`, and can be read back; of its causes only the first is in there, by its words.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct ApiError(Box<Details>);

/// The parts of an [`ApiError`]. Absent means that nobody said.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Details {
    /// What a program matches on.
    pub kind: ErrorKind,
    /// What happened, lower case, without a full stop; the server's own words where it gave any.
    pub message: String,
    /// How far the attempt had come.
    pub phase: Option<Phase>,
    /// The provider's name.
    pub provider: Option<String>,
    /// The host, with its port where one was written.
    pub host: Option<String>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The head of the response that refused, with all its headers. Not in the error's JSON.
    #[serde(skip)]
    pub head: Option<Arc<ResponseHead>>,
    /// The body of that response as it came, for a service that passes it on: up to 64 KiB, with what it repeats of a key taken out. Not in
    /// the error's JSON.
    #[serde(skip)]
    pub body: Option<Bytes>,
    /// The error object's `code`.
    pub code: Option<String>,
    /// The error object's `type`.
    pub error_type: Option<String>,
    /// The error object's `param`.
    pub param: Option<String>,
    /// The server's id of the request (`x-request-id`, `x-oai-request-id`, `cf-ray`, ...).
    pub request_id: Option<String>,
    /// How long the server asks to wait.
    #[serde(
        rename = "retry_after_ms",
        default,
        deserialize_with = "some_of_millis"
    )]
    pub retry_after: Option<Duration>,
    /// Header `x-should-retry`, which outranks the kind.
    pub should_retry: Option<bool>,
    /// The caller's plan (`usage_limit_reached`).
    pub plan_type: Option<String>,
    /// When a usage limit ends, in seconds of Unix time.
    pub resets_at: Option<i64>,
    /// The limits that came with the error.
    pub rate_limits: Option<RateLimitSnapshot>,
    /// Which attempt failed last; 0 before the first.
    #[serde(default)]
    pub attempt: u32,
    /// How many attempts the request may have.
    #[serde(default)]
    pub max_attempts: u32,
    /// The failures of all attempts, the last included.
    #[serde(default)]
    pub attempts: Vec<AttemptFailure>,
    /// Whether a part of the answer had reached subscribers.
    #[serde(default)]
    pub output_delivered: bool,
    /// The response's id, where the server had given it one before it failed.
    pub response_id: Option<Id>,
    /// What the failed answer cost, when the server said so.
    pub token_usage: Option<TokenUsage>,
    /// The `usage` object as it came.
    #[serde(default, deserialize_with = "present")]
    pub usage: Option<RawJson>,
    /// The response object of a `response.failed`, with the output that it had.
    pub response: Option<RawJson>,
    /// The server's own word for the end: `finish_reason` on the Chat wire.
    pub finish_reason: Option<Text>,
    /// The word of the server behind the one that answered (`native_finish_reason`).
    pub native_finish_reason: Option<Text>,
    /// The `sequence_number` of the last event, on the Responses wire: where a stored response is resumed.
    pub sequence_number: Option<u64>,
    /// What was odd about the stream.
    #[serde(default)]
    pub anomalies: StreamAnomalies,
    /// What had come of the answer; see [`ApiError::partial_response`]. Its type holds errors, and so this one can't name it.
    #[serde(skip)]
    pub(crate) partial_response: Option<Arc<dyn Any + Send + Sync>>,
    /// The cause.
    #[serde(rename = "cause", default, deserialize_with = "cause")]
    pub source: Option<Arc<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// Makes an error of a kind, with what happened in lower case.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            message: message.into(),
            phase: None,
            provider: None,
            host: None,
            status: None,
            head: None,
            body: None,
            code: None,
            error_type: None,
            param: None,
            request_id: None,
            retry_after: None,
            should_retry: None,
            plan_type: None,
            resets_at: None,
            rate_limits: None,
            attempt: 0,
            max_attempts: 0,
            attempts: Vec::new(),
            output_delivered: false,
            response_id: None,
            token_usage: None,
            usage: None,
            response: None,
            finish_reason: None,
            native_finish_reason: None,
            sequence_number: None,
            anomalies: StreamAnomalies::default(),
            partial_response: None,
            source: None,
        }))
    }

    /// The error of a setting that is wrong, so that nothing was sent.
    pub(crate) fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidConfiguration, message).with_phase(Phase::Prepare)
    }

    /// The error of an attempt that reported nothing.
    pub(crate) fn attempt_lost() -> Self {
        Self::new(
            ErrorKind::AttemptLost,
            "the attempt's actor ended without an outcome: it panicked, was killed or lost its thread",
        )
    }

    /// The error of what a supervisor that panicked had in its hands.
    pub(crate) fn supervisor_lost() -> Self {
        Self::new(
            ErrorKind::AttemptLost,
            "the supervisor panicked and began anew; what ran until then has ended",
        )
    }

    /// The error of those who wait for a request that nobody has any more.
    pub(crate) fn request_lost() -> Self {
        match std::thread::panicking() {
            true => Self::supervisor_lost(),
            false => Self::new(
                ErrorKind::ShutDown,
                "the runtime stopped before the request had ended",
            ),
        }
        .with_phase(Phase::Deliver)
    }

    /// The error of those who wait for a supervisor that is gone.
    pub(crate) fn stopped() -> Self {
        Self::new(ErrorKind::ShutDown, "the runtime has stopped")
    }

    /// Sets how far the attempt had come.
    #[must_use]
    pub fn with_phase(mut self, phase: Phase) -> Self {
        self.0.phase = Some(phase);
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// What a program matches on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// All that is known.
    pub fn details(&self) -> &Details {
        &self.0
    }

    /// Sets what more is known of it: the status, the code, the member that is wrong. For who makes such an error, as a service in front does.
    #[must_use]
    pub fn with_details(mut self, set: impl FnOnce(&mut Details)) -> Self {
        set(self.details_mut());
        self
    }

    /// For the layers that complete an error on its way up.
    pub(crate) fn details_mut(&mut self) -> &mut Details {
        &mut self.0
    }

    /// The HTTP status that the server failed with. Absent where no response came, and where one that began well failed later.
    pub fn http_status(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.0.status?).ok()
    }

    /// The error as OpenAI's API writes one, for a service that passes it on: `{"error": {"message", "type", "param", "code"}}`.
    /// Where the server gave no type or no code, or none was asked, the kind's name stands there; an absent `param` is null.
    pub fn to_error_object(&self) -> Value {
        let details = self.details();
        let or_kind = |word: &Option<String>| match word {
            Some(word) => word.clone(),
            None => details.kind.as_str().to_owned(),
        };
        json!({"error": {
            "message": details.message,
            "type": or_kind(&details.error_type),
            "param": details.param,
            "code": or_kind(&details.code),
        }})
    }

    /// What to try, for a person.
    pub fn advice(&self) -> &'static str {
        self.kind().advice()
    }

    /// The paragraph for people: what, where, how often, the request id, what to try.
    pub fn report(&self) -> String {
        let details = self.details();
        let mut text = self.to_string();
        let mut cause: Option<&(dyn Error + 'static)> = self.source();
        while let Some(error) = cause {
            // An I/O error's words are mostly in the message already.
            let words = error.to_string();
            let known = words.split(" (os error").next().unwrap_or_default();
            if !text
                .to_ascii_lowercase()
                .contains(&known.to_ascii_lowercase())
            {
                text.push_str(&format!(": {words}"));
            }
            cause = error.source();
        }
        let mut place = Vec::new();
        if let Some(phase) = details.phase {
            place.push(format!("phase {phase}"));
        }
        if let Some(host) = &details.host {
            place.push(format!("host {host}"));
        }
        if details.attempt > 0 {
            place.push(format!(
                "attempt {} of {}",
                details.attempt, details.max_attempts
            ));
        }
        if let Some(id) = &details.request_id {
            place.push(format!("request id {id}"));
        }
        if !place.is_empty() {
            text.push_str(&format!(" ({})", place.join(", ")));
        }
        let failures = details.attempts.iter();
        let failures: Vec<_> = failures
            .map(|failure| (failure.attempt, failure.told()))
            .collect();
        let failures = failures.iter().map(|(attempt, told)| (*attempt, &**told));
        attempts::tell(failures, self.message(), &mut text);
        if details.output_delivered {
            text.push_str("; a part of the answer had been delivered");
        }
        if !details.anomalies.is_empty() {
            text.push_str(&format!("; in the stream: {}", details.anomalies));
        }
        if let Some(wait) = details.retry_after {
            text.push_str(&format!(
                "; the server asks to wait {:.1} s",
                wait.as_secs_f64()
            ));
        }
        text.push_str(&format!(". To try: {}.", self.advice()));
        text
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.status {
            Some(status) => write!(f, "{} (HTTP {status}): {}", self.0.kind, self.0.message),
            None => write!(f, "{}: {}", self.0.kind, self.0.message),
        }
    }
}

/// The [`report`](ApiError::report) on one line, as `unwrap` prints it. [`details`](ApiError::details) has each field.
impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiError({:?})", self.report())
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

/// Equal when they would be reported alike; causes are not compared.
impl PartialEq for ApiError {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.report() == other.report()
    }
}

type Cause = Arc<dyn Error + Send + Sync>;

/// The words of a cause, as an error.
fn cause<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cause>, D::Error> {
    let words = Option::<String>::deserialize(deserializer)?;
    Ok(words.map(|words| Box::<dyn Error + Send + Sync>::from(words).into()))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn every_kind_has_a_name_and_advice_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        for kind in ErrorKind::ALL.iter().copied() {
            let error = ApiError::new(kind, "what happened");
            assert_eq!(error.to_string(), format!("{kind}: what happened"));
            assert!(
                error
                    .report()
                    .ends_with(&format!("To try: {}.", error.advice())),
                "{kind}"
            );
        }
    }

    #[test]
    fn a_report_says_what_where_how_often_and_why() {
        let cause = io::Error::from(io::ErrorKind::ConnectionRefused);
        let mut error = ApiError::new(
            ErrorKind::Connect,
            "can't connect to a:1: connection refused",
        )
        .with_phase(Phase::Connect)
        .with_source(cause);
        let details = error.details_mut();
        details.host = Some("a:1".to_owned());
        details.attempt = 2;
        details.max_attempts = 3;
        details.request_id = Some("req_1".to_owned());
        details.output_delivered = true;
        assert_eq!(
            error.report(),
            "connect: can't connect to a:1: connection refused (phase connect, host a:1, attempt 2 of 3, \
             request id req_1); a part of the answer had been delivered. To try: check that the server runs and that the \
             host and port are right."
        );
        let other =
            ApiError::new(ErrorKind::Tls, "no session").with_source(io::Error::other("bad record"));
        assert!(
            other.report().starts_with("tls: no session: bad record."),
            "{}",
            other.report()
        );
    }

    #[test]
    fn json_has_the_kind_and_the_message_first_and_leaves_out_what_is_absent() {
        let error = ApiError::new(ErrorKind::Truncated, "cut");
        let json = serde_json::to_string(&error).unwrap();
        assert!(
            json.starts_with(r#"{"kind":"truncated","message":"cut","#),
            "{json}"
        );
        assert!(!json.contains("null"), "{json}");
    }

    #[test]
    fn debug_is_one_line_however_much_is_known() {
        let mut error = ApiError::new(ErrorKind::ServerError, "a\nb");
        error.details_mut().response = RawJson::parse("{\n}").ok();
        let text = r#"ApiError("server_error: a\nb. To try: try again later; give the request id when you report it.")"#;
        assert_eq!(format!("{error:?}"), text);
        assert_eq!(format!("{error:#?}"), text);
    }

    #[test]
    fn an_error_is_written_as_openai_writes_it() {
        let mut error = ApiError::new(ErrorKind::IdleTimeout, "silent");
        assert_eq!(error.http_status(), None);
        assert_eq!(
            error.to_error_object(),
            json!({"error": {"message": "silent", "type": "idle_timeout", "param": null, "code": "idle_timeout"}})
        );
        let details = error.details_mut();
        details.status = Some(400);
        details.error_type = Some("invalid_request_error".to_owned());
        details.param = Some("model".to_owned());
        details.code = Some("model_not_found".to_owned());
        assert_eq!(error.http_status(), Some(StatusCode::BAD_REQUEST));
        assert_eq!(
            error.to_error_object(),
            json!({"error": {"message": "silent", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}})
        );
        error.details_mut().status = Some(7);
        assert_eq!(error.http_status(), None);
    }
}
