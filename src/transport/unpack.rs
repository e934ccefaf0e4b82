//! Bodies that a server compressed although it was not asked to.

use std::{
    cell::RefCell,
    io::{self, Write},
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use futures_core::Stream;
use http::HeaderValue;

use super::{BodyStream, TransportError, TransportErrorKind as Kind};

/// How much longer than its compressed form a body may be. Event streams, which say most of each event again, come to some 50.
const MAX_RATIO: u64 = 200;

/// How long an unpacked body may be whatever the ratio.
const FREE_BYTES: u64 = 1024 * 1024;

/// How much is given to a decoder at a time, so that what it makes of it is bounded.
const PIECE_BYTES: usize = 512;

/// The buffer of brotli's decoder.
const BROTLI_BUFFER_BYTES: usize = 4 * 1024;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Encoding {
    /// What `content-encoding` says: `Ok(None)` where nothing is encoded, for which servers have several words.
    ///
    /// # Errors
    /// What it says, when that is an encoding that is not known, or one over another.
    pub(super) fn of<'v>(
        values: impl IntoIterator<Item = &'v HeaderValue>,
    ) -> Result<Option<Self>, String> {
        let mut found = None;
        for value in values {
            let text = String::from_utf8_lossy(value.as_bytes());
            for name in text.split(',').map(str::trim) {
                let encoding = match &*name.to_ascii_lowercase() {
                    "identity" | "none" | "utf-8" | "" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Deflate,
                    "br" => Self::Brotli,
                    #[cfg(feature = "zstd")]
                    "zstd" => Self::Zstd,
                    _ => return Err(name.to_owned()),
                };
                if found.replace(encoding).is_some() {
                    return Err(text.into_owned());
                }
            }
        }
        Ok(found)
    }
}

/// A body, unpacked as it comes: what is whole in a chunk is given at once.
pub(super) struct Unpacked {
    body: BodyStream,
    decoder: Option<Decoder>,
    encoding: Encoding,
    peer: String,
    packed: u64,
    unpacked: u64,
}

impl Unpacked {
    pub(super) fn new(body: BodyStream, encoding: Encoding, peer: &str) -> Self {
        Self {
            body,
            decoder: None,
            encoding,
            peer: peer.to_owned(),
            packed: 0,
            unpacked: 0,
        }
    }

    fn unpack(&mut self, chunk: &[u8]) -> io::Result<Bytes> {
        let mut unpacked = Vec::new();
        for piece in chunk.chunks(PIECE_BYTES) {
            self.packed += piece.len() as u64;
            let limit = FREE_BYTES.max(self.packed * MAX_RATIO);
            let decoder = match &mut self.decoder {
                Some(decoder) => decoder,
                None => self.decoder.insert(Decoder::new(self.encoding, piece)?),
            };
            let room = usize::try_from(limit - self.unpacked).unwrap_or(usize::MAX);
            let piece = decoder.unpack(piece, room)?;
            self.unpacked += piece.len() as u64;
            unpacked.extend_from_slice(&piece);
        }
        Ok(unpacked.into())
    }

    fn error(&self, error: io::Error) -> TransportError {
        let (peer, encoding) = (&self.peer, self.encoding);
        let message = match error.kind() {
            io::ErrorKind::FileTooLarge => format!(
                "a body of {peer} is over {MAX_RATIO} times as long as its compressed form ({encoding:?})"
            ),
            _ => format!("a body of {peer} is not compressed as it says ({encoding:?})"),
        };
        TransportError::new(Kind::InvalidResponse, message).with_source(error)
    }
}

impl Stream for Unpacked {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.body.as_mut().poll_next(cx)) {
            Some(Ok(chunk)) => Some(self.unpack(&chunk).map_err(|error| self.error(error))),
            other => other,
        })
    }
}

/// A decoder of whichever encoding, and where it writes.
struct Decoder {
    writer: Box<dyn Write>,
    room: Room,
}

impl Decoder {
    /// The decoder of a body that begins with these bytes.
    fn new(encoding: Encoding, start: &[u8]) -> io::Result<Self> {
        let room = Room::default();
        let to = room.clone();
        let writer: Box<dyn Write> = match encoding {
            Encoding::Gzip => Box::new(MultiGzDecoder::new(to)),
            // The standard wants zlib's format, and some servers send what is in it.
            Encoding::Deflate if start.first().is_some_and(|byte| byte & 0x0f == 8) => {
                Box::new(ZlibDecoder::new(to))
            }
            Encoding::Deflate => Box::new(DeflateDecoder::new(to)),
            Encoding::Brotli => Box::new(brotli_decompressor::DecompressorWriter::new(
                to,
                BROTLI_BUFFER_BYTES,
            )),
            #[cfg(feature = "zstd")]
            Encoding::Zstd => Box::new(zstd::stream::write::Decoder::new(to)?),
        };
        Ok(Self { writer, room })
    }

