use std::collections::BTreeSet;

use super::*;
use crate::{
    ErrorKind,
    protocol::{PromptTemplate, RawJson, ResponseEvent, ResponseItem, Tool},
    sse::SseEvent,
    wire::{Dialect, Wire, chat::ChatDialect},
};

fn body_with(prompt: &Prompt, quirks: &Quirks) -> Value {
    serde_json::from_slice(&Wire::Chat.request_body(prompt, quirks).unwrap()).unwrap()
}

fn body(prompt: &Prompt) -> Value {
    body_with(prompt, &Quirks::default())
}

fn prompt(items: Value) -> Prompt {
    let items: Vec<ResponseItem> = serde_json::from_value(items).unwrap();
    Prompt::new(items).with_model("m")
}

fn messages_of(items: Value) -> Value {
    body(&prompt(items))["messages"].take()
}

fn refusal(prompt: &Prompt) -> String {
    let error = Wire::Chat
        .request_body(prompt, &Quirks::default())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    error.message().to_owned()
}

fn changed(change: impl FnOnce(&mut Prompt)) -> Prompt {
    let mut prompt = prompt(json!([]));
    change(&mut prompt);
    prompt
}

#[test]
fn a_plain_question_is_a_short_body() {
    let bytes = Wire::Chat
        .request_body(
            &Prompt::user("Hi")
                .with_model("m")
                .with_instructions("Be brief."),
            &Quirks::default(),
        )
        .unwrap();
    assert_eq!(
        std::str::from_utf8(&bytes).unwrap(),
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}]}"#
    );
}

#[test]
fn options_are_written_under_chats_names() {
    let cases = [
        (
            changed(|p| p.options.max_output_tokens = Some(9)),
            json!({"max_completion_tokens": 9}),
        ),
        (
            prompt(json!([]))
                .with_reasoning_effort("low")
                .with_reasoning_summary("auto"),
            json!({"reasoning_effort": "low"}),
        ),
        (
            changed(|p| p.options.verbosity = Some("low".into())),
            json!({"verbosity": "low"}),
        ),
        (
            changed(|p| p.options.temperature = Some(0.5)),
            json!({"temperature": 0.5}),
        ),
        (
            changed(|p| p.options.top_p = Some(0.25)),
            json!({"top_p": 0.25}),
        ),
        (
            changed(|p| p.options.top_logprobs = Some(2)),
            json!({"logprobs": true, "top_logprobs": 2}),
        ),
        (
            changed(|p| p.options.include = Some(vec![INCLUDE_LOGPROBS.into()])),
            json!({"logprobs": true}),
        ),
        (
            changed(|p| p.options.store = Some(false)),
            json!({"store": false}),
        ),
        (
            changed(|p| p.options.service_tier = Some("flex".into())),
            json!({"service_tier": "flex"}),
        ),
        (
            changed(|p| p.options.metadata = Some([("a".into(), "b".into())].into())),
            json!({"metadata": {"a": "b"}}),
        ),
        (
            changed(|p| p.options.user = Some("u".into())),
            json!({"user": "u"}),
        ),
        (
            changed(|p| p.options.safety_identifier = Some("u".into())),
            json!({"safety_identifier": "u"}),
        ),
        (
            changed(|p| p.options.prompt_cache_key = Some("k".into())),
            json!({"prompt_cache_key": "k"}),
        ),
        (
            changed(|p| p.options.stream_options = Some(json!({"include_obfuscation": false}))),
            json!({"stream_options": {"include_obfuscation": false, "include_usage": true}}),
        ),
        (
            changed(|p| p.options.truncation = Some("auto".into())),
            json!({}),
        ),
        // Only the choice of a tool goes out where none are: it may be about those that the server knows of.
        (
            changed(|p| {
                p.parallel_tool_calls = Some(true);
                p.options.tool_choice = Some(json!("none"));
            }),
            json!({"tool_choice": "none"}),
        ),
        (
            changed(|p| p.options.tool_choice = Some(json!({"type": "function", "name": "f"}))),
            json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ),
        (
            prompt(json!([])).with_output_format(OutputFormat::JsonObject),
            json!({"response_format": {"type": "json_object"}}),
        ),
        (
            prompt(json!([])).with_output_format(OutputFormat::Other(
                json!({"type": "regex", "regex": "a+"}).into(),
            )),
            json!({"response_format": {"type": "regex", "regex": "a+"}}),
        ),
        (prompt(json!([])).with_extra("seed", 7), json!({"seed": 7})),
    ];
    for (prompt, fields) in cases {
        let mut expected = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}, "messages": []});
        let Value::Object(fields) = fields else {
            panic!("{fields}")
        };
        expected.as_object_mut().unwrap().extend(fields);
        assert_eq!(body(&prompt), expected);
    }
}

