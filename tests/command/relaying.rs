//! `serve`: the relay as a command.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
};

use actix_responses::loopback::{Reply, Script};

use crate::support::{Folder, Running, program, provider, run};
#[cfg(unix)]
use crate::support::{accept_request, serve, url};

const ROUTE: &str = "[providers.local]\nbase_url = 'http://127.0.0.1:9/v1'\n";

struct Relaying {
    running: Running,
    address: String,
}

impl Relaying {
    fn start(arguments: &[&str]) -> Self {
        Self::listening("127.0.0.1:0", arguments)
    }

    fn listening(address: &str, arguments: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", address], arguments].concat();
        Self::of(&mut program(&arguments), None)
    }

    /// A command of the caller's, with this on its standard input.
    fn of(command: &mut Command, stdin: Option<&str>) -> Self {
        let piped = stdin.map_or_else(Stdio::null, |_| Stdio::piped());
        let mut running = Running::start_with_stdin(command, piped);
        if let Some(text) = stdin {
            running.type_in(text);
            running.close_stdin();
        }
        let line = running.until_stdout(|text| text.ends_with('\n'));
        let address = line
            .trim()
            .strip_prefix("http://")
            .and_then(|url| url.strip_suffix("/v1"));
        Self {
            address: address.expect("a base URL").to_owned(),
            running,
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

#[test]
fn without_any_flag_the_embedded_provider_stands_behind_it() {
    let relaying = Relaying::start(&[]);
    assert!(relaying.get("/healthz").starts_with("HTTP/1.1 200 "));
}

#[cfg(unix)]
#[test]
fn ends_with_zero_after_sigterm_and_130_after_ctrl_c() {
    for (signal, status) in [("TERM", 0), ("INT", 130)] {
        let relaying = Relaying::start(&["--grace=1s"]);
        relaying.running.signal(signal);
        assert_eq!(relaying.running.finish().status, Some(status), "{signal}");
    }
}

#[test]
fn taken_port_is_named_with_the_way_out() {
    let relaying = Relaying::start(&[]);
    let ran = run(&["serve", "--listen", &relaying.address]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
    assert!(
        ran.stderr.contains("--listen") && ran.stderr.contains("another program listens"),
        "{ran:?}"
    );
}

/// One of those that are nobody's, for examples.
#[cfg(target_os = "linux")]
#[test]
fn address_of_another_machine_is_named_with_the_way_out() {
    let ran = run(&["serve", "--listen=192.0.2.1:0", "--allow-anonymous"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
    for named in ["--listen 192.0.2.1:0", "no address 192.0.2.1", "0.0.0.0"] {
        assert!(ran.stderr.contains(named), "{ran:?}");
    }
}

#[test]
fn other_addresses_want_tokens_or_a_word() {
    let ran = run(&["serve", "--listen=0.0.0.0:0"]);
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("--tokens") && ran.stderr.contains("--allow-anonymous"),
        "{ran:?}"
    );
}

#[test]
fn check_refuses_what_a_start_would_refuse() {
    let folder = Folder::new();
    let path = folder.write("relay.toml", "");
    for (listen, said) in [
        ("127.0.0.1", "it is no address"),
        ("127.0.0.1:99999", "it is no address"),
        ("", "it is no address"),
        ("0.0.0.0:0", "--allow-anonymous"),
        ("[::]:0", "--allow-anonymous"),
    ] {
        folder.write(
            "relay.toml",
            format!("[relay]\nlisten = '{listen}'\n{ROUTE}"),
        );
        let flag = format!("--listen={listen}");
        let shown = if listen.is_empty() { "\"\"" } else { listen };
        for (flags, how) in [
            (
                &["--config", &path][..],
                format!("relay.toml: listen {shown}: "),
            ),
            (&[&flag], format!("--listen {shown}: ")),
        ] {
            for more in [&["--check"][..], &[]] {
                let ran = run(&[&["serve"], flags, more].concat());
                assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
                assert!(ran.stderr.contains(&how), "{how}: {ran:?}");
                assert!(ran.stderr.contains(said), "{said}: {ran:?}");
            }
        }
    }
    folder.write(
        "relay.toml",
        format!("[relay]\nlisten = '0.0.0.0:0'\n{ROUTE}"),
    );
    for flags in [
        &["--config", &path, "--allow-anonymous"][..],
        // It goes before the file's.
        &["--config", &path, "--listen=localhost:0"],
        &["--listen=0"],
    ] {
        let ran = run(&[&["serve", "--check"], flags].concat());
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    }
    for (flag, said) in [
        (
            "--allow-host=http://x",
            "(--allow-host): \"http://x\": write a name alone",
        ),
        (
            "--allow-origin=*",
            "(--allow-origin): \"*\": there is no origin for all",
        ),
    ] {
        let ran = run(&["serve", "--check", flag]);
        assert_eq!(ran.status, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(said), "{ran:?}");
        assert!(!ran.stderr.contains("To try"), "{ran:?}");
    }
    let keys = folder.write("keys", "hunter2\nhunter2\n");
    let ran = run(&["serve", "--check", "--provider=groq", "--key-file", &keys]);
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("the same key is there twice"),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
}

#[test]
fn empty_or_sample_token_file_stops_the_start() {
    let folder = Folder::new();
    let sample = format!("ada {}", "0".repeat(64));
    for text in ["", "# NAME SHA256\n", "ada hunter2", &sample] {
        let tokens = folder.write("tokens", text);
        let ran = run(&["serve", "--listen=127.0.0.1:0", "--tokens", &tokens]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
        assert!(
            ran.stderr.contains("--tokens") && !ran.stderr.contains("hunter2"),
            "{ran:?}"
        );
    }
}

#[test]
fn check_says_file_and_line_and_starts_nothing() {
    let folder = Folder::new();
    let right = folder.write("right.toml", ROUTE);
    let ran = run(&["serve", "--config", &right, "--check"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    for (how, status) in [("server", 0), ("stream", 0), ("whole", 2)] {
        let ran = run(&["serve", "--config", &right, "--one-piece", how, "--check"]);
        assert_eq!(ran.status, Some(status), "{ran:?}");
        assert_eq!(
            ran.stderr.contains("\"stream\" or \"server\""),
            status == 2,
            "{ran:?}"
        );
    }
    // What the file says is not said by an option, too.
    for option in [
        "--provider=openai",
        "--base-url=http://127.0.0.1:1/v1",
        "--api-key-env=NONE",
        "--wire=chat",
        "--header=a: b",
        "--query=a=b",
        "--ca-file=none.pem",
        "--client-cert=none.pem",
        "--max-attempts=2",
        "--idle-timeout=1s",
        "--tcp-keepalive=none",
    ] {
        let ran = run(&["serve", "--config", &right, option, "--check"]);
        let name = option.split_once('=').unwrap().0;
        assert_eq!(ran.status, Some(2), "{option}: {ran:?}");
        assert!(
            ran.stderr.contains("--config") && ran.stderr.contains(name),
            "{ran:?}"
        );
    }
    let wrong = folder.write("wrong.toml", "\n[relay]\nkeepalive = 'hunter2'\n");
    let ran = run(&["serve", "--config", &wrong, "--check"]);
    assert_eq!(ran.status, Some(2));
    assert!(
        ran.stderr.contains("--config") && ran.stderr.contains("wrong.toml: line 3: "),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
}

#[test]
fn sample_of_the_guide_is_whole() {
    let text = include_str!("../../src/guide/relay.md");
    let (_, rest) = text.split_once("```toml\n[relay]").expect("a sample");
    let (sample, _) = rest.split_once("```").expect("its end");
    let folder = Folder::new();
    let path = folder.write("relay.toml", format!("[relay]{sample}"));
    let hash = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5";
    folder.write("tokens", format!("ada {hash}"));
    let mut command = program(&["serve", "--config", &path, "--check"]);
    command
        .env("OPENAI_KEY_1", "hunter2")
        .env("OPENAI_KEY_2", "hunter3");
    let ran = Running::start(&mut command).finish();
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
}

#[cfg(unix)]
#[test]
fn hangup_reads_again_and_a_bad_file_changes_nothing() {
    let folder = Folder::new();
    let path = folder.write("relay.toml", ROUTE);
    let relaying = Relaying::start(&["--config", &path]);
    folder.write("relay.toml", "[[route]]\nmodel = 'hunter2");
    relaying.running.signal("HUP");
    // It answers on, and ends as it is told to.
    assert!(relaying.get("/healthz").starts_with("HTTP/1.1 200 "));
    relaying.running.signal("INT");
    let ran = relaying.running.finish();
    assert_eq!(ran.status, Some(130));
    assert!(
        ran.stderr.contains("nothing has changed") && ran.stderr.contains("relay.toml: line 2"),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
}

/// One request on a connection that the relay then closes.
fn ask(address: &str, method: &str, path: &str, more: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

const ASKED: &str = r#"{"model": "demo", "input": "hello", "stream": true, "store": false}"#;

fn delta(number: u32) -> String {
    format!(
        "data: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{number},\"output_index\":0,\"item_id\":\"m\",\"content_index\":0,\"delta\":\"d{number}\"}}\n\n"
    )
}

/// A server whose one answer goes on when it is told to, and how that is said.
#[cfg(unix)]
fn waiting_server() -> (String, std::sync::mpsc::Sender<()>) {
    let (go_on, told) = std::sync::mpsc::channel::<()>();
    let (address, _) = serve(move |listener| {
        let mut stream = accept_request(&listener);
        let created = "data: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\"}}\n\n";
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        stream
            .write_all(format!("{head}{created}{}", delta(1)).as_bytes())
            .expect("a reader");
        let _ = told.recv();
        let end = "data: {\"type\":\"response.completed\",\"sequence_number\":3,\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[]}}\n\n";
        // The relay may be gone.
        let _ = stream.write_all(format!("{}{end}", delta(2)).as_bytes());
    });
    (url(address), go_on)
}

/// A stream whose first delta has come.
#[cfg(unix)]
fn begun(address: &str, more: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: localhost\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n{ASKED}",
        ASKED.len()
    );
    stream.write_all(head.as_bytes()).expect("a request");
    let mut read = String::new();
    while !read.contains("\"d1\"") {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).expect("an answer");
        assert_ne!(count, 0, "{read}");
        read += &String::from_utf8_lossy(&buffer[..count]);
    }
    (stream, read)
}

#[cfg(unix)]
#[test]
fn a_stream_goes_on_with_what_it_began_with_while_the_file_and_the_tokens_change() {
    let folder = Folder::new();
    let (first, go_on) = waiting_server();
    let second = provider(Script::default());
    let of = |url: &str| {
        format!("[relay]\ntokens_file = 'tokens'\n[providers.local]\nbase_url = '{url}'\n")
    };
    let path = folder.write("relay.toml", of(&first));
    // hunter2 and hunter3.
    let ada = "ada f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7\n";
    let bob = "bob fb8c2e2b85ca81eb4350199faddd983cb26af3064614e737ea9f479621cfa57a\n";
    folder.write("tokens", ada);
    let mut relaying = Relaying::start(&["--config", &path]);
    let [with_ada, with_bob] =
        ["hunter2", "hunter3"].map(|token| format!("authorization: Bearer {token}\r\n"));
    let post = |relaying: &Relaying, who: &str| {
        let answer = ask(&relaying.address, "POST", "/v1/responses", who, ASKED);
        answer[9..12].to_owned()
    };
    assert_eq!(post(&relaying, &with_bob), "401");
    let (mut stream, mut read) = begun(&relaying.address, &with_ada);
    folder.write("relay.toml", of(&second.base_url()));
    folder.write("tokens", bob);
    relaying.running.signal("HUP");
    relaying
        .running
        .until_stderr(|text| text.contains("read again: new requests"));
    assert_eq!(post(&relaying, &with_ada), "401");
    assert_eq!(post(&relaying, &with_bob), "200");
    assert_eq!(second.request_count(), 1);
    // What is wrong changes nothing, also where one of the two is right.
    folder.write("relay.toml", of(&first));
    folder.write("tokens", "");
    relaying.running.signal("HUP");
    let said = relaying
        .running
        .until_stderr(|text| text.contains("nothing has changed"));
    assert!(
        said.contains("tokens") && !said.contains("hunter"),
        "{said}"
    );
    assert_eq!(post(&relaying, &with_bob), "200");
    assert_eq!(second.request_count(), 2);
    go_on.send(()).expect("a server");
    stream.read_to_string(&mut read).expect("the rest");
    assert!(
        read.contains("\"d2\"") && read.contains("response.completed"),
        "{read}"
    );
}

#[cfg(unix)]
#[test]
fn sigterm_turns_readiness_refuses_what_is_new_and_ends_what_runs_within_the_grace() {
    let folder = Folder::new();
    let (server, go_on) = waiting_server();
    let text = format!(
        "[relay]\ndrain_notice = '1s'\ngrace = '1s'\n[providers.local]\nbase_url = '{server}'\n"
    );
    let path = folder.write("relay.toml", text);
    let relaying = Relaying::start(&["--config", &path]);
    assert!(relaying.get("/readyz").starts_with("HTTP/1.1 200 "));
    let (mut stream, mut read) = begun(&relaying.address, "");
    relaying.running.signal("TERM");
    // The listener is open for as long as readiness has said so, and until then this may be asked too early.
    while relaying.get("/readyz").starts_with("HTTP/1.1 200 ") {
        std::thread::yield_now();
    }
    assert!(relaying.get("/readyz").starts_with("HTTP/1.1 503 "));
    assert!(relaying.get("/healthz").starts_with("HTTP/1.1 200 "));
    let refused = ask(&relaying.address, "POST", "/v1/responses", "", ASKED);
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(
        refused.contains("server_shutting_down") && refused.contains("retry-after: 1"),
        "{refused}"
    );
    stream.read_to_string(&mut read).expect("the end");
    assert!(
        read.contains("response.failed") && read.contains("server_shutting_down"),
        "{read}"
    );
    assert!(read.ends_with("\r\n0\r\n\r\n"), "{read}");
    assert_eq!(relaying.running.finish().status, Some(0));
    drop(go_on);
}

#[cfg(unix)]
#[test]
fn a_second_sigterm_waits_for_nothing_that_runs() {
    let folder = Folder::new();
    let (server, go_on) = waiting_server();
    let text = format!(
        "[relay]\ndrain_notice = '10m'\ngrace = '10m'\n[providers.local]\nbase_url = '{server}'\n"
    );
    let path = folder.write("relay.toml", text);
    let relaying = Relaying::start(&["--config", &path]);
    let (mut stream, mut read) = begun(&relaying.address, "");
    relaying.running.signal("TERM");
    // Two that come together are one.
    while relaying.get("/readyz").starts_with("HTTP/1.1 200 ") {
        std::thread::yield_now();
    }
    relaying.running.signal("TERM");
    stream.read_to_string(&mut read).expect("the end");
    assert!(
        read.contains("response.failed") && read.contains("server_shutting_down"),
        "{read}"
    );
    assert!(read.ends_with("\r\n0\r\n\r\n"), "{read}");
    assert_eq!(relaying.running.finish().status, Some(0));
    drop(go_on);
}

#[test]
fn localhost_is_both_addresses_of_this_machine() {
    let relaying = Relaying::listening("localhost:0", &[]);
    assert!(relaying.get("/healthz").starts_with("HTTP/1.1 200 "));
    let Some((address, port)) = relaying.address.rsplit_once(':') else {
        panic!("{}", relaying.address);
    };
    assert_eq!(address, "127.0.0.1");
    // Where the machine has it.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let answer = ask(&format!("[::1]:{port}"), "GET", "/healthz", "", "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

/// As many as `SLOW_CONNECTIONS` says; a process has that many sockets here and there.
#[cfg(unix)]
#[test]
fn slow_connections_keep_nobody_out_and_end_with_408() {
    let count =
        std::env::var("SLOW_CONNECTIONS").map_or(1000, |count| count.parse().expect("a number"));
    let folder = Folder::new();
    let server = provider(Script::default());
    let text = format!(
        "[relay]\nhead_time = '3s'\n[providers.local]\nbase_url = '{}'\n",
        server.base_url()
    );
    let path = folder.write("relay.toml", text);
    let relaying = Relaying::start(&["--config", &path]);
    let mut slow: Vec<_> = (0..count)
        .map(|number| {
            let stream = TcpStream::connect(&relaying.address);
            let mut stream = stream.unwrap_or_else(|error| panic!("connection {number}: {error}"));
            stream.write_all(b"POST /v1/resp").expect("a reader");
            stream
        })
        .collect();
    let answer = ask(&relaying.address, "POST", "/v1/responses", "", ASKED);
    assert!(answer.contains("response.completed"), "{answer}");
    for stream in &mut slow {
        let mut answer = Vec::new();
        // It may be reset behind its answer.
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.starts_with(b"HTTP/1.1 408 "),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert!(relaying.get("/healthz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn keys_of_a_file_or_of_standard_input_ask_and_are_never_shown() {
    let folder = Folder::new();
    let keys = folder.write("keys", "# ours\n\nsk-hunter2-first\nsk-hunter2-second\n");
    let asked = |flags: &[&str], stdin: Option<&str>| {
        let refusal =
            Reply::error(http::StatusCode::TOO_MANY_REQUESTS).with_header("retry-after", "3600");
        let server = provider(Script::new([refusal]));
        let url = server.base_url();
        let flags = [
            &["serve", "--listen=127.0.0.1:0", "--base-url", &url, "-vv"],
            flags,
        ]
        .concat();
        let mut command = program(&flags);
        let relaying = Relaying::of(&mut command, stdin);
        for _ in 0..2 {
            ask(&relaying.address, "POST", "/v1/responses", "", ASKED);
        }
        let shown: Vec<_> = server
            .requests()
            .iter()
            .map(|request| {
                request.headers["authorization"]
                    .to_str()
                    .expect("text")
                    .to_owned()
            })
            .collect();
        drop(server);
        shown
    };
    let both = ["Bearer sk-hunter2-first", "Bearer sk-hunter2-second"];
    assert_eq!(asked(&["--key-file", &keys], None), both);
    let typed = "sk-hunter2-first\nsk-hunter2-second\n";
    assert_eq!(asked(&["--key-file=-"], Some(typed)), both);
    for (flags, said) in [
        (
            &["--key-file", &folder.write("empty", "# none\n")][..],
            "no key in it",
        ),
        (
            &["--key-file", &folder.path("nowhere")],
            "can't read --key-file",
        ),
        (
            &["--key-file", &folder.write("torn", "torn\u{1}key\n")],
            "torn: the token holds a character that a header can't",
        ),
        (
            &["--key-file=-", "--tokens=-"],
            "standard input can't be both",
        ),
        (&["--key-file", &keys, "--api-key-env=KEY"], "--api-key-env"),
    ] {
        let flags = [
            &[
                "serve",
                "--listen=127.0.0.1:0",
                "--base-url=http://127.0.0.1:9/v1",
            ],
            flags,
        ]
        .concat();
        let ran = run(&flags);
        assert_eq!(ran.status, Some(2), "{ran:?}");
        assert!(
            ran.stderr.contains(said) && !ran.stderr.contains("hunter2"),
            "{said}: {ran:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn hangup_reads_the_keys_again_and_none_is_shown() {
    let folder = Folder::new();
    let keys = folder.write("keys", "sk-hunter2-first\n");
    // It repeats the key that it refuses.
    let refusal = Reply::json(serde_json::json!({"error": {"message": "bad sk-hunter2-second"}}));
    let refusal = refusal.with_status(http::StatusCode::UNAUTHORIZED);
    let server = provider(Script::new([Reply::default(), refusal]));
    let url = server.base_url();
    let mut relaying = Relaying::start(&["--base-url", &url, "--key-file", &keys, "-vv"]);
    let post = |relaying: &Relaying| ask(&relaying.address, "POST", "/v1/responses", "", ASKED);
    post(&relaying);
    folder.write("keys", "sk-hunter2-second\n");
    relaying.running.signal("HUP");
    let read_again = |text: &str| text.contains("read again: new requests");
    relaying.running.until_stderr(read_again);
    post(&relaying);
    folder.write("keys", "# none\n");
    relaying.running.signal("HUP");
    let nothing =
        |text: &str| text.contains("nothing has changed") && text.contains("no key in it");
    relaying.running.until_stderr(nothing);
    post(&relaying);
    let requests = server.requests();
    let sent: Vec<_> = requests
        .iter()
        .map(|it| &it.headers["authorization"])
        .collect();
    assert_eq!(sent[0], "Bearer sk-hunter2-first");
    assert!(
        sent.len() > 2
            && sent[1..]
                .iter()
                .all(|key| *key == "Bearer sk-hunter2-second"),
        "{sent:?}"
    );
    relaying.running.signal("INT");
    let ran = relaying.running.finish();
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
}

#[test]
fn short_help_has_what_most_need_and_long_help_all() {
    let [short, long] = ["-h", "--help"].map(|flag| run(&["serve", flag]).stdout);
    for flag in [
        "--listen",
        "--config",
        "--tokens",
        "--allow-anonymous",
        "--provider",
        "--base-url",
        "--key-file",
        "--api-key-env",
    ] {
        assert!(
            short.contains(flag) && long.contains(flag),
            "{flag}: {short}"
        );
    }
    for flag in [
        "--idle-timeout",
        "--tcp-keepalive",
        "--client-cert",
        "--store-file",
        "--claim-time",
        "--query",
        "--max-attempts",
    ] {
        assert!(
            !short.contains(flag) && long.contains(flag),
            "{flag}: {short}"
        );
    }
}
