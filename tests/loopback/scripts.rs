//! Scripts in files.

use std::io::ErrorKind;

use actix_responses::loopback::{Loopback, LoopbackOptions, Reply, Script, ScriptError};
use serde_json::json;

use super::{
    STREAM,
    client::Client,
    support::{Folder, provider},
    with_causes,
};

#[test]
fn a_script_file_finds_recorded_streams_beside_it() {
    let folder = Folder::new();
    folder.write("recorded.sse", STREAM);
    let script = r#"{"replies": [{"body": {"sse_file": "recorded.sse"}, "chunks": {"bytes": 7}}], "after": "repeat_last"}"#;
    let script = Script::from_file(folder.write("script.json", script).as_ref()).unwrap();
    let loopback = provider(script);
    drop(folder);
    let mut client = Client::connect(&loopback);
    for _ in 0..2 {
        client.post("/v1/responses", &json!({}));
        assert_eq!(client.answer().body, STREAM);
    }
}

#[test]
fn an_error_in_a_script_file_names_the_file_and_the_place() {
    let folder = Folder::new();
    let path = folder.write("script.json", r#"{"replies": [{"paces": "1s"}]}"#);
    let text = with_causes(&Script::from_file(path.as_ref()).expect_err("no such field"));
    assert!(text.contains(&format!("{path}: ")), "{text}");
    for named in ["unknown field `paces`", "line 1"] {
        assert!(text.contains(named), "{text}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = Folder::new();
    let recorded = folder.path("nowhere.sse");
    let script = folder.write(
        "script.json",
        r#"{"replies": [{"body": {"sse_file": "nowhere.sse"}}]}"#,
    );
    for (path, missing) in [(&*script, &*recorded), ("/nowhere.json", "/nowhere.json")] {
        let error = Script::from_file(path.as_ref()).expect_err("a missing file");
        assert_eq!(error.to_string(), format!("reading {missing}"));
        assert!(
            matches!(error, ScriptError::Read { source, .. } if source.kind() == ErrorKind::NotFound)
        );
    }

    let mut options = LoopbackOptions::default();
    options.script = Script::always(Reply::sse_file(&recorded));
    let error = Loopback::start(options).expect_err("a missing file");
    let text = with_causes(&error);
    assert!(
        text.starts_with("loading the script of the loopback server: reading "),
        "{text}"
    );
    assert!(text.contains("nowhere.sse"), "{text}");
}