#[test]
fn quirks_change_names_and_leave_things_out() {
    let quirks = Quirks {
        has_max_tokens: true,
        no_usage_request: true,
        has_developer_role: true,
        ..Quirks::default()
    };
    let mut prompt = prompt(json!([{"role": "developer", "content": "a"}]));
    prompt.options.max_output_tokens = Some(9);
    assert_eq!(
        body_with(&prompt, &quirks),
        json!({"model": "m", "stream": true, "max_tokens": 9, "messages": [{"role": "developer", "content": "a"}]})
    );
    assert_eq!(body(&prompt)["messages"][0]["role"], "system");
}

#[test]
fn a_schema_becomes_a_response_format_with_its_order() {
    let schema = RawJson::parse(r#"{"properties": {"z":{}, "a":{}}}"#).unwrap();
    let schema = OutputSchema::new("answer", schema).with_description("What to say.");
    let prompt = prompt(json!([])).with_output_schema(schema);
    let bytes = Wire::Chat
        .request_body(&prompt, &Quirks::default())
        .unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    let expected = r#""response_format":{"type":"json_schema","json_schema":{"name":"answer","description":"What to say.","schema":{"properties": {"z":{}, "a":{}}},"strict":true}}"#;
    assert!(text.contains(expected), "{text}");
}

#[test]
fn tools_and_the_choice_of_one_are_nested() {
    let cases = [
        (
            r#"{"type":"function","name":"f","description":"d","parameters":{"z":1, "a":2},"strict":true}"#,
            r#"{"type":"function","function":{"name":"f","description":"d","parameters":{"z":1, "a":2},"strict":true}}"#,
        ),
        (
            r#"{"type":"function","name":"f","strict":null,"cache_control":{}}"#,
            r#"{"type":"function","function":{"name":"f"},"cache_control":{}}"#,
        ),
        (
            r#"{"type":"function","function":{"name":"f"}}"#,
            r#"{"type":"function","function":{"name":"f"}}"#,
        ),
        (
            r#"{"type":"custom","name":"c","format":{"type":"grammar","syntax":"lark","definition":"x"}}"#,
            r#"{"type":"custom","custom":{"name":"c","format":{"grammar":{"definition":"x","syntax":"lark"},"type":"grammar"}}}"#,
        ),
        (
            r#"{"type":"custom","name":"c","format":{"type":"text"}}"#,
            r#"{"type":"custom","custom":{"name":"c","format":{"type":"text"}}}"#,
        ),
        (
            r#"{"type": "browser_search"}"#,
            r#"{"type": "browser_search"}"#,
        ),
    ];
    for (tool, expected) in cases {
        assert_eq!(chat_tool(&RawJson::parse(tool).unwrap()).get(), expected);
    }
    let choices = [
        (json!("required"), json!("required")),
        (
            json!({"type": "function", "name": "f"}),
            json!({"type": "function", "function": {"name": "f"}}),
        ),
        (
            json!({"type": "custom", "name": "c"}),
            json!({"type": "custom", "custom": {"name": "c"}}),
        ),
        (
            json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}),
            json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}}),
        ),
        (
            json!({"type": "function", "function": {"name": "f"}}),
            json!({"type": "function", "function": {"name": "f"}}),
        ),
    ];
    for (choice, expected) in choices {
        let mut prompt = prompt(json!([])).with_tool(Tool::hosted("x"));
        prompt.parallel_tool_calls = Some(false);
        prompt.options.tool_choice = Some(choice);
        let body = body(&prompt);
        assert_eq!(body["tool_choice"], expected);
        assert_eq!(body["parallel_tool_calls"], false);
    }
}

#[test]
fn one_text_is_a_string_and_everything_else_is_parts() {
    assert_eq!(
        messages_of(json!([
            {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
            {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}]},
            {"role": "user", "content": []},
            {"role": "user", "content": [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "image_url": "data:x", "detail": "low"},
                {"type": "input_image", "image_url": "https://a.example/i"},
                {"type": "input_file", "file_id": "file_1"},
                {"type": "input_file", "file_data": "data:y", "filename": "y.pdf"},
                {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]},
        ])),
        json!([
            {"role": "user", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "ab"},
            {"role": "user", "content": ""},
            {"role": "user", "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://a.example/i"}},
                {"type": "file", "file": {"file_id": "file_1"}},
                {"type": "file", "file": {"file_data": "data:y", "filename": "y.pdf"}},
                {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]},
        ])
    );
}

