//! What those hear who watch requests, and what a list of them says.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use actix::{Actor, Context, Handler};
use actix_responses::{
    ErrorKind, Runtime,
    actors::{
        ChunkTimer, Compact, Cursor, DeliveryPolicy, ListModels, Milestone, Observer, RequestInfo,
        RequestNotice, RequestOutcome, RequestPhase, Submit, SubmitRequest, Workers,
    },
    protocol::{CompactionInput, Prompt, ResponseItem},
};
use futures_util::StreamExt;

use crate::support::{
    collect, events::*, names, prompt, settle, start, start_with, steady_retry, transport::Exchange,
};

/// Writes down what it is told, in words.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn closure(&self) -> impl Fn(&RequestNotice) + Send + Sync + 'static {
        let heard = self.clone();
        move |notice| heard.on_notice(notice)
    }
}

impl Observer for Heard {
    fn on_notice(&self, notice: &RequestNotice) {
        let label = notice.request.label.as_deref().unwrap_or("-");
        let what = match &notice.milestone {
            Milestone::Head {
                status,
                request_id,
                elapsed,
            } => format!("head {status} {request_id:?} {}ms", elapsed.as_millis()),
            Milestone::FirstEvent { elapsed } => format!("first {}ms", elapsed.as_millis()),
            Milestone::Answered { usage, model, .. } => {
                let tokens = usage.map(|usage| (usage.input_tokens, usage.output_tokens));
                format!("answered {tokens:?} {model:?}")
            }
            Milestone::Failed {
                error, retry_in, ..
            } => format!("failed {} {retry_in:?}", error.kind()),
            Milestone::Ended { outcome, .. } => match outcome {
                RequestOutcome::Failed(error) => format!("ended {}", error.kind()),
                other => format!("ended {other:?}"),
            },
            other => format!("{other:?}"),
        };
        let line = format!("{label} {}: {what}", notice.attempt);
        self.0.lock().unwrap().push(line);
    }
}

const MS: Duration = Duration::from_millis(1);

/// An answer whose head comes after 20 ms, its first event 30 ms later, and its end at once.
fn slow_answer() -> Exchange {
    Exchange::status(200)
        .with_header("x-request-id", "req_1")
        .with_header("content-type", "text/event-stream")
        .head_after(20 * MS)
        .wait(30 * MS)
        .chunk(created())
        .chunk(event(serde_json::json!({"type": "response.completed",
            "response": {"id": "resp_1", "status": "completed", "model": "m-2",
                "usage": {"input_tokens": 3, "output_tokens": 2}}})))
}

fn compaction(label: &str) -> Compact {
    let input = CompactionInput::new("test-model", vec![ResponseItem::user_text("hi")]);
    Compact::new(input).with_label(label)
}

fn compacted() -> Exchange {
    Exchange::status(200).chunk(
        r#"{"output":[{"type":"compaction","encrypted_content":"abc"}],"model":"m-3",
            "usage":{"input_tokens":5,"output_tokens":1}}"#,
    )
}

/// A closure of the request's own and the observer of the runtime hear the same.
#[actix_rt::test]
async fn each_step_of_a_request_is_told_in_order() {
    let (own, all) = (Heard::default(), Heard::default());
    let refused = Exchange::status(503)
        .with_header("x-request-id", "req_0")
        .head_after(20 * MS);
    let (runtime, _) = start_with([refused, slow_answer()], |config| {
        config.retry = steady_retry(3);
        config.observer = Some(Arc::new(all.clone()));
    });
    let request = SubmitRequest::new(prompt())
        .with_label("greeting")
        .with_observer(own.closure());
    let stream = runtime.submit(request).await.unwrap();
    assert_eq!(
        names(&stream.collect::<Vec<_>>().await),
        ["created", "completed"]
    );
    // Timers go off up to a millisecond late.
    let expected = [
        "greeting 0: Accepted",
        "greeting 1: Started",
        "greeting 1: head 503 Some(\"req_0\") 21ms",
        "greeting 1: failed overloaded Some(100ms)",
        "greeting 2: Started",
        "greeting 2: head 200 Some(\"req_1\") 21ms",
        "greeting 2: first 52ms",
        "greeting 2: answered Some((3, 2)) Some(\"m-2\")",
        "greeting 2: ended Completed",
    ];
    assert_eq!(own.lines(), expected);
    assert_eq!(all.lines(), expected);
}

