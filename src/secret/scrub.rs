//! Keys that must not come back in an error.

use std::{borrow::Cow, cmp::Reverse, error::Error, ops::Range};

use http::HeaderMap;
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::{secrets_in_headers, secrets_in_path, secrets_in_query};
use crate::protocol::{RawJson, error::ApiError};

/// The secrets that one attempt was sent with. Servers quote a refused key in their message; what is quoted is taken out.
#[derive(Default)]
pub(crate) struct Secrets(Box<[String]>);

/// What is shorter is no key, and would take ordinary words out of messages.
const SHORTEST_SECRET: usize = 6;

impl Secrets {
    /// The secrets among the headers, and in the path and the query, that the attempt is sent with; also as a server may escape
    /// them.
    pub(crate) fn of(headers: &HeaderMap, url: &Url) -> Self {
        let mut secrets = secrets_in_headers(headers);
        secrets.extend(secrets_in_query(url));
        secrets.extend(secrets_in_path(url));
        let escaped = secrets.iter().flat_map(|secret| escaped(secret));
        let escaped: Vec<_> = escaped.collect();
        secrets.extend(escaped);
        secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
        // One that holds another is taken out whole.
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        secrets.dedup();
        Self(secrets.into())
    }

    /// Takes them out of what a server said.
    pub(crate) fn scrub(&self, error: &mut ApiError) {
        if self.0.is_empty() {
            return;
        }
        let details = error.details_mut();
        let limits = details.rate_limits.as_mut();
        let texts = [
            Some(&mut details.message),
            details.code.as_mut(),
            details.error_type.as_mut(),
            details.param.as_mut(),
            details.request_id.as_mut(),
            details.plan_type.as_mut(),
            details.anomalies.first_malformed.as_mut(),
        ];
        let limits = limits.into_iter().flat_map(|limits| {
            [
                limits.limit_id.as_mut(),
                limits.limit_name.as_mut(),
                limits.plan_type.as_mut(),
                limits.rate_limit_reached_type.as_mut(),
                limits.promo_message.as_mut(),
            ]
        });
        for text in texts.into_iter().chain(limits).flatten() {
            if let Some(scrubbed) = self.scrubbed(text) {
                *text = scrubbed;
            }
        }
        for raw in [&mut details.response, &mut details.usage] {
            if let Some(scrubbed) = raw.as_ref().and_then(|raw| self.scrubbed(raw.get())) {
                *raw = RawJson::parse(&scrubbed).ok();
            }
        }
        for word in [
            &mut details.finish_reason,
            &mut details.native_finish_reason,
        ] {
            if let Some(scrubbed) = word.as_ref().and_then(|word| self.scrubbed(word.as_str())) {
                *word = Some(scrubbed.into());
            }
        }
        if let Some(id) = details
            .response_id
            .as_deref()
            .and_then(|id| self.scrubbed(id))
        {
            details.response_id = Some(id.into());
        }
        if let Some(body) = &details.body
            && let Some(scrubbed) = self.scrubbed(&String::from_utf8_lossy(body))
        {
            details.body = Some(scrubbed.into());
        }
        // A cause can't be changed, and one that quotes a key says nothing that is needed more than the key is to be kept.
        let source = details.source.as_ref();
        if source.is_some_and(|source| self.are_in(&**source)) {
            details.source = None;
        }
    }

    /// A text without them, if it holds one, or the beginning of one where it was cut.
    pub(crate) fn scrubbed(&self, text: &str) -> Option<String> {
        let mut scrubbed = None;
        for secret in &self.0 {
            let known = scrubbed.as_deref().unwrap_or(text);
            if known.contains(secret) {
                scrubbed = Some(known.replace(secret, REDACTED));
            }
        }
        for secret in &self.0 {
            while let Some(cut) = cut_secret(scrubbed.as_deref().unwrap_or(text), secret) {
                let mut known = scrubbed.unwrap_or_else(|| text.to_owned());
                known.replace_range(cut, REDACTED);
                scrubbed = Some(known);
            }
        }
        scrubbed
    }

    /// Whether a server quotes one of them here.
    pub(crate) fn are_quoted_in(&self, bytes: &[u8]) -> bool {
        !self.0.is_empty() && self.scrubbed(&String::from_utf8_lossy(bytes)).is_some()
    }

