//! How a stream ends that its server did not end: an event of the dialect that says so, and what it says.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};

use super::block::{self, Event};
use crate::{
    ApiError, ErrorKind,
    protocol::{RawJson, ResponseEvent},
    wire::Wire,
};

/// What is known of a stream when it ends.
pub(super) struct SoFar<'a> {
    /// The first block that went out.
    pub(super) first: Option<&'a Bytes>,
    /// The last one.
    pub(super) last: Option<&'a Bytes>,
    /// How many went out.
    pub(super) sent: u64,
    /// The id of a response that the server gave none.
    pub(super) id: &'a str,
    /// The model, as the client named it.
    pub(super) model: &'a str,
}

/// What is to follow the last block so that the client sees an end, and the right one.
pub(super) fn end(wire: Wire, so_far: &SoFar<'_>, event: &ResponseEvent, out: &mut Vec<Bytes>) {
    let data = so_far.last.map(|last| block::data(last));
    let data = data.as_deref().unwrap_or_default();
    if wire != Wire::Chat && block::written_first(data).is_some_and(block::is_end) {
        return;
    }
    let last = Event::read(data);
    if wire == Wire::Chat {
        let ended = data == b"[DONE]" || last.error.is_some_and(|error| error.get() != "null");
        match event {
            _ if ended => {}
            ResponseEvent::Failed(error) => out.push(chat_error(error)),
            ResponseEvent::Cancelled => out.push(chat_error(&cancelled())),
            // A clean end would say that the answer is whole.
            ResponseEvent::Incomplete(incomplete) if incomplete.reason == *"no_finish_reason" => {
                out.push(chat_error(&ApiError::new(
                    ErrorKind::Truncated,
                    "the server's stream ended and did not say how",
                )));
            }
            _ => {}
        }
        return;
    }
    if block::is_end(last.kind()) {
        return;
    }
    let (status, response, error) = match event {
        ResponseEvent::Completed(completed) => ("completed", completed.response.as_ref(), None),
        ResponseEvent::Incomplete(incomplete) => {
            let reason = json!({"reason": &*incomplete.reason});
            ("incomplete", incomplete.response.as_ref(), Some(reason))
        }
        ResponseEvent::Failed(error) => {
            let response = error.details().response.as_ref();
            ("failed", response, Some(responses_error(error)))
        }
        _ => ("failed", None, Some(responses_error(&cancelled()))),
    };
    let mut sequence = match last.sequence_number {
        Some(sequence) => sequence + 1,
        None => so_far.sent,
    };
    let mut object = object(so_far, response);
    if so_far.first.is_none() {
        out.push(event_block("response.created", sequence, &object));
        sequence += 1;
    }
    let members = object.as_object_mut();
    if let Some(members) = members {
        members.insert("status".to_owned(), status.into());
        let name = if status == "incomplete" {
            "incomplete_details"
        } else {
            "error"
        };
        if let Some(error) = error {
            members.insert(name.to_owned(), error);
        }
    }
    out.push(event_block(
        &format!("response.{status}"),
        sequence,
        &object,
    ));
}

/// Whether a block says that its stream has failed, in either dialect.
pub(super) fn is_failure(block: &[u8]) -> bool {
    let data = block::data(block);
    let event = Event::read(&data);
    let is_error = event.error.is_some_and(|error| error.get() != "null");
    is_error || event.kind() == "response.failed"
}

/// The error of an answer that was stopped.
fn cancelled() -> ApiError {
    ApiError::new(ErrorKind::Cancelled, "the answer was cancelled")
}

fn event_block(kind: &str, sequence: u64, response: &Value) -> Bytes {
    let data = json!({"type": kind, "sequence_number": sequence, "response": response});
    Bytes::from(format!("event: {kind}\ndata: {data}\n\n"))
}

