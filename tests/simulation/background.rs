//! Background responses over a server that keeps them: their streams break anywhere, and are gone on with. What must hold of each is
//! checked, and each check is seen to fail.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_responses::{
    Runtime,
    actors::{SupervisorConfig, Workers},
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
    retry::{RetryAfterOutput, RetryPolicy},
    transport::{
        Transport, TransportError, TransportErrorKind, TransportFactory, TransportRequest,
        TransportResponse,
    },
};
use actix_rt::System;
use bytes::Bytes;
use futures_core::future::LocalBoxFuture;
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    hide_scripted_panics,
    plan::{BACKOFF, IDLE_TIMEOUT},
    rng::Rng,
    transport::SCRIPTED_PANIC,
};

/// How many seeds are played: some milliseconds each.
const SEEDS: u64 = 300;

/// How an exchange goes wrong. Those behind `Panic` are of a `GET` alone; a `POST` is cut in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    End,
    Reset,
    Stall,
    Refused,
    Busy,
    /// The server says in the stream that the response failed.
    Failed,
    Panic,
    /// It does not know the response any more.
    Gone,
    /// It leaves an event out.
    Skips,
    /// It answers with the object as it stands, or as it is when it is over.
    State,
    Object,
}

#[derive(Clone, Debug)]
struct Exchange {
    fault: Fault,
    /// How many events come before it.
    events: u64,
    /// How many of those come again that were read.
    repeats: u64,
}

#[derive(Clone, Debug)]
struct Plan {
    deltas: u64,
    exchanges: Vec<Exchange>,
    restarts: bool,
    window: Option<Duration>,
    cancelled_after: Option<Duration>,
}

impl Plan {
    fn new(seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let deltas = rng.between(0, 12);
        let count = rng.between(1, 6);
        let exchange = |rng: &mut Rng| Exchange {
            fault: rng.weighted(&[
                (4, Fault::None),
                (6, Fault::End),
                (6, Fault::Reset),
                (3, Fault::Stall),
                (2, Fault::Refused),
                (2, Fault::Busy),
                (1, Fault::Failed),
                (1, Fault::Panic),
                (2, Fault::Gone),
                (2, Fault::Skips),
                (1, Fault::State),
                (1, Fault::Object),
            ]),
            events: rng.below(deltas + 4),
            repeats: rng.weighted(&[(3, 0), (1, 2), (1, 99)]),
        };
        Self {
            deltas,
            exchanges: (0..count).map(|_| exchange(rng)).collect(),
            restarts: rng.chance(50),
            window: rng.chance(20).then_some(Duration::ZERO),
            cancelled_after: rng
                .chance(15)
                .then(|| Duration::from_millis(rng.below(3_000))),
        }
    }

    /// The pieces of a generation's text; each occurs once.
    fn pieces(&self, generation: usize) -> Vec<String> {
        let pieces = (0..self.deltas).map(|piece| format!("<{generation}.{piece}>"));
        pieces.collect()
    }

    fn object(&self, generation: usize, status: &str) -> Value {
        let text = self.pieces(generation).concat();
        let output = match status {
            "completed" => json!([message(&text)]),
            _ => json!([]),
        };
        json!({"id": format!("resp_{generation}"), "object": "response", "status": status, "output": output})
    }

    fn events(&self, generation: usize) -> Vec<Value> {
        let mut events = vec![
            json!({"type": "response.created", "response": self.object(generation, "queued")}),
            json!({"type": "response.output_item.added", "output_index": 0,
                "item": {"id": "m", "type": "message", "role": "assistant", "content": []}}),
        ];
        let pieces = self.pieces(generation);
        events.extend(pieces.iter().map(|piece| {
            json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": piece})
        }));
        events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": message(&pieces.concat())}));
        events.push(
            json!({"type": "response.completed", "response": self.object(generation, "completed")}),
        );
        for (number, event) in events.iter_mut().enumerate() {
            event["sequence_number"] = number.into();
        }
        events
    }
}

