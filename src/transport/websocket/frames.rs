//! What the API's WebSocket mode puts into messages, and the same as server-sent events have it.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

/// What ends a response, so that the next may be asked for.
const ENDS: [&str; 4] = [
    "response.completed",
    "response.incomplete",
    "response.failed",
    "response.cancelled",
];

/// What says how a body is to be sent, which a socket settles.
const LEFT_OUT: [&str; 4] = ["background", "stream", "stream_options", "type"];

/// The cancelling of the response that runs.
pub(super) const CANCEL: Bytes = Bytes::from_static(br#"{"type":"response.cancel"}"#);

/// The body of a POST.
pub(super) struct Body<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Body<'a> {
    /// `None` of a body that is no object.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().map(Self)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The input, where it is a list.
    pub(super) fn items(&self) -> Option<Vec<&'a RawValue>> {
        serde_json::from_str(self.0.get(INPUT)?.get()).ok()
    }

    /// All that is sent but the input.
    pub(super) fn others(&self) -> Bytes {
        let mut text = BytesMut::new();
        self.write_others(&mut text);
        text.freeze()
    }

    fn write_others(&self, text: &mut BytesMut) {
        for (name, value) in &self.0 {
            if **name != *INPUT && !LEFT_OUT.contains(&&**name) {
                write(text, name, value.get());
            }
        }
    }

    /// `response.create` with the fields, each as it is written in the body. Of the input the server may know the first items, by the id of
    /// a response. With `is_warm_up` it is to generate nothing.
    pub(super) fn message(&self, is_warm_up: bool, known: Option<(&str, usize)>) -> Bytes {
        let mut text = BytesMut::new();
        text.put_slice(br#"{"type":"response.create""#);
        self.write_others(&mut text);
        if is_warm_up {
            write(&mut text, "generate", "false");
        }
        let new = known.and_then(|(id, count)| Some((id, self.items()?.split_off(count))));
        match new {
            Some((id, items)) => {
                write(
                    &mut text,
                    "previous_response_id",
                    &Value::from(id).to_string(),
                );
                let items: Vec<_> = items.iter().map(|item| item.get()).collect();
                write(&mut text, INPUT, &format!("[{}]", items.join(",")));
            }
            None => {
                if let Some(input) = self.0.get(INPUT) {
                    write(&mut text, INPUT, input.get());
                }
            }
        }
        text.put_u8(b'}');
        text.freeze()
    }
}

const INPUT: &str = "input";

fn write(text: &mut BytesMut, name: &str, value: &str) {
    text.put_u8(b',');
    text.put_slice(Value::from(name).to_string().as_bytes());
    text.put_u8(b':');
    text.put_slice(value.as_bytes());
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// An event in the course of an answer, or something that nobody knows.
    Event,
    /// An item of the answer is done.
    Item,
    /// The end of the answer.
    End,
    /// An error, of the answer or of the connection.
    Error,
}

impl Meaning {
    pub(super) fn of(message: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow, rename = "type")]
            name: Cow<'a, str>,
        }
        match serde_json::from_slice::<Named<'_>>(message) {
            Ok(Named { name }) if name == "error" => Self::Error,
            Ok(Named { name }) if name == "response.output_item.done" => Self::Item,
            Ok(Named { name }) if ENDS.contains(&&*name) => Self::End,
            _ => Self::Event,
        }
    }
}

/// A message as one server-sent event. A line end in JSON stands between its parts alone, so a blank says the same.
pub(super) fn as_event(message: &[u8]) -> Bytes {
    const FIELD: &[u8] = b"data: ";
    let mut event = BytesMut::with_capacity(FIELD.len() + message.len() + 2);
    event.put_slice(FIELD);
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    match message.iter().any(is_end) {
        false => event.put_slice(message),
        true => event.extend(message.iter().map(|byte| match is_end(byte) {
            true => b' ',
            false => *byte,
        })),
    }
    event.put_slice(b"\n\n");
    event.freeze()
}

/// An error as the API writes it into a message.
pub(super) struct ErrorMessage {
    object: Map<String, Value>,
    /// The status that a POST would have been answered with. Some errors have none.
    pub(super) status: Option<StatusCode>,
    /// The headers of that answer, as far as they can be headers.
    pub(super) headers: HeaderMap,
}

