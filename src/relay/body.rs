//! The body of a request: read whole and unpacked, within its bounds.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use actix_web::{
    HttpRequest,
    error::PayloadError,
    http::{StatusCode, header},
    web::Payload,
};
use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};

use super::{access::Refusal, config::RelayConfig, drain::Running};
use crate::protocol::RawJson;

/// The most memory that a packed body may ask of zstd for what it refers back to, as a power of two: 8 MiB, more than any of its usual levels.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Reads a body and unpacks it. The limits count unpacked bytes; what is over them is refused before it is read whole.
pub(super) async fn read(
    request: &HttpRequest,
    mut payload: Payload,
    running: &Running,
    config: &RelayConfig,
) -> Result<Bytes, Refusal> {
    let limit = config.max_body_bytes;
    let coding = Coding::of(request)?;
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // A body that is longer when it is packed is no exception: nobody packs like that.
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    let mut unpacker = Unpacker::new(coding, Bounded::new(running, config))
        .map_err(|error| unreadable(coding, &error))?;
    let reading = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| broken(&error))?;
            unpacker
                .write(&chunk)
                .map_err(|error| refused(coding, limit, &error))?;
        }
        Ok(())
    };
    match tokio::time::timeout(config.body_time, reading).await {
        Ok(read) => read?,
        Err(_) => {
            let message = format!(
                "the request's body took longer than {:?} (`body_time`)",
                config.body_time
            );
            let status = StatusCode::REQUEST_TIMEOUT;
            return Err(Refusal::new(status, "request_timeout", message));
        }
    }
    let body = unpacker
        .finish()
        .map_err(|error| refused(coding, limit, &error))?;
    Ok(body.into())
}

/// What a body says, as far as it can be held: half a surrogate pair is U+FFFD, and a member that has a number out of all range, or nests too
/// deep, is null.
pub(super) fn members(body: &[u8]) -> Map<String, Value> {
    let apart = || {
        let text = std::str::from_utf8(body).ok()?;
        let members: BTreeMap<String, RawJson> = RawJson::parse(text).ok()?.to().ok()?;
        let members = members.into_iter();
        Some(members.map(|(name, raw)| (name, raw.to_value())).collect())
    };
    serde_json::from_slice(body).unwrap_or_else(|_| apart().unwrap_or_default())
}

fn refused(coding: Coding, limit: usize, error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::FileTooLarge => too_large(limit),
        io::ErrorKind::OutOfMemory => {
            let mut refusal = Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "server_is_overloaded",
                "the bodies of all requests that run are as large as they may be together (`max_running_body_bytes`)",
            );
            refusal.retry_after = Some(Duration::from_secs(1));
            refusal
        }
        _ => unreadable(coding, error),
    }
}

fn too_large(limit: usize) -> Refusal {
    let message = format!(
        "the request's body is over the limit of {limit} bytes, unpacked (`max_body_bytes`)"
    );
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
}

fn unreadable(coding: Coding, error: &io::Error) -> Refusal {
    let message = format!("the request's body can't be unpacked as {coding:?}: {error}");
    Refusal::new(StatusCode::BAD_REQUEST, "invalid_body", message)
}

fn broken(error: &PayloadError) -> Refusal {
    let message = format!("the request's body can't be read: {error}");
    Refusal::new(StatusCode::BAD_REQUEST, "invalid_body", message)
}

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Zstd,
    Gzip,
    Deflate,
    Brotli,
}

impl Coding {
    fn of(request: &HttpRequest) -> Result<Self, Refusal> {
        let mut named = request.headers().get_all(header::CONTENT_ENCODING);
        let (first, more) = (named.next(), named.next());
        let name = first.map_or(Some(""), |name| name.to_str().ok());
        let name = name.map(|name| name.trim().to_ascii_lowercase());
        match name.as_deref() {
            _ if more.is_some() => {}
            Some("" | "identity" | "none") => return Ok(Self::Identity),
            Some("zstd") => return Ok(Self::Zstd),
            Some("gzip" | "x-gzip") => return Ok(Self::Gzip),
            Some("deflate") => return Ok(Self::Deflate),
            Some("br") => return Ok(Self::Brotli),
            _ => {}
        }
        Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_content_encoding",
            "the request's content-encoding is none of identity, zstd, gzip, deflate and br",
        ))
    }
}

