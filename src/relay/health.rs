//! `/healthz`: whether the process answers. `/readyz`: whether it wants more to do. Neither asks a server. `/metrics`: what became of
//! requests.

use actix_web::{
    HttpResponse,
    web::{Data, ServiceConfig, resource, route},
};

use super::shared::Shared;

pub(super) fn routes(app: &mut ServiceConfig) {
    app.service(resource("/healthz").default_service(route().to(healthz)));
    app.service(resource("/readyz").default_service(route().to(readyz)));
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

async fn readyz(shared: Data<Shared>) -> HttpResponse {
    match shared.drain.is_draining() {
        false => HttpResponse::Ok()
            .content_type("text/plain")
            .body("ready\n"),
        true => HttpResponse::ServiceUnavailable()
            .content_type("text/plain")
            .body("draining\n"),
    }
}

pub(super) async fn metrics(shared: Data<Shared>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4")
        .body(shared.metrics.text())
}
