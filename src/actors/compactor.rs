//! `Compactor`: exactly one attempt at a compaction, one question and one answer.
//!
//! Started by a worker for the supervisor. Receives [`StopCompaction`]. Reports with the [`CompactionEnded`] of its lease. Ends
//! when the answer is whole, at a failure, a deadline or a stop.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient,
    WrapFuture,
};
use bytes::BytesMut;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;

use super::{RequestId, drain::Drains, opening::open, request::RequestSpec, worker::LoadShare};
use crate::{
    error::{ApiError, ErrorKind, Phase},
    protocol::CompactionOutput,
    provider::Transport,
    telemetry,
    wire::server_error,
};

/// To the supervisor, exactly once for each attempt, whatever became of it.
pub(super) struct CompactionEnded {
    pub(super) request: RequestId,
    pub(super) attempt: u32,
    pub(super) result: Result<CompactionOutput, ApiError>,
}

impl Message for CompactionEnded {
    type Result = ();
}

/// From the supervisor: nobody wants the answer any more.
pub(super) struct StopCompaction;

impl Message for StopCompaction {
    type Result = ();
}

/// The duty to report an attempt. Its drop reports it as lost if nothing else was.
pub(super) struct CompactionLease {
    report: Recipient<CompactionEnded>,
    request: RequestId,
    attempt: u32,
    result: Option<Result<CompactionOutput, ApiError>>,
}

impl CompactionLease {
    pub(super) fn new(
        report: Recipient<CompactionEnded>,
        request: RequestId,
        attempt: u32,
    ) -> Self {
        Self {
            report,
            request,
            attempt,
            result: None,
        }
    }

    pub(super) fn set_result(&mut self, result: Result<CompactionOutput, ApiError>) {
        self.result = Some(result);
    }
}

impl Drop for CompactionLease {
    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each attempt, and it must arrive"
    )]
    fn drop(&mut self) {
        let lost = || Err(ApiError::attempt_lost());
        self.report.do_send(CompactionEnded {
            request: self.request,
            attempt: self.attempt,
            result: self.result.take().unwrap_or_else(lost),
        });
    }
}

pub(super) struct Compactor {
    spec: Arc<RequestSpec>,
    lease: CompactionLease,
    transport: Rc<dyn Transport>,
    drains: Rc<Drains>,
    refresh_auth: bool,
    max_bytes: usize,
    _load: LoadShare,
}

impl Compactor {
    pub(super) fn new(
        spec: Arc<RequestSpec>,
        lease: CompactionLease,
        transport: Rc<dyn Transport>,
        drains: Rc<Drains>,
        refresh_auth: bool,
        max_bytes: usize,
        load: LoadShare,
    ) -> Self {
        Self {
            spec,
            lease,
            transport,
            drains,
            refresh_auth,
            max_bytes,
            _load: load,
        }
    }
}

/// Asks, and reads the answer whole.
async fn ask(
    spec: Arc<RequestSpec>,
    transport: Rc<dyn Transport>,
    drains: Rc<Drains>,
    attempt: u32,
    refresh_auth: bool,
    max_bytes: usize,
) -> Result<CompactionOutput, ApiError> {
    let timeouts = spec.provider.timeouts.clone();
    let phase = Rc::new(Cell::new(Phase::Authorize));
    let opening = open(
        spec.clone(),
        transport,
        drains,
        attempt,
        refresh_auth,
        phase.clone(),
    );
    let opened = timeout(timeouts.compaction_head, opening).await;
    let response = opened.map_err(|_| head_timeout(timeouts.compaction_head, phase.get()))?;
    let (response, secrets) = response?;
    let request_id = server_error::request_id(&response.headers);
    let with_request_id = |mut error: ApiError| {
        error.details_mut().request_id = request_id.clone();
        error.details_mut().phase = Some(Phase::Body);
        secrets.scrub(&mut error);
        error
    };
    let mut body = response.body;
    let mut read = BytesMut::new();
    loop {
        let Ok(next) = timeout(timeouts.idle, body.next()).await else {
            let message = format!("no byte for {:?}", timeouts.idle);
            return Err(with_request_id(ApiError::new(
                ErrorKind::IdleTimeout,
                message,
            )));
        };
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(|error| with_request_id(error.into()))?;
        if read.len() + chunk.len() > max_bytes {
            let message = format!(
                "the answer to the compaction is over {max_bytes} bytes (limit `max_compaction_bytes`)"
            );
            return Err(with_request_id(ApiError::new(ErrorKind::TooLarge, message)));
        }
        read.extend_from_slice(&chunk);
    }
    let text = String::from_utf8_lossy(&read);
    if let Some(error) = server_error::error_in(&text) {
        return Err(with_request_id(error.into_api_error(None)));
    }
    CompactionOutput::from_json(&text).map_err(|error| with_request_id(truncated_or(error, &text)))
}

/// A transport can't tell a cut body from a whole one: JSON that stops in the middle was cut, and may be whole next time.
fn truncated_or(error: ApiError, text: &str) -> ApiError {
    let cut =
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_err_and(|error| error.is_eof());
    match cut {
        true => ApiError::new(
            ErrorKind::Truncated,
            "the answer to the compaction ended in the middle",
        ),
        false => error,
    }
}

fn head_timeout(limit: Duration, phase: Phase) -> ApiError {
    let message = format!("no response head within {limit:?}");
    ApiError::new(ErrorKind::ResponseHeadTimeout, message).with_phase(phase)
}

impl Actor for Compactor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let attempt = self.lease.attempt;
        let deadline = self.spec.deadline;
        let total = self.spec.provider.timeouts.total.unwrap_or_default();
        let asking = ask(
            self.spec.clone(),
            self.transport.clone(),
            self.drains.clone(),
            attempt,
            self.refresh_auth,
            self.max_bytes,
        );
        let asking = async move {
            match deadline {
                None => asking.await,
                Some(deadline) => bounded(asking, deadline, total).await,
            }
        };
        let span = self.spec.attempt_span("compact", attempt);
        let asking = asking.instrument(span.clone());
        ctx.spawn(asking.into_actor(self).map(move |result, this, ctx| {
            match &result {
                Ok(output) => telemetry::record_answer(
                    &span,
                    output.id.as_deref(),
                    output.usage.as_ref(),
                    "stop",
                ),
                Err(error) => telemetry::record_error(&span, error),
            }
            this.lease.set_result(result);
            ctx.stop();
        }));
    }
}

async fn bounded<T>(
    asking: impl Future<Output = Result<T, ApiError>>,
    deadline: Instant,
    total: Duration,
) -> Result<T, ApiError> {
    let over = |_| {
        ApiError::new(
            ErrorKind::TotalTimeout,
            format!("the request took longer than {total:?}"),
        )
    };
    timeout_at(deadline, asking).await.map_err(over)?
}

impl Handler<StopCompaction> for Compactor {
    type Result = ();

    fn handle(&mut self, _: StopCompaction, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
