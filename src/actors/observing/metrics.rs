//! What becomes of requests as metrics, named as in OpenTelemetry's semantic conventions for generative AI.

use std::time::Duration;

use metrics::{
    Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::{ChunkTimer, Milestone, Observer, RequestInfo, RequestNotice, RequestOutcome};
use crate::{
    protocol::{Id, TokenUsage},
    telemetry::well_known,
};

const DURATION: &str = "gen_ai.client.operation.duration";
const TIME_TO_FIRST_CHUNK: &str = "gen_ai.client.operation.time_to_first_chunk";
const TIME_PER_OUTPUT_CHUNK: &str = "gen_ai.client.operation.time_per_output_chunk";
const TOKEN_USAGE: &str = "gen_ai.client.token.usage";
const LIVE_REQUESTS: &str = "actix_responses.live_requests";
const ATTEMPTS: &str = "actix_responses.attempts";
const RETRIES: &str = "actix_responses.retries";

/// An [`Observer`] that measures through the [`metrics`](https://docs.rs/metrics) facade, for whichever recorder the program installs.
///
/// | metric | of | unit |
/// |---|---|---|
/// | `gen_ai.client.operation.duration` | each request, retries and waits included | s |
/// | `gen_ai.client.operation.time_to_first_chunk` | each attempt whose stream had an event | s |
/// | `gen_ai.client.operation.time_per_output_chunk` | each further event of a stream; of those that were read together all but one take 0 s | s |
/// | `gen_ai.client.token.usage` | each attempt whose server told it; `gen_ai.token.type` is `input` or `output` | {token} |
/// | `actix_responses.live_requests` (gauge) | requests that were accepted and have not ended | |
/// | `actix_responses.attempts` (counter) | attempts that were started | |
/// | `actix_responses.retries` (counter) | attempts that failed and were followed by another | |
///
/// Attributes, and no others: `gen_ai.operation.name`, `gen_ai.provider.name`, `gen_ai.request.model`, `server.address` and `server.port`
/// of all; `gen_ai.response.model` of the duration and the usage, where the server names one; `error.type` of the duration and the
/// retries, which is an [`ErrorKind`](crate::ErrorKind) or `cancelled`. So there are as many series as a program asks models and servers.
///
/// The program's recorder must be one of `metrics` 0.24, and be told [`BUCKETS`](Self::BUCKETS); with another version nothing is measured.
///
/// ```
/// use actix_responses::{actors::{MetricsObserver, SupervisorConfig}, provider::Provider};
///
/// # let provider = Provider::new("test", "http://localhost/v1")?;
/// let config = SupervisorConfig::new(provider).with_observer(MetricsObserver::new());
/// # let _ = config;
/// # Ok::<(), actix_responses::ApiError>(())
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MetricsObserver;

/// From 10 ms on, each twice the one before.
const SECONDS: &[f64] = &boundaries(0.01, 2.0);

/// Powers of four.
const TOKENS: &[f64] = &boundaries(1.0, 4.0);

const fn boundaries(first: f64, factor: f64) -> [f64; 14] {
    let mut boundaries = [first; 14];
    let mut at = 1;
    while at < boundaries.len() {
        boundaries[at] = boundaries[at - 1] * factor;
        at += 1;
    }
    boundaries
}

impl MetricsObserver {
    /// The boundaries of the buckets of each histogram that the conventions advise: for a recorder that is to be told.
    pub const BUCKETS: &[(&str, &[f64])] = &[
        (DURATION, SECONDS),
        (TIME_TO_FIRST_CHUNK, SECONDS),
        (TIME_PER_OUTPUT_CHUNK, SECONDS),
        (TOKEN_USAGE, TOKENS),
    ];

    /// Describes the metrics to the recorder, which is installed before.
    pub fn new() -> Self {
        describe_histogram!(DURATION, Unit::Seconds, "GenAI operation duration.");
        describe_histogram!(
            TIME_TO_FIRST_CHUNK,
            Unit::Seconds,
            "Time to receive the first chunk."
        );
        describe_histogram!(
            TIME_PER_OUTPUT_CHUNK,
            Unit::Seconds,
            "Time per output chunk after the first."
        );
        describe_histogram!(
            TOKEN_USAGE,
            Unit::Count,
            "Number of input and output tokens used, in {token}."
        );
        describe_gauge!(
            LIVE_REQUESTS,
            Unit::Count,
            "Requests that have not ended, in {request}."
        );
        describe_counter!(ATTEMPTS, Unit::Count, "Attempts at requests, in {attempt}.");
        describe_counter!(
            RETRIES,
            Unit::Count,
            "Failed attempts that another follows, in {attempt}."
        );
        Self
    }
}

impl Observer for MetricsObserver {
    fn on_notice(&self, notice: &RequestNotice) {
        let request = &*notice.request;
        let labels = labels(request);
        match &notice.milestone {
            Milestone::Accepted => gauge!(LIVE_REQUESTS, labels).increment(1),
            Milestone::Started => counter!(ATTEMPTS, labels).increment(1),
            Milestone::Head { .. } | Milestone::Limited { .. } | Milestone::NotStored { .. } => {}
            Milestone::FirstEvent { elapsed } => {
                histogram!(TIME_TO_FIRST_CHUNK, labels).record(*elapsed);
            }
            Milestone::Answered { usage, model, .. } => count_tokens(labels, *usage, model),
            Milestone::Failed {
                error, retry_in, ..
            } => {
                if retry_in.is_some() {
                    let labels = with(&labels, "error.type", error.kind().as_str());
                    counter!(RETRIES, labels).increment(1);
                }
                count_tokens(labels, error.details().token_usage, &None);
            }
            Milestone::FellBack { from } => {
                gauge!(LIVE_REQUESTS, self::labels(from)).decrement(1);
                gauge!(LIVE_REQUESTS, labels).increment(1);
            }
            Milestone::Ended { outcome, model, .. } => {
                gauge!(LIVE_REQUESTS, labels.clone()).decrement(1);
                let labels = with_model(labels, model);
                let labels = match outcome {
                    RequestOutcome::Completed | RequestOutcome::Incomplete => labels,
                    RequestOutcome::Failed(error) => {
                        with(&labels, "error.type", error.kind().as_str())
                    }
                    RequestOutcome::Cancelled => with(&labels, "error.type", "cancelled"),
                };
                histogram!(DURATION, labels).record(notice.age);
            }
        }
    }

    fn chunk_timer(&self, request: &RequestInfo) -> Option<ChunkTimer> {
        let times = histogram!(TIME_PER_OUTPUT_CHUNK, labels(request));
        Some(Box::new(move |elapsed, count| {
            times.record(elapsed);
            let together = usize::try_from(count - 1).unwrap_or(usize::MAX);
            if together > 0 {
                times.record_many(Duration::ZERO, together);
            }
        }))
    }
}

fn count_tokens(labels: Vec<Label>, usage: Option<TokenUsage>, model: &Option<Id>) {
    let Some(usage) = usage else {
        return;
    };
    let labels = with_model(labels, model);
    for (kind, tokens) in [
        ("input", usage.input_tokens),
        ("output", usage.output_tokens),
    ] {
        let labels = with(&labels, "gen_ai.token.type", kind);
        // The facade measures in floating point.
        histogram!(TOKEN_USAGE, labels).record(tokens as f64);
    }
}

fn labels(request: &RequestInfo) -> Vec<Label> {
    let text = |name, value: &Id| Label::new(name, value.clone());
    let mut labels = vec![
        Label::from_static_parts("gen_ai.operation.name", request.operation),
        match well_known(&request.provider) {
            Some(known) => Label::from_static_parts("gen_ai.provider.name", known),
            None => text("gen_ai.provider.name", &request.provider),
        },
        text("server.address", &request.server_address),
        Label::new("server.port", request.server_port.to_string()),
    ];
    if !request.model.is_empty() {
        labels.push(text("gen_ai.request.model", &request.model));
    }
    labels
}

fn with(labels: &[Label], name: &'static str, value: &'static str) -> Vec<Label> {
    [labels, &[Label::from_static_parts(name, value)]].concat()
}

fn with_model(mut labels: Vec<Label>, model: &Option<Id>) -> Vec<Label> {
    let model = model.as_ref();
    labels.extend(model.map(|model| Label::new("gen_ai.response.model", model.clone())));
    labels
}
