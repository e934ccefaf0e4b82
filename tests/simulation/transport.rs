//! A transport that plays the plan, and counts what is open and how far bodies are read.

use std::{
    future::pending,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
    vec,
};

use actix_responses::{
    actors::DeliveryPolicy,
    transport::{
        Transport, TransportError, TransportErrorKind, TransportFactory, TransportRequest,
        TransportResponse,
    },
};
use bytes::Bytes;
use futures_core::future::LocalBoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    plan::{AttemptPlan, Fault, LinkPlan, Plan, Signal, Step},
    world::{AttemptRecord, World},
};

/// The header that says which request of the plan one is.
pub(crate) const REQUEST_HEADER: HeaderName = HeaderName::from_static("x-simulated-request");

/// Where fallbacks go.
pub(crate) const FALLBACK_HOST: &str = "fallback.test";

/// What a panic of the plan's says: the test's panic hook leaves it out.
pub(crate) const SCRIPTED_PANIC: &str = "a scripted panic";

pub(crate) struct SimulatedTransports {
    pub(crate) plan: Arc<Plan>,
    pub(crate) world: Arc<World>,
}

impl TransportFactory for SimulatedTransports {
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
        self.world.transports.fetch_add(1, Ordering::SeqCst);
        Ok(Rc::new(SimulatedTransport {
            plan: self.plan.clone(),
            world: self.world.clone(),
        }))
    }
}

struct SimulatedTransport {
    plan: Arc<Plan>,
    world: Arc<World>,
}

