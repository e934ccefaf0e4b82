//! What a scripted server does with one request.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::transport::TransportErrorKind;

/// What meets one request: a response that is written step by step, an error in its place, or silence.
///
/// ```
/// use actix_responses::testing::Exchange;
/// use serde_json::json;
/// use std::time::Duration;
///
/// // An answer that begins, rests, and is cut.
/// let exchange = Exchange::stream("")
///     .event(json!({"type": "response.output_text.delta", "delta": "Hel"}))
///     .wait(Duration::from_secs(20))
///     .broken();
/// # let _ = exchange;
/// ```
#[derive(Clone)]
pub struct Exchange {
    /// When the head, or the error, comes; without it never.
    pub(super) head_after: Option<Duration>,
    pub(super) answer: Answer,
}

#[derive(Clone)]
pub(super) enum Answer {
    Error(TransportErrorKind, String),
    Response {
        status: StatusCode,
        headers: HeaderMap,
        body: Vec<Step>,
    },
}

#[derive(Clone)]
pub(super) enum Step {
    Chunk(Bytes),
    Wait(Duration),
    Break,
    Hang,
    Do(Arc<dyn Fn() + Send + Sync>),
}

impl Exchange {
    /// A response with a status and without a body.
    ///
    /// # Panics
    /// When there can be no such status.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status of HTTP");
        Self::of(Answer::Response {
            status,
            headers: HeaderMap::new(),
            body: Vec::new(),
        })
    }

    /// An event stream with these bytes of a body, of either wire, which then ends; for example one that was captured.
    pub fn stream(bytes: impl Into<Bytes>) -> Self {
        Self::status(200)
            .with_header("content-type", "text/event-stream")
            .chunk(bytes)
    }

    /// A whole answer with this text, on the Responses wire: the events that come before, one delta, and those that end it, with a usage of
    /// three tokens of input and two of output.
    pub fn answer(text: &str) -> Self {
        let message = |content: Value| json!({"id": "msg_1", "type": "message", "role": "assistant", "content": content});
        let part = json!({"type": "output_text", "text": text, "annotations": []});
        let usage = json!({"input_tokens": 3, "output_tokens": 2, "total_tokens": 5});
        [
            json!({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}),
            json!({"type": "response.output_item.added", "output_index": 0, "item": message(json!([]))}),
            json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text}),
            json!({"type": "response.output_item.done", "output_index": 0, "item": message(json!([part]))}),
            json!({"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "usage": usage}}),
        ]
        .into_iter()
        .fold(Self::stream(""), Self::event)
    }

    /// No response but an error.
    pub fn error(kind: TransportErrorKind, message: impl Into<String>) -> Self {
        Self::of(Answer::Error(kind, message.into()))
    }

    /// No answer at all, ever.
    pub fn silence() -> Self {
        Self {
            head_after: None,
            ..Self::status(200)
        }
    }

    fn of(answer: Answer) -> Self {
        Self {
            head_after: Some(Duration::ZERO),
            answer,
        }
    }

    /// Adds a header to the response.
    ///
    /// # Panics
    /// When there can be no such header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Answer::Response { headers, .. } = &mut self.answer {
            let name: HeaderName = name.parse().expect("a name of a header");
            headers.append(name, HeaderValue::from_str(value).expect("a header"));
        }
        self
    }

    /// The head, or the error, comes after this time.
    #[must_use]
    pub fn head_after(mut self, time: Duration) -> Self {
        self.head_after = Some(time);
        self
    }

    /// Then these bytes come, at once.
    #[must_use]
    pub fn chunk(self, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return self;
        }
        self.step(Step::Chunk(bytes))
    }

    /// Then these bytes come, in pieces of one size.
    ///
    /// # Panics
    /// When the size is 0.
    #[must_use]
    pub fn chunks(self, bytes: &[u8], size: usize) -> Self {
        let chunks = bytes.chunks(size).map(Bytes::copy_from_slice);
        chunks.fold(self, Self::chunk)
    }

    /// Then an event of the Responses wire comes, as a chunk of its own.
    #[must_use]
    pub fn event(self, data: Value) -> Self {
        let kind = data["type"].as_str().unwrap_or("message");
        let event = format!("event: {kind}\ndata: {data}\n\n");
        self.chunk(event)
    }

    /// Then nothing comes for this time.
    #[must_use]
    pub fn wait(self, time: Duration) -> Self {
        self.step(Step::Wait(time))
    }

    /// Then something happens in the test, just before what follows is read. It runs within the actor that reads the body: what panics
    /// here is a panic there.
    #[must_use]
    pub fn then(self, action: impl Fn() + Send + Sync + 'static) -> Self {
        self.step(Step::Do(Arc::new(action)))
    }

    /// Then the connection breaks.
    #[must_use]
    pub fn broken(self) -> Self {
        self.step(Step::Break)
    }

    /// Then nothing more comes, and the connection stays open.
    #[must_use]
    pub fn held_open(self) -> Self {
        self.step(Step::Hang)
    }

    fn step(mut self, step: Step) -> Self {
        if let Answer::Response { body, .. } = &mut self.answer {
            body.push(step);
        }
        self
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Exchange");
        debug.field("head_after", &self.head_after);
        match &self.answer {
            Answer::Error(kind, message) => debug.field("error", &(kind, message)),
            Answer::Response { status, body, .. } => {
                debug.field("status", status).field("steps", &body.len())
            }
        };
        debug.finish_non_exhaustive()
    }
}