/// The response object that the server gave last, or one that says as much.
fn object(so_far: &SoFar<'_>, response: Option<&RawJson>) -> Value {
    let given = response.map(RawJson::to_value).filter(Value::is_object);
    let created = || {
        let data = block::data(so_far.first?);
        let response = Event::read(&data).response?;
        let value = serde_json::from_str(response.get()).ok();
        value.filter(Value::is_object)
    };
    let mut object = given.or_else(created).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        json!({
            "id": so_far.id, "object": "response", "created_at": now.unwrap_or_default().as_secs(), "completed_at": null,
            "status": "in_progress", "incomplete_details": null, "model": so_far.model, "previous_response_id": null,
            "instructions": null, "output": [], "error": null, "tools": [], "tool_choice": "auto", "truncation": "disabled",
            "parallel_tool_calls": true, "text": {"format": {"type": "text"}}, "top_p": 1.0, "presence_penalty": 0.0,
            "frequency_penalty": 0.0, "top_logprobs": 0, "temperature": 1.0, "reasoning": null, "usage": null,
            "max_output_tokens": null, "max_tool_calls": null, "store": false, "background": false,
            "service_tier": "default", "metadata": {}, "safety_identifier": null, "prompt_cache_key": null
        })
    });
    // A stream whose ids were mapped keeps the first.
    if let Some(Value::String(id)) = created().map(|mut created| created["id"].take()) {
        object["id"] = id.into();
    }
    object
}

fn chat_error(error: &ApiError) -> Bytes {
    Bytes::from(format!("data: {}\n\n", error.to_error_object()))
}

/// The code of a failure, which clients act on.
pub(super) fn code(error: &ApiError) -> &str {
    let given = error.details().code.as_deref();
    // Gateways write the status there.
    let given = given.filter(|code| !code.is_empty() && code.parse::<u16>().is_err());
    given.unwrap_or(match error.kind() {
        ErrorKind::RateLimited => "rate_limit_exceeded",
        ErrorKind::QuotaExceeded => "insufficient_quota",
        ErrorKind::InvalidRequest => "invalid_prompt",
        ErrorKind::Overloaded | ErrorKind::Unavailable => "server_is_overloaded",
        ErrorKind::ShutDown => "server_shutting_down",
        kind => kind.as_str(),
    })
}

