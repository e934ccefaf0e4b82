use std::collections::BTreeMap;

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    ErrorKind,
    protocol::{OutputSchema, PromptTemplate, ReasoningOptions},
    wire::{Quirks, Wire},
};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn extra() -> impl Strategy<Value = Map<String, Value>> {
    btree_map("x-[a-z\"\\\\é]{0,4}", value(), 0..3).prop_map(|map| map.into_iter().collect())
}

fn some_text() -> impl Strategy<Value = Option<String>> {
    option::of(any::<String>())
}

fn item() -> impl Strategy<Value = ResponseItem> {
    let items = [
        json!({"role": "user", "content": "short form"}),
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a", "x": 1.5},
            {"type": "input_image", "image_url": "u"}, {"type": "new_part", "n": [null]}]}),
        json!({"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "b",
            "annotations": [], "logprobs": []}], "status": "completed"}),
        json!({"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "e", "x": {}}),
        json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{", "x": 1}),
        json!({"type": "function_call_output", "call_id": "c", "output": "o"}),
        json!({"type": "item_of_tomorrow", "b": 1e300, "a": [1, {}]}),
    ];
    let typed = select(items.to_vec()).prop_map(|item| ResponseItem::from_raw(item.into()));
    let raw = r#"{"type":"item_of_tomorrow" , "b":1.0, "a":1,"b":2e0}"#;
    prop_oneof![
        typed,
        any::<String>().prop_map(ResponseItem::user_text),
        any::<String>().prop_map(ResponseItem::assistant_text),
        Just(ResponseItem::from_raw(RawJson::parse(raw).unwrap())),
    ]
}

fn format() -> impl Strategy<Value = OutputFormat> {
    let schema = RawJson::parse(r#"{"z":{}, "a":{"b":1.0}}"#).unwrap();
    let schema = (any::<String>(), some_text(), option::of(any::<bool>())).prop_map(
        move |(name, description, strict)| {
            let mut made = OutputSchema::new(name, schema.clone());
            (made.description, made.strict) = (description, strict);
            OutputFormat::from(made)
        },
    );
    let other = [
        json!({"type": "grammar", "g": 1}),
        json!({"type": "json_object", "x": 1}),
        json!({"type": "json_schema", "name": "n", "schema": {}, "x": null}),
        json!({"type": "text"}),
    ];
    prop_oneof![
        Just(OutputFormat::JsonObject),
        schema,
        select(other.to_vec()).prop_map(|other| OutputFormat::Other(other.into())),
    ]
}

fn options() -> impl Strategy<Value = RequestOptions> {
    let texts = vec(some_text(), 10);
    let counts = (
        option::of(any::<u64>()),
        option::of(any::<u64>()),
        option::of(any::<u32>()),
    );
    let share = || option::of(any::<f64>().prop_filter("finite", |number| number.is_finite()));
    let flags = (option::of(any::<bool>()), option::of(any::<bool>()));
    let reasoning = (some_text(), some_text(), some_text(), extra());
    let template = (any::<String>(), some_text(), extra(), extra());
    let lists = (
        option::of(vec(any::<String>(), 0..3)),
        option::of(btree_map(any::<String>(), any::<String>(), 0..3)),
    );
    let value = || option::of(value().prop_filter("null is none", |value| !value.is_null()));
    let values = (value(), value(), extra(), extra());
    let all = (
        texts,
        counts,
        share(),
        share(),
        flags,
        option::of(reasoning),
        option::of(template),
        lists,
        values,
    );
    all.prop_map(
        |(texts, counts, temperature, top_p, flags, reasoning, template, lists, values)| {
            let mut texts = texts.into_iter();
            let mut text = || texts.next().unwrap();
            let metadata: Option<BTreeMap<_, _>> = lists.1;
            RequestOptions {
                model: text(),
                template: template.map(|(id, version, variables, extra)| {
                    let mut template = PromptTemplate::new(id);
                    (template.version, template.variables, template.extra) =
                        (version, variables, extra);
                    template
                }),
                reasoning: reasoning.map(|(effort, summary, context, extra)| ReasoningOptions {
                    effort,
                    summary,
                    context,
                    extra,
                }),
                verbosity: text(),
                text_extra: values.2,
                include: lists.0,
                store: flags.0,
                previous_response_id: text(),
                conversation: text(),
                prompt_cache_key: text(),
                prompt_cache_retention: text(),
                service_tier: text(),
                max_output_tokens: counts.0,
                max_tool_calls: counts.1,
                temperature,
                top_p,
                top_logprobs: counts.2,
                tool_choice: values.0,
                background: flags.1,
                truncation: text(),
                stream_options: values.1,
                metadata,
                safety_identifier: text(),
                user: text(),
                extra: values.3,
            }
        },
    )
}

fn any_prompt() -> impl Strategy<Value = Prompt> {
    let tools = [
        r#"{"type":"function","name":"f","parameters":{"z":1.0, "a":{}}}"#,
        r#"{"type":"web_search"}"#,
        "[]",
    ];
    let tool =
        select(tools.to_vec()).prop_map(|tool| Tool::from_raw(RawJson::parse(tool).unwrap()));
    let parts = (
        some_text(),
        vec(item(), 0..4),
        vec(tool, 0..3),
        option::of(any::<bool>()),
        option::of(format()),
        options(),
    );
    parts.prop_map(
        |(instructions, input, tools, parallel_tool_calls, output_format, options)| Prompt {
            instructions,
            input,
            tools,
            parallel_tool_calls,
            output_format,
            options,
            ..Prompt::default()
        },
    )
}

proptest! {
    #[test]
    fn a_prompt_is_written_and_read_back_equal(prompt in any_prompt()) {
        let json = serde_json::to_string(&prompt).unwrap();
        let read: Prompt = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&read, &prompt);
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), json.clone());
        let received = Prompt::from_body(json.clone()).unwrap();
        prop_assert_eq!(&received, &prompt);
        let sent = Wire::Responses.request_body(&received, &Quirks::default()).unwrap();
        let end = format!("{},\"stream\":true}}", &json[..json.len() - 1]);
        prop_assert_eq!(sent, end);
    }
}