#[actix_rt::test]
async fn each_way_to_end_is_told_once() {
    let heard = Heard::default();
    let exchanges = [
        Exchange::stream([created(), incomplete("max_output_tokens")].concat()),
        Exchange::status(400),
        Exchange::silence(),
        Exchange::silence(),
        Exchange::silence(),
        compacted(),
        Exchange::silence(),
        Exchange::status(400),
    ];
    let (runtime, _) = start_with(exchanges, |config| {
        config.observer = Some(Arc::new(heard.clone()));
    });
    let labelled = |label: &str| SubmitRequest::new(prompt()).with_label(label);
    for label in ["cut", "refused"] {
        let stream = runtime.submit(labelled(label)).await.unwrap();
        stream.collect::<Vec<_>>().await;
    }
    let cancelled = runtime.submit(labelled("cancelled")).await.unwrap();
    settle().await;
    assert!(runtime.cancel(cancelled.request()).await);
    drop(runtime.submit(labelled("left")).await.unwrap());
    settle().await;
    let last = runtime.submit(labelled("last")).await.unwrap();
    runtime.compact(compaction("compacted")).await.unwrap();
    let supervisor = runtime.supervisor();
    let asked = supervisor.send(Submit(compaction("given up"))).await;
    let asked = asked.unwrap().unwrap();
    settle().await;
    assert!(runtime.cancel(asked.request()).await);
    let list = ListModels::new().with_label("no list");
    runtime.list_models(list).await.unwrap_err();
    runtime.shutdown(Duration::ZERO).await;
    drop(last);
    let ends: Vec<_> = heard.lines();
    let ends: Vec<_> = ends.iter().filter(|line| line.contains("ended")).collect();
    assert_eq!(
        ends,
        [
            "cut 1: ended Incomplete",
            "refused 1: ended invalid_request",
            "cancelled 1: ended Cancelled",
            "left 1: ended Cancelled",
            "compacted 1: ended Completed",
            "given up 1: ended Cancelled",
            "no list 1: ended invalid_request",
            "last 1: ended shut_down",
        ]
    );
    let answered: Vec<_> = heard.lines();
    let answered = answered
        .iter()
        .find(|line| line.starts_with("compacted 1: answered"));
    assert_eq!(
        answered.unwrap(),
        "compacted 1: answered Some((5, 1)) Some(\"m-3\")"
    );
}

/// Neither an attempt nor the supervisor is left to tell it.
#[test]
fn an_end_is_told_where_the_system_is_dropped() {
    let heard = Heard::default();
    let system = actix_rt::System::new();
    let left = system.block_on(async {
        let (runtime, _) = start_with([Exchange::silence(), Exchange::silence()], |config| {
            config.observer = Some(Arc::new(heard.clone()));
        });
        let stream = runtime.stream(prompt()).await.unwrap();
        let asked = runtime.supervisor().send(Submit(compaction("asked"))).await;
        settle().await;
        (runtime, stream, asked)
    });
    drop(system);
    drop(left);
    let mut lines = heard.lines();
    lines.sort_unstable();
    let expected = [
        "- 0: Accepted",
        "- 1: Started",
        "- 1: ended shut_down",
        "asked 0: Accepted",
        "asked 1: Started",
        "asked 1: ended shut_down",
    ];
    assert_eq!(lines, expected);
}

/// Panics whenever it is called.
struct Panicking;

