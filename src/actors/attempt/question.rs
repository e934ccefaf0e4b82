//! The task that is exactly one attempt at a question with one answer, such as a compaction.
//!
//! Started by a worker for the supervisor, which may abort it. Reports with the lease's
//! [`AttemptEnded`](super::lease::AttemptEnded). Ends when the answer is whole, at a failure or a deadline.

use std::{borrow::Cow, cell::Cell, rc::Rc};

use bytes::BytesMut;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, de::IgnoredAny};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::{
    alarm::until,
    clock::{Clock, Limit},
    head::shown_head,
    lease::{Lease, Outcome},
    opening::open,
    spec::{Attempt, RequestSpec},
};
use crate::{
    actors::{
        audience::listener::{MayStream, Question},
        messages::Answer,
        workers::load::LoadShare,
    },
    protocol::{
        ResponseEvent,
        error::{ApiError, ErrorKind, Phase},
    },
    provider::Timeouts,
    secret::Secrets,
    telemetry,
    transport::{BodyStream, Pooled, TransportResponse},
    wire::{Quirks, responses::CompactionStream, server_error, whole::AnswerStream},
};

/// Runs the attempt. Whoever aborts it knows why, and what the asker is told.
pub(crate) async fn run(
    attempt: Attempt,
    mut lease: Lease,
    transport: Rc<Pooled>,
    _load: LoadShare,
) {
    let question = lease.question();
    let span = attempt.span.clone();
    lease.watch(&span);
    let spec = attempt.spec.clone();
    let asking = ask(question, attempt, transport.clone(), &mut lease);
    match asking.instrument(span.clone()).await {
        Ok((answer, rest)) => {
            lease.set_outcome(Outcome::Answered(Box::new(answer)));
            if let Some(body) = rest {
                transport.drain(&spec.origin, body, spec.provider.drain);
            }
        }
        Err(error) => {
            telemetry::record_error(&span, &error);
            lease.fail(error, &spec);
        }
    }
}

/// Asks, and reads the answer whole. Of a body that may go on behind it the rest is handed back.
async fn ask(
    question: Question,
    attempt: Attempt,
    transport: Rc<Pooled>,
    lease: &mut Lease,
) -> Result<(Answer, Option<BodyStream>), ApiError> {
    let (spec, number) = (attempt.spec.clone(), attempt.number);
    let request_span = attempt.request_span.clone();
    let mut patience = Patience::new(&question, &spec);
    let opening = open(
        attempt,
        transport,
        patience.phase.clone(),
        question.head_limit,
    );
    let (response, secrets) = patience.wait(opening).await?.map_err(|refusal| {
        if let Some(observers) = lease.observers() {
            observers.on_refusal(&refusal.error, refusal.head_at);
        }
        refusal.error
    })?;
    patience.on_head();
    let TransportResponse {
        status,
        headers,
        body,
    } = response;
    let request_id = server_error::request_id(&headers);
    if let Some(observers) = lease.observers() {
        let id = request_id.as_deref().map(|id| secrets.hide(id));
        observers.on_head(status.as_u16(), id.as_deref(), Instant::now());
    }
    match read_answer(&question, &spec, &mut patience, (status, &headers), body).await {
        Ok((mut answer, rest)) => {
            answer.set_head(shown_head(status, headers, &secrets), number);
            record_end(&answer, &request_span, &secrets);
            Ok((answer, rest))
        }
        Err(mut error) => {
            let details = error.details_mut();
            details.request_id = request_id;
            details.phase = Some(Phase::Body);
            if details.response.is_some() {
                details.head = Some(shown_head(status, headers, &secrets));
            }
            secrets.scrub(&mut error);
            Err(error)
        }
    }
}

/// Reads a body until it is an answer, or none.
async fn read_answer(
    question: &Question,
    spec: &RequestSpec,
    patience: &mut Patience,
    (status, headers): (StatusCode, &HeaderMap),
    mut body: BodyStream,
) -> Result<(Answer, Option<BodyStream>), ApiError> {
    let (name, bytes) = question.limit;
    let mut stream = MaybeStream::new(question.may_stream, &spec.provider.quirks, bytes);
    let mut read = BytesMut::new();
    let (mut rest, mut cut) = (None, None);
    loop {
        let next = patience.wait(body.next()).await;
        let chunk = match next.and_then(|chunk| Ok(chunk.transpose()?)) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error) => {
                cut = Some(error);
                break;
            }
        };
        patience.clock.on_byte(Instant::now());
        spec.counts.add_bytes(chunk.len() as u64);
        if read.len() + chunk.len() > bytes {
            let what = question.answer;
            let message = format!("{what} is over {bytes} bytes (limit `{name}`)");
            return Err(ApiError::new(ErrorKind::TooLarge, message));
        }
        read.extend_from_slice(&chunk);
        if stream.has_ended(&read) {
            rest = Some(body);
            break;
        }
    }
    let answer = stream.finish(&read).unwrap_or_else(|| {
        // Nearly every body is UTF-8, and to see that is faster than to mend it.
        let text = std::str::from_utf8(&read)
            .map_or_else(|_| String::from_utf8_lossy(&read), Cow::Borrowed);
        let answer = (question.read)(status, headers, &text);
        answer.map_err(|wrong| said_instead(question.answer, wrong, &text))
    });
    match (answer, cut) {
        // An error that is known is not replaced by how the connection ended.
        (Err(said), Some(_)) if is_json(&read) => Err(said),
        (_, Some(cut)) => Err(cut),
        (answer, None) => answer.map(|answer| (answer, rest)),
    }
}

