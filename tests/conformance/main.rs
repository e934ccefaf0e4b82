//! The decoder against what others expect of one: the cases of LaunchDarkly's contract tests, and another parser.
//!
//! The cases of the web-platform-tests are in `tests/sse_decoding.rs`, with the standard's algorithm written down by the letter.

mod contract;
mod differential;

use std::ops::ControlFlow;

use actix_responses::sse::{SseDecoder, SseLimits};

/// Type, data, last event ID; "message" where no type is named.
pub(crate) type Event = (String, String, String);

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Decoded {
    pub(crate) events: Vec<Event>,
    pub(crate) comments: u64,
    pub(crate) last_event_id: String,
    pub(crate) retry_ms: Option<u128>,
}

/// What the chunks hold, without what an end of the stream would add.
pub(crate) fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = SseDecoder::new(SseLimits::default());
    let mut events = Vec::new();
    for chunk in chunks {
        let taken = decoder.feed(chunk, |event| {
            let kind = event.event.unwrap_or("message");
            events.push((
                kind.to_owned(),
                event.data.to_owned(),
                event.last_event_id.to_owned(),
            ));
            ControlFlow::Continue(())
        });
        assert_eq!(taken, Ok(chunk.len()));
    }
    Decoded {
        events,
        comments: decoder.comments(),
        last_event_id: decoder.last_event_id().to_owned(),
        retry_ms: decoder.retry().map(|time| time.as_millis()),
    }
}