    /// What a piece comes to, if that is no longer than `room`.
    fn unpack(&mut self, piece: &[u8], room: usize) -> io::Result<Vec<u8>> {
        self.room.0.borrow_mut().1 = room;
        self.writer.write_all(piece)?;
        self.writer.flush()?;
        Ok(mem::take(&mut self.room.0.borrow_mut().0))
    }
}

/// What was unpacked, and how much more may be.
#[derive(Clone, Default)]
struct Room(Rc<RefCell<(Vec<u8>, usize)>>);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (unpacked, left) = &mut *self.0.borrow_mut();
        *left = left
            .checked_sub(bytes.len())
            .ok_or(io::ErrorKind::FileTooLarge)?;
        unpacked.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };
    use futures_util::{StreamExt as _, stream};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    async fn unpacked(
        chunks: Vec<Vec<u8>>,
        encoding: Encoding,
    ) -> Result<Vec<Bytes>, TransportError> {
        let body = stream::iter(chunks.into_iter().map(|chunk| Ok(chunk.into())));
        let mut unpacked = Unpacked::new(Box::pin(body), encoding, "host:1");
        let mut all = Vec::new();
        while let Some(chunk) = unpacked.next().await {
            all.push(chunk?);
        }
        Ok(all)
    }

    #[test]
    fn what_is_encoded_is_known_by_its_names() {
        for (values, expected) in [
            (&[][..], Ok(None)),
            (&["identity, identity"], Ok(None)),
            (&["", "none", "UTF-8"], Ok(None)),
            (&["GZip"], Ok(Some(Encoding::Gzip))),
            (&["identity", "x-gzip"], Ok(Some(Encoding::Gzip))),
            (&["br"], Ok(Some(Encoding::Brotli))),
            (&["compress"], Err("compress".to_owned())),
            (&["gzip, br"], Err("gzip, br".to_owned())),
        ] {
            let values: Vec<_> = values
                .iter()
                .map(|value| HeaderValue::from_static(value))
                .collect();
            assert_eq!(Encoding::of(&values), expected, "{values:?}");
        }
    }

    #[actix_rt::test]
    async fn bodies_are_unpacked_as_they_come() {
        let text = b"data: {\"a\":1}\n\n".repeat(100);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&text).unwrap();
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(&text).unwrap();
        for (packed, encoding) in [
            (gzip(&text), Encoding::Gzip),
            (zlib.finish().unwrap(), Encoding::Deflate),
            (deflate.finish().unwrap(), Encoding::Deflate),
            #[cfg(feature = "zstd")]
            (zstd::encode_all(&*text, 3).unwrap(), Encoding::Zstd),
        ] {
            for size in [1, 7, packed.len()] {
                let chunks = packed.chunks(size).map(<[u8]>::to_vec).collect();
                let all = unpacked(chunks, encoding).await.unwrap().concat();
                assert!(all == text, "{encoding:?} in pieces of {size}");
            }
        }
        // A block without compression, which brotli has too: 9 bytes, then the last and empty one.
        let brotli = [&[0x0b, 0x04, 0x80][..], b"data: a\n\n", &[0x03]].concat();
        let all = unpacked(vec![brotli], Encoding::Brotli)
            .await
            .unwrap()
            .concat();
        assert_eq!(all, b"data: a\n\n");
    }

    #[actix_rt::test]
    async fn an_event_that_the_server_flushed_is_not_held_back() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let mut chunks = Vec::new();
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            encoder.write_all(event.as_bytes()).unwrap();
            encoder.flush().unwrap();
            chunks.push(mem::take(encoder.get_mut()));
        }
        let all = unpacked(chunks, Encoding::Gzip).await.unwrap();
        assert_eq!(all, ["data: 1\n\n", "data: 2\n\n"]);
    }

    #[actix_rt::test]
    async fn a_bomb_is_refused_and_so_is_what_is_not_compressed() {
        let bomb = gzip(&vec![0; 64 << 20]);
        let error = unpacked(vec![bomb], Encoding::Gzip).await.unwrap_err();
        assert!(error.to_string().contains("over 200 times"), "{error}");
        let error = unpacked(vec![b"data: a\n\n".repeat(2)], Encoding::Gzip)
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("not compressed as it says (Gzip)"),
            "{error}"
        );
    }
}