fn call(id: &str) -> Value {
    json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{ }"})
}

fn chat_call(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{ }"}})
}

fn output(id: &str) -> Value {
    json!({"type": "function_call_output", "call_id": id, "output": "ok"})
}

fn chat_output(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": "ok"})
}

fn answer(text: &str) -> Value {
    json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})
}

#[test]
fn consecutive_calls_share_a_message_with_the_text_around_them() {
    assert_eq!(
        messages_of(json!([
            answer("one"),
            answer("two"),
            call("a"),
            call("b"),
            answer("three"),
            output("a"),
            output("b"),
            call("c"),
            output("c"),
            answer("end"),
        ])),
        json!([
            {"role": "assistant", "content": "one"},
            {"role": "assistant", "content": "two\nthree", "tool_calls": [chat_call("a"), chat_call("b")]},
            chat_output("a"), chat_output("b"),
            {"role": "assistant", "content": null, "tool_calls": [chat_call("c")]},
            chat_output("c"),
            {"role": "assistant", "content": "end"},
        ])
    );
}

#[test]
fn an_output_follows_the_message_of_its_call() {
    assert_eq!(
        messages_of(json!([
            call("a"), call("b"), output("b"), {"role": "user", "content": "wait"}, output("a"), output("lost"),
        ])),
        json!([
            {"role": "assistant", "content": null, "tool_calls": [chat_call("a"), chat_call("b")]},
            chat_output("b"), chat_output("a"),
            {"role": "user", "content": "wait"},
            chat_output("lost"),
        ])
    );
}

#[test]
fn outputs_follow_in_the_order_in_which_they_came() {
    let tool = || json!({"type": "message", "role": "tool", "content": "own"});
    let user = || json!({"type": "message", "role": "user", "content": "wait"});
    let of_tool = || json!({"role": "tool", "content": "own"});
    let calls = |ids: &[&str]| {
        let calls: Vec<_> = ids.iter().map(|id| chat_call(id)).collect();
        json!({"role": "assistant", "content": null, "tool_calls": calls})
    };
    let said = || json!({"role": "user", "content": "wait"});
    for (items, expected) in [
        // Without its call it stays where it is, and those of calls before it go behind it.
        (
            json!([
                call("a"),
                output("lost"),
                output("a"),
                tool(),
                output("a"),
                user(),
                output("a")
            ]),
            json!([
                calls(&["a"]),
                chat_output("lost"),
                chat_output("a"),
                of_tool(),
                chat_output("a"),
                chat_output("a"),
                said()
            ]),
        ),
        (
            json!([output("lost"), tool(), output("late"), call("late")]),
            json!([
                chat_output("lost"),
                of_tool(),
                chat_output("late"),
                calls(&["late"])
            ]),
        ),
        (
            json!([user(), tool(), call("a")]),
            json!([said(), of_tool(), calls(&["a"])]),
        ),
        // Of several calls with one id the last is meant.
        (
            json!([call("a"), user(), call("a"), user(), output("a")]),
            json!([
                calls(&["a"]),
                said(),
                calls(&["a"]),
                chat_output("a"),
                said()
            ]),
        ),
        // What the model says behind an output is another message.
        (
            json!([
                call("a"),
                output("a"),
                answer("x"),
                tool(),
                answer("y"),
                call("b")
            ]),
            json!([
                calls(&["a"]), chat_output("a"), {"role": "assistant", "content": "x"}, of_tool(),
                {"role": "assistant", "content": "y", "tool_calls": [chat_call("b")]},
            ]),
        ),
    ] {
        assert_eq!(messages_of(items.clone()), expected, "{items}");
    }
}

