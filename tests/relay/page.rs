//! The list of streams behind the page: what it says of each, how much of them, and to whom.

use std::collections::BTreeSet;

use actix_responses::{
    loopback::{LoopbackOptions, Reply, Script},
    relay::RelayConfig,
};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{RunningRelay, header, post};

fn asks(model: &str) -> String {
    json!({"model": model, "input": "hello", "stream": true}).to_string()
}

async fn in_front_of(script: Script) -> RunningRelay {
    let upstream = LoopbackOptions::default().with_script(script);
    RunningRelay::with(upstream, RelayConfig::default()).await
}

/// The list that is shown to whom shows these headers.
async fn list(relay: &RunningRelay, headers: &str) -> Value {
    let (status, head, body) = relay
        .exchange(&format!(
            "GET /streams HTTP/1.1\r\nhost: {}\r\n{headers}connection: close\r\n\r\n",
            relay.address
        ))
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    serde_json::from_str(&body).expect("JSON")
}

/// The members that the guide's section on the page documents, in the first column of its table.
fn documented() -> BTreeSet<String> {
    let guide = include_str!("../../src/guide/relay.md");
    let section = guide
        .split("\n# ")
        .find(|section| section.starts_with("The page\n"));
    let rows = section.expect("the section").lines();
    let cells = rows.filter_map(|line| line.strip_prefix("| `")?.split("` | ").next());
    let names = cells.flat_map(|cell| cell.split("`, `"));
    names.map(str::to_owned).collect()
}

#[actix_rt::test]
async fn the_list_says_of_each_stream_what_the_guide_documents() {
    let relay = RunningRelay::start().await;
    assert_eq!(
        post(&relay, "/v1/responses", "", &asks("demo")).await.0,
        200
    );
    let chat =
        json!({"model": "demo", "messages": [{"role": "user", "content": "hi"}], "stream": true});
    let (status, ..) = post(&relay, "/v1/chat/completions", "", &chat.to_string()).await;
    assert_eq!(status, 200);
    let list = list(&relay, "").await;
    assert_eq!([&list["total"], &list["running"]], [2, 0]);
    let [chat, responses] = list["data"].as_array().expect("rows").as_slice() else {
        panic!("{list}")
    };
    for (row, api) in [(chat, "chat"), (responses, "responses")] {
        assert_eq!(
            [&row["api"], &row["model"], &row["state"]],
            [api, "demo", "completed"]
        );
        assert_eq!(row["provider"], "loopback");
        assert_eq!([&row["attempt"], &row["readers"]], [1, 0]);
        assert_eq!(
            [&row["error"], &row["resumable"]],
            [&Value::Null, &json!(true)]
        );
        for number in [
            "age_ms",
            "first_event_ms",
            "events",
            "input_tokens",
            "output_tokens",
        ] {
            assert!(row[number].is_u64(), "{number}: {row}");
        }
        let names: BTreeSet<_> = row.as_object().expect("a row").keys().cloned().collect();
        assert_eq!(names, documented());
    }
}

#[actix_rt::test]
async fn the_list_says_by_which_code_a_stream_failed_and_which_attempt_answers() {
    let failed = json!({"type": "response.failed", "sequence_number": 0, "response":
        {"id": "r", "status": "failed", "error": {"code": "invalid_prompt", "message": "no"}}});
    let relay = in_front_of(Script::new([
        Reply::sse(format!("data: {failed}\n\n")),
        Reply::error(StatusCode::SERVICE_UNAVAILABLE),
        Reply::default(),
        Reply::error(StatusCode::UNAUTHORIZED),
    ]))
    .await;
    for status in [200, 200, 401] {
        let (got, _, body) = post(&relay, "/v1/responses", "", &asks("demo")).await;
        assert_eq!(got, status, "{body}");
    }
    let list = list(&relay, "").await;
    let told: Vec<_> = list["data"]
        .as_array()
        .expect("rows")
        .iter()
        .rev()
        .collect();
    assert_eq!(
        [&told[0]["state"], &told[0]["error"]],
        ["failed", "invalid_prompt"]
    );
    assert_eq!(
        [&told[1]["state"], &told[1]["attempt"]],
        [&json!("completed"), &json!(2)]
    );
    assert_eq!(told[2]["state"], "failed");
    assert!(told[2]["error"].is_string(), "{list}");
}

#[actix_rt::test]
async fn a_client_is_listed_nobody_elses_streams() {
    let relay = RunningRelay::start().await;
    for (headers, model) in [
        ("authorization: Bearer one\r\n", "ones"),
        ("authorization: Bearer two\r\n", "twos"),
        ("", "nobodys"),
    ] {
        assert_eq!(
            post(&relay, "/v1/responses", headers, &asks(model)).await.0,
            200
        );
    }
    for (headers, models) in [
        ("authorization: Bearer one\r\n", vec!["ones"]),
        ("authorization: Bearer two\r\n", vec!["twos"]),
        ("authorization: Bearer three\r\n", vec![]),
        ("", vec!["nobodys"]),
    ] {
        let list = list(&relay, headers).await;
        let rows = list["data"].as_array().expect("rows");
        let listed: Vec<_> = rows.iter().map(|row| row["model"].as_str()).collect();
        assert_eq!(listed, models.into_iter().map(Some).collect::<Vec<_>>());
        assert_eq!(list["total"], rows.len());
    }
}

#[actix_rt::test]
async fn the_list_is_an_event_stream_for_whom_asks_for_one() {
    let relay = RunningRelay::start().await;
    let mut watcher = TcpStream::connect(relay.address)
        .await
        .expect("a connection");
    let request = format!(
        "GET /streams HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\n\r\n",
        relay.address
    );
    watcher
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    let mut read = Vec::new();
    let mut said = async |what: &str| {
        while !String::from_utf8_lossy(&read).contains(what) {
            assert_ne!(watcher.read_buf(&mut read).await.expect("a list"), 0);
        }
        String::from_utf8_lossy(&read).into_owned()
    };
    let head = said("\"total\":0").await;
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert_eq!(
        post(&relay, "/v1/responses", "", &asks("demo")).await.0,
        200
    );
    said("\"state\":\"completed\"").await;
}

#[actix_rt::test]
async fn the_page_may_load_and_run_nothing_that_is_not_its_own() {
    let relay = RunningRelay::start().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
    ] {
        let (status, head, body) = relay.get(path).await;
        assert_eq!((status, header(&head, "content-type")), (200, Some(kind)));
        let policy = header(&head, "content-security-policy").expect("a policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(
            !policy.contains("unsafe") && !policy.contains('*'),
            "{policy}"
        );
        assert!(
            !body.contains("http://") && !body.contains("https://"),
            "{path}"
        );
        for sink in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!body.contains(sink), "{path}: {sink}");
        }
    }
}
