//! Which default answer a request gets, by its path, its method and its body.

use std::{borrow::Cow, io::Read, sync::Arc, time::Duration};

use flate2::read::MultiGzDecoder;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{
    answer::{CREATED_AT, MODEL},
    answers::{Answers, KeptAnswer},
    records::RecordedRequest,
    reply::Reply,
    request::MAX_REQUEST_BODY_BYTES,
};

/// The entity tag of the list of models, which never changes.
const MODELS_ETAG: &str = "\"loopback-models-1\"";
/// The most values and names of members that a request may hold. One takes up to a hundred times the bytes that it is written with.
const MAX_VALUES: usize = 100_000;

/// The most memory that a packed body may ask of zstd for what it refers back to, as a power of two: 8 MiB.
#[cfg(feature = "zstd")]
const ZSTD_WINDOW_LOG: u32 = 23;

/// What is served; any prefix may stand before the paths.
#[derive(Clone, Copy)]
enum Route<'a> {
    Responses,
    /// An answer that was given, by its id.
    Kept(&'a str, Part),
    Compact,
    Chat,
    Models,
}

/// What of an answer.
#[derive(Clone, Copy)]
enum Part {
    Object,
    InputItems,
    Cancel,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let (_, behind) = path.rsplit_once("/responses").unwrap_or(("", "-"));
        let id = behind.strip_prefix('/').unwrap_or_default();
        match behind {
            "" => Some(Self::Responses),
            "/compact" => Some(Self::Compact),
            _ if !id.is_empty() => match id.split_once('/') {
                None => Some(Self::Kept(id, Part::Object)),
                Some((id, "cancel")) => Some(Self::Kept(id, Part::Cancel)),
                Some((id, "input_items")) => Some(Self::Kept(id, Part::InputItems)),
                Some(_) => None,
            },
            _ if path.ends_with("/chat/completions") => Some(Self::Chat),
            _ if path.ends_with("/models") => Some(Self::Models),
            _ => None,
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Self::Kept(_, Part::Object) => "GET, HEAD, DELETE",
            Self::Kept(_, Part::InputItems) | Self::Models => "GET, HEAD",
            _ => "POST",
        }
    }
}

/// Makes the default answer to a request, whose events are so far apart; an error object, if it is none that could be answered.
pub(super) fn default_reply(request: &RecordedRequest, answers: &Answers, pace: Duration) -> Reply {
    answer(request, answers, pace).unwrap_or_else(|refusal| *refusal)
}

fn answer(request: &RecordedRequest, answers: &Answers, pace: Duration) -> Result<Reply, Refusal> {
    let (method, path) = (&request.method, request.path.as_str());
    let Some(route) = Route::of(path) else {
        let message = format!("Unknown request URL: {method} {path}.");
        return refused(StatusCode::NOT_FOUND, &message, "unknown_url");
    };
    let upgrade = request.headers.get(header::UPGRADE);
    if upgrade.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        let message = "Responses come over HTTP here: POST the request.";
        let status = StatusCode::UPGRADE_REQUIRED;
        let refusal = refusal(status, message, Some("upgrade_required"), None);
        return Err(refusal.with_header("upgrade", "HTTP/1.1").into());
    }
    let methods = route.methods();
    let mut allowed = methods.split(", ");
    if !allowed.any(|allowed| allowed == method.as_str()) {
        let message = format!("Not allowed to {method} on {path}; use {methods}.");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let refusal = refusal(status, &message, Some("method_not_allowed"), None);
        return Err(refusal.with_header("allow", methods).into());
    }
    match route {
        Route::Models => Ok(models(request)),
        Route::Kept(id, part) => of_kept(id, part, request, answers),
        Route::Responses | Route::Compact | Route::Chat => new(route, request, answers, pace),
    }
}

/// What a request to an answer that was given gets.
fn of_kept(
    id: &str,
    part: Part,
    request: &RecordedRequest,
    answers: &Answers,
) -> Result<Reply, Refusal> {
    let Some(kept) = kept_for(request, id, answers) else {
        let message = format!("Response with id '{id}' not found.");
        return Err(refusal(StatusCode::NOT_FOUND, &message, None, Some("id")).into());
    };
    let object = match part {
        Part::Object if request.method == Method::DELETE => {
            answers.delete(id);
            json!({"id": id, "object": "response", "deleted": true})
        }
        Part::Object => return read(&kept, request),
        Part::InputItems => kept.input_items(),
        Part::Cancel => match answers.cancel(id) {
            Some(kept) => kept.object(),
            None => {
                let message = "Cannot cancel a synchronous response.";
                return Err(refusal(StatusCode::BAD_REQUEST, message, None, None).into());
            }
        },
    };
    Ok(Reply::json(object))
}

