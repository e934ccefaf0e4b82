//! Which path is whose, and what is said to those who ask for none of them.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    middleware::from_fn,
    web::{ServiceConfig, get, post, resource, to},
};

use super::{access::Refusal, access_log, asking, gate, health, questions};

/// The paths of a route of the API: with `/v1` and bare, with a slash behind it and without.
macro_rules! paths {
    ($path:literal) => {
        [
            concat!("/v1/", $path),
            concat!("/v1/", $path, "/"),
            concat!("/", $path),
            concat!("/", $path, "/"),
        ]
    };
}

/// One of them: what it does by method, and what else is told. Each path is a resource of its own: of several in one actix-web makes
/// regular expressions, which every request would be matched with.
macro_rules! route {
    ($app:expr, $paths:expr, $allow:literal, $($route:expr),+) => {
        for path in $paths {
            $app.service(
                resource(path)
                    .app_data(access_log::Named($paths[0]))
                    $(.route($route))+
                    .default_service(to(|request: HttpRequest| async move { others(&request, $allow) }))
                    .wrap(from_fn(gate::gate))
                    .wrap(from_fn(access_log::log)),
            );
        }
    };
}

pub(super) fn routes(app: &mut ServiceConfig) {
    route!(
        app,
        paths!("responses"),
        "POST, OPTIONS",
        post().to(asking::responses),
        get().to(upgrade)
    );
    route!(
        app,
        paths!("chat/completions"),
        "POST, OPTIONS",
        post().to(asking::chat)
    );
    route!(
        app,
        paths!("responses/compact"),
        "POST, OPTIONS",
        post().to(questions::compact)
    );
    route!(
        app,
        paths!("models"),
        "GET, HEAD, OPTIONS",
        get().to(questions::models)
    );
    route!(
        app,
        ["/v1/models/{id:.+}", "/models/{id:.+}"],
        "GET, HEAD, OPTIONS",
        get().to(questions::model)
    );
    route!(
        app,
        ["/metrics", "/metrics/"],
        "GET, HEAD, OPTIONS",
        get().to(health::metrics)
    );
}

/// `OPTIONS` that is no preflight of a browser says what there is, `HEAD` that there is something; anything else is not allowed.
pub(super) fn others(request: &HttpRequest, allow: &'static str) -> HttpResponse {
    match request.method().as_str() {
        "OPTIONS" => HttpResponse::NoContent()
            .insert_header((header::ALLOW, allow))
            .finish(),
        "HEAD" => HttpResponse::Ok()
            .insert_header((header::ALLOW, allow))
            .finish(),
        method => {
            let message = format!("{method} is not allowed here, but {allow}");
            let refusal = Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                message,
            );
            let mut response = refusal.respond();
            let allow = header::HeaderValue::from_static(allow);
            response.headers_mut().insert(header::ALLOW, allow);
            response
        }
    }
}

/// Codex asks for a WebSocket here, and falls back at once when it is told to.
async fn upgrade(request: HttpRequest) -> HttpResponse {
    if !request.headers().contains_key(header::UPGRADE) {
        return others(&request, "POST, OPTIONS");
    }
    gate::over_http()
}

/// What is nobody's path.
pub(super) async fn unknown(request: HttpRequest) -> HttpResponse {
    let message = format!("there is no {} here", request.path());
    Refusal::new(StatusCode::NOT_FOUND, "not_found", message).respond()
}