fn message(text: &str) -> Value {
    json!({"id": "m", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

#[derive(Clone, Debug, PartialEq)]
enum Asked {
    /// For another generation, that of this number.
    Post(usize),
    Get {
        generation: usize,
        after: u64,
        /// The last event of it that was handed over whole by then.
        handed: Option<u64>,
    },
}

#[derive(Clone, Debug, Default)]
struct Record {
    /// What was asked, and what went wrong with that.
    asked: Vec<(Asked, Fault)>,
    /// The last event that was handed over of each generation.
    handed: BTreeMap<usize, u64>,
    seen: Vec<ResponseEvent>,
}

struct Server {
    plan: Arc<Plan>,
    record: Arc<Mutex<Record>>,
}

impl TransportFactory for Server {
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
        Ok(Rc::new(Self {
            plan: self.plan.clone(),
            record: self.record.clone(),
        }))
    }
}

enum Step {
    /// Bytes, and the event that they complete.
    Bytes(String, Option<u64>),
    Reset,
    Stall,
    Panic,
}

impl Transport for Server {
    fn send(
        &self,
        request: TransportRequest,
    ) -> LocalBoxFuture<'static, Result<TransportResponse, TransportError>> {
        let plan = self.plan.clone();
        let (asked, exchange) = {
            let mut record = self.record.lock().unwrap();
            let asked = asked(&request, &record);
            let exchange = plan.exchanges.get(record.asked.len()).cloned();
            let mut exchange = exchange.expect("no attempt beyond the budget");
            let is_post = matches!(asked, Asked::Post(_));
            if let (true, Fault::Gone | Fault::Skips | Fault::State | Fault::Object) =
                (is_post, exchange.fault)
            {
                exchange.fault = Fault::End;
            }
            record.asked.push((asked.clone(), exchange.fault));
            (asked, exchange)
        };
        let record = self.record.clone();
        Box::pin(async move {
            let status = match exchange.fault {
                Fault::Refused => {
                    return Err(TransportError::new(TransportErrorKind::Connect, "refused"));
                }
                Fault::Busy => StatusCode::SERVICE_UNAVAILABLE,
                Fault::Gone => StatusCode::NOT_FOUND,
                _ => StatusCode::OK,
            };
            let (generation, steps) = match status.is_success() {
                true => steps(&plan, &asked, &exchange),
                false => (0, Vec::new()),
            };
            let next = move |(mut steps, record): (
                std::vec::IntoIter<Step>,
                Arc<Mutex<Record>>,
            )| async move {
                let item = match steps.next()? {
                    Step::Bytes(bytes, event) => {
                        if let Some(event) = event {
                            let mut record = record.lock().unwrap();
                            let last = record.handed.entry(generation).or_insert(event);
                            *last = event.max(*last);
                        }
                        Ok(Bytes::from(bytes))
                    }
                    Step::Reset => Err(TransportError::new(
                        TransportErrorKind::Body,
                        "a scripted reset",
                    )),
                    Step::Stall => std::future::pending().await,
                    Step::Panic => panic!("{SCRIPTED_PANIC}"),
                };
                Some((item, (steps, record)))
            };
            Ok(TransportResponse {
                status,
                headers: HeaderMap::new(),
                body: Box::pin(futures_util::stream::unfold(
                    (steps.into_iter(), record),
                    next,
                )),
            })
        })
    }
}

fn asked(request: &TransportRequest, record: &Record) -> Asked {
    if request.method == Method::POST {
        let posts = record.asked.iter();
        let posts = posts.filter(|(asked, _)| matches!(asked, Asked::Post(_)));
        return Asked::Post(posts.count());
    }
    let generation = request.url.path().rsplit_once("resp_");
    let generation = generation.expect("the path of a response").1;
    let generation = generation.parse().expect("a generation");
    let query: BTreeMap<_, _> = request.url.query_pairs().into_owned().collect();
    assert_eq!(query["stream"], "true");
    Asked::Get {
        generation,
        after: query["starting_after"].parse().expect("a number"),
        handed: record.handed.get(&generation).copied(),
    }
}

fn steps(plan: &Plan, asked: &Asked, exchange: &Exchange) -> (usize, Vec<Step>) {
    let (generation, after) = match asked {
        Asked::Post(generation) => (*generation, None),
        Asked::Get {
            generation, after, ..
        } => (*generation, Some(*after)),
    };
    let status = match exchange.fault {
        Fault::State => Some("in_progress"),
        Fault::Object => Some("completed"),
        _ => None,
    };
    if let Some(status) = status {
        let object = plan.object(generation, status).to_string();
        return (generation, vec![Step::Bytes(object, None)]);
    }
    let events = plan.events(generation);
    let next = after.map_or(0, |after| after + 1);
    let first = match exchange.fault {
        Fault::Skips => next + 1,
        _ => next.saturating_sub(exchange.repeats),
    };
    let end = match exchange.fault {
        Fault::None | Fault::Skips => u64::MAX,
        _ => next + exchange.events,
    };
    let block = |event: &Value| format!("data: {event}\n\n");
    let numbered = (0..).zip(&events);
    let mut steps: Vec<_> = numbered
        .clone()
        .filter(|(number, _)| (first..end).contains(number))
        .map(|(number, event)| Step::Bytes(block(event), Some(number)))
        .collect();
    let half = numbered.clone().find(|(number, _)| *number == end);
    if let Some((_, event)) = half.filter(|_| exchange.fault != Fault::Failed) {
        let block = block(event);
        steps.push(Step::Bytes(block[..block.len() / 2].to_owned(), None));
    }
    match exchange.fault {
        Fault::Reset => steps.push(Step::Reset),
        Fault::Stall => steps.push(Step::Stall),
        Fault::Panic => steps.push(Step::Panic),
        Fault::Failed => {
            let error = json!({"code": "server_error", "message": "a scripted failure"});
            let failed = json!({"type": "response.failed", "response": {"id": format!("resp_{generation}"), "error": error}});
            steps.push(Step::Bytes(block(&failed), None));
        }
        _ => {}
    }
    (generation, steps)
}

fn run(plan: &Plan) -> Record {
    let plan = Arc::new(plan.clone());
    let record = Arc::new(Mutex::new(Record::default()));
    let server = Server {
        plan: plan.clone(),
        record: record.clone(),
    };
    let seen = System::new().block_on(async move {
        tokio::time::pause();
        let mut provider = Provider::new("simulated", "http://simulated.test/v1").expect("a URL");
        provider.timeouts.idle = IDLE_TIMEOUT;
        let mut config = SupervisorConfig::new(provider);
        config.workers = Workers::Current;
        let mut retry = RetryPolicy::default();
        retry.max_attempts = plan.exchanges.len() as u32;
        retry.backoff.base = BACKOFF;
        retry.backoff.jitter = 0.0;
        retry.resume_window = plan.window;
        retry.after_output = match plan.restarts {
            true => RetryAfterOutput::Restart,
            false => RetryAfterOutput::Fail,
        };
        config.retry = retry;
        let runtime = Runtime::with_transport(config, server).expect("a valid configuration");
        let prompt = Prompt::user("hello").with_model("m").with_background(true);
        let stream = runtime.stream(prompt).await.expect("an accepted request");
        if let Some(after) = plan.cancelled_after {
            let (runtime, request) = (runtime.clone(), stream.request());
            actix_rt::spawn(async move {
                tokio::time::sleep(after).await;
                runtime.cancel(request).await
            });
        }
        let events: Vec<_> = stream.collect().await;
        let event = |event: Result<_, _>| {
            event.unwrap_or_else(|error| ResponseEvent::Failed(Arc::new(error)))
        };
        events.into_iter().map(event).collect()
    });
    let mut record = record.lock().unwrap().clone();
    record.seen = seen;
    record
}

/// What is broken.
fn check(plan: &Plan, record: &Record) -> Vec<&'static str> {
    let mut broken = Vec::new();
    let mut hold = |name, holds: bool| {
        if !holds {
            broken.push(name);
        }
    };
    let ends = record.seen.iter().filter(|event| event.is_final());
    let is_last = record.seen.last().is_some_and(ResponseEvent::is_final);
    hold("one_end", ends.count() == 1 && is_last);
    hold(
        "attempts_are_within_the_budget",
        record.asked.len() <= plan.exchanges.len(),
    );
    let (mut generation, mut text) = (0, String::new());
    for event in &record.seen {
        match event {
            ResponseEvent::Created(created) => {
                let id = created.response_id.as_deref().unwrap_or_default();
                let named = id.trim_start_matches("resp_").parse().ok();
                generation = named.unwrap_or(usize::MAX);
            }
            ResponseEvent::Restarted(_) => text.clear(),
            ResponseEvent::OutputTextDelta(delta) => {
                text.push_str(&delta.delta);
                let whole = plan.pieces(generation).concat();
                hold("no_output_twice_and_no_gap", whole.starts_with(&text));
            }
            ResponseEvent::Completed(_) => {
                let whole = plan.pieces(generation).concat();
                hold("a_whole_answer_says_all", whole == text);
            }
            _ => {}
        }
    }
    for (index, (asked, _)) in record.asked.iter().enumerate() {
        match asked {
            Asked::Post(number) => {
                let before = index.checked_sub(1).map(|before| &record.asked[before]);
                let holds = before.is_none_or(|before| {
                    let is_accepted = number
                        .checked_sub(1)
                        .is_some_and(|number| record.handed.contains_key(&number));
                    !is_accepted || (plan.restarts && ends_resumption(plan, before))
                });
                hold("one_generation_where_it_can_be_gone_on_with", holds);
            }
            Asked::Get { after, handed, .. } => {
                hold(
                    "it_goes_on_behind_the_last_event",
                    *handed == Some(*after) && plan.window.is_none(),
                );
            }
        }
    }
    broken
}

