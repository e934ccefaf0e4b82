//! Reading requests: head and body, by length or in chunks, out of whatever has arrived.
//!
//! Synchronous: the connection feeds bytes into a buffer, and asks whether a request is whole.

use std::{borrow::Cow, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use crate::duration::format_duration;

/// The most bytes of a request line and its headers; more is answered with 431.
pub(super) const MAX_REQUEST_HEAD_BYTES: usize = 64 << 10;
/// The most headers of a request; more are answered with 431.
const MAX_REQUEST_HEADERS: usize = 128;
/// The most bytes of a request's body, without its framing; more is answered with 413.
pub(super) const MAX_REQUEST_BODY_BYTES: usize = 32 << 20;
/// The most bytes of the line before a chunk.
const MAX_CHUNK_LINE_BYTES: usize = 1 << 10;
/// The most bytes of trailers, which are looked at anew with each piece.
const MAX_TRAILER_BYTES: usize = 4 << 10;

/// Headers that `Debug` must not show.
const SECRET_HEADERS: [&str; 5] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "api-key",
    "x-api-key",
];

/// The head of a request.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) client: Client,
    /// Whether the client waits for leave to send the body.
    pub(super) expects_continue: bool,
}

/// What its client can do with an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// Whether it speaks HTTP/1.1, and so knows chunks.
    pub(super) knows_chunks: bool,
    /// Whether it wants to use the connection again.
    pub(super) keep_alive: bool,
}

/// Why a request is not answered as it wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: Cow<'static, str>,
}

impl Refusal {
    /// The server can't serve, for now.
    pub(super) fn unavailable(message: String) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: message.into(),
        }
    }

    /// The client took too long.
    pub(super) fn late(what: &str, limit: Duration) -> Self {
        let limit = format_duration(limit);
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            message: format!("{what} within {limit} (`request_timeout` of the loopback provider).")
                .into(),
        }
    }
}

fn refused<T>(status: StatusCode, message: &'static str) -> Result<T, Refusal> {
    Err(Refusal {
        status,
        message: message.into(),
    })
}

fn malformed<T>(message: &'static str) -> Result<T, Refusal> {
    refused(StatusCode::BAD_REQUEST, message)
}

fn too_large<T>(message: &'static str) -> Result<T, Refusal> {
    refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message)
}

/// Takes the head of a request out of the buffer, if it is there as a whole.
pub(super) fn take_head(
    buffer: &mut BytesMut,
) -> Result<Option<(RequestHead, BodyReader)>, Refusal> {
    let mut parsed = [httparse::EMPTY_HEADER; MAX_REQUEST_HEADERS];
    let mut request = httparse::Request::new(&mut parsed);
    let length = match request.parse(buffer) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_REQUEST_HEAD_BYTES => length,
        Ok(httparse::Status::Partial) if buffer.len() <= MAX_REQUEST_HEAD_BYTES => return Ok(None),
        Ok(_) => {
            return too_large("The head of the request is too large.");
        }
        Err(httparse::Error::TooManyHeaders) => {
            return too_large("The request has too many headers.");
        }
        Err(_) => return malformed("This is no HTTP/1.1 request."),
    };

    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for field in request.headers.iter() {
        let (Ok(name), Ok(mut value)) = (
            HeaderName::from_bytes(field.name.as_bytes()),
            HeaderValue::from_bytes(field.value),
        ) else {
            return malformed("The request has a malformed header.");
        };
        value.set_sensitive(SECRET_HEADERS.contains(&name.as_str()));
        headers.append(name, value);
    }
    let method = request.method.unwrap_or_default().parse::<Method>();
    let target = request.path.unwrap_or_default().parse::<Uri>();
    let (Ok(method), Ok(target)) = (method, target) else {
        return malformed("The request line is malformed.");
    };
    let knows_chunks = request.version == Some(1);
    let body = BodyReader::new(&headers)?;
    let head = RequestHead {
        method,
        path: target.path().to_owned(),
        query: target.query().map(str::to_owned),
        client: Client {
            knows_chunks,
            keep_alive: match knows_chunks {
                true => !lists(&headers, header::CONNECTION, "close"),
                false => lists(&headers, header::CONNECTION, "keep-alive"),
            },
        },
        expects_continue: lists(&headers, header::EXPECT, "100-continue"),
        headers,
    };
    buffer.advance(length);
    Ok(Some((head, body)))
}