impl Observer for Panicking {
    fn on_notice(&self, _: &RequestNotice) {
        panic!("a scripted panic of an observer");
    }

    fn chunk_timer(&self, _: &RequestInfo) -> Option<ChunkTimer> {
        Some(Box::new(|_, _| panic!("a scripted panic of a timer")))
    }
}

#[actix_rt::test]
async fn an_observer_that_panics_is_nothing_to_the_requests_and_the_other_observer() {
    let heard = Heard::default();
    let exchanges = [Exchange::stream(answer()), compacted()];
    let (runtime, _) = start_with(exchanges, |config| {
        config.observer = Some(Arc::new(Panicking));
    });
    let request = SubmitRequest::new(prompt()).with_observer(heard.clone());
    let stream = runtime.submit(request).await.unwrap();
    assert_eq!(names(&stream.collect::<Vec<_>>().await), ANSWER);
    let compact = compaction("two").with_observer(Panicking);
    runtime.compact(compact).await.unwrap();
    assert_eq!(heard.lines().last().unwrap(), "- 1: ended Completed");
}

/// An actor that takes nothing until it is let.
struct Sleepy(Heard, Option<tokio::sync::oneshot::Receiver<()>>);

impl Actor for Sleepy {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        use actix::{AsyncContext, WrapFuture};
        ctx.set_mailbox_capacity(2);
        let sleep = self.1.take().unwrap();
        ctx.wait(async { sleep.await.unwrap_or_default() }.into_actor(self));
    }
}

impl Handler<RequestNotice> for Sleepy {
    type Result = ();

    fn handle(&mut self, notice: RequestNotice, _: &mut Self::Context) {
        self.0.on_notice(&notice);
    }
}

#[actix_rt::test]
async fn a_full_mailbox_loses_notices_but_never_the_end() {
    let (runtime, _) = start([Exchange::stream(answer())]);
    let heard = Heard::default();
    let (wake, sleep) = tokio::sync::oneshot::channel();
    let sleepy = Sleepy(heard.clone(), Some(sleep)).start();
    settle().await;
    let request = SubmitRequest::new(prompt()).with_observer(sleepy.recipient());
    let stream = runtime.submit(request).await.unwrap();
    stream.collect::<Vec<_>>().await;
    wake.send(()).unwrap();
    settle().await;
    let lines = heard.lines();
    assert!(lines.len() < 7, "nothing was lost: {lines:?}");
    assert_eq!(lines[0], "- 0: Accepted");
    assert_eq!(lines.last().unwrap(), "- 1: ended Completed");
}

/// Keeps what its timers hear, in milliseconds.
#[derive(Clone, Default)]
struct Timing(Arc<Mutex<Vec<(u128, u64)>>>);

impl Observer for Timing {
    fn on_notice(&self, _: &RequestNotice) {}

    fn chunk_timer(&self, request: &RequestInfo) -> Option<ChunkTimer> {
        assert_eq!(request.operation, "chat");
        let times = self.0.clone();
        Some(Box::new(move |elapsed, count| {
            times.lock().unwrap().push((elapsed.as_millis(), count));
        }))
    }
}

#[actix_rt::test]
async fn the_events_of_a_stream_are_timed_for_those_who_want_that() {
    let timing = Timing::default();
    let exchange = Exchange::stream(created())
        .wait(10 * MS)
        .chunk([item_added(), delta("a"), delta("b")].concat())
        .wait(20 * MS)
        .chunk(": keepalive\n\n")
        .wait(20 * MS)
        .chunk(completed());
    let (runtime, _) = start_with([exchange], |config| {
        config.observer = Some(Arc::new(timing.clone()));
    });
    collect(&runtime).await;
    assert_eq!(*timing.0.lock().unwrap(), [(11, 3), (42, 1)]);
}

