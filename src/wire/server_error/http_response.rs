//! A refused HTTP request: its status, headers and body as one error.

use super::{ServerError, envelope::error_in_text, page::excerpt};
use crate::protocol::error::{ApiError, Phase};
use http::{HeaderMap, HeaderName, StatusCode, header::AsHeaderName};

/// The headers that name a request, the API's own before those of proxies.
static REQUEST_ID_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-oai-request-id"),
    HeaderName::from_static("apim-request-id"),
    HeaderName::from_static("cf-ray"),
];

/// Headers that name what is wrong with the key (OpenAI's identity proxies), the one that says most first.
static AUTH_ERROR_HEADERS: [HeaderName; 2] = [
    HeaderName::from_static("x-openai-ide-error-code"),
    HeaderName::from_static("x-openai-authorization-error"),
];

/// Makes the error of a request that was answered with an error status.
///
/// The body's JSON is read in every shape that [`ServerError`] knows, also inside the SSE frame that some proxies put around
/// it. Where it leaves gaps, the headers fill them. Of a page or a text, the title or the beginning is shown. The waiting
/// time that the headers may ask for is not read here.
pub(crate) fn api_error_from_http(status: u16, headers: &HeaderMap, body: &[u8]) -> ApiError {
    let body = String::from_utf8_lossy(body);
    let said = error_in(&body);
    let is_page = said.is_none();
    let mut server_error = said.unwrap_or_default().or(error_in_headers(headers));
    let page = || excerpt(&body).filter(|_| is_page);
    server_error.message = server_error
        .message
        .take()
        .or_else(page)
        .or_else(|| nothing_said(status, &server_error));
    let mut error = server_error
        .into_api_error(Some(status))
        .with_phase(Phase::ResponseHead);
    let details = error.details_mut();
    // The server's words come first, and ours do not count against their limit.
    if is_page && is_cloudflare_block(status, &body) {
        details.message.push_str(
            " (Cloudflare blocked the request before it reached the API: \
             the network or the country it comes from may not be allowed)",
        );
    }
    if let (429, Some(limit)) = (status, used_up(headers))
        && !details.message.to_ascii_lowercase().contains(limit)
    {
        let note = format!(" (the limit on {limit} is used up)");
        details.message.push_str(&note);
    }
    details.request_id = request_id(headers);
    details.should_retry = match header(headers, "x-should-retry") {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    error
}

/// What headers say of the error: `x-error-json`, the JSON of an error in base64 or as it is, and the names in
/// [`AUTH_ERROR_HEADERS`]. A status in their place is no name.
fn error_in_headers(headers: &HeaderMap) -> ServerError {
    let json = header(headers, "x-error-json").and_then(|value| match value.starts_with('{') {
        true => ServerError::from_text(value),
        false => ServerError::from_text(&String::from_utf8(base64(value)?).ok()?),
    });
    let mut names = AUTH_ERROR_HEADERS
        .iter()
        .filter_map(|name| header(headers, name));
    let code = names.find(|name| name.parse::<u32>().is_err());
    json.unwrap_or_default().or(ServerError {
        code: code.map(str::to_owned),
        ..ServerError::default()
    })
}

/// Decodes base64 of either alphabet, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// The id that the server, or a proxy before it, gave the request.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<String> {
    let mut ids = REQUEST_ID_HEADERS
        .iter()
        .filter_map(|name| header(headers, name));
    ids.next().map(str::to_owned)
}

fn header(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then_some(value)
}

/// The error that a JSON body reports, if it does.
pub(crate) fn error_in(body: &str) -> Option<ServerError> {
    error_in_text(body, 0).filter(|error| *error != ServerError::default())
}

fn nothing_said(status: u16, server_error: &ServerError) -> Option<String> {
    if server_error.code.is_some() || server_error.error_type.is_some() {
        return None;
    }
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    Some(match reason {
        Some(reason) => format!("the server answers \"{reason}\" and says no more"),
        None => "the server refuses the request and says no more".to_owned(),
    })
}

