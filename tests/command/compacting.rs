//! `compact` and `models`: one question, one answer.

use actix_responses::loopback::{Reply, Script};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Folder, Ran, always, provider, run, sse};

const CONVERSATION: &str = r#"[{"type":"message","role":"user","content":"hello"},
    {"type":"hologram","beam":{"colour":"blue"}}]"#;

fn lines(ran: &Ran) -> Vec<Value> {
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let lines = ran.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

#[test]
fn compacted_items_are_printed_one_a_line() {
    let folder = Folder::new();
    let input = folder.write("conversation.json", CONVERSATION);
    let loopback = provider(Script::default());
    let base_url = loopback.base_url();
    let arguments = [
        "compact",
        "--base-url",
        &base_url,
        "--model=m",
        "--input",
        &input,
    ];
    let items = lines(&run(&arguments));
    assert!(!items.is_empty());
    assert!(
        items.iter().all(|item| item["type"].is_string()),
        "{items:?}"
    );

    let request = &loopback.requests()[0];
    assert_eq!(request.path, "/v1/responses/compact");
    let body = request.json().unwrap();
    assert_eq!(
        (&body["model"], &body["input"][1]["beam"]["colour"]),
        (&json!("m"), &json!("blue"))
    );

    let whole = run(&[&arguments[..], &["--json"]].concat());
    let whole: Value = serde_json::from_str(&whole.stdout).expect("JSON");
    assert_eq!(whole["output"].as_array().map(Vec::len), Some(items.len()));
    assert!(whole["usage"].is_object(), "{whole}");
}

#[test]
fn pretty_json_of_a_server_stays_on_its_line() {
    let folder = Folder::new();
    let input = folder.write("conversation.json", CONVERSATION);
    let answer = json!({"output": [{"type": "hologram", "beam": {"colour": "a\nb"}}, {"type": "compaction", "encrypted_content": "x"}]});
    let pretty = serde_json::to_string_pretty(&answer).unwrap();
    let loopback = always(Reply::text(pretty));
    let base_url = loopback.base_url();
    let ran = run(&[
        "compact",
        "--base-url",
        &base_url,
        "--model=m",
        "--input",
        &input,
    ]);
    assert_eq!(Value::from(lines(&ran)), answer["output"]);
}

#[test]
fn compaction_that_fails_says_why_and_one_that_failed_once_does_not() {
    let folder = Folder::new();
    let input = folder.write("conversation.json", CONVERSATION);
    let failed = || Reply::default().with_status(StatusCode::INTERNAL_SERVER_ERROR);
    let loopback = provider(Script::new([failed(), Reply::default()]));
    let base_url = loopback.base_url();
    let arguments = [
        "compact",
        "--base-url",
        &base_url,
        "--model=m",
        "--input",
        &input,
    ];
    assert!(!lines(&run(&arguments)).is_empty());
    assert_eq!(loopback.requests().len(), 2);

    let loopback = always(Reply::text("{\"output\":"));
    let base_url = loopback.base_url();
    let arguments = [
        "compact",
        "--base-url",
        &base_url,
        "--model=m",
        "--input",
        &input,
        "--max-attempts=2",
    ];
    let ran = run(&arguments);
    assert_eq!((ran.status, &*ran.stdout), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains("ended in the middle"), "{ran:?}");
    assert_eq!(loopback.requests().len(), 2);

    let ran = run(&[&arguments[..], &["--wire=chat"]].concat());
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("another wire"), "{ran:?}");
    assert_eq!(loopback.requests().len(), 2);
}

/// A gateway passes the question on as an ordinary request.
#[test]
fn compaction_by_an_ordinary_response_is_read_and_a_reply_refused() {
    let folder = Folder::new();
    let input = folder.write("conversation.json", CONVERSATION);
    let compaction = json!({"type": "compaction", "encrypted_content": "x"});
    let reply = json!({"type": "message", "role": "assistant", "content": []});
    let events = |item: &Value| {
        sse(&[
            json!({"type": "response.created", "response": {"id": "r"}}),
            json!({"type": "response.output_item.done", "item": item}),
            json!({"type": "response.completed", "response": {"id": "r", "output": []}}),
        ])
    };
    let whole = |item: &Value| {
        Reply::json(json!({"object": "response", "status": "completed", "output": [item]}))
    };
    for (answer, is_compacted) in [
        (Reply::sse(events(&compaction)).hold_open(), true),
        (Reply::text(events(&compaction)), true),
        (whole(&compaction), true),
        (Reply::sse(events(&reply)).hold_open(), false),
        (whole(&reply), false),
    ] {
        let loopback = always(answer);
        let base_url = loopback.base_url();
        let ran = run(&[
            "compact",
            "--base-url",
            &base_url,
            "--model=m",
            "--input",
            &input,
        ]);
        match is_compacted {
            true => assert_eq!(Value::from(lines(&ran)), json!([compaction])),
            false => {
                assert_eq!((ran.status, &*ran.stdout), (Some(1), ""), "{ran:?}");
                let said = "without a compaction item, but with message";
                assert!(ran.stderr.contains(said), "{ran:?}");
            }
        }
        assert_eq!(loopback.requests().len(), 1);
    }
}

#[test]
fn models_are_listed_by_name_or_as_they_came() {
    let loopback = provider(Script::default());
    let base_url = loopback.base_url();
    let ran = run(&["models", "--base-url", &base_url]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 2, "{ran:?}");
    let models = lines(&run(&["models", "--base-url", &base_url, "--json"]));
    assert_eq!(models[1]["id"], ran.stdout.lines().nth(1).unwrap());
    assert_eq!(models[0]["object"], "model");
    assert_eq!(loopback.requests()[0].path, "/v1/models");
}

#[test]
fn models_that_are_refused_are_a_failure_without_the_key() {
    let folder = Folder::new();
    let refusal = r#"{"error":{"message":"no such key: sk-hunter2","code":"invalid_api_key"}}"#;
    let loopback = always(
        Reply::text(refusal)
            .with_path("/models")
            .with_status(StatusCode::UNAUTHORIZED),
    );
    let file = folder.write(
        "providers.toml",
        format!(
            "[providers.team]\nbase_url = '{}'\nheaders = {{ x-api-key = 'sk-hunter2' }}",
            loopback.base_url()
        ),
    );
    let ran = run(&["models", "--provider=team", "--providers-file", &file]);
    assert_eq!((ran.status, &*ran.stdout), (Some(1), ""), "{ran:?}");
    assert!(
        ran.stderr.contains("no such key") && !ran.stderr.contains("hunter2"),
        "{ran:?}"
    );
}
