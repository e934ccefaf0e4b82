use serde_json::{Value, json};

use super::*;
use crate::{
    protocol::{
        OutputSchema, PromptTemplate, RawJson, ReasoningOptions, ResponseItem, Tool,
        error::{ErrorKind, Phase},
    },
    wire::{ItemIds, Wire},
};

fn body(prompt: &Prompt, quirks: &Quirks) -> Value {
    serde_json::from_slice(&Wire::Responses.request_body(prompt, quirks).unwrap()).unwrap()
}

fn quirks(default_store: Option<bool>, item_ids: ItemIds) -> Quirks {
    Quirks {
        default_store,
        item_ids,
        ..Quirks::default()
    }
}

fn hello() -> Prompt {
    Prompt::new(vec![]).with_model("m")
}

fn changed(change: impl FnOnce(&mut Prompt)) -> Prompt {
    let mut prompt = hello();
    change(&mut prompt);
    prompt
}

/// The body of [`hello`] with the given fields besides.
fn hello_body(fields: Value) -> Value {
    let mut body = json!({"model": "m", "stream": true, "input": []});
    let Value::Object(fields) = fields else {
        panic!("{fields}")
    };
    body.as_object_mut().unwrap().extend(fields);
    body
}

fn items(values: Value) -> Vec<ResponseItem> {
    serde_json::from_value(values).unwrap()
}

