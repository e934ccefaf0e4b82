//! `Asker`: exactly one attempt at a question that has one answer, such as a compaction.
//!
//! Started by a worker for the supervisor. Receives [`StopAsking`]. Reports with the [`AskEnded`] of its lease. Ends when the
//! answer is whole, at a failure, a deadline or a stop.

use std::{cell::Cell, rc::Rc, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient,
    WrapFuture,
};
use bytes::BytesMut;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, de::IgnoredAny};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::{
    clock::{Clock, Limit},
    opening::open,
    spec::Attempt,
};
use crate::{
    actors::{RequestId, workers::load::LoadShare},
    protocol::error::{ApiError, ErrorKind, Phase},
    provider::Timeouts,
    telemetry,
    transport::{BodyStream, Pooled, TransportResponse},
    wire::server_error,
};

/// What is asked, and what is made of the answer.
pub(crate) trait Question: Sized + Unpin + 'static {
    type Answer: Send + Unpin + 'static;

    /// What spans call it.
    const OPERATION: &'static str;

    /// What errors call its answer.
    const ANSWER: &'static str;

    /// How long the head of the response may take.
    fn head_limit(timeouts: &Timeouts) -> Duration;

    /// What is known of a body while it comes.
    type Reading;

    /// Begins to read a body.
    fn reading(limit: AnswerLimit) -> Self::Reading;

    /// Whether the body, as far as it has come, holds the whole answer, whatever follows.
    fn is_whole(_: &mut Self::Reading, _body: &[u8]) -> bool {
        false
    }

    /// Reads the answer, or what the server said in its place.
    fn read(
        reading: Self::Reading,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Self::Answer, ApiError>;

    /// Records what the answer says of itself.
    fn record(span: &tracing::Span, answer: &Self::Answer);
}

/// How many bytes an answer may have, and what the limit is called.
#[derive(Clone, Copy)]
pub(crate) struct AnswerLimit {
    pub(crate) name: &'static str,
    pub(crate) bytes: usize,
}

/// To the supervisor, exactly once for each attempt, whatever became of it.
pub(crate) struct AskEnded<Q: Question> {
    pub(crate) request: RequestId,
    pub(crate) attempt: u32,
    pub(crate) result: Result<Q::Answer, ApiError>,
}

impl<Q: Question> Message for AskEnded<Q> {
    type Result = ();
}

/// From the supervisor: nobody wants the answer any more.
pub(crate) struct StopAsking;

impl Message for StopAsking {
    type Result = ();
}

/// The duty to report an attempt. Its drop reports it as lost if nothing else was.
pub(crate) struct AskLease<Q: Question> {
    report: Recipient<AskEnded<Q>>,
    request: RequestId,
    attempt: u32,
    result: Option<Result<Q::Answer, ApiError>>,
}

impl<Q: Question> AskLease<Q> {
    pub(crate) fn new(report: Recipient<AskEnded<Q>>, attempt: &Attempt) -> Self {
        Self {
            report,
            request: attempt.spec.id,
            attempt: attempt.number,
            result: None,
        }
    }

    pub(crate) fn set_result(&mut self, result: Result<Q::Answer, ApiError>) {
        self.result = Some(result);
    }
}

impl<Q: Question> Drop for AskLease<Q> {
    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each attempt, and it must arrive"
    )]
    fn drop(&mut self) {
        let lost = || Err(ApiError::attempt_lost());
        self.report.do_send(AskEnded {
            request: self.request,
            attempt: self.attempt,
            result: self.result.take().unwrap_or_else(lost),
        });
    }
}

pub(crate) struct Asker<Q: Question> {
    attempt: Attempt,
    lease: AskLease<Q>,
    transport: Rc<Pooled>,
    limit: AnswerLimit,
    _load: LoadShare,
}

impl<Q: Question> Asker<Q> {
    pub(crate) fn new(
        attempt: Attempt,
        lease: AskLease<Q>,
        transport: Rc<Pooled>,
        limit: AnswerLimit,
        load: LoadShare,
    ) -> Self {
        Self {
            attempt,
            lease,
            transport,
            limit,
            _load: load,
        }
    }
}

