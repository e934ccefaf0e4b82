//! Printing headers and URLs without the secrets in them.

use std::{borrow::Cow, fmt};

use http::HeaderMap;
use url::{Url, form_urlencoded};

const REDACTED: &str = "[redacted]";

/// Whether a header or query parameter of this name holds a secret. It errs on the safe side: `max-tokens` is one.
pub(crate) fn is_secret_name(name: &str) -> bool {
    const PARTS: [&str; 8] = [
        "auth",
        "key",
        "token",
        "secret",
        "cookie",
        "passw",
        "credential",
        "signature",
    ];
    // Whole names of query parameters: a function key and a signature, as Azure names them.
    const NAMES: [&str; 2] = ["code", "sig"];
    let name = name.to_ascii_lowercase();
    NAMES.contains(&name.as_str()) || PARTS.iter().any(|part| name.contains(part))
}

/// The secrets among headers: the values that are marked sensitive, in the parts in which a server may quote them. Of
/// `Bearer KEY` that is the key; of a cookie, each of its values.
pub(crate) fn secrets_in_headers(headers: &HeaderMap) -> Vec<String> {
    let values = headers.values().filter(|value| value.is_sensitive());
    let mut secrets = Vec::new();
    for text in values.filter_map(|value| value.to_str().ok()) {
        // A word without a value before others is the scheme.
        let without_scheme = match text.split_once(' ') {
            Some((scheme, rest)) if !scheme.contains(['=', ';', ',']) => rest,
            _ => text,
        };
        if text
            .get(..6)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic "))
        {
            secrets.extend(passwords_in(without_scheme));
        }
        for part in without_scheme.split([' ', ';', ',']) {
            let value = part.split_once('=').map_or("", |(_, value)| value);
            // The padding of Base64 is no value.
            let is_named = !value.trim_matches('=').is_empty();
            secrets.push(if is_named { value } else { part }.to_owned());
        }
    }
    // A signature says which headers it covers.
    secrets.retain(|secret| !headers.contains_key(secret));
    secrets
}

/// What `Basic` credentials say: both parts, and the password alone.
fn passwords_in(credentials: &str) -> Vec<String> {
    let Some(both) = base64_decoded(credentials.trim()) else {
        return Vec::new();
    };
    let password = both
        .split_once(':')
        .map(|(_, password)| password.to_owned());
    password.into_iter().chain([both]).collect()
}

fn base64_decoded(text: &str) -> Option<String> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The secrets among the parameters of a URL, as they are and as they are written there.
pub(crate) fn secrets_in_query(url: &Url) -> Vec<String> {
    let mut secrets = Vec::new();
    for parameter in url.query().into_iter().flat_map(|query| query.split('&')) {
        let parsed = form_urlencoded::parse(parameter.as_bytes()).next();
        if let Some((_, value)) = parsed.filter(|(name, _)| is_secret_name(name)) {
            secrets.push(value.into_owned());
            secrets.extend(parameter.split_once('=').map(|(_, raw)| raw.to_owned()));
        }
    }
    secrets
}

/// Whether a segment of a path is more likely a key than a name: long, with a long run of letters and digits in it, or
/// with the beginning of a key. Names of models, with dates in them, are none.
fn is_opaque(segment: &str) -> bool {
    const SHORTEST: usize = 16;
    let is_run = |run: &str| {
        run.len() >= 20 || (run.len() >= 10 && run.bytes().any(|byte| byte.is_ascii_digit()))
    };
    let begins_as_key = ["sk-", "sk_"]
        .iter()
        .any(|start| segment.starts_with(start));
    let mut runs = segment.split(['-', '_', '.', '~', ':']);
    segment.len() >= SHORTEST && (begins_as_key || runs.any(is_run))
}

/// The segments of a URL's path that are most likely keys, as they are and as they are written there.
pub(crate) fn secrets_in_path(url: &Url) -> Vec<String> {
    let segments = url.path().split('/').filter(|segment| is_opaque(segment));
    let both = |segment: &str| {
        let decoded = percent_decoded(segment);
        [segment.to_owned(), decoded]
    };
    segments.flat_map(both).collect()
}

fn percent_decoded(text: &str) -> String {
    // The parser of forms decodes the same, and reads a plus as a space, which in a path it is not.
    let text = text
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    let mut parsed = form_urlencoded::parse(text.as_bytes());
    parsed
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}

/// Prints headers as a map; values that are secret by mark or by name are left out.
pub(crate) struct RedactedHeaders<'a>(pub(crate) &'a HeaderMap);

impl fmt::Debug for RedactedHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = self.0.iter().map(|(name, value)| {
            let secret = value.is_sensitive() || is_secret_name(name.as_str());
            let value: Cow<'_, str> = if secret {
                REDACTED.into()
            } else {
                String::from_utf8_lossy(value.as_bytes())
            };
            (name.as_str(), value)
        });
        f.debug_map().entries(headers).finish()
    }
}

