//! The error object that a server sends, in a stream or as the body of a refused request.
//!
//! Every server draws it a little differently: nested or flat, as a text, in a list, in a text inside another error. All of them
//! are read in `envelope`, and the tables in `kinds` say what [`ErrorKind`] they mean.

use std::time::Duration;

use crate::{
    json::excerpt::cut,
    protocol::{
        duration_notation,
        error::{ApiError, ErrorKind},
    },
};

mod envelope;
mod http_response;
mod kinds;
mod page;

pub(crate) use http_response::{api_error_from_http, error_in, request_id};
pub(crate) use page::excerpt;

/// The longest message that is kept of a server, in characters. As much is kept of what the model had written.
const MAX_MESSAGE_CHARS: usize = 1000;

/// What a server said went wrong. Absent means that it did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// `code`; a number as its digits.
    pub(crate) code: Option<String>,
    /// A finer name than `code` that stood deeper. It only helps to tell the kind.
    pub(crate) reason: Option<String>,
    /// `type`.
    pub(crate) error_type: Option<String>,
    /// `message`, or what stands in its place.
    pub(crate) message: Option<String>,
    /// `param`.
    pub(crate) param: Option<String>,
    /// The HTTP status that the object itself names, also as a numeric `code`.
    pub(crate) status: Option<u16>,
    /// `plan_type` (`usage_limit_reached`).
    pub(crate) plan_type: Option<String>,
    /// `resets_at`, in seconds of Unix time.
    pub(crate) resets_at: Option<i64>,
    /// How long the object's members ask to wait; its words may ask it as well.
    pub(crate) retry_after: Option<Duration>,
    /// What the model had written that the server could not use (Groq).
    pub(crate) failed_generation: Option<String>,
    /// What the code means where its place says whose number it is.
    pub(crate) meaning: Option<ErrorKind>,
}

impl ServerError {
    /// Fills what is absent.
    fn or(self, other: Self) -> Self {
        Self {
            code: self.code.or(other.code),
            reason: self.reason.or(other.reason),
            error_type: self.error_type.or(other.error_type),
            message: self.message.or(other.message),
            param: self.param.or(other.param),
            status: self.status.or(other.status),
            plan_type: self.plan_type.or(other.plan_type),
            resets_at: self.resets_at.or(other.resets_at),
            retry_after: self.retry_after.or(other.retry_after),
            failed_generation: self.failed_generation.or(other.failed_generation),
            meaning: self.meaning.or(other.meaning),
        }
    }

    /// What kind of failure this is, given the HTTP status it came with, if any.
    ///
    /// The names that mean one thing come first, `code` before `type`; then the sentences that servers write in place of a
    /// name; then the numbers that a vendor has given a meaning; then the status, the object's own before HTTP's, because
    /// proxies wrap one answer in another; last the names that only say whose fault it was. An error that says nothing of
    /// this is the server's.
    pub(crate) fn kind(&self, http_status: Option<u16>) -> ErrorKind {
        let by_name = |table| {
            [&self.code, &self.reason, &self.error_type]
                .into_iter()
                .flatten()
                .find_map(|name| kinds::by_name(table, name))
        };
        let status = self.status.or(http_status).filter(|status| *status >= 400);
        let is_bare = self.code.is_none() && self.error_type.is_none();
        by_name(kinds::kind_of_name)
            .or_else(|| kinds::kind_of_message(self.message.as_deref()?, status, is_bare))
            .or(self.meaning)
            .or_else(|| kinds::kind_of_number(self.code.as_deref()?))
            .or_else(|| status.map(kinds::kind_of_status))
            .or_else(|| by_name(kinds::kind_of_vague_name))
            .unwrap_or(ErrorKind::ServerError)
    }

    /// Makes the error that a request ends with.
    pub(crate) fn into_api_error(self, http_status: Option<u16>) -> ApiError {
        let kind = self.kind(http_status);
        let words = self.message.as_deref().map(str::trim).unwrap_or_default();
        let mut message = match self.code.as_deref().or(self.error_type.as_deref()) {
            _ if !words.is_empty() => cut(words, MAX_MESSAGE_CHARS),
            Some(name) if name.parse::<f64>().is_ok() => {
                format!("the server reports error {name} and says no more")
            }
            Some(name) => format!("the server reports {name} and says no more"),
            None => "the server reports an error and does not say which".to_owned(),
        };
        if let Some(generation) = &self.failed_generation {
            let generation = cut(generation.trim(), MAX_MESSAGE_CHARS);
            message.push_str(&format!("; failed generation: {generation}"));
        }
        // Where nothing is to be waited for, such words speak of something else.
        let is_limit = matches!(kind, ErrorKind::RateLimited | ErrorKind::Overloaded);
        let retry_after = self.retry_after.or_else(|| {
            is_limit
                .then(|| duration_notation::requested_in(words))
                .flatten()
        });
        let mut error = ApiError::new(kind, message);
        let details = error.details_mut();
        details.status = http_status;
        details.code = self.code;
        details.error_type = self.error_type;
        details.param = self.param;
        details.plan_type = self.plan_type;
        details.resets_at = self.resets_at;
        details.retry_after = retry_after;
        error
    }
}

#[cfg(test)]
mod tests;
