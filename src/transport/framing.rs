//! Where a response's body ends, as its head tells.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::head::Head;

/// The longest head that awc is given.
const FOR_CODEC_BYTES: usize = 80;

impl Head {
    fn has(&self, name: &HeaderName, expected: &str) -> bool {
        let mut values = self.headers.get_all(name).iter();
        values.any(|value| {
            let mut listed = value.to_str().unwrap_or_default().split(',');
            listed.any(|listed| listed.trim().eq_ignore_ascii_case(expected))
        })
    }

    /// How the end of the body of a response to `method` is known.
    pub(super) fn framing(&self, method: &Method) -> Framing {
        match self.status {
            // A 304 gives the length of a body that it does not send.
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Framing::Nothing,
            _ if method == Method::HEAD => Framing::Nothing,
            _ if self.has(&header::TRANSFER_ENCODING, "chunked") => Framing::Chunked,
            _ => match self.headers.get(header::CONTENT_LENGTH).and_then(length) {
                Some(length) => Framing::Sized(length),
                None => Framing::UntilClose,
            },
        }
    }

    /// A length that is none, or another one than that before it.
    pub(super) fn invalid_length(&self) -> Option<&HeaderValue> {
        if self.has(&header::TRANSFER_ENCODING, "chunked") {
            return None;
        }
        let first = self.headers.get(header::CONTENT_LENGTH).and_then(length);
        let mut lengths = self.headers.get_all(header::CONTENT_LENGTH).iter();
        lengths.find(|value| first.is_none() || length(value) != first)
    }

    /// Whether the connection ends with the response.
    fn is_last(&self) -> bool {
        match self.is_http_1_1 {
            true => self.has(&header::CONNECTION, "close"),
            false => !self.has(&header::CONNECTION, "keep-alive"),
        }
    }

    /// What awc's codec is to read in its place: the status, and where the body ends. With `is_last` no other response comes on the
    /// connection.
    pub(super) fn for_codec(&self, is_last: bool) -> String {
        if self.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.of_handshake();
        }
        let framing = self.framing(&Method::POST);
        // In HTTP/1.1 awc takes a body that ends with the connection for none.
        let version = match framing {
            Framing::UntilClose => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        let mut head = String::with_capacity(FOR_CODEC_BYTES);
        head.extend([version, " ", self.status.as_str(), " _\r\n"]);
        match framing {
            Framing::Sized(length) => {
                head.extend(["content-length: ", &length.to_string(), "\r\n"])
            }
            Framing::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
            Framing::Nothing | Framing::UntilClose => {}
        }
        if is_last || self.is_last() {
            head.push_str("connection: close\r\n");
        }
        head.push_str("\r\n");
        head
    }

    /// The answer to a handshake, with what awc looks at.
    fn of_handshake(&self) -> String {
        let mut head = "HTTP/1.1 101 _\r\n".to_owned();
        for name in [
            header::UPGRADE,
            header::CONNECTION,
            header::SEC_WEBSOCKET_ACCEPT,
        ] {
            for value in self.headers.get_all(&name) {
                if let Ok(value) = value.to_str() {
                    head.extend([name.as_str(), ": ", value, "\r\n"]);
                }
            }
        }
        head.push_str("\r\n");
        head
    }
}

fn length(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok()?.trim();
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    Nothing,
    /// So many bytes.
    Sized(u64),
    /// By the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(is_http_1_1: bool, status: u16, headers: &[(&'static str, &'static str)]) -> Head {
        let headers = headers.iter().map(|&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        Head {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            is_http_1_1,
        }
    }

    #[test]
    fn end_of_a_body_is_known_from_the_head() {
        let length = ("content-length", "7");
        let chunked = ("transfer-encoding", "Chunked");
        let identity = ("transfer-encoding", "identity");
        for (is_http_1_1, status, headers, method, framing) in [
            (true, 200, &[length][..], Method::POST, Framing::Sized(7)),
            (
                true,
                200,
                &[("content-length", "0")],
                Method::POST,
                Framing::Sized(0),
            ),
            (true, 200, &[chunked], Method::POST, Framing::Chunked),
            (
                true,
                200,
                &[chunked, length],
                Method::POST,
                Framing::Chunked,
            ),
            (true, 200, &[], Method::POST, Framing::UntilClose),
            (true, 200, &[identity], Method::POST, Framing::UntilClose),
            (true, 200, &[], Method::HEAD, Framing::Nothing),
            (true, 200, &[length], Method::HEAD, Framing::Nothing),
            (true, 204, &[], Method::POST, Framing::Nothing),
            (true, 304, &[length], Method::GET, Framing::Nothing),
            (true, 401, &[], Method::POST, Framing::UntilClose),
            (false, 200, &[], Method::POST, Framing::UntilClose),
            (false, 200, &[chunked], Method::POST, Framing::Chunked),
            (false, 200, &[length], Method::POST, Framing::Sized(7)),
        ] {
            let head = head(is_http_1_1, status, headers);
            assert_eq!(
                head.framing(&method),
                framing,
                "{status} {headers:?} {method}"
            );
        }
    }
}
