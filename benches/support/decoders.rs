//! Bytes to events, as this crate does it and as programs would do it without.
//!
//! Each decoder hands every delta to a [`Sink`]; the same code is checked with a sink that joins them and timed with one
//! that counts them.

use std::{borrow::Cow, convert::Infallible, hint::black_box, time::Duration};

use actix_responses::{
    protocol::ResponseEvent,
    wire::{StreamDecoder, StreamLimits, Wire},
};
use async_openai::types::{
    chat::CreateChatCompletionStreamResponse, responses::ResponseStreamEvent,
};
use bytes::Bytes;
use eventsource_stream::Eventsource;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::{
    inputs::{Delivery, Input},
    upstream::{self, UpstreamEvent},
};

/// Takes what was decoded.
pub trait Sink {
    fn delta(&mut self, text: &str);
}

/// Counts. The optimiser can't leave out what leads to its numbers, and they are compared with the input's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub deltas: usize,
    pub bytes: usize,
}

impl Sink for Tally {
    fn delta(&mut self, text: &str) {
        self.deltas += 1;
        self.bytes += black_box(text).len();
    }
}

impl Sink for String {
    fn delta(&mut self, text: &str) {
        self.push_str(text);
    }
}

/// Who decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// `StreamDecoder`.
    Ours,
    /// eventsource-stream and serde_json, as upstream's client has it, in one task.
    Upstream,
    /// The same with what surrounds it there: a copy of the data for telemetry, a timeout for each event, a channel to
    /// another task.
    UpstreamChannel,
    /// What async-openai does with the bytes: eventsource-stream and its own types.
    AsyncOpenai,
    /// The same with its watch on the receiver and its channel.
    AsyncOpenaiChannel,
    /// The fastest framer of the registry, and serde on borrowed fields.
    SseCoreSerde,
    /// Finds each line and leaves it at that: the least that decoding must do.
    LineScan,
}

impl Decoder {
    pub const ALL: [Self; 7] = [
        Self::Ours,
        Self::Upstream,
        Self::UpstreamChannel,
        Self::AsyncOpenai,
        Self::AsyncOpenaiChannel,
        Self::SseCoreSerde,
        Self::LineScan,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Upstream => "upstream",
            Self::UpstreamChannel => "upstream_channel",
            Self::AsyncOpenai => "async_openai",
            Self::AsyncOpenaiChannel => "async_openai_channel",
            Self::SseCoreSerde => "sse_core_serde",
            Self::LineScan => "line_scan",
        }
    }

    /// Decodes a whole stream.
    ///
    /// # Panics
    /// When something is left out or not understood.
    pub fn decode<S: Sink + Default>(self, wire: Wire, chunks: &[Bytes]) -> S {
        let mut sink = S::default();
        match self {
            Self::Ours => ours(wire, chunks, &mut sink),
            Self::Upstream => upstream_alone(wire, chunks, &mut sink),
            Self::UpstreamChannel => {
                on_runtime(upstream_with_channel(wire, chunks.to_vec(), &mut sink));
            }
            Self::AsyncOpenai => openai_alone(wire, chunks, &mut sink),
            Self::AsyncOpenaiChannel => {
                on_runtime(openai_with_channel(wire, chunks.to_vec(), &mut sink));
            }
            Self::SseCoreSerde => sse_core_serde(wire, chunks, &mut sink),
            Self::LineScan => line_scan(chunks),
        }
        sink
    }

    /// Makes sure that it reads the same text out of an input, however that is cut.
    ///
    /// # Panics
    /// When it does not.
    pub fn check(self, input: &Input) {
        for delivery in [Delivery::Event, Delivery::PACKETS, Delivery::READS] {
            let chunks = input.chunks(delivery);
            let text: String = self.decode(input.wire, &chunks);
            let tally: Tally = self.decode(input.wire, &chunks);
            let expected = match self {
                Self::LineScan => "",
                _ => &input.text,
            };
            let at = format!("{} on {} by {}", self.name(), input.name, delivery.name());
            assert!(text == expected, "{at}: another text");
            assert_eq!(tally.bytes, expected.len(), "{at}");
            assert!(
                expected.is_empty() || tally.deltas >= input.deltas,
                "{at}: {tally:?}"
            );
        }
    }
}