/// Whether nothing can be gone on with after an exchange.
fn ends_resumption(plan: &Plan, (_, fault): &(Asked, Fault)) -> bool {
    let is_over = matches!(
        fault,
        Fault::Failed | Fault::Panic | Fault::Gone | Fault::Skips
    );
    is_over || plan.window.is_some()
}

#[test]
fn a_background_response_keeps_its_promises() {
    hide_scripted_panics();
    let (mut resumed, mut completed) = (0, 0);
    for seed in 0..SEEDS {
        let plan = Plan::new(seed);
        let record = run(&plan);
        let broken = check(&plan, &record);
        assert!(
            broken.is_empty(),
            "seed {seed} breaks {broken:?}:\n{plan:#?}\n{record:#?}"
        );
        let gets = record.asked.iter();
        let is_get = |asked: &Asked| matches!(asked, Asked::Get { .. });
        let is_resumed = gets.filter(|(asked, _)| is_get(asked)).count() > 0;
        resumed += u64::from(is_resumed);
        let end = record.seen.last();
        let is_completed = matches!(end, Some(ResponseEvent::Completed(_)));
        completed += u64::from(is_resumed && is_completed);
    }
    assert!(resumed > SEEDS / 5, "{resumed} of {SEEDS} are gone on with");
    assert!(completed > SEEDS / 20, "{completed} of them to the end");
}