/// Nothing is looked for in, or moved behind, what there is: else these would take minutes.
#[test]
fn as_many_outputs_as_may_be_find_their_calls() {
    const COUNT: usize = 20_000;
    let ids: Vec<_> = (0..COUNT).map(|number| format!("call_{number}")).collect();
    let lost: Vec<_> = ids.iter().map(|id| output(id)).collect();
    let expected: Vec<_> = ids.iter().map(|id| chat_output(id)).collect();
    assert_eq!(
        messages_of(lost.clone().into()),
        Value::from(expected.clone())
    );
    let together = ids.iter().map(|id| call(id)).chain(lost.clone());
    let found = messages_of(together.collect());
    assert_eq!(found.as_array().expect("messages")[1..], expected);
    let user = json!({"type": "message", "role": "user", "content": "wait"});
    let apart = ids.iter().flat_map(|id| [call(id), user.clone()]);
    let found = messages_of(apart.chain(lost).collect());
    let found = found.as_array().expect("messages");
    assert_eq!(found.len(), COUNT * 3);
    for (messages, output) in found.chunks(3).zip(&expected) {
        assert_eq!(messages[1], *output);
    }
}

#[test]
fn custom_calls_and_outputs_with_parts_have_their_forms() {
    assert_eq!(
        messages_of(json!([
            {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": "***"},
            {"type": "function_call", "call_id": "b", "name": "f", "arguments": ""},
            {"type": "custom_tool_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "x"}, {"type": "input_text", "text": "y"}]},
            {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": "u"}]},
        ])),
        json!([
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "***"}},
                {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "x\ny"},
            {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "u"}}]},
        ])
    );
}

#[test]
fn a_refusal_goes_back_as_one() {
    assert_eq!(
        messages_of(
            json!([{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}])
        ),
        json!([{"role": "assistant", "content": null, "refusal": "no"}])
    );
}

#[test]
fn reasoning_is_replayed_only_where_asked_and_only_for_this_turn() {
    let reasoning = |text: &str| json!({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}]});
    let summary = json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]});
    let prompt = prompt(json!([
        {"role": "user", "content": "q1"}, reasoning("old"), answer("a1"),
        {"role": "user", "content": "q2"}, reasoning("r1"), answer("a2"), call("a"), reasoning("r2"), call("b"),
        output("a"), output("b"), summary, call("c"), output("c"), reasoning("r3"), answer("a3"), reasoning("r4"),
    ]));
    let expected = |with_reasoning: bool| {
        let mut messages = json!([
            {"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}, {"role": "user", "content": "q2"},
            {"role": "assistant", "content": "a2", "tool_calls": [chat_call("a"), chat_call("b")]},
            chat_output("a"), chat_output("b"),
            {"role": "assistant", "content": null, "tool_calls": [chat_call("c")]},
            chat_output("c"), {"role": "assistant", "content": "a3"},
        ]);
        if with_reasoning {
            messages[3]["reasoning_content"] = json!("r1\nr2");
            messages[6]["reasoning_content"] = json!("s");
            messages[8]["reasoning_content"] = json!("r3\nr4");
        }
        messages
    };
    assert_eq!(body(&prompt)["messages"], expected(false));
    let quirks = Quirks {
        reasoning_field: Some("reasoning_content".into()),
        ..Quirks::default()
    };
    assert_eq!(body_with(&prompt, &quirks)["messages"], expected(true));
}

#[test]
fn records_of_the_servers_tools_are_left_out() {
    for kind in [
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_list_tools",
        "mcp_call",
        "ghost_snapshot",
    ] {
        let messages = messages_of(json!([{"type": kind, "id": "x"}, answer("a")]));
        assert_eq!(messages.as_array().unwrap().len(), 1, "{kind}");
    }
}

