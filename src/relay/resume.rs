//! Answers that were asked for before: read again, gone on with, stopped, removed.

pub(in crate::relay) mod cursor;
pub(in crate::relay) mod object;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, Resource,
    error::{InternalError, QueryPayloadError},
    guard,
    http::{StatusCode, header},
    middleware::from_fn,
    web::{Data, Path, Query, QueryConfig, ServiceConfig, delete, get, head, post, resource},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use self::cursor::Numbers;
use super::{
    access_log,
    answers::{Answer, ReadError},
    connection, ending, failure, forward, gate, routes,
    shared::Shared,
    takeover,
};
use crate::{store::StreamInfo, wire::Wire};

/// How long a cancel waits for the end of its answer.
const CANCEL_PATIENCE: Duration = Duration::from_secs(1);

/// How long a client is let wait whose answer the store does not have as far as it has read, and how often that is looked at. What is told is
/// stored within a tenth of a second, unless the store or this machine is slow.
const CATCH_UP: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(50);

/// The most items of one page, as OpenAI has it.
const MAX_PAGE: usize = 100;

pub(super) fn routes(app: &mut ServiceConfig) {
    let one = at("").route(get().to(retrieve)).route(head().to(retrieve));
    let one = one.route(delete().to(remove));
    let stop = at("/cancel").route(post().to(cancel));
    let input = at("/input_items").route(get().to(list_input));
    for resource in [one, stop, input] {
        let gated = resource.wrap(from_fn(gate::gate));
        app.service(gated.wrap(from_fn(access_log::log)));
    }
}

fn at(below: &str) -> Resource {
    let paths: Vec<_> = ["/v1", ""]
        .into_iter()
        .flat_map(|root| ["", "/"].map(|slash| format!("{root}/responses/{{id}}{below}{slash}")))
        .collect();
    let allow = match below {
        "/cancel" => "POST, OPTIONS",
        "/input_items" => "GET, OPTIONS",
        _ => "GET, HEAD, DELETE, OPTIONS",
    };
    let refuse = move |request: HttpRequest| async move { routes::others(&request, allow) };
    // That is a question, and no id.
    let is_no_id = |request: &guard::GuardContext<'_>| {
        request
            .head()
            .uri
            .path()
            .trim_end_matches('/')
            .ends_with("/responses/compact")
    };
    resource(paths)
        .app_data(QueryConfig::default().error_handler(|error, _| {
            let message = match &error {
                QueryPayloadError::Deserialize(error) => {
                    format!("The query can not be read: {error}.")
                }
                error => format!("{error}."),
            };
            let refused = failure::refused(StatusCode::BAD_REQUEST, &message, None);
            InternalError::from_response(error, refused).into()
        }))
        .guard(guard::fn_guard(move |request| !is_no_id(request)))
        .default_service(actix_web::web::to(refuse))
}

fn refuse(status: StatusCode, code: Option<&str>, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({"error": {
        "message": message, "type": "invalid_request_error", "param": null, "code": code,
    }}))
}

fn not_found(id: &str) -> HttpResponse {
    refuse(
        StatusCode::NOT_FOUND,
        None,
        &format!("Response with id '{id}' not found."),
    )
}

/// The answer that a request is about, if it is this client's. What is none of this relay's may be the server's to answer.
async fn answer_of(
    request: &HttpRequest,
    shared: &Data<Shared>,
    id: &str,
) -> Result<Arc<Answer>, HttpResponse> {
    let client = gate::admit(request, shared).map_err(|refusal| refusal.respond())?;
    match shared.answers.find(&client, id).await {
        Ok(Some(answer)) => {
            takeover::found(shared, request, &answer);
            Ok(answer)
        }
        Ok(None) => Err(forward::about(request, shared, id)
            .await
            .unwrap_or_else(|| not_found(id))),
        Err(error) => Err(unreadable(error)),
    }
}

/// Why what is asked for can't be read, or done.
fn unreadable(error: ReadError) -> HttpResponse {
    let (status, code, message) = match error {
        ReadError::NotResumable | ReadError::TooSlow => (
            StatusCode::CONFLICT,
            "stream_not_resumable",
            "The response is longer than what is kept of one: it can not be resumed.",
        ),
        ReadError::Expired => (
            StatusCode::NOT_FOUND,
            "stream_expired",
            "The response is not kept any longer.",
        ),
        ReadError::Unavailable | ReadError::Lost | ReadError::HandedOn => (
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            "The store that keeps responses does not answer: one that has ended, or that another node of this relay answers, can \
             not be read, stopped or gone on with now.",
        ),
    };
    refuse(status, Some(code), message)
}

