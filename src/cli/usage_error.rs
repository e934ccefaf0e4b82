//! What is said of a command that was used wrongly.

use std::error::Error;

use actix_responses::ApiError;

/// The command can't do what it was told: a flag, a variable or a file is wrong. It says which, and never holds a key.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(String);

impl UsageError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// An error of the library's about what `place` gave.
    pub(super) fn at(place: &str, error: &(dyn Error + 'static)) -> Self {
        Self(format!("{place}: {}", with_causes(error)))
    }

    /// The system does not give the command what it needs to begin.
    pub(super) fn at_start(error: impl Error + 'static) -> Self {
        Self::at("can't start", &error)
    }
}

/// A refusal before anything was sent.
impl From<ApiError> for UsageError {
    fn from(error: ApiError) -> Self {
        Self(error.report())
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    // An `ApiError` says its kind too, which for a wrong setting is no news.
    let mut text = match error.downcast_ref::<ApiError>() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