/// Prints a URL without its userinfo, its fragment, segments of its path that look like keys, and the values of query parameters with
/// a secret's name.
pub(crate) struct RedactedUrl<'a>(pub(crate) &'a Url);

impl fmt::Debug for RedactedUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0;
        write!(f, "{}://", url.scheme())?;
        if !url.username().is_empty() || url.password().is_some() {
            write!(f, "{REDACTED}@")?;
        }
        f.write_str(url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        for (number, segment) in url.path().split('/').enumerate() {
            let slash = if number > 0 { "/" } else { "" };
            let shown = if is_opaque(segment) {
                REDACTED
            } else {
                segment
            };
            write!(f, "{slash}{shown}")?;
        }
        let mut separator = '?';
        for parameter in url.query().into_iter().flat_map(|query| query.split('&')) {
            match form_urlencoded::parse(parameter.as_bytes()).next() {
                Some((name, _)) if is_secret_name(&name) => {
                    write!(f, "{separator}{name}={REDACTED}")?;
                }
                _ => write!(f, "{separator}{parameter}")?,
            }
            separator = '&';
        }
        Ok(())
    }
}

/// Prints query parameters as a map, without the values of those with a secret's name.
pub(crate) struct RedactedQuery<'a>(pub(crate) &'a [(String, String)]);

impl fmt::Debug for RedactedQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameters = self.0.iter().map(|(name, value)| {
            let secret = is_secret_name(name);
            (name, if secret { REDACTED } else { value })
        });
        f.debug_map().entries(parameters).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn secrets_are_known_by_name() {
        for name in [
            "authorization",
            "Proxy-Authorization",
            "api-key",
            "x-api-key",
            "api_key",
            "cookie",
            "set-cookie",
            "access_token",
            "client-secret",
            "code",
            "sig",
            "X-Goog-Api-Key",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "accept",
            "api-version",
            "user-agent",
            "openai-organization",
            "encoding",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_found_in_the_parts_that_a_server_may_quote() {
        for (value, secrets) in [
            ("sk-1", &["sk-1"][..]),
            ("Bearer sk-1", &["sk-1"]),
            ("Basic c2stMQ==", &["sk-1", "c2stMQ=="]),
            (
                "basic bWU6c2stMTIz",
                &["sk-123", "me:sk-123", "bWU6c2stMTIz"],
            ),
            ("session=sk-1;theme=dark", &["sk-1", "dark"]),
            // What is signed is named, and is no secret.
            (
                "AWS4-HMAC-SHA256 SignedHeaders=authorization;x-key, Signature=5f2a",
                &["x-key", "", "5f2a"],
            ),
        ] {
            let mut value = HeaderValue::from_static(value);
            value.set_sensitive(true);
            let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
            assert_eq!(secrets_in_headers(&headers), secrets);
        }
        let url = Url::parse("https://host/?api-version=2&api%2Dkey=a%2Fb").unwrap();
        assert_eq!(secrets_in_query(&url), ["a/b", "a%2Fb"]);
    }

    #[test]
    fn keys_in_a_path_are_found_as_they_are_and_as_they_are_written() {
        let url = Url::parse("https://host/v1/0123456789abcdef%2F+/x?a=0123456789abcdef").unwrap();
        let found = secrets_in_path(&url);
        assert_eq!(found, ["0123456789abcdef%2F+", "0123456789abcdef/+"]);
    }

    #[test]
    fn headers_are_secret_by_name_or_mark() {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_static("hunter2"));
        headers.insert("accept", HeaderValue::from_static("text/event-stream"));
        let mut marked = HeaderValue::from_static("hunter2");
        marked.set_sensitive(true);
        headers.insert("x-own", marked);
        assert_eq!(
            format!("{:?}", RedactedHeaders(&headers)),
            r#"{"x-api-key": "[redacted]", "accept": "text/event-stream", "x-own": "[redacted]"}"#
        );
    }

    #[test]
    fn urls_keep_what_is_not_secret() {
        for (url, printed) in [
            ("https://host/v1/responses", "https://host/v1/responses"),
            ("http://[::1]:8080/", "http://[::1]:8080/"),
            ("https://user:hunter2@host/", "https://[redacted]@host/"),
            (
                "https://host/?api-version=2&api%2Dkey=hunter2&x",
                "https://host/?api-version=2&api-key=[redacted]&x",
            ),
            ("https://host/#hunter2", "https://host/"),
            (
                "https://host/v1/sk-hunter2hunter2hunter2/responses",
                "https://host/v1/[redacted]/responses",
            ),
            (
                "https://host/0f8fad5b-d9cb-469f-a165-70867728950e/",
                "https://host/[redacted]/",
            ),
            (
                "https://host/openai/deployments/gpt-4o-mini-2024-07-18/text-embedding-3-large/chat/completions",
                "https://host/openai/deployments/gpt-4o-mini-2024-07-18/text-embedding-3-large/chat/completions",
            ),
        ] {
            assert_eq!(
                format!("{:?}", RedactedUrl(&Url::parse(url).unwrap())),
                printed
            );
        }
    }
}
