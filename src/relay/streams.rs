//! The page, and the list of streams behind it.

use std::{borrow::Cow, convert::Infallible, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    middleware::from_fn,
    web::{Data, ServiceConfig, get, resource, to},
};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    access::Client,
    answers::{Answer, End},
    gate, routes,
    shared::Shared,
};
use crate::wire::Wire;

/// What a browser may load and run: what comes from here, and nothing that stands in a text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How many streams are listed.
const LISTED: usize = 300;
/// How many characters of a name.
const LONGEST: usize = 200;
/// How often a list that is watched is looked at, and how many times: then who watches asks again, and has to show its token.
const PACE: Duration = Duration::from_secs(1);
const LOOKS: u32 = 60;

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
        let page = get().to(move || async move { file(kind, text) });
        app.service(resource(path).route(page).default_service(to(others)));
    }
    // Browsers ask for it of their own accord.
    let none = || async { HttpResponse::NoContent().finish() };
    app.route("/favicon.ico", get().to(none));
    app.service(
        resource("/streams")
            .wrap(from_fn(gate::gate))
            .route(get().to(list))
            .default_service(to(others)),
    );
}

async fn others(request: HttpRequest) -> HttpResponse {
    routes::others(&request, "GET, HEAD, OPTIONS")
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
    let accept = request.headers().get(header::ACCEPT);
    let is_watched = accept.is_some_and(|accept| accept == "text/event-stream");
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if !is_watched {
        return response.json(streams_of(&shared, &client, Duration::ZERO).await);
    }
    response
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(watched(shared.into_inner(), client))
}

/// The list at once, and whenever it has changed.
fn watched(shared: Arc<Shared>, client: Client) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let mut looks = interval(PACE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold((looks, LOOKS, String::new()), move |state| {
        let (mut looks, mut left, last) = state;
        let (shared, client) = (shared.clone(), client.clone());
        async move {
            while left > 0 && !shared.drain.is_draining() {
                looks.tick().await;
                left -= 1;
                let list = streams_of(&shared, &client, PACE * 9 / 10)
                    .await
                    .to_string();
                if list != last {
                    let event = Bytes::from(format!("data: {list}\n\n"));
                    return Some((Ok(event), (looks, left, list)));
                }
            }
            None
        }
    })
}

/// The streams of a client: those that run, then those that have ended, the newest first. `store` is there where that does not answer, and the
/// streams of other nodes are missing. What is known of those may be so old.
async fn streams_of(shared: &Shared, client: &Client, may_be_old: Duration) -> Value {
    let all = shared.answers.list(client, may_be_old).await;
    let total = all.answers.len();
    let (running, ended): (Vec<_>, Vec<_>) = all
        .answers
        .into_iter()
        .partition(|answer| answer.end_so_far().is_none());
    let shown = running.iter().chain(&ended).take(LISTED);
    let shown: Vec<_> = shown.map(|answer| row(answer)).collect();
    let mut list =
        json!({"object": "list", "total": total, "running": running.len(), "data": shown});
    if !all.is_whole {
        list["store"] = "unavailable".into();
    }
    list
}

fn row(answer: &Answer) -> Value {
    let usage = answer.usage();
    json!({
        "id": answer.id(),
        "server_id": answer.server_id().map(short),
        "model": short(&answer.about().model),
        "provider": answer.provider(),
        "api": match answer.about().wire { Wire::Responses => "responses", _ => "chat" },
        "state": answer.end_so_far().map_or(if answer.count() == 0 { "waiting" } else { "streaming" }, End::as_str),
        "error": answer.failure().map(short),
        "attempt": answer.attempt(),
        "age_ms": answer.age().as_millis() as u64,
        "first_event_ms": answer.time_to_first_block().map(|time| time.as_millis() as u64),
        "events": answer.count(),
        "input_tokens": usage.map(|usage| usage.input_tokens),
        "output_tokens": usage.map(|usage| usage.output_tokens),
        "readers": answer.readers(),
        "resumable": answer.is_resumable(),
    })
}

/// A text of a client's or a server's as it is listed: neither has a bound of its own.
fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio::time::{Instant, pause, timeout};

    use super::*;
    use crate::{
        Runtime,
        provider::Provider,
        relay::{Relay, RelayConfig, RouteTable, answers::About},
    };

    fn relay() -> Relay {
        let provider = Provider::new("nobody", "http://127.0.0.1:9/v1").expect("a provider");
        let runtime = Runtime::start(provider.clone()).expect("a runtime");
        let routes = RouteTable::single(Arc::new(provider));
        Relay::new(runtime, routes, RelayConfig::default())
    }

    fn begin(relay: &Relay, model: &str) -> Arc<Answer> {
        let about = About {
            wire: Wire::Chat,
            model: model.to_owned(),
            provider: "nobody".to_owned(),
            detached: false,
            stored: true,
            background: false,
            request: Bytes::new(),
        };
        relay.shared.answers.begin(&Client::Anonymous, about)
    }

    #[actix_rt::test]
    async fn the_list_is_bounded_and_what_runs_stands_first() {
        let relay = relay();
        let long = "m".repeat(100_000);
        begin(&relay, "runs");
        for _ in 0..LISTED + 10 {
            let answer = begin(&relay, &long);
            answer.set_failure(&long);
            answer.end(End::Failed);
        }
        let list = streams_of(&relay.shared, &Client::Anonymous, Duration::ZERO).await;
        assert_eq!([&list["total"], &list["running"]], [LISTED + 11, 1]);
        let rows = list["data"].as_array().expect("rows");
        assert_eq!((rows.len(), &rows[0]["model"]), (LISTED, &json!("runs")));
        for name in ["model", "error"] {
            let text = rows[1][name].as_str().expect("a text");
            assert!(text.ends_with("m…") && text.chars().count() == LONGEST + 1);
        }
    }

    #[actix_rt::test]
    async fn a_list_that_is_watched_is_told_anew_when_it_has_changed_and_ends_after_a_minute() {
        let relay = relay();
        pause();
        let began = Instant::now();
        let mut list = Box::pin(watched(relay.shared.clone(), Client::Anonymous));
        let told = |event: Option<Result<Bytes, Infallible>>| -> Value {
            let event = event.expect("an event").expect("no failure");
            let data = event.strip_prefix(b"data: ").expect("data");
            serde_json::from_slice(data).expect("JSON")
        };
        assert_eq!(told(list.next().await)["total"], 0);
        let nothing = timeout(PACE * 3, list.next()).await;
        assert!(nothing.is_err(), "it is told again, and has not changed");
        let answer = begin(&relay, "m");
        let next = told(list.next().await);
        assert_eq!(next["data"][0]["state"], "waiting");
        // One that runs grows older, and one that has ended does not.
        assert_ne!(told(list.next().await), next);
        answer.end(End::Completed);
        assert_eq!(told(list.next().await)["data"][0]["state"], "completed");
        assert!(list.next().await.is_none());
        assert!(began.elapsed() > PACE * (LOOKS / 2) && began.elapsed() <= PACE * LOOKS);
    }

    #[actix_rt::test]
    async fn a_list_that_is_watched_ends_with_the_relay() {
        let relay = relay();
        let mut list = Box::pin(watched(relay.shared.clone(), Client::Anonymous));
        assert!(list.next().await.is_some());
        relay.shared.drain.emptied_within(Duration::ZERO).await;
        assert!(list.next().await.is_none());
    }
}
