//! `/metrics`: what became of requests, in a recorder of the relay's own, so that no program has to give up its.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    counter, describe_counter, describe_histogram, histogram, with_local_recorder,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use self::buckets::{Buckets, Histograms};
use super::access::Client;
use crate::{
    actors::{ChunkTimer, MetricsObserver, Milestone, Observer, RequestInfo, RequestNotice},
    protocol::Id,
    wire::Wire,
};

mod buckets;

const OVERHEAD: &str = "relay_request_overhead_seconds";
const FIRST_EVENT: &str = "relay_first_event_seconds";
const TOKENS: &str = "relay_client_tokens";
const REQUESTS: &str = "relay_requests";

/// From a tenth of a millisecond on, for what the relay itself takes.
const SHORT: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1, 1.0,
];
const LONG: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// How many models, and how many clients, have labels of their own, the first that come. Clients invent names, and each would be a dozen
/// more series for ever.
const MAX_NAMES: usize = 100;

/// The most bytes of such a name.
const MAX_NAME_BYTES: usize = 128;

/// What all others are called.
const OTHER: &str = "other";

/// The names that have labels of their own.
#[derive(Default)]
struct Names(Mutex<HashSet<String>>);

impl Names {
    /// Whether this is one of them, or has become one.
    fn has(&self, name: &str) -> bool {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = names.len() < MAX_NAMES && name.len() <= MAX_NAME_BYTES;
        names.contains(name) || (has_room && names.insert(name.to_owned()))
    }

    fn bound(&self, name: &mut Id) {
        if !self.has(name) {
            *name = OTHER.into();
        }
    }
}

/// A name that a client made up, as logs have it.
pub(super) fn shortened(name: &str) -> &str {
    let end = name.char_indices().nth(MAX_NAME_BYTES);
    end.map_or(name, |(end, _)| &name[..end])
}

/// A wire's name in labels and logs.
pub(super) fn name(wire: Wire) -> &'static str {
    match wire {
        Wire::Chat => "chat",
        _ => "responses",
    }
}

/// The exporter's recorder, but for histograms.
struct Own {
    exporter: PrometheusRecorder,
    histograms: Histograms,
}

impl Recorder for Own {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.exporter.describe_counter(name, unit, description);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.exporter.describe_gauge(name, unit, description);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        self.histograms.describe(name.as_str(), &description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.exporter.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.exporter.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let labels = key.labels().map(|label| (label.key(), label.value()));
        match self.histograms.get(key.name(), labels) {
            Some(buckets) => Histogram::from_arc(buckets),
            None => Histogram::noop(),
        }
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        self.add(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        self.add(value, count as u64);
    }
}

#[derive(Clone)]
pub(super) struct Metrics {
    recorder: Arc<Own>,
    handle: PrometheusHandle,
    observer: Arc<MetricsObserver>,
    models: Arc<Names>,
    clients: Arc<Names>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let own = [(OVERHEAD, SHORT), (FIRST_EVENT, LONG)];
        let bounds = own.iter().chain(MetricsObserver::BUCKETS);
        let recorder = Own {
            exporter: PrometheusBuilder::new().build_recorder(),
            histograms: Histograms::new(bounds.copied().collect()),
        };
        let handle = recorder.exporter.handle();
        let observer = with_local_recorder(&recorder, || {
            describe_histogram!(
                OVERHEAD,
                Unit::Seconds,
                "From a request to when its server is asked."
            );
            describe_histogram!(
                FIRST_EVENT,
                Unit::Seconds,
                "From a request to the first event for its client."
            );
            describe_counter!(TOKENS, Unit::Count, "Tokens by client.");
            describe_counter!(
                REQUESTS,
                Unit::Count,
                "Requests that were answered, by route and status."
            );
            MetricsObserver::new()
        });
        Self {
            recorder: Arc::new(recorder),
            handle,
            observer: Arc::new(observer),
            models: Arc::default(),
            clients: Arc::default(),
        }
    }

    pub(super) fn overhead(&self, wire: Wire, time: Duration) {
        with_local_recorder(&*self.recorder, || {
            histogram!(OVERHEAD, "wire" => name(wire)).record(time);
        });
    }

    pub(super) fn first_event(&self, wire: Wire, time: Duration) {
        with_local_recorder(&*self.recorder, || {
            histogram!(FIRST_EVENT, "wire" => name(wire)).record(time);
        });
    }

