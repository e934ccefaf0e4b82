//! The two `POST`s that ask for an answer.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Payload},
};
use bytes::Bytes;
use serde_json::{Map, Value, json, value::RawValue};
use tokio::time::Instant;

use super::{
    access::{Client, Refusal},
    access_log::Told as Line,
    answers::{About, Answer},
    body,
    bridge::{Bridge, BridgeOptions},
    connection, failure, gate,
    headers::{self, is_codex},
    pump::{self, Ask, Asked, Begun, Question, Streaming},
    rendering::MakeRenderer,
    routing::{Route, Target},
    shared::Shared,
    whole,
};
use crate::{
    ApiError,
    actors::SubmitRequest,
    protocol::{Prompt, ResponseItem},
    wire::Wire,
};

pub(super) async fn responses(
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> HttpResponse {
    answered(Wire::Responses, request, payload, shared).await
}

pub(super) async fn chat(
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> HttpResponse {
    answered(Wire::Chat, request, payload, shared).await
}

async fn answered(
    wire: Wire,
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> HttpResponse {
    match answer(wire, &request, payload, &shared).await {
        Ok(response) => response,
        Err(refusal) => refusal.respond(),
    }
}

/// What is read of a body besides the prompt.
struct Wanted {
    streams: bool,
    in_background: bool,
}

async fn answer(
    wire: Wire,
    request: &HttpRequest,
    payload: Payload,
    shared: &Data<Shared>,
) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let client = gate::admit(request, shared)?;
    let permit = shared.access.begin_stream(&client)?;
    let running = shared.drain.begin_for(request, permit)?;
    let body = body::read(request, payload, &shared.config).await?;
    let (prompt, wanted) = match read(wire, &body) {
        Ok(read) => read,
        Err(refused) => return Ok(*refused),
    };
    let model = prompt.options.model.clone().unwrap_or_default();
    let route = route(shared, &model)?;
    let of_us = request.headers();
    let detached = wanted.in_background
        || headers::text(of_us, "x-relay-detach").is_some_and(|value| value == "true");
    let first = &route.targets[0];
    let mut line = Line {
        wire: Some(wire),
        model: Some(model.clone()),
        provider: Some(first.provider.name().to_owned()),
        ..Line::default()
    };
    let about = About {
        wire,
        model: model.clone(),
        provider: first.provider.name().to_owned(),
        detached,
        stored: prompt.options.store != Some(false),
        request: body,
    };
    let filled = shared.answers.begin(&client, about);
    line.answer = Some(filled.clone());
    line.clone().tell(request);
    let asking = Asking {
        client: &client,
        wire,
        streams: wanted.streams || wire != Wire::Chat,
        route: route.clone(),
        answer: filled.clone(),
        earlier: earlier(shared, &client, &prompt, &route).await,
    };
    let asked = Asked {
        answer: filled.clone(),
        targets: route.targets.clone(),
        is_codex: is_codex(of_us) && wanted.streams,
        question: question(request, asking, shared, prompt),
        _running: Some(running),
    };
    shared.metrics.overhead(wire, began.elapsed());
    let named = |index: usize| {
        let is_other = index > 0 || route.targets[index].model.is_some();
        is_other.then_some(&*model)
    };
    let streaming = match pump::start(shared, asked).await {
        Begun::Streaming(streaming) => streaming,
        Begun::Failed(error) => {
            line.attempt = error.details().attempt;
            line.tell(request);
            let name = route.targets[0].model.as_ref().map(|_| &*model);
            return Ok(failure::respond(&error, name));
        }
    };
    let mut response = HttpResponse::Ok();
    if let Some(head) = &streaming.head {
        headers::add_head(&mut response, head, named(streaming.target));
    }
    response.insert_header(("x-relay-stream", filled.id()));
    response.insert_header(("x-relay-attempt", filled.attempt().to_string()));
    let waited = began.elapsed().as_secs_f64() * 1000.0;
    response.append_header(("server-timing", format!("relay;dur={waited:.1}")));
    if !streaming.dropped.is_empty() {
        response.insert_header(("x-relay-dropped", streaming.dropped.join(", ")));
    }
    let Streaming { reader, .. } = streaming;
    if wanted.streams {
        shared.metrics.first_event(wire, began.elapsed());
        return Ok(response
            .insert_header((header::CONTENT_TYPE, "text/event-stream; charset=utf-8"))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .insert_header(("x-accel-buffering", "no"))
            .streaming(connection::body(filled, reader, shared.config.keepalive)));
    }
    Ok(match wanted.in_background {
        true => whole::begun(reader, response).await,
        false => whole::respond(reader, wire, response).await,
    })
}

/// The prompt in a body, and how it is to be answered.
fn read(wire: Wire, body: &Bytes) -> Result<(Prompt, Wanted), Box<HttpResponse>> {
    let prompt =
        Prompt::from_body(body.clone()).map_err(|error| Box::new(failure::ours_to_say(&error)))?;
    let wrong = |message: &str, member| {
        Box::new(failure::refused(StatusCode::BAD_REQUEST, message, member))
    };
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(body).map_err(|_| wrong("the body is no JSON object", None))?;
    let is_true = |name: &str| members.get(name).is_some_and(|value| value.get() == "true");
    let is_chat = members.contains_key("messages") && !members.contains_key("input");
    match wire {
        Wire::Responses if is_chat => {
            return Err(wrong(
                "`messages` is no member of a request here: `input` is",
                Some("messages"),
            ));
        }
        Wire::Chat if !is_chat => {
            return Err(wrong(
                "`messages` is missing, or `input` is there too",
                Some("messages"),
            ));
        }
        _ => {}
    }
    let has_template = prompt.options.template.is_some();
    if prompt.options.model.as_deref().is_none_or(str::is_empty) && !has_template {
        return Err(wrong(
            "`model` is missing: it says which model answers",
            Some("model"),
        ));
    }
    let wanted = Wanted {
        streams: is_true("stream"),
        in_background: is_true("background") && wire == Wire::Responses,
    };
    Ok((prompt, wanted))
}

pub(super) fn route(shared: &Shared, model: &str) -> Result<Arc<Route>, Refusal> {
    let found = shared.routes().find(model);
    found
        .filter(|route| !route.targets.is_empty())
        .ok_or_else(|| {
            let message = format!("no server answers here for the model {model:?}");
            Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message)
        })
}

fn question(
    request: &HttpRequest,
    asked: Asking<'_>,
    shared: &Data<Shared>,
    prompt: Prompt,
) -> Box<dyn Ask> {
    let Asking {
        client,
        wire,
        streams,
        route,
        answer,
        earlier,
    } = asked;
    let body = match streams {
        true => answer.about().request.clone(),
        false => with_usage(&answer.about().request),
    };
    let headers = request.headers().clone();
    let observer = shared.metrics.observer(client);
    let shared = shared.clone();
    let session = headers::text(&headers, "session-id").map(str::to_owned);
    let session = session.or_else(|| prompt.options.prompt_cache_key.clone());
    Box::new(
        move |target: &Target, _: usize| -> Result<Question, ApiError> {
            let provider = target.choose(session.as_deref());
            let mut prompt = prompt.clone();
            let (mut dropped, mut renderer) = (Vec::new(), None::<MakeRenderer>);
            if provider.wire != wire || route.lowers_tools {
                let options = BridgeOptions {
                    id: answer.id().to_owned(),
                    created_at: since_1970(answer.began_at()),
                    provider: provider.name().to_owned(),
                    lowers_tools: route.lowers_tools,
                    refuses_compaction: route.refuses_compaction,
                };
                let (server, quirks) = (provider.wire, provider.quirks.clone());
                let (body, earlier) = (body.clone(), earlier.clone());
                let bridge = move || {
                    let (earlier, options) = (earlier.clone(), options.clone());
                    let body = &body;
                    Bridge::for_request(wire, body, server, &quirks, earlier, options)
                };
                let bridged = bridge()?;
                (prompt, dropped) = (bridged.prompt, bridged.dropped);
                renderer = Some(Box::new(move || {
                    bridge().ok().map(|bridged| bridged.renderer)
                }));
            }
            if let Some(model) = &target.model {
                prompt.options.model = Some(model.clone());
            }
            let sent = headers::to_server(&headers, target, &shared.access);
            Ok(Question {
                request: SubmitRequest::new(prompt)
                    .with_provider(provider)
                    .with_headers(sent)
                    .with_observer(observer.clone()),
                own_key: !target.passes_key(),
                dropped,
                renderer,
            })
        },
    )
}

/// What is asked of every target of a route.
struct Asking<'a> {
    client: &'a Client,
    wire: Wire,
    streams: bool,
    route: Arc<Route>,
    answer: Arc<Answer>,
    /// What went before, where the request goes on with an answer that the relay has.
    earlier: Option<Vec<ResponseItem>>,
}

/// The body of a request for a completion in one piece, which always has its usage.
fn with_usage(body: &Bytes) -> Bytes {
    let members: Result<Map<String, Value>, _> = serde_json::from_slice(body);
    let Ok(mut members) = members else {
        return body.clone();
    };
    members.insert("stream_options".to_owned(), json!({"include_usage": true}));
    Value::from(members).to_string().into()
}

fn since_1970(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The items of the answers that a request goes on with, for a server that keeps none.
async fn earlier(
    shared: &Shared,
    client: &Client,
    prompt: &Prompt,
    route: &Route,
) -> Option<Vec<ResponseItem>> {
    let previous = prompt.options.previous_response_id.as_deref()?;
    let mut targets = route.targets.iter();
    targets.find(|target| target.provider.wire == Wire::Chat)?;
    let items = shared.answers.items(client, previous).await?;
    let items = items.into_iter().map(serde_json::from_value);
    items.collect::<Result<_, _>>().ok()
}
