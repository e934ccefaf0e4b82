//! The page, and the list of streams behind it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    middleware::from_fn,
    web::{Data, ServiceConfig, get, resource},
};
use serde_json::{Value, json};

use super::{
    answers::{Answer, End},
    gate,
    shared::Shared,
};
use crate::wire::Wire;

/// What a browser may load and run: what comes from here, and nothing that stands in a text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How many streams are listed.
const LISTED: usize = 300;

pub(super) fn routes(app: &mut ServiceConfig) {
    // They hold nothing of anybody, and ask for the token where one is needed.
    for (path, kind, text) in [
        (
            "/",
            "text/html; charset=utf-8",
            include_str!("page/page.html"),
        ),
        (
            "/page.css",
            "text/css; charset=utf-8",
            include_str!("page/page.css"),
        ),
        (
            "/page.js",
            "text/javascript; charset=utf-8",
            include_str!("page/page.js"),
        ),
    ] {
        app.route(path, get().to(move || async move { file(kind, text) }));
    }
    // Browsers ask for it of their own accord.
    let none = || async { HttpResponse::NoContent().finish() };
    app.route("/favicon.ico", get().to(none));
    app.service(
        resource("/streams")
            .wrap(from_fn(gate::gate))
            .route(get().to(list)),
    );
}

fn file(kind: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, kind))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(text)
}

async fn list(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    let client = match gate::admit(&request, &shared) {
        Ok(client) => client,
        Err(refusal) => return refusal.respond(),
    };
    let streams = shared.answers.list(&client);
    let shown: Vec<_> = streams
        .iter()
        .take(LISTED)
        .map(|answer| row(answer))
        .collect();
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({"object": "list", "total": streams.len(), "data": shown}))
}

fn row(answer: &Answer) -> Value {
    let usage = answer.usage();
    json!({
        "id": answer.id(),
        "server_id": answer.server_id(),
        "model": answer.about().model,
        "provider": answer.provider(),
        "api": match answer.about().wire { Wire::Responses => "responses", _ => "chat" },
        "state": answer.end_so_far().map_or(if answer.count() == 0 { "waiting" } else { "streaming" }, End::as_str),
        "attempt": answer.attempt(),
        "age_ms": answer.age().as_millis() as u64,
        "events": answer.count(),
        "input_tokens": usage.map(|usage| usage.0),
        "output_tokens": usage.map(|usage| usage.1),
        "readers": answer.readers(),
        "first_event_ms": answer.time_to_first_block().map(|time| time.as_millis() as u64),
        "resumable": answer.is_resumable(),
    })
}
