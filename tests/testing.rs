//! What programs test themselves with. Most of it is in use in `behaviour` and `traps`.

use std::time::Duration;

use actix_responses::{
    ErrorKind, Runtime,
    actors::{DeliveryPolicy, SubmitRequest},
    protocol::{Prompt, ResponseEvent},
    provider::{BearerAuth, Provider},
    secret::Secret,
    testing::{self, Exchange, Recorder, ScriptedTransport, events_from_json},
    transport::TransportErrorKind,
};
use serde_json::json;
use tokio::time::Instant;

fn prompt() -> Prompt {
    Prompt::user("hello").with_model("m")
}

fn started(exchanges: impl IntoIterator<Item = Exchange>) -> (Runtime, ScriptedTransport) {
    tokio::time::pause();
    let transport = ScriptedTransport::new(exchanges);
    let runtime = Runtime::with_transport(testing::config(), transport.clone());
    (runtime.expect("a runtime"), transport)
}

#[actix_rt::test]
async fn an_answer_is_whole_and_the_request_that_asked_for_it_is_kept() {
    let (runtime, transport) = started([Exchange::answer("Hello")]);
    let response = runtime
        .respond(prompt())
        .await
        .unwrap()
        .completed()
        .unwrap();
    assert_eq!(response.text(), "Hello");
    assert_eq!(response.items().len(), 1);
    assert_eq!(response.token_usage().unwrap().total_tokens, 5);
    let requests = transport.requests();
    assert_eq!(requests[0].url.path(), "/v1/responses");
    let body: serde_json::Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(body["model"], "m");
    assert_eq!(transport.open_requests(), 0);
}

#[actix_rt::test]
async fn a_request_beyond_the_script_fails_at_once_and_says_so() {
    let (runtime, transport) = started([]);
    let error = runtime.respond(prompt()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(error.to_string().contains("no exchange left"), "{error}");
    assert_eq!(transport.requests().len(), 1);
}

#[actix_rt::test]
async fn time_that_is_paused_passes_for_all_actors_and_the_same_in_each_run() {
    let (runtime, _) = started([
        Exchange::error(TransportErrorKind::Connect, "refused").head_after(Duration::from_secs(9)),
        Exchange::stream("")
            .wait(Duration::from_secs(100))
            .event(json!({"type": "response.output_text.delta", "delta": "late"}))
            .event(json!({"type": "response.completed", "response": {"id": "r"}})),
    ]);
    let before = Instant::now();
    assert_eq!(runtime.respond(prompt()).await.unwrap().text(), "late");
    // 9 s, the first delay, 100 s; timers of tokio go off up to a millisecond late.
    let late = before.elapsed() - Duration::from_millis(109_200);
    assert!(late <= Duration::from_millis(10), "{late:?}");
}

#[actix_rt::test]
async fn a_recorder_waits_for_the_end_and_may_stop_before() {
    let (runtime, transport) = started([
        Exchange::answer("one").head_after(Duration::from_secs(60)),
        Exchange::stream("").held_open(),
    ]);
    let [deliveries, events] = [Recorder::start(), Recorder::start()];
    let request = SubmitRequest::new(prompt())
        .with_subscriber(deliveries.subscriber())
        .with_subscriber(events.event_subscriber());
    runtime.supervisor().send(request).await.unwrap().unwrap();
    assert!(deliveries.events().is_empty());
    for recorder in [deliveries, events] {
        assert_eq!(recorder.end().await.name(), "completed");
        assert_eq!(recorder.text(), "one");
        let sequences: Vec<_> = recorder.sequenced().iter().map(|(n, _)| *n).collect();
        assert_eq!(sequences, [0, 1, 2, 3, 4, 5]);
    }

    let leaving = Recorder::start();
    let request = SubmitRequest::new(prompt()).with_subscriber(leaving.subscriber());
    runtime.supervisor().send(request).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(transport.open_requests(), 1);
    leaving.stop().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(transport.open_requests(), 0, "nobody listens any more");
}

#[actix_rt::test]
async fn a_slow_recorder_lags() {
    let mut exchange = Exchange::stream("");
    for n in 0..100 {
        let delta = json!({"type": "response.output_text.delta", "delta": n.to_string()});
        exchange = exchange.event(delta).wait(Duration::from_millis(1));
    }
    let (runtime, _) = started([exchange.held_open()]);
    let slow = Recorder::slow(Duration::from_secs(60));
    let subscriber = slow.subscriber().with_policy(DeliveryPolicy::Disconnect);
    let request = SubmitRequest::new(prompt()).with_subscriber(subscriber);
    runtime.supervisor().send(request).await.unwrap().unwrap();
    let ResponseEvent::Failed(error) = slow.end().await else {
        panic!("{slow:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Lagged);
}

#[actix_rt::test]
async fn what_is_kept_of_a_request_does_not_print_its_key() {
    tokio::time::pause();
    let provider = Provider::new("own", "http://own.test/v1?api-key=sk-secret-1234567890").unwrap();
    let auth = BearerAuth::new(Secret::new("sk-secret-1234567890")).unwrap();
    let mut config = testing::config();
    config.provider = std::sync::Arc::new(provider.with_auth(auth));
    let transport = ScriptedTransport::new([Exchange::answer("x")]);
    let runtime = Runtime::with_transport(config, transport.clone()).unwrap();
    runtime.respond(prompt()).await.unwrap();
    let printed = format!("{transport:?}");
    assert!(printed.contains("own.test"), "{printed}");
    assert!(!printed.contains("secret"), "{printed}");
    let sent = &transport.requests()[0].headers["authorization"];
    assert_eq!(sent, "Bearer sk-secret-1234567890");
}

#[test]
fn events_are_read_from_lines_and_a_line_that_is_none_is_told() {
    let lines = "{\"type\":\"output_text_delta\",\"delta\":\"a\"}\n\n{\"type\":\"cancelled\"}\n";
    let names = |lines| events_from_json(lines).map(|e| e.iter().map(|e| e.name()).collect());
    let read: Vec<_> = names(lines).unwrap();
    assert_eq!(read, ["output_text_delta", "cancelled"]);
    let error: serde_json::Result<Vec<_>> = names("{\"type\":\"nothing\"}");
    assert!(error.unwrap_err().to_string().contains("nothing"));
    assert!(events_from_json("{\"type\":").is_err());
    assert_eq!(events_from_json("").unwrap(), []);
}
