//! Hearing a server that answers before it has read the request.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection that goes on to be read when it can't be written any more.
///
/// A server that refuses a request by its head (413, 429) may answer and close without reading the body. What is written
/// then fails, and awc would report that, although the answer is there to be read. So a failed write is remembered and
/// passed off as done: the answer is read next, and where there is none, reading ends with the error that writing had.
#[derive(Debug)]
pub(super) struct EarlyAnswerStream {
    stream: TcpStream,
    refused: Option<io::Error>,
}

impl EarlyAnswerStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            refused: None,
        }
    }

    /// Passes a refused write of so many bytes off as done.
    fn accept(
        &mut self,
        written: Poll<io::Result<usize>>,
        bytes: usize,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(error)) if is_refusal(&error) => {
                self.refused = Some(error);
                Poll::Ready(Ok(bytes))
            }
            other => other,
        }
    }
}

/// Whether the peer takes no more; other errors are of our own making.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    )
}

impl AsyncWrite for EarlyAnswerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.refused.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.accept(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        if self.refused.is_some() {
            return Poll::Ready(Ok(bytes));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.accept(written, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for EarlyAnswerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let read = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        let is_over = read.is_err() || buffer.filled().len() == filled;
        match &self.refused {
            // As often as it is asked: a pool that tries the connection must find it broken, too.
            Some(error) if is_over => Poll::Ready(Err(io::Error::from(error.kind()))),
            _ => Poll::Ready(read),
        }
    }
}

impl ActixStream for EarlyAnswerStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.stream, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.stream, cx)
    }
}
