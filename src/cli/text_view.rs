//! Events as a person reads them: the answer on stdout, everything else on stderr.

use actix_responses::protocol::{
    Id, Incomplete, OutputItem, ResponseEvent, ResponseItem, StreamAnomalies, Text, TokenUsage,
};

use super::{
    console::{Page, Target, complaint, printable},
    secrets::Secrets,
};

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";
/// How much of a tool call is shown, in characters.
const MAX_CALL_CHARS: usize = 300;
/// How much printed text is kept, to be compared with the messages when they are done: far more than a model writes, and a bound
/// for a server that does not stop. What comes after that is printed all the same.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// Which of the two outputs are terminals. Both are then taken for the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terminals {
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

/// Turns events into output.
///
/// Stdout gets the text of the answer, refusals included, and nothing else: messages begin on lines of their own, and the
/// last line is ended. A message that is done has its text printed as far as it was not. Stderr gets what ended badly and what was
/// lost on the way; where it is a terminal also reasoning, tool calls and the tokens.
pub(super) struct TextView {
    terminals: Terminals,
    secrets: Secrets,
    /// Stdout is inside of a line.
    is_text_open: bool,
    cursor: Cursor,
    messages: Vec<PrintedMessage>,
    /// The message that the last piece of text belonged to.
    current: Option<usize>,
    since_text: SinceText,
    kept_bytes: usize,
}

/// Where the terminal's cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cursor {
    LineStart,
    InAnswer,
    InReasoning,
}

/// What has come of items since the last piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SinceText {
    Nothing,
    /// An item was done, or one that is no message was announced.
    Done,
    /// A message was announced.
    MessageAdded,
}

/// Which message a text belongs to, as far as its event says it.
#[derive(Clone, Copy)]
struct MessageKey<'a> {
    id: Option<&'a str>,
    output_index: Option<u32>,
}

/// What kind of text.
#[derive(Clone, Copy)]
enum Part {
    Text,
    Refusal,
}

/// A message as far as it was printed.
struct PrintedMessage {
    id: Option<Id>,
    output_index: Option<u32>,
    text: String,
    refusal: String,
    /// All that was printed of it is kept.
    is_kept: bool,
}

impl PrintedMessage {
    /// Some servers change ids on the way, so the place counts first.
    fn has(&self, key: MessageKey<'_>) -> bool {
        match (self.output_index, key.output_index) {
            (Some(own), Some(other)) => own == other,
            _ => self.id.is_some() && self.id.as_deref() == key.id,
        }
    }

    fn has_another_id(&self, key: MessageKey<'_>) -> bool {
        self.id.is_some() && key.id.is_some() && self.id.as_deref() != key.id
    }

    fn part(&mut self, part: Part) -> &mut String {
        match part {
            Part::Text => &mut self.text,
            Part::Refusal => &mut self.refusal,
        }
    }

    /// Whether a message that is done may be this one, by what it says.
    fn is_begin_of(&self, text: &str, refusal: &str) -> bool {
        !self.is_kept || (text.starts_with(&*self.text) && refusal.starts_with(&*self.refusal))
    }
}

impl TextView {
    pub(super) fn new(terminals: Terminals, secrets: Secrets) -> Self {
        Self {
            terminals,
            secrets,
            is_text_open: false,
            cursor: Cursor::LineStart,
            messages: Vec::new(),
            current: None,
            since_text: SinceText::Nothing,
            kept_bytes: 0,
        }
    }

    /// Whether a line may be drawn on the terminal now and erased again.
    pub(super) fn has_room_for_status(&self) -> bool {
        self.terminals.stderr && self.cursor == Cursor::LineStart
    }

