//! Request bodies made smaller.

use bytes::Bytes;
use http::{HeaderMap, header};

use crate::protocol::error::ApiError;

/// How request bodies are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestCompression {
    /// As they are.
    #[default]
    None,
    /// Compressed with zstd, which few servers read: ChatGPT's does, for the Responses API.
    #[cfg(feature = "zstd")]
    Zstd {
        /// How hard to try, from 1 to 22. Beyond 3 it takes much longer and gains little.
        level: i32,
    },
}

impl RequestCompression {
    /// zstd at level 3, its own default: a conversation is a fifth of its size after less than a millisecond.
    #[cfg(feature = "zstd")]
    pub const ZSTD: Self = Self::Zstd { level: 3 };

    /// Refuses a request whose headers say already how its body is encoded: it would be encoded twice, or said wrongly.
    pub(crate) fn check(self, headers: &HeaderMap) -> Result<(), ApiError> {
        if self != Self::None && headers.contains_key(header::CONTENT_ENCODING) {
            return Err(ApiError::misconfigured(
                "header content-encoding is set, and so is `request_compression`, which sets it: leave out one of them",
            ));
        }
        Ok(())
    }

    /// Encodes a body and says so in its headers.
    ///
    /// # Errors
    /// When a header says how the body is encoded already.
    pub(crate) fn encode(self, body: &Bytes, headers: &mut HeaderMap) -> Result<Bytes, ApiError> {
        self.check(headers)?;
        match self {
            Self::None => Ok(body.clone()),
            #[cfg(feature = "zstd")]
            Self::Zstd { level } => {
                let encoded = zstd::bulk::compress(body, level).map_err(|error| {
                    ApiError::misconfigured("the body can't be compressed with zstd")
                        .with_source(error)
                })?;
                let name = http::HeaderValue::from_static("zstd");
                headers.insert(header::CONTENT_ENCODING, name);
                Ok(encoded.into())
            }
        }
    }
}

#[cfg(all(test, feature = "zstd"))]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::protocol::error::ErrorKind;

    #[test]
    fn body_is_smaller_and_reads_back_the_same() {
        let body = Bytes::from(r#"{"role":"user"},"#.repeat(1000));
        let mut headers = HeaderMap::new();
        let encoded = RequestCompression::ZSTD
            .encode(&body, &mut headers)
            .unwrap();
        assert!(encoded.len() * 5 < body.len(), "{}", encoded.len());
        assert_eq!(zstd::decode_all(&*encoded).unwrap(), body);
        assert_eq!(headers["content-encoding"], "zstd");
        let again = RequestCompression::ZSTD.encode(&body, &mut headers);
        assert_eq!(again.unwrap_err().kind(), ErrorKind::InvalidConfiguration);
    }

    #[test]
    fn without_compression_nothing_is_changed_or_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("content-encoding", HeaderValue::from_static("gzip"));
        let body = Bytes::from_static(b"as it is");
        let same = RequestCompression::None.encode(&body, &mut headers);
        assert_eq!(same.unwrap(), body);
        assert_eq!(headers["content-encoding"], "gzip");
    }
}
