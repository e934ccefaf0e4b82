//! Base URLs that lack what people forget: the scheme, and the path.

use actix_responses::{ApiError, ErrorKind, provider::Provider};

use super::usage_error::UsageError;

/// The path of most servers' base URLs.
const USUAL_PATH: &str = "/v1";

/// Refuses what is no base URL. `place` is what gave it.
pub(super) fn check(place: &str, base_url: &str) -> Result<(), UsageError> {
    let Err(error) = Provider::new(place, base_url) else {
        return Ok(());
    };
    Err(match with_scheme(base_url) {
        Some(url) => UsageError::new(format!("{place}: the URL has no scheme: write {url}")),
        None => UsageError::at(place, &error),
    })
}

/// How it would look with a scheme; nothing if that is not what it lacks. What may hold a key is not repeated.
fn with_scheme(text: &str) -> Option<String> {
    let text = text.trim();
    let (host, path) = text.find('/').map_or((text, ""), |at| text.split_at(at));
    let is_host_letter = |letter: char| letter.is_ascii_alphanumeric() || ".-:[]".contains(letter);
    if host.is_empty() || path.starts_with("//") || !host.chars().all(is_host_letter) {
        return None;
    }
    let scheme = match host.contains(':') || host == "localhost" {
        true => "http",
        false => "https",
    };
    let path = match path {
        "" | "/" | USUAL_PATH => USUAL_PATH,
        _ => "/...",
    };
    Some(format!("{scheme}://{host}{path}"))
}

/// What to say of an error that the missing path may have caused; nothing if there is a path.
pub(super) fn hint(provider: &Provider, path: &str) -> Option<String> {
    let base = provider.base_url();
    if base.path() != "/" {
        return None;
    }
    let mut asked = provider.url_for(path, &[]);
    asked.set_query(None);
    let usual = format!("{}{USUAL_PATH}", base.origin().ascii_serialization());
    Some(format!(
        " What was asked is {asked}: the base URL has no path, and that of most servers is like {usual}."
    ))
}

/// An error's report, with the hint where it may help.
pub(super) fn report(error: &ApiError, hint: Option<&str>) -> String {
    let may_be_the_path =
        matches!(error.details().status, Some(404 | 405)) || error.kind() == ErrorKind::Protocol;
    let hint = hint.filter(|_| may_be_the_path).unwrap_or_default();
    error.report() + hint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_scheme_is_shown_and_no_key_is() {
        for (text, shown) in [
            ("localhost", Some("http://localhost/v1")),
            ("localhost:8000/v1", Some("http://localhost:8000/v1")),
            ("[::1]:8000/", Some("http://[::1]:8000/v1")),
            (
                "api.example.com/sk-x/v1",
                Some("https://api.example.com/..."),
            ),
            ("https://", None),
            ("https:///v1", None),
            ("", None),
            ("me:sk-x@host", None),
            ("host?key=x", None),
        ] {
            assert_eq!(with_scheme(text).as_deref(), shown, "{text}");
        }
    }
}