    pub(super) fn render(&mut self, event: &ResponseEvent, page: &mut Page) {
        match event {
            ResponseEvent::OutputTextDelta(text) => {
                let (id, output_index) = (text.item_id.as_deref(), text.output_index);
                self.delta(
                    &text.delta,
                    Part::Text,
                    MessageKey { id, output_index },
                    page,
                );
            }
            ResponseEvent::RefusalDelta(text) => {
                let (id, output_index) = (text.item_id.as_deref(), text.output_index);
                self.delta(
                    &text.delta,
                    Part::Refusal,
                    MessageKey { id, output_index },
                    page,
                );
            }
            ResponseEvent::ReasoningSummaryDelta(text) => self.reasoning(&text.delta, page),
            ResponseEvent::ReasoningContentDelta(text) => self.reasoning(&text.delta, page),
            ResponseEvent::OutputItemAdded(item) => {
                self.has_come(match item.item() {
                    ResponseItem::Message(_) => SinceText::MessageAdded,
                    _ => SinceText::Done,
                });
            }
            ResponseEvent::OutputItemDone(item) => {
                self.item(item, page);
                self.has_come(SinceText::Done);
            }
            ResponseEvent::Restarted(restarted) => {
                self.end_text(page);
                self.messages.clear();
                self.current = None;
                self.since_text = SinceText::Nothing;
                self.kept_bytes = 0;
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
                if completed.anomalies.no_finish_reason {
                    let odd = "the server never said how the answer ended (no finish reason); it counts as whole, since the \
                         stream ended on purpose with nothing left open";
                    self.complain(odd, page);
                }
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
                let details = error.details();
                let report = error.report();
                let words = [&details.finish_reason, &details.native_finish_reason];
                let more = match own_words(words, |word| report.contains(word)) {
                    Some(words) => format!(" The server says of the end: {words}."),
                    None => String::new(),
                };
                self.complain(&(report + &more), page);
                self.usage(details.token_usage.as_ref(), page);
            }
            ResponseEvent::Cancelled => self.end_text(page),
            _ => {}
        }
        // The shell's prompt comes behind it.
        if event.is_final() {
            self.end_line(page);
        }
    }

    fn has_come(&mut self, what: SinceText) {
        self.since_text = self.since_text.max(what);
    }

    /// The printed message that is meant. One without a place may have another id in each event, so it is the last one until an item
    /// comes between.
    fn find(&self, key: MessageKey<'_>) -> Option<usize> {
        let is_new = |message: &PrintedMessage| {
            self.since_text == SinceText::MessageAdded && message.has_another_id(key)
        };
        if let Some(at) = self.messages.iter().rposition(|message| message.has(key)) {
            // Some servers give all messages one place.
            return Some(at).filter(|at| !is_new(&self.messages[*at]));
        }
        let at = self.current?;
        let message = &self.messages[at];
        let can_have = message.output_index.is_none() || key.output_index.is_none();
        let is_continued = match self.since_text {
            SinceText::Nothing => true,
            SinceText::Done => !message.has_another_id(key),
            SinceText::MessageAdded => false,
        };
        (can_have && is_continued).then_some(at)
    }

    fn found_or_new(&mut self, found: Option<usize>, key: MessageKey<'_>) -> usize {
        let at = found.unwrap_or_else(|| {
            self.messages.push(PrintedMessage {
                id: None,
                output_index: None,
                text: String::new(),
                refusal: String::new(),
                is_kept: true,
            });
            self.messages.len() - 1
        });
        let message = &mut self.messages[at];
        message.output_index = message.output_index.or(key.output_index);
        if let Some(id) = key.id
            && message.id.as_deref() != Some(id)
        {
            message.id = Some(id.into());
        }
        at
    }

    fn delta(&mut self, text: &str, part: Part, key: MessageKey<'_>, page: &mut Page) {
        if !text.is_empty() {
            let found = self.find(key);
            let at = self.found_or_new(found, key);
            self.text(text, part, at, page);
        }
    }

