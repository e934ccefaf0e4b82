//! Bodies of requests that somebody else wrote: read into a prompt, and sent on as they came.

use std::ops::Range;

use bytes::Bytes;

use super::{
    Wire, chat,
    quirks::Quirks,
    reading::{Body, not_json, with_whole_characters},
    responses,
};
use crate::{
    json::members::{Members, unescaped},
    protocol::{CompactionInput, Prompt, error::ApiError},
};

impl Prompt {
    /// Takes the body of a request as a client sent it, to the Responses API or to Chat Completions: one with `messages` and without
    /// `input` is Chat's.
    ///
    /// As long as the prompt is not changed and goes over the wire that the body was written for, it is sent byte for byte as it came:
    /// spelling of numbers, order of members, repeated and unknown ones, white space. But `stream` is true. On the Chat wire
    /// `stream_options` asks for the usage where it leaves that open, unless [`Quirks::no_usage_request`] is set; else no quirk changes
    /// anything. A change of the model alone changes `model` in the body. After any other change, or over the other wire, the
    /// body is written from the fields, as that of any prompt: [`Wire::request_body`].
    ///
    /// What the client said of `stream` is not kept: who answers it in its way reads that from the body. What has no field here, as Chat's
    /// `stop`, `n` and `seed`, goes along to the other wire, whose API may refuse it.
    ///
    /// Half a surrogate pair, which JSON can spell and no text can hold, is U+FFFD in the fields. A member without a field here, or a message
    /// of Chat's, that nothing can hold (a number out of all range, a value that nests too deep) is in none: it goes along as long as
    /// the body does, and what is written from the fields is refused with its name.
    ///
    /// So that nothing old is ever sent, the body is read again when it is sent and compared with the prompt. The values of `input` or
    /// `messages`, of `tools` and of all else together are bounded by [`RawJson::MAX_TREE_BYTES`](crate::protocol::RawJson::MAX_TREE_BYTES)
    /// each; how long a body may be is the caller's to bound.
    ///
    /// ```
    /// use actix_responses::{protocol::Prompt, wire::{Quirks, Wire}};
    ///
    /// let body = r#"{"model": "gpt-5", "input": "hello", "temperature": 1.0, "x": [1e2]}"#;
    /// let prompt = Prompt::from_body(body)?;
    /// let sent = Wire::Responses.request_body(&prompt, &Quirks::default())?;
    /// assert_eq!(sent, r#"{"model": "gpt-5", "input": "hello", "temperature": 1.0, "x": [1e2],"stream":true}"#);
    /// # Ok::<(), actix_responses::ApiError>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind) for what is no such body; the message and [`param`](crate::ErrorDetails::param) name the member.
    /// [`ErrorKind::TooLarge`](crate::ErrorKind) for one with too many values.
    pub fn from_body(body: impl Into<Bytes>) -> Result<Self, ApiError> {
        let body = body.into();
        let text = std::str::from_utf8(&body)
            .map_err(|error| not_json(format_args!("it is not UTF-8: {error}")))?;
        Body::of(text)?;
        let mut prompt = prompt_of(&Body(&with_whole_characters(text)))?;
        prompt.received.body = Some(body);
        Ok(prompt)
    }
}

impl CompactionInput {
    /// Takes the body of a request for a compaction as a client sent it. As long as nothing of it is changed but the model, it is sent byte
    /// for byte as it came.
    ///
    /// # Errors
    /// As for [`Prompt::from_body`].
    pub fn from_body(body: impl Into<Bytes>) -> Result<Self, ApiError> {
        let body = body.into();
        let prompt = Prompt::from_body(body.clone())?;
        let mut input = Self::from_prompt(&prompt);
        input.extra = prompt.options.extra;
        input.received.body = Some(body);
        Ok(input)
    }
}

/// The body that a compaction was read from, if it still says what it says.
pub(super) fn compaction_as_it_came(input: &CompactionInput) -> Option<Bytes> {
    let received = input.received.body.as_ref()?;
    let mut as_read = CompactionInput::from_body(received.clone()).ok()?;
    let model = (as_read.model != input.model).then_some(input.model.as_deref()?);
    as_read.model.clone_from(&input.model);
    if as_read != *input {
        return None;
    }
    let Some(model) = model else {
        return Some(received.clone());
    };
    let model = serde_json::to_string(model).ok()?;
    let mut edits = Edits::of(std::str::from_utf8(received).ok()?);
    edits.set("model", |_| Some(model.clone()));
    Some(edits.text()?.into())
}

