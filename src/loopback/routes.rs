//! Which default answer a request gets, by its path, its method and its body.

use http::{StatusCode, header};
use serde_json::{Value, json};

use super::{
    answer::{CREATED_AT, MODEL},
    answers::Answers,
    records::RecordedRequest,
    reply::Reply,
};

/// The entity tag of the list of models, which never changes.
const MODELS_ETAG: &str = "\"loopback-models-1\"";
/// The most values and names of members that a request may hold. One takes up to a hundred times the bytes that it is written with.
const MAX_VALUES: usize = 100_000;

/// What is served; any prefix may stand before the paths.
#[derive(Clone, Copy)]
enum Route {
    Responses,
    Compact,
    Chat,
    Models,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        let (_, behind) = path.rsplit_once("/responses").unwrap_or(("", "-"));
        match behind {
            "" => Some(Self::Responses),
            "/compact" => Some(Self::Compact),
            _ if path.ends_with("/chat/completions") => Some(Self::Chat),
            _ if path.ends_with("/models") => Some(Self::Models),
            _ => None,
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Self::Responses | Self::Compact | Self::Chat => "POST",
            Self::Models => "GET",
        }
    }
}

/// Why a request is refused, with the error in the form of the API.
type Refused = (StatusCode, Value);

/// Makes the default answer to a request; an error object, if it is none that could be answered.
pub(super) fn default_reply(request: &RecordedRequest, answers: &Answers) -> Reply {
    answer(request, answers).unwrap_or_else(|(status, error)| {
        let reply = Reply::json(error).with_status(status);
        match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                let methods = Route::of(&request.path).map_or("", Route::methods);
                reply.with_header("allow", methods)
            }
            StatusCode::UPGRADE_REQUIRED => reply.with_header("upgrade", "HTTP/1.1"),
            _ => reply,
        }
    })
}

fn answer(request: &RecordedRequest, answers: &Answers) -> Result<Reply, Refused> {
    let (method, path) = (&request.method, request.path.as_str());
    let Some(route) = Route::of(path) else {
        let message = format!("Unknown request URL: {method} {path}.");
        return refused(StatusCode::NOT_FOUND, &message, "unknown_url");
    };
    let upgrade = request.headers.get(header::UPGRADE);
    if upgrade.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        let message = "Responses come over HTTP here: POST the request.";
        return refused(StatusCode::UPGRADE_REQUIRED, message, "upgrade_required");
    }
    let methods = route.methods();
    if !methods
        .split(", ")
        .any(|allowed| allowed == method.as_str())
    {
        let message = format!("Not allowed to {method} on {path}; use {methods}.");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return refused(status, &message, "method_not_allowed");
    }
    if let Route::Models = route {
        return Ok(models(request));
    }
    let body = body(request)?;
    let answer = answers.answer(&body, request.number);
    let stream = body["stream"] == true;
    Ok(match route {
        Route::Compact => Reply::json(answer.compaction()),
        Route::Chat if stream => Reply::events(answer.chat_events()),
        Route::Chat => Reply::json(answer.chat_completion()),
        _ if stream => Reply::events(answer.responses_events()),
        _ => Reply::json(answer.response()),
    })
}

/// The body of a request for an answer.
fn body(request: &RecordedRequest) -> Result<Value, Refused> {
    let status = StatusCode::BAD_REQUEST;
    if count_values(&request.body) > MAX_VALUES {
        let message = format!("The request has more than {MAX_VALUES} JSON values and names.");
        return refused(StatusCode::PAYLOAD_TOO_LARGE, &message, "too_many_values");
    }
    let body: Value = match serde_json::from_slice(&request.body) {
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
        let code = "missing_required_parameter";
        let mut error = error_object(status, "Missing required parameter: 'model'.", Some(code));
        error["error"]["param"] = "model".into();
        return Err((status, error));
    }
    Ok(body)
}

fn refused<T>(status: StatusCode, message: &str, code: &str) -> Result<T, Refused> {
    Err((status, error_object(status, message, Some(code))))
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
    use http::Method;

    use super::*;
    use crate::loopback::ReplyBody;

    fn reply(method: Method, path: &str, body: &'static str) -> Reply {
        let request = RecordedRequest::for_tests(method, path, body);
        default_reply(&request, &Answers::default())
    }

    fn error_of(reply: &Reply) -> (u16, String) {
        let ReplyBody::Json(body) = &reply.body else {
            panic!("no JSON: {reply:?}")
        };
        let members: Vec<_> = body["error"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["code", "message", "param", "type"]);
        (
            reply.status.unwrap().as_u16(),
            body["error"]["code"].as_str().unwrap_or("none").to_owned(),
        )
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
        for (method, path, body, expected) in [
            (Method::GET, "/healthz", "", (404, "unknown_url")),
            (
                Method::GET,
                "/v1/responses/resp_1",
                "",
                (404, "unknown_url"),
            ),
            (
                Method::GET,
                "/v1/responses",
                "",
                (405, "method_not_allowed"),
            ),
            (
                Method::POST,
                "/v1/models",
                "{}",
                (405, "method_not_allowed"),
            ),
            (Method::POST, "/v1/responses", "{", (400, "invalid_json")),
            (Method::POST, "/v1/responses", "[]", (400, "invalid_json")),
            (
                Method::POST,
                "/v1/chat/completions",
                "",
                (400, "invalid_json"),
            ),
        ] {
            let (status, code) = error_of(&reply(method, path, body));
            assert_eq!((status, code.as_str()), expected, "{path} {body}");
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
            let reply = default_reply(&request, &Answers::default());
            assert_eq!(reply.status.map(|status| status.as_u16()), status);
        }
    }

    #[test]
    fn models_are_not_sent_again_to_who_has_them() {
        let mut request = RecordedRequest::for_tests(Method::GET, "/v1/models", "");
        let first = default_reply(&request, &Answers::default());
        let etag = first
            .headers
            .iter()
            .find(|(name, _)| name == "etag")
            .unwrap()
            .1
            .clone();
        request
            .headers
            .insert("if-none-match", etag.parse().unwrap());
        assert_eq!(
            default_reply(&request, &Answers::default()).status,
            Some(StatusCode::NOT_MODIFIED)
        );
    }
}
