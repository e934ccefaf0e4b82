//! One line for each request, when the last byte of its answer is out: what was asked for and how it went, and nothing of what it said.

use std::{
    borrow::Cow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage as _, HttpRequest,
    body::{BodySize, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::Method,
    middleware::Next,
    web::Data,
};
use bytes::Bytes;
use tokio::time::Instant;
use tracing::info;

use super::{access::Client, answers::Answer, drain::Running, metrics, shared::Shared};
use crate::wire::Wire;

/// What logs and metrics call a route, by whichever of its paths it is asked.
#[derive(Clone, Copy)]
pub(super) struct Named(pub(super) &'static str);

/// What a handler tells of a request.
#[derive(Clone, Default)]
pub(super) struct Told {
    pub(super) wire: Option<Wire>,
    /// As the client named it.
    pub(super) model: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) attempt: u32,
    pub(super) answer: Option<Arc<Answer>>,
}

impl Told {
    pub(super) fn tell(self, request: &HttpRequest) {
        request.extensions_mut().insert(self);
    }
}

/// The outermost middleware of every route.
pub(super) async fn log(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let began = Instant::now();
    let response = next.call(request).await?;
    let request = response.request().clone();
    let status = response.status().as_u16();
    let mut extensions = request.extensions_mut();
    let line = Line {
        began,
        status,
        bytes: 0,
        method: request.method().clone(),
        route: request.app_data::<Named>().map_or_else(
            || request.match_pattern().unwrap_or_default().into(),
            |Named(name)| (*name).into(),
        ),
        told: extensions.remove::<Told>().unwrap_or_default(),
        client: extensions.get::<Client>().cloned(),
        shared: request.app_data::<Data<Shared>>().cloned(),
        _running: extensions.remove::<Arc<Running>>(),
    };
    drop(extensions);
    Ok(response.map_body(|_, body| Logged {
        line,
        body: Box::pin(body),
    }))
}

struct Line {
    began: Instant,
    status: u16,
    bytes: u64,
    method: Method,
    route: Cow<'static, str>,
    told: Told,
    client: Option<Client>,
    shared: Option<Data<Shared>>,
    /// It runs until its body is out.
    _running: Option<Arc<Running>>,
}

impl Drop for Line {
    fn drop(&mut self) {
        let Told {
            wire,
            model,
            provider,
            attempt,
            answer,
        } = &self.told;
        if let Some(shared) = &self.shared {
            shared.metrics.answered(&self.route, self.status);
        }
        let answer = answer.as_deref();
        info!(
            target: "actix_responses::relay::access",
            method = %self.method,
            route = &*self.route,
            status = self.status,
            wire = wire.map(metrics::name),
            model = model.as_deref().map(metrics::shortened),
            provider = answer.map(Answer::provider).or(provider.as_deref()),
            client = self.client.as_ref().map(Client::label),
            attempt = answer.map_or(*attempt, |answer| answer.attempt().max(*attempt)),
            ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes = self.bytes,
            "request"
        );
    }
}

struct Logged<B> {
    line: Line,
    body: Pin<Box<B>>,
}

impl<B: MessageBody> MessageBody for Logged<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        let next = self.body.as_mut().poll_next(cx);
        if let Poll::Ready(Some(Ok(bytes))) = &next {
            self.line.bytes += bytes.len() as u64;
        }
        next
    }
}