/// What is unpacked so far, up to a limit.
struct Bounded<'a> {
    bytes: Vec<u8>,
    limit: usize,
    running: &'a Running,
    /// Of all that run.
    running_limit: usize,
}

impl<'a> Bounded<'a> {
    fn new(running: &'a Running, config: &RelayConfig) -> Self {
        Self {
            bytes: Vec::new(),
            limit: config.max_body_bytes,
            running,
            running_limit: config.max_running_body_bytes,
        }
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if !self.running.make_room(bytes.len(), self.running_limit) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Unpacker<'a> {
    Identity(Bounded<'a>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Bounded<'a>>>),
    Gzip(Box<MultiGzDecoder<Bounded<'a>>>),
    /// With or without zlib's head, which the first byte tells.
    Deflate(Option<Bounded<'a>>),
    Zlib(Box<ZlibDecoder<Bounded<'a>>>),
    Raw(Box<DeflateDecoder<Bounded<'a>>>),
    Brotli(Box<brotli_decompressor::DecompressorWriter<Bounded<'a>>>),
}

impl<'a> Unpacker<'a> {
    fn new(coding: Coding, bounded: Bounded<'a>) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity => Self::Identity(bounded),
            Coding::Zstd => {
                let mut decoder = zstd::stream::write::Decoder::new(bounded)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(Box::new(decoder))
            }
            Coding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(bounded))),
            Coding::Deflate => Self::Deflate(Some(bounded)),
            Coding::Brotli => Self::Brotli(Box::new(brotli_decompressor::DecompressorWriter::new(
                bounded, 4096,
            ))),
        })
    }

    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        if let (Self::Deflate(bounded), Some(first)) = (&mut *self, chunk.first())
            && let Some(bounded) = bounded.take()
        {
            *self = match first & 0x0f {
                8 => Self::Zlib(Box::new(ZlibDecoder::new(bounded))),
                _ => Self::Raw(Box::new(DeflateDecoder::new(bounded))),
            };
        }
        match self {
            Self::Identity(to) => to.write_all(chunk),
            Self::Zstd(to) => to.write_all(chunk),
            Self::Gzip(to) => to.write_all(chunk),
            Self::Zlib(to) => to.write_all(chunk),
            Self::Raw(to) => to.write_all(chunk),
            Self::Brotli(to) => to.write_all(chunk),
            Self::Deflate(_) => Ok(()),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        let bounded = match self {
            Self::Identity(bounded) => bounded,
            Self::Zstd(mut to) => {
                to.flush()?;
                to.into_inner()
            }
            Self::Gzip(to) => to.finish()?,
            Self::Zlib(to) => to.finish()?,
            Self::Raw(to) => to.finish()?,
            Self::Brotli(mut to) => {
                to.close()?;
                let cut = |_| io::Error::from(io::ErrorKind::UnexpectedEof);
                to.into_inner().map_err(cut)?
            }
            Self::Deflate(None) => return Ok(Vec::new()),
            Self::Deflate(Some(bounded)) => bounded,
        };
        Ok(bounded.bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_not_be_held_costs_no_other_member() {
        let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
        for (value, read) in [
            (r#""a\ud83d""#, json!("a\u{fffd}")),
            (r#"{"\ude00":1}"#, json!({"\u{fffd}": 1})),
            ("1e400", Value::Null),
            (&deep, Value::Null),
        ] {
            let body = format!(r#"{{"model":"m","zz":{value},"stream_options":{{"a":1}}}}"#);
            let read = json!({"model": "m", "zz": read, "stream_options": {"a": 1}});
            assert_eq!(Value::from(members(body.as_bytes())), read, "{value:.20}");
        }
        assert!(members(b"[1]").is_empty() && members(b"\xff").is_empty());
    }
}
