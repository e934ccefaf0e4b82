use std::{env, fs};

use proptest::{collection, prelude::*, sample};
use serde_json::{Value, json};

use super::*;

/// One row for every item type that is known: as the API or its clients write it, with a field that has no name here.
const ITEMS: &[(&str, &str)] = &[
    (
        "message",
        r#"{"type":"message","id":"msg_1","status":"completed","role":"assistant","phase":"final_answer","content":[{"type":"output_text","text":"hi","annotations":[{"type":"url_citation","start_index":0}],"logprobs":[]},{"type":"refusal","refusal":"no"}],"new":1}"#,
    ),
    (
        "message",
        r#"{"type":"message","role":"user","content":"hi"}"#,
    ),
    (
        "message",
        r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"u","detail":"auto"},{"type":"input_file","file_id":"f"},{"type":"hologram","depth":3}]}"#,
    ),
    (
        "message",
        r#"{"type":"message","id":"msg_1","role":"assistant","content":[]}"#,
    ),
    (
        "message",
        r#"{"type":"message","id":"msg_1","role":"assistant"}"#,
    ),
    ("message", r#"{"role":"user","content":"hi"}"#),
    (
        "message",
        r#"{"role":"critic","content":[{"type":"input_text","text":"a"}],"name":"b"}"#,
    ),
    ("message", r#"{"type":null,"role":"user","content":"hi"}"#),
    (
        "reasoning",
        r#"{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"a"}],"content":[{"type":"reasoning_text","text":"b"},{"type":"text","text":"c"}],"encrypted_content":"gA==","status":"completed","new":{}}"#,
    ),
    (
        "reasoning",
        r#"{"type":"reasoning","id":"rs_1","summary":[]}"#,
    ),
    (
        "function_call",
        r#"{"type":"function_call","id":"fc_1","name":"f","arguments":"{\"a\": 1}","call_id":"c","status":"completed","namespace":"n","caller":{"type":"program"}}"#,
    ),
    (
        "function_call_output",
        r#"{"type":"function_call_output","call_id":"c","output":"ok","success":true}"#,
    ),
    (
        "function_call_output",
        r#"{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"a"}]}"#,
    ),
    (
        "custom_tool_call",
        r#"{"type":"custom_tool_call","id":"ctc_1","call_id":"c","name":"n","input":"a\nb","status":"completed","new":1}"#,
    ),
    (
        "custom_tool_call_output",
        r#"{"type":"custom_tool_call_output","call_id":"c","output":"ok","name":"n"}"#,
    ),
    (
        "custom_tool_call_output",
        r#"{"type":"custom_tool_call_output","call_id":"c","output":[{"type":"input_image","file_id":"f"}]}"#,
    ),
    (
        "local_shell_call",
        r#"{"type":"local_shell_call","id":"lsh_1","call_id":"c","status":"completed","action":{"type":"exec","command":["ls"],"timeout_ms":10,"working_directory":"/","env":{},"user":"u"}}"#,
    ),
    (
        "local_shell_call_output",
        r#"{"type":"local_shell_call_output","id":"c","output":"{}","status":"completed"}"#,
    ),
    (
        "shell_call",
        r#"{"type":"shell_call","id":"sh_1","call_id":"c","status":"completed","action":{"commands":["ls"],"timeout_ms":null},"environment":{"type":"local"},"new":[1]}"#,
    ),
    (
        "shell_call_output",
        r#"{"type":"shell_call_output","id":"sho_1","call_id":"c","status":"completed","max_output_length":100,"output":[{"stdout":"a","stderr":"","outcome":{"type":"exit","exit_code":0}}]}"#,
    ),
    (
        "apply_patch_call",
        r#"{"type":"apply_patch_call","id":"apc_1","call_id":"c","status":"completed","operation":{"type":"delete_file","path":"a"}}"#,
    ),
    (
        "apply_patch_call_output",
        r#"{"type":"apply_patch_call_output","call_id":"c","status":"failed","output":"no such file"}"#,
    ),
    (
        "computer_call",
        r#"{"type":"computer_call","id":"cu_1","call_id":"c","status":"completed","action":{"type":"click","x":1.0},"pending_safety_checks":[]}"#,
    ),
    (
        "computer_call",
        r#"{"type":"computer_call","id":"cu_1","call_id":"c","status":"completed","actions":[{"type":"wait"}]}"#,
    ),
    (
        "computer_call_output",
        r#"{"type":"computer_call_output","call_id":"c","output":{"type":"computer_screenshot","image_url":"u"},"acknowledged_safety_checks":[]}"#,
    ),
    (
        "tool_search_call",
        r#"{"type":"tool_search_call","id":"tsc_1","call_id":"c","execution":"client","status":"completed","arguments":{"goal":"mail"}}"#,
    ),
    (
        "tool_search_output",
        r#"{"type":"tool_search_output","id":"tso_1","execution":"server","status":"completed","tools":[{"type":"function","name":"f"}]}"#,
    ),
    (
        "web_search_call",
        r#"{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"a","sources":[]}}"#,
    ),
    (
        "web_search_call",
        r#"{"type":"web_search_call","id":"ws_1","status":"in_progress"}"#,
    ),
    (
        "web_search_call",
        r#"{"type":"web_search_call","status":"completed","action":{"type":"other"}}"#,
    ),
    (
        "file_search_call",
        r#"{"type":"file_search_call","id":"fs_1","status":"completed","queries":["a"],"results":[{"score":0.5}]}"#,
    ),
    (
        "code_interpreter_call",
        r#"{"type":"code_interpreter_call","id":"ci_1","status":"completed","code":"1+1","container_id":"cntr_1","outputs":[{"type":"logs","logs":"2"}]}"#,
    ),
    (
        "image_generation_call",
        r#"{"type":"image_generation_call","id":"ig_1","status":"completed","revised_prompt":"a cat","result":"AA==","size":"1024x1024"}"#,
    ),
    (
        "program",
        r#"{"type":"program","id":"prog_1","call_id":"c","code":"f()","fingerprint":"abc"}"#,
    ),
    (
        "program_output",
        r#"{"type":"program_output","id":"po_1","call_id":"c","status":"completed","result":"1"}"#,
    ),
    (
        "mcp_list_tools",
        r#"{"type":"mcp_list_tools","id":"mcpl_1","server_label":"s","tools":[{"name":"t"}]}"#,
    ),
    (
        "mcp_call",
        r#"{"type":"mcp_call","id":"mcp_1","server_label":"s","name":"t","arguments":"{}","output":"ok","status":"completed","approval_request_id":"mcpr_1","error":{"type":"x"}}"#,
    ),
    (
        "mcp_approval_request",
        r#"{"type":"mcp_approval_request","id":"mcpr_1","server_label":"s","name":"t","arguments":"{}"}"#,
    ),
    (
        "mcp_approval_response",
        r#"{"type":"mcp_approval_response","approval_request_id":"mcpr_1","approve":false,"reason":"no"}"#,
    ),
    (
        "compaction",
        r#"{"type":"compaction","id":"cmp_1","encrypted_content":"gA==","created_by":"x"}"#,
    ),
    (
        "compaction",
        r#"{"type":"compaction_summary","encrypted_content":"gA=="}"#,
    ),
    (
        "context_compaction",
        r#"{"type":"context_compaction","encrypted_content":"gA=="}"#,
    ),
    ("compaction_trigger", r#"{"type":"compaction_trigger"}"#),
    (
        "item_reference",
        r#"{"type":"item_reference","id":"msg_1"}"#,
    ),
    (
        "agent_message",
        r#"{"type":"agent_message","id":"am_1","content":[{"type":"input_text","text":"a"}],"author":"b"}"#,
    ),
    (
        "additional_tools",
        r#"{"type":"additional_tools","role":"developer","tools":[{"type":"function","name":"f"}]}"#,
    ),
    (
        "configuration_update",
        r#"{"type":"configuration_update","reasoning":{"effort":"low"}}"#,
    ),
    (
        "ghost_snapshot",
        r#"{"type":"ghost_snapshot","ghost_commit":{"id":"abc","parent":null}}"#,
    ),
];

/// The JSON without the members that are null, outside of what is kept as it came.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[test]
fn every_known_type_is_typed_and_its_json_survives() {
    for (item_type, text) in ITEMS {
        let item: ResponseItem = serde_json::from_str(text).unwrap();
        assert!(!matches!(item, ResponseItem::Unknown(_)), "{text}");
        assert_eq!(item.item_type().as_deref(), Some(*item_type), "{text}");
        let written = serde_json::to_string(&item).unwrap();
        let (before, after): (Value, Value) = (
            serde_json::from_str(text).unwrap(),
            serde_json::from_str(&written).unwrap(),
        );
        assert_eq!(after, before, "{text}");
        let again: ResponseItem = serde_json::from_str(&written).unwrap();
        assert_eq!(again, item, "{text}");
    }
}

#[test]
fn every_type_has_a_row() {
    let inventory = "message reasoning local_shell_call function_call function_call_output custom_tool_call \
        custom_tool_call_output web_search_call compaction context_compaction compaction_trigger image_generation_call \
        tool_search_call tool_search_output agent_message additional_tools configuration_update ghost_snapshot \
        apply_patch_call apply_patch_call_output code_interpreter_call computer_call computer_call_output \
        file_search_call local_shell_call_output mcp_approval_request mcp_approval_response mcp_call mcp_list_tools \
        program program_output shell_call shell_call_output item_reference";
    for item_type in inventory.split_whitespace() {
        assert!(
            ITEMS.iter().any(|(row, _)| *row == item_type),
            "{item_type}"
        );
    }
}

#[test]
fn what_has_no_typed_form_keeps_its_bytes() {
    for text in [
        r#"{"type":"hologram","id":"h_1"}"#,
        r#"{ "z" : 1.0 , "type":"hologram","a":1e2, "b":-0, "c":12345678901234567890123456789 }"#,
        r#"{"type":"hologram","text":"\u00e9\/\ud83d\ude00\ud800"}"#,
        r#"{"type":"holo\u0067ram","a":1,"a":2}"#,
        // No type, and no role that would make it a message.
        r#"{"id":"msg_1"}"#,
        r#"{"content":"hi"}"#,
        "{}",
        // No object.
        "null",
        "[ 1 ]",
        r#""message""#,
        "1e2",
        // A type, or a role, of the wrong kind.
        r#"{"type":7,"role":"user","content":"hi"}"#,
        r#"{"type":["message"]}"#,
        r#"{"role":{},"content":"hi"}"#,
        // A known type whose fields do not fit.
        r#"{"type":"message"}"#,
        r#"{"type":"message","role":"user","content":{"text" : "hi"}}"#,
        r#"{"type":"function_call","name":"f","call_id":"c"}"#,
        r#"{"type":"function_call","name":"f","arguments":{},"call_id":"c"}"#,
        r#"{"type":"function_call","name":"f","arguments":"","call_id":"c","name":"g"}"#,
        r#"{"type":"function_call_output","call_id":"c","output":null}"#,
        r#"{"type":"reasoning","summary":"because"}"#,
        r#"{"type":"reasoning","summary":[],"encrypted_content":"\ud800"}"#,
        r#"{"type":"item_reference"}"#,
        // A name that no text can hold.
        r#"{"type":"function_call","name":"f","arguments":"","call_id":"c","\ud800":1,"\udc00":2}"#,
    ] {
        let item: ResponseItem = serde_json::from_str(text).unwrap();
        assert!(matches!(item, ResponseItem::Unknown(_)), "{text}");
        assert_eq!(serde_json::to_string(&item).unwrap(), text);
    }
}

#[test]
fn deep_nesting_is_kept_too() {
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    for text in [
        format!(r#"{{"type":"hologram","a":{deep}}}"#),
        format!(r#"{{"type":"mcp_list_tools","tools":{deep}}}"#),
        format!(r#"{{"type":"mcp_list_tools","new":{deep}}}"#),
        format!(r#"{{"type":"message","role":"user","content":[{deep}]}}"#),
    ] {
        let item: ResponseItem = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&item).unwrap(), text);
    }
}

#[test]
fn a_list_of_items_keeps_the_bytes_of_the_unknown_ones() {
    let text = r#"[{"type":"compaction_trigger"},{"type" : "hologram","a":1.0}]"#;
    let items: Vec<ResponseItem> = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&items).unwrap(), text);
}

#[test]
fn an_item_is_read_from_a_parsed_value_too() {
    let item: ResponseItem =
        serde_json::from_value(json!({"role": "user", "content": "hi"})).unwrap();
    assert_eq!(item.text().as_deref(), Some("hi"));
}

#[test]
fn constructors_write_what_the_api_documents() {
    for (item, expected) in [
        (
            ResponseItem::user_text("a"),
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}),
        ),
        (
            ResponseItem::assistant_text("a"),
            json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}),
        ),
        (
            ResponseItem::system_text("a"),
            json!({"type": "message", "role": "system", "content": [{"type": "input_text", "text": "a"}]}),
        ),
        (
            ResponseItem::developer_text("a"),
            json!({"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "a"}]}),
        ),
        (
            ResponseItem::function_call_output("c", "ok"),
            json!({"type": "function_call_output", "call_id": "c", "output": "ok"}),
        ),
        (
            ResponseItem::custom_tool_call_output("c", vec![ContentPart::input_image("u")]),
            json!({"type": "custom_tool_call_output", "call_id": "c",
                "output": [{"type": "input_image", "image_url": "u"}]}),
        ),
        (
            ResponseItem::reference("msg_1"),
            json!({"type": "item_reference", "id": "msg_1"}),
        ),
        (
            ResponseItem::Reasoning(ReasoningItem::from_text("a")),
            json!({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "a"}]}),
        ),
        (
            ResponseItem::FunctionCall(FunctionCallItem::new("f", "{}", "c")),
            json!({"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}),
        ),
        (
            ResponseItem::CompactionTrigger(MarkerItem::new()),
            json!({"type": "compaction_trigger"}),
        ),
    ] {
        assert_eq!(serde_json::to_value(&item).unwrap(), expected);
        assert_eq!(
            serde_json::from_value::<ResponseItem>(expected).unwrap(),
            item
        );
    }
}