#[test]
fn every_form_that_a_client_may_write_is_understood() {
    let prompt: Prompt = serde_json::from_value(json!({"input": "hi", "tools": null, "temperature": null, "text": null,
        "conversation": {"id": "conv_1"}, "prompt": {"id": "p", "variables": null}, "stream": false, "reasoning": {"effort": null}}))
    .unwrap();
    let expected = Prompt::user("hi")
        .with_conversation("conv_1")
        .with_template(PromptTemplate::new("p"))
        .with_reasoning(ReasoningOptions::default());
    assert_eq!(prompt, expected);
    // A name that is written with escapes, and twice: the last counts.
    let prompt: Prompt = serde_json::from_str(r#"{"model":"a","\u006dodel":"b"}"#).unwrap();
    assert_eq!(prompt, Prompt::default().with_model("b"));
}

#[test]
fn what_is_wrong_is_named_with_a_way_out() {
    for (body, param, said) in [
        ("", None, "no JSON object"),
        ("[1]", None, "no object"),
        ("{} {}", None, "no JSON object"),
        (r#"{"input":1}"#, Some("input"), "`input`"),
        (
            r#"{"model":1}"#,
            Some("model"),
            "invalid type: integer `1`, expected a string",
        ),
        (
            r#"{"input":"a","temperature":"warm"}"#,
            Some("temperature"),
            "leave it out",
        ),
        (r#"{"stream":"yes"}"#, Some("stream"), "expected a boolean"),
        (
            r#"{"text":{"verbosity":[]}}"#,
            Some("text.verbosity"),
            "`text.verbosity`",
        ),
        (r#"{"text":1}"#, Some("text"), "no object"),
        (
            r#"{"reasoning":{"effort":1}}"#,
            Some("reasoning"),
            "`reasoning`",
        ),
    ] {
        let error = Prompt::from_body(body).unwrap_err();
        assert_eq!(
            (error.kind(), error.details().param.as_deref()),
            (ErrorKind::InvalidRequest, param),
            "{body}"
        );
        assert!(error.message().contains(said), "{error}");
        let error = serde_json::from_str::<Prompt>(body)
            .unwrap_err()
            .to_string();
        assert!(param.is_none() || error.contains(said), "{error}");
    }
    assert_eq!(
        Prompt::from_body(&b"{\"a\":\"\xff\"}"[..])
            .unwrap_err()
            .kind(),
        ErrorKind::InvalidRequest
    );
    // What its own field says can't be written twice, nor a number that JSON has no form for.
    for prompt in [
        Prompt::user("a").with_extra("model", 1),
        Prompt::user("a").with_temperature(f64::NAN),
    ] {
        assert!(serde_json::to_string(&prompt).is_err());
    }
}

#[test]
fn a_body_of_too_many_values_is_refused_before_they_are_made() {
    let many = vec!["{}"; RawJson::MAX_TREE_BYTES / 1024 + 1].join(",");
    for (body, name) in [
        (format!(r#"{{"input":[{many}]}}"#), "input"),
        (format!(r#"{{"tools":[{many}]}}"#), "tools"),
        (format!(r#"{{"messages":[{many}]}}"#), "messages"),
        (format!(r#"{{"x":[{many}]}}"#), "x"),
        (
            format!(r#"{{"input":"a","metadata":[{many}]}}"#),
            "metadata",
        ),
    ] {
        let error = Prompt::from_body(body).unwrap_err();
        assert_eq!(
            (error.kind(), error.details().param.as_deref()),
            (ErrorKind::TooLarge, Some(name))
        );
        assert!(
            error.message().contains("RawJson::MAX_TREE_BYTES"),
            "{error}"
        );
    }
    // The length of its texts is the caller's to bound.
    let long = format!(r#"{{"input":"{}"}}"#, "a".repeat(30 << 20));
    assert_eq!(Prompt::from_body(long).unwrap().input.len(), 1);
}
