//! `body`: allocations for the body of a request, and what a body of 20 MB holds while it is sent, refused and sent again.

use std::{cell::Cell, hint::black_box, io, net::Ipv4Addr, rc::Rc};

use actix_responses::{
    Runtime,
    actors::{SupervisorConfig, Workers},
    protocol::Prompt,
    provider::Provider,
    retry::RetryPolicy,
    wire::{Quirks, Wire},
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use stats_alloc::Region;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    ALLOCATOR,
    held::{forget_peak, peak_bytes, resident_bytes},
    support::{
        bodies::{BODIES, prompt},
        records,
    },
};

const PICTURE: &str = "picture";

/// What is no question.
const LARGE: usize = 1_000_000;

/// How often the server refuses before it answers.
const REFUSALS: u32 = 2;

/// Allocations and bytes asked for, of the body and of the same items with serde_json.
pub fn count() {
    for name in BODIES {
        // Half a minute where nothing is measured and the compiler did not optimise.
        if name == PICTURE && records::is_trial() {
            continue;
        }
        let prompt = prompt(name);
        let quirks = Quirks::default();
        let ours = || {
            Wire::Responses
                .request_body(&prompt, &quirks)
                .expect("a body")
        };
        let theirs = || serde_json::to_vec(&prompt.input).expect("the items");
        let (body, written) = (counted(ours), counted(theirs));
        let text: bytes::Bytes = ours();
        let length = text.len() as f64;
        let read = counted(|| Prompt::from_body(text.clone()).expect("a body"));
        let received = Prompt::from_body(text).expect("a body");
        let again = || {
            Wire::Responses
                .request_body(&received, &quirks)
                .expect("a body")
        };
        let again = counted(again);
        for (who, (calls, bytes)) in [
            ("ours", body),
            ("to_vec", written),
            ("from_body", read),
            ("as_it_came", again),
        ] {
            let record = json!({"allocations": calls, "bytes_over_body": bytes as f64 / length});
            records::write(&format!("allocations body {who} {name}"), &record);
        }
    }
}

fn counted<T>(work: impl Fn() -> T) -> (usize, usize) {
    black_box(work());
    let region = Region::new(ALLOCATOR);
    black_box(work());
    let change = region.change();
    (
        change.allocations + change.reallocations,
        change.bytes_allocated,
    )
}

/// The most that is held beside the caller's own items: while the body is written, the prompt that is handed over included, and from
/// the first byte that the server reads on.
pub async fn sent_and_retried() -> Value {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let own = prompt(PICTURE);
    let written = Rc::new(Cell::new(0));
    let serving = actix_rt::spawn(serve(listener, written.clone()));
    let provider = Provider::new("bench", &format!("http://127.0.0.1:{port}")).expect("a provider");
    let mut config = SupervisorConfig::new(provider);
    config.workers = Workers::Current;
    config.retry = RetryPolicy::default();
    let runtime = Runtime::with_config(config).expect("a runtime");
    // What is made once.
    ask(&runtime, prompt("1")).await;
    let before = resident_bytes();
    forget_peak();
    ask(&runtime, own.clone()).await;
    let sent = peak_bytes();
    serving.abort();
    let length = Wire::Responses
        .request_body(&own, &Quirks::default())
        .expect("a body")
        .len() as f64;
    json!({
        "body_bytes": length,
        "written_over_body": (written.get() as f64 - before as f64) / length,
        "sent_over_body": (sent as f64 - before as f64) / length,
    })
}

async fn ask(runtime: &Runtime, prompt: Prompt) {
    let mut events = runtime.stream(prompt).await.expect("an accepted request");
    while let Some(event) = events.next().await {
        event.expect("an event");
    }
}

/// Reads bodies without holding them; the first large ones are refused when they were read.
async fn serve(listener: TcpListener, written: Rc<Cell<usize>>) -> io::Result<()> {
    let mut refused = 0;
    loop {
        let (mut stream, _) = listener.accept().await?;
        while let Some(length) = read_request(&mut stream, &written).await? {
            let is_refused = length > LARGE && refused < REFUSALS;
            refused += u32::from(is_refused);
            let answer: &[u8] = match is_refused {
                true => b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n",
                false => b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 71\r\n\r\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"output\":[]}}\n\n",
            };
            stream.write_all(answer).await?;
        }
    }
}

/// How long the body was; `None` when the client has closed.
async fn read_request(stream: &mut TcpStream, written: &Cell<usize>) -> io::Result<Option<usize>> {
    let mut head = Vec::with_capacity(64 * 1024);
    let end = loop {
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
    if length > LARGE && written.get() == 0 {
        written.set(peak_bytes());
        forget_peak();
    }
    let mut left = length - (head.len() - end);
    while left > 0 {
        head.clear();
        left -= match stream.read_buf(&mut head).await? {
            0 => return Ok(None),
            count => count,
        };
    }
    Ok(Some(length))
}
