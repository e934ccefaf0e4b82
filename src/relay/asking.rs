//! The two `POST`s that ask for an answer.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
    web::{Data, Payload},
};
use bytes::Bytes;
use serde_json::{json, value::RawValue};
use tokio::time::Instant;

use super::{
    access::{Client, Refusal},
    access_log::Told as Line,
    answers::{About, Answer},
    body,
    bridge::{Bridge, BridgeOptions},
    config::OnePiece,
    connection,
    continuing::Continued,
    drain::Running,
    failure, gate,
    headers::{self, is_codex},
    pump::{self, Ask, Asked, Begun, Form, Question, Streaming},
    rendering::MakeRenderer,
    resume::cursor::Numbers,
    routing::{Route, Target},
    shared::Shared,
    takeover, whole,
};
use crate::{ApiError, actors::SubmitRequest, protocol::Prompt, wire::Wire};

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
    let body = body::read(request, payload, &running, &shared.config).await?;
    match read(wire, &body) {
        Ok((prompt, form)) => {
            let asks = Asks {
                client,
                wire,
                body,
                prompt,
                form,
                began,
                running,
            };
            asks.answer(request, shared).await
        }
        Err(refused) => Ok(*refused),
    }
}

/// A request for an answer, as a client sent it.
pub(super) struct Asks {
    pub(super) client: Client,
    pub(super) wire: Wire,
    pub(super) body: Bytes,
    pub(super) prompt: Prompt,
    pub(super) form: Form,
    pub(super) began: Instant,
    pub(super) running: Arc<Running>,
}

impl Asks {
    /// Answers it.
    pub(super) async fn answer(
        self,
        request: &HttpRequest,
        shared: &Data<Shared>,
    ) -> Result<HttpResponse, Refusal> {
        let Self {
            client,
            wire,
            body,
            prompt,
            form,
            began,
            running,
        } = self;
        let model = prompt.options.model.clone().unwrap_or_default();
        let route = route(shared, &model)?;
        let of_us = request.headers();
        let detached = prompt.options.background == Some(true)
            || headers::text(of_us, "x-relay-detach").is_some_and(|value| value == "true");
        let mut targets = route.targets.clone();
        let continued = Continued::of(&shared.answers, &client, &prompt, &mut targets).await;
        let first = &targets[0];
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
            background: prompt.options.background == Some(true),
            request: body,
        };
        let renames = first.model.is_some();
        let filled = shared.answers.begin(&client, about);
        line.answer = Some(filled.clone());
        line.clone().tell(request);
        let asking = Asking {
            client: &client,
            wire,
            // A completion in one piece always has its usage.
            wants_usage: wire == Wire::Chat && form != Form::Stream,
            may_be_in_one_piece: form == Form::Whole
                && route.one_piece.unwrap_or(shared.config.one_piece) == OnePiece::Server,
            route,
            answer: filled.clone(),
            continued,
        };
        let asked = Asked {
            answer: filled.clone(),
            targets: targets.clone(),
            is_codex: is_codex(of_us) && form == Form::Stream,
            form,
            question: question(request, asking, shared, prompt),
            rescue: takeover::rescue(shared, &client, request),
            _running: Some(running),
        };
        shared.metrics.overhead(wire, began.elapsed());
        let streaming = match pump::start(shared, asked).await {
            Begun::Streaming(streaming) => streaming,
            Begun::Failed(error) => {
                line.attempt = error.details().attempt;
                line.tell(request);
                return Ok(failure::respond(&error, renames.then_some(&*model)));
            }
        };
        let mut response = HttpResponse::Ok();
        if let Some(head) = &streaming.head {
            let target = streaming.target;
            let is_other = target > 0 || targets[target].model.is_some();
            headers::add_head(&mut response, head, is_other.then_some(&*model));
        }
        if filled.can_be_found().await {
            response.insert_header(("x-relay-stream", filled.id()));
        }
        response.insert_header(("x-relay-attempt", filled.attempt().to_string()));
        let waited = began.elapsed().as_secs_f64() * 1000.0;
        response.append_header(("server-timing", format!("relay;dur={waited:.1}")));
        if !streaming.dropped.is_empty() {
            response.insert_header(("x-relay-dropped", streaming.dropped.join(", ")));
        }
        let Streaming {
            reader,
            driver,
            object,
            ..
        } = streaming;
        if let Some(object) = object {
            return Ok(response.content_type("application/json").body(object));
        }
        Ok(match form {
            Form::Stream => {
                shared.metrics.first_event(wire, began.elapsed());
                let body = connection::body(filled, reader, shared.config.keepalive);
                let mut body = body.with_pump(driver);
                if headers::text(of_us, "x-relay-ids").is_some_and(|value| value == "true") {
                    body = body.with_ids(Numbers::default());
                }
                response
                    .insert_header((header::CONTENT_TYPE, "text/event-stream; charset=utf-8"))
                    .insert_header((header::CACHE_CONTROL, "no-cache"))
                    .insert_header(("x-accel-buffering", "no"))
                    .streaming(body)
            }
            Form::Begun => whole::begun(reader, response).await,
            Form::Whole | Form::Compaction => whole::respond(reader, wire, form, response).await,
        })
    }
}

