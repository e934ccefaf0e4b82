//! What has one answer: compaction, and which models there are.

use std::{collections::BTreeMap, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
    web::{Data, Path, Payload},
};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    access::Refusal,
    access_log::Told,
    asking::{Asks, route},
    body,
    continuing::Continued,
    failure, gate, headers,
    pump::Form,
    routing::Target,
    shared::Shared,
};
use crate::{
    ApiError,
    actors::{Compact, ListModels},
    protocol::{CompactionInput, ModelList, Prompt, RawJson, ResponseHead},
    wire::Wire,
};

pub(super) async fn compact(
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> HttpResponse {
    compaction(&request, payload, &shared)
        .await
        .unwrap_or_else(|refusal| refusal.respond())
}

async fn compaction(
    request: &HttpRequest,
    payload: Payload,
    shared: &Data<Shared>,
) -> Result<HttpResponse, Refusal> {
    let client = gate::admit(request, shared)?;
    let permit = shared.access.begin_stream(&client)?;
    let began = Instant::now();
    let running = shared.drain.begin_for(request, permit)?;
    let body = body::read(request, payload, &running, &shared.config).await?;
    let prompt = match Prompt::from_body(body.clone()) {
        Ok(prompt) => prompt,
        Err(error) => return Ok(failure::ours_to_say(&error)),
    };
    let model = prompt.options.model.clone().unwrap_or_default();
    let mut targets = route(shared, &model)?.targets.clone();
    let continued = Continued::of(&shared.answers, &client, &prompt, &mut targets).await;
    let target = &targets[0];
    let provider = continued.provider(target, prompt.options.prompt_cache_key.as_deref());
    if provider.wire == Wire::Chat {
        let body = with_trigger(&body);
        let asks = Asks {
            prompt: match Prompt::from_body(body.clone()) {
                Ok(prompt) => prompt,
                Err(error) => return Ok(failure::ours_to_say(&error)),
            },
            client,
            wire: Wire::Responses,
            body,
            form: Form::Compaction,
            began,
            running,
        };
        return asks.answer(request, shared).await;
    }
    let sent = headers::to_server(request.headers(), target, &shared.access);
    let is_own_key = headers::goes_with_own_key(&client, target, &sent);
    let (mut adapted, mut dropped) = (prompt.clone(), Vec::new());
    let adapting = continued.adapt(
        &mut adapted,
        (target, 0),
        &provider,
        is_own_key,
        &mut dropped,
    );
    let input = adapting.and_then(|()| match adapted == prompt {
        true => CompactionInput::from_body(body),
        false => {
            let mut input = CompactionInput::from_prompt(&adapted);
            input.extra = adapted.options.extra;
            Ok(input)
        }
    });
    let mut input = match input {
        Ok(input) => input,
        Err(error) => return Ok(failure::respond(&error, None)),
    };
    if let Some(name) = &target.model {
        input.model = Some(name.clone());
    }
    let line = Told {
        wire: Some(Wire::Responses),
        model: Some(model.clone()),
        provider: Some(target.provider.name().to_owned()),
        attempt: 1,
        answer: None,
    };
    line.tell(request);
    let asked = Compact::new(input)
        .with_provider(provider)
        .with_headers(sent)
        .with_observer(shared.metrics.observer(&client));
    let name = target.model.is_some().then_some(&*model);
    let compacted = shared.drain.or_over(shared.runtime.compact(asked));
    Ok(match compacted.await {
        Ok(output) => {
            let mut response = with_head(output.head.as_deref(), name);
            if !dropped.is_empty() {
                response.insert_header(("x-relay-dropped", dropped.join(", ")));
            }
            response
                .content_type("application/json")
                .body(output.raw.get().to_owned())
        }
        Err(error) => failure::respond(&error, name),
    })
}

/// A request for a compaction as one for an answer, which is it: the conversation, and the wish for a compaction behind it. Nothing of it is stored.
fn with_trigger(body: &Bytes) -> Bytes {
    const TRIGGER: &str = r#"{"type":"compaction_trigger"}"#;
    let read = std::str::from_utf8(body).ok().and_then(|text| {
        let members: BTreeMap<String, RawJson> = RawJson::parse(text).ok()?.to().ok()?;
        Some(members)
    });
    // The values stay as they are written: what can't be read is refused with the prompt, and not left out here.
    let mut written = String::from("{");
    let mut items = String::new();
    for (name, value) in read.unwrap_or_default() {
        match (&*name, value.get()) {
            ("input", text) if text.starts_with('"') => {
                items = format!(r#"{{"role":"user","content":{text}}},"#);
            }
            ("input", "null") | ("store", _) => {}
            ("input", list) => {
                let inside = list
                    .strip_prefix('[')
                    .and_then(|list| list.strip_suffix(']'));
                let inside = inside.unwrap_or_default().trim();
                let comma = if inside.is_empty() { "" } else { "," };
                items = format!("{inside}{comma}");
            }
            (name, value) => {
                written += &format!("{}:{value},", Value::from(name));
            }
        }
    }
    written += &format!(r#""store":false,"input":[{items}{TRIGGER}]}}"#);
    written.into()
}

fn with_head(head: Option<&ResponseHead>, model: Option<&str>) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    if let Some(head) = head {
        headers::add_head(&mut response, head, model);
    }
    response
}

/// `GET /v1/models`.
pub(super) async fn models(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    match listed(&request, &shared).await {
        Ok(Listed::AsItCame(list)) => as_it_came(&list),
        Ok(Listed::Joined { models, missing }) => joined(&models, &missing),
        Err(response) => response,
    }
}

/// `GET /v1/models/{id}`: the entry of the list.
pub(super) async fn model(
    request: HttpRequest,
    id: Path<String>,
    shared: Data<Shared>,
) -> HttpResponse {
    let id = id.into_inner();
    let id = id.trim_end_matches('/');
    let mut silent = Vec::new();
    let found = match listed(&request, &shared).await {
        Ok(Listed::AsItCame(list)) if list.not_modified => {
            return HttpResponse::NotModified().finish();
        }
        Ok(Listed::AsItCame(list)) => {
            let mut models = list.models.iter();
            let model = models.find(|model| model.id == id);
            model.map(|model| model.raw.get().to_owned())
        }
        Ok(Listed::Joined { models, missing }) => {
            silent = missing;
            let mut models = models.iter();
            let model = models.find(|model| model["id"] == id);
            model.map(Value::to_string)
        }
        Err(response) => return response,
    };
    match found {
        Some(model) => HttpResponse::Ok()
            .content_type("application/json")
            .body(model),
        None => {
            let message = format!("the model {id:?} does not exist here");
            let refusal = Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message);
            let mut response = refusal.respond();
            tell_missing(response.headers_mut(), &silent);
            response
        }
    }
}

enum Listed {
    /// One server answers for every model.
    AsItCame(Arc<ModelList>),
    /// Several do: what each has under the names that clients use.
    Joined {
        models: Vec<Value>,
        /// The servers that did not say what they have.
        missing: Vec<String>,
    },
}

async fn listed(request: &HttpRequest, shared: &Data<Shared>) -> Result<Listed, HttpResponse> {
    gate::admit(request, shared).map_err(|refusal| refusal.respond())?;
    let table = shared.routes();
    if let [route] = table.routes()
        && route.model == "*"
        && let [target] = &route.targets[..]
        && target.model.is_none()
    {
        let list = ask(request, shared, target, true).await;
        let list = list.map_err(|error| failure::respond(&error, None))?;
        return Ok(Listed::AsItCame(Arc::new(list)));
    }
    // Each server once, and all at a time.
    let mut servers: Vec<&Target> = Vec::new();
    for route in table.routes().iter().filter(|it| it.model.contains('*')) {
        let is_new = |target: &&Target| {
            let is_same = |it: &&Target| it.provider.name() == target.provider.name();
            !servers.iter().any(is_same)
        };
        servers.extend(route.targets.first().filter(is_new));
    }
    let lists = servers
        .iter()
        .map(|target| ask(request, shared, target, false));
    let (lists, mut missing, mut failed) = (join_all(lists).await, Vec::new(), None);
    for (target, list) in servers.iter().zip(&lists) {
        // A server that does not answer hides only its own.
        if let Err(error) = list {
            let provider = target.provider.name();
            tracing::warn!(provider, %error, "a server's models are missing in the list");
            missing.push(provider.to_owned());
            failed = Some(error.clone());
        }
    }
    let mut models: Vec<Value> = Vec::new();
    for route in table.routes() {
        let known = |models: &[Value], id: &str| models.iter().any(|model| model["id"] == id);
        let Some(target) = route.targets.first() else {
            continue;
        };
        if !route.model.contains('*') {
            if !known(&models, &route.model) {
                models.push(json!({
                    "id": route.model, "object": "model", "created": 0, "owned_by": target.provider.name(),
                }));
            }
            continue;
        }
        let is_asked = |it: &&Target| it.provider.name() == target.provider.name();
        let at = servers.iter().position(is_asked);
        let Some(Ok(list)) = at.map(|at| &lists[at]) else {
            continue;
        };
        for model in &list.models {
            let is_here = table
                .find(&model.id)
                .is_some_and(|found| Arc::ptr_eq(&found, route));
            if is_here && !known(&models, &model.id) {
                let mut entry: Map<String, Value> =
                    serde_json::from_str(model.raw.get()).unwrap_or_default();
                entry.insert("id".to_owned(), model.id.clone().into());
                models.push(entry.into());
            }
        }
    }
    match failed {
        Some(error) if models.is_empty() => Err(failure::respond(&error, None)),
        _ => Ok(Listed::Joined { models, missing }),
    }
}

async fn ask(
    request: &HttpRequest,
    shared: &Shared,
    target: &Target,
    conditional: bool,
) -> Result<ModelList, ApiError> {
    let mut sent = headers::to_server(request.headers(), target, &shared.access);
    if !conditional {
        sent.remove(http::header::IF_NONE_MATCH);
        sent.remove(http::header::IF_MODIFIED_SINCE);
    }
    let list = ListModels::new()
        .with_provider(target.choose(None))
        .with_headers(sent);
    shared.runtime.list_models(list).await
}

fn as_it_came(list: &ModelList) -> HttpResponse {
    let mut response = with_head(list.head.as_deref(), None);
    if list.not_modified {
        return response.status(StatusCode::NOT_MODIFIED).finish();
    }
    let raw = list.raw.as_ref().map_or("", |raw| raw.get());
    // Codex reads `models`, the SDKs read `data`.
    let both = serde_json::from_str::<Map<String, Value>>(raw)
        .ok()
        .and_then(|mut members| {
            let other = match (members.get("data"), members.get("models")) {
                (Some(_), Some(_)) => return None,
                (Some(data), None) => ("models", with_slugs(data)),
                (None, Some(models)) => ("data", with_ids(models)),
                (None, None) => return None,
            };
            members.insert(other.0.to_owned(), other.1);
            Some(Value::from(members).to_string())
        });
    response
        .content_type("application/json")
        .body(both.unwrap_or_else(|| raw.to_owned()))
}

fn joined(models: &[Value], missing: &[String]) -> HttpResponse {
    let data = Value::from(models.to_vec());
    let slugs = with_slugs(&data);
    let mut response = HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .json(json!({"object": "list", "data": data, "models": slugs}));
    tell_missing(response.headers_mut(), missing);
    response
}

fn tell_missing(headers: &mut header::HeaderMap, missing: &[String]) {
    if let Ok(names) = header::HeaderValue::from_str(&missing.join(", "))
        && !missing.is_empty()
    {
        headers.insert(header::HeaderName::from_static("x-relay-missing"), names);
    }
}

fn with_slugs(models: &Value) -> Value {
    named(models, "slug", "id")
}

fn with_ids(models: &Value) -> Value {
    named(models, "id", "slug")
}

/// The entries, each with a name that it has under another.
fn named(models: &Value, name: &str, other: &str) -> Value {
    let mut models = models.clone();
    for model in models.as_array_mut().into_iter().flatten() {
        if let Some(members) = model.as_object_mut()
            && !members.contains_key(name)
            && let Some(value) = members.get(other).cloned()
        {
            members.insert(name.to_owned(), value);
        }
    }
    models
}
