//! `/metrics`: what became of requests, in a recorder of the relay's own, so that no program has to give up its.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use metrics::{
    Unit, counter, describe_counter, describe_histogram, histogram, with_local_recorder,
};

use self::series::AllSeries;
use super::access::Client;
use crate::{
    actors::{ChunkTimer, MetricsObserver, Milestone, Observer, RequestInfo, RequestNotice},
    protocol::Id,
    wire::Wire,
};

mod series;

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

#[derive(Clone)]
pub(super) struct Metrics {
    recorder: Arc<AllSeries>,
    observer: Arc<MetricsObserver>,
    models: Arc<Names>,
    clients: Arc<Names>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let own = [(OVERHEAD, SHORT), (FIRST_EVENT, LONG)];
        let bounds = own.iter().chain(MetricsObserver::BUCKETS);
        let recorder = AllSeries::new(bounds.copied().collect());
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
        self.recorder.text()
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
    use super::*;

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