/// Tells the request's span how an answer that has an end ended.
fn record_end(answer: &Answer, span: &Span, secrets: &Secrets) {
    let (id, usage, reason) = match answer {
        Answer::Compaction(output) => (output.id.as_deref(), output.usage.as_ref(), "stop"),
        Answer::Whole(whole) => match &whole.end {
            ResponseEvent::Incomplete(end) => (
                end.response_id.as_deref(),
                end.token_usage.as_ref(),
                &*end.reason,
            ),
            ResponseEvent::Completed(end) => {
                (end.response_id.as_deref(), end.token_usage.as_ref(), "stop")
            }
            _ => return,
        },
        _ => return,
    };
    telemetry::record_end(span, id, usage, Some(reason), secrets);
}

/// How long an attempt at a question waits for what comes next.
struct Patience {
    clock: Clock,
    timeouts: Timeouts,
    deadline: Option<Instant>,
    /// When the answer has to be whole, once its head is there: until then the opening watches that time itself.
    whole: Option<(Instant, Limit)>,
    phase: Rc<Cell<Phase>>,
}

impl Patience {
    fn new(question: &Question, spec: &RequestSpec) -> Self {
        let now = Instant::now();
        let whole = question
            .whole_limit
            .and_then(|limit| Some((now.checked_add(limit)?, Limit::Whole(limit))));
        Self {
            clock: Clock::new(now),
            timeouts: Timeouts {
                // There are no events but the answer.
                first_event: None,
                progress: None,
                ..spec.provider.timeouts.clone()
            },
            deadline: spec.deadline,
            whole,
            phase: Rc::new(Cell::new(Phase::Authorize)),
        }
    }

    fn on_head(&mut self) {
        self.phase.set(Phase::Body);
        self.clock.on_head(Instant::now());
    }

    /// Waits for something, but no longer than the next limit allows.
    async fn wait<T>(&self, awaited: impl Future<Output = T>) -> Result<T, ApiError> {
        let next = self.clock.next(&self.timeouts, self.deadline, true, true);
        let whole = self.whole.filter(|_| self.phase.get() == Phase::Body);
        let due = next.into_iter().chain(whole).min_by_key(|(at, _)| *at);
        match due {
            None => Ok(awaited.await),
            Some((at, limit)) => until(at, awaited)
                .await
                .ok_or_else(|| limit.error(self.phase.get())),
        }
    }
}

/// Reads the stream that a body may be.
enum MaybeStream {
    No,
    Compaction(Box<CompactionStream>),
    Answer(Box<AnswerStream>),
}

impl MaybeStream {
    fn new(may_stream: MayStream, quirks: &Quirks, bytes: usize) -> Self {
        match may_stream {
            MayStream::No => Self::No,
            MayStream::Compaction => Self::Compaction(Box::new(CompactionStream::new(bytes))),
            MayStream::Answer(wire) => {
                Self::Answer(Box::new(AnswerStream::new(wire, quirks, bytes)))
            }
        }
    }

    fn has_ended(&mut self, body: &[u8]) -> bool {
        match self {
            Self::No => false,
            Self::Compaction(stream) => stream.has_ended(body),
            Self::Answer(stream) => stream.has_ended(body),
        }
    }

    fn finish(self, body: &[u8]) -> Option<Result<Answer, ApiError>> {
        match self {
            Self::No => None,
            Self::Compaction(stream) => Some(stream.finish(body)?.map(Answer::Compaction)),
            Self::Answer(stream) => Some(stream.finish(body)?.map(Answer::Whole)),
        }
    }
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// What a body says that is no answer, as `wrong` tells: the server's own words where it has some.
fn said_instead(answer: &str, mut wrong: ApiError, body: &str) -> ApiError {
    #[derive(Default, Deserialize)]
    struct Shape {
        output: Option<IgnoredAny>,
        error: Option<IgnoredAny>,
    }
    let parsed = serde_json::from_str::<Option<Shape>>(body);
    // A transport can't tell a cut body from a whole one: JSON that stops in the middle was cut, and may be whole next time.
    if parsed.as_ref().is_err_and(serde_json::Error::is_eof) {
        let message = format!("{answer} ended in the middle");
        return ApiError::new(ErrorKind::Truncated, message);
    }
    let is_json = parsed
        .as_ref()
        .map_or_else(|error| error.is_data(), |_| true);
    let Shape { output, error } = parsed.ok().flatten().unwrap_or_default();
    // The fields of an output are not those of an error.
    let reports_error = output.is_none() || error.is_some();
    if let Some(said) = server_error::error_in(body).filter(|_| reports_error) {
        let mut error = said.into_api_error(None);
        let details = wrong.details_mut();
        error.details_mut().response = details.response.take();
        error.details_mut().token_usage = details.token_usage;
        return error;
    }
    if let Some(text) = server_error::excerpt(body).filter(|_| !is_json) {
        wrong.details_mut().message += &format!(": {text}");
    }
    wrong
}
