//! Where a response's body ends, as its head tells.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::{TransportError, TransportErrorKind};

/// A response's head in the types of `http` 1.
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) is_http_1_1: bool,
}

impl Head {
    fn is(&self, name: &HeaderName, expected: &str) -> bool {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.trim().eq_ignore_ascii_case(expected))
    }

    /// How the end of the body of a response to `method` is known.
    pub(crate) fn framing(&self, method: &Method) -> Framing {
        let length = self.headers.get(header::CONTENT_LENGTH);
        match self.status {
            status if status.is_informational() => Framing::Interim,
            // A 304 gives the length of a body that it does not send.
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Framing::Nothing,
            _ if method == Method::HEAD => Framing::Nothing,
            _ if !self.is_http_1_1 && length.is_none() => Framing::Marked,
            _ if self.is(&header::TRANSFER_ENCODING, "chunked") => Framing::Marked,
            _ => match length.and_then(|length| length.to_str().ok()?.trim().parse().ok()) {
                Some(length) => Framing::Sized(length),
                None => Framing::UntilClose,
            },
        }
    }
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// This was not the response yet; the client library takes it for one.
    Interim,
    /// There is no body.
    Nothing,
    /// So many bytes.
    Sized(u64),
    /// The client library sees it: by the last chunk, or the end of an HTTP/1.0 connection.
    Marked,
    /// With the connection, in HTTP/1.1; the client library takes it for no body.
    UntilClose,
}

impl Framing {
    /// Refuses what can't be read.
    pub(crate) fn check(self, head: &Head, peer: &str) -> Result<(), TransportError> {
        let encoding = head.headers.get(header::CONTENT_ENCODING);
        let message = match (self, encoding) {
            (Self::Interim, _) => {
                format!(
                    "{peer} sends an interim response ({}), which this client cannot read past",
                    head.status.as_u16()
                )
            }
            (Self::UntilClose, _) => format!(
                "{peer} sends a body with neither content-length nor chunked encoding, which this client cannot read"
            ),
            (Self::Sized(1..) | Self::Marked, Some(encoding))
                if !head.is(&header::CONTENT_ENCODING, "identity") =>
            {
                let encoding = String::from_utf8_lossy(encoding.as_bytes());
                format!(
                    "{peer} sends a body with content-encoding {encoding:?}, which was not asked for"
                )
            }
            _ => return Ok(()),
        };
        Err(TransportError::new(
            TransportErrorKind::InvalidResponse,
            message,
        ))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
            (true, 200, &[chunked], Method::POST, Framing::Marked),
            (true, 200, &[chunked, length], Method::POST, Framing::Marked),
            (true, 200, &[], Method::POST, Framing::UntilClose),
            (true, 200, &[identity], Method::POST, Framing::UntilClose),
            (true, 200, &[], Method::HEAD, Framing::Nothing),
            (true, 200, &[length], Method::HEAD, Framing::Nothing),
            (true, 204, &[], Method::POST, Framing::Nothing),
            (true, 304, &[length], Method::GET, Framing::Nothing),
            (true, 103, &[], Method::GET, Framing::Interim),
            (true, 401, &[], Method::POST, Framing::UntilClose),
            (false, 200, &[], Method::POST, Framing::Marked),
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

    #[test]
    fn encoding_is_refused_only_where_there_is_a_body() {
        for (encoding, framing, is_refused) in [
            ("gzip", Framing::Marked, true),
            ("br", Framing::Sized(1), true),
            ("gzip", Framing::Sized(0), false),
            ("gzip", Framing::Nothing, false),
            ("Identity", Framing::Marked, false),
        ] {
            let head = head(true, 200, &[("content-encoding", encoding)]);
            let result = framing.check(&head, "host:1");
            assert_eq!(result.is_err(), is_refused, "{encoding} {framing:?}");
            let named = |error: TransportError| error.to_string().contains(encoding);
            assert!(result.err().is_none_or(named));
        }
    }
}
