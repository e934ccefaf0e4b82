use super::*;

#[test]
fn a_whole_completion_is_an_answer_however_it_is_wrapped() {
    let completion = json!({"id": "c", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "Hi", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"n\":1}"}}]}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2}});
    let line = completion.to_string();
    let pretty = serde_json::to_string_pretty(&completion).unwrap();
    for body in [
        line.clone(),
        pretty.clone(),
        format!("{pretty}\n"),
        format!("data: {line}\n\n"),
        format!("{line}data: [DONE]\n\n"),
        format!("{line}\ndata: [DONE]\n\n"),
        format!("{pretty}\n\ndata: [DONE]\n\n"),
        format!("\u{feff}{line}"),
        format!("data: {pretty}\n\n"),
        format!("data: [{line}]\n\n"),
        format!("{{\"data\":{line}}}"),
    ] {
        let read = read(&body);
        assert_eq!(
            (read.text.as_str(), read.end().as_str()),
            ("Hi", "completed"),
            "{body}"
        );
        assert_eq!(read.names_and_arguments(), [("f", "{\"n\":1}")]);
        assert_eq!(read.models, ["m"]);
        let Some(ResponseEvent::Completed(end)) = &read.end else {
            panic!()
        };
        assert_eq!(end.token_usage.map(|usage| usage.total_tokens), Some(3));
    }
}

#[test]
fn events_without_their_empty_lines_are_events() {
    let chunks = [text("Hello"), text(" world"), end("stop")];
    let [a, b, c] = &chunks;
    for body in [
        format!("data: {a}\ndata: {b}\ndata: {c}\ndata: [DONE]\n"),
        format!("data: {a}\ndata: {b}\ndata: {c}\ndata: [DONE]"),
        format!("event: x\ndata: {a}\nevent: x\ndata: {b}\nevent: x\ndata: {c}\n\n"),
        format!("data: {a}data: {b}data: {c}\n\n"),
        format!("data: {a}{b}{c}\n\n"),
        format!("data: {a} {b}\n\ndata: {c}\r\n\r\n"),
        format!("data: data: {a}\n\ndata: {b}\ndata: {c}\n\n"),
    ] {
        let read = read(&body);
        assert_eq!(
            (read.text.as_str(), read.end().as_str()),
            ("Hello world", "completed"),
            "{body}"
        );
    }
}
