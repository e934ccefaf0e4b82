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
        for part in without_scheme.split([' ', ';', ',']) {
            let value = part.split_once('=').map_or("", |(_, value)| value);
            // The padding of Base64 is no value.
            let is_named = !value.trim_matches('=').is_empty();
            secrets.push(if is_named { value } else { part }.to_owned());
        }
    }
    secrets
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

/// Prints a URL without its userinfo, its fragment, and the values of query parameters with a secret's name.
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
        f.write_str(url.path())?;
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
            ("Basic c2stMQ==", &["c2stMQ=="]),
            ("session=sk-1;theme=dark", &["sk-1", "dark"]),
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
        ] {
            assert_eq!(
                format!("{:?}", RedactedUrl(&Url::parse(url).unwrap())),
                printed
            );
        }
    }
}
