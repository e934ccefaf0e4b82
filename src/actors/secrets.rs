//! Keys that must not come back in an error.

use http::HeaderMap;

use crate::error::ApiError;

/// The secrets that one attempt was sent with. Servers quote a refused key in their message; what is quoted is taken out.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

/// What is shorter is no key, and would take ordinary words out of messages.
const SHORTEST_SECRET: usize = 6;

impl Secrets {
    /// The values of headers that are marked sensitive, and for `scheme token` the token alone.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let values = headers.values().filter(|value| value.is_sensitive());
        let texts = values.filter_map(|value| value.to_str().ok());
        let tokens = texts.map(|text| text.rsplit_once(' ').map_or(text, |(_, token)| token));
        let secrets = tokens.filter(|token| token.len() >= SHORTEST_SECRET);
        Self(secrets.map(str::to_owned).collect())
    }

    /// Takes them out of what a server said.
    pub(super) fn scrub(&self, error: &mut ApiError) {
        let details = error.details_mut();
        let texts = [
            Some(&mut details.message),
            details.code.as_mut(),
            details.error_type.as_mut(),
            details.param.as_mut(),
            details.anomalies.first_malformed.as_mut(),
        ];
        for text in texts.into_iter().flatten() {
            for secret in &self.0 {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), "[redacted]");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_quoted_key_is_taken_out() {
        let mut headers = HeaderMap::new();
        let mut key = HeaderValue::from_static("Bearer sk-0123456789");
        key.set_sensitive(true);
        headers.insert("authorization", key);
        headers.insert("x-plain", HeaderValue::from_static("plain-value"));
        let mut error = ApiError::new(
            ErrorKind::Authentication,
            "bad key sk-0123456789 in plain-value",
        );
        Secrets::of(&headers).scrub(&mut error);
        assert_eq!(error.message(), "bad key [redacted] in plain-value");
    }
}
