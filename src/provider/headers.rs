//! Headers of requests: which may be set, which are secret, and which go before others.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    protocol::error::ApiError, secret::redaction::is_secret_name, transport::is_transport_header,
};

/// What a request asks to be answered with: its `accept` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    /// A stream of events.
    EventStream,
    /// One JSON document.
    Json,
}

impl Accept {
    /// The media type.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::EventStream => "text/event-stream",
            Self::Json => "application/json",
        }
    }
}

/// Puts what an [`AuthProvider`](super::AuthProvider) gave in place of the headers of those names. All of it is secret.
pub(crate) fn add_auth(headers: &mut HeaderMap, auth: &HeaderMap) {
    replace(headers, auth, |_| true);
}

/// A header of a provider or a request, marked where it holds a secret.
pub(crate) fn checked_header(
    name: &str,
    value: &str,
) -> Result<(HeaderName, HeaderValue), ApiError> {
    let header_name = HeaderName::try_from(name)
        .map_err(|_| ApiError::misconfigured(format!("{name:?} is no header's name")))?;
    if is_transport_header(&header_name) {
        return Err(ApiError::misconfigured(format!(
            "header {header_name} is set by the transport"
        )));
    }
    let mut value = HeaderValue::try_from(value).map_err(|_| {
        ApiError::misconfigured(format!(
            "header {header_name} has a value that can't be sent"
        ))
    })?;
    value.set_sensitive(is_secret_name(header_name.as_str()));
    Ok((header_name, value))
}

/// Puts all values of each header in place of those of its name, marked where they are a secret.
pub(super) fn replace(
    headers: &mut HeaderMap,
    later: &HeaderMap,
    is_secret: impl Fn(&HeaderName) -> bool,
) {
    for name in later.keys() {
        headers.remove(name);
        let is_secret = is_secret(name);
        for value in later.get_all(name) {
            let mut value = value.clone();
            value.set_sensitive(is_secret || value.is_sensitive());
            headers.append(name, value);
        }
    }
}
