//! What a subscriber of `tracing` is told of a request's attempts. Alone in its binary: who is interested in a span is kept for the whole
//! process, and threads that have no subscriber would race with these.

#[path = "support/scripted/mod.rs"]
#[allow(dead_code, reason = "a part of it is needed here")]
mod support;

use std::{
    collections::BTreeMap,
    fmt,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_responses::{
    Runtime,
    actors::{Compact, ListModels, SubmitRequest, SupervisorConfig, Workers},
    protocol::{CompactionInput, OutputFormat, Prompt, ResponseItem},
    provider::Provider,
    telemetry::Propagator,
    testing,
    transport::{Transport, TransportError, TransportErrorKind, TransportFactory},
};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tracing::{
    Event, Metadata, Span, Subscriber,
    field::{Field, Visit},
    span,
};

use self::support::{
    collect,
    events::*,
    prompt, provider, settle, start, start_with, steady_retry,
    transport::{Exchange, Misfortune, ScriptedTransport},
};

/// The fields of the spans of requests and attempts, in the order in which they began; with the numbers of the span above, of the one
/// that it follows from, and whether it is closed.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Fields>>>, Arc<Mutex<Vec<u32>>>);

type Fields = BTreeMap<&'static str, String>;

struct Reading<'a>(&'a mut Fields);