/// The answer of this id, if it is one for the key of the request.
fn kept_for(request: &RecordedRequest, id: &str, answers: &Answers) -> Option<KeptAnswer> {
    let key = request.headers.get(header::AUTHORIZATION);
    answers.kept(id).filter(|kept| kept.is_of(key))
}

/// A new answer.
fn new(
    route: Route<'_>,
    request: &RecordedRequest,
    answers: &Answers,
    pace: Duration,
) -> Result<Reply, Refusal> {
    let body = body(request, answers)?;
    let answer = answers.answer(&body, request.number);
    let stream = body["stream"] == true;
    let reply = match route {
        Route::Compact => Reply::json(answer.compaction()),
        Route::Chat if stream => Reply::events(answer.chat_events()),
        Route::Chat => Reply::json(answer.chat_completion()),
        _ if body["store"] == false => match stream {
            true => Reply::events(answer.responses_events()),
            false => Reply::json(answer.response()),
        },
        _ => {
            let key = request.headers.get(header::AUTHORIZATION);
            let kept = answers.keep(answer, &body, request.body.len(), pace, key);
            match stream {
                true => Reply::events(kept.events(None)),
                false if kept.is_background() => Reply::json(kept.taken_up()),
                false => Reply::json(kept.object()),
            }
        }
    };
    Ok(reply)
}

/// An answer as it stands, or its events.
fn read(kept: &KeptAnswer, request: &RecordedRequest) -> Result<Reply, Refusal> {
    let query = request.query.as_deref().unwrap_or_default();
    let field = |name: &str| {
        let mut fields = query.split('&').filter_map(|field| field.split_once('='));
        fields.find(|field| field.0 == name).map(|field| field.1)
    };
    if field("stream") != Some("true") {
        return Ok(Reply::json(kept.object()));
    }
    match field("starting_after").map(str::parse).transpose() {
        Ok(starting_after) => Ok(Reply::events(kept.events(starting_after))),
        Err(_) => {
            let message = "Invalid 'starting_after': it is no sequence number.";
            let (code, parameter) = (Some("invalid_value"), Some("starting_after"));
            Err(refusal(StatusCode::BAD_REQUEST, message, code, parameter).into())
        }
    }
}

/// The answer in the background whose events this request gets: they end when that is cancelled.
pub(super) fn cancellable(request: &RecordedRequest, answers: &Answers) -> Option<Arc<str>> {
    let kept = match Route::of(&request.path)? {
        Route::Responses => answers.kept_of(request.number),
        Route::Kept(id, Part::Object) => answers.kept(id),
        _ => None,
    };
    let kept = kept.filter(KeptAnswer::is_background)?;
    Some(kept.id().into())
}

/// The body of a request for an answer.
fn body(request: &RecordedRequest, answers: &Answers) -> Result<Value, Refusal> {
    let status = StatusCode::BAD_REQUEST;
    let json = unpacked(request)?;
    if count_values(&json) > MAX_VALUES {
        let message = format!("The request has more than {MAX_VALUES} JSON values and names.");
        return refused(StatusCode::PAYLOAD_TOO_LARGE, &message, "too_many_values");
    }
    let body: Value = match serde_json::from_slice(&json) {
        Ok(body @ Value::Object(_)) => body,
        Ok(_) => {
            let message = "The body of the request is JSON, but not an object.";
            return refused(status, message, "invalid_json");
        }
        Err(error) => {
            let message = format!("We could not parse the JSON body of your request: {error}.");
            return refused(status, &message, "invalid_json");
        }
    };
    // A template names a model, and so does a path of Azure's.
    let is_named = !body["model"].is_null() || !body["prompt"].is_null();
    if !is_named && !request.path.contains("/deployments/") {
        let message = "Missing required parameter: 'model'.";
        let code = Some("missing_required_parameter");
        return Err(refusal(status, message, code, Some("model")).into());
    }
    let previous = body["previous_response_id"].as_str();
    if let Some(id) = previous.filter(|id| kept_for(request, id, answers).is_none()) {
        let message = format!("Previous response with id '{id}' not found.");
        let code = Some("previous_response_not_found");
        return Err(refusal(status, &message, code, Some("previous_response_id")).into());
    }
    Ok(body)
}

