//! Bodies of requests that somebody else wrote: read into a prompt, and sent on as they came.

use std::{borrow::Cow, ops::Range, sync::Arc};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    Wire, chat,
    quirks::Quirks,
    reading::{Body, not_json, with_whole_characters},
    responses,
};
use crate::{
    json::members::{Members, unescaped},
    protocol::{AsItCame, CompactionInput, Places, Prompt, error::ApiError},
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
    /// So that nothing old is ever sent, a fingerprint of what was read, 64 bits by a seed that nobody knows, is kept and compared with the
    /// prompt's when it is sent. The values of `input` or `messages`, of `tools` and of all else together are bounded by
    /// [`RawJson::MAX_TREE_BYTES`](crate::protocol::RawJson::MAX_TREE_BYTES) each; how long a body may be is the caller's to bound.
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
        let (mut prompt, is_chat, places) = read(&body)?;
        let came = AsItCame::new(body, is_chat, places, &prompt);
        prompt.received.as_it_came = Some(Arc::new(came));
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
        let (mut prompt, is_chat, places) = read(&body)?;
        let extra = std::mem::take(&mut prompt.options.extra);
        let mut input = Self::of(prompt);
        input.extra = extra;
        let came = AsItCame::new(body, is_chat, places, &input);
        input.received.as_it_came = Some(Arc::new(came));
        Ok(input)
    }
}

/// Reads a body, and finds what may be changed in it.
fn read(body: &[u8]) -> Result<(Prompt, bool, Places), ApiError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| not_json(format_args!("it is not UTF-8: {error}")))?;
    let as_written = Body::of(text)?;
    let whole = with_whole_characters(text);
    let body = match &whole {
        Cow::Borrowed(_) => &as_written,
        Cow::Owned(whole) => &Body::of(whole)?,
    };
    let is_chat = is_of_chat(body);
    let prompt = match is_chat {
        false => responses::prompt_of(body),
        true => chat::prompt_of(body),
    };
    Ok((prompt?, is_chat, as_written.places(&CHANGED)))
}

/// The members that may be changed in a body as it came.
const CHANGED: [&str; 3] = ["model", "stream", "stream_options"];

/// Which API a body is for.
fn is_of_chat(body: &Body<'_>) -> bool {
    let has = |wanted: &str| body.members().any(|(name, _)| name == wanted);
    has("messages") && !has("input")
}

/// The body that a compaction was read from, if it still says what it says.
pub(super) fn compaction_as_it_came(input: &CompactionInput) -> Option<Bytes> {
    let came = input.received.as_it_came.as_deref()?;
    // Without one nothing is sent, and the error is that of any input.
    let model = input.model.as_deref()?;
    if !came.is_said_by(input) {
        return None;
    }
    let mut edits = Edits::of(came);
    if came.has_other_model(input) {
        edits.set_model(model)?;
    }
    edits.body()
}

/// The body that a prompt was read from, if the prompt still says what it says and goes over the same wire.
pub(super) fn as_it_came(
    wire: Wire,
    prompt: &Prompt,
    quirks: &Quirks,
    is_stream: bool,
) -> Option<Bytes> {
    let came = prompt.received.as_it_came.as_deref()?;
    if came.is_chat != (wire == Wire::Chat) || !came.is_said_by(prompt) {
        return None;
    }
    let mut edits = Edits::of(came);
    if is_stream {
        edits.set("stream", |value| {
            (value != b"true").then(|| "true".to_owned())
        });
    }
    if came.has_other_model(prompt) {
        edits.set_model(prompt.options.model.as_deref()?)?;
    }
    if is_stream && came.is_chat && !quirks.no_usage_request {
        edits.set("stream_options", |value| {
            with_usage(std::str::from_utf8(value).ok()?)
        });
    }
    edits.body()
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

/// What is to be changed of a body.
struct Edits<'a> {
    came: &'a AsItCame,
    list: SmallVec<[(Range<usize>, String); 3]>,
    appended: String,
}

impl<'a> Edits<'a> {
    fn of(came: &'a AsItCame) -> Self {
        Self {
            came,
            list: SmallVec::new(),
            appended: String::new(),
        }
    }

    /// Sets a member, wherever it stands, to what `change` makes of its value; behind all others, of no value, if it stands nowhere.
    fn set(&mut self, name: &'static str, change: impl Fn(&[u8]) -> Option<String>) {
        let places = &self.came.places;
        let mut is_there = false;
        for (_, value) in places.members.iter().filter(|(known, _)| *known == name) {
            is_there = true;
            let changed = change(&self.came.body[value.clone()]);
            self.list
                .extend(changed.map(|changed| (value.clone(), changed)));
        }
        if !is_there && let Some(value) = change(b"") {
            let is_first = places.is_empty && self.appended.is_empty();
            let comma = if is_first { "" } else { "," };
            self.appended += &format!("{comma}\"{name}\":{value}");
        }
    }

    fn set_model(&mut self, model: &str) -> Option<()> {
        let model = serde_json::to_string(model).ok()?;
        self.set("model", |_| Some(model.clone()));
        Some(())
    }

    fn body(mut self) -> Option<Bytes> {
        let json = &self.came.body;
        if self.list.is_empty() && self.appended.is_empty() {
            return Some(json.clone());
        }
        let end = self.came.places.end;
        self.list.push((end..end, self.appended));
        self.list.sort_by_key(|(range, _)| range.start);
        let added: usize = self.list.iter().map(|(_, changed)| changed.len()).sum();
        let mut body = Vec::with_capacity(json.len() + added);
        let mut at = 0;
        for (range, changed) in &self.list {
            body.extend_from_slice(json.get(at..range.start)?);
            body.extend_from_slice(changed.as_bytes());
            at = range.end;
        }
        body.extend_from_slice(json.get(at..)?);
        Some(body.into())
    }
}

#[cfg(test)]
mod tests;