#[actix_rt::test]
async fn a_status_tells_all_that_is_known() {
    let exchanges = [
        Exchange::status(503),
        Exchange::stream([created(), item_added()].concat())
            .wait(Duration::from_secs(9))
            .chunk([delta("Hello"), item_done("Hello"), completed()].concat()),
    ];
    let (runtime, _) = start_with(exchanges, |c| c.retry = steady_retry(4));
    let request = SubmitRequest::new(prompt()).with_label("greeting");
    let stream = runtime.submit(request).await.unwrap();
    let id = stream.request();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let status = runtime.status(id).await.unwrap();
    assert_eq!(runtime.requests().await.len(), 1);
    let about = &*status.request;
    assert_eq!((about.id, about.label.as_deref()), (id, Some("greeting")));
    assert_eq!(
        (&*about.provider, &*about.model),
        ("scripted", "test-model")
    );
    assert_eq!((about.operation, about.max_attempts), ("chat", 4));
    assert_eq!(
        (&*about.server_address, about.server_port),
        ("scripted.test", 80)
    );
    assert_eq!((status.phase, status.attempt), (RequestPhase::Running, 2));
    assert_eq!(status.age.as_secs(), 5);
    let first = status.first_event.unwrap();
    assert!(first >= 100 * MS && first < 110 * MS, "{first:?}");
    assert_eq!(status.bytes, (created() + &item_added()).len() as u64);
    assert_eq!((status.events, status.subscribers, status.lag), (3, 1, 0));
    assert_eq!(status.usage, None);
    let lists = runtime.requests().await;
    let mut listed = lists[0].clone();
    listed.age = status.age;
    assert_eq!(listed, status);
    stream.collect::<Vec<_>>().await;
    let status = runtime.status(id).await.unwrap();
    assert_eq!((status.phase, status.subscribers), (RequestPhase::Ended, 0));
    assert_eq!(status.usage.unwrap().total_tokens, 5);
    assert_eq!(status.first_event, Some(first));
    let all = [
        created(),
        item_added(),
        delta("Hello"),
        item_done("Hello"),
        completed(),
    ];
    assert_eq!(status.bytes, all.concat().len() as u64);
}

#[actix_rt::test]
async fn a_question_has_a_status_while_it_lives() {
    let half = Exchange::status(200).chunk("{\"output\":").held_open();
    let (runtime, _) = start([half]);
    let submitted = runtime.supervisor().send(Submit(compaction("long"))).await;
    let asked = submitted.unwrap().unwrap();
    settle().await;
    let status = runtime.status(asked.request()).await.unwrap();
    assert_eq!((status.request.operation, status.bytes), ("compact", 10));
    assert_eq!((status.phase, status.attempt), (RequestPhase::Running, 1));
    assert_eq!((status.events, status.first_event), (0, None));
    assert_eq!(runtime.requests().await.len(), 1);
    runtime.cancel(asked.request()).await;
    assert_eq!(runtime.status(asked.request()).await, None);
}

/// Deltas that come each for itself, more than a stream holds.
fn one_by_one(exchange: Exchange, deltas: usize) -> Exchange {
    (0..deltas).fold(exchange, |exchange, _| exchange.wait(MS).chunk(delta("x")))
}

