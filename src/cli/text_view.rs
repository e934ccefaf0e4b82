//! Events as a person reads them: the answer on stdout, everything else on stderr.

use std::collections::HashSet;

use actix_responses::protocol::{
    Id, Incomplete, OutputItem, ResponseEvent, ResponseItem, StreamAnomalies, TokenUsage,
};

use super::{
    console::{Page, Target, complaint, printable},
    secrets::Secrets,
};

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";
/// How much of a tool call is shown, in characters.
const MAX_CALL_CHARS: usize = 300;

/// Which of the two outputs are terminals. Both are then taken for the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terminals {
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

/// Turns events into output.
///
/// Stdout gets the text of the answer, refusals included, and nothing else: messages begin on lines of their own, and the
/// last line is ended. Stderr gets what ended badly; where it is a terminal also reasoning, tool calls and the tokens.
pub(super) struct TextView {
    terminals: Terminals,
    secrets: Secrets,
    /// Stdout is inside of a line.
    is_text_open: bool,
    cursor: Cursor,
    /// The message that the last piece of text belonged to.
    message: Option<MessageKey>,
    streamed: Streamed,
}

/// Where the terminal's cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cursor {
    LineStart,
    InAnswer,
    InReasoning,
}

type MessageKey = (Option<Id>, Option<u32>);

/// Which messages have come in pieces, so that they are not shown again when they are whole. Servers exist that send whole
/// messages only.
#[derive(Default)]
struct Streamed {
    item_ids: HashSet<Id>,
    output_indexes: HashSet<u32>,
    nameless: bool,
}

impl Streamed {
    fn insert(&mut self, (item_id, output_index): &MessageKey) {
        self.item_ids.extend(item_id.clone());
        self.output_indexes.extend(*output_index);
        self.nameless |= item_id.is_none() && output_index.is_none();
    }

    fn contains(&self, (item_id, output_index): &MessageKey) -> bool {
        self.nameless
            || item_id
                .as_ref()
                .is_some_and(|id| self.item_ids.contains(id))
            || output_index.is_some_and(|index| self.output_indexes.contains(&index))
    }
}

impl TextView {
    pub(super) fn new(terminals: Terminals, secrets: Secrets) -> Self {
        Self {
            terminals,
            secrets,
            is_text_open: false,
            cursor: Cursor::LineStart,
            message: None,
            streamed: Streamed::default(),
        }
    }

    /// Whether a line may be drawn on the terminal now and erased again.
    pub(super) fn has_room_for_status(&self) -> bool {
        self.terminals.stderr && self.cursor == Cursor::LineStart
    }

    pub(super) fn render(&mut self, event: &ResponseEvent, page: &mut Page) {
        match event {
            ResponseEvent::OutputTextDelta(text) => {
                let key = (text.item_id.clone(), text.output_index);
                self.text(&text.delta, key, page);
            }
            ResponseEvent::RefusalDelta(text) => {
                let key = (text.item_id.clone(), text.output_index);
                self.text(&text.delta, key, page);
            }
            ResponseEvent::ReasoningSummaryDelta(text) => self.reasoning(&text.delta, page),
            ResponseEvent::ReasoningContentDelta(text) => self.reasoning(&text.delta, page),
            ResponseEvent::OutputItemDone(item) => self.item(item, page),
            ResponseEvent::Restarted(restarted) => {
                self.end_text(page);
                self.message = None;
                self.streamed = Streamed::default();
                let reason = printable(&self.secrets.hide(&restarted.error.to_string()));
                let note = format!(
                    "-- restarted: {reason}; what came before is void, attempt {} begins --",
                    restarted.attempt
                );
                self.note(&note, page);
            }
            ResponseEvent::Completed(completed) => {
                self.end_text(page);
                self.anomalies(&completed.anomalies, page);
                self.usage(completed.token_usage.as_ref(), page);
            }
            ResponseEvent::Incomplete(incomplete) => {
                self.end_text(page);
                self.complain(&incomplete_report(incomplete), page);
                self.anomalies(&incomplete.anomalies, page);
                self.usage(incomplete.token_usage.as_ref(), page);
            }
            ResponseEvent::Failed(error) => {
                self.end_text(page);
                self.complain(&error.report(), page);
            }
            ResponseEvent::Cancelled => self.end_text(page),
            _ => {}
        }
        // The shell's prompt comes behind it.
        if event.is_final() {
            self.end_line(page);
        }
    }

    fn text(&mut self, text: &str, key: MessageKey, page: &mut Page) {
        if text.is_empty() {
            return;
        }
        self.streamed.insert(&key);
        if self.message.as_ref().is_some_and(|message| *message != key) {
            self.end_text(page);
        }
        self.message = Some(key);
        if self.cursor == Cursor::InReasoning {
            self.end_line(page);
        }
        self.is_text_open = !text.ends_with('\n');
        if self.terminals.stdout {
            self.cursor = match self.is_text_open {
                true => Cursor::InAnswer,
                false => Cursor::LineStart,
            };
            page.push(Target::Stdout, printable(text));
        } else {
            page.push(Target::Stdout, text);
        }
    }

