//! Who asks: a client that reads bytes, counts blocks and looks at the time in them, and costs little itself.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::{AbortHandle, spawn_local},
    time::{sleep, timeout},
};

use crate::{
    clock,
    upstream::{DIGITS, MARK},
};

/// How long streams may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked of whom.
#[derive(Clone)]
pub struct Asked {
    pub address: SocketAddr,
    /// `responses` or `chat/completions`.
    pub path: &'static str,
    pub model: String,
}

impl Asked {
    fn request(&self, streams: bool) -> Vec<u8> {
        let mut body = json!({"model": self.model, "stream": streams});
        match self.path {
            "responses" => body["input"] = self.model.as_str().into(),
            _ => body["messages"] = json!([{"role": "user", "content": "hello"}]),
        }
        let body = body.to_string();
        let (path, address, length) = (self.path, self.address, body.len());
        let head = format!(
            "POST /v1/{path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        (head + &body).into_bytes()
    }
}

/// What all streams of a load have received.
#[derive(Default)]
pub struct Seen {
    pub blocks: Cell<u64>,
    /// From a block's writing at the server to its reading here, in nanoseconds.
    pub later: RefCell<Vec<f64>>,
    /// From the request to the first block.
    pub first: RefCell<Vec<f64>>,
    failed: RefCell<Option<io::Error>>,
}

/// Streams that are open, until this is dropped.
pub struct Open {
    pub seen: Rc<Seen>,
    tasks: Vec<AbortHandle>,
}

impl Open {
    /// Opens streams, `gap` apart, and waits until each has had a block.
    pub async fn streams(asked: &Asked, streams: usize, gap: Duration) -> Self {
        let mut open = Self::none();
        for _ in 0..streams {
            open.read(asked.address, asked.request(true), |_| ());
            sleep(gap).await;
        }
        open.begun(&asked.model, streams).await;
        open
    }

    /// The same, and each is read at another node, too.
    pub async fn followed(
        asked: &Asked,
        streams: usize,
        gap: Duration,
        other: SocketAddr,
    ) -> [Self; 2] {
        let [mut own, mut followed] = [Self::none(), Self::none()];
        let (told, mut ids) = mpsc::unbounded_channel();
        for _ in 0..streams {
            let told = told.clone();
            own.read(asked.address, asked.request(true), move |head| {
                let id = head
                    .lines()
                    .find_map(|line| line.strip_prefix("x-relay-stream: "));
                // Nobody waits any more when it failed.
                _ = told.send(id.map(str::to_owned));
            });
            sleep(gap).await;
        }
        own.begun(&asked.model, streams).await;
        for _ in 0..streams {
            let id = ids
                .recv()
                .await
                .flatten()
                .expect("an answer that can be read again");
            let request =
                format!("GET /v1/responses/{id}?stream=true HTTP/1.1\r\nhost: {other}\r\n\r\n");
            followed.read(other, request.into_bytes(), |_| ());
            sleep(gap).await;
        }
        followed.begun(&asked.model, streams).await;
        [own, followed]
    }

    fn none() -> Self {
        Self {
            seen: Rc::default(),
            tasks: Vec::new(),
        }
    }

    fn read(&mut self, address: SocketAddr, request: Vec<u8>, told: impl FnOnce(&str) + 'static) {
        let seen = self.seen.clone();
        let task = spawn_local(async move {
            if let Err(error) = read(address, &request, told, &seen).await {
                *seen.failed.borrow_mut() = Some(error);
            }
        });
        self.tasks.push(task.abort_handle());
    }

