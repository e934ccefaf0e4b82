//! Reading the head of a response.

use std::mem;

use bytes::{Buf as _, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{TransportError, TransportErrorKind as Kind};

/// How large a response's head may be, with the interim ones before it.
const MAX_HEAD_BYTES: usize = 128 * 1024;

/// How many fields a head may have. Servers have a few dozen, gateways add theirs.
const MAX_FIELDS: usize = 256;

/// How many fields are read at first. The table is on the stack.
const USUAL_FIELDS: usize = 48;

/// A response's head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) is_http_1_1: bool,
}

/// A head, as far as it has come.
#[derive(Default)]
pub(super) struct HeadReader {
    bytes: BytesMut,
    /// Of interim responses, which have been stepped over.
    interim_bytes: usize,
}

impl HeadReader {
    /// Whether nothing has come yet.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.interim_bytes == 0
    }

    /// Takes bytes. Gives the head once it is whole, how long it was, and its bytes with what came of the body behind them. Interim
    /// responses (RFC 9110, 15.2) are stepped over.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        peer: &str,
    ) -> Result<Option<(Head, usize, BytesMut)>, TransportError> {
        self.bytes.extend_from_slice(bytes);
        loop {
            let parsed = parse(&self.bytes, peer)?;
            let length = parsed
                .as_ref()
                .map_or(self.bytes.len(), |(_, length)| *length);
            if self.interim_bytes + length > MAX_HEAD_BYTES {
                let message = format!(
                    "the head of {peer}'s response is over the limit of {} KiB",
                    MAX_HEAD_BYTES / 1024
                );
                return Err(TransportError::new(Kind::TooLarge, message));
            }
            let Some((head, length)) = parsed else {
                return Ok(None);
            };
            // 101 ends HTTP on the connection, so nothing comes behind it that would be a head.
            let is_final =
                !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS;
            if is_final {
                return Ok(Some((head, length, mem::take(&mut self.bytes))));
            }
            self.interim_bytes += length;
            self.bytes.advance(length);
        }
    }
}

/// Reads a head, and how long it is. `None` when it has not ended yet.
fn parse(bytes: &[u8], peer: &str) -> Result<Option<(Head, usize)>, TransportError> {
    let mut fields = [httparse::EMPTY_HEADER; USUAL_FIELDS];
    match parse_into(bytes, &mut fields, peer)? {
        Parsed::TooMany => {}
        Parsed::Head(parsed) => return Ok(parsed),
    }
    let mut fields = vec![httparse::EMPTY_HEADER; MAX_FIELDS];
    match parse_into(bytes, &mut fields, peer)? {
        Parsed::TooMany => {
            let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            let count = lines.skip(1).take_while(|line| !line.is_empty()).count();
            let message = format!(
                "the head of {peer}'s response has {count} fields, and the limit is {MAX_FIELDS}"
            );
            Err(TransportError::new(Kind::TooLarge, message))
        }
        Parsed::Head(parsed) => Ok(parsed),
    }
}

enum Parsed {
    Head(Option<(Head, usize)>),
    TooMany,
}

fn parse_into<'b>(
    bytes: &'b [u8],
    fields: &mut [httparse::Header<'b>],
    peer: &str,
) -> Result<Parsed, TransportError> {
    let unreadable = || format!("what {peer} answers is not HTTP that can be read");
    let invalid = |message| TransportError::new(Kind::InvalidResponse, message);
    let mut config = httparse::ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true);
    let mut response = httparse::Response::new(fields);
    let length = match config.parse_response(&mut response, bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(Parsed::Head(None)),
        Err(httparse::Error::TooManyHeaders) => return Ok(Parsed::TooMany),
        Err(error) => return Err(invalid(unreadable()).with_source(error)),
    };
    let status = StatusCode::from_u16(response.code.unwrap_or_default());
    let status = status.map_err(|error| invalid(unreadable()).with_source(error))?;
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let Some((name, value)) = name.ok().zip(value.ok()) else {
            return Err(invalid(format!(
                "{peer} answers with an invalid header {}",
                field.name
            )));
        };
        headers.append(name, value);
    }
    let head = Head {
        status,
        headers,
        is_http_1_1: response.version == Some(1),
    };
    if let Some(length) = head.invalid_length() {
        let length = String::from_utf8_lossy(length.as_bytes()).into_owned();
        return Err(invalid(unreadable()).with_source(format!("content-length is {length:?}")));
    }
    Ok(Parsed::Head(Some((head, length))))
}