/// Asks, and reads the answer whole. Of a body that may go on behind it the rest is handed back.
async fn ask<Q: Question>(
    attempt: Attempt,
    transport: Rc<Pooled>,
    limit: AnswerLimit,
) -> Result<(Q::Answer, Option<BodyStream>), ApiError> {
    let deadline = attempt.spec.deadline;
    let timeouts = Timeouts {
        // There are none but the answer.
        first_event: None,
        progress: None,
        ..attempt.spec.provider.timeouts.clone()
    };
    let mut clock = Clock::new(Instant::now());
    let phase = Rc::new(Cell::new(Phase::Authorize));
    let opening = open(attempt, transport, phase.clone(), Q::head_limit(&timeouts));
    let due = clock.next(&timeouts, deadline, true, true);
    let (response, secrets) = within(due, &phase, opening).await??;
    phase.set(Phase::Body);
    clock.on_head(Instant::now());
    let TransportResponse {
        status,
        headers,
        mut body,
    } = response;
    let request_id = server_error::request_id(&headers);
    let with_request_id = |mut error: ApiError| {
        error.details_mut().request_id = request_id.clone();
        error.details_mut().phase = Some(Phase::Body);
        secrets.scrub(&mut error);
        error
    };
    let mut reading = Q::reading(limit);
    let mut read = BytesMut::new();
    let (mut rest, mut cut) = (None, None);
    loop {
        let due = clock.next(&timeouts, deadline, true, true);
        let chunk = match within(due, &phase, body.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                cut = Some(error.into());
                break;
            }
            Err(over) => {
                cut = Some(over);
                break;
            }
        };
        clock.on_byte(Instant::now());
        if read.len() + chunk.len() > limit.bytes {
            let AnswerLimit { name, bytes } = limit;
            let message = format!("{} is over {bytes} bytes (limit `{name}`)", Q::ANSWER);
            return Err(with_request_id(ApiError::new(ErrorKind::TooLarge, message)));
        }
        read.extend_from_slice(&chunk);
        if Q::is_whole(&mut reading, &read) {
            rest = Some(body);
            break;
        }
    }
    let answer = match (Q::read(reading, status, &headers, &read), cut) {
        // An error that is known is not replaced by how the connection ended.
        (Err(said), Some(_)) if is_json(&read) => Err(said),
        (_, Some(cut)) => Err(cut),
        (answer, None) => answer,
    };
    Ok((answer.map_err(with_request_id)?, rest))
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// What a body says that is no answer, as `wrong` tells: the server's own words where it has some.
pub(crate) fn said_instead<Q: Question>(mut wrong: ApiError, body: &str) -> ApiError {
    #[derive(Default, Deserialize)]
    struct Shape {
        output: Option<IgnoredAny>,
        error: Option<IgnoredAny>,
    }
    let parsed = serde_json::from_str::<Option<Shape>>(body);
    // A transport can't tell a cut body from a whole one: JSON that stops in the middle was cut, and may be whole next time.
    if parsed.as_ref().is_err_and(serde_json::Error::is_eof) {
        let message = format!("{} ended in the middle", Q::ANSWER);
        return ApiError::new(ErrorKind::Truncated, message);
    }
    let is_json = parsed
        .as_ref()
        .map_or_else(|error| error.is_data(), |_| true);
    let Shape { output, error } = parsed.ok().flatten().unwrap_or_default();
    // The fields of an output are not those of an error.
    let reports_error = output.is_none() || error.is_some();
    if let Some(said) = server_error::error_in(body).filter(|_| reports_error) {
        return said.into_api_error(None);
    }
    if let Some(text) = server_error::excerpt(body).filter(|_| !is_json) {
        wrong.details_mut().message += &format!(": {text}");
    }
    wrong
}

impl<Q: Question> Actor for Asker<Q> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let asking = ask::<Q>(self.attempt.clone(), self.transport.clone(), self.limit);
        let span = self.attempt.span(Q::OPERATION);
        let asking = asking.instrument(span.clone());
        ctx.spawn(asking.into_actor(self).map(move |result, this, ctx| {
            let (result, rest) = match result {
                Ok((answer, rest)) => {
                    Q::record(&span, &answer);
                    (Ok(answer), rest)
                }
                Err(error) => {
                    telemetry::record_error(&span, &error);
                    (Err(error), None)
                }
            };
            this.lease.set_result(result);
            if let Some(body) = rest {
                let spec = &this.attempt.spec;
                this.transport
                    .drain(&spec.origin, body, spec.provider.drain);
            }
            ctx.stop();
        }));
    }
}

/// Waits for something, but no longer than a limit allows.
async fn within<T>(
    due: Option<(Instant, Limit)>,
    phase: &Cell<Phase>,
    awaited: impl Future<Output = T>,
) -> Result<T, ApiError> {
    match due {
        None => Ok(awaited.await),
        Some((at, limit)) => timeout_at(at, awaited)
            .await
            .map_err(|_| limit.error(phase.get())),
    }
}

impl<Q: Question> Handler<StopAsking> for Asker<Q> {
    type Result = ();

    fn handle(&mut self, _: StopAsking, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