impl Visit for Reading<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.name().starts_with("gen_ai.") || metadata.name() == "caller"
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut spans = self.0.lock().unwrap();
        let mut fields = Fields::new();
        attributes.record(&mut Reading(&mut fields));
        if let Some(parent) = attributes.parent() {
            fields.insert("parent", (parent.into_u64() - 1).to_string());
        }
        fields.insert("span", attributes.metadata().name().to_owned());
        spans.push(fields);
        self.1.lock().unwrap().push(1);
        span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        let mut spans = self.0.lock().unwrap();
        values.record(&mut Reading(&mut spans[id.into_u64() as usize - 1]));
    }

    fn record_follows_from(&self, id: &span::Id, before: &span::Id) {
        let mut spans = self.0.lock().unwrap();
        let at = before.into_u64() as usize - 1;
        // Subscribers know nothing any more of one that is closed.
        if !spans[at].contains_key("closed") {
            spans[id.into_u64() as usize - 1].insert("follows", at.to_string());
        }
    }

    fn clone_span(&self, id: &span::Id) -> span::Id {
        self.1.lock().unwrap()[id.into_u64() as usize - 1] += 1;
        id.clone()
    }

    fn try_close(&self, id: span::Id) -> bool {
        let at = id.into_u64() as usize - 1;
        let handles = &mut self.1.lock().unwrap()[at];
        *handles -= 1;
        if *handles == 0 {
            self.0.lock().unwrap()[at].insert("closed", "yes".to_owned());
        }
        *handles == 0
    }

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Spans {
    /// Of this thread alone, on which everything runs.
    fn of_this_thread() -> (Self, tracing::subscriber::DefaultGuard) {
        let spans = Self::default();
        let guard = tracing::subscriber::set_default(spans.clone());
        (spans, guard)
    }

    #[track_caller]
    fn check(&self, number: usize, expected: &[(&'static str, &str)]) {
        let spans = self.0.lock().unwrap();
        let fields = &spans[number];
        for (name, expected) in expected {
            let found = fields.get(name).map(String::as_str);
            let expected = Some(*expected).filter(|expected| !expected.is_empty());
            assert_eq!(found, expected, "{name} of {fields:?}");
        }
    }
}

#[actix_rt::test]
async fn each_attempt_is_a_client_span_with_the_names_of_the_conventions() {
    let (spans, _guard) = Spans::of_this_thread();
    let exchanges = [Exchange::status(503), Exchange::stream(answer())];
    let (runtime, _) = start_with(exchanges, |config| {
        config.workers = Workers::Current;
        config.retry = steady_retry(2);
        provider(config, |provider| {
            provider.timeouts.idle = Duration::from_secs(9);
        });
    });
    collect(&runtime).await;
    settle().await;
    spans.check(
        0,
        &[
            ("span", "gen_ai.request"),
            ("parent", ""),
            ("otel.name", "chat test-model"),
            ("otel.kind", "client"),
            ("otel.status_code", ""),
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "scripted"),
            ("gen_ai.request.model", "test-model"),
            ("gen_ai.request.stream", "true"),
            ("gen_ai.request.temperature", ""),
            ("openai.api.type", "responses"),
            ("server.address", "scripted.test"),
            ("server.port", "80"),
            ("gen_ai.response.id", "resp_1"),
            ("gen_ai.response.finish_reasons", "[\"stop\"]"),
            ("gen_ai.response.time_to_first_chunk", "0.101"),
            ("gen_ai.usage.input_tokens", "3"),
            ("gen_ai.input.messages", ""),
            ("gen_ai.output.messages", ""),
            ("error.type", ""),
            ("closed", "yes"),
        ],
    );
    for number in [1, 2] {
        spans.check(
            number,
            &[
                ("span", "gen_ai.attempt"),
                ("parent", "0"),
                ("closed", "yes"),
                ("otel.name", "POST"),
                ("otel.kind", "client"),
                ("http.request.method", "POST"),
                ("url.full", "http://scripted.test/v1/responses"),
                ("server.address", "scripted.test"),
                ("server.port", "80"),
            ],
        );
    }
    spans.check(
        1,
        &[
            ("follows", ""),
            ("http.request.resend_count", ""),
            ("http.response.status_code", "503"),
            ("error.type", "overloaded"),
            ("otel.status_code", "ERROR"),
        ],
    );
    spans.check(
        2,
        &[
            ("follows", "1"),
            ("http.request.resend_count", "1"),
            ("http.response.status_code", "200"),
            ("error.type", ""),
            ("otel.status_code", ""),
        ],
    );
}

#[actix_rt::test]
async fn what_a_prompt_sets_and_an_answer_tells_is_recorded_with_its_type() {
    let (spans, _guard) = Spans::of_this_thread();
    let end = json!({"type": "response.completed", "response": {"id": "r", "model": "model-2026", "output": [], "usage": {
        "input_tokens": 7, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
        "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 4}}}});
    let (runtime, _) = start([Exchange::stream(format!("data: {end}\n\n"))]);
    let prompt = prompt()
        .with_temperature(0.5)
        .with_top_p(0.25)
        .with_max_output_tokens(9)
        .with_conversation("conv_1")
        .with_service_tier("flex")
        .with_output_format(OutputFormat::JsonObject)
        .with_extra("frequency_penalty", 0.75)
        .with_extra("presence_penalty", 1)
        .with_extra("seed", 11)
        .with_extra("stop", "END");
    let _ = runtime
        .stream(prompt)
        .await
        .unwrap()
        .collect::<Vec<_>>()
        .await;
    settle().await;
    let all = [
        ("gen_ai.request.temperature", "0.5"),
        ("gen_ai.request.top_p", "0.25"),
        ("gen_ai.request.max_tokens", "9"),
        ("gen_ai.request.frequency_penalty", "0.75"),
        ("gen_ai.request.presence_penalty", "1.0"),
        ("gen_ai.request.seed", "11"),
        ("gen_ai.request.stop_sequences", r#"["END"]"#),
        ("gen_ai.output.type", "json"),
        ("gen_ai.conversation.id", "conv_1"),
        ("openai.request.service_tier", "flex"),
        ("gen_ai.response.id", "r"),
        ("gen_ai.response.model", "model-2026"),
        ("gen_ai.usage.input_tokens", "7"),
        ("gen_ai.usage.output_tokens", "5"),
        ("gen_ai.usage.cache_read.input_tokens", "2"),
        ("gen_ai.usage.cache_creation.input_tokens", "1"),
        ("gen_ai.usage.reasoning.output_tokens", "4"),
    ];
    spans.check(0, &all);
}

/// `tests/otel` has a subscriber that knows the current span, which is what a message takes by itself.
#[actix_rt::test]
async fn a_request_is_below_its_callers_span() {
    let (spans, _guard) = Spans::of_this_thread();
    let answers = (0..3).map(|_| Exchange::stream(answer()));
    let held = Exchange::stream(created()).held_open();
    let (runtime, _) = start([held].into_iter().chain(answers));
    let caller = || tracing::info_span!("caller");
    let request = SubmitRequest::new(prompt()).with_span(caller());
    let stream = runtime.submit(request).await.unwrap();
    // It is held no longer than the message is.
    spans.check(0, &[("span", "caller"), ("closed", "yes")]);
    spans.check(
        1,
        &[("span", "gen_ai.request"), ("parent", "0"), ("closed", "")],
    );
    runtime.cancel(stream.request()).await;

    let request = SubmitRequest::new(prompt()).with_span(Span::none());
    let stream = runtime.submit(request).await.unwrap();
    stream.collect::<Vec<_>>().await;
    spans.check(3, &[("span", "gen_ai.request"), ("parent", "")]);

    // So are questions, whatever they are answered.
    let compact = Compact::new(CompactionInput::new("m", Vec::new())).with_span(caller());
    let _ = runtime.compact(compact).await;
    spans.check(6, &[("otel.name", "compact m"), ("parent", "5")]);
    let at = spans.0.lock().unwrap().len();
    let list = ListModels::new().with_span(caller());
    let _ = runtime.list_models(list).await;
    let above = at.to_string();
    spans.check(at + 1, &[("otel.name", "list_models"), ("parent", &above)]);
    spans.check(
        at + 2,
        &[("otel.name", "GET"), ("http.request.method", "GET")],
    );
}

#[actix_rt::test]
async fn a_request_goes_to_the_subscriber_of_its_caller() {
    // Which is one of this thread; the runtime has its own.
    let (spans, _guard) = Spans::of_this_thread();
    let provider = Provider::new("scripted", "http://scripted.test/v1").unwrap();
    let exchanges = [Exchange::status(503), Exchange::stream(answer())];
    let transport = ScriptedTransport::new(exchanges);
    let mut config = SupervisorConfig::new(provider);
    config.retry.backoff.base = Duration::from_millis(1);
    let runtime = Runtime::spawn_with_transport(config, transport).unwrap();
    let request = SubmitRequest::new(prompt()).with_span(tracing::info_span!("caller"));
    let stream = runtime.submit(request).await.unwrap();
    stream.collect::<Vec<_>>().await;
    runtime.shutdown(Duration::from_secs(5)).await;
    let all_closed = async {
        // Workers end in threads that nobody can wait for.
        while !spans.0.lock().unwrap()[1..]
            .iter()
            .all(|span| span.contains_key("closed"))
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let all_closed = tokio::time::timeout(Duration::from_secs(20), all_closed);
    all_closed.await.expect("every span is closed");
    let closed = ("closed", "yes");
    spans.check(
        1,
        &[("parent", "0"), ("gen_ai.response.id", "resp_1"), closed],
    );
    spans.check(2, &[("parent", "1"), ("error.type", "overloaded"), closed]);
    spans.check(3, &[("parent", "1"), ("follows", "2"), closed]);
}

/// Tells the number of the span.
#[derive(Debug)]
struct Numbering;

impl Propagator for Numbering {
    fn inject(&self, span: &Span, headers: &mut HeaderMap) {
        let number = span.id().expect("a span").into_u64() - 1;
        headers.insert("traceparent", HeaderValue::from(number));
        headers.insert("authorization", HeaderValue::from_static("none"));
        assert_ne!(number, 4, "a scripted panic");
    }
}

#[actix_rt::test]
async fn each_attempt_tells_the_server_of_its_span() {
    let (spans, _guard) = Spans::of_this_thread();
    let exchanges = [
        Exchange::status(503),
        Exchange::stream(answer()),
        Exchange::stream(answer()),
        Exchange::stream(answer()),
    ];
    let (runtime, transport) = start_with(exchanges, |config| {
        config.retry = steady_retry(2);
        config.propagator = Some(Arc::new(Numbering));
        provider(config, |provider| {
            let keyed = provider
                .clone()
                .with_header("authorization", "Bearer key-0123456789");
            *provider = keyed.unwrap();
        });
    });
    collect(&runtime).await;
    // After a panic without, and the caller's own goes before.
    assert!(collect(&runtime).await.last().unwrap().is_ok());
    let own = SubmitRequest::new(prompt()).with_header("traceparent", "own");
    let own = runtime.submit(own.unwrap()).await.unwrap();
    own.collect::<Vec<_>>().await;
    let told = transport.requests().into_iter().map(|request| {
        assert_eq!(request.headers["authorization"], "Bearer key-0123456789");
        request.headers.get("traceparent").cloned()
    });
    let told: Vec<_> = told.collect();
    let expected = [Some("1"), Some("2"), None, Some("own")];
    assert_eq!(
        told,
        expected.map(|text| text.map(HeaderValue::from_static))
    );
    spans.check(4, &[("span", "gen_ai.attempt"), ("parent", "3")]);
}

#[actix_rt::test]
async fn prompts_and_answers_are_recorded_where_that_is_asked_for() {
    let (spans, _guard) = Spans::of_this_thread();
    let exchanges = [Exchange::status(503), Exchange::stream(answer())];
    let (runtime, _) = start_with(exchanges, |config| {
        config.retry = steady_retry(2);
        config.captured_content_bytes = 200;
        provider(config, |provider| {
            let keyed = provider
                .clone()
                .with_header("authorization", "Bearer key-0123456789");
            *provider = keyed.unwrap();
        });
    });
    let prompt = Prompt::new(vec![
        ResponseItem::user_text("x".repeat(200)),
        ResponseItem::user_text("Is key-0123456789 right?"),
    ]);
    let prompt = prompt.with_model("m").with_instructions("Be brief.");
    runtime
        .stream(prompt)
        .await
        .unwrap()
        .collect::<Vec<_>>()
        .await;
    let fields = spans.0.lock().unwrap()[0].clone();
    let read = |name: &str| -> Value { serde_json::from_str(&fields[name]).unwrap() };
    let text = |content: &str| json!({"type": "text", "content": content});
    assert_eq!(
        read("gen_ai.system_instructions"),
        json!([text("Be brief.")])
    );
    let input = read("gen_ai.input.messages");
    let expected = json!({"role": "user", "parts": [text("Is [redacted] right?")]});
    assert_eq!(input[1], expected);
    let cut = input[0]["parts"][0]["content"].as_str().unwrap();
    assert!(cut.starts_with("xxx") && cut.ends_with('…'), "{cut}");
    let answer = json!([{"role": "assistant", "parts": [text("Hello")], "finish_reason": "stop"}]);
    assert_eq!(read("gen_ai.output.messages"), answer);
}

#[actix_rt::test]
async fn an_attempt_that_is_cut_short_says_so() {
    let (spans, _guard) = Spans::of_this_thread();
    let exchanges = (0..3).map(|_| Exchange::silence());
    let (runtime, _) = start_with(exchanges, |config| config.workers = Workers::Current);
    // Cancelled, deserted, and a question that nobody waits for.
    let stream = runtime.stream(prompt()).await.unwrap();
    runtime.cancel(stream.request()).await;
    drop(runtime.stream(prompt()).await.unwrap());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let waiting = runtime.list_models(ListModels::new());
    tokio::time::timeout(Duration::from_secs(1), waiting)
        .await
        .unwrap_err();
    settle().await;
    // A request and its attempt, three times.
    for number in 0..6 {
        spans.check(
            number,
            &[("error.type", "cancelled"), ("otel.status_code", "ERROR")],
        );
    }
}

#[actix_rt::test]
async fn an_attempt_that_panics_is_lost() {
    let (spans, _guard) = Spans::of_this_thread();
    let exchange = Exchange::stream(created()).panicking();
    let (runtime, _) = start_with([exchange], |config| config.retry = steady_retry(1));
    collect(&runtime).await;
    spans.check(0, &[("error.type", "attempt_lost"), ("closed", "yes")]);
    spans.check(1, &[("error.type", "attempt_lost")]);
}

/// A machine on which no transport can be made.
struct NoTransport;

impl TransportFactory for NoTransport {
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
        let message = "no certificate authority could be loaded";
        Err(TransportError::new(TransportErrorKind::Tls, message))
    }
}

#[actix_rt::test]
async fn an_attempt_that_nothing_can_send_has_its_error() {
    let (spans, _guard) = Spans::of_this_thread();
    let mut config = testing::config();
    config.workers = Workers::Current;
    config.retry = steady_retry(1);
    let runtime = Runtime::with_transport(config, NoTransport).unwrap();
    collect(&runtime).await;
    spans.check(0, &[("error.type", "tls"), ("closed", "yes")]);
    spans.check(1, &[("error.type", "tls"), ("otel.status_code", "ERROR")]);
}
