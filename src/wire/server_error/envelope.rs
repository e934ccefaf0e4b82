//! The shapes in which servers put an error.
//!
//! Members are found whatever their case and with or without `_` and `-`: `errorCode`, `error_code` and `ErrorCode` are one.

use crate::json::tree::tree;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    MAX_MESSAGE_CHARS, ServerError,
    kinds::{is_error_name, kind_of_baidu, kind_of_minimax, means_a_kind},
    page::excerpt,
};
use crate::{
    json::lenient::integer,
    protocol::{duration_notation, error::ErrorKind},
};

/// What is known of a value before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Certainty {
    /// It may be anything: it is an error when it says so, or has a code beside its message.
    Unknown,
    /// It is an error or a whole answer: a message, a code or the name of an error is enough.
    Likely,
    /// Its place says that it is an error.
    Named,
}

/// How deep errors are looked for in errors. Gateways nest two or three; a text that holds JSON counts as one.
const MAX_DEPTH: usize = 8;

/// Where an error stands inside another object.
const HOLDERS: [&str; 5] = ["error", "errors", "err", "fault", "exception"];

/// Where the words stand, those that say most first.
const WORDS: [&str; 10] = [
    "message",
    "msg",
    "errordescription",
    "errormessage",
    "errormsg",
    "errmsg",
    "statusmsg",
    "statusmessage",
    "faultstring",
    "detail",
];

/// Names that are words only of what is known to be an error.
const WORDS_OF_ERRORS: [&str; 4] = ["details", "description", "reason", "title"];

/// The members that are part of many events and say nothing of an error.
const COMMON: [&str; 10] = [
    "type",
    "object",
    "event",
    "status",
    "success",
    "ok",
    "id",
    "requestid",
    "sequencenumber",
    "model",
];

impl ServerError {
    /// Reads what is an error or a whole answer, in any of the shapes that servers use. `None` when it names no error: no text,
    /// and an object that has neither an error in it, nor a code, nor a message.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        read(value, Certainty::Likely, 0).filter(|error| *error != Self::default())
    }

    /// Reads the value of a member that is named `error`. `None` when it is empty, zero, `false` or a success.
    pub(crate) fn from_member(value: &Value) -> Option<Self> {
        read(value, Certainty::Named, 0)
    }

    /// Reads the data of an event that is named `error`. That may say nothing more.
    pub(crate) fn from_error_event(value: &Value) -> Self {
        Self::from_member(value).unwrap_or_default()
    }

    /// Reads a text that reports an error: words, also with JSON in them, a page, or a number. `None` when it is empty or
    /// `null`.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        read_text(text, 0)
    }

    /// The error that an object reports which may be anything: one that says so, has an error in it, or has a code beside its
    /// message. It may say nothing more.
    pub(crate) fn reported_by(value: &Value) -> Option<Self> {
        read(value, Certainty::Unknown, 0)
    }
}

/// Reads an error out of a value. One that is known to be an error and says nothing is the default.
fn read(value: &Value, certainty: Certainty, depth: usize) -> Option<ServerError> {
    if depth > MAX_DEPTH {
        return None;
    }
    let is_named = certainty == Certainty::Named;
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => is_named.then(ServerError::default),
        Value::Number(_) => is_named.then(|| read_number(value)).flatten(),
        Value::String(text) if certainty > Certainty::Unknown => read_text(text, depth),
        Value::String(_) => None,
        Value::Array(values) => read_list(values, certainty, depth),
        Value::Object(object) => read_object(object, certainty, depth),
    }
}

/// Reads what stands where an error is reported, and is no object: a number is its code.
fn read_number(value: &Value) -> Option<ServerError> {
    let code = code_of(value)?;
    Some(ServerError {
        status: integer(value).and_then(http_status),
        code: Some(code),
        ..ServerError::default()
    })
}