#[actix_rt::test]
async fn a_lag_is_seen_in_the_list() {
    let exchange = one_by_one(Exchange::stream(created()), 40).held_open();
    let (runtime, _) = start([exchange]);
    let stream = runtime.stream(prompt()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = &runtime.requests().await[0];
    assert_eq!((status.events, status.subscribers), (42, 1));
    assert!(status.lag > 10, "{status:?}");
    drop(stream);
}

/// More than a page, from the oldest on.
#[actix_rt::test]
async fn a_list_of_many_requests_is_whole_and_comes_in_pages() {
    let (runtime, _) = start((0..2_500).map(|_| Exchange::silence()));
    let mut streams = Vec::new();
    for _ in 0..2_500 {
        streams.push(runtime.stream(prompt()).await.unwrap());
    }
    let page = actix_responses::actors::ListRequests::new();
    let page = runtime.supervisor().send(page).await.unwrap();
    assert_eq!(page.len(), 1_000);
    let listed: Vec<_> = runtime.requests().await;
    let listed: Vec<_> = listed.iter().map(|status| status.request.id).collect();
    let expected: Vec<_> = streams.iter().map(|stream| stream.request()).collect();
    assert_eq!(listed, expected);
    runtime.shutdown(Duration::ZERO).await;
    assert!(runtime.requests().await.is_empty());
}

/// A list is wanted most when a thread stands still.
#[actix_rt::test]
async fn a_thread_that_hangs_does_not_hold_up_the_list() {
    let (reached, reaches) = tokio::sync::oneshot::channel();
    let (release, held) = mpsc::channel::<()>();
    let (reached, held) = (Mutex::new(Some(reached)), Mutex::new(held));
    let exchange = Exchange::stream(created())
        .then(move || {
            let reached = reached.lock().unwrap().take();
            reached.unwrap().send(()).unwrap();
            // Until the list is there, or the test has failed.
            let _ = held.lock().unwrap().recv();
        })
        .chunk(completed());
    let provider = actix_responses::provider::Provider::new("scripted", "http://scripted.test/v1");
    let mut config = actix_responses::actors::SupervisorConfig::new(provider.unwrap());
    config.workers = Workers::Threads(1);
    let transport = crate::support::transport::ScriptedTransport::new([exchange]);
    let runtime = Runtime::with_transport(config, transport).unwrap();
    let stream = runtime.stream(prompt()).await.unwrap();
    reaches.await.unwrap();
    let listed = runtime.requests().await;
    assert_eq!(listed[0].phase, RequestPhase::Running);
    assert_eq!(listed[0].subscribers, 1);
    release.send(()).unwrap();
    assert_eq!(stream.collect::<Vec<_>>().await.len(), 3);
}

#[actix_rt::test]
async fn a_long_label_is_cut() {
    let (runtime, _) = start([Exchange::silence()]);
    let label = "ä".repeat(1_000);
    let request = SubmitRequest::new(prompt()).with_label(&*label);
    let stream = runtime.submit(request).await.unwrap();
    let status = runtime.status(stream.request()).await.unwrap();
    assert_eq!(status.request.label.as_deref(), Some(&*"ä".repeat(128)));
}

#[actix_rt::test]
async fn a_transport_is_told_the_request_and_the_attempt() {
    let exchanges = [Exchange::status(503), Exchange::stream(answer())];
    let (runtime, transport) = start_with(exchanges, |c| c.retry = steady_retry(2));
    let stream = runtime.stream(prompt()).await.unwrap();
    let id = stream.request().to_string();
    stream.collect::<Vec<_>>().await;
    let requests = transport.requests().into_iter();
    let seen = requests.map(|sent| (sent.request.clone(), sent.attempt));
    assert_eq!(seen.collect::<Vec<_>>(), [(id.clone(), 1), (id, 2)]);
}

#[actix_rt::test]
async fn who_joins_may_have_a_policy_of_its_own() {
    let exchange = Exchange::stream(created()).wait(Duration::from_secs(1));
    let exchange = one_by_one(exchange, 40).chunk(completed());
    let (runtime, _) = start([exchange]);
    let stream = runtime
        .stream(Prompt::user("hello").with_model("m"))
        .await
        .unwrap();
    let id = stream.request();
    let policy = DeliveryPolicy::Disconnect;
    let joined = runtime
        .subscribe_with_policy(id, Cursor::Start, policy)
        .await;
    let joined = joined.unwrap();
    stream.collect::<Vec<_>>().await;
    let seen: Vec<_> = joined.collect().await;
    let error = seen.last().unwrap().as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lagged);
}
