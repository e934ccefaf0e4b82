//! What a recorder of the `metrics` facade gets, to the letter.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_responses::{
    actors::{Compact, MetricsObserver, SubmitRequest},
    protocol::{CompactionInput, ResponseItem},
    provider::Provider,
};
use futures_util::StreamExt;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit, set_default_local_recorder,
};

use crate::support::{
    collect, events::*, prompt, settle, start_with, steady_retry, transport::Exchange,
};

/// What was measured, by name and labels; and each name's unit.
#[derive(Clone, Default)]
struct Recorded {
    values: Arc<Mutex<BTreeMap<String, Vec<f64>>>>,
    units: Arc<Mutex<BTreeMap<String, Option<Unit>>>>,
}

/// One metric with its labels.
struct Series(Recorded, String);

impl Series {
    fn push(&self, value: f64) {
        let mut values = self.0.values.lock().unwrap();
        values.entry(self.1.clone()).or_default().push(value);
    }
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        self.push(value as f64);
    }

    fn absolute(&self, _: u64) {
        panic!("nothing is set");
    }
}

impl GaugeFn for Series {
    fn increment(&self, value: f64) {
        self.push(value);
    }

    fn decrement(&self, value: f64) {
        self.push(-value);
    }

    fn set(&self, _: f64) {
        panic!("nothing is set");
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        // Timers go off up to a millisecond late.
        self.push((value * 100.0).round() / 100.0);
    }
}

impl Recorded {
    fn series(&self, key: &Key) -> Arc<Series> {
        let mut labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        labels.sort_unstable();
        let series = format!("{} {}", key.name(), labels.join(" "));
        Arc::new(Series(self.clone(), series))
    }

    fn unit(&self, name: KeyName, unit: Option<Unit>) {
        self.units
            .lock()
            .unwrap()
            .insert(name.as_str().to_owned(), unit);
    }

