//! Writing to stdout and stderr without holding up the thread that does everything else.

use std::{
    io::{self, ErrorKind, IsTerminal as _, Write},
    sync::mpsc,
    thread,
};

use tokio::sync::oneshot;

use super::{exit_status::ExitStatus, harmless::printable, terminals, wrapping::wrapped};

/// Where a piece of output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Stdout,
    Stderr,
}

/// Pieces of output in the order in which they are to be seen.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Page {
    pieces: Vec<(Target, Vec<u8>)>,
}

impl Page {
    pub(super) fn push(&mut self, target: Target, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        match self.pieces.last_mut() {
            _ if bytes.is_empty() => {}
            Some((last, piece)) if *last == target => piece.extend_from_slice(bytes),
            _ => self.pieces.push((target, bytes.to_vec())),
        }
    }

    /// Puts another page in front.
    pub(super) fn prepend(&mut self, mut earlier: Self) {
        for (target, piece) in self.pieces.drain(..) {
            earlier.push(target, piece);
        }
        *self = earlier;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether something is for that target.
    pub(super) fn has(&self, target: Target) -> bool {
        self.pieces.iter().any(|(to, _)| *to == target)
    }

    fn write(&self) -> io::Result<()> {
        for (target, piece) in &self.pieces {
            match target {
                Target::Stdout => {
                    let mut stdout = io::stdout().lock();
                    stdout.write_all(piece)?;
                    stdout.flush()?;
                }
                // There is nowhere left to complain to.
                Target::Stderr => drop(io::stderr().write_all(piece)),
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn on(&self, target: Target) -> String {
        let pieces = self.pieces.iter().filter(|(to, _)| *to == target);
        let bytes: Vec<u8> = pieces.flat_map(|(_, piece)| piece.clone()).collect();
        String::from_utf8(bytes).expect("text")
    }
}

/// A page, and who is told when it is written.
type Job = (Page, oneshot::Sender<io::Result<()>>);

/// A thread that writes. A reader who takes his time, such as a pager, blocks that thread: timers and signals go on, and a
/// process that ends does not wait for it.
pub(super) struct Console {
    jobs: mpsc::Sender<Job>,
}

impl Console {
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || {
                for (page, written) in waiting {
                    // Nobody waits for the last words.
                    let _ = written.send(page.write());
                }
            })?;
        Ok(Self { jobs })
    }

    /// Writes a page; what it gives is ready when all of it is written and flushed, or can't be. Callers wait for it before
    /// they write more, which is what bounds the queue.
    pub(super) fn write(&self, page: Page) -> oneshot::Receiver<io::Result<()>> {
        let (written, is_written) = oneshot::channel();
        // If the thread is gone, the receiver says so.
        let _ = self.jobs.send((page, written));
        is_written
    }
}

/// What follows from an error of stdout, which is said: none where its reader has had enough, as `head` has.
pub(super) fn unwritten(error: &io::Error) -> ExitStatus {
    if error.kind() == ErrorKind::BrokenPipe {
        return ExitStatus::Success;
    }
    complain(&format!("can't write to standard output: {error}"));
    ExitStatus::Failure
}

/// Says on stderr, in one paragraph, what is wrong.
pub(super) fn complain(message: &str) {
    let mut paragraph = complaint(message);
    if io::stderr().is_terminal() {
        paragraph = wrapped(&paragraph, terminals::columns());
    }
    // There is nowhere left to complain to.
    let _ = io::stderr().write_all(paragraph.as_bytes());
}

/// The paragraph that says what is wrong.
pub(super) fn complaint(message: &str) -> String {
    format!("actix-responses: {}\n", printable(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_for_the_same_target_are_joined_and_keep_their_order() {
        let mut page = Page::default();
        page.push(Target::Stdout, "a");
        page.push(Target::Stdout, "b");
        page.push(Target::Stderr, "");
        page.push(Target::Stderr, "c");
        let mut first = Page::default();
        first.push(Target::Stderr, "0");
        page.prepend(first);
        let expected = [
            (Target::Stderr, b"0".to_vec()),
            (Target::Stdout, b"ab".to_vec()),
            (Target::Stderr, b"c".to_vec()),
        ];
        assert_eq!(page.pieces, expected);
    }
}