#[test]
fn prompts_become_bodies() {
    let schema = || OutputSchema::new("answer", json!({"type": "object"}));
    for (prompt, expected) in [
        (hello(), json!({})),
        (
            hello().with_item(ResponseItem::user_text("a")),
            json!({"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}]}),
        ),
        (hello().with_instructions("i"), json!({"instructions": "i"})),
        (hello().with_instructions(""), json!({})),
        // Only the choice of a tool goes out where none are: it may be about those that the server knows of.
        (
            changed(|p| {
                p.parallel_tool_calls = Some(true);
                p.options.tool_choice = Some(json!("auto"));
            }),
            json!({"tool_choice": "auto"}),
        ),
        // A template has tools of its own, and names a model.
        (
            changed(|p| {
                p.parallel_tool_calls = Some(false);
                p.options.tool_choice = Some(json!({"type": "file_search"}));
                p.options.template = Some(PromptTemplate::new("pmpt_1"));
            }),
            json!({"prompt": {"id": "pmpt_1"}, "parallel_tool_calls": false, "tool_choice": {"type": "file_search"}}),
        ),
        (
            hello().with_template(
                PromptTemplate::new("pmpt_1")
                    .with_version("2")
                    .with_variable("city", "Oslo")
                    .with_variable("map", json!({"type": "input_image", "file_id": "f"})),
            ),
            json!({"prompt": {"id": "pmpt_1", "version": "2",
                "variables": {"city": "Oslo", "map": {"type": "input_image", "file_id": "f"}}}}),
        ),
        (
            changed(|p| {
                p.tools = vec![Tool::hosted("web_search")];
                p.parallel_tool_calls = Some(false);
                p.options.tool_choice = Some(json!({"type": "web_search"}));
            }),
            json!({"tools": [{"type": "web_search"}], "parallel_tool_calls": false, "tool_choice": {"type": "web_search"}}),
        ),
        (
            hello().with_tool(Tool::hosted("web_search")),
            json!({"tools": [{"type": "web_search"}]}),
        ),
        // `text` is there when one of its parts is.
        (
            changed(|p| p.options.verbosity = Some("low".into())),
            json!({"text": {"verbosity": "low"}}),
        ),
        (
            hello().with_output_schema(schema()),
            json!({"text": {"format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": true}}}),
        ),
        (
            changed(|p| {
                let mut schema = schema();
                schema.strict = None;
                p.output_format = Some(schema.into());
                p.options.verbosity = Some("high".into());
            }),
            json!({"text": {"verbosity": "high",
                "format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}}}}),
        ),
        (
            hello().with_output_schema(schema().with_description("What to say.")),
            json!({"text": {"format": {"type": "json_schema", "name": "answer", "description": "What to say.",
                "schema": {"type": "object"}, "strict": true}}}),
        ),
        (
            hello().with_output_format(OutputFormat::JsonObject),
            json!({"text": {"format": {"type": "json_object"}}}),
        ),
        (
            hello().with_output_format(OutputFormat::Other(json!({"type": "grammar"}).into())),
            json!({"text": {"format": {"type": "grammar"}}}),
        ),
        // Encrypted reasoning is asked for where nothing else brings reasoning back.
        (
            hello().with_reasoning_effort("low"),
            json!({"reasoning": {"effort": "low"}}),
        ),
        (
            hello().with_reasoning_effort("low").with_store(true),
            json!({"reasoning": {"effort": "low"}, "store": true}),
        ),
        (hello().with_store(false), json!({"store": false})),
        (
            hello().with_reasoning_effort("low").with_store(false),
            json!({"reasoning": {"effort": "low"}, "store": false, "include": ["reasoning.encrypted_content"]}),
        ),
        (
            changed(|p| {
                p.options.reasoning = Some(ReasoningOptions::default());
                p.options.store = Some(false);
                p.options.include = Some(vec![]);
            }),
            json!({"reasoning": {}, "store": false, "include": []}),
        ),
        (
            changed(|p| {
                let mut reasoning = ReasoningOptions::default();
                reasoning.extra.insert("new".into(), json!(1));
                reasoning.context = Some("all_turns".into());
                p.options.reasoning = Some(reasoning);
            }),
            json!({"reasoning": {"context": "all_turns", "new": 1}}),
        ),
        (
            hello().with_extra("client_metadata", json!({"a": null})),
            json!({"client_metadata": {"a": null}}),
        ),
        (
            changed(|p| p.options.temperature = Some(0.1)),
            json!({"temperature": 0.1}),
        ),
    ] {
        assert_eq!(body(&prompt, &Quirks::default()), hello_body(expected));
    }
}

#[test]
fn a_provider_can_have_another_default_for_store() {
    for (store, default_store, expected) in [
        (None, None, None),
        (None, Some(true), Some(true)),
        (None, Some(false), Some(false)),
        (Some(false), Some(true), Some(false)),
        (Some(true), Some(false), Some(true)),
    ] {
        let prompt = changed(|p| p.options.store = store);
        let body = body(&prompt, &quirks(default_store, ItemIds::default()));
        assert_eq!(body.get("store").and_then(Value::as_bool), expected);
    }
}

/// Each option set, so that every field is written.
fn full_prompt() -> Prompt {
    changed(|p| {
        p.instructions = Some("i".into());
        p.tools = vec![Tool::hosted("web_search")];
        p.parallel_tool_calls = Some(true);
        p.output_format = Some(OutputFormat::JsonObject);
        let options = &mut p.options;
        options.template = Some(PromptTemplate::new("pmpt_1"));
        options.reasoning = Some(ReasoningOptions::default());
        options.verbosity = Some("low".into());
        options.include = Some(vec![]);
        options.store = Some(true);
        options.previous_response_id = Some("resp_1".into());
        options.conversation = Some("conv_1".into());
        options.prompt_cache_key = Some("k".into());
        options.prompt_cache_retention = Some("24h".into());
        options.service_tier = Some("flex".into());
        options.max_output_tokens = Some(16);
        options.max_tool_calls = Some(1);
        options.temperature = Some(1.0);
        options.top_p = Some(0.5);
        options.top_logprobs = Some(2);
        options.tool_choice = Some(json!("auto"));
        options.background = Some(false);
        options.truncation = Some("auto".into());
        options.stream_options = Some(json!({}));
        options.metadata = Some([("a".to_owned(), "b".to_owned())].into());
        options.safety_identifier = Some("s".into());
        options.user = Some("u".into());
    })
}

#[test]
fn every_field_that_is_written_is_refused_in_extra() {
    let prompt = full_prompt();
    let written = body(&prompt, &Quirks::default());
    let written = written.as_object().unwrap();
    assert_eq!(written.len(), 28, "{written:?}");
    for name in written.keys() {
        let error = Wire::Responses
            .request_body(&hello().with_extra(name, 1), &Quirks::default())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert_eq!(
            error.message(),
            format!("`extra` holds `{name}`, which has a field of its own")
        );
    }
    let compaction = CompactionInput::from_prompt(&prompt);
    let compaction = compaction_body(&compaction, &Quirks::default()).unwrap();
    let written: Map<String, Value> = serde_json::from_slice(&compaction).unwrap();
    assert_eq!(written.len(), 11, "{written:?}");
    for name in written.keys() {
        let mut input = CompactionInput::new("m", vec![]);
        input.extra.insert(name.clone(), json!(1));
        let error = compaction_body(&input, &Quirks::default()).unwrap_err();
        assert!(error.message().contains(name), "{error}");
    }
}

#[test]
fn a_template_takes_the_place_of_a_model() {
    let template = json!({"id": "pmpt_1"});
    for prompt in [
        Prompt::new(vec![]).with_template(PromptTemplate::new("pmpt_1")),
        Prompt::new(vec![])
            .with_template(PromptTemplate::new("pmpt_1"))
            .with_model(" "),
    ] {
        assert_eq!(
            body(&prompt, &Quirks::default()),
            json!({"stream": true, "prompt": template, "input": []})
        );
    }
}

#[test]
fn what_cannot_be_sent_is_refused() {
    for (prompt, message) in [
        (Prompt::user("a"), "no model is named"),
        (Prompt::user("a").with_model(" "), "no model is named"),
        (
            changed(|p| p.options.temperature = Some(f64::NAN)),
            "`temperature` is not a finite number",
        ),
        (
            changed(|p| p.options.top_p = Some(f64::INFINITY)),
            "`top_p` is not a finite number",
        ),
    ] {
        let error = Wire::Responses
            .request_body(&prompt, &Quirks::default())
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::InvalidConfiguration, message)
        );
        assert_eq!(error.details().phase, Some(Phase::Prepare));
    }
    let error = compaction_body(&CompactionInput::default(), &Quirks::default()).unwrap_err();
    assert_eq!(error.message(), "no model is named");
}

#[test]
fn ids_are_left_out_when_nothing_is_stored() {
    let conversation = json!([
        {"type": "message", "id": "msg_1", "role": "assistant", "content": "a"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA=="},
        {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "b"}]},
        {"type": "reasoning", "id": "rs_3", "summary": [{"type": "summary_text", "text": "c"}], "content": [], "new": null},
        {"type": "reasoning", "id": "rs_4", "summary": [], "signature": "s"},
        {"type": "function_call", "id": "fc_1", "name": "f", "arguments": "{}", "call_id": "c1"},
        {"type": "custom_tool_call", "id": "ctc_1", "name": "f", "input": "", "call_id": "c2"},
        {"type": "local_shell_call", "id": "lsh_1", "call_id": "c3", "action": {"type": "exec", "command": ["ls"]}},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "t", "arguments": "{}"},
        {"type": "item_reference", "id": "msg_0"},
        {"type": "hologram", "id": "h_1"},
    ]);
    let without = json!([
        {"type": "message", "role": "assistant", "content": "a"},
        {"type": "reasoning", "summary": [], "encrypted_content": "gA=="},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "b"}]},
        {"type": "reasoning", "summary": [], "signature": "s"},
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c1"},
        {"type": "custom_tool_call", "name": "f", "input": "", "call_id": "c2"},
        {"type": "local_shell_call", "call_id": "c3", "action": {"type": "exec", "command": ["ls"]}},
        {"type": "web_search_call", "status": "completed"},
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "t", "arguments": "{}"},
        {"type": "item_reference", "id": "msg_0"},
        {"type": "hologram", "id": "h_1"},
    ]);
    for (store, default_store, item_ids, sent) in [
        (None, None, ItemIds::WhenStored, &conversation),
        (Some(true), None, ItemIds::WhenStored, &conversation),
        (Some(false), None, ItemIds::WhenStored, &without),
        (None, Some(true), ItemIds::WhenStored, &conversation),
        (None, Some(false), ItemIds::WhenStored, &without),
        (Some(true), Some(false), ItemIds::WhenStored, &conversation),
        (Some(false), None, ItemIds::Always, &conversation),
        (Some(true), None, ItemIds::Never, &without),
    ] {
        let prompt = changed(|p| {
            p.input = items(conversation.clone());
            p.options.store = store;
        });
        let quirks = quirks(default_store, item_ids);
        assert_eq!(
            &body(&prompt, &quirks)["input"],
            sent,
            "{store:?} {quirks:?}"
        );
        let compaction = compaction_body(&CompactionInput::from_prompt(&prompt), &quirks).unwrap();
        let compaction: Value = serde_json::from_slice(&compaction).unwrap();
        assert_eq!(&compaction["input"], sent, "{store:?} {quirks:?}");
    }
}

