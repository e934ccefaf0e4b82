//! Watching requests: spans with the names and types of OpenTelemetry's conventions for generative AI and for HTTP, and the trace that
//! is passed on to the server.
//!
//! A request has a span, `gen_ai.request`, from its acceptance to its end: what the conventions call an inference span, which covers all
//! attempts. It is a child of the span in which the program made the message ([`SubmitRequest::new`](crate::actors::SubmitRequest::new)
//! and the like take [`Span::current`]; `with_span` sets another, or none). Below it each attempt has one, `gen_ai.attempt`: a client span
//! of HTTP, which follows from the one of the attempt before, so that retries are linked. Usage is with the request alone, so that nothing is
//! counted twice. Where nobody subscribes to them, spans cost some comparisons for a request, and nothing for what it streams.
//!
//! Spans go to the subscriber of the caller's span, where there is one, and to that of the process otherwise. Their level is INFO and their
//! target `actix_responses::telemetry`: a filter that leaves them out leaves out the trace for the server, too. What is logged of attempts and
//! failures is DEBUG.
//!
//! | attribute | type | span | recorded |
//! |---|---|---|---|
//! | `otel.name` | string | both | at the start: `{operation} {model}`, such as `chat gpt-5`; of an attempt the method |
//! | `otel.kind` | string | both | at the start: `client` |
//! | `otel.status_code` | string | both | at the end, of what failed or was cut short: `ERROR` |
//! | `error.type` | string | both | at the end: the [`ErrorKind`], or `cancelled` |
//! | `request` | string | both | at the start: the [`RequestId`](crate::actors::RequestId) |
//! | `server.address` | string | both | at the start |
//! | `server.port` | int | both | at the start |
//! | `gen_ai.operation.name` | string | request | at the start: `chat`, `compact` or `list_models` |
//! | `gen_ai.provider.name` | string | both | at the start: the provider's name, or the one that the conventions have for it; of an attempt where the request has a [`Fallback`](crate::actors::Fallback) |
//! | `gen_ai.request.model` | string | request | at the start, if one is named |
//! | `gen_ai.request.stream` | bool | request | at the start, of a request for an answer |
//! | `gen_ai.request.temperature` | double | request | at the start, if it is set, as all settings |
//! | `gen_ai.request.top_p` | double | request | at the start |
//! | `gen_ai.request.max_tokens` | int | request | at the start |
//! | `gen_ai.request.frequency_penalty` | double | request | at the start |
//! | `gen_ai.request.presence_penalty` | double | request | at the start |
//! | `gen_ai.request.seed` | int | request | at the start |
//! | `gen_ai.request.stop_sequences` | list of strings | request | at the start |
//! | `gen_ai.output.type` | string | request | at the start, if a format is asked for: `json` or `text` |
//! | `gen_ai.conversation.id` | string | request | at the start, if the server keeps the conversation |
//! | `openai.api.type` | string | request | at the start: `responses` or `chat_completions` |
//! | `openai.request.service_tier` | string | request | at the start |
//! | `gen_ai.response.time_to_first_chunk` | double | request | at the end of an answer: seconds from the request's acceptance to its first event |
//! | `gen_ai.response.model` | string | request | at the end of an answer |
//! | `gen_ai.response.id` | string | request | at the end, also of one that failed |
//! | `gen_ai.response.finish_reasons` | list of strings | request | at the end of an answer |
//! | `gen_ai.usage.input_tokens` | int | request | at the end, also of one that failed, if the server has told its usage |
//! | `gen_ai.usage.output_tokens` | int | request | the same |
//! | `gen_ai.usage.cache_read.input_tokens` | int | request | the same |
//! | `gen_ai.usage.cache_creation.input_tokens` | int | request | the same |
//! | `gen_ai.usage.reasoning.output_tokens` | int | request | the same |
//! | `gen_ai.system_instructions` | JSON | request | when the first attempt is sent, if content is asked for |
//! | `gen_ai.input.messages` | JSON | request | the same |
//! | `gen_ai.output.messages` | JSON | request | at the end of an answer, if content is asked for |
//! | `http.request.method` | string | attempt | at the start |
//! | `url.full` | string | attempt | at the start, without what may be a secret |
//! | `http.request.resend_count` | int | attempt | at the start, from the second on: 1, 2, ... |
//! | `http.response.status_code` | int | attempt | when the head of the response has come |
//!
//! `tracing` has no lists: a list is recorded as the text of a JSON array, such as `["stop"]`, and so is JSON, which the conventions allow. A
//! program that wants lists at its collector reads them from there before they are exported. `tests/otel` of this project does that in some
//! lines, with all else that a program needs to send its spans by `tracing-opentelemetry` and `opentelemetry-otlp`;
//! `cargo test --package actix-responses-otel -- --nocapture --test-threads 1` prints what its collector received.
//!
//! Prompts and answers are recorded only where
//! [`SupervisorConfig::captured_content_bytes`](crate::actors::SupervisorConfig::captured_content_bytes) says how much of them; keys never. Of
//! the input the oldest is left out, of a text that is too long its end; the answer is made of the items that its log still holds.
//! An attempt's span stays open until the next begins, which is linked to it; it is left when the attempt has ended, and
//! `tracing-opentelemetry` takes that for its end.

