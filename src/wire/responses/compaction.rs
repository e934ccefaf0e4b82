//! The answer to a compaction that is an event stream.
//!
//! The API answers `POST responses/compact` with an object. Gateways that turn it into an ordinary request pass on the stream that
//! this one is answered with; the compaction item is in an `output_item.done`, and often missing in the closing object.

use std::ops::ControlFlow;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    json::members::Members,
    protocol::{
        CompactionOutput, Completed, OutputItem, RawJson, ResponseEvent,
        error::{ApiError, ErrorKind, Phase},
    },
    sse::{SseDecoder, SseEvent, SseLimits},
    wire::{
        StreamDecoder, StreamLimits, Terminal, Wire,
        strays::{FIELDS, is_cut_field},
    },
};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads the stream that may be the answer to a compaction, while its bytes come.
pub(crate) struct CompactionStream {
    limits: SseLimits,
    is_stream: bool,
    decoder: StreamDecoder,
    /// How many bytes the decoder has.
    fed: usize,
    items: Vec<OutputItem>,
    terminal: Option<Terminal>,
}

impl CompactionStream {
    /// Reads a body of at most `max_bytes`, which the caller counts.
    pub(crate) fn new(max_bytes: usize) -> Self {
        let limits = SseLimits {
            max_line_bytes: max_bytes,
            max_event_bytes: max_bytes,
        };
        Self {
            limits,
            is_stream: false,
            decoder: StreamDecoder::new(Wire::Responses, StreamLimits::from(limits)),
            fed: 0,
            items: Vec::new(),
            terminal: None,
        }
    }

    /// Looks at the body as far as it has come. Whether it is a stream that has ended, so that the rest need not be waited for.
    pub(crate) fn has_ended(&mut self, body: &[u8]) -> bool {
        if !self.is_stream {
            // Some servers write white space while they work.
            let rest = &body[self.fed..];
            self.fed += rest.len() - rest.trim_ascii_start().len();
            let start = &body[self.fed..];
            let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start);
            self.is_stream = FIELDS.iter().any(|field| start.starts_with(field));
        }
        if self.is_stream && self.terminal.is_none() {
            let mut events = Vec::new();
            self.terminal = self.decoder.feed(&body[self.fed..], &mut events);
            self.fed = body.len();
            self.keep_items(events);
        }
        self.terminal.is_some()
    }

    /// Reads the answer from the whole body. `None` when it is no stream.
    pub(crate) fn finish(mut self, body: &[u8]) -> Option<Result<CompactionOutput, ApiError>> {
        // A gateway may write something else before the first event, and a stream may be cut in its first word.
        self.is_stream = self.is_stream || has_events(body) || is_cut_field(body);
        if !self.is_stream {
            return None;
        }
        if !self.has_ended(body) {
            let mut events = Vec::new();
            self.terminal = self.decoder.end_of_stream(&mut events);
            self.keep_items(events);
        }
        let Self {
            limits,
            decoder,
            items,
            terminal,
            ..
        } = self;
        // It holds as much as the answer has.
        drop(decoder);
        Some(match terminal? {
            Terminal::Completed(completed) => read(items, &completed),
            // It did not say how it ended, and its items are whole.
            Terminal::Incomplete(incomplete) if incomplete.reason == "no_finish_reason" => {
                let completed = Completed {
                    response_id: incomplete.response_id.clone(),
                    usage: incomplete.usage.clone(),
                    response: incomplete.response.clone(),
                    ..Completed::default()
                };
                unknown_events(limits, body).unwrap_or_else(|| read(items, &completed))
            }
            Terminal::Incomplete(incomplete) => {
                Err(wrong(format!("is incomplete ({})", incomplete.reason)))
            }
            Terminal::Failed(error) if error.kind() == ErrorKind::Truncated => {
                unknown_events(limits, body).unwrap_or(Err(error))
            }
            Terminal::Failed(error) => Err(error),
        })
    }

    fn keep_items(&mut self, events: Vec<ResponseEvent>) {
        self.items
            .extend(events.into_iter().filter_map(|event| match event {
                ResponseEvent::OutputItemDone(item) => Some(item),
                _ => None,
            }));
    }
}

/// Reads the closing object, or where it holds no compaction what came before it.
fn read(items: Vec<OutputItem>, completed: &Completed) -> Result<CompactionOutput, ApiError> {
    let closing = completed.response.as_ref();
    let read = closing.map(|response| CompactionOutput::from_walked(response.clone()));
    // What is too large is no smaller in pieces, of which the last were not kept.
    let is_large = |error: &ApiError| error.kind() == ErrorKind::TooLarge;
    if let Some(read) = read
        && (items.is_empty() || read.as_ref().map_or_else(is_large, |_| true))
    {
        return read;
    }
    let items: Vec<&str> = items.iter().map(|item| item.raw().get()).collect();
    let mut text = format!("{{\"output\":[{}]", items.join(","));
    let closing = closing.map_or("{}", |response| response.get());
    let [mut has_id, mut has_usage] = [false; 2];
    for member in Members::of(closing).filter(|member| member.name != "output") {
        has_id |= member.name == "id";
        has_usage |= member.name == "usage";
        text += &format!(",\"{}\":{}", member.name, &closing[member.value]);
    }
    // A server that does not nest the response has no closing object.
    let id = completed.response_id.as_deref().filter(|_| !has_id);
    text += &id
        .map(|id| format!(",\"id\":{}", Value::from(id)))
        .unwrap_or_default();
    let usage = completed.usage.as_ref().filter(|_| !has_usage);
    text += &usage
        .map(|usage| format!(",\"usage\":{usage}"))
        .unwrap_or_default();
    text.push('}');
    CompactionOutput::from_walked(RawJson::from_walked(&text))
}

/// Reads a stream that had no end of a response: an answer that was put into an event as it is, or events of another API.
fn unknown_events(limits: SseLimits, body: &[u8]) -> Option<Result<CompactionOutput, ApiError>> {
    #[derive(Deserialize)]
    struct Shape<'a> {
        object: Option<String>,
        #[serde(borrow)]
        output: Option<&'a RawValue>,
    }
    let mut found = None;
    let mut read = |event: SseEvent<'_>| {
        let Ok(Shape { object, output }) = serde_json::from_str(event.data) else {
            return ControlFlow::Continue(());
        };
        found = match (output, object) {
            (Some(_), _) => Some(CompactionOutput::from_json(event.data)),
            (None, Some(object)) => Some(Err(wrong(format!("is a stream of `{object}`")))),
            (None, None) => return ControlFlow::Continue(()),
        };
        ControlFlow::Break(())
    };
    let mut decoder = SseDecoder::new(limits);
    // The limits are no smaller than the body.
    if let Ok(taken) = decoder.feed(body, &mut read)
        && taken == body.len()
    {
        let _ = decoder.finish(&mut read);
    }
    found
}

fn has_events(body: &[u8]) -> bool {
    let mut lines = body.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.any(|line| line.starts_with(b"data:") || line.starts_with(b"event:"))
}

fn wrong(what: String) -> ApiError {
    let message = format!("the answer to the compaction {what}");
    ApiError::new(ErrorKind::Protocol, message).with_phase(Phase::Body)
}