#[test]
fn ids_and_text_are_read_off_any_item() {
    for (_, text) in ITEMS {
        let (item, value): (ResponseItem, Value) = (
            serde_json::from_str(text).unwrap(),
            serde_json::from_str(text).unwrap(),
        );
        assert_eq!(item.id(), value.get("id").and_then(Value::as_str), "{text}");
        assert_eq!(
            item.call_id(),
            value.get("call_id").and_then(Value::as_str),
            "{text}"
        );
        assert_eq!(
            item.text().is_some(),
            value.get("role").is_some() && value.get("tools").is_none()
        );
    }
    let unknown: ResponseItem = serde_json::from_str(r#"{"type":"hologram","id":"h_1"}"#).unwrap();
    assert_eq!(unknown.item_type().as_deref(), Some("hologram"));
    assert_eq!(
        (unknown.id(), unknown.call_id(), unknown.text()),
        (None, None, None)
    );
}

#[test]
fn fields_without_a_name_are_read_off_items_and_parts() {
    let item: ResponseItem = serde_json::from_value(json!({"role": "user", "name": "Ada",
        "content": [{"type": "input_text", "text": "a", "cache_control": {}}, {"type": "hologram"}]}))
    .unwrap();
    let ResponseItem::Message(message) = &item else {
        panic!("{item:?}")
    };
    assert_eq!(item.extra().unwrap()["name"], "Ada");
    let parts = message.content.as_ref().unwrap().parts();
    assert_eq!(parts[0].extra().unwrap()["cache_control"], json!({}));
    assert_eq!(parts[1].extra(), None);
}

/// JSON that looks like an item often enough to get past the first checks.
fn any_json() -> impl Strategy<Value = Value> {
    const NAMES: &[&str] = &[
        "type",
        "role",
        "id",
        "content",
        "text",
        "summary",
        "name",
        "call_id",
        "arguments",
        "input",
        "output",
        "action",
        "command",
        "status",
        "result",
        "encrypted_content",
        "extra",
        "untagged",
    ];
    let types: Vec<&str> = ITEMS
        .iter()
        .map(|(item_type, _)| *item_type)
        .chain([
            "compaction_summary",
            "input_text",
            "exec",
            "search",
            "user",
            "hologram",
        ])
        .collect();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        sample::select(types).prop_map(Value::from),
        ".{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, |value| {
        prop_oneof![
            collection::vec(value.clone(), 0..4).prop_map(Value::from),
            collection::btree_map(sample::select(NAMES), value, 0..8).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_an_item_and_survives(
        mut value in any_json(),
        item_type in sample::select(ITEMS),
    ) {
        if let Some(fields) = value.as_object_mut() {
            fields.insert("type".to_owned(), item_type.0.into());
        }
        let item: ResponseItem = serde_json::from_str(&value.to_string()).unwrap();
        let written = serde_json::to_string(&item).unwrap();
        prop_assert_eq!(
            without_nulls(serde_json::from_str(&written).unwrap()),
            without_nulls(value)
        );
        prop_assert_eq!(serde_json::from_str::<ResponseItem>(&written).unwrap(), item);
    }
}

#[test]
fn items_of_recorded_streams_are_typed_and_survive() {
    let Some(folder) = env::var_os("RESPONSES_RECORDINGS") else {
        println!("skipped: RESPONSES_RECORDINGS names no folder of recorded streams");
        return;
    };
    let folder = std::path::PathBuf::from(folder).join("responses");
    let Ok(files) = fs::read_dir(folder) else {
        println!("skipped: the folder that RESPONSES_RECORDINGS names is absent");
        return;
    };
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for file in files {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sse") {
            continue;
        }
        let stream = fs::read_to_string(&path).unwrap();
        for data in stream.lines().filter_map(|line| line.strip_prefix("data:")) {
            let Ok(event) = serde_json::from_str::<Value>(data) else {
                continue;
            };
            let done = event["type"] == "response.output_item.done";
            if !done && event["type"] != "response.output_item.added" {
                continue;
            }
            let text = event["item"].to_string();
            let item: ResponseItem = serde_json::from_str(&text).unwrap();
            assert!(!matches!(item, ResponseItem::Unknown(_)), "{text}");
            let written = serde_json::to_value(&item).unwrap();
            assert_eq!(
                without_nulls(written),
                without_nulls(event["item"].clone()),
                "{text}"
            );
            let kind = if done { "done" } else { "added" };
            *counts
                .entry(format!("{kind} {}", item.item_type().unwrap()))
                .or_default() += 1;
        }
    }
    assert!(!counts.is_empty(), "the folder holds no recorded item");
    let (done, added): (Vec<_>, Vec<_>) = counts
        .iter()
        .partition(|(kind, _)| kind.starts_with("done"));
    let total = |counts: Vec<(&String, &u32)>| counts.iter().map(|(_, n)| **n).sum::<u32>();
    println!("{counts:?}: {} done, {} added", total(done), total(added));
}
