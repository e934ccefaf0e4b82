//! What a subscriber of `tracing` is told of a request's attempts.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_responses::actors::{ListModels, Workers};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::support::{
    collect,
    events::*,
    prompt, provider, settle, start_with, steady_retry,
    transport::{Exchange, Misfortune},
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
        metadata.name().starts_with("gen_ai.")
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
        let before = (before.into_u64() - 1).to_string();
        spans[id.into_u64() as usize - 1].insert("follows", before);
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
    let common = [
        ("otel.name", "chat test-model"),
        ("otel.kind", "client"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "scripted"),
        ("gen_ai.request.model", "test-model"),
        ("server.address", "scripted.test"),
        ("server.port", "80"),
    ];
    spans.check(
        0,
        &[
            ("span", "gen_ai.request"),
            ("parent", ""),
            ("otel.name", "chat test-model"),
            ("otel.kind", "internal"),
            ("gen_ai.provider.name", "scripted"),
            ("error.type", ""),
            ("closed", "yes"),
        ],
    );
    for number in [1, 2] {
        spans.check(number, &common);
        let tree = [
            ("span", "gen_ai.attempt"),
            ("parent", "0"),
            ("closed", "yes"),
        ];
        spans.check(number, &tree);
    }
    spans.check(
        1,
        &[
            ("follows", ""),
            ("http.request.resend_count", "0"),
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
            ("gen_ai.response.id", "resp_1"),
            ("gen_ai.response.finish_reasons", "[\"stop\"]"),
            ("gen_ai.usage.input_tokens", "3"),
            ("error.type", ""),
            ("otel.status_code", ""),
        ],
    );
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