/// The body without its packing, which may not make more of it than a body may have.
fn unpacked(request: &RecordedRequest) -> Result<Cow<'_, [u8]>, Refusal> {
    let coding = request.headers.get(header::CONTENT_ENCODING);
    let coding = coding.map_or(&b"identity"[..], HeaderValue::as_bytes);
    let limit = MAX_REQUEST_BODY_BYTES as u64 + 1;
    let mut json = Vec::new();
    let read = match &*coding.to_ascii_lowercase() {
        b"identity" => return Ok(Cow::Borrowed(&request.body)),
        b"gzip" | b"x-gzip" => MultiGzDecoder::new(&*request.body)
            .take(limit)
            .read_to_end(&mut json),
        #[cfg(feature = "zstd")]
        b"zstd" => zstd::stream::read::Decoder::new(&*request.body).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            decoder.take(limit).read_to_end(&mut json)
        }),
        _ => {
            let message = "The body is packed in a way that is not known.";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return refused(status, message, "unsupported_content_encoding");
        }
    };
    match read {
        Ok(_) if json.len() > MAX_REQUEST_BODY_BYTES => {
            let message = "The body of the request is too large.";
            refused(StatusCode::PAYLOAD_TOO_LARGE, message, "too_large")
        }
        Ok(_) => Ok(Cow::Owned(json)),
        Err(error) => {
            let message = format!("We could not unpack the body of your request: {error}.");
            let status = StatusCode::BAD_REQUEST;
            refused(status, &message, "invalid_content_encoding")
        }
    }
}

/// Why a request is refused, in the form of the API.
type Refusal = Box<Reply>;

fn refusal(status: StatusCode, message: &str, code: Option<&str>, param: Option<&str>) -> Reply {
    let mut error = error_object(status, message, code);
    error["error"]["param"] = param.into();
    Reply::json(error).with_status(status)
}

fn refused<T>(status: StatusCode, message: &str, code: &str) -> Result<T, Refusal> {
    Err(refusal(status, message, Some(code), None).into())
}

/// How many values and names a text holds, if it is JSON.
fn count_values(json: &[u8]) -> usize {
    let mut count = 1;
    let mut is_text = false;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => is_text = !is_text,
            b'\\' if is_text => drop(bytes.next()),
            b'{' | b'[' | b':' | b',' if !is_text => count += 1,
            _ => {}
        }
    }
    count
}

fn models(request: &RecordedRequest) -> Reply {
    let known = request.headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|etag| etag.as_bytes() == MODELS_ETAG.as_bytes()) {
        return Reply::new(super::ReplyBody::Empty)
            .with_status(StatusCode::NOT_MODIFIED)
            .with_header("etag", MODELS_ETAG);
    }
    let model = |id: &str| json!({"id": id, "object": "model", "created": CREATED_AT, "owned_by": "actix-responses"});
    Reply::json(json!({"object": "list", "data": [model(MODEL), model("loopback-mini")]}))
        .with_header("etag", MODELS_ETAG)
}