/// The `error` of a response object: its code, and words that clients read.
fn responses_error(error: &ApiError) -> Value {
    let details = error.details();
    let code = code(error);
    let mut message = error.message().to_owned();
    // Codex waits for as long as the words say.
    if let Some(wait) = details.retry_after
        && code == "rate_limit_exceeded"
        && !message.contains("try again in")
    {
        message += &format!(". Please try again in {:.3}s.", wait.as_secs_f64());
    }
    json!({"code": code, "message": message})
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::Incomplete;

    fn ended(wire: Wire, blocks: &[&'static str], event: &ResponseEvent) -> Vec<(String, Value)> {
        let blocks: Vec<_> = blocks.iter().map(|block| Bytes::from(*block)).collect();
        let so_far = SoFar {
            first: blocks.first(),
            last: blocks.last(),
            sent: blocks.len() as u64,
            id: "relay_1",
            model: "m",
        };
        let mut out = Vec::new();
        end(wire, &so_far, event, &mut out);
        out.iter()
            .map(|block| {
                let text = String::from_utf8(block.to_vec()).unwrap();
                let value = serde_json::from_slice(&block::data(block)).unwrap();
                (text, value)
            })
            .collect()
    }

    fn failed(error: ApiError) -> ResponseEvent {
        ResponseEvent::Failed(Arc::new(error))
    }

    const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"own\":1}}\n\n";

    #[test]
    fn a_failure_after_the_head_is_response_failed_with_the_code_and_the_next_sequence_number() {
        let error = ApiError::new(ErrorKind::Truncated, "cut");
        let delta = "data: {\"type\":\"response.output_text.delta\",\"sequence_number\":6,\"delta\":\"a\"}\n\n";
        let out = ended(Wire::Responses, &[CREATED, delta], &failed(error));
        let [(text, event)] = &out[..] else {
            panic!("{out:?}")
        };
        assert!(text.starts_with("event: response.failed\ndata: {") && text.ends_with("}\n\n"));
        assert_eq!(event["sequence_number"], 7);
        assert_eq!(event["response"]["id"], "resp_1");
        assert_eq!(event["response"]["own"], 1);
        assert_eq!(event["response"]["status"], "failed");
        assert_eq!(
            event["response"]["error"],
            json!({"code": "truncated", "message": "cut"})
        );
    }

    #[test]
    fn a_failure_before_any_event_is_created_and_failed() {
        let out = ended(
            Wire::Responses,
            &[],
            &failed(ApiError::new(ErrorKind::ServerError, "broken")),
        );
        let kinds: Vec<_> = out.iter().map(|(_, event)| event["type"].clone()).collect();
        assert_eq!(kinds, ["response.created", "response.failed"]);
        assert_eq!(out[0].1["response"]["status"], "in_progress");
        assert_eq!(out[1].1["response"]["id"], "relay_1");
        assert_eq!(out[1].1["sequence_number"], 1);
    }

    #[test]
    fn an_error_event_is_followed_by_response_failed_and_a_terminal_event_by_nothing() {
        let error = failed(ApiError::new(ErrorKind::ServerError, "broken"));
        let event = "event: error\ndata: {\"type\":\"error\",\"sequence_number\":2,\"message\":\"broken\"}\n\n";
        let out = ended(Wire::Responses, &[CREATED, event], &error);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].1["type"], "response.failed");
        assert_eq!(out[0].1["sequence_number"], 3);
        for kind in ["completed", "incomplete", "failed"] {
            let last: &'static str =
                Box::leak(format!("data: {{\"type\":\"response.{kind}\"}}\n\n").into_boxed_str());
            assert_eq!(ended(Wire::Responses, &[CREATED, last], &error), []);
        }
    }

    #[test]
    fn a_code_is_one_that_codex_acts_on() {
        for (kind, code) in [
            (ErrorKind::RateLimited, "rate_limit_exceeded"),
            (ErrorKind::ContextLengthExceeded, "context_length_exceeded"),
            (ErrorKind::QuotaExceeded, "insufficient_quota"),
            (ErrorKind::ServerError, "server_error"),
            (ErrorKind::IdleTimeout, "idle_timeout"),
        ] {
            assert_eq!(responses_error(&ApiError::new(kind, "m"))["code"], code);
        }
        let limited = |code: &str| -> ApiError {
            let error = json!({"kind": "rate_limited", "message": "slow down", "retry_after_ms": 2500, "code": code});
            serde_json::from_value(error).unwrap()
        };
        assert_eq!(
            responses_error(&limited("429")),
            json!({"code": "rate_limit_exceeded", "message": "slow down. Please try again in 2.500s."})
        );
        assert_eq!(responses_error(&limited("their_own"))["code"], "their_own");
    }

    #[test]
    fn on_chat_a_failure_is_an_error_object_without_done() {
        let error = failed(ApiError::new(ErrorKind::Connection, "reset"));
        let chunk = "data: {\"choices\":[]}\n\n";
        let out = ended(Wire::Chat, &[chunk], &error);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].1["error"]["code"], "connection");
        let said = "data: {\"error\":{\"message\":\"reset\"}}\n\n";
        assert_eq!(ended(Wire::Chat, &[chunk, said], &error), []);
        let cut: Incomplete =
            serde_json::from_value(json!({"reason": "no_finish_reason"})).unwrap();
        let cut = ResponseEvent::Incomplete(Arc::new(cut));
        assert_eq!(
            ended(Wire::Chat, &[chunk], &cut)[0].1["error"]["code"],
            "truncated"
        );
        assert_eq!(ended(Wire::Chat, &["data: [DONE]\n\n"], &cut), []);
    }
}
