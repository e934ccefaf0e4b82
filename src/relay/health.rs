//! `/healthz`: whether the process answers.

use actix_web::{
    HttpResponse,
    web::{ServiceConfig, get},
};

pub(super) fn routes(app: &mut ServiceConfig) {
    app.route("/healthz", get().to(healthz));
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().body("ok\n")
}