/// Which of the `x-ratelimit-*` limits is at zero.
fn used_up(headers: &HeaderMap) -> Option<&'static str> {
    ["requests", "tokens"].into_iter().find(|limit| {
        let name = format!("x-ratelimit-remaining-{limit}");
        header(headers, &name).is_some_and(|left| left == "0")
    })
}

fn is_cloudflare_block(status: u16, body: &str) -> bool {
    status == 403 && body.contains("Cloudflare") && body.contains("blocked")
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::protocol::error::ErrorKind;

    fn error(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> ApiError {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        api_error_from_http(status, &headers, body.as_bytes())
    }

    #[test]
    fn a_json_body_gives_its_code_type_param_and_words() {
        let error = error(
            404,
            &[("x-request-id", "req_1"), ("cf-ray", "ray")],
            r#"{"error":{"message":"no model x","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#,
        );
        let details = error.details();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.message(), "no model x");
        assert_eq!(details.code.as_deref(), Some("model_not_found"));
        assert_eq!(details.error_type.as_deref(), Some("invalid_request_error"));
        assert_eq!(details.param.as_deref(), Some("model"));
        assert_eq!(details.status, Some(404));
        assert_eq!(details.request_id.as_deref(), Some("req_1"));
        assert_eq!(details.phase, Some(Phase::ResponseHead));
    }

    #[test]
    fn a_page_is_shown_by_its_title_and_a_text_by_its_beginning() {
        let cases = [
            (
                "<html><head><TITLE>502 Bad\n Gateway</TITLE></head><body>x</body></html>",
                "502 Bad Gateway".to_owned(),
            ),
            (
                "<html><style>a{b}</style><h1>Bad</h1><p>gateway &gt;",
                "Bad gateway &gt;".to_owned(),
            ),
            (
                "upstream connect error",
                "upstream connect error".to_owned(),
            ),
            (
                "",
                "the server answers \"Bad Gateway\" and says no more".to_owned(),
            ),
            ("{}", "{}".to_owned()),
            (&"x".repeat(300), format!("{}…", "x".repeat(200))),
            (
                "<unclosed",
                "the server answers \"Bad Gateway\" and says no more".to_owned(),
            ),
        ];
        for (body, message) in cases {
            let error = error(502, &[], body);
            assert_eq!(error.message(), message, "{body}");
            assert_eq!(error.kind(), ErrorKind::ServerError);
        }
    }

    #[test]
    fn an_error_inside_an_sse_frame_is_read() {
        let error = error(
            500,
            &[],
            "event: error\ndata: {\"error\":{\"message\":\"m\",\"code\":\"429\"}}\n\n",
        );
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert_eq!(error.message(), "m");
    }

    #[test]
    fn a_429_says_which_limit() {
        let headers = &[
            ("x-ratelimit-remaining-requests", "12"),
            ("x-ratelimit-remaining-tokens", "0"),
        ];
        let said = error(
            429,
            headers,
            r#"{"error":{"message":"Rate limit reached for x on tokens per min"}}"#,
        );
        assert_eq!(said.message(), "Rate limit reached for x on tokens per min");
        let unsaid = error(429, headers, r#"{"error":{"message":"slow down"}}"#);
        assert_eq!(
            unsaid.message(),
            "slow down (the limit on tokens is used up)"
        );
        assert_eq!(unsaid.kind(), ErrorKind::RateLimited);
    }

    #[test]
    fn a_block_by_cloudflare_gets_a_sentence_beside_its_own() {
        let block = error(
            403,
            &[("cf-ray", "8f2")],
            "<html><title>Attention Required! | Cloudflare</title>Sorry, you have been blocked",
        );
        assert_eq!(block.kind(), ErrorKind::PermissionDenied);
        assert_eq!(
            block.message(),
            "Attention Required! | Cloudflare (Cloudflare blocked the request before it reached the API: \
             the network or the country it comes from may not be allowed)"
        );
        assert_eq!(block.details().request_id.as_deref(), Some("8f2"));
        let said = r#"{"error":{"message":"Cloudflare: this key is blocked"}}"#;
        assert_eq!(
            error(403, &[], said).message(),
            "Cloudflare: this key is blocked"
        );
    }

    #[test]
    fn our_words_are_not_cut_off_and_cut_nothing_off() {
        let words = "w".repeat(1000);
        let body = format!(r#"{{"error":{{"message":"{words}"}}}}"#);
        let headers = &[("x-ratelimit-remaining-tokens", "0")];
        assert_eq!(
            error(429, headers, &body).message(),
            format!("{words} (the limit on tokens is used up)")
        );
    }

    #[test]
    fn headers_complete_an_error_whose_body_says_less() {
        // {"error":{"message":"m","code":"token_invalidated"},"status":401}
        let json = "eyJlcnJvciI6eyJtZXNzYWdlIjoibSIsImNvZGUiOiJ0b2tlbl9pbnZhbGlkYXRlZCJ9LCJzdGF0dXMiOjQwMX0=";
        let invalidated = Some("token_invalidated");
        let cases = [
            (vec![("x-error-json", json)], "", "m", invalidated),
            (
                vec![("x-error-json", json)],
                "<title>Just a moment</title>",
                "m",
                invalidated,
            ),
            (
                vec![("x-error-json", json.trim_end_matches('='))],
                r#"{"detail":"Unauthorized"}"#,
                "Unauthorized",
                invalidated,
            ),
            (
                vec![("x-error-json", r#"{"error":{"code":"token_invalidated"}}"#)],
                "",
                "the server reports token_invalidated and says no more",
                invalidated,
            ),
            (
                vec![(
                    "x-openai-authorization-error",
                    "missing_authorization_header",
                )],
                "",
                "the server reports missing_authorization_header and says no more",
                Some("missing_authorization_header"),
            ),
            (
                vec![
                    ("x-openai-authorization-error", "401"),
                    ("x-openai-ide-error-code", "token_invalidated"),
                ],
                "no way in",
                "no way in",
                invalidated,
            ),
            (
                vec![
                    ("x-openai-authorization-error", "401"),
                    ("x-error-json", "!"),
                ],
                "",
                "the server answers \"Unauthorized\" and says no more",
                None,
            ),
            (
                vec![("x-error-json", json)],
                r#"{"error":{"message":"own","code":"x"}}"#,
                "own",
                Some("x"),
            ),
        ];
        for (headers, body, message, code) in cases {
            let error = error(401, &headers, body);
            assert_eq!(error.message(), message, "{headers:?} {body}");
            assert_eq!(error.details().code.as_deref(), code, "{headers:?} {body}");
            assert_eq!(error.kind(), ErrorKind::Authentication, "{headers:?}");
        }
    }

    #[test]
    fn base64_is_decoded_as_its_standard_says() {
        for (text, decoded) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8", Some("fo")),
            ("Zm9vYmFy", Some("foobar")),
            ("Zm9v YmFy", None),
        ] {
            let expected = decoded.map(|text| text.as_bytes().to_vec());
            assert_eq!(base64(text), expected, "{text}");
        }
        assert_eq!(base64("-_8"), base64("+/8="));
    }

    #[test]
    fn the_request_id_is_the_apis_own_before_a_proxys() {
        let id = |headers| error(500, headers, "").details().request_id.clone();
        assert_eq!(
            id(&[("cf-ray", "c"), ("apim-request-id", "a")]).as_deref(),
            Some("a")
        );
        assert_eq!(
            id(&[("apim-request-id", "a"), ("x-oai-request-id", "o")]).as_deref(),
            Some("o")
        );
        assert_eq!(
            id(&[("x-request-id", " "), ("cf-ray", "c")]).as_deref(),
            Some("c")
        );
        assert_eq!(id(&[]), None);
    }

    #[test]
    fn x_should_retry_is_kept() {
        for (value, expected) in [
            ("true", Some(true)),
            ("false", Some(false)),
            ("maybe", None),
        ] {
            let error = error(400, &[("x-should-retry", value)], "");
            assert_eq!(error.details().should_retry, expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_not_hide_the_status() {
        let error = api_error_from_http(503, &HeaderMap::new(), &[0xff, 0xfe, b'x']);
        assert_eq!(error.kind(), ErrorKind::Overloaded);
    }
}