    /// Ends the line on stdout.
    fn end_text(&mut self, page: &mut Page) {
        if std::mem::take(&mut self.is_text_open) {
            page.push(Target::Stdout, "\n");
            if self.terminals.stdout {
                self.cursor = Cursor::LineStart;
            }
        }
    }

    /// Goes to the start of a line of the terminal, without a trace on stdout.
    fn end_line(&mut self, page: &mut Page) {
        if self.cursor != Cursor::LineStart {
            self.cursor = Cursor::LineStart;
            page.push(Target::Stderr, "\n");
        }
    }

    fn reasoning(&mut self, text: &str, page: &mut Page) {
        if !self.terminals.stderr || text.is_empty() {
            return;
        }
        if self.cursor == Cursor::InAnswer {
            self.end_line(page);
        }
        page.push(Target::Stderr, format!("{DIM}{}{PLAIN}", printable(text)));
        self.cursor = match text.ends_with('\n') {
            true => Cursor::LineStart,
            false => Cursor::InReasoning,
        };
    }

    fn item(&mut self, item: &OutputItem, page: &mut Page) {
        match item.item() {
            ResponseItem::Message(message) => {
                let key = (message.id.as_deref().map(Id::from), item.output_index());
                if !self.streamed.contains(&key) {
                    self.text(&message.text(), key, page);
                }
            }
            other => {
                if let Some(call) = call_line(other)
                    && self.terminals.stderr
                {
                    self.note(&format!("{DIM}-- {call} --{PLAIN}"), page);
                }
            }
        }
    }

    fn usage(&mut self, usage: Option<&TokenUsage>, page: &mut Page) {
        if let Some(usage) = usage
            && self.terminals.stderr
        {
            self.note(&format!("{DIM}-- {} --{PLAIN}", usage_line(usage)), page);
        }
    }

    fn anomalies(&mut self, anomalies: &StreamAnomalies, page: &mut Page) {
        if !anomalies.is_empty() {
            self.complain(&format!("the stream was odd: {anomalies}"), page);
        }
    }

    fn complain(&mut self, message: &str, page: &mut Page) {
        self.end_line(page);
        page.push(Target::Stderr, complaint(&self.secrets.hide(message)));
    }

    /// A line of its own on stderr.
    fn note(&mut self, line: &str, page: &mut Page) {
        self.end_line(page);
        page.push(Target::Stderr, format!("{line}\n"));
    }
}

fn incomplete_report(incomplete: &Incomplete) -> String {
    let advice = match incomplete.reason.as_str() {
        "max_output_tokens" => " To try: raise --max-output-tokens.",
        _ => "",
    };
    format!(
        "the answer is incomplete, the server stopped early: {}.{advice}",
        incomplete.reason
    )
}

fn usage_line(usage: &TokenUsage) -> String {
    let parts = |parts: &[(u64, &str)]| {
        let parts: Vec<_> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        match parts.is_empty() {
            true => String::new(),
            false => format!(" ({})", parts.join(", ")),
        }
    };
    format!(
        "tokens: {} in{}, {} out{}",
        usage.input_tokens,
        parts(&[
            (usage.cached_input_tokens, "cached"),
            (usage.cache_write_tokens, "written to the cache"),
        ]),
        usage.output_tokens,
        parts(&[(usage.reasoning_output_tokens, "reasoning")]),
    )
}

/// What is called, in a line; nothing if the item is no call.
fn call_line(item: &ResponseItem) -> Option<String> {
    let call = match item {
        ResponseItem::FunctionCall(call) => format!("{}({})", call.name, call.arguments),
        ResponseItem::CustomToolCall(call) => format!("{}({})", call.name, call.input),
        other => other.item_type().filter(|name| name.ends_with("_call"))?,
    };
    let words: Vec<_> = call.split_whitespace().collect();
    let mut line = words.join(" ");
    if let Some((end, _)) = line.char_indices().nth(MAX_CALL_CHARS) {
        line.truncate(end);
        line.push('\u{2026}');
    }
    Some(format!("tool call: {}", printable(&line)))
}

#[cfg(test)]
mod tests {
    use actix_responses::{
        protocol::RawJson,
        wire::{StreamDecoder, Wire},
    };

    use super::*;

    const BOTH: Terminals = Terminals {
        stdout: true,
        stderr: true,
    };

    /// The events of a stream of such data.
    fn events(data: &[&str]) -> Vec<ResponseEvent> {
        let body: String = data
            .iter()
            .map(|data| format!("data: {data}\n\n"))
            .collect();
        let mut events = Vec::new();
        let mut decoder = StreamDecoder::new(Wire::Responses, Default::default());
        let terminal = decoder.feed(body.as_bytes(), &mut events);
        events.extend(terminal.map(ResponseEvent::from));
        events
    }

    fn shown(terminals: Terminals, data: &[&str]) -> Page {
        let mut view = TextView::new(terminals, Secrets::new(["sk-secret".to_owned()]));
        let mut page = Page::default();
        for event in events(data) {
            view.render(&event, &mut page);
        }
        page
    }