    async fn begun(&self, model: &str, streams: usize) {
        let begun = async {
            while self.seen.first.borrow().len() < streams {
                if let Some(error) = self.seen.failed.borrow_mut().take() {
                    panic!("{model}: {error}");
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, begun).await.expect("streams that begin");
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Reads without end; `told` is the first that comes, with the head.
async fn read(
    address: SocketAddr,
    request: &[u8],
    told: impl FnOnce(&str),
    seen: &Seen,
) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let sent = clock::monotonic();
    stream.write_all(request).await?;
    let mut told = Some(told);
    let mut buffer = vec![0; 16 << 10];
    let (mut is_head, mut is_first) = (true, true);
    loop {
        let length = stream.read(&mut buffer).await?;
        let read = &buffer[..length];
        if length == 0 || (is_head && !read.starts_with(b"HTTP/1.1 200")) {
            let read = String::from_utf8_lossy(read);
            return Err(io::Error::other(format!("it ended: {read}")));
        }
        is_head = false;
        if let Some(told) = told.take() {
            told(&String::from_utf8_lossy(read));
        }
        let now = clock::monotonic();
        for at in memchr::memchr_iter(MARK, read) {
            seen.blocks.set(seen.blocks.get() + 1);
            if is_first {
                is_first = false;
                seen.first.borrow_mut().push((now - sent).as_nanos() as f64);
                continue;
            }
            // What was cut within the digits is counted alone.
            let digits = read.get(at + 1..at + 1 + DIGITS);
            let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            if let Some(written) = digits.and_then(|digits| digits.parse().ok()) {
                let waited = now.saturating_sub(Duration::from_nanos(written));
                seen.later.borrow_mut().push(waited.as_nanos() as f64);
            }
        }
    }
}

/// Reads a stream that ends, and returns how many deltas it had.
pub async fn to_end(asked: &Asked) -> u64 {
    let reading = async {
        let mut stream = TcpStream::connect(asked.address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&asked.request(true)).await?;
        let mut buffer = vec![0; 64 << 10];
        let (mut count, mut kept) = (0, 0);
        loop {
            let length = stream.read(&mut buffer[kept..]).await?;
            if length == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            let read = &buffer[..kept + length];
            count += memchr::memchr_iter(MARK, &read[kept..]).count() as u64;
            if read.ends_with(LAST_CHUNK) {
                return Ok(count);
            }
            // It may be cut.
            let from = read.len().saturating_sub(LAST_CHUNK.len());
            kept = read.len() - from;
            buffer.copy_within(from..from + kept, 0);
        }
    };
    let read = timeout(PATIENCE, reading).await.expect("an answer in time");
    read.expect("a whole answer")
}

const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// Opens streams of which the first bytes are read, and nothing more.
pub async fn stalled(asked: &Asked, streams: usize) -> io::Result<Vec<TcpStream>> {
    let mut open = Vec::new();
    for _ in 0..streams {
        let mut stream = TcpStream::connect(asked.address).await?;
        stream.write_all(&asked.request(true)).await?;
        stream.read_exact(&mut [0; 16]).await?;
        open.push(stream);
    }
    Ok(open)
}

/// Asks for whole answers for as long, on so many connections, and returns how many came. Each must have these bytes of JSON, about.
pub async fn whole(asked: &Asked, connections: usize, time: Duration, bytes: usize) -> u64 {
    let answers = Rc::new(Cell::new(0));
    let until = clock::monotonic() + time;
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let (asked, answers) = (asked.clone(), answers.clone());
            spawn_local(async move {
                let mut stream = TcpStream::connect(asked.address).await?;
                stream.set_nodelay(true)?;
                let request = asked.request(false);
                let mut buffer = Vec::with_capacity(32 << 10);
                while clock::monotonic() < until {
                    stream.write_all(&request).await?;
                    let length = one(&mut stream, &mut buffer).await?;
                    assert!(length.abs_diff(bytes) < 256, "{length} bytes");
                    answers.set(answers.get() + 1);
                }
                io::Result::Ok(())
            })
        })
        .collect();
    for task in tasks {
        let ended = timeout(PATIENCE, task).await.expect("an answer in time");
        ended.expect("a client").expect("answers");
    }
    answers.get()
}

/// Reads an answer that has a length, and returns how long its body is.
async fn one(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length
            .and_then(|length| length.trim().parse().ok())
            .expect("a length");
        while buffer.len() < end + 4 + length {
            if stream.read_buf(buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        return Ok(length);
    }
}
