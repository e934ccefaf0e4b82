//! Servers by script, in paused time, and what a client's connection is given of them.

use std::{cell::Cell, time::Duration};

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    going_on::{Before, end_lost, go_on, lost as node_lost},
    *,
};
use crate::{
    actors::RequestPhase,
    protocol::Prompt,
    provider::Provider,
    relay::{
        Relay, RouteTable,
        access::Client,
        answers::About,
        block,
        connection::{self, Body},
    },
    retry::RetryAfterOutput,
    testing::{self, Exchange, ScriptedTransport},
    wire::Wire,
};

const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"model\":\"theirs\"}}\n\n";
const DELTA: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"a\",\"unknown\" : 1.0}\n\n";
const COMPLETED: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{\"id\":\"resp_1\",\"model\":\"theirs\",\"status\":\"completed\",\"output\":[]}}\n\n";

/// A sign of life, as Codex counts one.
const SIGN: &str = "data: {\"type\":\"keepalive\"}\n\n";

/// Stops the clock of this test's thread. It moves on when everything waits for it.
fn pause() {
    thread_local!(static PAUSED: Cell<bool> = const { Cell::new(false) });
    if !PAUSED.replace(true) {
        tokio::time::pause();
    }
}

struct Stage {
    relay: Relay,
    transport: ScriptedTransport,
    targets: Vec<Target>,
    wire: Wire,
    attempts: u32,
    /// Whether the runtime begins again after output.
    restarts: bool,
    is_codex: bool,
}

impl Stage {
    /// A relay in front of servers that speak so; what they do is one script for all. Time stands still.
    fn new(wires: &[Wire], script: impl IntoIterator<Item = Exchange>) -> Self {
        pause();
        let server = |wire: &Wire| {
            let provider = Provider::new("scripted", "http://scripted.test/v1").unwrap();
            Target::new(provider.with_wire(*wire))
        };
        let targets: Vec<_> = wires.iter().map(server).collect();
        let table = RouteTable::single(targets[0].provider.clone());
        let transport = ScriptedTransport::new(script);
        let runtime = Runtime::with_transport(testing::config(), transport.clone()).unwrap();
        Self {
            relay: Relay::new(runtime, table, RelayConfig::default()),
            transport,
            targets,
            wire: Wire::Responses,
            attempts: 1,
            restarts: false,
            is_codex: false,
        }
    }

    fn of(script: impl IntoIterator<Item = Exchange>) -> Self {
        Self::new(&[Wire::Responses], script)
    }

    async fn start(&self, detached: bool) -> (Arc<Answer>, Begun) {
        let about = About {
            wire: self.wire,
            model: "mine".to_owned(),
            provider: "loopback".to_owned(),
            detached,
            stored: false,
            background: false,
            request: Bytes::from_static(b"{\"model\":\"mine\"}"),
        };
        let client = Client::Anonymous;
        let answer = self.relay.shared.answers.begin(&client, about);
        let mut retry = RetryPolicy::default().with_max_attempts(self.attempts);
        if self.restarts {
            retry.after_output = RetryAfterOutput::Restart;
        }
        let question = move |target: &Target, _: usize| {
            let prompt = Prompt::user("hi").with_model("mine");
            Ok(Question {
                in_one_piece: false,
                request: SubmitRequest::new(prompt)
                    .with_provider(target.provider.clone())
                    .with_retry(retry.clone()),
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
            rescue: None,
            _running: None,
        };
        (answer, start(&self.relay.shared, asked).await)
    }

    /// An answer of which another node had these blocks, gone on with behind the last of them.
    fn go_on(&self, had: &[&'static str]) -> Arc<Answer> {
        let about = About {
            wire: Wire::Responses,
            model: "mine".to_owned(),
            provider: "loopback".to_owned(),
            detached: true,
            stored: true,
            background: true,
            request: Bytes::from_static(b"{}"),
        };
        let answer = self.relay.shared.answers.begin(&Client::Anonymous, about);
        let had: Vec<_> = had.iter().map(|block| Bytes::from(*block)).collect();
        let before = Before {
            first: had.first().cloned(),
            last: had.last().cloned(),
            blocks: had.len() as u64,
        };
        let after = before.last.as_ref().and_then(|last| {
            let event: Value = serde_json::from_slice(&block::data(last)).unwrap();
            event["sequence_number"].as_u64()
        });
        answer.push(had);
        let retry = RetryPolicy::default().with_max_attempts(self.attempts);
        let question = move |target: &Target, _: usize| {
            Ok(Question {
                in_one_piece: false,
                request: SubmitRequest::resume("resp_1", after)
                    .with_provider(target.provider.clone())
                    .with_retry(retry.clone()),
                own_key: true,
                dropped: Vec::new(),
                renderer: None,
            })
        };
        let asked = Asked {
            answer: answer.clone(),
            targets: self.targets.clone(),
            form: Form::Stream,
            is_codex: false,
            question: Box::new(question),
            rescue: None,
            _running: None,
        };
        let last = self.targets.len() - 1;
        go_on(&self.relay.shared, asked, last, before);
        answer
    }

    /// All of it, when it has ended.
    async fn whole(&self, answer: Arc<Answer>) -> String {
        let reader = answer.read(0);
        let body = connection::body(answer, reader, self.relay.shared.config.keepalive);
        text(body).await
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
            )
            .with_pump(streaming.driver),
            Begun::Failed(error) => panic!("{error}"),
        }
    }

    async fn text(&self) -> String {
        text(self.body().await).await
    }

    /// Checks that the server is free within a second: nothing is read of it any more, and no request runs.
    async fn is_freed_within_a_second(&self) {
        let left = Instant::now();
        let is_free = async || {
            let requests = self.relay.shared.runtime.requests().await;
            self.transport.open_requests() == 0
                && requests.iter().all(|one| one.phase == RequestPhase::Ended)
        };
        while !is_free().await {
            let waited = left.elapsed();
            assert!(waited <= Duration::from_secs(1), "{waited:?}");
            sleep(Duration::from_millis(10)).await;
        }
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

fn whole() -> String {
    format!("{CREATED}{DELTA}{COMPLETED}")
}

#[actix_rt::test]
async fn blocks_come_byte_for_byte_and_the_body_ends_though_the_server_holds_its_connection_open() {
    let stream = format!("{CREATED}id: 3\n\nevent: empty\ndata:\n\n{DELTA}{COMPLETED}");
    let stage = Stage::of([Exchange::stream(stream).held_open()]);
    assert_eq!(stage.text().await, whole());
}

#[actix_rt::test]
async fn a_cut_stream_ends_with_response_failed_and_the_next_sequence_number() {
    // It is not asked again after output.
    let reply = Exchange::stream(format!("{CREATED}{DELTA}"));
    let mut stage = Stage::of([reply, Exchange::stream(whole())]);
    stage.attempts = 2;
    let text = stage.text().await;
    assert_eq!(stage.transport.requests().len(), 1);
    assert!(text.starts_with(&format!("{CREATED}{DELTA}")), "{text}");
    let last = events(&text).pop().unwrap();
    assert_eq!(last["type"], "response.failed");
    assert_eq!(last["sequence_number"], 2);
    assert_eq!(last["response"]["id"], "resp_1");
}

#[actix_rt::test]
async fn an_item_that_was_done_never_comes_again_under_another_id() {
    let item = json!({"type": "message", "id": "msg_1", "role": "assistant", "content": []});
    let done = json!({"type": "response.output_item.done", "sequence_number": 1, "output_index": 0, "item": item});
    let done = format!("event: response.output_item.done\ndata: {done}\n\n");
    let cut = format!("{CREATED}{done}");
    let again = cut.replace("msg_1", "msg_2") + COMPLETED;
    let mut stage = Stage::of([cut.clone(), again].map(Exchange::stream));
    (stage.attempts, stage.restarts) = (2, true);
    let text = stage.text().await;
    let more = text.strip_prefix(&cut).expect("what came");
    assert_eq!(kinds(more), ["response.failed"], "{more}");
}

#[actix_rt::test]
async fn a_failure_before_the_head_is_one_and_for_codex_created_and_failed() {
    let mut stage = Stage::of([500, 500, 400].map(Exchange::status));
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
    assert!(matches!(stage.start(false).await.1, Begun::Failed(_)));
}

/// By its own retries, each of them as many of ours, it would send six times as many.
#[actix_rt::test]
async fn codex_is_told_that_all_attempts_are_used_up_by_a_code_that_it_takes_as_final() {
    let cut = Exchange::stream(CREATED);
    let limited = Exchange::status(429).with_header("retry-after", "0");
    for reply in [cut, limited] {
        let mut stage = Stage::of([reply.clone(), reply]);
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
        assert_eq!(stage.transport.requests().len(), 2);
    }
}

/// One that is cut before its output, and one that is whole; each with its own id.
fn cut_and_whole(wait: Duration) -> [Exchange; 2] {
    let cut = Exchange::stream(CREATED.replace("resp_1", "resp_0")).wait(wait);
    [cut, Exchange::stream(whole())]
}

#[actix_rt::test]
async fn a_retry_before_output_is_invisible() {
    let mut stage = Stage::of(cut_and_whole(Duration::from_secs(1)));
    stage.attempts = 2;
    assert_eq!(stage.text().await, whole());
}

#[actix_rt::test]
async fn a_preamble_that_went_out_is_not_repeated_by_the_retry() {
    let mut stage = Stage::of(cut_and_whole(Duration::from_secs(3)));
    stage.attempts = 2;
    assert_eq!(stage.text().await, whole().replace("resp_1", "resp_0"));
}

#[actix_rt::test]
async fn the_preamble_is_held_until_output_begins_or_two_seconds() {
    for (silent, held) in [(1, 1), (2, 2), (10, 2)] {
        let output = format!("{DELTA}{COMPLETED}");
        let reply = Exchange::stream(CREATED).wait(Duration::from_secs(silent));
        let stage = Stage::of([reply.chunk(output)]);
        let asked = Instant::now();
        let mut body = stage.body().await;
        // What is ready together is written together.
        let first = body.next().await.unwrap().unwrap();
        assert!(first.starts_with(CREATED.as_bytes()));
        assert_eq!(asked.elapsed().as_secs(), held);
        let all = [first, text(body).await.into()].concat();
        assert_eq!(all, format!("{CREATED}{DELTA}{COMPLETED}").as_bytes());
        assert_eq!(asked.elapsed().as_secs(), silent);
    }
}

#[actix_rt::test]
async fn a_fallback_answers_under_the_clients_name_with_one_created_and_its_own_head() {
    let second = Exchange::stream(whole()).with_header("x-who", "second");
    let stage = Stage::new(&[Wire::Responses; 2], [Exchange::stream(CREATED), second]);
    let (answer, begun) = stage.start(false).await;
    let Begun::Streaming(streaming) = begun else {
        panic!("it failed");
    };
    assert_eq!(streaming.target, 1);
    let head = streaming.head.clone().unwrap();
    assert_eq!(head.header("x-who"), Some("second"));
    let body = connection::body(answer, streaming.reader, Duration::from_secs(15));
    assert_eq!(text(body).await, whole().replace("theirs", "mine"));
}

#[actix_rt::test]
async fn a_fallback_is_never_for_the_callers_own_faults() {
    for (status, falls_back) in [(400, false), (413, false), (422, false), (503, true)] {
        let script = [Exchange::status(status), Exchange::answer("hi")];
        let stage = Stage::new(&[Wire::Responses; 2], script);
        let begun = stage.start(false).await.1;
        assert_eq!(matches!(begun, Begun::Streaming(_)), falls_back, "{status}");
    }
    let refused = ApiError::new(ErrorKind::Authentication, "no");
    assert!(another_can_help(&refused, true) && !another_can_help(&refused, false));
}

#[actix_rt::test]
async fn a_silent_server_is_heard_between_whole_blocks_and_never_in_the_log() {
    for (wire, sign) in [(Wire::Responses, SIGN), (Wire::Chat, ": keepalive\n\n")] {
        let blocks = match wire {
            Wire::Responses => [CREATED, DELTA, COMPLETED].map(str::to_owned),
            _ => chunks(),
        };
        // Behind its finish a completion is not waited for so long.
        let before = if wire == Wire::Responses { 2 } else { 1 };
        let reply = Exchange::stream(blocks[..before].concat());
        // Half of a block, and the rest of it later.
        let later = blocks[before..].concat();
        let (half, rest) = later.split_at(8);
        let silent = Duration::from_secs(40);
        let reply = reply
            .chunk(half.to_owned())
            .wait(silent)
            .chunk(rest.to_owned());
        let mut stage = Stage::new(&[wire], [reply]);
        stage.wire = wire;
        let (answer, begun) = stage.start(false).await;
        let asked = Instant::now();
        let mut body = stage.body_of(&answer, begun);
        let mut heard = Vec::new();
        while let Some(block) = body.next().await {
            let block = String::from_utf8(block.unwrap().to_vec()).unwrap();
            heard.push((asked.elapsed().as_secs(), block));
        }
        let signs = [15, 30].map(|second| (second, sign.to_owned()));
        // The blocks before them come together.
        assert_eq!(heard[1..3], signs, "{heard:?}");
        heard.retain(|(_, block)| block != sign);
        let heard: String = heard.into_iter().map(|(_, block)| block).collect();
        assert_eq!(heard, blocks.concat());
        assert_eq!(answer.blocks().await.unwrap().concat(), heard.as_bytes());
    }
}

/// A completion of three blocks.
fn chunks() -> [String; 3] {
    let chunk = |choice: Value| format!("data: {}\n\n", json!({"id": "c1", "choices": [choice]}));
    [
        chunk(json!({"index": 0, "delta": {"role": "assistant", "content": "a"}})),
        chunk(json!({"index": 0, "delta": {}, "finish_reason": "stop"})),
        "data: [DONE]\n\n".to_owned(),
    ]
}

#[actix_rt::test]
async fn a_server_without_a_head_is_waited_for_with_200_and_its_failure_is_an_event() {
    let reply = Exchange::status(400).head_after(Duration::from_secs(40));
    let stage = Stage::of([reply]);
    let asked = Instant::now();
    let body = stage.body().await;
    assert_eq!(asked.elapsed().as_secs(), 15);
    let kinds = kinds(&text(body).await);
    assert_eq!(kinds, ["keepalive", "response.created", "response.failed"]);
    assert_eq!(asked.elapsed().as_secs(), 40);
}

#[actix_rt::test]
async fn a_server_that_says_nothing_for_long_is_heard_whole() {
    for wire in [Wire::Responses, Wire::Chat] {
        let blocks = match wire {
            Wire::Responses => [CREATED, DELTA, COMPLETED].map(str::to_owned),
            _ => chunks(),
        };
        let late = Duration::from_secs(20);
        let of_all = |reply: Exchange| {
            blocks
                .iter()
                .fold(reply, |reply, block| reply.chunk(block.clone()))
        };
        let head = of_all(Exchange::stream("").head_after(late));
        let block = of_all(Exchange::stream("").wait(late));
        for reply in [head, block] {
            let mut stage = Stage::new(&[wire], [reply]);
            stage.wire = wire;
            let (answer, begun) = stage.start(false).await;
            let mut body = stage.body_of(&answer, begun);
            while body.next().await.is_some() {}
            let kept = answer.blocks().await.unwrap().concat();
            assert_eq!(String::from_utf8(kept).unwrap(), blocks.concat());
        }
    }
}

#[actix_rt::test]
async fn a_client_that_leaves_cancels_upstream_within_a_second() {
    // In mid-stream.
    let stage = Stage::of([Exchange::stream(format!("{CREATED}{DELTA}")).held_open()]);
    let (answer, begun) = stage.start(false).await;
    let mut body = stage.body_of(&answer, begun);
    let begun = body.next().await.unwrap().unwrap();
    assert!(begun.starts_with(CREATED.as_bytes()));
    assert_eq!(stage.transport.open_requests(), 1);
    drop(body);
    stage.is_freed_within_a_second().await;
    // If it comes back, that is no clean end.
    let blocks = answer.blocks().await.unwrap().concat();
    let kinds = kinds(std::str::from_utf8(&blocks).unwrap());
    assert_eq!(kinds.last().unwrap(), "response.failed");
    // Before the head.
    let stage = Stage::of([Exchange::silence()]);
    let waited = timeout(Duration::from_secs(10), stage.start(false)).await;
    assert!(waited.is_err() && stage.transport.open_requests() == 1);
    stage.is_freed_within_a_second().await;
    // In a retry's wait.
    let mut stage = Stage::of([Exchange::status(429).with_header("retry-after", "60")]);
    stage.attempts = 5;
    let waited = timeout(Duration::from_secs(10), stage.start(false)).await;
    assert!(waited.is_err());
    assert_eq!(stage.relay.shared.runtime.requests().await.len(), 1);
    stage.is_freed_within_a_second().await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(stage.transport.requests().len(), 1);
}

#[actix_rt::test]
async fn a_detached_answer_and_one_with_another_reader_run_on() {
    let reply = Exchange::stream(format!("{CREATED}{DELTA}")).wait(Duration::from_secs(10));
    for detached in [true, false] {
        let stage = Stage::of([reply.clone().chunk(COMPLETED)]);
        let (answer, begun) = stage.start(detached).await;
        let other = (!detached).then(|| answer.read(0));
        drop(begun);
        sleep(Duration::from_secs(9)).await;
        assert_eq!(answer.end_so_far(), None, "{detached}");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(answer.end_so_far(), Some(End::Completed), "{detached}");
        drop(other);
    }
}

#[actix_rt::test]
async fn an_answer_that_is_stopped_says_so_and_frees_the_server() {
    let stage = Stage::of([Exchange::stream(format!("{CREATED}{DELTA}")).held_open()]);
    let (answer, begun) = stage.start(false).await;
    let end = answer.cancel(Duration::from_secs(1)).await;
    assert_eq!(end, Ok(Some(End::Cancelled)));
    let text = text(stage.body_of(&answer, begun)).await;
    assert_eq!(kinds(&text).last().unwrap(), "response.failed");
    assert_eq!(answer.usage(), None, "it is not guessed");
    stage.is_freed_within_a_second().await;
}

/// 8 MB.
fn long() -> String {
    let large = DELTA.replace("\"a\"", &format!("\"{}\"", "a".repeat(4000)));
    format!("{CREATED}{}{COMPLETED}", large.repeat(2000))
}

#[actix_rt::test]
async fn a_slow_reader_pauses_only_its_own_stream() {
    let long = long();
    let reply = Exchange::stream("").chunks(long.as_bytes(), 16_384);
    let stage = Stage::of([reply.clone(), reply]);
    let (slow, begun) = stage.start(false).await;
    assert_eq!(stage.text().await.len(), long.len());
    sleep(Duration::from_secs(59)).await;
    // The slow one has not been read to its end, and loses nothing.
    assert_eq!(slow.end_so_far(), None);
    assert_eq!(text(stage.body_of(&slow, begun)).await.len(), long.len());
}

#[actix_rt::test]
async fn a_slow_client_is_left_behind_with_an_error_event_where_another_waits() {
    let long = long();
    let reply = Exchange::stream("").chunks(long.as_bytes(), 16_384);
    let stage = Stage::of([reply]);
    let (answer, begun) = stage.start(false).await;
    let mut slow = stage.body_of(&answer, begun);
    let other = connection::body(answer.clone(), answer.read(0), Duration::from_secs(15));
    let first = slow.next().await.unwrap().unwrap();
    assert!(first.starts_with(CREATED.as_bytes()));
    let began = Instant::now();
    let heard = text(other).await.replace(SIGN, "");
    assert_eq!((heard.len(), began.elapsed().as_secs()), (long.len(), 15));
    // Beside what it had been given already.
    let rest = text(slow).await;
    assert!(rest.len() < 200_000, "{}", rest.len());
    let last = events(&rest).pop().unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["error"]["code"]),
        (&json!("response.failed"), &json!("slow_client"))
    );
    assert_eq!(answer.end_so_far(), Some(End::Completed));
}

#[actix_rt::test]
async fn a_chat_server_answers_a_client_of_responses_and_the_other_way_round() {
    for (server, client) in [(Wire::Chat, Wire::Responses), (Wire::Responses, Wire::Chat)] {
        let reply = match server {
            Wire::Chat => Exchange::stream(chunks().concat()),
            _ => Exchange::answer("hi"),
        };
        let mut stage = Stage::new(&[server], [reply]);
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
    }
}

/// What the transport was asked for.
fn asked(stage: &Stage) -> Vec<String> {
    let shown = |request: &Arc<crate::transport::TransportRequest>| {
        format!("{} {}", request.method, request.url)
    };
    stage.transport.requests().iter().map(shown).collect()
}

const AFTER_DELTA: &str =
    "GET http://scripted.test/v1/responses/resp_1?stream=true&starting_after=1";

#[actix_rt::test]
async fn what_another_node_began_goes_on_behind_its_last_block_byte_for_byte() {
    let more = DELTA.replace(":1,", ":2,");
    let end = COMPLETED.replace(":2,", ":3,");
    let rest = format!("{more}{end}");
    let expected = format!("{CREATED}{DELTA}{rest}");
    // What the server repeats is dropped; what it breaks is gone on with; nothing is held.
    let repeated = Exchange::stream(format!("{DELTA}{rest}"));
    let broken = [Exchange::stream(more.clone()), Exchange::stream(end)];
    for script in [vec![repeated], broken.to_vec()] {
        let mut stage = Stage::of(script);
        stage.attempts = 2;
        let text = stage.whole(stage.go_on(&[CREATED, DELTA])).await;
        assert_eq!(text, expected);
        let asked = asked(&stage);
        assert_eq!(asked[0], AFTER_DELTA);
        assert!(asked.iter().all(|asked| asked.starts_with("GET ")));
    }
    // Before any output, too, and under the name that the client knows.
    let mut stage = Stage::new(
        &[Wire::Responses; 2],
        [Exchange::stream(format!("{DELTA}{COMPLETED}"))],
    );
    stage.attempts = 2;
    let text = stage.whole(stage.go_on(&[CREATED])).await;
    let renamed = COMPLETED.replace("theirs", "mine");
    assert_eq!(text, format!("{CREATED}{DELTA}{renamed}"));
}

#[actix_rt::test]
async fn what_its_server_does_not_go_on_with_is_lost_and_says_why() {
    let skips = DELTA.replace(":1,", ":3,");
    for (reply, code, why) in [
        (Exchange::status(404), "node_lost", "Not Found"),
        (Exchange::status(401), "node_lost", "Unauthorized"),
        (Exchange::stream(""), "node_lost", ""),
        (Exchange::stream(skips), "node_lost", ""),
        // It went on, and broke.
        (
            Exchange::stream(DELTA.replace(":1,", ":2,")),
            "truncated",
            "",
        ),
    ] {
        let stage = Stage::of([reply]);
        let answer = stage.go_on(&[CREATED, DELTA]);
        let text = stage.whole(answer.clone()).await;
        let rest = text.strip_prefix(&format!("{CREATED}{DELTA}")).unwrap();
        let last = events(rest).pop().unwrap();
        assert_eq!(last["type"], "response.failed", "{rest}");
        let number = if code == "node_lost" { 2 } else { 3 };
        assert_eq!(last["sequence_number"], number);
        let error = &last["response"]["error"];
        assert_eq!(error["code"], code, "{rest}");
        assert!(error["message"].as_str().unwrap().contains(why), "{rest}");
        assert_eq!(answer.end_so_far(), Some(End::Failed));
        assert_eq!(answer.failure(), Some(code));
    }
}

#[actix_rt::test]
async fn what_goes_on_is_stopped_like_every_answer() {
    let stage = Stage::of([Exchange::silence()]);
    let answer = stage.go_on(&[CREATED, DELTA]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.transport.open_requests(), 1);
    let end = answer.cancel(Duration::from_secs(1)).await;
    assert_eq!(end, Ok(Some(End::Cancelled)));
    stage.is_freed_within_a_second().await;
    let text = stage.whole(answer).await;
    assert_eq!(events(&text).pop().unwrap()["sequence_number"], 2);
}

#[actix_rt::test]
async fn what_nobody_goes_on_with_has_one_end_in_its_dialect() {
    let stage = Stage::of([]);
    let chat = chunks();
    for (wire, had) in [
        (Wire::Responses, vec![CREATED.to_owned(), DELTA.to_owned()]),
        (Wire::Responses, vec![]),
        (Wire::Chat, vec![chat[0].clone()]),
    ] {
        let about = About {
            wire,
            model: "mine".to_owned(),
            provider: "loopback".to_owned(),
            detached: true,
            stored: true,
            background: true,
            request: Bytes::new(),
        };
        let answer = stage.relay.shared.answers.begin(&Client::Anonymous, about);
        let had: Vec<_> = had.into_iter().map(Bytes::from).collect();
        answer.push(had.clone());
        let before = Before {
            first: had.first().cloned(),
            last: had.last().cloned(),
            blocks: had.len() as u64,
        };
        let event = ResponseEvent::Failed(node_lost("why").into());
        end_lost(&answer, before, &event);
        let text = stage.whole(answer).await;
        let last = events(&text).pop().unwrap();
        let error = match wire {
            Wire::Chat => &last["error"],
            _ => &last["response"]["error"],
        };
        assert_eq!(error["code"], "node_lost", "{text}");
        assert!(text.starts_with(std::str::from_utf8(&had.concat()).unwrap()));
        let begins = text.matches("response.created").count();
        assert_eq!(begins > 0, wire == Wire::Responses, "{text}");
    }
}