impl ErrorMessage {
    /// `None` of what is no object.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let object: Map<String, Value> = serde_json::from_slice(message).ok()?;
        let status = ["status", "status_code"].iter().find_map(|name| {
            let status = object.get(*name)?;
            let written = || status.as_str()?.trim().parse().ok();
            let number = status.as_u64().or_else(written)?;
            let status = StatusCode::from_u16(u16::try_from(number).ok()?).ok()?;
            (status.is_client_error() || status.is_server_error()).then_some(status)
        });
        let headers = object.get("headers").and_then(Value::as_object);
        let headers = headers.into_iter().flatten().filter_map(|(name, value)| {
            let value = match value {
                Value::String(text) => text.trim().to_owned(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => return None,
            };
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::try_from(value).ok()?))
        });
        let headers = headers.collect();
        Some(Self {
            object,
            status,
            headers,
        })
    }

    /// The code, of the error itself or of what is around it.
    pub(super) fn code(&self) -> Option<&str> {
        let inner = self.object.get("error").and_then(|error| error.get("code"));
        inner.or_else(|| self.object.get("code"))?.as_str()
    }

    /// Whether the connection has lived for as long as the server lets one.
    pub(super) fn is_of_age(&self) -> bool {
        self.code() == Some("websocket_connection_limit_reached")
    }

    /// The same error for a decoder, which does not look at headers: the delay that they ask for stands in the error.
    pub(super) fn with_delay(mut self, delay: Option<std::time::Duration>) -> Vec<u8> {
        let inner = match self.object.get_mut("error") {
            Some(Value::Object(inner)) => inner,
            _ => &mut self.object,
        };
        if let Some(delay) = delay {
            let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            inner.insert("retry_after_ms".to_owned(), millis.into());
        }
        serde_json::to_vec(&self.object).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn body_of_a_post_becomes_a_message() {
        let body = br#"{"model":"m","stream":true,"stream_options":{"x":1},"background":false,"input":[{"n":1.10},2],"a\"b":1e2}"#;
        let body = Body::read(body).unwrap();
        let message = |is_warm_up, known| {
            String::from_utf8(body.message(is_warm_up, known).to_vec()).unwrap()
        };
        assert_eq!(
            message(false, None),
            r#"{"type":"response.create","a\"b":1e2,"model":"m","input":[{"n":1.10},2]}"#
        );
        assert_eq!(
            message(true, Some(("r\"1", 1))),
            r#"{"type":"response.create","a\"b":1e2,"model":"m","generate":false,"previous_response_id":"r\"1","input":[2]}"#
        );
        assert!(Body::read(b"[1]").is_none());
        let empty = Body::read(b"{}").unwrap();
        assert_eq!(
            empty.message(false, Some(("r", 0))),
            r#"{"type":"response.create"}"#
        );
    }

    #[test]
    fn message_of_many_lines_is_one_event() {
        let event = as_event(b"{\r\n\"type\":\n\"a\"}");
        assert_eq!(event, "data: {  \"type\": \"a\"}\n\n");
        assert_eq!(as_event(b"{}"), "data: {}\n\n");
    }

    #[test]
    fn what_a_message_means_is_read_from_its_type() {
        for (message, meaning) in [
            (&br#"{"type":"response.created"}"#[..], Meaning::Event),
            (br#"{"type":"response.output_item.done"}"#, Meaning::Item),
            (
                br#"{"response":{"type":"error"},"type":"response.completed"}"#,
                Meaning::End,
            ),
            (br#"{"type":"response.incomplete"}"#, Meaning::End),
            (br#"{"type":"error","error":{}}"#, Meaning::Error),
            (br#"{"type":"response.steer.accepted"}"#, Meaning::Event),
            (b"{}", Meaning::Event),
            (b"\xff", Meaning::Event),
        ] {
            assert_eq!(Meaning::of(message), meaning);
        }
    }

    #[test]
    fn status_and_headers_of_an_error_are_read_as_they_come() {
        for (status, expected) in [
            (r#""status":429"#, Some(429)),
            (r#""status_code":429"#, Some(429)),
            (r#""status":"503""#, Some(503)),
            (r#""status":null,"status_code":401"#, Some(401)),
            (r#""status":200"#, None),
            (r#""status":70000"#, None),
            (r#""x":1"#, None),
        ] {
            let text = format!(
                r#"{{"type":"error",{status},"error":{{"code":"c"}},"headers":{{"retry-after":2,"x-b":true,"x-s":"a","x y":"","x-n":[1]}}}}"#
            );
            let error = ErrorMessage::read(text.as_bytes()).unwrap();
            assert_eq!(
                error.status.map(|status| status.as_u16()),
                expected,
                "{status}"
            );
            assert_eq!(error.code(), Some("c"));
            assert_eq!(error.headers.len(), 3);
            assert_eq!(error.headers["retry-after"], "2");
            assert_eq!(error.headers["x-b"], "true");
            let told = error.with_delay(Some(Duration::from_secs(2)));
            let told: Value = serde_json::from_slice(&told).unwrap();
            assert_eq!(told["error"]["retry_after_ms"], 2000);
        }
        assert!(ErrorMessage::read(b"[]").is_none());
    }
}
