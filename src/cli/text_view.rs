//! Events as a person reads them: the answer on stdout, everything else on stderr.

mod message;
mod words;

use actix_responses::protocol::{
    OutputItem, ResponseEvent, ResponseItem, StreamAnomalies, TextDelta, TokenUsage,
};

use self::{
    message::{MessageKey, Part, PrintedMessage},
    words::{call_line, incomplete_report, own_words, usage_line},
};
use super::{
    base_url,
    console::{Page, Target, complaint},
    harmless::printable,
    secrets::Secrets,
    terminals::Terminals,
    wrapping::{Wrapping, wrapped},
};

/// How much printed text is kept, to be compared with the messages when they are done: far more than a model writes, and a bound
/// for a server that does not stop. What comes after that is printed all the same.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// Turns events into output.
///
/// Stdout gets the text of the answer, refusals included, and nothing else: messages begin on lines of their own, and the
/// last line is ended. A message that is done has its text printed as far as it was not. On a terminal its lines are wrapped. Stderr gets
/// what ended badly, what was lost on the way, and tool calls; where it is a terminal also reasoning and the tokens.
#[derive(Default)]
pub(super) struct TextView {
    terminals: Terminals,
    secrets: Secrets,
    /// Stdout is inside of a line.
    is_text_open: bool,
    cursor: Cursor,
    /// What was shown last, where nothing that stands on a line of its own came behind it.
    last: Option<Shown>,
    messages: Vec<PrintedMessage>,
    /// The message that the last piece of text belonged to.
    current: Option<usize>,
    since_text: SinceText,
    kept_bytes: usize,
    columns: Option<usize>,
    /// Of the answer.
    wrapping: Wrapping,
    /// Of the reasoning.
    thoughts: Wrapping,
    /// What to say of an error that the base URL may have caused.
    hint: Option<String>,
    /// What came before the first event is not known: a message that is done says what was printed elsewhere, too.
    is_partial: bool,
}

/// Where the terminal's cursor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cursor {
    #[default]
    LineStart,
    InAnswer,
    InReasoning,
    /// Where the reader of stdout has left it.
    Unknown,
}

/// What runs over many pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Answer,
    Reasoning,
}

/// What has come of items since the last piece of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum SinceText {
    #[default]
    Nothing,
    /// An item was done, or one that is no message was announced.
    Done,
    /// A message was announced.
    MessageAdded,
}

impl TextView {
    pub(super) fn new(terminals: Terminals, secrets: Secrets, hint: Option<String>) -> Self {
        Self {
            terminals,
            secrets,
            hint,
            ..Self::default()
        }
    }

    /// Whether the first event is one in the middle of the answer.
    pub(super) fn partial(mut self, is_partial: bool) -> Self {
        self.is_partial = is_partial;
        self
    }

    /// The width of the terminal.
    pub(super) fn set_columns(&mut self, columns: Option<usize>) {
        self.columns = columns;
        self.wrapping.set_columns(columns);
        self.thoughts.set_columns(columns);
    }

    /// Prints what is held back of a line.
    pub(super) fn flush(&mut self, page: &mut Page) {
        let mut held = String::new();
        self.wrapping.flush(&mut held);
        page.push(Target::Stdout, held);
        let mut held = String::new();
        self.thoughts.flush(&mut held);
        page.push(Target::Stderr, self.terminals.dim(&held));
    }

    /// Whether a line may be drawn on the terminal now and erased again.
    pub(super) fn has_room_for_status(&self) -> bool {
        self.terminals.stderr && self.cursor == Cursor::LineStart
    }

