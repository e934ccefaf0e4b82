use super::*;
use crate::{
    protocol::{Content, MessageItem, ReceivedBody, ResponseItem, Tool},
    wire::Quirks,
};

fn sent(wire: Wire, prompt: &Prompt) -> String {
    let body = wire.request_body(prompt, &Quirks::default()).unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

const RESPONSES: &str = "\n{ \"bits\":-1,\"zero\":0, \"temperature\" : 1.00, \"model\":\"m\",\"x\" : [1e2,{\"b\":1,\"a\":2}], \"x\":0.1e1,\r\n\t\"input\":[{\"role\":\"user\",\"content\":\"h\\u00e9\\/\"}],\"include\":null @ }\n";
const CHAT: &str = "{\"messages\" : [{\"role\":\"user\",\"content\":\"hi\",\"z\":1,\"a\":2.50}],\"seed\":1E3,\"bits\":-1,\"zero\":0,\"model\":\"m\" @ }";

fn body(template: &str, stream: &str) -> String {
    template.replace('@', stream)
}

#[test]
fn a_body_goes_out_as_it_came_but_for_stream() {
    for (template, wire) in [(RESPONSES, Wire::Responses), (CHAT, Wire::Chat)] {
        let usage = match wire {
            Wire::Chat => ", \"stream_options\" : {\"include_usage\":true}",
            Wire::Responses => "",
        };
        for (came, expected) in [
            (
                format!(", \"stream\" : false{usage}"),
                format!(", \"stream\" : true{usage}"),
            ),
            (
                format!(", \"stream\":null{usage}"),
                format!(", \"stream\":true{usage}"),
            ),
            (
                format!(", \"stream\":false, \"\\u0073tream\": false{usage}"),
                format!(", \"stream\":true, \"\\u0073tream\": true{usage}"),
            ),
        ] {
            let prompt = Prompt::from_body(body(template, &came)).unwrap();
            assert_eq!(sent(wire, &prompt), body(template, &expected));
            assert_eq!(sent(wire, &prompt.clone()), body(template, &expected));
        }
        let without = Prompt::from_body(body(template, usage)).unwrap();
        let all = body(template, usage);
        let end = all.rfind('}').unwrap();
        assert_eq!(
            sent(wire, &without),
            format!("{},\"stream\":true{}", &all[..end], &all[end..])
        );
        // One that needs no change is not even copied.
        let bytes = Bytes::from(body(template, &format!(",\"stream\":true{usage}")));
        let prompt = Prompt::from_body(bytes.clone()).unwrap();
        let sent = wire.request_body(&prompt, &Quirks::default()).unwrap();
        assert_eq!(sent.as_ptr(), bytes.as_ptr());
    }
    assert_eq!(
        sent(Wire::Responses, &Prompt::from_body("{ }").unwrap()),
        "{ \"stream\":true}"
    );
}

#[test]
fn chat_is_asked_for_usage_where_its_body_leaves_that_open() {
    for (came, expected) in [
        (
            "",
            ",\"stream\":true,\"stream_options\":{\"include_usage\":true}",
        ),
        (
            ",\"stream_options\":null",
            ",\"stream_options\":{\"include_usage\":true},\"stream\":true",
        ),
        (
            ",\"stream_options\":{ }",
            ",\"stream_options\":{ \"include_usage\":true},\"stream\":true",
        ),
        (
            ",\"stream_options\":{\"a\":1}",
            ",\"stream_options\":{\"a\":1,\"include_usage\":true},\"stream\":true",
        ),
        (
            ",\"stream\":false,\"stream_options\":{\"include_usage\":false}",
            ",\"stream\":true,\"stream_options\":{\"include_usage\":false}",
        ),
    ] {
        let start = "{\"model\":\"m\",\"messages\":[]";
        let prompt = Prompt::from_body(format!("{start}{came}}}")).unwrap();
        assert_eq!(sent(Wire::Chat, &prompt), format!("{start}{expected}}}"));
        let quirks = Quirks {
            no_usage_request: true,
            ..Quirks::default()
        };
        let as_it_is = Wire::Chat.request_body(&prompt, &quirks).unwrap();
        let options = came
            .find(",\"stream_options\"")
            .map_or("", |at| &came[at..]);
        assert!(String::from_utf8_lossy(&as_it_is).contains(options));
    }
}

fn message_of(prompt: &mut Prompt) -> &mut MessageItem {
    match &mut prompt.input[..] {
        [ResponseItem::Message(message)] => message,
        input => panic!("{input:?}"),
    }
}

#[test]
fn a_change_is_sent_and_nothing_old_is() {
    for (template, wire) in [(RESPONSES, Wire::Responses), (CHAT, Wire::Chat)] {
        let came = body(
            template,
            ",\"stream\":true,\"stream_options\":{\"include_usage\":true}",
        );
        let prompt = Prompt::from_body(came.clone()).unwrap();
        // Of the model alone in its place.
        let renamed = prompt.clone().with_model("n\"2");
        assert_eq!(
            sent(wire, &renamed),
            came.replace("\"model\":\"m\"", "\"model\":\"n\\\"2\"")
        );
        type Change = fn(&mut Prompt);
        let changes: [Change; 12] = [
            |prompt| prompt.options.temperature = Some(0.5),
            |prompt| prompt.options.store = Some(false),
            |prompt| prompt.instructions = Some(String::new()),
            |prompt| prompt.tools = vec![Tool::hosted("web_search")],
            |prompt| prompt.input.clear(),
            |prompt| prompt.input.push(ResponseItem::user_text("")),
            // In place, and as long as before.
            |prompt| {
                let message = message_of(prompt);
                let Some(Content::Text(text)) = &mut message.content else {
                    panic!("{message:?}");
                };
                text.make_ascii_uppercase();
            },
            |prompt| message_of(prompt).phase = Some("commentary".to_owned()),
            // Numbers of other kinds with the same bits.
            |prompt| prompt.options.extra["bits"] = u64::MAX.into(),
            |prompt| prompt.options.extra["zero"] = 0.0.into(),
            |prompt| prompt.options.extra.clear(),
            |prompt| prompt.options.metadata = Some([("k".to_owned(), "v".to_owned())].into()),
        ];
        for change in changes {
            let mut changed = prompt.clone();
            change(&mut changed);
            let mut written = changed.clone();
            written.received = ReceivedBody::default();
            assert_eq!(sent(wire, &changed), sent(wire, &written));
            assert_ne!(sent(wire, &changed), came);
            // And when it is taken back the body is right again.
            changed = prompt.clone();
            assert_eq!(sent(wire, &changed), came);
        }
    }
    // Over the other wire there is no such body.
    let prompt = Prompt::from_body(body(CHAT, "")).unwrap();
    let sent: serde_json::Value = serde_json::from_str(&sent(Wire::Responses, &prompt)).unwrap();
    assert_eq!(sent["input"][0]["content"], "hi");
}

#[test]
fn what_asks_chat_for_usage_is_no_word_of_the_responses_api() {
    for (options, sent) in [
        (r#"{"include_usage":true}"#, None),
        (
            r#"{"include_usage":false,"include_obfuscation":false}"#,
            Some(serde_json::json!({"include_obfuscation": false})),
        ),
    ] {
        let body = format!(r#"{{"model":"a","messages":[],"stream_options":{options}}}"#);
        let prompt = Prompt::from_body(body).unwrap();
        let body = Wire::Responses.request_body(&prompt, &Quirks::default());
        let body: serde_json::Value = serde_json::from_slice(&body.unwrap()).unwrap();
        assert_eq!(body.get("stream_options").cloned(), sent);
    }
}

#[test]
fn half_a_character_goes_out_as_it_came_and_is_a_sign_elsewhere() {
    let half = "cut \\uD83d";
    for (wire, other, body) in [
        (
            Wire::Responses,
            Wire::Chat,
            format!(r#"{{"model":"m","input":"{half}","instructions":"{half}","stream":true}}"#),
        ),
        (
            Wire::Responses,
            Wire::Chat,
            format!(
                r#"{{"model":"m","input":[{{"role":"user","content":"{half}"}}],"user":"{half}","z{half}":1,"stream":true}}"#
            ),
        ),
        (
            Wire::Chat,
            Wire::Responses,
            format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"{half}"}}],"zz":["{half}"],"stream":true,"stream_options":{{"include_usage":true}}}}"#
            ),
        ),
    ] {
        let prompt = Prompt::from_body(body.clone()).unwrap();
        assert_eq!(sent(wire, &prompt), body);
        let renamed = body.replace("\"m\"", "\"n\"");
        assert_eq!(sent(wire, &prompt.clone().with_model("n")), renamed);
        let over = sent(other, &prompt);
        assert!(over.contains("cut \u{fffd}") && !over.contains("uD83d"));
        let text = serde_json::to_string(&prompt).unwrap();
        assert!(text.contains("cut \u{fffd}"));
    }
    let read: Prompt =
        serde_json::from_str(&format!(r#"{{"model":"m","input":"{half}"}}"#)).unwrap();
    assert_eq!(read.input, [ResponseItem::user_text("cut \u{fffd}")]);
    // Two halves are whole, and a backslash before them is another text.
    for (spelled, meant) in [(r"\ud83D\uDe00", "😀"), (r"\\ud83d", r"\ud83d")] {
        let body = format!(r#"{{"model":"m","input":"{spelled}"}}"#);
        let prompt = Prompt::from_body(body).unwrap();
        assert_eq!(prompt.input, [ResponseItem::user_text(meant)]);
    }
}

#[test]
fn what_no_field_can_hold_goes_out_as_it_came_or_is_refused_by_name() {
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    for value in ["1e400", r#"{"a":[1e400]}"#, &deep] {
        let usage = r#""stream_options":{"include_usage":true}"#;
        for (wire, other, body, named) in [
            (
                Wire::Responses,
                Wire::Chat,
                format!(r#"{{"model":"m","input":"a","zz":{value},"stream":true}}"#),
                "zz",
            ),
            (
                Wire::Chat,
                Wire::Responses,
                format!(r#"{{"model":"m","messages":[],"zz":{value},"stream":true,{usage}}}"#),
                "zz",
            ),
            (
                Wire::Chat,
                Wire::Responses,
                format!(
                    r#"{{"model":"m","messages":[{{"role":"user","content":"a","zz":{value}}}],"stream":true,{usage}}}"#
                ),
                "messages[0]",
            ),
        ] {
            let prompt = Prompt::from_body(body.clone()).unwrap();
            assert_eq!(sent(wire, &prompt), body);
            let changed = prompt.clone().with_instructions("other");
            let elsewhere = prompt.for_another_server().unwrap();
            for refused in [
                other.request_body(&prompt, &Quirks::default()),
                wire.request_body(&changed, &Quirks::default()),
                other.request_body(&elsewhere, &Quirks::default()),
            ] {
                let error = refused.unwrap_err();
                assert_eq!(error.details().param.as_deref(), Some(named), "{error}");
            }
            assert!(serde_json::to_string(&prompt).is_err());
            if wire == Wire::Responses {
                assert!(serde_json::from_str::<Prompt>(&body).is_err());
            }
        }
        let compaction = format!(r#"{{"model":"m","input":"a","zz":{value}}}"#);
        let mut input = CompactionInput::from_body(compaction.clone()).unwrap();
        let as_sent = Wire::Responses.compaction_body(&input, &Quirks::default());
        assert_eq!(as_sent.unwrap(), compaction);
        input.instructions = Some("other".to_owned());
        assert!(
            Wire::Responses
                .compaction_body(&input, &Quirks::default())
                .is_err()
        );
    }
    // What is not sent without a model is not sent as it came, either.
    for compaction in [r#"{"input":"a"}"#, r#"{"model":null,"input":"a"}"#] {
        let input = CompactionInput::from_body(compaction).unwrap();
        let refused = Wire::Responses.compaction_body(&input, &Quirks::default());
        let kind = refused.unwrap_err().kind();
        assert_eq!(kind, crate::ErrorKind::InvalidConfiguration, "{compaction}");
    }
    // So deep that a walk by calls would end the thread: a bound on values is met first, and no stack.
    let depth = 100_000;
    let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let body = format!(r#"{{"model":"m","input":"a","stream":true,"zz":{deep}}}"#);
    let prompt = Prompt::from_body(body.clone()).unwrap();
    assert_eq!(sent(Wire::Responses, &prompt), body);
    let deep = deep.replace('[', "[[[").replace(']', "]]]");
    let error =
        Prompt::from_body(format!(r#"{{"model":"m","input":"a","zz":{deep}}}"#)).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::TooLarge);
}
