use super::*;
use crate::{
    error::Phase,
    protocol::{
        Completed, Incomplete, OutputTextDelta, ReasoningContentDelta, ReasoningSummaryDelta,
        RefusalDelta, TokenUsage, ToolCallInput, ToolCallInputDelta,
    },
    sse::SseLimits,
    wire::{StreamDecoder, Wire},
};

mod endings;
mod forms;
mod oddities;
mod streams;

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