#[test]
fn unknown_items_schemas_and_tools_are_sent_byte_for_byte() {
    let mut prompt = hello().with_store(false);
    let raw = |text: &str| RawJson::parse(text).unwrap();
    prompt.input = vec![ResponseItem::from_raw(raw(
        r#"{"type" : "hologram","id":1.0}"#,
    ))];
    prompt.tools = vec![Tool::from_raw(raw(r#"{"type":"function", "name":"f"}"#))];
    let schema = OutputSchema::new("a", raw(r#"{"z":{}, "a":1e2}"#));
    prompt.output_format = Some(schema.into());
    let body = Wire::Responses
        .request_body(&prompt, &Quirks::default())
        .unwrap();
    assert_eq!(
        std::str::from_utf8(&body).unwrap(),
        r#"{"model":"m","stream":true,"input":[{"type" : "hologram","id":1.0}],"#.to_owned()
            + r#""tools":[{"type":"function", "name":"f"}],"#
            + r#""text":{"format":{"type":"json_schema","name":"a","schema":{"z":{}, "a":1e2},"strict":true}},"#
            + r#""store":false}"#
    );
}

#[test]
fn a_compaction_asks_for_no_stream() {
    let input = CompactionInput::new("m", items(json!([{"role": "user", "content": "a"}])));
    let body = compaction_body(&input, &Quirks::default()).unwrap();
    assert_eq!(
        std::str::from_utf8(&body).unwrap(),
        r#"{"model":"m","input":[{"role":"user","content":"a"}]}"#
    );
}

#[test]
fn room_is_for_the_whole_body_and_little_more() {
    let code = "for row in &table {\n    total += row[\"count\"];\n}\n".repeat(20);
    let items = [
        ResponseItem::user_text(code.as_str()),
        ResponseItem::assistant_text("some words ".repeat(40)),
        ResponseItem::function_call_output("call_1", code.as_str()),
        serde_json::from_value(json!({
            "type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "why"}], "encrypted_content": "gA".repeat(900),
        }))
        .unwrap(),
        serde_json::from_value(json!({
            "type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,".to_owned() + &"iVBO".repeat(50_000)}],
        }))
        .unwrap(),
        serde_json::from_value(json!({"type": "of_tomorrow", "x": "y".repeat(5_000)})).unwrap(),
    ];
    for (at, item) in items.iter().enumerate() {
        let prompt = changed(|prompt| {
            prompt.input = vec![item.clone(); 30];
            prompt.instructions = Some("do ".repeat(1_000));
            prompt.tools = vec![Tool::from_raw(RawJson::from(
                json!({"type": "t", "x": "y".repeat(3_000)}),
            ))];
        });
        let room = room_for(&prompt.input, &prompt.tools, &prompt.instructions);
        let written = Wire::Responses
            .request_body(&prompt, &Quirks::default())
            .unwrap()
            .len();
        assert!(
            written <= room && room < written * 3 / 2 + 1_000,
            "{at}: room of {room} for {written}"
        );
    }
}