fn ours(wire: Wire, chunks: &[Bytes], sink: &mut impl Sink) {
    let mut decoder = StreamDecoder::new(wire, StreamLimits::default());
    let mut events = Vec::new();
    for chunk in chunks {
        let end = decoder.feed(chunk, &mut events);
        for event in events.drain(..) {
            our_event(&event, sink);
            black_box(event);
        }
        if end.is_some() {
            black_box(end);
            return;
        }
    }
    panic!("no end");
}

/// Hands the delta of an event, if it has one, to the sink.
pub fn our_event(event: &ResponseEvent, sink: &mut impl Sink) {
    match event {
        ResponseEvent::OutputTextDelta(text) => sink.delta(&text.delta),
        ResponseEvent::ReasoningSummaryDelta(text) => sink.delta(&text.delta),
        ResponseEvent::ToolCallInputDelta(input) => sink.delta(&input.delta),
        _ => {}
    }
}

type ByteStream<'a> = stream::Map<
    stream::Iter<std::slice::Iter<'a, Bytes>>,
    fn(&'a Bytes) -> Result<&'a [u8], Infallible>,
>;

fn byte_stream(chunks: &[Bytes]) -> ByteStream<'_> {
    stream::iter(chunks).map(|chunk| Ok(&chunk[..]))
}

/// The next item of a stream that never waits.
fn next_now<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    stream.next().now_or_never().expect("nothing to wait for")
}

fn upstream_alone(wire: Wire, chunks: &[Bytes], sink: &mut impl Sink) {
    let mut events = byte_stream(chunks).eventsource();
    let mut ended = false;
    while let Some(event) = next_now(&mut events) {
        let event = event.expect("an event");
        match upstream::read(wire, &event.data) {
            Some(UpstreamEvent::Completed(completed)) => {
                black_box(completed);
                ended = true;
                break;
            }
            Some(event) => upstream_event(&event, sink),
            None => {}
        }
    }
    assert!(ended);
}

pub fn upstream_event(event: &UpstreamEvent, sink: &mut impl Sink) {
    match black_box(event) {
        UpstreamEvent::Delta(text) | UpstreamEvent::IndexedDelta(text, _) => sink.delta(text),
        _ => {}
    }
}

async fn upstream_with_channel(wire: Wire, chunks: Vec<Bytes>, sink: &mut impl Sink) {
    let bytes = stream::iter(chunks.into_iter().map(Ok::<_, Infallible>));
    let mut events = upstream::spawn(wire, bytes, Duration::from_secs(300));
    let mut ended = false;
    while let Some(event) = events.recv().await {
        let event = event.expect("an event");
        ended = matches!(event, UpstreamEvent::Completed(_));
        upstream_event(&event, sink);
    }
    assert!(ended);
}

fn on_runtime(work: impl Future<Output = ()>) {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(work));
}

fn openai_alone(wire: Wire, chunks: &[Bytes], sink: &mut impl Sink) {
    let mut events = byte_stream(chunks).eventsource();
    while let Some(event) = next_now(&mut events) {
        let event = event.expect("an event");
        if event.data == "[DONE]" {
            break;
        }
        match wire {
            Wire::Chat => openai_chunk(&serde_json::from_str(&event.data).expect("a chunk"), sink),
            _ => openai_event(&serde_json::from_str(&event.data).expect("an event"), sink),
        }
    }
}