impl Drop for SimulatedTransport {
    fn drop(&mut self) {
        self.world.transports.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An exchange that is open.
struct Open {
    world: Arc<World>,
    plan: Arc<Plan>,
    request: usize,
    attempt: u32,
}

impl Open {
    fn new(world: Arc<World>, plan: Arc<Plan>, request: usize, is_elsewhere: bool) -> Self {
        let now = world.now();
        let attempt = {
            let mut record = world.record();
            let record = &mut record.requests[request];
            record.open += 1;
            record.attempts.push(AttemptRecord {
                sent_at: now,
                is_elsewhere,
                closed_at: None,
                events_yielded: 0,
                largest_chunk_events: 0,
                terminal_at: None,
            });
            record.attempts.len() as u32
        };
        world.note(format_args!("request {request}: attempt {attempt} is sent"));
        world.signal(request, Signal::Sent { attempt });
        Self {
            world,
            plan,
            request,
            attempt,
        }
    }

    fn yielded(&self, events: u64, is_terminal: bool) {
        let now = self.world.now();
        {
            let mut record = self.world.record();
            let attempt = &mut record.requests[self.request].attempts[self.attempt as usize - 1];
            attempt.events_yielded += events;
            attempt.largest_chunk_events = attempt.largest_chunk_events.max(events);
            if is_terminal {
                attempt.terminal_at = Some(now);
            }
        }
        self.note_read_ahead();
        if is_terminal {
            self.world.note(format_args!(
                "request {}: attempt {} is whole",
                self.request, self.attempt
            ));
            self.world.signal(
                self.request,
                Signal::Terminal {
                    attempt: self.attempt,
                },
            );
        }
    }

    /// How far the first attempt is read ahead of those who listen from the start and are waited for.
    ///
    /// The bound, in events: what the mailbox holds and the two messages beside it, each with a whole batch; what the log
    /// may lag; and the batch that was begun before the lag was seen.
    fn note_read_ahead(&self) {
        if self.attempt != 1 {
            return;
        }
        let now = self.world.now();
        let mut record = self.world.record();
        let attempt = record.requests[self.request].attempts[0].clone();
        let lag = self.plan.limits.lag_events as u64;
        let batch = (64 * attempt.largest_chunk_events).max(256);
        for listener in &mut record.listeners {
            let DeliveryPolicy::Wait { max_wait } = listener.plan.policy else {
                continue;
            };
            let is_here = listener.joined_at.is_some()
                && listener.left_at.is_none()
                && listener.died_at.is_none();
            // One that may have been given up has its end in its mailbox, where it is not seen yet.
            let may_lag = attempt.sent_at + max_wait <= now;
            let is_another = listener.request != self.request || listener.plan.joins.is_some();
            if is_another || !is_here || may_lag || listener.ends() > 0 {
                continue;
            }
            let messages = match listener.plan.link {
                LinkPlan::Stream => 16 + 3,
                _ => listener.plan.capacity as u64 + 3,
            };
            let bound = messages * batch + lag + batch;
            let ahead = attempt
                .events_yielded
                .saturating_sub(listener.seen.len() as u64);
            if listener.read_ahead.is_none_or(|(most, _)| ahead > most) {
                listener.read_ahead = Some((ahead, bound));
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let now = self.world.now();
        {
            let mut record = self.world.record();
            let request = &mut record.requests[self.request];
            request.open -= 1;
            request.closed_at = now;
            request.attempts[self.attempt as usize - 1].closed_at = Some(now);
        }
        self.world.note(format_args!(
            "request {}: attempt {} is closed",
            self.request, self.attempt
        ));
        self.world.signal(
            self.request,
            Signal::Over {
                attempt: self.attempt,
            },
        );
    }
}

impl Transport for SimulatedTransport {
    fn send(
        &self,
        request: TransportRequest,
    ) -> LocalBoxFuture<'static, Result<TransportResponse, TransportError>> {
        let index = request.headers[REQUEST_HEADER]
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok());
        let index: usize = index.expect("every request of the simulation has a number");
        let is_elsewhere = request.url.host_str() == Some(FALLBACK_HOST);
        let open = Open::new(self.world.clone(), self.plan.clone(), index, is_elsewhere);
        let attempt = self
            .plan
            .attempts(index)
            .get(open.attempt as usize - 1)
            .cloned();
        if let Some(attempt) = &attempt {
            self.world.record().faults.push(attempt.fault);
        }
        Box::pin(async move {
            // One beyond the plan is one beyond the policy: the checks see it.
            let attempt = attempt.ok_or_else(|| {
                TransportError::new(TransportErrorKind::Connect, "no attempt is left")
            })?;
            answer(attempt, open).await
        })
    }
}

async fn answer(attempt: AttemptPlan, open: Open) -> Result<TransportResponse, TransportError> {
    let (limiter, gate) = (open.plan.limiter, open.plan.gate(open.request));
    let is_counted = !matches!(attempt.fault, Fault::ConnectError(_));
    let limiter = limiter.filter(|_| is_counted);
    let counted = limiter.map(|limiter| open.world.count(gate, &limiter));
    if !attempt.head_after.is_zero() {
        tokio::time::sleep(attempt.head_after).await;
    }
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    headers.insert(
        "content-type",
        HeaderValue::from_static("text/event-stream"),
    );
    match attempt.fault {
        Fault::ConnectError(error) => {
            return Err(TransportError::new(error.kind(), "a scripted error"));
        }
        Fault::HeadStall => pending().await,
        Fault::PanicInSend => panic!("{SCRIPTED_PANIC}"),
        Fault::NoEventStream => {
            headers.insert("content-type", HeaderValue::from_static("text/html"));
        }
        Fault::Status {
            code,
            retry_after_ms,
            ..
        } => {
            status = StatusCode::from_u16(code).expect("a status");
            headers.insert("content-type", HeaderValue::from_static("application/json"));
            if let Some(ms) = retry_after_ms {
                headers.insert("retry-after-ms", HeaderValue::from(ms));
            }
            if code == 429 || (status.is_server_error() && retry_after_ms.is_some()) {
                // Without a word it is a second.
                let wait = retry_after_ms.filter(|ms| *ms > 0).unwrap_or(1_000);
                let now = open.world.now();
                let until = now + Duration::from_millis(wait);
                open.world.record().closings.push((gate, now, until));
            }
        }
        _ => {}
    }
    if let (Some(limiter), Some((left, reset))) = (limiter, counted) {
        let reset = HeaderValue::from_str(&format!("{reset}ms")).expect("a header");
        headers.insert("x-ratelimit-limit-requests", limiter.limit.into());
        headers.insert("x-ratelimit-remaining-requests", left.into());
        headers.insert("x-ratelimit-reset-requests", reset);
    }
    let body = futures_util::stream::unfold((attempt.steps.into_iter(), open), next_chunk);
    Ok(TransportResponse {
        status,
        headers,
        body: Box::pin(body),
    })
}

type Steps = (vec::IntoIter<Step>, Open);

async fn next_chunk((mut steps, open): Steps) -> Option<(Result<Bytes, TransportError>, Steps)> {
    loop {
        match steps.next()? {
            Step::Chunk {
                bytes,
                events,
                is_terminal,
            } => {
                open.yielded(events, is_terminal);
                return Some((Ok(bytes.into()), (steps, open)));
            }
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::Break => {
                let error = TransportError::new(TransportErrorKind::Body, "a scripted reset");
                return Some((Err(error), (Vec::new().into_iter(), open)));
            }
            Step::Hang => pending().await,
            Step::Panic => panic!("{SCRIPTED_PANIC}"),
            Step::Cancel => open.world.cancel_from_body(open.request),
        }
    }
}