/// Reads a text that reports an error: JSON, also behind `data:` or other words, a page, a number, or words.
fn read_text(text: &str, depth: usize) -> Option<ServerError> {
    let text = text.trim();
    if let Some(error) = error_in_text(text, depth) {
        return Some(error);
    }
    match tree(text) {
        Some(Value::Null | Value::Bool(_)) => return None,
        Some(number @ Value::Number(_)) => return read_number(&number),
        Some(Value::String(inner)) if depth < MAX_DEPTH => return read_text(&inner, depth + 1),
        _ => {}
    }
    let words = match text.starts_with('<') {
        true => excerpt(text)?,
        false => text.to_owned(),
    };
    (!words.is_empty()).then(|| from_words(words))
}

/// The error that a text holds as JSON. Of a text that ends in JSON, all of it is the message.
pub(super) fn error_in_text(text: &str, depth: usize) -> Option<ServerError> {
    let text = text.trim();
    let json = |text: &str, certainty| {
        let text = text.trim();
        let value = text.starts_with(['{', '[']).then(|| tree(text))??;
        // Of one that says nothing but that it is an error, the text says more.
        read(&value, certainty, depth + 1).filter(|error| *error != ServerError::default())
    };
    json(text, Certainty::Likely)
        .or_else(|| {
            text.lines()
                .filter_map(|line| line.trim_start().strip_prefix("data:"))
                .find_map(|data| json(data, Certainty::Likely))
        })
        .or_else(|| {
            let start = text.find('{').filter(|start| *start > 0)?;
            let inner = json(&text[start..], Certainty::Unknown)?;
            Some(ServerError {
                message: Some(text.to_owned()),
                ..inner
            })
        })
}

/// Reads a list of errors: the words of all, and of the rest what the first of them says.
fn read_list(values: &[Value], certainty: Certainty, depth: usize) -> Option<ServerError> {
    let errors = values
        .iter()
        .filter_map(|value| read(value, certainty, depth + 1));
    errors.reduce(|mut first, next| {
        if let Some(words) = &next.message {
            first.add_words("; ", words);
        }
        first.or(next)
    })
}

fn read_object(
    object: &Map<String, Value>,
    certainty: Certainty,
    depth: usize,
) -> Option<ServerError> {
    let says_so = says_error(object);
    let own = match says_so {
        true => Certainty::Named,
        false => certainty,
    };
    let mut error = match denies_error(object, own) {
        true => ServerError::default(),
        false => read_flat(object, own, depth),
    };
    // What is nested says more than what surrounds it; the surroundings fill the gaps.
    let nested = read_nested(object, depth);
    let is_nested = nested.is_some();
    if let Some((nested, is_text)) = nested {
        error = match (&nested.message, &error.message) {
            (Some(word), Some(words)) if is_text && !words.contains(word.as_str()) => {
                error.named(word.clone())
            }
            // A table of what is wrong with which field explains the words beside it.
            (Some(table), _) if table.starts_with('{') && nested.code.is_none() => {
                let title = || member(object, "title").and_then(text_of);
                error.message = error.message.or_else(title);
                error.add_words(": ", table);
                error.or(nested)
            }
            _ => nested.or(error),
        };
    }
    error.add_depths(object, own, depth);
    let says_something =
        error.code.is_some() || error.message.is_some() || error.error_type.is_some();
    let is_error = match own {
        _ if is_nested => true,
        Certainty::Unknown => {
            let is_named = error.code.is_some()
                || error.status.is_some()
                || error.error_type.as_deref().is_some_and(is_error_name);
            error.message.is_some() && is_named
        }
        Certainty::Likely => says_something,
        Certainty::Named if says_something => true,
        Certainty::Named => {
            // What is known to be an error and has no words that are known is its own words.
            let has_words = !is_success(object)
                && object.iter().any(|(name, value)| {
                    !is_empty(value) && !COMMON.iter().any(|common| same_name(name, common))
                });
            error.message = has_words.then(|| Value::Object(object.clone()).to_string());
            has_words || says_so
        }
    };
    is_error.then_some(error)
}