pub fn openai_event(event: &ResponseStreamEvent, sink: &mut impl Sink) {
    match black_box(event) {
        ResponseStreamEvent::ResponseOutputTextDelta(event) => sink.delta(&event.delta),
        ResponseStreamEvent::ResponseReasoningSummaryTextDelta(event) => sink.delta(&event.delta),
        ResponseStreamEvent::ResponseFunctionCallArgumentsDelta(event) => sink.delta(&event.delta),
        _ => {}
    }
}

pub fn openai_chunk(chunk: &CreateChatCompletionStreamResponse, sink: &mut impl Sink) {
    for choice in &black_box(chunk).choices {
        if let Some(content) = &choice.delta.content {
            sink.delta(content);
        }
    }
}

async fn openai_with_channel(wire: Wire, chunks: Vec<Bytes>, sink: &mut impl Sink) {
    match wire {
        Wire::Chat => {
            let mut events = openai_task(chunks);
            while let Some(chunk) = events.recv().await {
                openai_chunk(&chunk, sink);
            }
        }
        _ => {
            let mut events = openai_task(chunks);
            while let Some(event) = events.recv().await {
                openai_event(&event, sink);
            }
        }
    }
}

fn openai_task<T>(chunks: Vec<Bytes>) -> mpsc::UnboundedReceiver<T>
where
    T: for<'de> Deserialize<'de> + Send + 'static,
{
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let bytes = stream::iter(chunks.into_iter().map(Ok::<_, Infallible>));
        let mut events = bytes.eventsource();
        loop {
            let event = tokio::select! {
                biased;
                () = sender.closed() => break,
                event = events.next() => event,
            };
            let Some(event) = event else { break };
            let event = event.expect("an event");
            let done = event.data == "[DONE]";
            if done
                || sender
                    .send(serde_json::from_str(&event.data).expect("an event"))
                    .is_err()
            {
                break;
            }
        }
    });
    receiver
}

/// What a careful program would read of a Responses event: the fields of deltas, and the rest unparsed.
#[derive(Deserialize)]
struct Borrowed<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    sequence_number: Option<u64>,
    output_index: Option<u32>,
    #[serde(borrow)]
    item_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    delta: Option<Cow<'a, str>>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct BorrowedChunk<'a> {
    #[serde(borrow)]
    choices: Vec<BorrowedChoice<'a>>,
}

#[derive(Deserialize)]
struct BorrowedChoice<'a> {
    #[serde(borrow)]
    delta: BorrowedDelta<'a>,
}

#[derive(Deserialize)]
struct BorrowedDelta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
}

fn sse_core_serde(wire: Wire, chunks: &[Bytes], sink: &mut impl Sink) {
    let mut decoder = sse_core::SseDecoder::new();
    for chunk in chunks {
        let mut rest = &chunk[..];
        while let Some(event) = decoder.next(&mut rest) {
            let sse_core::SseEvent::Message(message) = event.expect("within the limit") else {
                continue;
            };
            if message.data == "[DONE]" {
                return;
            }
            if wire == Wire::Chat {
                let chunk: BorrowedChunk<'_> =
                    serde_json::from_str(&message.data).expect("a chunk");
                let contents = chunk
                    .choices
                    .iter()
                    .filter_map(|choice| choice.delta.content.as_ref());
                contents.for_each(|content| sink.delta(content));
                continue;
            }
            let event: Borrowed<'_> = serde_json::from_str(&message.data).expect("an event");
            black_box((event.sequence_number, event.output_index, &event.item_id));
            black_box((
                event.item.map(RawValue::get),
                event.response.map(RawValue::get),
            ));
            match &*event.kind {
                "response.output_text.delta"
                | "response.reasoning_summary_text.delta"
                | "response.function_call_arguments.delta" => {
                    sink.delta(event.delta.as_deref().expect("a delta"));
                }
                _ => {}
            }
        }
    }
}

fn line_scan(chunks: &[Bytes]) {
    let mut lines = 0;
    for chunk in chunks {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            black_box(&chunk[start..end]);
            start = end + 1;
            lines += 1;
        }
    }
    assert!(lines > 0);
}