    pub(super) fn answered(&self, route: &str, status: u16) {
        let labels = [("route", route.to_owned()), ("status", status.to_string())];
        with_local_recorder(&*self.recorder, || counter!(REQUESTS, &labels).increment(1));
    }

    /// All of it, as Prometheus reads it.
    pub(super) fn text(&self) -> String {
        let mut text = self.handle.render();
        self.recorder.histograms.write(&mut text);
        text
    }

    /// Who tells what becomes of a request of this client.
    pub(super) fn observer(&self, client: &Client) -> ClientObserver {
        let label = client.label();
        let client = if self.clients.has(label) {
            label
        } else {
            OTHER
        };
        ClientObserver {
            metrics: self.clone(),
            client: client.to_owned(),
        }
    }

    /// The request with a model that has a label.
    fn bounded(&self, request: &RequestInfo) -> RequestInfo {
        let mut request = request.clone();
        self.models.bound(&mut request.model);
        request
    }
}

#[derive(Clone)]
pub(super) struct ClientObserver {
    metrics: Metrics,
    client: String,
}

impl Observer for ClientObserver {
    fn on_notice(&self, notice: &RequestNotice) {
        with_local_recorder(&*self.metrics.recorder, || {
            let mut bounded = notice.clone();
            bounded.request = Arc::new(self.metrics.bounded(&notice.request));
            if let Milestone::Answered { model, .. } | Milestone::Ended { model, .. } =
                &mut bounded.milestone
                && let Some(model) = model
            {
                self.metrics.models.bound(model);
            }
            self.metrics.observer.on_notice(&bounded);
            // What a cancelled answer cost is not known, and not guessed.
            if let Milestone::Ended {
                usage: Some(usage), ..
            } = &notice.milestone
            {
                let sides = [
                    ("input", usage.input_tokens),
                    ("output", usage.output_tokens),
                ];
                for (side, tokens) in sides {
                    let labels = [("client", self.client.clone()), ("type", side.to_owned())];
                    counter!(TOKENS, &labels).increment(tokens);
                }
            }
        });
    }

    fn chunk_timer(&self, request: &RequestInfo) -> Option<ChunkTimer> {
        with_local_recorder(&*self.metrics.recorder, || {
            let request = self.metrics.bounded(request);
            self.metrics.observer.chunk_timer(&request)
        })
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::Matcher;

    use super::*;

    #[test]
    fn histograms_read_as_those_of_the_exporter() {
        let metrics = Metrics::new();
        let exporter = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(OVERHEAD.to_owned()), SHORT)
            .unwrap()
            .build_recorder();
        let both: [&dyn Recorder; 2] = [&*metrics.recorder, &exporter];
        for recorder in both {
            with_local_recorder(recorder, || {
                let help = "From a request to when its server is asked.";
                describe_histogram!(OVERHEAD, Unit::Seconds, help);
                for value in [0.0, 0.0001, 0.000_11, 0.3, 1.0, 7.5] {
                    histogram!(OVERHEAD, "wire.name" => "a\"b").record(value);
                }
                histogram!(OVERHEAD, "wire.name" => "a\"b").record_many(0.0, 1_000);
                histogram!(OVERHEAD).record_many(0.25, 2);
            });
        }
        let lines = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.retain(|line| line.contains(OVERHEAD));
            lines.sort();
            lines
        };
        let theirs = lines(&exporter.handle().render());
        assert_eq!(lines(&metrics.text()), theirs);
        assert!(theirs.len() > 20);
    }

    #[test]
    fn the_first_names_have_labels_of_their_own_and_all_others_share_one() {
        let names = Names::default();
        let labels: Vec<_> = (0..2 * MAX_NAMES)
            .map(|number| {
                let mut label = Id::from(format!("name-{number}"));
                names.bound(&mut label);
                label
            })
            .collect();
        let (first, rest) = labels.split_at(MAX_NAMES);
        assert!(first.iter().all(|label| label.starts_with("name-")));
        assert!(rest.iter().all(|label| **label == *OTHER));
        // Those that are known stay so, and none is long.
        assert!(names.has("name-0"));
        assert!(!Names::default().has(&"n".repeat(MAX_NAME_BYTES + 1)));
        assert_eq!(shortened(&"ä".repeat(1000)).chars().count(), MAX_NAME_BYTES);
    }
}