/// Makes an error in the form of the API.
pub(super) fn error_object(status: StatusCode, message: &str, code: Option<&str>) -> Value {
    let (kind, usual_code) = match status.as_u16() {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        403 => ("invalid_request_error", Some("forbidden")),
        429 => ("requests", Some("rate_limit_exceeded")),
        503 => ("server_error", Some("server_is_overloaded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    let code = code.or(usual_code);
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::ReplyBody;

    fn reply(method: Method, path: &str, body: &'static str) -> Reply {
        reply_to(&RecordedRequest::for_tests(method, path, body))
    }

    fn reply_to(request: &RecordedRequest) -> Reply {
        default_reply(request, &Answers::default(), Duration::ZERO)
    }

    fn error_of(reply: &Reply) -> String {
        let ReplyBody::Json(body) = &reply.body else {
            panic!("no JSON: {reply:?}")
        };
        let members: Vec<_> = body["error"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["code", "message", "param", "type"]);
        let code = body["error"]["code"].as_str().unwrap_or("none");
        format!("{} {code}", reply.status.unwrap().as_str())
    }

    #[test]
    fn any_prefix_leads_to_the_same_answers() {
        for prefix in ["", "/v1", "/openai/deployments/some-model"] {
            for (path, object) in [
                ("/responses", "response"),
                ("/responses/compact", "response.compaction"),
                ("/chat/completions", "chat.completion"),
            ] {
                let reply = reply(Method::POST, &format!("{prefix}{path}"), r#"{"model":"m"}"#);
                let ReplyBody::Json(body) = reply.body else {
                    panic!("no JSON")
                };
                assert_eq!(body["object"], object);
            }
        }
    }

    #[test]
    fn stream_decides_whether_there_is_one() {
        for path in ["/v1/responses", "/v1/chat/completions"] {
            let streamed = reply(Method::POST, path, r#"{"model":"m","stream":true}"#).body;
            assert!(matches!(streamed, ReplyBody::Events(_)), "{path}");
            let whole = reply(Method::POST, path, r#"{"model":"m","stream":false}"#).body;
            assert!(matches!(whole, ReplyBody::Json(_)), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_answered_gets_an_error_object() {
        for (asked, expected) in [
            ("GET /healthz", "404 unknown_url"),
            ("GET /v1/responses/resp_1", "404 none"),
            ("DELETE /v1/responses/resp_1", "404 none"),
            ("POST /v1/responses/resp_1/cancel", "404 none"),
            ("GET /v1/responses/resp_1/x", "404 unknown_url"),
            ("POST /v1/responses/resp_1", "405 method_not_allowed"),
            ("GET /v1/responses", "405 method_not_allowed"),
            ("POST /v1/models {}", "405 method_not_allowed"),
            (
                r#"POST /v1/responses {"model":"m","previous_response_id":"resp_1"}"#,
                "400 previous_response_not_found",
            ),
            ("POST /v1/responses {}", "400 missing_required_parameter"),
            (
                "POST /v1/responses/compact {}",
                "400 missing_required_parameter",
            ),
            (
                "POST /v1/chat/completions {}",
                "400 missing_required_parameter",
            ),
            ("POST /v1/responses {", "400 invalid_json"),
            ("POST /v1/responses []", "400 invalid_json"),
            ("POST /v1/chat/completions", "400 invalid_json"),
        ] {
            let mut words = asked.splitn(3, ' ');
            let method = words.next().unwrap().parse().unwrap();
            let (path, body) = (words.next().unwrap(), words.next().unwrap_or_default());
            assert_eq!(error_of(&reply(method, path, body)), expected, "{asked}");
        }
    }

    #[test]
    fn a_refusal_says_what_would_do() {
        for (method, upgrade, status, header) in [
            (Method::GET, None, 405, ("allow", "POST")),
            (Method::GET, Some("WebSocket"), 426, ("upgrade", "HTTP/1.1")),
        ] {
            let mut request = RecordedRequest::for_tests(method, "/v1/responses", "");
            if let Some(protocol) = upgrade {
                request.headers.insert("upgrade", protocol.parse().unwrap());
            }
            let reply = reply_to(&request);
            assert_eq!(reply.status.unwrap(), status);
            let header = (header.0.to_owned(), header.1.to_owned());
            assert_eq!(reply.headers, [header]);
        }
        let azure = "/openai/deployments/some-model/responses";
        assert_eq!(reply(Method::POST, azure, "{}").status, None);
    }

    #[test]
    fn packed_bodies_are_unpacked_up_to_a_limit() {
        let gzip = |bytes: &[u8]| {
            let level = flate2::Compression::fast();
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), level);
            std::io::Write::write_all(&mut packer, bytes).unwrap();
            packer.finish().unwrap()
        };
        let json = br#"{"model":"m"}"#;
        let large = vec![b' '; MAX_REQUEST_BODY_BYTES + 1];
        for (coding, body, status) in [
            ("gzip", gzip(json), None),
            ("GZIP", gzip(&large), Some(413)),
            ("gzip", json.to_vec(), Some(400)),
            ("identity", json.to_vec(), None),
            ("br", json.to_vec(), Some(415)),
            #[cfg(feature = "zstd")]
            ("zstd", zstd::encode_all(&json[..], 3).unwrap(), None),
            #[cfg(feature = "zstd")]
            ("zstd", zstd::encode_all(&*large, 3).unwrap(), Some(413)),
        ] {
            let mut request = RecordedRequest::for_tests(Method::POST, "/v1/responses", "");
            request.body = body.into();
            request
                .headers
                .insert("content-encoding", coding.parse().unwrap());
            let reply = reply_to(&request);
            let got = reply.status.map(|status| status.as_u16());
            assert_eq!(got, status, "{coding}");
        }
    }

    #[test]
    fn a_request_of_too_many_values_is_refused() {
        for (json, count) in [("1", 1), (r#"{"a":[1,"],\"{"],"b":{}}"#, 8), (r#""\"#, 1)] {
            assert_eq!(count_values(json.as_bytes()), count, "{json}");
        }
        let mut request = RecordedRequest::for_tests(Method::POST, "/v1/responses", "");
        for (commas, status) in [(MAX_VALUES - 7, None), (MAX_VALUES, Some(413))] {
            let body = format!(
                "{{\"model\":\"m\",\"input\":[\"{}\",0{}]}}",
                ",".repeat(MAX_VALUES),
                ",0".repeat(commas)
            );
            request.body = body.into();
            let reply = reply_to(&request);
            assert_eq!(reply.status.map(|status| status.as_u16()), status);
        }
    }

    #[test]
    fn models_are_not_sent_again_to_who_has_them() {
        let mut request = RecordedRequest::for_tests(Method::GET, "/v1/models", "");
        let etag = reply_to(&request).headers.swap_remove(0).1;
        request
            .headers
            .insert("if-none-match", etag.parse().unwrap());
        let status = Some(StatusCode::NOT_MODIFIED);
        assert_eq!(reply_to(&request).status, status);
    }
}