use std::{fmt, time::Duration};

use http::{Method, StatusCode};
use serde_json::Value;
use tracing::{
    Span, dispatcher,
    field::{Empty, display},
};
use url::Url;

use crate::{
    json::members::member,
    protocol::{
        Id, OutputFormat, Prompt, RawJson, ResponseEvent, TokenUsage,
        error::{ApiError, ErrorKind},
    },
    secret::{Secrets, redaction::RedactedUrl},
    wire::{Terminal, Wire},
};

mod content;
mod propagator;
#[cfg(test)]
mod tests;

pub(crate) use content::Content;

pub use propagator::Propagator;
pub(crate) use propagator::inject;

/// What a request's span and those of its attempts say of it.
pub(crate) struct Attributes<'a> {
    /// As [`RequestInfo::operation`](crate::actors::RequestInfo) has it.
    pub(crate) operation: &'static str,
    pub(crate) provider: &'a str,
    pub(crate) wire: Wire,
    pub(crate) model: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    pub(crate) request: &'a dyn fmt::Display,
    /// Whether other providers may be asked too, so that each attempt names its own.
    pub(crate) is_one_of_several: bool,
}

impl Attributes<'_> {
    fn address(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    fn port(&self) -> Option<i64> {
        self.url.port_or_known_default().map(i64::from)
    }

    fn provider(&self) -> &str {
        well_known(self.provider).unwrap_or(self.provider)
    }
}

/// The name that the conventions have for a provider, where it is not its own.
pub(crate) fn well_known(provider: &str) -> Option<&'static str> {
    match provider {
        "azure" => Some("azure.ai.openai"),
        "mistral" => Some("mistral_ai"),
        "xai" => Some("x_ai"),
        _ => None,
    }
}

/// Makes a span below another, for whoever subscribes to that one: this thread may have another subscriber, or none.
fn below(parent: &Span, make: impl FnOnce() -> Span) -> Span {
    match parent.with_subscriber(|(_, subscriber)| subscriber.clone()) {
        Some(subscriber) => dispatcher::with_default(&subscriber, make),
        None => make(),
    }
}