#[derive(Deserialize)]
struct Resume {
    stream: Option<String>,
    starting_after: Option<String>,
}

/// Behind how many of these blocks, which are all so far, a client goes on that has read up to this number; and the number, where it may have
/// read more at a node that is gone than that had stored: of what is read now it has all up to that, but for the end. `info` is what the store
/// says of one that this node does not write; of one that has ended, since then.
fn place(info: Option<&StreamInfo>, blocks: &[Bytes], number: u64) -> Option<(u64, Option<u64>)> {
    let count = blocks.len() as u64;
    let position = cursor::position_after(blocks, number);
    let is_failure = || blocks.last().is_some_and(|last| ending::is_failure(last));
    let may_be_ahead = match info {
        Some(info) if info.end.is_none() => Some(count),
        // A node that knew less of it wrote its end, which may stand in the place of a block that the client has.
        Some(info) if info.epoch > 1 && is_failure() => Some(count.saturating_sub(1)),
        _ => None,
    };
    match (position, may_be_ahead) {
        (Some(position), Some(ahead)) if position > ahead => Some((ahead, Some(number))),
        // Nothing says yet whether the first event, which has not come, has the number 0.
        (Some(0), _) => Some((0, Some(number))),
        (Some(position), _) => Some((position, None)),
        (None, Some(ahead)) => Some((ahead, Some(number))),
        (None, None) => None,
    }
}

/// An answer, its blocks so far, and behind which of them a client goes on that has read up to this number.
///
/// Who has more than the store mostly read it where it is written, and was told an end that is about to be stored: that is waited for, so
/// that it is not told again.
async fn found(
    request: &HttpRequest,
    shared: &Data<Shared>,
    id: &str,
    after: Option<&str>,
) -> Result<(Arc<Answer>, Vec<Bytes>, (u64, Option<u64>)), HttpResponse> {
    let until = Instant::now() + CATCH_UP;
    let mut read = None;
    loop {
        let answer = answer_of(request, shared, id).await?;
        let has_moved = answer
            .info()
            .is_none_or(|info| info.end.is_some() || read != Some(info.blocks));
        if !has_moved && Instant::now() < until {
            sleep(LOOK).await;
            continue;
        }
        let blocks = answer.blocks().await.map_err(unreadable)?;
        let Some(after) = after else {
            return Ok((answer, blocks, (0, None)));
        };
        let bad = |what| refuse(StatusCode::BAD_REQUEST, None, what);
        let number = after
            .parse()
            .map_err(|_| bad("starting_after is no number."))?;
        let place = place(answer.info(), &blocks, number)
            .ok_or_else(|| bad("starting_after is beyond what was sent of this response."))?;
        let ran = answer.info().is_some_and(|info| info.end.is_none());
        let is_ahead = number > 0 && place.1.is_some();
        // Where it ended between the two looks, the next says whose end that is.
        let is_known = !ran || !(is_ahead || answer.end_so_far().is_some());
        if is_known || Instant::now() >= until {
            return Ok((answer, blocks, place));
        }
        read = Some(blocks.len() as u64);
        sleep(LOOK).await;
    }
}

async fn retrieve(
    request: HttpRequest,
    shared: Data<Shared>,
    id: Path<String>,
    query: Query<Resume>,
) -> HttpResponse {
    let retrieved = async {
        let last_seen = request
            .headers()
            .get("last-event-id")
            .and_then(|id| id.to_str().ok());
        let after = query.starting_after.as_deref().or(last_seen);
        let is_stream = query.stream.as_deref() == Some("true") || last_seen.is_some();
        let after = after.filter(|_| is_stream);
        let (answer, blocks, (position, ahead)) = found(&request, &shared, &id, after).await?;
        if !is_stream {
            return if answer.about().wire == Wire::Responses {
                Ok(HttpResponse::Ok().json(object::object_of(&answer, &blocks)))
            } else {
                Err(refuse(
                    StatusCode::BAD_REQUEST,
                    None,
                    "This is a chat completion: it is read again with stream=true.",
                ))
            };
        }
        let mut numbers = Numbers::default();
        for (count, block) in (1..).zip(&blocks[..position as usize]) {
            numbers.of(count, block);
        }
        let rescue = takeover::rescue(&shared, answer.client(), &request);
        Ok(HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/event-stream"))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .insert_header(("x-accel-buffering", "no"))
            .insert_header(("x-relay-stream", answer.id()))
            .streaming(
                connection::body(
                    answer.clone(),
                    answer.read_by(position, rescue),
                    shared.config.keepalive,
                )
                .with_ids(numbers)
                .ahead_by(ahead),
            ))
    };
    retrieved
        .await
        .unwrap_or_else(|refusal: HttpResponse| refusal)
}

