use super::*;
use crate::{
    protocol::{
        Completed, Incomplete, ReasoningDelta, StreamAnomalies, TextDelta, TokenUsage,
        ToolCallInput, ToolCallInputDelta,
        error::{ErrorKind, Phase},
    },
    sse::SseLimits,
    wire::{StreamDecoder, Wire},
};

mod calls;
mod endings;
mod errors;
mod forms;
mod losses;
mod oddities;
mod owed;
mod properties;
mod streams;
mod whole;

/// What a body decodes to.
#[derive(Debug, PartialEq)]
struct Decoded {
    events: Vec<ResponseEvent>,
    /// What the bytes ended with; `None` when the stream was still open after the last of them.
    terminal: Option<Terminal>,
    anomalies: StreamAnomalies,
    /// How many SSE events were read.
    count: u64,
}

impl Decoded {
    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut decoder = StreamDecoder::new(Wire::Responses, StreamLimits::default());
        let mut events = Vec::new();
        let mut terminal = None;
        for chunk in chunks {
            let end = decoder.feed(chunk, &mut events);
            assert!(terminal.is_none() || end.is_none(), "a second end: {end:?}");
            assert_eq!(decoder.is_ended(), terminal.is_some() || end.is_some());
            terminal = terminal.or(end);
        }
        Self {
            events,
            terminal,
            anomalies: decoder.anomalies().clone(),
            count: decoder.events(),
        }
    }

    /// The events' names, and the end's.
    fn names(&self) -> Vec<&'static str> {
        let terminal = self.terminal.clone().map(ResponseEvent::from);
        self.events
            .iter()
            .chain(&terminal)
            .map(ResponseEvent::name)
            .collect()
    }

    fn only_event(mut self) -> ResponseEvent {
        assert_eq!(self.anomalies, StreamAnomalies::default());
        assert_eq!((self.events.len(), &self.terminal), (1, &None), "{self:?}");
        self.events.remove(0)
    }

    fn completed(&self) -> &Completed {
        match &self.terminal {
            Some(Terminal::Completed(completed)) => completed,
            other => panic!("not completed: {other:?}"),
        }
    }

    fn incomplete(&self) -> &Incomplete {
        match &self.terminal {
            Some(Terminal::Incomplete(incomplete)) => incomplete,
            other => panic!("not incomplete: {other:?}"),
        }
    }

    fn error(&self) -> &ApiError {
        match &self.terminal {
            Some(Terminal::Failed(error)) => error,
            other => panic!("not failed: {other:?}"),
        }
    }
}

/// Decodes a body, which gives the same in chunks of any size.
fn decode_body(body: &str) -> Decoded {
    let whole = Decoded::read([body.as_bytes()]);
    for size in [7, 1] {
        let chunked = Decoded::read(body.as_bytes().chunks(size));
        assert_eq!(chunked, whole, "in chunks of {size}: {body}");
    }
    whole
}

/// Decodes events, each given as the JSON of its `data`.
fn decode<T: AsRef<str>>(events: &[T]) -> Decoded {
    let framed = events.iter().map(|data| framed(data.as_ref()));
    decode_body(&framed.collect::<String>())
}

fn framed(data: &str) -> String {
    format!("data: {data}\n\n")
}

/// What a body amounts to for who reads typed events alone.
#[derive(Debug, Default, PartialEq)]
struct Summary {
    text: String,
    refusal: String,
    reasoning: String,
    input: String,
    items: Vec<serde_json::Value>,
    /// `completed`, `incomplete REASON` or `failed KIND: MESSAGE`.
    end: String,
    names: Vec<&'static str>,
}

impl Summary {
    /// Reads a body to its end, which gives the same in chunks of any size.
    fn of(body: &str) -> Self {
        let whole = Self::read(body, body.len());
        for size in [7, 1] {
            assert_eq!(Self::read(body, size), whole, "in chunks of {size}: {body}");
        }
        whole
    }

    fn of_events<T: AsRef<str>>(events: &[T]) -> Self {
        let framed = events.iter().map(|data| framed(data.as_ref()));
        Self::of(&framed.collect::<String>())
    }

    fn read(body: &str, size: usize) -> Self {
        let mut decoder = StreamDecoder::new(Wire::Responses, StreamLimits::default());
        let mut events = Vec::new();
        let mut chunks = body.as_bytes().chunks(size.max(1));
        let terminal = chunks.find_map(|chunk| decoder.feed(chunk, &mut events));
        let terminal = terminal.or_else(|| decoder.end_of_stream(&mut events));
        let mut summary = Self::default();
        for event in &events {
            match event {
                ResponseEvent::OutputTextDelta(text) => summary.text += &text.delta,
                ResponseEvent::RefusalDelta(text) => summary.refusal += &text.delta,
                ResponseEvent::ReasoningSummaryDelta(text) => summary.reasoning += &text.delta,
                ResponseEvent::ReasoningContentDelta(text) => summary.reasoning += &text.delta,
                ResponseEvent::ToolCallInputDelta(input) => summary.input += &input.delta,
                ResponseEvent::OutputItemDone(item) => summary.items.push(item.raw().to_value()),
                _ => {}
            }
        }
        summary.names = events.iter().map(ResponseEvent::name).collect();
        summary.end = match terminal.expect("one end") {
            Terminal::Completed(_) => "completed".to_owned(),
            Terminal::Incomplete(incomplete) => format!("incomplete {}", incomplete.reason),
            Terminal::Failed(error) => format!("failed {}: {}", error.kind(), error.message()),
        };
        summary
    }
}