/// Begins the span of a request, below the caller's if there is one. `prompt` is what is asked, of a request for an answer.
pub(crate) fn request_span(
    caller: &Span,
    attributes: &Attributes<'_>,
    prompt: Option<&Prompt>,
) -> Span {
    let options = prompt.map(|prompt| &prompt.options);
    let extra = |name| options.and_then(|options| options.extra.get(name));
    let number = |name| extra(name).and_then(Value::as_f64);
    below(caller, || {
        tracing::info_span!(
            parent: caller,
            "gen_ai.request",
            // What tracing-opentelemetry takes for the span's name and kind.
            "otel.name" = %Named(attributes),
            "otel.kind" = "client",
            "otel.status_code" = Empty,
            "error.type" = Empty,
            "request" = %attributes.request,
            "server.address" = attributes.address(),
            "server.port" = attributes.port(),
            "gen_ai.operation.name" = attributes.operation,
            "gen_ai.provider.name" = attributes.provider(),
            "gen_ai.request.model" = Some(attributes.model).filter(|model| !model.is_empty()),
            "gen_ai.request.stream" = prompt.map(|_| true),
            "gen_ai.request.temperature" = options.and_then(|options| options.temperature),
            "gen_ai.request.top_p" = options.and_then(|options| options.top_p),
            "gen_ai.request.max_tokens" =
                options.and_then(|options| options.max_output_tokens).map(int),
            "gen_ai.request.frequency_penalty" = number("frequency_penalty"),
            "gen_ai.request.presence_penalty" = number("presence_penalty"),
            "gen_ai.request.seed" = extra("seed").and_then(|seed| seed.as_i64()),
            "gen_ai.request.stop_sequences" = extra("stop").map(|stop| display(stop_list(stop))),
            "gen_ai.output.type" =
                prompt.and_then(|prompt| prompt.output_format.as_ref()).map(output_type),
            "gen_ai.conversation.id" =
                options.and_then(|options| options.conversation.as_deref()),
            "openai.api.type" = prompt.map(|_| api_type(attributes.wire)),
            "openai.request.service_tier" =
                options.and_then(|options| options.service_tier.as_deref()),
            "gen_ai.response.time_to_first_chunk" = Empty,
            "gen_ai.response.model" = Empty,
            "gen_ai.response.id" = Empty,
            "gen_ai.response.finish_reasons" = Empty,
            "gen_ai.usage.input_tokens" = Empty,
            "gen_ai.usage.output_tokens" = Empty,
            "gen_ai.usage.cache_read.input_tokens" = Empty,
            "gen_ai.usage.cache_creation.input_tokens" = Empty,
            "gen_ai.usage.reasoning.output_tokens" = Empty,
            "gen_ai.system_instructions" = Empty,
            "gen_ai.input.messages" = Empty,
            "gen_ai.output.messages" = Empty,
        )
    })
}

/// Begins the span of an attempt at the request of another.
pub(crate) fn attempt_span(request: &Span, attempt: u32, attributes: &Attributes<'_>) -> Span {
    below(request, || {
        tracing::info_span!(
            parent: request,
            "gen_ai.attempt",
            "otel.name" = attributes.method.as_str(),
            "otel.kind" = "client",
            "otel.status_code" = Empty,
            "error.type" = Empty,
            "request" = %attributes.request,
            "server.address" = attributes.address(),
            "server.port" = attributes.port(),
            "gen_ai.provider.name" = attributes.is_one_of_several.then(|| attributes.provider()),
            "http.request.method" = attributes.method.as_str(),
            "url.full" = ?RedactedUrl(attributes.url),
            "http.request.resend_count" = Some(i64::from(attempt) - 1).filter(|count| *count > 0),
            "http.response.status_code" = Empty,
        )
    })
}

/// The conventions have no unsigned numbers, of which tracing-opentelemetry would make texts.
fn int(count: u64) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// `stop` may be one text.
fn stop_list(stop: &Value) -> Value {
    match stop {
        Value::String(one) => vec![one.as_str()].into(),
        list => list.clone(),
    }
}

fn output_type(format: &OutputFormat) -> &'static str {
    match format {
        OutputFormat::JsonObject | OutputFormat::JsonSchema(_) => "json",
        OutputFormat::Other(_) => "text",
    }
}

fn api_type(wire: Wire) -> &'static str {
    match wire {
        Wire::Responses => "responses",
        Wire::Chat => "chat_completions",
    }
}

/// Records the head of a response with the span of its attempt.
pub(crate) fn record_status(attempt: &Span, status: StatusCode) {
    attempt.record("http.response.status_code", i64::from(status.as_u16()));
}