/// The error inside an object, and whether it was a plain text.
fn read_nested(object: &Map<String, Value>, depth: usize) -> Option<(ServerError, bool)> {
    let named = |value: &Value| read(value, Certainty::Named, depth + 1);
    HOLDERS
        .into_iter()
        .find_map(|name| {
            let value = member(object, name)?;
            let error = named(value)?;
            // One that only says `true` leaves the words to its neighbours.
            let is_text = value.is_string() && error.code.is_none();
            (error != ServerError::default()).then_some((error, is_text))
        })
        .or_else(|| {
            // AWS, in a stream.
            let is_exception = |name: &str| name.ends_with("Exception");
            let (name, value) = object.iter().find(|(name, _)| is_exception(name))?;
            let mut error = named(value)?;
            error.error_type.get_or_insert_with(|| name.clone());
            Some((error, false))
        })
        .or_else(|| {
            let response = member(object, "response")?.as_object()?;
            Some((named(member(response, "error")?)?, false))
        })
        .or_else(|| {
            // MiniMax; 0 is success.
            let status = member(object, "baseresp")?.as_object()?;
            let code = member(status, "statuscode").and_then(code_of)?;
            let mut error = read_flat(status, Certainty::Named, depth);
            error.meaning = kind_of_minimax(&code);
            error.code = Some(code);
            Some((error, false))
        })
        .or_else(|| {
            // iFlytek; 0 is success.
            let header = member(object, "header")?.as_object()?;
            member(header, "code").and_then(code_of)?;
            Some((read_flat(header, Certainty::Named, depth), false))
        })
}

/// Reads an object's own members.
fn read_flat(object: &Map<String, Value>, own: Certainty, depth: usize) -> ServerError {
    let is_named = own == Certainty::Named;
    let text = |name: &str| member(object, name).and_then(text_of);
    let number = |name: &str| member(object, name).and_then(integer);
    let mut words = WORDS
        .into_iter()
        .find_map(|name| words_of(member(object, name)?, own, depth));
    if is_named && words.is_none() {
        words = WORDS_OF_ERRORS
            .into_iter()
            .find_map(|name| Some(from_words(text(name)?)));
    }
    let path = member(object, "loc").and_then(path_of);
    if let (Some(path), Some(message)) = (
        &path,
        words.as_mut().and_then(|words| words.message.as_mut()),
    ) {
        message.insert_str(0, &format!("{path}: "));
    }
    let code = ["code", "errorcode", "errcode", "errno"]
        .into_iter()
        .find_map(|name| code_of(member(object, name)?));
    let status = ["status", "statuscode", "httpcode", "httpstatus"]
        .into_iter()
        .find_map(|name| http_status(number(name)?))
        .or_else(|| code.as_deref()?.parse().ok().and_then(http_status));
    let has_words = words.is_some();
    let is_type =
        |name: &String| is_named || is_error_name(name) || (own == Certainty::Likely && has_words);
    let error_type = text("type")
        .map(|name| name.rsplit('#').next().unwrap_or_default().to_owned())
        // An event's or an object's own `type` is not the error's, and a link is no name.
        .filter(|name| name != "error" && !name.starts_with("response."))
        .filter(|name| !name.contains("//") && name != "about:blank")
        .filter(is_type)
        .or_else(|| text("errortype"))
        // Google writes the error's name into `status`. Other objects have a status, too.
        .or_else(|| text("status").filter(|name| names_type(name, is_named)))
        .or_else(|| text("title").filter(|_| has_words && is_named));
    let baidu = member(object, "errorcode").filter(|_| member(object, "errormsg").is_some());
    let meaning = match &path {
        Some(_) => Some(ErrorKind::InvalidRequest),
        None => baidu.and_then(code_of).as_deref().and_then(kind_of_baidu),
    };
    let error = ServerError {
        meaning,
        code,
        error_type,
        param: text("param").or(path),
        status,
        plan_type: text("plantype"),
        resets_at: number("resetsat"),
        retry_after: delay_of(object),
        failed_generation: member(object, "failedgeneration").and_then(json_or_text),
        ..ServerError::default()
    };
    match words {
        Some(words) => words.or(error),
        None => error,
    }
}

impl ServerError {
    /// Puts a word before the message: as the code, as OAuth has it, if it is short and there is none.
    fn named(mut self, word: String) -> Self {
        if self.code.is_none() && word.split_whitespace().count() <= 4 {
            self.code = Some(word);
        } else if let Some(words) = self.message.replace(word) {
            self.add_words(": ", &words);
        }
        self
    }