/// Whether a header that is a list has this token in it.
fn lists(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let mut tokens = values.flat_map(|value| value.split(','));
    tokens.any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

/// Takes the body of one request out of the buffer, as it comes.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct BodyReader {
    state: BodyState,
    body: BytesMut,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum BodyState {
    /// So many bytes of the body are to come.
    Length(usize),
    ChunkSize,
    /// So many bytes of the chunk are to come.
    ChunkData(usize),
    /// The line end behind a chunk.
    ChunkEnd,
    Trailers,
    Done,
}

impl BodyReader {
    fn new(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        let length = lengths.next();
        if lengths.any(|other| Some(other) != length) {
            return malformed("There are two different content-lengths.");
        }
        let state = match (headers.get(header::TRANSFER_ENCODING), length) {
            (None, None) => BodyState::Done,
            // Two servers could see two different requests here.
            (Some(_), Some(_)) => {
                return malformed("There are both a content-length and a transfer-encoding.");
            }
            (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                BodyState::ChunkSize
            }
            (Some(_), None) => {
                let message = "The only transfer-encoding known is chunked.";
                return refused(StatusCode::NOT_IMPLEMENTED, message);
            }
            (None, Some(length)) => {
                let digits = length.to_str().unwrap_or_default();
                // `parse` would take a leading plus sign.
                if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
                    return malformed("The content-length is no number.");
                }
                match digits.parse() {
                    Ok(length) if length <= MAX_REQUEST_BODY_BYTES => BodyState::Length(length),
                    _ => return body_too_large(),
                }
            }
        };
        Ok(Self {
            state,
            body: BytesMut::new(),
        })
    }

    /// Takes what there is; gives the body when it is whole.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Refusal> {
        loop {
            self.state = match self.state {
                BodyState::Done | BodyState::Length(0) => {
                    self.state = BodyState::Done;
                    return Ok(Some(std::mem::take(&mut self.body).freeze()));
                }
                BodyState::Length(_) | BodyState::ChunkData(1..) if buffer.is_empty() => {
                    return Ok(None);
                }
                BodyState::Length(left) => BodyState::Length(left - self.take_data(buffer, left)),
                BodyState::ChunkSize => match httparse::parse_chunk_size(buffer) {
                    Ok(httparse::Status::Complete((line, size))) => {
                        buffer.advance(line);
                        match usize::try_from(size) {
                            Ok(0) => BodyState::Trailers,
                            Ok(size) if size <= MAX_REQUEST_BODY_BYTES - self.body.len() => {
                                BodyState::ChunkData(size)
                            }
                            _ => return body_too_large(),
                        }
                    }
                    Ok(httparse::Status::Partial) if buffer.len() <= MAX_CHUNK_LINE_BYTES => {
                        return Ok(None);
                    }
                    _ => {
                        return malformed("The size of a chunk is malformed.");
                    }
                },
                BodyState::ChunkData(0) => BodyState::ChunkEnd,
                BodyState::ChunkData(left) => {
                    BodyState::ChunkData(left - self.take_data(buffer, left))
                }
                BodyState::ChunkEnd if buffer.len() < 2 => return Ok(None),
                BodyState::ChunkEnd if buffer.starts_with(b"\r\n") => {
                    buffer.advance(2);
                    BodyState::ChunkSize
                }
                BodyState::ChunkEnd => {
                    return malformed("A chunk does not end where its size says.");
                }
                BodyState::Trailers => {
                    let mut trailers = [httparse::EMPTY_HEADER; MAX_REQUEST_HEADERS];
                    match httparse::parse_headers(buffer, &mut trailers) {
                        Ok(httparse::Status::Complete((length, _)))
                            if length <= MAX_TRAILER_BYTES =>
                        {
                            buffer.advance(length);
                        }
                        Ok(httparse::Status::Partial) if buffer.len() <= MAX_TRAILER_BYTES => {
                            return Ok(None);
                        }
                        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
                            return too_large("The trailers of the request are too large.");
                        }
                        Err(_) => return malformed("The trailers of the request are malformed."),
                    }
                    BodyState::Done
                }
            };
        }
    }

    fn take_data(&mut self, buffer: &mut BytesMut, most: usize) -> usize {
        let length = most.min(buffer.len());
        self.body.extend_from_slice(&buffer[..length]);
        buffer.advance(length);
        length
    }
}