/// The prompt in a body, and how it is to be answered.
fn read(wire: Wire, body: &Bytes) -> Result<(Prompt, Form), Box<HttpResponse>> {
    let prompt =
        Prompt::from_body(body.clone()).map_err(|error| Box::new(failure::ours_to_say(&error)))?;
    let wrong = |message: &str, member| {
        Box::new(failure::refused(StatusCode::BAD_REQUEST, message, member))
    };
    // It was read: no name of a member can be wrong but by half a surrogate pair in it.
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(body).map_err(|_| {
        wrong(
            "a member of the body has half a character in its name",
            None,
        )
    })?;
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
    let form = match prompt.options.background {
        _ if is_true("stream") => Form::Stream,
        Some(true) => Form::Begun,
        _ => Form::Whole,
    };
    Ok((prompt, form))
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
        wants_usage,
        may_be_in_one_piece,
        route,
        answer,
        continued,
    } = asked;
    // A clone has the room of a map that is used again for request after request: some KB for as long as the stream is open.
    let sent = request.headers();
    let mut headers = HeaderMap::with_capacity(sent.len_keys());
    for (name, value) in sent {
        headers.append(name.clone(), value.clone());
    }
    let observer = shared.metrics.observer(client);
    let client = client.clone();
    let shared = shared.clone();
    let session = headers::text(&headers, "session-id").map(str::to_owned);
    let session = session.or_else(|| prompt.options.prompt_cache_key.clone());
    Box::new(
        move |target: &Target, place: usize| -> Result<Question, ApiError> {
            let provider = continued.provider(target, session.as_deref());
            let sent = headers::to_server(&headers, target, &shared.access);
            let is_own_key = headers::goes_with_own_key(&client, target, &sent);
            let mut prompt = prompt.clone();
            let (mut dropped, mut renderer) = (Vec::new(), None::<MakeRenderer>);
            continued.adapt(
                &mut prompt,
                (target, place),
                &provider,
                is_own_key,
                &mut dropped,
            )?;
            // Tools of Chat are functions.
            let lowers_tools = route.lowers_tools && wire == Wire::Responses;
            let is_bridged = provider.wire != wire || lowers_tools;
            if is_bridged {
                let options = BridgeOptions {
                    id: answer.id().to_owned(),
                    created_at: since_1970(answer.began_at()),
                    provider: provider.name().to_owned(),
                    lowers_tools,
                    refuses_compaction: route.refuses_compaction,
                };
                let mut request = body::members(&answer.about().request);
                if wants_usage {
                    let options = json!({"include_usage": true});
                    request.insert("stream_options".to_owned(), options);
                }
                let (server, quirks) = (provider.wire, &provider.quirks);
                let bridged = Bridge::for_request(wire, prompt, request, server, quirks, options)?;
                prompt = bridged.prompt;
                dropped.extend(bridged.dropped);
                renderer = Some(Box::new(move || Some(bridged.back.renderer())));
            }
            dropped.sort();
            dropped.dedup();
            if let Some(model) = &target.model {
                prompt.options.model = Some(model.clone());
            }
            Ok(Question {
                request: SubmitRequest::new(prompt)
                    .with_provider(provider)
                    .with_headers(sent)
                    .with_observer(observer.clone()),
                own_key: !target.passes_key(),
                dropped,
                renderer,
                in_one_piece: may_be_in_one_piece && !is_bridged,
            })
        },
    )
}

/// What is asked of every target of a route.
struct Asking<'a> {
    client: &'a Client,
    wire: Wire,
    wants_usage: bool,
    /// Whether a target that speaks the client's dialect is asked for no stream.
    may_be_in_one_piece: bool,
    route: Arc<Route>,
    answer: Arc<Answer>,
    continued: Continued,
}

fn since_1970(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