    /// Adds words to the message that are not in it yet. What would be cut is not kept.
    fn add_words(&mut self, between: &str, words: &str) {
        let message = self.message.get_or_insert_default();
        if message.is_empty() {
            message.push_str(words);
        } else if message.len() < 4 * MAX_MESSAGE_CHARS && !message.contains(words) {
            message.push_str(between);
            message.push_str(words);
        }
    }

    /// Reads what stands deeper and says more: the words of the server behind the one that answers (OpenRouter's
    /// `metadata.raw`), a finer name (Azure's `innererror.code`, Google's `reason`), a delay (Google's `retryDelay`).
    fn add_depths(&mut self, object: &Map<String, Value>, own: Certainty, depth: usize) {
        let objects = [
            "innererror",
            "providerspecificfields",
            "metadata",
            "details",
        ]
        .into_iter()
        .filter_map(|name| member(object, name))
        .flat_map(|value| match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        })
        .filter_map(Value::as_object);
        for inner in objects {
            self.retry_after = self.retry_after.or_else(|| delay_of(inner));
            let deeper = member(inner, "innererror").and_then(Value::as_object);
            let reason = deeper.into_iter().chain([inner]).find_map(|holder| {
                ["code", "errortype", "reason"]
                    .into_iter()
                    .find_map(|name| text_of(member(holder, name)?))
            });
            self.reason = self.reason.take().or(reason);
            let raw = member(inner, "raw").and_then(json_or_text);
            if own == Certainty::Named
                && let Some(raw) = raw.and_then(|raw| read_text(&raw, depth + 1))
            {
                if let Some(words) = &raw.message {
                    self.add_words(": ", words);
                }
                self.reason = self.reason.take().or(raw.code).or(raw.error_type);
                self.retry_after = self.retry_after.or(raw.retry_after);
            }
        }
        if own == Certainty::Named && self.message.is_none() {
            let data = ["data", "payload", "body", "content", "text"]
                .into_iter()
                .find_map(|name| read(member(object, name)?, Certainty::Likely, depth + 1));
            if let Some(data) = data {
                *self = data.or(std::mem::take(self));
            }
        }
    }
}

/// Whether an object says of itself that it is an error.
fn says_error(object: &Map<String, Value>) -> bool {
    let is = |names: &[&str], words: &[&str]| {
        names.iter().any(|name| {
            let text = member(object, name).and_then(Value::as_str);
            text.is_some_and(|text| words.iter().any(|word| text.eq_ignore_ascii_case(word)))
        })
    };
    let is_bool = |name: &str, expected: bool| {
        let value = member(object, name);
        value.is_some_and(|value| match value {
            Value::Bool(value) => *value == expected,
            Value::String(text) => text.eq_ignore_ascii_case(&expected.to_string()),
            _ => false,
        })
    };
    let has = |names: &[&str]| {
        let mut values = names.iter().filter_map(|name| member(object, name));
        values.any(|value| !is_empty(value))
    };
    is(&["type", "object", "event"], &["error"])
        || is(&["status", "result"], &["error", "fail", "failure"])
        || is_bool("success", false)
        || is_bool("ok", false)
        || is_bool("error", true)
        || object.contains_key("__type")
        || (!is_success(object)
            && has(&[
                "errormessage",
                "errormsg",
                "errmsg",
                "errordescription",
                "failedgeneration",
                "detail",
            ]))
        || ["errorcode", "errcode"]
            .into_iter()
            .any(|name| member(object, name).and_then(code_of).is_some())
}

/// Whether an object that is not known to be an error says that it is none.
fn denies_error(object: &Map<String, Value>, own: Certainty) -> bool {
    let is = |name: &str, expected: bool| member(object, name) == Some(&Value::Bool(expected));
    let is_fine = |name: &str| {
        let text = member(object, name).and_then(Value::as_str);
        text.is_some_and(is_success_word)
    };
    let is_status = |name: &str| {
        let status = member(object, name).and_then(integer);
        status.is_some_and(|status| (200..300).contains(&status))
    };
    own != Certainty::Named
        && (is("error", false)
            || is("success", true)
            || is("ok", true)
            || is_success(object)
            || is_status("status")
            || is_status("statuscode")
            || ["message", "msg", "status", "result"]
                .into_iter()
                .any(is_fine))
        || own == Certainty::Named
            && is_success(object)
            && (member(object, "message").is_none() || is_fine("message") || is_fine("msg"))
            && !says_error(object)
}

