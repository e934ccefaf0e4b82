use proptest::prelude::*;

use super::*;
use crate::wire::{
    Wire,
    equivalence::{self, mutate, mutation, parsed},
};

/// Decoding gives what each event says whose parsed JSON alone counts: no chunk is a template for another.
fn check(body: &[u8], chunk_bytes: usize) {
    let forget = |dialect: &mut ChatDialect| dialect.template.forget();
    let parsed = parsed(ChatDialect::new(StreamLimits::default()), forget, body);
    equivalence::check(Wire::Chat, body, chunk_bytes, &parsed);
}

/// A dialect that has read a chunk.
fn learned(data: &str) -> ChatDialect {
    let mut dialect = ChatDialect::new(StreamLimits::default());
    let event = SseEvent {
        event: None,
        data,
        last_event_id: "",
    };
    dialect.on_event(event, &mut Vec::new());
    dialect
}

/// The text of a chunk, if it repeats the template.
fn text_of(dialect: &mut ChatDialect, data: &str) -> Option<String> {
    let mut out = Vec::new();
    let taken = dialect.repeat(data.as_bytes(), Form::Data, &mut out)?;
    assert_eq!(taken, data.len());
    match &out[..] {
        [ResponseEvent::OutputTextDelta(event)] => Some(event.delta.to_string()),
        [ResponseEvent::ReasoningContentDelta(event)] => Some(event.delta.to_string()),
        _ => panic!("{out:?}"),
    }
}

fn block(text: &str, padding: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}],\"usage\":null,\"obfuscation\":\"{padding}\"}}\n\n"
    )
}