    /// Prints a piece of a message.
    fn text(&mut self, text: &str, part: Part, at: usize, page: &mut Page) {
        if text.is_empty() {
            return;
        }
        let message = &mut self.messages[at];
        if self.kept_bytes + text.len() > MAX_KEPT_BYTES {
            message.is_kept = false;
        } else if message.is_kept {
            message.part(part).push_str(text);
            self.kept_bytes += text.len();
        }
        if self.current.is_some_and(|current| current != at) {
            self.end_text(page);
        }
        self.current = Some(at);
        self.since_text = SinceText::Nothing;
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
                let key = MessageKey {
                    id: message.id.as_deref(),
                    output_index: item.output_index(),
                };
                let (text, refusal) = (message.text(), message.refusal());
                let found = self.find(key).filter(|at| {
                    let printed = &self.messages[*at];
                    printed.has(key) || printed.is_begin_of(&text, &refusal)
                });
                let at = self.found_or_new(found, key);
                if !self.messages[at].is_kept {
                    return;
                }
                let mut has_hole = false;
                for (part, whole) in [(Part::Text, text), (Part::Refusal, refusal)] {
                    let printed = self.messages[at].part(part);
                    match whole.strip_prefix(&**printed) {
                        Some(rest) => self.text(rest, part, at, page),
                        // Some servers trim what is done, or leave it out.
                        None => has_hole |= !printed.contains(whole.trim()),
                    }
                }
                if has_hole {
                    let hole =
                        "a part of the answer was lost on its way: the text above has a hole";
                    self.complain(hole, page);
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

    /// What was odd beside the end, which has words of its own.
    fn anomalies(&mut self, anomalies: &StreamAnomalies, page: &mut Page) {
        let mut counts = anomalies.clone();
        counts.no_finish_reason = false;
        if !counts.is_empty() {
            self.complain(&format!("the stream was odd: {counts}"), page);
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
    let reason = incomplete.reason.as_str();
    let words = [&incomplete.finish_reason, &incomplete.native_finish_reason];
    let own = match own_words(words, |word| word == reason) {
        Some(words) => format!(" (server says: {words})"),
        None => String::new(),
    };
    match reason {
        "no_finish_reason" => format!(
            "the answer is incomplete: the server never said how it ended{own}, so the rest may be missing. \
             To try: ask again."
        ),
        "max_output_tokens" => format!(
            "the answer is incomplete, the server stopped early: {reason}{own}. To try: raise --max-output-tokens."
        ),
        _ => format!("the answer is incomplete, the server stopped early: {reason}{own}."),
    }
}

/// The server's own words for the end, those left out that are known already.
fn own_words(words: [&Option<Text>; 2], is_known: impl Fn(&str) -> bool) -> Option<String> {
    let mut words: Vec<_> = words.into_iter().flatten().map(Text::as_str).collect();
    words.retain(|word| !word.is_empty() && !is_known(word));
    words.dedup();
    (!words.is_empty()).then(|| words.join(", "))
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
        protocol::{Completed, RawJson},
        wire::{StreamDecoder, Wire},
    };

    use serde_json::json;

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
        let call =
            json!({"type": "function_call", "name": "f", "arguments": arguments, "call_id": "c"});
        let item = OutputItem::new(None, RawJson::from(call));
        let line = call_line(item.item()).unwrap();
        assert_eq!(
            line.chars().count(),
            "tool call: ".len() + MAX_CALL_CHARS + 1
        );
    }

    /// A delta of a message's text.
    fn piece(index: Option<u32>, id: &str, text: &str) -> String {
        json!({"type": "response.output_text.delta", "item_id": id, "output_index": index, "delta": text})
            .to_string()
    }

    /// A message that begins (`added`) or ends (`done`).
    fn message(event: &str, index: Option<u32>, id: &str, text: &str) -> String {
        json!({"type": format!("response.output_item.{event}"), "output_index": index, "item": {"type": "message",
            "id": id, "role": "assistant", "content": [{"type": "output_text", "text": text}]}})
        .to_string()
    }

    #[test]
    fn lines_are_those_of_messages_whatever_their_ids() {
        for (of, data, text) in [
            (
                "another id in each event",
                vec![
                    message("added", Some(0), "a", ""),
                    piece(Some(0), "b", "one"),
                    piece(Some(0), "c", "two"),
                    message("done", Some(0), "d", "onetwo"),
                    message("added", Some(1), "e", ""),
                    piece(Some(1), "f", "three"),
                ],
                "onetwo\nthree\n",
            ),
            (
                "another id in each event, no places",
                vec![
                    message("added", None, "a", ""),
                    piece(None, "b", "one"),
                    piece(None, "c", "two"),
                    message("done", None, "d", "onetwo"),
                    message("added", None, "e", ""),
                    piece(None, "f", "three"),
                    message("done", None, "g", "three"),
                ],
                "onetwo\nthree\n",
            ),
            (
                "the same, never announced",
                vec![
                    piece(None, "b", "one"),
                    piece(None, "c", "two"),
                    message("done", None, "d", "onetwo"),
                    piece(None, "e", "three"),
                ],
                "onetwo\nthree\n",
            ),
            (
                "one place for all messages",
                vec![
                    message("added", Some(0), "a", ""),
                    piece(Some(0), "a", "one"),
                    message("done", Some(0), "a", "one"),
                    message("added", Some(0), "b", ""),
                    piece(Some(0), "b", "two"),
                    message("done", Some(0), "b", "two"),
                ],
                "one\ntwo\n",
            ),
            (
                "more after it was done",
                vec![
                    piece(Some(0), "a", "one"),
                    message("done", Some(0), "a", "one"),
                    piece(Some(0), "b", "two"),
                    message("done", Some(0), "c", "onetwo"),
                ],
                "onetwo\n",
            ),
            (
                "whole messages without places",
                vec![
                    message("done", None, "a", "one"),
                    message("done", None, "b", "two"),
                ],
                "one\ntwo\n",
            ),
            (
                "two by turns",
                vec![
                    piece(Some(0), "a", "one"),
                    piece(Some(1), "b", "two"),
                    piece(Some(0), "a", "three"),
                    message("done", Some(1), "b", "two"),
                    message("done", Some(0), "a", "onethree"),
                ],
                "one\ntwo\nthree\n",
            ),
        ] {
            let data: Vec<_> = data.iter().map(String::as_str).chain([COMPLETED]).collect();
            let page = shown(Terminals::default(), &data);
            assert_eq!(page.on(Target::Stdout), text, "{of}");
            assert_eq!(page.on(Target::Stderr), "", "{of}");
        }
    }

    #[test]
    fn what_is_missing_of_a_message_is_printed_or_complained_of() {
        let refused = json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "id": "a",
            "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}})
        .to_string();
        for (data, text, has_hole) in [
            (
                vec![
                    piece(Some(0), "a", "one"),
                    message("done", Some(0), "a", "onetwo"),
                ],
                "onetwo\n",
                false,
            ),
            (
                vec![
                    piece(Some(0), "a", "one"),
                    piece(Some(0), "a", "three"),
                    message("done", Some(0), "a", "onetwothree"),
                ],
                "onethree\n",
                true,
            ),
            (
                vec![
                    piece(Some(0), "a", "two"),
                    message("done", Some(0), "a", "onetwo"),
                ],
                "two\n",
                true,
            ),
            (
                vec![
                    piece(Some(0), "a", "one \n"),
                    message("done", Some(0), "a", "one"),
                ],
                "one \n",
                false,
            ),
            (
                vec![
                    piece(Some(0), "a", "one"),
                    message("done", Some(0), "a", ""),
                ],
                "one\n",
                false,
            ),
            (vec![refused.clone()], "no\n", false),
            (
                vec![piece(Some(0), "a", "one, "), refused],
                "one, no\n",
                false,
            ),
        ] {
            let data: Vec<_> = data.iter().map(String::as_str).chain([COMPLETED]).collect();
            let page = shown(Terminals::default(), &data);
            assert_eq!(page.on(Target::Stdout), text, "{data:?}");
            let hole = "actix-responses: a part of the answer was lost on its way: the text above has a hole\n";
            let complaint = if has_hole { hole } else { "" };
            assert_eq!(page.on(Target::Stderr), complaint, "{data:?}");
        }
    }

    /// What is said of an end.
    fn said_of(end: ResponseEvent) -> String {
        let mut page = Page::default();
        TextView::new(Terminals::default(), Secrets::default()).render(&end, &mut page);
        page.on(Target::Stderr)
    }

    #[test]
    fn an_incomplete_answer_says_why_in_the_servers_words_too() {
        for (reason, finish_reason, native, said) in [
            (
                "max_output_tokens",
                None,
                None,
                "stopped early: max_output_tokens. To try: raise --max-output-tokens.\n",
            ),
            (
                "max_output_tokens",
                Some("length"),
                Some("MAX_TOKENS"),
                "max_output_tokens (server says: length, MAX_TOKENS). To try: raise",
            ),
            (
                "content_filter",
                Some("content_filter"),
                Some("SAFETY"),
                "stopped early: content_filter (server says: SAFETY).\n",
            ),
            (
                "content_filter",
                Some("SAFETY"),
                Some("SAFETY"),
                "content_filter (server says: SAFETY).\n",
            ),
            (
                "napping",
                Some("napping"),
                Some(""),
                "stopped early: napping.\n",
            ),
            (
                "no_finish_reason",
                None,
                None,
                "the answer is incomplete: the server never said how it ended, so",
            ),
        ] {
            let mut incomplete = Incomplete::default();
            incomplete.reason = reason.into();
            incomplete.finish_reason = finish_reason.map(Into::into);
            incomplete.native_finish_reason = native.map(Into::into);
            let complaint = said_of(ResponseEvent::Incomplete(incomplete.into()));
            assert!(complaint.contains(said), "{complaint}");
        }
    }

    #[test]
    fn what_was_odd_is_said_in_words() {
        let mut completed = Completed::default();
        completed.anomalies.no_finish_reason = true;
        let complaint = said_of(ResponseEvent::Completed(completed.clone().into()));
        let never = "actix-responses: the server never said how the answer ended";
        assert!(complaint.starts_with(never), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        completed.anomalies.sequence_gaps = 1;
        let complaint = said_of(ResponseEvent::Completed(completed.into()));
        assert!(
            complaint.contains("odd: 0 malformed, 1 sequence gaps"),
            "{complaint}"
        );
        assert!(
            complaint.contains("\nactix-responses: the server never said"),
            "{complaint}"
        );
    }

    #[test]
    fn a_failed_answer_says_the_servers_words_and_what_it_cost() {
        let failed = r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"Upstream gave up."},
            "usage":{"input_tokens":7,"cache_write_tokens":5,"cached_tokens":1,"output_tokens":2}}}"#
            .replace('\n', "");
        let complaint = shown(BOTH, &[&failed]).on(Target::Stderr);
        for words in [
            "Upstream gave up.",
            "tokens: 7 in (1 cached, 5 written to the cache), 2 out --",
        ] {
            assert!(complaint.contains(words), "{complaint}");
        }
    }

    #[test]
    fn of_the_words_for_an_end_only_new_ones_are_told() {
        let words = [Some("error".into()), Some("MALFORMED".into())];
        let told = |known: &str| own_words([&words[0], &words[1]], |word| known.contains(word));
        assert_eq!(told("").as_deref(), Some("error, MALFORMED"));
        assert_eq!(told("an error").as_deref(), Some("MALFORMED"));
        assert_eq!(told("error: MALFORMED"), None);
        assert_eq!(own_words([&None, &None], |_| false), None);
    }
}
