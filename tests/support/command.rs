//! Running the program.

use std::{
    env,
    io::{Read, Write},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use actix_responses::loopback::Loopback;
use serde_json::Value;

use super::PATIENCE;

/// The program, without what the environment of the tests may say to it, and with nothing on its stdin.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actix-responses"));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy().to_ascii_lowercase();
        let says_something = ["openai_", "proxy", "rust_log", "ssl_c", "responses_store"];
        if says_something.iter().any(|part| text.contains(part)) {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// How the program ran.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The lines of stdout, each of which must be JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        assert!(self.stdout.ends_with('\n'), "{self:?}");
        let lines = self.stdout.lines();
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    /// The last event, when no event before it is an end.
    pub(crate) fn end(&self) -> Value {
        let mut events = self.events();
        let end = events.pop().expect("an event");
        assert!(!events.iter().any(is_end), "{self:?}");
        assert!(is_end(&end), "{self:?}");
        end
    }
}

fn is_end(event: &Value) -> bool {
    ["completed", "incomplete", "failed", "cancelled"]
        .map(Value::from)
        .contains(&event["type"])
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Stdout,
    Stderr,
}

/// The program while it runs; it is killed if it still does when this is dropped.
pub(crate) struct Running {
    child: Child,
    sender: Sender<(Source, Vec<u8>)>,
    pieces: Receiver<(Source, Vec<u8>)>,
    sources: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Running {
    /// With nothing on its stdin.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut running = Self::start_unread(command);
        running.read_stdout();
        running
    }

    fn read_stdout(&mut self) {
        let stdout = self.take_stdout();
        forward(Source::Stdout, stdout, self.sender.clone());
        self.sources += 1;
    }

    #[cfg(unix)]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Something else than the test is its stdin.
    pub(crate) fn start_with_stdin(command: &mut Command, stdin: impl Into<Stdio>) -> Self {
        let mut running = Self::spawn(command.stdin(stdin));
        running.read_stdout();
        running
    }

    /// Nobody reads its stdout until [`take_stdout`](Self::take_stdout).
    pub(crate) fn start_unread(command: &mut Command) -> Self {
        Self::spawn(command.stdin(Stdio::null()))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let (sender, pieces) = mpsc::channel();
        let stderr = child.stderr.take().expect("a pipe");
        forward(Source::Stderr, stderr, sender.clone());
        Self {
            child,
            sender,
            pieces,
            sources: 1,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    pub(crate) fn take_stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("an unread pipe")
    }

    /// Writes to its stdin, which must be a pipe, and leaves it open.
    pub(crate) fn type_in(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("an open stdin");
        stdin.write_all(text.as_bytes()).expect("a reader");
        stdin.flush().expect("a reader");
    }

    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    fn read_piece(&mut self) {
        let (source, piece) = self.pieces.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            panic!(
                "{error}: stdout {:?}, stderr {:?}",
                self.stdout(),
                self.stderr()
            )
        });
        if piece.is_empty() {
            self.sources -= 1;
        }
        match source {
            Source::Stdout => self.stdout.extend(piece),
            Source::Stderr => self.stderr.extend(piece),
        }
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Waits until its stdout is so.
    pub(crate) fn until_stdout(&mut self, is_so: impl Fn(&str) -> bool) -> String {
        self.until_stdout_or_end(is_so)
            .unwrap_or_else(|| panic!("it ended: {:?} {:?}", self.stdout(), self.stderr()))
    }

    /// The same, or nothing if it ends before.
    pub(crate) fn until_stdout_or_end(&mut self, is_so: impl Fn(&str) -> bool) -> Option<String> {
        while !is_so(&self.stdout()) {
            if self.sources == 0 {
                return None;
            }
            self.read_piece();
        }
        Some(self.stdout())
    }

    /// Waits until its stderr is so.
    pub(crate) fn until_stderr(&mut self, is_so: impl Fn(&str) -> bool) -> String {
        while !is_so(&self.stderr()) {
            assert!(self.sources > 0, "it ended: {:?}", self.stderr());
            self.read_piece();
        }
        self.stderr()
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(status.success());
    }

    /// Closes its stdin and waits for its end.
    pub(crate) fn finish(mut self) -> Ran {
        drop(self.child.stdin.take());
        while self.sources > 0 {
            self.read_piece();
        }
        let status = self.child.wait().expect("its end");
        Ran {
            status: status.code(),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends what comes, and at last nothing.
fn forward(source: Source, mut from: impl Read + Send + 'static, to: Sender<(Source, Vec<u8>)>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = from.read(&mut buffer).unwrap_or(0);
            if to.send((source, buffer[..length].to_vec())).is_err() || length == 0 {
                break;
            }
        }
    });
}

pub(crate) fn run(arguments: &[&str]) -> Ran {
    Running::start(&mut program(arguments)).finish()
}

pub(crate) fn run_with_stdin(arguments: &[&str], stdin: &str) -> Ran {
    let mut running = Running::start_with_stdin(&mut program(arguments), Stdio::piped());
    running.type_in(stdin);
    running.finish()
}

/// Asks "hello" of a provider.
pub(crate) fn ask(provider: &Loopback, arguments: &[&str]) -> Ran {
    run(&asking(&provider.base_url(), arguments))
}

pub(crate) fn asking<'a>(base_url: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [&["ask", "--base-url", base_url, "hello"], arguments].concat()
}