async fn cancel(request: HttpRequest, shared: Data<Shared>, id: Path<String>) -> HttpResponse {
    let cancelled = async {
        let answer = answer_of(&request, &shared, &id).await?;
        let end = answer.cancel(CANCEL_PATIENCE).await.map_err(unreadable)?;
        if end.is_none() {
            return Err(pending());
        }
        // One that runs in the background there does not end with our stream.
        if answer.about().background {
            let told = timeout(
                CANCEL_PATIENCE,
                told_to_the_server(&request, &shared, &answer),
            );
            match told.await {
                Ok(None) => {}
                Ok(Some(failure)) => return Err(failure),
                Err(_) => return Err(pending()),
            }
        }
        // One that is not kept is cancelled all the same.
        let blocks = answer.blocks().await.unwrap_or_default();
        Ok(HttpResponse::Ok().json(object::object_with(&answer, &blocks, end)))
    };
    cancelled
        .await
        .unwrap_or_else(|refusal: HttpResponse| refusal)
}

fn pending() -> HttpResponse {
    refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        Some("cancel_pending"),
        "The response did not end in time; it is being cancelled.",
    )
}

/// Asks the same of the server that keeps the answer, with the key that made it; a refusal, if that does not do it.
async fn told_to_the_server(
    request: &HttpRequest,
    shared: &Shared,
    answer: &Answer,
) -> Option<HttpResponse> {
    let id = answer.server_id().filter(|_| answer.about().stored)?;
    match forward::to_maker(request, shared, id, answer.maker()?).await? {
        Ok(status) if status.is_success() => None,
        // One that keeps none has none to delete or cancel.
        Ok(status) if matches!(status.as_u16(), 404 | 405 | 501) => None,
        Ok(status) => Some(refuse(
            StatusCode::BAD_GATEWAY,
            Some("server_error"),
            &format!("The server that keeps this response did not do it: {status}."),
        )),
        Err(error) => Some(failure::respond(&error, None)),
    }
}

async fn remove(request: HttpRequest, shared: Data<Shared>, id: Path<String>) -> HttpResponse {
    let removed = async {
        let answer = answer_of(&request, &shared, &id).await?;
        let end = answer.cancel(CANCEL_PATIENCE).await.map_err(unreadable)?;
        // Its writer would bring it back.
        if end.is_none() && answer.info().is_some() {
            return Err(pending());
        }
        if let Some(failure) = told_to_the_server(&request, &shared, &answer).await {
            return Err(failure);
        }
        let removed = shared.answers.remove(&answer).await;
        removed.map_err(unreadable)?;
        Ok(HttpResponse::Ok().json(json!({"id": *id, "object": "response", "deleted": true})))
    };
    removed
        .await
        .unwrap_or_else(|refusal: HttpResponse| refusal)
}

#[derive(Deserialize)]
struct Page {
    limit: Option<String>,
    order: Option<String>,
    after: Option<String>,
}

async fn list_input(
    request: HttpRequest,
    shared: Data<Shared>,
    id: Path<String>,
    page: Query<Page>,
) -> HttpResponse {
    let answer = match answer_of(&request, &shared, &id).await {
        Ok(answer) => answer,
        Err(refusal) => return refusal,
    };
    let asked = match answer.request().await {
        Ok(asked) => asked,
        Err(error) => return unreadable(error),
    };
    let limit = page.limit.as_deref().map_or(Ok(20), str::parse);
    let Some(limit) = limit.ok().filter(|limit| (1..=MAX_PAGE).contains(limit)) else {
        return refuse(StatusCode::BAD_REQUEST, None, "limit is from 1 to 100.");
    };
    let mut items = object::input_items(&answer, &asked);
    if page.order.as_deref() != Some("asc") {
        items.reverse();
    }
    if let Some(after) = &page.after {
        let seen = items.iter().position(|item| item["id"] == **after);
        items.drain(..seen.map_or(items.len(), |seen| seen + 1));
    }
    let has_more = items.len() > limit;
    items.truncate(limit);
    let id_of = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    HttpResponse::Ok().json(json!({
        "object": "list",
        "first_id": id_of(items.first()),
        "last_id": id_of(items.last()),
        "has_more": has_more,
        "data": items,
    }))
}