    const TEXT: &str = r#"{"type":"response.output_text.delta","item_id":"m1","output_index":1,"content_index":0,"delta":"one"}"#;
    const OTHER_TEXT: &str = r#"{"type":"response.output_text.delta","item_id":"m2","output_index":2,"content_index":0,"delta":"two\n"}"#;
    const REFUSAL: &str = r#"{"type":"response.refusal.delta","item_id":"m1","output_index":1,"content_index":1,"delta":", no"}"#;
    const REASONING: &str = r#"{"type":"response.reasoning_text.delta","item_id":"r","output_index":0,"content_index":0,"delta":"hm\u001b"}"#;
    const CALL: &str = r#"{"type":"response.output_item.done","output_index":3,"item":{"type":"function_call","name":"f","arguments":"{\n}","call_id":"c"}}"#;
    const MESSAGE: &str = r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"message","id":"m1","role":"assistant","content":[{"type":"output_text","text":"one"}]}}"#;
    const COMPLETED: &str = r#"{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":3,"output_tokens":2}}}"#;

    #[test]
    fn stdout_is_the_text_of_the_answer_alone() {
        for (data, text) in [
            (vec![TEXT, TEXT, COMPLETED], "oneone\n"),
            (vec![TEXT, REFUSAL, MESSAGE, COMPLETED], "one, no\n"),
            (vec![TEXT, OTHER_TEXT, COMPLETED], "one\ntwo\n"),
            (vec![REASONING, CALL, COMPLETED], ""),
            (vec![MESSAGE, COMPLETED], "one\n"),
        ] {
            let page = shown(Terminals::default(), &data);
            assert_eq!(page.on(Target::Stdout), text, "{data:?}");
            assert_eq!(page.on(Target::Stderr), "", "{data:?}");
        }
    }

    #[test]
    fn a_terminal_shows_reasoning_calls_and_tokens_on_lines_of_their_own() {
        let data = [REASONING, TEXT, CALL, TEXT, REASONING, TEXT, COMPLETED];
        let stderr_alone = Terminals {
            stderr: true,
            ..Terminals::default()
        };
        let page = shown(stderr_alone, &data);
        let reasoning = "\x1b[2mhm\u{FFFD}\x1b[0m\n";
        let call = "\x1b[2m-- tool call: f({ }) --\x1b[0m\n";
        let tokens = "\x1b[2m-- tokens: 3 in, 2 out --\x1b[0m\n";
        let expected = format!("{reasoning}{call}{reasoning}{tokens}");
        assert_eq!(page.on(Target::Stderr), expected);
        assert_eq!(page.on(Target::Stdout), "oneoneone\n");

        let page = shown(BOTH, &data);
        let expected = format!("{reasoning}\n{call}\n{reasoning}{tokens}");
        assert_eq!(page.on(Target::Stderr), expected);
        assert_eq!(page.on(Target::Stdout), "oneoneone\n");
    }

    #[test]
    fn the_end_leaves_the_cursor_at_the_start_of_a_line() {
        let without_usage = r#"{"type":"response.completed","response":{}}"#;
        for data in [
            [TEXT, REASONING, without_usage],
            [REASONING, CALL, without_usage],
        ] {
            let mut view = TextView::new(BOTH, Secrets::default());
            for event in events(&data) {
                view.render(&event, &mut Page::default());
            }
            assert_eq!(view.cursor, Cursor::LineStart, "{data:?}");
        }
        let mut view = TextView::new(BOTH, Secrets::default());
        let mut page = Page::default();
        view.render(&events(&[REASONING])[0], &mut page);
        view.render(&ResponseEvent::Cancelled, &mut page);
        assert!(page.on(Target::Stderr).ends_with("\x1b[0m\n"), "{page:?}");
    }

    #[test]
    fn a_key_that_the_server_repeats_is_hidden() {
        let failed = r#"{"type":"error","message":"wrong key sk-secret","code":"server_error"}"#;
        let page = shown(Terminals::default(), &[TEXT, failed]);
        let complaint = page.on(Target::Stderr);
        assert!(complaint.contains("wrong key [redacted]"), "{complaint}");
        assert_eq!(page.on(Target::Stdout), "one\n");
    }

    #[test]
    fn a_long_call_is_cut() {
        let arguments = "é".repeat(1_000);
        let call = serde_json::json!({"type": "function_call", "name": "f", "arguments": arguments, "call_id": "c"});
        let item = OutputItem::new(None, RawJson::from(call));
        let line = call_line(item.item()).unwrap();
        assert_eq!(
            line.chars().count(),
            "tool call: ".len() + MAX_CALL_CHARS + 1
        );
    }

    #[test]
    fn an_incomplete_answer_says_why() {
        let incomplete = r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"}}}"#;
        let page = shown(Terminals::default(), &[TEXT, incomplete]);
        let complaint = page.on(Target::Stderr);
        assert!(
            complaint.contains("max_output_tokens. To try: raise --max-output-tokens."),
            "{complaint}"
        );
    }
}
