//! `serve`: the relay as a command.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::support::{Folder, Running, program, run};

const ROUTE: &str = "[providers.local]\nbase_url = 'http://127.0.0.1:9/v1'\n";

struct Relaying {
    running: Running,
    address: String,
}

impl Relaying {
    fn start(arguments: &[&str]) -> Self {
        let mut running = Running::start(&mut program(
            &[&["serve", "--listen=127.0.0.1:0"], arguments].concat(),
        ));
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
