//! Which default answer a request gets, by its path, its method and its body.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    answer::{CREATED_AT, DefaultAnswer, MODEL},
    records::RecordedRequest,
    reply::Reply,
};

/// The entity tag of the list of models, which never changes.
const MODELS_ETAG: &str = "\"loopback-models-1\"";

/// What is served; any prefix may stand before these paths.
const ROUTES: [(&str, Method, Handler); 4] = [
    ("/responses", Method::POST, Handler::Answer(responses)),
    ("/responses/compact", Method::POST, Handler::Answer(compact)),
    ("/chat/completions", Method::POST, Handler::Answer(chat)),
    ("/models", Method::GET, Handler::Fixed(models)),
];

/// The most values and names of members that a request may hold. One takes up to a hundred times the bytes that it is written with.
const MAX_VALUES: usize = 100_000;

enum Handler {
    /// Answers a body of JSON.
    Answer(fn(DefaultAnswer, stream: bool) -> Reply),
    /// Needs no body.
    Fixed(fn(&RecordedRequest) -> Reply),
}

/// Makes the default answer to a request; an error object, if it is none that could be answered.
pub(super) fn default_reply(request: &RecordedRequest) -> Reply {
    let path = request.path.as_str();
    // The longest matches, so that `/compact` is not taken for a prefix of something else.
    let route = ROUTES
        .iter()
        .filter(|(suffix, ..)| path.ends_with(suffix))
        .max_by_key(|(suffix, ..)| suffix.len());
    let Some((_, method, handler)) = route else {
        let message = format!("Unknown request URL: {} {path}.", request.method);
        return error_reply(StatusCode::NOT_FOUND, &message, "unknown_url");
    };
    if request.method != *method {
        let message = format!("Not allowed to {} on {path}; use {method}.", request.method);
        return error_reply(
            StatusCode::METHOD_NOT_ALLOWED,
            &message,
            "method_not_allowed",
        )
        .with_header("allow", method.as_str());
    }
    let answer = match handler {
        Handler::Fixed(reply) => return reply(request),
        Handler::Answer(answer) => answer,
    };
    if count_values(&request.body) > MAX_VALUES {
        let message = format!("The request has more than {MAX_VALUES} JSON values and names.");
        return error_reply(StatusCode::PAYLOAD_TOO_LARGE, &message, "too_many_values");
    }
    match serde_json::from_slice::<Value>(&request.body) {
        Ok(body @ Value::Object(_)) => answer(
            DefaultAnswer::to_request(&body, request.number),
            body["stream"] == true,
        ),
        Ok(_) => {
            let message = "The body of the request is JSON, but not an object.";
            error_reply(StatusCode::BAD_REQUEST, message, "invalid_json")
        }
        Err(error) => {
            let message = format!("We could not parse the JSON body of your request: {error}.");
            error_reply(StatusCode::BAD_REQUEST, &message, "invalid_json")
        }
    }
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

fn responses(answer: DefaultAnswer, stream: bool) -> Reply {
    if stream {
        Reply::events(answer.responses_events())
    } else {
        Reply::json(answer.response())
    }
}

fn chat(answer: DefaultAnswer, stream: bool) -> Reply {
    if stream {
        Reply::events(answer.chat_events())
    } else {
        Reply::json(answer.chat_completion())
    }
}

fn compact(answer: DefaultAnswer, _stream: bool) -> Reply {
    Reply::json(answer.compaction())
}

fn models(request: &RecordedRequest) -> Reply {
    let known = request.headers.get(http::header::IF_NONE_MATCH);
    if known.is_some_and(|etag| etag.as_bytes() == MODELS_ETAG.as_bytes()) {
        return Reply::new(super::ReplyBody::Empty)
            .with_status(StatusCode::NOT_MODIFIED)
            .with_header("etag", MODELS_ETAG);
    }
    let model = |id: &str| json!({"id": id, "object": "model", "created": CREATED_AT, "owned_by": "actix-responses"});
    Reply::json(json!({"object": "list", "data": [model(MODEL), model("loopback-mini")]}))
        .with_header("etag", MODELS_ETAG)
}

fn error_reply(status: StatusCode, message: &str, code: &str) -> Reply {
    Reply::json(error_object(status, message, Some(code))).with_status(status)
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
        default_reply(&RecordedRequest::for_tests(method, path, body))
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
                let reply = reply(Method::POST, &format!("{prefix}{path}"), "{}");
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
            let streamed = reply(Method::POST, path, r#"{"stream":true}"#).body;
            assert!(matches!(streamed, ReplyBody::Events(_)), "{path}");
            let whole = reply(Method::POST, path, r#"{"stream":false}"#).body;
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
        for (commas, status) in [(MAX_VALUES - 5, None), (MAX_VALUES, Some(413))] {
            let body = format!(
                "{{\"input\":[\"{}\",0{}]}}",
                ",".repeat(MAX_VALUES),
                ",0".repeat(commas)
            );
            request.body = body.into();
            let reply = default_reply(&request);
            assert_eq!(reply.status.map(|status| status.as_u16()), status);
        }
    }

    #[test]
    fn models_are_not_sent_again_to_who_has_them() {
        let mut request = RecordedRequest::for_tests(Method::GET, "/v1/models", "");
        let first = default_reply(&request);
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
            default_reply(&request).status,
            Some(StatusCode::NOT_MODIFIED)
        );
    }
}
