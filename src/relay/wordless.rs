//! What actix-http refuses by itself, before it is a request of ours: a status, and no word of the reason.

use actix_web::http::StatusCode;
use bytes::Bytes;

use super::access::Refusal;

/// The same answer with its reason, in the form of the API. Nothing where what is written is no such answer: one of a server's has more headers, and
/// ours have bodies.
pub(super) fn explained(written: &[u8]) -> Option<Bytes> {
    let (status, code, message) = match written.strip_prefix(b"HTTP/1.1 ")?.get(..3)? {
        b"400" => (
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "this is no HTTP request that can be read",
        ),
        b"408" => (
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "the head of the request took too long (`head_time`)",
        ),
        b"431" => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "request_too_large",
            "the head of the request has more than 128 KiB, or more than 96 fields",
        ),
        _ => return None,
    };
    let fields = written.strip_suffix(b"\r\n\r\n")?;
    let fields = std::str::from_utf8(fields).ok()?.split("\r\n").skip(1);
    let mut has_length = false;
    for field in fields {
        match field.split_once(": ")? {
            ("content-length", "0") => has_length = true,
            ("connection" | "date", _) => {}
            _ => return None,
        }
    }
    if !has_length {
        return None;
    }
    let body = Refusal::new(status, code, message).body().to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-should-retry: false\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    Some(answer.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_no_body_is_given_one() {
        for (written, is_explained) in [
            (
                "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                true,
            ),
            (
                "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n",
                true,
            ),
            (
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 10\r\n\r\n",
                false,
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false),
            // A server's own, and one that stands behind another.
            (
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nx-request-id: a\r\n\r\n",
                false,
            ),
            (
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
                false,
            ),
            (
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nHTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
                false,
            ),
            ("data: HTTP/1.1 431 ", false),
            ("", false),
        ] {
            let answer = explained(written.as_bytes());
            assert_eq!(answer.is_some(), is_explained, "{written}");
            let Some(answer) = answer else { continue };
            let answer = String::from_utf8(answer.to_vec()).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let length = format!("\r\ncontent-length: {}\r\n", body.len());
            assert!(head.contains(&length), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(body["error"]["message"].is_string(), "{body}");
        }
    }
}