type Spoil = fn(&mut Record) -> bool;

fn delta_at(record: &Record) -> Option<usize> {
    let is_delta = |event: &ResponseEvent| matches!(event, ResponseEvent::OutputTextDelta(_));
    let deltas = record.seen.iter().filter(|event| is_delta(event)).count();
    let is_restarted = record.seen.iter().any(|event| event.name() == "restarted");
    let first = record.seen.iter().position(is_delta);
    first.filter(|_| deltas > 1 && !is_restarted)
}

/// What is done to a record, and which check must see it.
const SPOILS: [(&str, Spoil, &str); 7] = [
    (
        "the end is lost",
        |record| record.seen.pop().is_some(),
        "one_end",
    ),
    (
        "the end comes twice",
        |record| {
            record.seen.extend(record.seen.last().cloned());
            true
        },
        "one_end",
    ),
    (
        "a piece is lost where it is gone on with",
        |record| delta_at(record).map(|at| record.seen.remove(at)).is_some(),
        "no_output_twice_and_no_gap",
    ),
    (
        "a piece comes again where it is gone on with",
        |record| {
            let at = delta_at(record);
            at.map(|at| record.seen.insert(at, record.seen[at].clone()))
                .is_some()
        },
        "no_output_twice_and_no_gap",
    ),
    (
        "the last piece is lost",
        |record| {
            let is_whole = matches!(record.seen.last(), Some(ResponseEvent::Completed(_)));
            let is_delta = |event: &ResponseEvent| event.name() == "output_text_delta";
            let last = record.seen.iter().rposition(is_delta);
            let last = last.filter(|_| is_whole);
            last.map(|last| record.seen.remove(last)).is_some()
        },
        "a_whole_answer_says_all",
    ),
    (
        "another generation is paid for",
        |record| {
            let is_get = |(asked, _): &(Asked, Fault)| matches!(asked, Asked::Get { .. });
            let get = record.asked.iter().position(is_get);
            let get = get.filter(|get| {
                let before = record.asked[*get - 1].1;
                matches!(before, Fault::End | Fault::Reset | Fault::Stall)
            });
            let Some((Asked::Get { generation, .. }, _)) = get.map(|get| &record.asked[get]) else {
                return false;
            };
            let next = Asked::Post(generation + 1);
            get.map(|get| record.asked[get].0 = next).is_some()
        },
        "one_generation_where_it_can_be_gone_on_with",
    ),
    (
        "it is gone on with one event too late",
        |record| {
            let after = record.asked.iter_mut().find_map(|(asked, _)| match asked {
                Asked::Get { after, .. } => Some(after),
                Asked::Post(_) => None,
            });
            after.map(|after| *after += 1).is_some()
        },
        "it_goes_on_behind_the_last_event",
    ),
];

#[test]
fn each_check_of_a_background_response_is_seen_to_fail() {
    hide_scripted_panics();
    let mut open: Vec<_> = SPOILS.iter().collect();
    for seed in 0..SEEDS {
        let plan = Plan::new(seed);
        let record = run(&plan);
        open.retain(|(name, spoil, check_name)| {
            let mut spoilt = record.clone();
            if !spoil(&mut spoilt) {
                return true;
            }
            let broken = check(&plan, &spoilt);
            assert!(
                broken.contains(check_name),
                "{name}: seed {seed}, {broken:?}"
            );
            false
        });
        if open.is_empty() {
            // And one attempt too many.
            let mut spoilt = record;
            let more = (Asked::Post(9), Fault::None);
            spoilt.asked.resize(plan.exchanges.len() + 1, more);
            let broken = check(&plan, &spoilt);
            assert!(broken.contains(&"attempts_are_within_the_budget"));
            return;
        }
    }
    let left: Vec<_> = open.iter().map(|(name, ..)| name).collect();
    panic!("nothing to spoil for {left:?}");
}