#[test]
fn a_chunk_that_differs_in_its_text_and_padding_only_is_read() {
    let chunk = |text: &str, padding: &str| {
        format!(
            r#"{{"id":"c","choices":[{{"index":2,"delta":{{"content":"{text}"}},"finish_reason":null}}],"usage":null,"obfuscation":"{padding}"}}"#
        )
    };
    let mut template = learned(&chunk("Hello", "x"));
    assert_eq!(template.template.target.choice_index, 2);
    for (written, text) in [
        ("a", "a"),
        (" you", " you"),
        (r#"\n\"é"#, "\n\"é"),
        ("{}", "{}"),
    ] {
        let data = chunk(written, "longer");
        assert_eq!(
            text_of(&mut template, &data).as_deref(),
            Some(text),
            "{data}"
        );
    }
}

#[test]
fn reasoning_is_read_too() {
    let chunk = |text: &str| {
        format!(r#"{{"choices":[{{"delta":{{"content":null,"reasoning_content":"{text}"}}}}]}}"#)
    };
    let mut template = learned(&chunk("a"));
    assert!(template.template.target.is_reasoning);
    assert_eq!(text_of(&mut template, &chunk("b")).as_deref(), Some("b"));
}

#[test]
fn whatever_differs_elsewhere_is_left_to_the_parser() {
    let chunk = r#"{"id":"c","choices":[{"delta":{"content":"a"}}],"obfuscation":"x"}"#;
    let mut template = learned(chunk);
    assert_eq!(text_of(&mut template, chunk).as_deref(), Some("a"));
    for (from, to) in [
        (r#""c""#, r#""d""#),
        (r#":"a""#, r#":"""#),
        (r#":"a""#, r#":"a","content":"b""#),
        (r#":"a""#, r#":"\ud83d""#),
        (r#":"a""#, r#":"\q""#),
        (r#":"a""#, ":\"\t\""),
        (r#":"a""#, ":null"),
        (r#":"x""#, r#":"x","usage":{}"#),
        (r#":"x""#, r#":"\q""#),
        (r#":"x"}"#, r#":"x""#),
        (r#":"x"}"#, r#":"x\"}"#),
        (r#":"x"}"#, r#":"x"} "#),
        (r#"{"id"#, r#" {"id"#),
    ] {
        let other = chunk.replace(from, to);
        assert_ne!(other, chunk);
        assert_eq!(text_of(&mut template, &other), None, "{other}");
    }
}

#[test]
fn only_a_chunk_with_one_text_and_nothing_else_is_learned() {
    for chunk in [
        r#"{"choices":[]}"#,
        r#"{"choices":[{"delta":{"content":""}}]}"#,
        r#"{"choices":[{"delta":{"content":"a","reasoning":"b"}}]}"#,
        r#"{"choices":[{"delta":{"content":"a","refusal":"b"}}]}"#,
        r#"{"choices":[{"delta":{"content":"a","tool_calls":[{"function":{"name":"f"}}]}}]}"#,
        r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"delta":{"content":"a"},"logprobs":{}}]}"#,
        r#"{"choices":[{"delta":{"content":"a"}}],"usage":{}}"#,
        r#"{"choices":[{"delta":{"content":"a"}},{"index":1,"delta":{"content":"a"}}]}"#,
        r#"{"choices":[{"delta":{"content":"a","content":"b"}}]}"#,
        r#"{"choices":[{"d\u0065lta":{},"delta":{"content":"a"}}]}"#,
    ] {
        let text = text_of(&mut learned(chunk), chunk);
        assert_eq!(text, None, "{chunk}");
    }
}

#[test]
fn padding_may_come_before_the_text_and_the_text_may_have_escapes() {
    for chunk in [
        r#"{"obfuscation":"x","choices":[{"delta":{"content":"a"}}]}"#,
        r#"{"choices":[{"delta":{"content":"a\n"}}]}"#,
    ] {
        assert!(text_of(&mut learned(chunk), chunk).is_some(), "{chunk}");
    }
}

#[test]
fn every_chunk_decodes_alike_after_every_other() {
    let plain = block("a", "x");
    let mut blocks = vec![
        plain.clone(),
        block("b", ""),
        block("", "x"),
        block(r"\n\u00e9", "é"),
        block(r"\ud83d", "x"),
        block("a", r"\q"),
        block("a", r"\n"),
        ": comment\n\n".to_owned(),
        "\n".to_owned(),
        "id: 1\n\n".to_owned(),
        "data: {}\n\n".to_owned(),
    ];
    for (from, to) in [
        ("data: ", "data:"),
        ("data: ", "data:  "),
        ("data: ", "event: error\ndata: "),
        ("data: ", "event: x\ndata: "),
        ("\n\n", "\r\n\r\n"),
        ("\n\n", "\r\r"),
        ("\n\n", "\nid: 1\n\n"),
        (",\"usage\"", "\ndata: ,\"usage\""),
        (",\"usage\"", "\n,\"usage\""),
        ("null}]", "\"stop\"}]"),
        ("null}]", "\"length\"}]"),
        ("index\":0", "index\":1"),
        ("content", "reasoning"),
        ("\"c\"", "\"d\""),
        ("usage\":null", "usage\":{\"total_tokens\":1}"),
    ] {
        blocks.push(plain.replace(from, to));
    }
    for first in &blocks {
        for second in &blocks {
            let body = [&plain, first, second, first, second, second]
                .map(|block| &**block)
                .concat();
            check(body.as_bytes(), 100);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn damaged_chunks_decode_alike(
        blocks in proptest::collection::vec(
            (
                prop_oneof![4 => "[ -~é世]{0,6}", 1 => "(\\PC|\\\\[nu\"\\\\])*"],
                "[a-z]{0,9}",
                prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(mutation(), 1..3)],
            ),
            1..8,
        ),
        has_crlf: bool,
        chunk_bytes in 1usize..600,
    ) {
        let mut body = Vec::new();
        for (text, padding, mutations) in &blocks {
            let mut block = block(text, padding);
            if has_crlf {
                block = block.replace('\n', "\r\n");
            }
            let mut block = block.into_bytes();
            mutations.iter().for_each(|mutation| mutate(&mut block, mutation));
            body.extend(block);
        }
        check(&body, chunk_bytes);
    }
}