/// Records with a request's span how it was answered, and what its events so far tell of that. What the server says may be a secret,
/// which is taken out.
pub(crate) fn record_answer<'a>(
    request: &Span,
    end: &Terminal,
    first_chunk: Duration,
    events: impl Iterator<Item = &'a ResponseEvent> + Clone,
    said_model: Option<&Id>,
    content: Option<&Content>,
    secrets: &Secrets,
) {
    if request.is_disabled() {
        return;
    }
    let (id, usage, response) = match end {
        Terminal::Completed(end) => (&end.response_id, &end.token_usage, &end.response),
        Terminal::Incomplete(end) => (&end.response_id, &end.token_usage, &end.response),
        Terminal::Failed(_) => return,
    };
    let reason = finish_reason(end);
    record_end(request, id.as_deref(), usage.as_ref(), reason, secrets);
    if let Some(content) = content {
        content.record_answer(request, events.clone(), reason, secrets);
    }
    request.record(
        "gen_ai.response.time_to_first_chunk",
        first_chunk.as_secs_f64(),
    );
    let announced = || {
        let models = events.filter_map(|event| match event {
            ResponseEvent::ServerModel(model) => Some(model),
            _ => None,
        });
        // Not all events may be kept.
        models.last().or(said_model).cloned()
    };
    if let Some(model) = response.as_ref().and_then(model_in).or_else(announced) {
        request.record("gen_ai.response.model", &*secrets.hide(&model));
    }
}

/// Why the answer ended: the server's own word where it has one.
fn finish_reason(end: &Terminal) -> Option<&str> {
    match end {
        Terminal::Completed(end) => Some(end.finish_reason.as_deref().unwrap_or("stop")),
        Terminal::Incomplete(end) => Some(&end.reason),
        Terminal::Failed(_) => None,
    }
}

/// Records with a request's span what is told of an answer beside its content.
pub(crate) fn record_end(
    request: &Span,
    id: Option<&str>,
    usage: Option<&TokenUsage>,
    reason: Option<&str>,
    secrets: &Secrets,
) {
    if request.is_disabled() {
        return;
    }
    if let Some(reason) = reason {
        let reasons = Value::from(vec![&*secrets.hide(reason)]);
        request.record("gen_ai.response.finish_reasons", display(reasons));
    }
    if let Some(id) = id {
        request.record("gen_ai.response.id", &*secrets.hide(id));
    }
    let Some(usage) = usage else {
        return;
    };
    for (name, count) in [
        ("gen_ai.usage.input_tokens", usage.input_tokens),
        ("gen_ai.usage.output_tokens", usage.output_tokens),
        (
            "gen_ai.usage.cache_read.input_tokens",
            usage.cached_input_tokens,
        ),
        (
            "gen_ai.usage.cache_creation.input_tokens",
            usage.cache_write_tokens,
        ),
        (
            "gen_ai.usage.reasoning.output_tokens",
            usage.reasoning_output_tokens,
        ),
    ] {
        request.record(name, int(count));
    }
}

/// The model that a response object names.
pub(crate) fn model_in(response: &RawJson) -> Option<Id> {
    let model: Option<Id> = serde_json::from_str(member(response.get(), "model")?).ok()?;
    model.filter(|model| !model.is_empty())
}

/// Records that an attempt, or a request, was ended before it had an end of its own.
pub(crate) fn record_cancelled(span: &Span) {
    let kind = match std::thread::panicking() {
        true => ErrorKind::AttemptLost.as_str(),
        false => "cancelled",
    };
    record_failure(span, kind);
}

/// Records why an attempt, or a request, failed.
pub(crate) fn record_error(span: &Span, error: &ApiError) {
    record_failure(span, error.kind().as_str());
}

/// Records why a request failed, and what its last attempt has cost all the same. The error has no secrets any more.
pub(crate) fn record_last_error(request: &Span, error: &ApiError) {
    let details = error.details();
    let id = details.response_id.as_deref();
    let usage = details.token_usage.as_ref();
    record_end(request, id, usage, None, &Secrets::default());
    record_error(request, error);
}

fn record_failure(span: &Span, kind: &str) {
    // Within the span, because it may have been left long ago, and ends when it was left last.
    span.in_scope(|| {
        span.record("error.type", kind);
        span.record("otel.status_code", "ERROR");
    });
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
