//! Spans and their attributes, named as in OpenTelemetry's semantic conventions for generative AI.
//!
//! One span covers a request from its acceptance to its end. Below it is one for each attempt, which follows from the one before. Values
//! that come with the response are recorded when they are known. Nothing of the prompt, the answer or a key is recorded.

use std::fmt;

use tracing::{
    Span,
    field::{Empty, debug},
};

use crate::protocol::{
    TokenUsage,
    error::{ApiError, ErrorKind},
};

/// The request or the attempt that a span covers.
pub(crate) struct Attributes<'a> {
    /// `chat`, `compact` or `list_models`.
    pub(crate) operation: &'static str,
    pub(crate) provider: &'a str,
    pub(crate) model: &'a str,
    /// Host and port of the server, or of what stands before it.
    pub(crate) server: (&'a str, u16),
    pub(crate) request: &'a dyn fmt::Display,
}

/// Begins the span of a request.
pub(crate) fn request_span(attributes: &Attributes<'_>) -> Span {
    tracing::info_span!(
        parent: None,
        "gen_ai.request",
        "otel.name" = %Named(attributes),
        "otel.kind" = "internal",
        "otel.status_code" = Empty,
        "gen_ai.operation.name" = attributes.operation,
        "gen_ai.provider.name" = attributes.provider,
        "gen_ai.request.model" = attributes.model,
        "request" = %attributes.request,
        "error.type" = Empty,
        "http.response.status_code" = Empty,
    )
}

/// Begins the span of an attempt at the request of another.
pub(crate) fn attempt_span(request: &Span, attempt: u32, attributes: &Attributes<'_>) -> Span {
    tracing::info_span!(
        parent: request,
        "gen_ai.attempt",
        // What tracing-opentelemetry takes for the span's name and kind.
        "otel.name" = %Named(attributes),
        "otel.kind" = "client",
        "otel.status_code" = Empty,
        "gen_ai.operation.name" = attributes.operation,
        "gen_ai.provider.name" = attributes.provider,
        "gen_ai.request.model" = attributes.model,
        "server.address" = attributes.server.0,
        "server.port" = attributes.server.1,
        "request" = %attributes.request,
        // How often a request was sent before: OpenTelemetry counts from 0.
        "http.request.resend_count" = attempt - 1,
        "http.response.status_code" = Empty,
        "gen_ai.response.id" = Empty,
        "gen_ai.usage.input_tokens" = Empty,
        "gen_ai.usage.output_tokens" = Empty,
        "gen_ai.response.finish_reasons" = Empty,
        "error.type" = Empty,
    )
}

/// Records how an attempt that got an answer ended. What the server says of it may be a secret, which the caller has taken out.
pub(crate) fn record_answer(
    span: &Span,
    id: Option<&str>,
    usage: Option<&TokenUsage>,
    reason: &str,
) {
    // A list, of which the subscriber gets the text: tracing has no lists.
    span.record("gen_ai.response.finish_reasons", debug([reason]));
    if let Some(id) = id {
        span.record("gen_ai.response.id", id);
    }
    if let Some(usage) = usage {
        span.record("gen_ai.usage.input_tokens", usage.input_tokens);
        span.record("gen_ai.usage.output_tokens", usage.output_tokens);
    }
}

/// Records that an attempt, or a request, was ended before it had an end of its own.
pub(crate) fn record_cancelled(span: &Span) {
    let kind = match std::thread::panicking() {
        true => ErrorKind::AttemptLost.as_str(),
        false => "cancelled",
    };
    record_failure(span, kind);
}

fn record_failure(span: &Span, kind: &str) {
    span.record("error.type", kind);
    span.record("otel.status_code", "ERROR");
}

/// `{operation} {model}`, as the conventions name a span.
struct Named<'a>(&'a Attributes<'a>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.operation)?;
        match self.0.model {
            "" => Ok(()),
            model => write!(f, " {model}"),
        }
    }
}

/// Records why an attempt, or a request, failed.
pub(crate) fn record_error(span: &Span, error: &ApiError) {
    record_failure(span, error.kind().as_str());
    if let Some(status) = error.details().status {
        span.record("http.response.status_code", status);
    }
}