/// Which API a body is for.
fn wire_of(body: &Body<'_>) -> Wire {
    let has = |wanted: &str| body.members().any(|(name, _)| name == wanted);
    match has("messages") && !has("input") {
        true => Wire::Chat,
        false => Wire::Responses,
    }
}

fn prompt_of(body: &Body<'_>) -> Result<Prompt, ApiError> {
    match wire_of(body) {
        Wire::Responses => responses::prompt_of(body),
        Wire::Chat => chat::prompt_of(body),
    }
}

/// The body that a prompt was read from, if the prompt still says what it says and goes over the same wire.
pub(super) fn as_it_came(
    wire: Wire,
    prompt: &Prompt,
    quirks: &Quirks,
    is_stream: bool,
) -> Option<Bytes> {
    let received = prompt.received.body.as_ref()?;
    let text = std::str::from_utf8(received).ok()?;
    let whole = with_whole_characters(text);
    let body = Body(&whole);
    if wire_of(&body) != wire {
        return None;
    }
    let mut as_read = prompt_of(&body).ok()?;
    let model = match &prompt.options.model {
        model if *model == as_read.options.model => None,
        model => Some(serde_json::to_string(model.as_deref()?).ok()?),
    };
    as_read.options.model.clone_from(&prompt.options.model);
    if as_read != *prompt {
        return None;
    }
    let asks_for_usage = is_stream && wire == Wire::Chat && !quirks.no_usage_request;
    let mut edits = Edits::of(text);
    if is_stream {
        edits.set("stream", |value| (value != "true").then(|| "true".into()));
    }
    if let Some(model) = model {
        edits.set("model", |_| Some(model.clone()));
    }
    if asks_for_usage {
        edits.set("stream_options", with_usage);
    }
    Some(match edits.list.is_empty() {
        true => received.clone(),
        false => edits.text()?.into(),
    })
}

/// `stream_options` that ask for the usage; nothing where they say whether to already.
fn with_usage(options: &str) -> Option<String> {
    const ASKED: &str = "\"include_usage\":true";
    let mut members = Members::of(options);
    let (mut is_said, mut is_empty) = (false, true);
    for member in &mut members {
        is_said |= unescaped(member.name) == "include_usage";
        is_empty = false;
    }
    match members.end() {
        _ if is_said => None,
        Some(end) => {
            let comma = if is_empty { "" } else { "," };
            Some(format!("{}{comma}{ASKED}}}", &options[..end - 1]))
        }
        None => (options.is_empty() || options == "null").then(|| format!("{{{ASKED}}}")),
    }
}

/// What is to be changed of a JSON object that is whole.
struct Edits<'a> {
    json: &'a str,
    list: Vec<(Range<usize>, String)>,
    appended: String,
}

impl<'a> Edits<'a> {
    fn of(json: &'a str) -> Self {
        Self {
            json,
            list: Vec::new(),
            appended: String::new(),
        }
    }

    /// Sets a member, wherever it stands, to what `change` makes of its value; behind all others, of no value, if it stands nowhere.
    fn set(&mut self, name: &str, change: impl Fn(&str) -> Option<String>) {
        let json = self.json;
        let mut members = Members::of(json);
        let (mut is_there, mut is_empty) = (false, true);
        for member in &mut members {
            is_empty = false;
            if unescaped(member.name) == name {
                is_there = true;
                let changed = change(&json[member.value.clone()]);
                self.list
                    .extend(changed.map(|changed| (member.value, changed)));
            }
        }
        if let (false, Some(end), Some(value)) = (is_there, members.end(), change("")) {
            let comma = if is_empty && self.appended.is_empty() {
                ""
            } else {
                ","
            };
            self.appended += &format!("{comma}\"{name}\":{value}");
            self.list.push((end - 1..end - 1, String::new()));
        }
    }

    fn text(mut self) -> Option<String> {
        self.list.sort_by_key(|(range, _)| range.start);
        let mut text = String::with_capacity(self.json.len() + 64);
        let mut at = 0;
        for (range, changed) in &self.list {
            text += self.json.get(at..range.start)?;
            text += changed;
            if range.is_empty() {
                text += &std::mem::take(&mut self.appended);
            }
            at = range.end;
        }
        text += self.json.get(at..)?;
        Some(text)
    }
}

#[cfg(test)]
mod tests;