fn body_too_large<T>() -> Result<T, Refusal> {
    refused(
        StatusCode::PAYLOAD_TOO_LARGE,
        "The body of the request is too large.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in pieces; gives the requests found, as path and body, and why it ended if it did.
    fn read(bytes: &[u8], piece: usize) -> (Vec<(String, Bytes)>, Option<u16>) {
        let mut buffer = BytesMut::new();
        let mut requests = Vec::new();
        let mut current: Option<(RequestHead, BodyReader)> = None;
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            loop {
                let step = match &mut current {
                    None => take_head(&mut buffer).map(|head| {
                        current = head;
                        current.is_some()
                    }),
                    Some((head, body)) => match body.take(&mut buffer) {
                        Ok(Some(body)) => {
                            requests.push((head.path.clone(), body));
                            current = None;
                            Ok(true)
                        }
                        Ok(None) => Ok(false),
                        Err(refusal) => Err(refusal),
                    },
                };
                match step {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(refusal) => return (requests, Some(refusal.status.as_u16())),
                }
            }
        }
        (requests, None)
    }

    #[test]
    fn requests_are_told_apart_wherever_they_are_cut() {
        let bytes = b"POST /a HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc\
            GET /b HTTP/1.1\r\n\r\n\
            POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\n\
            POST /d HTTP/1.1\r\ncontent-length: 0\r\n\r\n";
        let expected = [
            ("/a", "abc"),
            ("/b", ""),
            ("/c", "abc0123456789"),
            ("/d", ""),
        ]
        .map(|(path, body)| (path.to_owned(), Bytes::from(body)));
        for piece in 1..=bytes.len() {
            assert_eq!(
                read(bytes, piece),
                (expected.to_vec(), None),
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_status() {
        let head = |fields: &str| format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n");
        for (bytes, status) in [
            ("\u{1}\u{2}\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/9\r\n\r\n".to_owned(), 400),
            (head("content-length: x"), 400),
            (head("content-length: +1"), 400),
            (head("content-length: 1\r\ncontent-length: 2"), 400),
            (head("content-length: 1\r\ntransfer-encoding: chunked"), 400),
            (head("transfer-encoding: gzip"), 501),
            (head("content-length: 99999999999"), 413),
            (
                head("transfer-encoding: chunked") + "fffffffffffff\r\n",
                413,
            ),
            (head("transfer-encoding: chunked") + "x\r\n", 400),
            (head("transfer-encoding: chunked") + "1\r\nabc", 400),
            (
                head(&format!("a: {}", "b".repeat(MAX_REQUEST_HEAD_BYTES))),
                431,
            ),
            (head(&"a: b\r\n".repeat(MAX_REQUEST_HEADERS + 1)), 431),
            (
                head("transfer-encoding: chunked")
                    + "0\r\n"
                    + &"a: b\r\n".repeat(MAX_REQUEST_HEAD_BYTES / 5),
                431,
            ),
            (
                head("transfer-encoding: chunked")
                    + &format!("0\r\na: {}\r\n\r\n", "b".repeat(MAX_TRAILER_BYTES)),
                431,
            ),
            (
                head("transfer-encoding: chunked") + "0\r\n\u{1}: a\r\n\r\n",
                400,
            ),
        ] {
            let shown = &bytes[..bytes.len().min(60)];
            for piece in [1000, bytes.len()] {
                let read = read(bytes.as_bytes(), piece);
                assert_eq!(read, (vec![], Some(status)), "{piece} of {shown:?}");
            }
        }
    }

    #[test]
    fn the_head_says_whether_the_connection_is_used_again() {
        for (text, keep_alive, knows_chunks) in [
            ("GET / HTTP/1.1\r\n\r\n", true, true),
            (
                "GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n",
                false,
                true,
            ),
            ("GET / HTTP/1.0\r\n\r\n", false, false),
            (
                "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                true,
                false,
            ),
        ] {
            let (head, _) = take_head(&mut BytesMut::from(text)).unwrap().unwrap();
            assert_eq!(
                (head.client.keep_alive, head.client.knows_chunks),
                (keep_alive, knows_chunks),
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_target_is_split_into_path_and_query() {
        for target in ["/v1/models?limit=1", "http://localhost/v1/models?limit=1"] {
            let text = format!("GET {target} HTTP/1.1\r\nExpect: 100-Continue\r\n\r\n");
            let (head, _) = take_head(&mut BytesMut::from(text.as_str()))
                .unwrap()
                .unwrap();
            assert_eq!(
                (head.path.as_str(), head.query.as_deref()),
                ("/v1/models", Some("limit=1"))
            );
            assert!(head.expects_continue);
        }
    }

    #[test]
    fn keys_are_not_shown_for_debugging() {
        let text = "GET / HTTP/1.1\r\nAuthorization: Bearer hush\r\napi-key: hush\r\n\r\n";
        let (head, _) = take_head(&mut BytesMut::from(text)).unwrap().unwrap();
        assert!(!format!("{head:?}").contains("hush"));
    }
}
