//! The answer to a request without `stream`: an object, or a stream all the same.

use std::sync::Arc;

use super::{
    Quirks, StreamDecoder, StreamLimits, Terminal, Wire,
    blocks::BlockReader,
    strays::{FIELDS, is_cut_field},
};
use crate::{
    json::{lenient::string, members::values, walk::elements},
    protocol::{
        Completed, Id, Incomplete, RawJson, ResponseEvent, TokenUsage, WholeAnswer, WholeBody,
        error::{ApiError, ErrorKind, Phase},
    },
    sse::SseLimits,
};
use bytes::Bytes;

/// What is read of the objects of either API.
const NAMES: [&str; 8] = [
    "id",
    "model",
    "usage",
    "error",
    "status",
    "incomplete_details",
    "output",
    "choices",
];

/// Reads the object that is an answer over this wire.
///
/// # Errors
/// For what is none: [`ErrorKind::Protocol`]. For a response that failed, which is then in the error.
pub(crate) fn read_whole(wire: Wire, body: &str) -> Result<WholeAnswer, ApiError> {
    let body = RawJson::parse(body).map_err(|error| wrong("is no JSON").with_source(error))?;
    let [id, model, usage, error, status, details, output, choices] = values(body.get(), NAMES);
    let has = |list: Option<&str>| list.is_some_and(|list| list.starts_with('['));
    let status = text(status);
    let is_answer = match wire {
        Wire::Chat => has(choices) && error.is_none(),
        Wire::Responses => has(output) || status.as_deref() == Some("failed"),
    };
    if !is_answer {
        return Err(wrong("is no answer of this API"));
    }
    let usage = usage.and_then(TokenUsage::from_text);
    let reason = match wire {
        Wire::Chat => cut_short(choices.unwrap_or_default()),
        Wire::Responses => match status.as_deref() {
            Some("completed") => None,
            Some("failed") => {
                let error = ApiError::new(ErrorKind::ServerError, "the response failed");
                return Err(error.with_details(|details| {
                    details.response = Some(body.clone());
                    details.token_usage = usage;
                }));
            }
            status => {
                let [why] = values(details.unwrap_or_default(), ["reason"]);
                let why = text(why).or_else(|| status.map(Id::from));
                Some(why.unwrap_or_else(|| "no_status".into()))
            }
        },
    };
    let (id, model) = (text(id), text(model));
    let end = match reason {
        None => {
            let mut end = Completed::default();
            (end.response_id, end.token_usage) = (id, usage);
            ResponseEvent::Completed(Arc::new(end))
        }
        Some(reason) => {
            let mut end = Incomplete::default();
            (end.response_id, end.token_usage) = (id, usage);
            end.reason = (*reason).into();
            ResponseEvent::Incomplete(Arc::new(end))
        }
    };
    let mut answer = WholeAnswer::new(WholeBody::Object(body), end);
    answer.model = model;
    Ok(answer)
}

/// Why an answer of Chat is not whole, if it is not: what the first of its choices says that is not.
fn cut_short(choices: &str) -> Option<Id> {
    let mut reasons = elements(choices)
        .map(|choice| text(values(choice, ["finish_reason"])[0]))
        .peekable();
    let is_cut = |reason: &Option<Id>| match reason.as_deref() {
        Some(reason) => matches!(reason, "length" | "content_filter"),
        None => true,
    };
    let cut = match reasons.peek() {
        Some(_) => reasons.find(is_cut),
        None => Some(None),
    };
    cut.map(|reason| reason.unwrap_or_else(|| "no_finish_reason".into()))
}

fn text(json: Option<&str>) -> Option<Id> {
    let text = string(json?)?;
    (!text.is_empty()).then(|| Id::from(&*text))
}

fn wrong(what: &str) -> ApiError {
    let message = format!("the answer {what}");
    ApiError::new(ErrorKind::Protocol, message).with_phase(Phase::Body)
}

/// Reads the stream that may come in place of an object, while its bytes come.
pub(crate) struct AnswerStream {
    wire: Wire,
    quirks: Quirks,
    limits: SseLimits,
    /// What reads it, once it is known to be a stream.
    reading: Option<Box<(StreamDecoder, BlockReader)>>,
    /// How many bytes it has read.
    fed: usize,
    blocks: Vec<Bytes>,
    terminal: Option<Terminal>,
}

impl AnswerStream {
    /// Reads a body of at most `max_bytes`, which the caller counts.
    pub(crate) fn new(wire: Wire, quirks: &Quirks, max_bytes: usize) -> Self {
        Self {
            wire,
            quirks: quirks.clone(),
            limits: SseLimits {
                max_line_bytes: max_bytes,
                max_event_bytes: max_bytes,
            },
            reading: None,
            fed: 0,
            blocks: Vec::new(),
            terminal: None,
        }
    }

    fn begin(&mut self) {
        let decoder = StreamDecoder::new(self.wire, StreamLimits::from(self.limits));
        let decoder = decoder.with_quirks(&self.quirks);
        self.reading = Some(Box::new((decoder, BlockReader::new(self.limits, 1))));
    }

    /// Looks at the body as far as it has come. Whether it is a stream that has ended, so that the rest need not be waited for.
    pub(crate) fn has_ended(&mut self, body: &[u8]) -> bool {
        let start = body.trim_ascii_start();
        if self.reading.is_none() && FIELDS.iter().any(|field| start.starts_with(field)) {
            self.begin();
        }
        if let Some(reading) = &mut self.reading
            && self.terminal.is_none()
        {
            let (decoder, reader) = &mut **reading;
            let chunk = Bytes::copy_from_slice(&body[self.fed..]);
            self.fed = body.len();
            self.terminal = reader.feed(decoder, &chunk, &mut Vec::new());
            if self.terminal.is_none() {
                keep(&mut self.blocks, reader);
            }
        }
        self.terminal.is_some()
    }

    /// Reads the answer from the whole body. `None` when it is no stream.
    pub(crate) fn finish(mut self, body: &[u8]) -> Option<Result<WholeAnswer, ApiError>> {
        // It may be cut in its first word.
        if self.reading.is_none() && is_cut_field(body) {
            self.begin();
        }
        self.has_ended(body);
        let (decoder, reader) = &mut *self.reading?;
        let mut terminal = self.terminal;
        if terminal.is_none() {
            terminal = reader.end_of_stream(decoder, &mut Vec::new());
        }
        let end = match terminal? {
            Terminal::Failed(error) => return Some(Err(error)),
            end => ResponseEvent::from(end),
        };
        reader.complete(self.wire, 0);
        keep(&mut self.blocks, reader);
        Some(Ok(WholeAnswer::new(WholeBody::Blocks(self.blocks), end)))
    }
}

/// Takes the blocks that were read.
fn keep(blocks: &mut Vec<Bytes>, reader: &mut BlockReader) {
    for run in reader.take().runs {
        blocks.extend(run.parts().map(|(range, _)| run.bytes.slice(range)));
    }
}