    /// What was measured, a line for each series, without the attributes that all have.
    fn lines(&self, common: &str) -> Vec<String> {
        let values = self.values.lock().unwrap();
        let lines = values.iter().map(|(series, values)| {
            for attribute in common.split(' ') {
                assert!(series.contains(attribute), "{series} lacks {attribute}");
            }
            let own = series
                .split(' ')
                .filter(|part| !common.split(' ').any(|all| all == *part));
            let own: Vec<_> = own.collect();
            format!("{}: {values:?}", own.join(" "))
        });
        lines.collect()
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.unit(name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.unit(name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.unit(name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.series(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.series(key))
    }
}

const MS: Duration = Duration::from_millis(1);

const COMMON: &str = "gen_ai.operation.name=chat gen_ai.provider.name=scripted \
    gen_ai.request.model=test-model server.address=scripted.test server.port=80";

#[actix_rt::test]
async fn the_units_are_those_of_the_conventions() {
    let recorded = Recorded::default();
    let _guard = set_default_local_recorder(&recorded);
    let _ = MetricsObserver::new();
    let units: Vec<_> = recorded.units.lock().unwrap().clone().into_iter().collect();
    let (seconds, count) = (Some(Unit::Seconds), Some(Unit::Count));
    let expected = [
        ("actix_responses.attempts", count),
        ("actix_responses.live_requests", count),
        ("actix_responses.retries", count),
        ("gen_ai.client.operation.duration", seconds),
        ("gen_ai.client.operation.time_per_output_chunk", seconds),
        ("gen_ai.client.operation.time_to_first_chunk", seconds),
        ("gen_ai.client.token.usage", count),
    ];
    assert_eq!(units, expected.map(|(name, unit)| (name.to_owned(), unit)));
    for (name, bounds) in MetricsObserver::BUCKETS {
        assert!(units.iter().any(|(known, _)| known == name), "{name}");
        assert!(bounds.is_sorted() && bounds.len() == 14, "{name}");
    }
}

/// A failure, a retry and then an answer of three reads.
#[actix_rt::test]
async fn a_success_after_a_retry_is_measured() {
    let recorded = Recorded::default();
    let _guard = set_default_local_recorder(&recorded);
    let answer = Exchange::stream(created())
        .wait(40 * MS)
        .chunk([item_added(), delta("a"), delta("b")].concat())
        .wait(50 * MS)
        .chunk(event(serde_json::json!({"type": "response.completed",
            "response": {"id": "resp_1", "status": "completed", "model": "m-2",
                "usage": {"input_tokens": 3, "output_tokens": 2}}})))
        .head_after(10 * MS);
    let exchanges = [Exchange::status(503).head_after(30 * MS), answer];
    let (runtime, _) = start_with(exchanges, |config| {
        config.retry = steady_retry(3);
        config.observer = Some(Arc::new(MetricsObserver::new()));
    });
    collect(&runtime).await;
    assert_eq!(
        recorded.lines(COMMON),
        [
            "actix_responses.attempts: [1.0, 1.0]",
            "actix_responses.live_requests: [1.0, -1.0]",
            "actix_responses.retries error.type=overloaded: [1.0]",
            "gen_ai.client.operation.duration gen_ai.response.model=m-2: [0.24]",
            "gen_ai.client.operation.time_per_output_chunk: [0.04, 0.0, 0.0, 0.05]",
            "gen_ai.client.operation.time_to_first_chunk: [0.01]",
            "gen_ai.client.token.usage gen_ai.response.model=m-2 gen_ai.token.type=input: [3.0]",
            "gen_ai.client.token.usage gen_ai.response.model=m-2 gen_ai.token.type=output: [2.0]",
        ]
    );
}

#[actix_rt::test]
async fn a_cancel_and_a_failure_have_their_types() {
    let recorded = Recorded::default();
    let _guard = set_default_local_recorder(&recorded);
    let exchanges = [Exchange::silence(), Exchange::status(400)];
    let (runtime, _) = start_with(exchanges, |config| {
        config.observer = Some(Arc::new(MetricsObserver::new()));
    });
    let stream = runtime.stream(prompt()).await.unwrap();
    tokio::time::sleep(500 * MS).await;
    runtime.cancel(stream.request()).await;
    runtime
        .stream(prompt())
        .await
        .unwrap()
        .collect::<Vec<_>>()
        .await;
    assert_eq!(
        recorded.lines(COMMON),
        [
            "actix_responses.attempts: [1.0, 1.0]",
            "actix_responses.live_requests: [1.0, -1.0, 1.0, -1.0]",
            "gen_ai.client.operation.duration error.type=cancelled: [0.5]",
            "gen_ai.client.operation.duration error.type=invalid_request: [0.0]",
        ]
    );
}

/// It is no stream, so it has no chunks. The provider has the name that the conventions give it.
#[actix_rt::test]
async fn a_compaction_is_measured() {
    let recorded = Recorded::default();
    let _guard = set_default_local_recorder(&recorded);
    let exchange = Exchange::status(200).head_after(100 * MS).chunk(
        r#"{"output":[{"type":"compaction","encrypted_content":"abc"}],
            "usage":{"input_tokens":5,"output_tokens":1}}"#,
    );
    let (runtime, _) = start_with([exchange], |config| {
        let provider = actix_responses::provider::Provider::new("xai", "https://api.test/v1");
        config.provider = Arc::new(provider.unwrap());
        config.observer = Some(Arc::new(MetricsObserver::new()));
    });
    let input = CompactionInput::new("grok", vec![ResponseItem::user_text("hi")]);
    runtime.compact(Compact::new(input)).await.unwrap();
    settle().await;
    let common = "gen_ai.operation.name=compact gen_ai.provider.name=x_ai \
        gen_ai.request.model=grok server.address=api.test server.port=443";
    assert_eq!(
        recorded.lines(common),
        [
            "actix_responses.attempts: [1.0]",
            "actix_responses.live_requests: [1.0, -1.0]",
            "gen_ai.client.operation.duration: [0.1]",
            "gen_ai.client.token.usage gen_ai.token.type=input: [5.0]",
            "gen_ai.client.token.usage gen_ai.token.type=output: [1.0]",
        ]
    );
}

/// The gauge goes with the request to whoever is asked, and what came of each attempt is counted there.
#[actix_rt::test]
async fn a_fallback_is_measured_where_it_is_asked() {
    let recorded = Recorded::default();
    let _guard = set_default_local_recorder(&recorded);
    let exchanges = [Exchange::status(503), Exchange::stream(answer())];
    let (runtime, _) = start_with(exchanges, |config| {
        config.retry = steady_retry(1);
        config.observer = Some(Arc::new(MetricsObserver::new()));
    });
    let other = Provider::new("other", "http://other.test/v1").expect("a URL");
    let request = SubmitRequest::new(prompt()).with_fallback(other);
    let stream = runtime.submit(request).await.expect("a request");
    stream.collect::<Vec<_>>().await;
    let lines = recorded.lines("gen_ai.operation.name=chat server.port=80");
    for (name, provider, values) in [
        ("attempts", "scripted", "[1.0]"),
        ("attempts", "other", "[1.0]"),
        ("live_requests", "scripted", "[1.0, -1.0]"),
        ("live_requests", "other", "[1.0, -1.0]"),
        ("retries", "scripted", "[1.0]"),
        ("token.usage", "other", "[3.0]"),
    ] {
        let provider = format!("gen_ai.provider.name={provider}");
        let mut same = lines.iter().filter(|line| line.contains(name));
        let is_measured = |line: &String| line.contains(&provider) && line.ends_with(values);
        assert!(same.any(is_measured), "{name} {provider}: {lines:?}");
    }
    let of_first = |line: &&String| line.contains("scripted");
    assert_eq!(lines.iter().filter(of_first).count(), 3, "{lines:?}");
}