    pub(super) fn render(&mut self, event: &ResponseEvent, page: &mut Page) {
        match event {
            ResponseEvent::OutputTextDelta(delta) => self.delta(delta, Part::Text, page),
            ResponseEvent::RefusalDelta(delta) => self.delta(delta, Part::Refusal, page),
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
                self.note(&self.in_lines(&note), page);
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
                let report = base_url::report(error, self.hint.as_deref());
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
        if event.is_final() && self.cursor != Cursor::Unknown {
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
            self.messages.push(PrintedMessage::default());
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

    fn delta(&mut self, delta: &TextDelta, part: Part, page: &mut Page) {
        if !delta.delta.is_empty() {
            let (id, output_index) = (delta.item_id.as_deref(), delta.output_index);
            let key = MessageKey { id, output_index };
            let found = self.find(key);
            let at = self.found_or_new(found, key);
            self.text(&delta.delta, part, at, page);
        }
    }

    /// Prints a piece of a message.
    fn text(&mut self, text: &str, part: Part, at: usize, page: &mut Page) {
        if text.is_empty() {
            return;
        }
        let message = &mut self.messages[at];
        if self.kept_bytes + text.len() > MAX_KEPT_BYTES {
            message.is_cut = true;
        } else if !message.is_cut {
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
        self.set_apart(Shown::Answer, page);
        self.is_text_open = !text.ends_with('\n');
        if self.terminals.stdout {
            self.cursor = match self.is_text_open {
                true => Cursor::InAnswer,
                false => Cursor::LineStart,
            };
            let mut shown = String::with_capacity(text.len());
            self.wrapping.push(text, &mut shown);
            page.push(Target::Stdout, shown);
        } else {
            page.push(Target::Stdout, text);
            if self.terminals.stderr && self.terminals.has_reader {
                self.cursor = Cursor::Unknown;
            }
        }
    }

    /// Ends the line on stdout.
    fn end_text(&mut self, page: &mut Page) {
        if std::mem::take(&mut self.is_text_open) {
            let mut held = String::new();
            self.wrapping.end(&mut held);
            page.push(Target::Stdout, held);
            page.push(Target::Stdout, "\n");
            if self.terminals.stdout {
                self.cursor = Cursor::LineStart;
            }
        }
    }

    /// Goes to the start of a line of the terminal.
    fn end_line(&mut self, page: &mut Page) {
        match self.cursor {
            Cursor::LineStart => {}
            Cursor::InAnswer => self.end_text(page),
            Cursor::InReasoning => {
                let mut held = String::new();
                self.thoughts.end(&mut held);
                page.push(Target::Stderr, self.terminals.dim(&held) + "\n");
                self.cursor = Cursor::LineStart;
            }
            Cursor::Unknown => {
                page.push(Target::Stderr, "\n");
                self.cursor = Cursor::LineStart;
            }
        }
    }

    /// Where nothing else tells reasoning from the answer, an empty line does. It is of stderr: stdout has the answer alone.
    fn set_apart(&mut self, next: Shown, page: &mut Page) {
        let is_other = self.last.is_some_and(|last| last != next);
        let is_one_terminal = self.terminals.stdout || self.terminals.has_reader;
        if is_other && is_one_terminal && !self.terminals.is_styled {
            page.push(Target::Stderr, "\n");
        }
        self.last = Some(next);
    }

    fn reasoning(&mut self, text: &str, page: &mut Page) {
        if !self.terminals.stderr || text.is_empty() {
            return;
        }
        if self.cursor != Cursor::InReasoning {
            self.end_line(page);
        }
        self.set_apart(Shown::Reasoning, page);
        let mut shown = String::with_capacity(text.len());
        self.thoughts.push(text, &mut shown);
        page.push(Target::Stderr, self.terminals.dim(&shown));
        self.cursor = match text.ends_with('\n') {
            true => Cursor::LineStart,
            false => Cursor::InReasoning,
        };
    }

    fn item(&mut self, item: &OutputItem, page: &mut Page) {
        match item.item() {
            ResponseItem::Message(_) if self.is_partial => {}
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
                if self.messages[at].is_cut {
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
                if let Some(call) = call_line(other) {
                    self.note(&self.terminals.dim(&format!("-- {call} --")), page);
                }
            }
        }
    }

    fn usage(&mut self, usage: Option<&TokenUsage>, page: &mut Page) {
        if let Some(usage) = usage
            && self.terminals.stderr
        {
            let line = self.in_lines(&format!("-- {} --", usage_line(usage)));
            self.note(&self.terminals.dim(&line), page);
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
        self.last = None;
        let paragraph = complaint(&self.secrets.hide(message));
        page.push(Target::Stderr, self.in_lines(&paragraph));
    }

    /// The text in lines of the terminal that stderr is.
    fn in_lines(&self, text: &str) -> String {
        wrapped(text, self.columns.filter(|_| self.terminals.stderr))
    }

    /// A line of its own on stderr.
    fn note(&mut self, line: &str, page: &mut Page) {
        self.end_line(page);
        self.last = None;
        page.push(Target::Stderr, format!("{line}\n"));
    }
}

#[cfg(test)]
mod tests;
