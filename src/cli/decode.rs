//! `decode`: a captured stream as JSON lines.

use std::{
    fs::File,
    io::{self, BufWriter, ErrorKind, Read, Write},
    num::NonZeroUsize,
    path::PathBuf,
};

use actix_responses::{
    protocol::ResponseEvent,
    wire::{StreamDecoder, Terminal},
};
use clap::Args;

use super::{
    console, exit_status::ExitStatus, files, json_lines, provider_options::WireName,
    secrets::Secrets, usage_error::UsageError,
};

/// How much is read at a time, and decoded unless `--chunk` says otherwise.
const READ_BYTES: usize = 64 << 10;
/// How much output is gathered before it is written.
const WRITE_BYTES: usize = 64 << 10;

/// Decode a captured response body (text/event-stream) to JSON lines, one event each
///
/// Nothing is sent and nothing waited for: it shows what the bytes mean. The last line is `completed`, `incomplete` or
/// `failed`; a body that ends before its terminal event is `failed`, with the kind `truncated`.
#[derive(Args)]
pub(super) struct Decode {
    /// The API that the body came from
    #[arg(long, value_enum, default_value_t)]
    wire: WireName,

    /// Feed the decoder pieces of this many bytes; the events do not depend on it
    #[arg(long, value_name = "BYTES")]
    chunk: Option<NonZeroUsize>,

    /// The file with the body; `-` or nothing reads standard input
    file: Option<PathBuf>,
}

impl Decode {
    pub(super) fn run(self) -> Result<ExitStatus, UsageError> {
        let from_stdin = self
            .file
            .as_ref()
            .is_none_or(|path| path.as_os_str() == "-");
        let (name, reader): (_, Box<dyn Read>) = match self.file {
            Some(path) if !from_stdin => {
                let name = path.display().to_string();
                let file = File::open(&path).map_err(|error| files::unreadable(&name, &error))?;
                (name, Box::new(file))
            }
            _ => ("standard input".to_owned(), Box::new(io::stdin())),
        };
        let decoder = StreamDecoder::new(self.wire.into(), Default::default());
        let piece_bytes = self.chunk.map_or(READ_BYTES, NonZeroUsize::get);
        let mut lines = Lines {
            out: BufWriter::with_capacity(WRITE_BYTES, io::stdout().lock()),
            line: Vec::new(),
        };
        match decode(decoder, reader, piece_bytes, &mut lines) {
            Ok(Terminal::Completed(_)) => Ok(ExitStatus::Success),
            Ok(Terminal::Incomplete(_)) => Ok(ExitStatus::Failure),
            Ok(Terminal::Failed(error)) => {
                console::complain(&error.report());
                Ok(ExitStatus::Failure)
            }
            Err(DecodeFailure::Read(error)) => Err(files::unreadable(&name, &error)),
            Err(DecodeFailure::Write(error)) => Ok(console::unwritten(&error)),
        }
    }
}

enum DecodeFailure {
    Read(io::Error),
    Write(io::Error),
}

/// Reads until the terminal event, and writes the lines of each read before the next: the source may be live.
fn decode(
    mut decoder: StreamDecoder,
    mut reader: impl Read,
    piece_bytes: usize,
    lines: &mut Lines<impl Write>,
) -> Result<Terminal, DecodeFailure> {
    let mut buffer = vec![0; READ_BYTES];
    let mut events = Vec::new();
    loop {
        let length = match reader.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(DecodeFailure::Read(error)),
        };
        let mut terminal = None;
        for piece in buffer[..length].chunks(piece_bytes) {
            terminal = decoder.feed(piece, &mut events);
            lines.write(&mut events).map_err(DecodeFailure::Write)?;
            if terminal.is_some() {
                break;
            }
        }
        if length == 0 {
            terminal = decoder.end_of_stream(&mut events);
        }
        if let Some(terminal) = &terminal {
            events.push(terminal.clone().into());
            lines.write(&mut events).map_err(DecodeFailure::Write)?;
        }
        lines.out.flush().map_err(DecodeFailure::Write)?;
        if let Some(terminal) = terminal {
            return Ok(terminal);
        }
    }
}

struct Lines<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, events: &mut Vec<ResponseEvent>) -> io::Result<()> {
        for event in events.drain(..) {
            self.line.clear();
            json_lines::append_line(&event, &Secrets::default(), &mut self.line);
            self.out.write_all(&self.line)?;
        }
        Ok(())
    }
}