#[test]
fn what_has_no_chat_form_is_refused_by_name() {
    let items = [
        (
            json!({"type": "compaction", "encrypted_content": "x"}),
            "`compaction`",
        ),
        (
            json!({"type": "item_reference", "id": "x"}),
            "`item_reference`",
        ),
        (
            json!({"type": "local_shell_call", "action": {"type": "exec", "command": []}}),
            "`local_shell_call`",
        ),
        (
            json!({"type": "shell_call", "call_id": "x"}),
            "`shell_call`",
        ),
        (json!({"type": "brand_new"}), "`brand_new`"),
        (
            json!({"type": "function_call_output", "output": "x"}),
            "which call",
        ),
        (
            json!({"role": "user", "content": [{"type": "hologram"}]}),
            "`hologram`",
        ),
        (
            json!({"role": "assistant", "content": [{"type": "input_image", "image_url": "u"}]}),
            "`input_image`",
        ),
        (
            json!({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}),
            "`image_url`",
        ),
        (
            json!({"role": "user", "content": [{"type": "input_file", "file_url": "f"}]}),
            "`file_url`",
        ),
        (
            json!({"role": "user", "content": [{"type": "input_audio", "audio_url": "f"}]}),
            "`input_audio`",
        ),
        (
            json!({"role": "user", "content": [{"type": "input_text", "text": 1}]}),
            "`input_text` can't be read",
        ),
        (
            json!({"role": "assistant", "content": [{"type": "refusal"}]}),
            "`refusal` can't be read",
        ),
        (
            json!({"type": "function_call", "name": "f"}),
            "`function_call` can't be read",
        ),
        (
            json!({"role": "user", "content": 1}),
            "`message` can't be read",
        ),
    ];
    for (item, named) in items {
        let message = refusal(&prompt(json!([item])));
        assert!(message.contains(named), "{message}");
    }
    let prompts = [
        (changed(|p| p.options.model = None), "model"),
        (changed(|p| p.options.model = Some(" ".into())), "model"),
        (
            changed(|p| p.options.previous_response_id = Some("x".into())),
            "`previous_response_id`",
        ),
        (
            changed(|p| p.options.conversation = Some("x".into())),
            "`conversation`",
        ),
        (
            changed(|p| p.options.background = Some(true)),
            "`background`",
        ),
        (
            Prompt::new(vec![]).with_template(PromptTemplate::new("pmpt_1")),
            "`prompt`",
        ),
        (
            changed(|p| p.options.temperature = Some(f64::NAN)),
            "`temperature`",
        ),
        (
            changed(|p| {
                p.options
                    .reasoning
                    .get_or_insert_default()
                    .extra
                    .insert("budget".into(), json!(1));
            }),
            "`reasoning.budget`",
        ),
    ];
    for (prompt, named) in prompts {
        let message = refusal(&prompt);
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn every_field_that_may_be_written_is_refused_in_extra() {
    let mut prompt = prompt(json!([])).with_tool(Tool::hosted("a"));
    prompt.parallel_tool_calls = Some(true);
    prompt.output_format = Some(OutputFormat::JsonObject);
    let options = &mut prompt.options;
    options.reasoning.get_or_insert_default().effort = Some("low".into());
    options.verbosity = Some("low".into());
    options.store = Some(true);
    options.prompt_cache_key = Some("k".into());
    options.prompt_cache_retention = Some("24h".into());
    options.service_tier = Some("flex".into());
    options.max_output_tokens = Some(16);
    options.temperature = Some(1.0);
    options.top_p = Some(0.5);
    options.top_logprobs = Some(2);
    options.tool_choice = Some(json!("auto"));
    options.metadata = Some([("a".to_owned(), "b".to_owned())].into());
    options.safety_identifier = Some("s".into());
    options.user = Some("u".into());
    let mut written = BTreeSet::new();
    for has_max_tokens in [true, false] {
        let quirks = Quirks {
            has_max_tokens,
            ..Quirks::default()
        };
        let body = body_with(&prompt, &quirks);
        written.extend(body.as_object().unwrap().keys().cloned());
    }
    assert_eq!(written.len(), 23, "{written:?}");
    for name in &written {
        let message = refusal(&Prompt::user("a").with_model("m").with_extra(name, 1));
        assert_eq!(
            message,
            format!("`extra` holds `{name}`, which has a field of its own")
        );
    }
}

#[test]
fn what_the_decoder_gives_can_be_sent_back() {
    let chunk = json!({"id": "c", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": "Hi", "reasoning_content": "hm",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{ }"}}]}}]})
    .to_string();
    let mut out = Vec::new();
    let mut dialect = ChatDialect::default();
    dialect.on_event(
        SseEvent {
            event: None,
            data: &chunk,
            last_event_id: "",
        },
        &mut out,
    );
    dialect.finish(&mut out);
    let items: Vec<_> = out
        .iter()
        .filter_map(|event| match event {
            ResponseEvent::OutputItemDone(done) => Some(done.item().clone()),
            _ => None,
        })
        .collect();
    assert!(
        !items
            .iter()
            .any(|item| matches!(item, ResponseItem::Unknown(_))),
        "{items:?}"
    );
    let quirks = Quirks {
        reasoning_field: Some("reasoning_content".into()),
        ..Quirks::default()
    };
    assert_eq!(
        body_with(&Prompt::new(items).with_model("m"), &quirks)["messages"],
        json!([{"role": "assistant", "content": "Hi", "reasoning_content": "hm", "tool_calls": [chat_call("a")]}])
    );
}
