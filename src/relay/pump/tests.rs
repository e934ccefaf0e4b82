//! Servers over real sockets, and what a client's connection is given of them.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::StatusCode;
use serde_json::Value;
use tokio::time::timeout;

use super::*;
use crate::{
    actors::RequestPhase,
    loopback::{Action, Chunks, Loopback, LoopbackOptions, Position, Reply, Script},
    protocol::Prompt,
    provider::Provider,
    relay::{
        Relay, RouteTable,
        access::Client,
        answers::About,
        block,
        connection::{self, Body},
    },
    wire::Wire,
};

const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"model\":\"theirs\"}}\n\n";
const DELTA: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"a\",\"unknown\" : 1.0}\n\n";
const COMPLETED: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{\"id\":\"resp_1\",\"model\":\"theirs\",\"status\":\"completed\",\"output\":[]}}\n\n";

struct Stage {
    relay: Relay,
    servers: Vec<Loopback>,
    targets: Vec<Target>,
    wire: Wire,
    attempts: u32,
    is_codex: bool,
}

impl Stage {
    /// A relay in front of servers that do this, each on the wire.
    fn new(servers: Vec<(Wire, Script)>, config: RelayConfig) -> Self {
        let (mut running, mut targets) = (Vec::new(), Vec::new());
        for (wire, script) in servers {
            let options = LoopbackOptions::default().with_script(script);
            let server = Loopback::start(options).unwrap();
            let provider = Provider::new("loopback", &server.base_url()).unwrap();
            targets.push(Target::new(provider.with_wire(wire)));
            running.push(server);
        }
        let table = RouteTable::single(targets[0].provider.clone());
        let provider = Provider::new("none", "http://127.0.0.1:9").unwrap();
        let runtime = Runtime::start(provider).unwrap();
        Self {
            relay: Relay::new(runtime, table, config),
            servers: running,
            targets,
            wire: Wire::Responses,
            attempts: 1,
            is_codex: false,
        }
    }

    fn one(reply: Reply) -> Self {
        let script = Script::always(reply);
        Self::new(vec![(Wire::Responses, script)], RelayConfig::default())
    }

    async fn start(&self, detached: bool) -> (Arc<Answer>, Begun) {
        let about = About {
            wire: self.wire,
            model: "mine".to_owned(),
            provider: "loopback".to_owned(),
            detached,
            stored: false,
            request: Bytes::from_static(b"{\"model\":\"mine\"}"),
        };
        let client = Client::Anonymous;
        let answer = self.relay.shared.answers.begin(&client, about);
        let attempts = self.attempts;
        let question = move |target: &Target, _: usize| {
            let prompt = Prompt::user("hi").with_model("mine");
            Ok(Question {
                request: SubmitRequest::new(prompt)
                    .with_provider(target.provider.clone())
                    .with_retry(RetryPolicy::default().with_max_attempts(attempts)),
                own_key: true,
                dropped: Vec::new(),
                renderer: None,
            })
        };
        let asked = Asked {
            answer: answer.clone(),
            targets: self.targets.clone(),
            form: Form::Stream,
            is_codex: self.is_codex,
            question: Box::new(question),
            _running: None,
        };
        (answer, start(&self.relay.shared, asked).await)
    }

    async fn body(&self) -> Body {
        let (answer, begun) = self.start(false).await;
        self.body_of(&answer, begun)
    }

    fn body_of(&self, answer: &Arc<Answer>, begun: Begun) -> Body {
        match begun {
            Begun::Streaming(streaming) => connection::body(
                answer.clone(),
                streaming.reader,
                self.relay.shared.config.keepalive,
            ),
            Begun::Failed(error) => panic!("{error}"),
        }
    }

    async fn text(&self) -> String {
        text(self.body().await).await
    }

    /// Waits until no request runs. The time is that of a test that hangs.
    async fn is_free(&self) -> bool {
        let free = async {
            loop {
                let requests = self.relay.shared.runtime.requests().await;
                if requests.iter().all(|one| one.phase == RequestPhase::Ended) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), free).await.is_ok()
    }
}

async fn text(body: Body) -> String {
    let pieces: Vec<_> = body.map(|piece| piece.unwrap()).collect().await;
    String::from_utf8(pieces.concat()).unwrap()
}

fn events(text: &str) -> Vec<Value> {
    text.split_inclusive("\n\n")
        .map(|one| serde_json::from_slice(&block::data(one.as_bytes())).unwrap())
        .collect()
}

fn kinds(text: &str) -> Vec<String> {
    let kind = |event: &Value| event["type"].as_str().unwrap().to_owned();
    events(text).iter().map(kind).collect()
}

#[actix_rt::test]
async fn blocks_come_byte_for_byte_and_the_body_ends_though_the_server_holds_its_connection_open() {
    let stream = format!("{CREATED}id: 3\n\nevent: empty\ndata:\n\n{DELTA}{COMPLETED}");
    let stage = Stage::one(Reply::sse(stream).hold_open());
    assert_eq!(stage.text().await, format!("{CREATED}{DELTA}{COMPLETED}"));
}

#[actix_rt::test]
async fn a_cut_stream_ends_with_response_failed_and_the_next_sequence_number() {
    let stage = Stage::one(Reply::sse(format!("{CREATED}{DELTA}")).cut_after_events(2));
    let text = stage.text().await;
    assert!(text.starts_with(&format!("{CREATED}{DELTA}")), "{text}");
    let last = events(&text).pop().unwrap();
    assert_eq!(last["type"], "response.failed");
    assert_eq!(last["sequence_number"], 2);
    assert_eq!(last["response"]["id"], "resp_1");
}

#[actix_rt::test]
async fn a_failure_before_the_head_is_one_and_for_codex_created_and_failed() {
    let mut stage = Stage::one(Reply::error(StatusCode::INTERNAL_SERVER_ERROR));
    let Begun::Failed(error) = stage.start(false).await.1 else {
        panic!("it began");
    };
    assert_eq!(error.details().status, Some(500));
    stage.is_codex = true;
    assert_eq!(
        kinds(&stage.text().await),
        ["response.created", "response.failed"]
    );
    // A fault of the caller's is told as it is.
    let mut stage = Stage::one(Reply::error(StatusCode::BAD_REQUEST));
    stage.is_codex = true;
    assert!(matches!(stage.start(false).await.1, Begun::Failed(_)));
}

/// By its own retries, each of them as many of ours, it would send six times as many.
#[actix_rt::test]
async fn codex_is_told_that_all_attempts_are_used_up_by_a_code_that_it_takes_as_final() {
    let cut = Reply::sse(CREATED).cut_after_events(1);
    let limited = Reply::error(StatusCode::TOO_MANY_REQUESTS).with_header("retry-after", "0");
    for reply in [cut, limited] {
        let mut stage = Stage::one(reply);
        (stage.is_codex, stage.attempts) = (true, 2);
        let events = events(&stage.text().await);
        let last = events.last().unwrap();
        let error = &last["response"]["error"];
        assert_eq!(
            (last["type"].as_str(), error["code"].as_str()),
            (Some("response.failed"), Some("invalid_prompt"))
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.ends_with("(2 attempts)"), "{message}");
        assert_eq!(stage.servers[0].request_count(), 2);
    }
}

#[actix_rt::test]
async fn a_retry_before_output_is_invisible() {
    let replies = [
        Reply::sse(CREATED.replace("resp_1", "resp_0")).cut_after_events(1),
        Reply::sse(format!("{CREATED}{DELTA}{COMPLETED}")),
    ];
    let mut stage = Stage::new(
        vec![(Wire::Responses, Script::new(replies))],
        RelayConfig::default(),
    );
    stage.attempts = 2;
    assert_eq!(stage.text().await, format!("{CREATED}{DELTA}{COMPLETED}"));
}

#[actix_rt::test]
async fn a_preamble_that_went_out_is_not_repeated_by_the_retry() {
    let replies = [
        Reply::sse(CREATED.replace("resp_1", "resp_0")).cut_after_events(1),
        Reply::sse(format!("{CREATED}{DELTA}{COMPLETED}")),
    ];
    let config = RelayConfig::default().with_preamble_patience(Duration::ZERO);
    let mut stage = Stage::new(vec![(Wire::Responses, Script::new(replies))], config);
    stage.attempts = 2;
    let text = stage.text().await;
    let expected = format!("{CREATED}{DELTA}{COMPLETED}").replace("resp_1", "resp_0");
    assert_eq!(text, expected);
}

#[actix_rt::test]
async fn a_fallback_answers_under_the_clients_name_with_one_created_and_its_own_head() {
    let first = Script::always(Reply::sse(CREATED).cut_after_events(1));
    let second = Reply::sse(format!("{CREATED}{DELTA}{COMPLETED}")).with_header("x-who", "second");
    let stage = Stage::new(
        vec![
            (Wire::Responses, first),
            (Wire::Responses, Script::always(second)),
        ],
        RelayConfig::default(),
    );
    let (answer, begun) = stage.start(false).await;
    let Begun::Streaming(streaming) = begun else {
        panic!("it failed");
    };
    assert_eq!(streaming.target, 1);
    let head = streaming.head.clone().unwrap();
    assert_eq!(head.header("x-who"), Some("second"));
    let body = connection::body(answer, streaming.reader, Duration::from_secs(15));
    let expected = format!("{CREATED}{DELTA}{COMPLETED}").replace("theirs", "mine");
    assert_eq!(text(body).await, expected);
}

#[actix_rt::test]
async fn a_fallback_is_never_for_the_callers_own_faults() {
    for (status, falls_back) in [(400, false), (413, false), (422, false), (503, true)] {
        let status = StatusCode::from_u16(status).unwrap();
        let stage = Stage::new(
            vec![
                (Wire::Responses, Script::always(Reply::error(status))),
                (Wire::Responses, Script::default()),
            ],
            RelayConfig::default(),
        );
        let begun = stage.start(false).await.1;
        assert_eq!(matches!(begun, Begun::Streaming(_)), falls_back, "{status}");
    }
    let refused = ApiError::new(ErrorKind::Authentication, "no");
    assert!(another_can_help(&refused, true) && !another_can_help(&refused, false));
}

#[actix_rt::test]
async fn a_silent_server_is_heard_between_whole_blocks_and_never_in_the_log() {
    let config = RelayConfig::default()
        .with_keepalive(Duration::from_millis(50))
        .with_preamble_patience(Duration::ZERO);
    let reply = Reply::sse(format!("{CREATED}{DELTA}{COMPLETED}")).with_fault(
        Position::Events(1),
        Action::Stall(Duration::from_millis(200)),
    );
    let stage = Stage::new(vec![(Wire::Responses, Script::always(reply))], config);
    let (answer, begun) = stage.start(false).await;
    let text = text(stage.body_of(&answer, begun)).await;
    let sign = "data: {\"type\":\"keepalive\"}\n\n";
    assert!(text.contains(sign), "{text}");
    let whole = format!("{CREATED}{DELTA}{COMPLETED}");
    assert_eq!(text.replace(sign, ""), whole);
    assert_eq!(answer.blocks().await.unwrap().concat(), whole.as_bytes());
}

#[actix_rt::test]
async fn a_server_without_a_head_is_waited_for_with_200_and_its_failure_is_an_event() {
    let config = RelayConfig::default()
        .with_keepalive(Duration::from_millis(50))
        .with_head_patience(Duration::from_millis(50));
    let reply = Reply::error(StatusCode::BAD_REQUEST).delay_head(Duration::from_millis(200));
    let stage = Stage::new(vec![(Wire::Responses, Script::always(reply))], config);
    let kinds = kinds(&stage.text().await);
    assert_eq!(kinds[0], "keepalive");
    assert_eq!(
        kinds[kinds.len() - 2..],
        ["response.created", "response.failed"]
    );
}

#[actix_rt::test]
async fn a_client_that_leaves_cancels_upstream() {
    // In mid-stream.
    let stage = Stage::one(Reply::sse(format!("{CREATED}{DELTA}")).stall_after_events(2));
    let mut body = stage.body().await;
    assert_eq!(body.next().await.unwrap().unwrap(), CREATED);
    drop(body);
    assert!(stage.is_free().await);
    // Before the head.
    let stage = Stage::one(Reply::default().delay_head(Duration::from_secs(600)));
    let waited = timeout(Duration::from_millis(100), stage.start(false)).await;
    assert!(waited.is_err());
    assert!(stage.is_free().await);
    // In a retry's wait.
    let busy = Reply::error(StatusCode::TOO_MANY_REQUESTS).with_header("retry-after", "60");
    let mut stage = Stage::one(busy);
    stage.attempts = 5;
    let waited = timeout(Duration::from_millis(200), stage.start(false)).await;
    assert!(waited.is_err());
    assert!(stage.is_free().await);
}

#[actix_rt::test]
async fn a_detached_answer_and_one_with_another_reader_run_on() {
    let reply = Reply::sse(format!("{CREATED}{DELTA}{COMPLETED}")).with_fault(
        Position::Events(2),
        Action::Stall(Duration::from_millis(100)),
    );
    for detached in [true, false] {
        let stage = Stage::one(reply.clone());
        let (answer, begun) = stage.start(detached).await;
        let other = (!detached).then(|| answer.read(0));
        drop(begun);
        let end = timeout(Duration::from_secs(5), async {
            while answer.end_so_far().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            answer.end_so_far()
        });
        assert_eq!(end.await.unwrap(), Some(End::Completed), "{detached}");
        drop(other);
    }
}

#[actix_rt::test]
async fn an_answer_that_is_stopped_says_so_and_frees_the_server() {
    let stage = Stage::one(Reply::sse(format!("{CREATED}{DELTA}")).stall_after_events(2));
    let (answer, begun) = stage.start(false).await;
    let end = answer.cancel(Duration::from_secs(1)).await;
    assert_eq!(end, Some(End::Cancelled));
    let text = text(stage.body_of(&answer, begun)).await;
    assert_eq!(kinds(&text).last().unwrap(), "response.failed");
    assert!(stage.is_free().await);
}

#[actix_rt::test]
async fn a_slow_reader_pauses_only_its_own_stream() {
    let large = DELTA.replace("\"a\"", &format!("\"{}\"", "a".repeat(4000)));
    let long = format!("{CREATED}{}{COMPLETED}", large.repeat(2000));
    let stage = Stage::one(Reply::sse(long.clone()).with_chunks(Chunks::Whole));
    let (slow, begun) = stage.start(false).await;
    let fast = stage.text().await;
    assert_eq!(fast.len(), long.len());
    // The slow one has not been read to its end, and loses nothing.
    assert_eq!(slow.end_so_far(), None);
    assert_eq!(text(stage.body_of(&slow, begun)).await.len(), long.len());
}

#[actix_rt::test]
async fn a_chat_server_answers_a_client_of_responses_and_the_other_way_round() {
    for (server, client) in [(Wire::Chat, Wire::Responses), (Wire::Responses, Wire::Chat)] {
        let mut stage = Stage::new(vec![(server, Script::default())], RelayConfig::default());
        stage.wire = client;
        let text = stage.text().await;
        match client {
            Wire::Responses => {
                let kinds = kinds(&text);
                assert_eq!(kinds[0], "response.created");
                assert_eq!(kinds.last().unwrap(), "response.completed");
                let last = events(&text).pop().unwrap();
                assert_eq!(last["response"]["model"], "mine");
            }
            _ => assert!(text.ends_with("data: [DONE]\n\n"), "{text}"),
        }
        assert_eq!(stage.servers.len(), 1);
    }
}