    /// A text as it may be shown.
    pub(crate) fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.scrubbed(text).map_or(Cow::Borrowed(text), Cow::Owned)
    }

    fn are_in(&self, error: &(dyn Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let printed = format!("{error} {error:?}");
            if self.0.iter().any(|secret| printed.contains(secret)) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// A secret as it is written in JSON, with its slashes escaped and not, and in a URL, where that is another text.
fn escaped(secret: &str) -> Vec<String> {
    let json = Value::from(secret).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let slashes = json.replace('/', "\\/");
    let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut forms = vec![json, slashes, form];
    forms.retain(|form| form != secret);
    forms
}

/// What stands where a secret was.
const REDACTED: &str = "[redacted]";

/// Where a text holds the beginning of a secret that goes on behind where it was cut: at an ellipsis, or at its end.
fn cut_secret(text: &str, secret: &str) -> Option<Range<usize>> {
    let cuts = text.match_indices('…').map(|(at, _)| at);
    cuts.chain([text.len()]).find_map(|end| {
        let held = (SHORTEST_SECRET..secret.len()).rev().find(|length| {
            let beginning = &secret.as_bytes()[..*length];
            text.as_bytes()[..end].ends_with(beginning) && text.is_char_boundary(end - length)
        })?;
        Some(end - held..end)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::protocol::{Text, error::ErrorKind};

    #[test]
    fn the_beginning_of_a_key_is_taken_out_where_its_text_was_cut() {
        let secrets = Secrets(["sk-0123456789-é".to_owned()].into());
        for (text, expected) in [
            ("no key: sk-0123456789…", Some("no key: [redacted]…")),
            (
                "sk-0123456789-é, sk-01234… and sk-0123",
                Some("[redacted], [redacted]… and [redacted]"),
            ),
            ("a key begins with sk-01…", None),
            ("sk-0123 is the beginning", None),
            ("", None),
        ] {
            assert_eq!(secrets.scrubbed(text).as_deref(), expected, "{text}");
        }
        // However it is cut.
        let text = "the key sk-0123456789-é is wrong";
        for length in 0..text.chars().count() {
            let cut = crate::json::excerpt::cut(text, length);
            let shown = secrets.scrubbed(&cut).unwrap_or(cut);
            assert!(!shown.contains("sk-0123"), "{shown}");
        }
    }

    #[test]
    fn a_key_is_taken_out_however_it_is_escaped() {
        let mut headers = HeaderMap::new();
        let mut key = HeaderValue::from_static("Bearer a/b+c\"0123456789");
        key.set_sensitive(true);
        headers.insert("authorization", key);
        let url = Url::parse("https://host/v1/0123456789abcdef%2F0/responses").unwrap();
        let secrets = Secrets::of(&headers, &url);
        for quoted in [
            r#"a/b+c"0123456789"#,
            r#"a/b+c\"0123456789"#,
            r#"a\/b+c\"0123456789"#,
            "a%2Fb%2Bc%220123456789",
            "0123456789abcdef%2F0",
            "0123456789abcdef/0",
            r"0123456789abcdef\/0",
        ] {
            assert_eq!(secrets.hide(&format!("no {quoted}!")), "no [redacted]!");
        }
        assert_eq!(secrets.hide("no responses"), "no responses");
    }

    #[test]
    fn a_quoted_key_is_taken_out() {
        let mut headers = HeaderMap::new();
        let mut key = HeaderValue::from_static("Bearer sk-0123456789");
        key.set_sensitive(true);
        headers.insert("authorization", key);
        headers.insert("x-plain", HeaderValue::from_static("plain-value"));
        let url = Url::parse("https://host/?api-key=sk-9876543210&x=plain-value").unwrap();
        let mut error = ApiError::new(
            ErrorKind::Authentication,
            "bad keys sk-0123456789 and sk-9876543210 in plain-value",
        )
        .with_source(std::io::Error::other("sk-0123456789"));
        let details = error.details_mut();
        details.request_id = Some("req-sk-0123456789".to_owned());
        details.response = RawJson::parse(r#"{"error": {"code": "sk-9876543210"}}"#).ok();
        details.finish_reason = Some("sk-0123456789".into());
        Secrets::of(&headers, &url).scrub(&mut error);
        let expected = "bad keys [redacted] and [redacted] in plain-value";
        assert_eq!(error.message(), expected);
        let request_id = error.details().request_id.as_deref();
        assert_eq!(request_id, Some("req-[redacted]"));
        let response = error.details().response.as_ref().map(RawJson::get);
        assert_eq!(response, Some(r#"{"error": {"code": "[redacted]"}}"#));
        let reason = error.details().finish_reason.as_ref();
        assert_eq!(reason.map(Text::as_str), Some("[redacted]"));
        assert!(error.details().source.is_none());
    }
}
