//! Servers, and those who ask them.

use std::{
    env,
    future::Future,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use actix_responses::{
    ApiError, Runtime,
    actors::SupervisorConfig,
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
    retry::ExponentialBackoff,
};
use futures_util::StreamExt;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{sync::oneshot, time::Instant};

/// A test that waits so long fails. Timers of the tests are less than a tenth of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
pub(crate) const DELTA: &str = "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"output_index\":0,\"content_index\":0,\"delta\":\"some text \"}\n\n";
pub(crate) const COMPLETED: &str =
    "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\"}}\n\n";

/// Text as one chunk of a body.
pub(crate) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// A whole answer, with the body's end.
pub(crate) fn whole_answer() -> String {
    format!("{HEAD}{}{}0\r\n\r\n", chunk(DELTA), chunk(COMPLETED))
}

/// Runs a script on a listener; the receiver has what it returns.
pub(crate) fn serve<T: Send + 'static>(
    script: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> (SocketAddr, oneshot::Receiver<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (done, result) = oneshot::channel();
    thread::spawn(move || {
        let _ = done.send(script(listener));
    });
    (address, result)
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}/v1")
}

/// The next connection.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().expect("a connection").0
}

/// Reads the head of a request, and of the body what came along; gives the bytes of the body that are still to come.
pub(crate) fn read_head(stream: &mut impl Read) -> usize {
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).expect("a request");
        assert_ne!(count, 0, "the client closed inside of the head");
        read.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&read);
        if let Some(end) = text.find("\r\n\r\n") {
            let mut lines = text.lines();
            let length = lines.find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
            return (end + 4 + length).saturating_sub(read.len());
        }
    }
}

/// Reads a request whole.
pub(crate) fn read_request(stream: &mut impl Read) {
    let mut left = read_head(stream);
    let mut buffer = vec![0; 1 << 16];
    while left > 0 {
        let count = stream.read(&mut buffer).expect("a body");
        assert_ne!(count, 0, "the client closed inside of the body");
        left -= count;
    }
}

/// Reads until the client closes or resets the connection.
pub(crate) fn until_closed(stream: &mut impl Read) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

/// Writes as long as somebody takes it; says how many bytes they took.
pub(crate) fn write_until_refused(stream: &mut TcpStream, text: &str) -> usize {
    let mut written = 0;
    while let Ok(count) = stream.write(&text.as_bytes()[written % text.len()..]) {
        written += count;
    }
    written
}

/// A hang is a failure, not a test that never ends.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("the test hangs")
}

pub(crate) fn start_with(base_url: &str, change: impl FnOnce(&mut Provider, &mut u32)) -> Runtime {
    let mut provider = Provider::new("test", base_url).expect("a URL");
    let mut max_attempts = 1;
    change(&mut provider, &mut max_attempts);
    let mut config = SupervisorConfig::new(provider);
    config.retry.max_attempts = max_attempts;
    let millisecond = Duration::from_millis(1);
    config.retry.backoff =
        ExponentialBackoff::new(millisecond, 1.0, 0.0, millisecond).expect("a backoff");
    Runtime::with_config(config).expect("a configuration")
}

/// Asks, and gives the end.
pub(crate) async fn end_of(runtime: &Runtime, prompt: Prompt) -> Result<ResponseEvent, ApiError> {
    let stream = within(runtime.stream(prompt)).await.expect("a request");
    let mut events: Vec<_> = within(stream.collect()).await;
    events.pop().expect("an end")
}

/// Asks, and gives the failure that must be the end.
pub(crate) async fn failure_of(runtime: &Runtime, prompt: Prompt) -> ApiError {
    match end_of(runtime, prompt).await {
        Err(error) => error,
        Ok(event) => panic!("no failure: {event:?}"),
    }
}

pub(crate) fn prompt() -> Prompt {
    Prompt::user("hello").with_model("m")
}

/// What a server needs for TLS on 127.0.0.1, and the certificate to trust it by.
pub(crate) struct TlsServer {
    pub(crate) config: Arc<rustls::ServerConfig>,
    pub(crate) certificate: String,
}

impl TlsServer {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a key");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(key))
            .expect("a certificate");
        Self {
            config: Arc::new(config),
            certificate: made.cert.pem(),
        }
    }
}

/// The program, without what the environment of the tests may say to it.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actix-responses"));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy().to_ascii_lowercase();
        if text.starts_with("openai_") || text.contains("proxy") || text == "rust_log" {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command.stdin(Stdio::null());
    command
}

/// Lets the program ask; it must be over in time.
pub(crate) fn ask(base_url: &str, arguments: &[&str]) -> Output {
    let begun = Instant::now();
    let output = program(&[
        "ask",
        "--json",
        "--max-attempts=1",
        "--base-url",
        base_url,
        "hello",
    ])
    .args(arguments)
    .output()
    .expect("the program");
    assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
    output
}

/// The kind of the error that the program's last event tells.
pub(crate) fn reported_kind(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let last = stdout.lines().last().unwrap_or_default();
    let event: serde_json::Value =
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    event["error"]["kind"]
        .as_str()
        .unwrap_or_else(|| panic!("{event}"))
        .to_owned()
}

/// `actix-responses loopback` as a process of its own; it is killed when this is dropped.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) base_url: String,
}

impl ServerProcess {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = program(&["loopback", "--quiet"]);
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("its base URL");
        let base_url = line.trim().to_owned();
        Self { child, base_url }
    }

    /// `kill -9`, and waits until it is dead.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a running process");
        self.child.wait().expect("its end");
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // An error means that it is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