/// Whether an object's code is that of a success.
fn is_success(object: &Map<String, Value>) -> bool {
    ["code", "errorcode", "errcode", "errno"]
        .into_iter()
        .filter_map(|name| member(object, name))
        .any(|code| text_of(code).is_some_and(|text| is_success_word(&text)))
}

fn is_success_word(text: &str) -> bool {
    let text = text.trim();
    match text.parse::<i64>() {
        Ok(number) => number == 0 || (200..300).contains(&number),
        Err(_) => ["ok", "success", "succeeded", "successful"]
            .into_iter()
            .any(|word| text.eq_ignore_ascii_case(word)),
    }
}

/// Whether a `status` is the name of an error.
fn names_type(status: &str, is_named: bool) -> bool {
    let is_state = ["error", "fail", "failed", "failure", "true", "false"]
        .into_iter()
        .any(|state| status.eq_ignore_ascii_case(state));
    !is_state && status.parse::<i64>().is_err() && (is_named || means_a_kind(status))
}

/// The member of a name that is in lower case and has no `_`; `null` is absent.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let exact = object.get(name).filter(|value| !value.is_null());
    exact.or_else(|| {
        let mut members = object.iter();
        let same = members.find(|(own, value)| !value.is_null() && same_name(own, name));
        same.map(|(_, value)| value)
    })
}

fn same_name(own: &str, name: &str) -> bool {
    own.bytes()
        .filter(|byte| !matches!(byte, b'_' | b'-'))
        .map(|byte| byte.to_ascii_lowercase())
        .eq(name.bytes())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// What a message says: a text, also one that holds JSON, or an error of its own. The message of an answer is an object, too.
fn words_of(value: &Value, own: Certainty, depth: usize) -> Option<ServerError> {
    match value {
        Value::Array(_) | Value::Object(_) => read(value, own.max(Certainty::Likely), depth + 1),
        Value::String(text) if depth < MAX_DEPTH => {
            error_in_text(text, depth + 1).or_else(|| text_of(value).map(from_words))
        }
        value => text_of(value).map(from_words),
    }
}

fn from_words(words: String) -> ServerError {
    ServerError {
        message: Some(words),
        ..ServerError::default()
    }
}

/// A string or a number as text; what is empty is absent.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A code, unless it is that of a success.
fn code_of(value: &Value) -> Option<String> {
    text_of(value).filter(|text| !is_success_word(text))
}

fn json_or_text(value: &Value) -> Option<String> {
    match value {
        Value::Array(_) | Value::Object(_) => Some(value.to_string()),
        value => text_of(value),
    }
}

/// FastAPI's place of what it does not take: `body.messages.0`.
fn path_of(value: &Value) -> Option<String> {
    let parts: Vec<_> = value.as_array()?.iter().filter_map(text_of).collect();
    (!parts.is_empty()).then(|| parts.join("."))
}

fn http_status(number: i64) -> Option<u16> {
    let status = u16::try_from(number).ok()?;
    (400..600).contains(&status).then_some(status)
}

/// How long an object's members ask to wait.
fn delay_of(object: &Map<String, Value>) -> Option<Duration> {
    let read = |name: &str, unit: f64| match member(object, name)? {
        Value::Number(number) => Duration::try_from_secs_f64(number.as_f64()? * unit).ok(),
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(number) => Duration::try_from_secs_f64(number * unit).ok(),
            Err(_) => duration_notation::parse(text),
        },
        _ => None,
    };
    read("retryafterms", 1e-3).or_else(|| {
        [
            "retryafter",
            "retryafterseconds",
            "retrydelay",
            "resetsinseconds",
            "estimatedtime",
        ]
        .into_iter()
        .find_map(|name| read(name, 1.0))
    })
}
