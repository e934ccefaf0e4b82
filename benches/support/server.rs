//! The HTTP server that clients are measured against: this program once more, in a process of its own, so that its CPU time
//! is not theirs.
//!
//! What it sends lies ready in memory. A request's first path segment names what it gets.

use std::{
    cell::RefCell,
    collections::HashMap,
    env, io,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
    time::sleep,
};

use super::{
    clock,
    inputs::{Delivery, Input},
};

/// Set for the process that serves.
const SERVES: &str = "ACTIX_RESPONSES_BENCH_SERVES";

/// A server in a process of its own, which ends with this value.
pub struct Server {
    process: Child,
    address: SocketAddr,
}

/// What the server has seen.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Stats {
    pub accepted: u64,
    pub requests: u64,
    /// When it wrote the last terminal event of a `held_open` answer, by [`clock::monotonic`].
    pub terminal: Duration,
    /// When the client had closed that connection; zero while it has not.
    pub fin: Duration,
}

impl Server {
    /// Starts this program again, as a server.
    pub fn start() -> Self {
        let mut process = Command::new(env::current_exe().expect("the program's path"))
            .env(SERVES, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server process");
        let mut line = String::new();
        let output = process.stdout.take().expect("its output");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("its port");
        let port = line.trim().parse().expect("a port");
        Self {
            process,
            address: (Ipv4Addr::LOCALHOST, port).into(),
        }
    }

    /// The base URL of a script.
    pub fn base_url(&self, script: &str) -> String {
        format!("http://{}/{script}", self.address)
    }

    /// Asks what it has seen. This request does not count.
    pub async fn stats(&self) -> Stats {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        stream
            .write_all(b"GET /stats HTTP/1.1\r\n\r\n")
            .await
            .expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        serde_json::from_slice(&answer).expect("the numbers")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves, if this process was started for that. It ends with its parent.
pub fn serve_if_asked() -> bool {
    if env::var_os(SERVES).is_none() {
        return false;
    }
    // The end of input is the parent's end.
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), serve());
    true
}

enum Script {
    /// All at once.
    Whole(Bytes),
    /// All at once, and the connection is closed.
    Closing(Bytes),
    /// A first event, and the rest a moment later.
    Pausing(Bytes, Bytes),
    /// The terminal event a moment after all the others; then nothing, until the client closes.
    HeldOpen(Bytes, Bytes),
    /// A comment; then nothing, until the client closes.
    Idle(Bytes),
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn framed(head: &str, chunks: &[Bytes], end: &[u8]) -> Bytes {
    let mut bytes = head.as_bytes().to_vec();
    for chunk in chunks {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(end);
    bytes.into()
}

fn scripts() -> HashMap<String, Script> {
    let keep_alive = format!("{HEAD}\r\n");
    let mut scripts = HashMap::new();
    for input in [Input::resp_text(), Input::chat()] {
        for delivery in [Delivery::Event, Delivery::READS] {
            let bytes = framed(&keep_alive, &input.chunks(delivery), LAST_CHUNK);
            scripts.insert(
                format!("{}_{}", input.name, delivery.name()),
                Script::Whole(bytes),
            );
        }
    }
    let small = Input::small().chunks(Delivery::Event);
    let (first, rest) = small.split_at(1);
    let (all_but_last, last) = small.split_at(small.len() - 1);
    // No event: what a stream has received is kept for late subscribers, so it depends on the stream.
    let comment = Bytes::from_static(b": open\n\n");
    let others = [
        (
            "small",
            Script::Whole(framed(&keep_alive, &small, LAST_CHUNK)),
        ),
        (
            "small_close",
            Script::Closing(framed(
                &format!("{HEAD}connection: close\r\n\r\n"),
                &small,
                LAST_CHUNK,
            )),
        ),
        (
            "pausing",
            Script::Pausing(
                framed(&keep_alive, first, b""),
                framed("", rest, LAST_CHUNK),
            ),
        ),
        (
            "held_open",
            Script::HeldOpen(
                framed(&keep_alive, all_but_last, b""),
                framed("", last, b""),
            ),
        ),
        ("idle", Script::Idle(framed(&keep_alive, &[comment], b""))),
    ];
    scripts.extend(others.map(|(name, script)| (name.to_owned(), script)));
    scripts
}

async fn serve() {
    let scripts = Rc::new(scripts());
    let stats = Rc::new(RefCell::new(Stats::default()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    loop {
        // The limit of open files, when a client opens too many; it sees its own error.
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        stats.borrow_mut().accepted += 1;
        let (scripts, stats) = (scripts.clone(), stats.clone());
        // A client that goes away in the middle is none of our business.
        spawn_local(async move { _ = converse(stream, &scripts, &stats).await });
    }
}

async fn converse(
    mut stream: TcpStream,
    scripts: &HashMap<String, Script>,
    stats: &RefCell<Stats>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(1_024);
    while let Some(script) = read_request(&mut stream, &mut buffer).await? {
        if script == "stats" {
            let seen = {
                let mut stats = stats.borrow_mut();
                stats.accepted -= 1;
                serde_json::to_vec(&*stats)?
            };
            return stream.write_all(&seen).await;
        }
        stats.borrow_mut().requests += 1;
        match scripts.get(&script).ok_or(io::ErrorKind::NotFound)? {
            Script::Whole(bytes) => stream.write_all(bytes).await?,
            Script::Closing(bytes) => {
                stream.write_all(bytes).await?;
                return stream.shutdown().await;
            }
            Script::Pausing(first, rest) => {
                stream.write_all(first).await?;
                sleep(Duration::from_millis(2)).await;
                stream.write_all(rest).await?;
            }
            Script::HeldOpen(first, last) => {
                stream.write_all(first).await?;
                sleep(Duration::from_millis(2)).await;
                {
                    let mut stats = stats.borrow_mut();
                    stats.fin = Duration::ZERO;
                    stats.terminal = clock::monotonic();
                }
                stream.write_all(last).await?;
                _ = stream.read(&mut [0]).await;
                stats.borrow_mut().fin = clock::monotonic();
                return Ok(());
            }
            Script::Idle(first) => {
                stream.write_all(first).await?;
                _ = stream.read(&mut [0]).await;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads a request and returns the first segment of its path; `None` when the client has closed.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
            if buffer.len() >= end + 4 + length {
                let script = head.split(['/', ' ']).nth(2).unwrap_or_default().to_owned();
                buffer.drain(..end + 4 + length);
                return Ok(Some(script));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
