//! A terminal for the program to run in.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use super::PATIENCE;

/// A terminal of a width.
pub(crate) struct Terminal {
    columns: usize,
    keyboard: File,
    program_side: File,
    output: Receiver<Vec<u8>>,
}

impl Terminal {
    pub(crate) fn new(columns: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let controller = openpt(flags).expect("a terminal");
        grantpt(&controller).expect("its other side");
        unlockpt(&controller).expect("its other side");
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&controller, size).expect("a size");
        let name = ptsname(&controller, Vec::new()).expect("a name");
        let flags = OpenptFlags::NOCTTY.bits().cast_signed();
        let program_side = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(name.to_str().expect("a path"))
            .expect("its other side");
        let keyboard = File::from(controller);
        let mut screen = keyboard.try_clone().expect("a handle");
        let (pieces, output) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It is an error when no program has it any more.
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                if pieces.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            columns: columns.into(),
            keyboard,
            program_side,
            output,
        }
    }

    /// A handle for one of a program's streams.
    fn stdio(&self) -> Stdio {
        self.program_side.try_clone().expect("a handle").into()
    }

    /// Starts a program whose output it shows.
    pub(crate) fn start(self, command: &mut Command) -> RunningInTerminal {
        command.stdout(self.stdio()).stderr(self.stdio());
        let child = command.spawn().expect("the program");
        // What the command and this hold would keep the terminal open behind the program's end.
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        RunningInTerminal {
            child,
            columns: self.columns,
            keyboard: self.keyboard,
            output: self.output,
            written: Vec::new(),
        }
    }

    /// The same of one that has its keyboard, too.
    pub(crate) fn start_at_keyboard(self, command: &mut Command) -> RunningInTerminal {
        command.stdin(self.stdio());
        self.start(command)
    }
}

/// A program in a terminal; it is killed if it still runs when this is dropped.
pub(crate) struct RunningInTerminal {
    child: Child,
    columns: usize,
    keyboard: File,
    output: Receiver<Vec<u8>>,
    written: Vec<u8>,
}

impl RunningInTerminal {
    pub(crate) fn type_in(&mut self, text: &str) {
        self.keyboard
            .write_all(text.as_bytes())
            .expect("a terminal");
    }

    /// Waits until the screen is so.
    pub(crate) fn until(&mut self, is_so: impl Fn(&[String]) -> bool) {
        loop {
            let rows = screen(&self.written, self.columns);
            if is_so(&rows) {
                return;
            }
            match self.output.recv_timeout(PATIENCE) {
                Ok(piece) => self.written.extend(piece),
                Err(error) => panic!("{error}: {rows:#?}"),
            }
        }
    }

    /// Waits for its end: how it ended, what it wrote, and what is on the screen.
    pub(crate) fn finish(mut self) -> (ExitStatus, String, Vec<String>) {
        while let Ok(piece) = self.output.recv_timeout(PATIENCE) {
            self.written.extend(piece);
        }
        let status = self.child.wait().expect("its end");
        let rows = screen(&self.written, self.columns);
        let written = String::from_utf8_lossy(&self.written).into_owned();
        (status, written, rows)
    }
}

impl Drop for RunningInTerminal {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rows that a terminal shows. It knows what the program uses: line ends, going back to the start of the line, erasing its rest,
/// and not wrapping; each character takes one column.
fn screen(written: &[u8], columns: usize) -> Vec<String> {
    let written = String::from_utf8_lossy(written);
    let mut rows = vec![Vec::new()];
    let mut column = 0;
    let mut wraps = true;
    let mut rest = written.chars();
    while let Some(character) = rest.next() {
        let row = rows.last_mut().expect("a row");
        match character {
            '\n' => rows.push(vec![' '; column]),
            '\r' => column = 0,
            '\x1b' => {
                let code = rest.as_str().trim_start_matches('[');
                let end = code.find(|letter: char| letter.is_ascii_alphabetic());
                let (code, after) = code.split_at(end.map_or(code.len(), |end| end + 1));
                rest = after.chars();
                match code {
                    "K" => row.truncate(column),
                    "?7l" => wraps = false,
                    "?7h" => wraps = true,
                    _ => assert!(code.ends_with('m'), "{code:?} is not known here"),
                }
            }
            _ if column == columns && !wraps => row[columns - 1] = character,
            _ => {
                if column == columns {
                    rows.push(Vec::new());
                    column = 0;
                }
                let row = rows.last_mut().expect("a row");
                row.resize(row.len().max(column + 1), ' ');
                row[column] = character;
                column += 1;
            }
        }
    }
    let rows = rows
        .into_iter()
        .map(|row| row.into_iter().collect::<String>());
    let mut rows: Vec<_> = rows.map(|row| row.trim_end().to_owned()).collect();
    while rows.last().is_some_and(String::is_empty) {
        rows.pop();
    }
    rows
}
