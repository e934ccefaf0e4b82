//! Whatever the chunks are.

use proptest::prelude::*;

use super::*;

#[test]
fn a_chunk_that_repeats_the_one_before_decodes_as_if_it_came_first() {
    // Every field a template may be learned from, then every change that the next chunk may show.
    let chunk = |id: &str, index: u32, field: &str, text: &str, reason: &str, rest: &str| {
        format!(
            r#"{{"id":"{id}","choices":[{{"index":{index},"delta":{{"role":"assistant","{field}":{text}}},"finish_reason":{reason}}}],"usage":null{rest}}}"#
        )
    };
    let mut chunks = Vec::new();
    for field in ["content", "reasoning_content", "reasoning", "refusal"] {
        for text in [
            r#""a""#,
            r#""""#,
            "null",
            r#""b \" \\ \n\u00e9""#,
            r#""c\ud83d""#,
            r#""d","x":"y""#,
            r#""e","content":"f""#,
            r#""\"","content":"","#,
            "\"tab\t\"",
            r#""\q""#,
            "5",
        ] {
            for rest in [
                "",
                r#","obfuscation":"xyz""#,
                r#","obfuscation":"q\"r""#,
                r#","error":"e""#,
            ] {
                chunks.push(chunk("c", 0, field, text, "null", rest));
            }
        }
        chunks.push(chunk("c", 1, field, r#""a""#, "null", ""));
        chunks.push(chunk("d", 0, field, r#""a""#, "null", ""));
        chunks.push(chunk("c", 0, field, r#""a""#, r#""stop""#, ""));
    }
    let mut pairs = 0;
    for first in &chunks {
        for second in &chunks {
            let after = |is_template_used: bool| {
                let mut dialect = ChatDialect::default();
                let mut out = Vec::new();
                let mut ends = Vec::new();
                for data in [first, second] {
                    let event = SseEvent {
                        event: None,
                        data,
                        last_event_id: "",
                    };
                    match dialect.on_event(event, &mut out) {
                        Step::End(terminal) => ends.push(line(&terminal.into())),
                        Step::Finishing { .. } => ends.push("finishing".to_owned()),
                        Step::Continue | Step::Unread => {}
                    }
                    if !is_template_used {
                        dialect.template = Template::default();
                    }
                }
                (
                    out.iter().map(line).collect::<Vec<_>>(),
                    ends,
                    dialect.answer.anomalies,
                )
            };
            assert_eq!(after(true), after(false), "{first}\n{second}");
            pairs += 1;
        }
    }
    assert!(pairs > 30_000, "{pairs}");
}

proptest! {
    #[test]
    fn any_text_arrives_whole_in_any_pieces(pieces in proptest::collection::vec(".{0,12}", 0..20), is_reasoning: bool) {
        let mut dialect = ChatDialect::default();
        let mut out = Vec::new();
        let field = if is_reasoning { "reasoning_content" } else { "content" };
        let chunks = pieces.iter().map(|piece| delta(json!({field: piece}))).chain([end("stop")]);
        for data in chunks {
            dialect.on_event(SseEvent { event: None, data: &data, last_event_id: "" }, &mut out);
        }
        let end = dialect.finish(&mut out);
        prop_assert!(matches!(end, Terminal::Completed(_)));
        let whole = pieces.concat();
        let deltas: String = out
            .iter()
            .map(|event| match event {
                ResponseEvent::OutputTextDelta(text) => text.delta.as_str(),
                ResponseEvent::ReasoningContentDelta(text) => text.delta.as_str(),
                _ => "",
            })
            .collect();
        prop_assert_eq!(&deltas, &whole);
        if let Some(ResponseEvent::OutputItemDone(done)) = out.last() {
            let item = done.raw().to_value();
            prop_assert_eq!(item["content"][0]["text"].as_str(), Some(&*whole));
        } else {
            prop_assert_eq!(whole, "");
        }
        prop_assert!(dialect.anomalies().is_empty());
    }

    #[test]
    fn no_data_is_too_odd(events in proptest::collection::vec(odd_data(), 0..8)) {
        let lines = decode(&events);
        let ends = lines.iter().filter(|line| ["completed", "incomplete", "failed", "at the end"].iter().any(|end| line.starts_with(end)));
        prop_assert_eq!(ends.count(), 1);
    }
}

/// Chunks with one part replaced by any JSON, chunks cut short, and any text.
fn odd_data() -> impl Strategy<Value = String> {
    let json = prop_oneof![
        Just(json!(null)),
        any::<i64>().prop_map(Value::from),
        "[a-z\"\\\\]{0,6}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{"text": "x"}, 1])),
        Just(json!({"name": "f", "arguments": {}, "text": "x"})),
    ];
    let path = proptest::sample::select(vec![
        "",
        "/id",
        "/choices",
        "/choices/0",
        "/choices/0/index",
        "/choices/0/delta",
        "/choices/0/finish_reason",
        "/choices/0/delta/content",
        "/choices/0/delta/reasoning",
        "/choices/0/delta/tool_calls",
        "/choices/0/delta/tool_calls/0",
        "/choices/0/delta/tool_calls/0/index",
        "/choices/0/delta/tool_calls/0/function",
        "/choices/0/delta/tool_calls/0/function/arguments",
        "/usage",
        "/error",
    ]);
    let chunk = (path, json).prop_map(|(path, json)| {
        let mut chunk = json!({"id": "c", "choices": [{"index": 0, "finish_reason": null, "delta": {"content": "a", "reasoning": "b",
            "tool_calls": [{"index": 0, "id": "d", "function": {"name": "f", "arguments": "{}"}}]}}], "usage": null, "error": null});
        *chunk.pointer_mut(path).expect("a path in the chunk") = json;
        chunk.to_string()
    });
    prop_oneof![
        4 => chunk.clone(),
        1 => (chunk, 0..200usize).prop_map(|(chunk, at)| chunk.chars().take(at).collect()),
        1 => ".{0,20}",
    ]
    // The helper reads what stands before a line feed as the event's name.
    .prop_map(|data: String| data.replace('\n', " "))
}
