//! `/healthz`: whether the process answers. `/readyz`: whether it wants more to do. Neither asks a server. `/metrics`: what became of
//! requests.

use actix_web::{
    HttpResponse,
    web::{Data, ServiceConfig, resource, route},
};

use super::shared::Shared;
use crate::store::StoreError;

pub(super) fn routes(app: &mut ServiceConfig) {
    app.service(resource("/healthz").default_service(route().to(healthz)));
    app.service(resource("/readyz").default_service(route().to(readyz)));
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

async fn readyz(shared: Data<Shared>) -> HttpResponse {
    let (mut response, text) = match shared.drain.is_draining() {
        true => (HttpResponse::ServiceUnavailable(), "draining\n"),
        false => match shared.answers.check().await {
            Ok(()) => (HttpResponse::Ok(), "ready\n"),
            // It relays as ever, and new answers are this node's alone. Another one would do no better.
            Err(StoreError::Full) => (HttpResponse::Ok(), "ready, but the store is full\n"),
            // What it says by itself may name hosts.
            Err(_) => (HttpResponse::ServiceUnavailable(), "store unavailable\n"),
        },
    };
    response.content_type("text/plain").body(text)
}

pub(super) async fn metrics(shared: Data<Shared>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4")
        .body(shared.metrics.text())
}
