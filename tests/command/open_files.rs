//! Too few open files: what runs then says so, and never panics.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    thread,
};

use actix_responses::loopback::Script;

use crate::support::{PATIENCE, Ran, Running, asking, program, provider, run};

/// The program with at most so many open files.
fn with_files(limit: u32, arguments: &[&str]) -> Command {
    let program = program(arguments);
    let mut shell = Command::new("sh");
    let script = format!("ulimit -n {limit}; exec \"$@\"");
    shell.args(["-c", &script, "sh"]).env_clear();
    shell.arg(program.get_program()).args(program.get_args());
    shell
}

/// Whether it did what it was to do; if not, it has said what there was too little of.
fn succeeded(limit: u32, ran: &Ran) -> bool {
    let said = ran.stderr.to_lowercase();
    assert!(!said.contains("panicked"), "{limit}: {said}");
    if ran.status == Some(0) {
        return true;
    }
    assert!(matches!(ran.status, Some(1 | 2)), "{limit}: {ran:?}");
    assert!(said.contains("too many open files"), "{limit}: {ran:?}");
    false
}

#[test]
fn a_question_is_answered_or_too_few_files_are_named() {
    let outside = provider(Script::default());
    let base_url = outside.base_url();
    let fixed = ["ask", "hi", "--max-attempts=1", "--connect-timeout=100ms"];
    for base_url in [None, Some(&*base_url)] {
        let asked = base_url.into_iter().flat_map(|url| ["--base-url", url]);
        let arguments: Vec<_> = fixed.into_iter().chain(asked).collect();
        // With fewer the system can't load the program.
        let limits: Vec<_> = (4..=64).collect();
        let mut answered = Vec::new();
        for limits in limits.chunks(16) {
            let start = |limit| Running::start(&mut with_files(limit, &arguments));
            let running: Vec<_> = limits.iter().map(|limit| (*limit, start(*limit))).collect();
            for (limit, running) in running {
                answered.extend(succeeded(limit, &running.finish()).then_some(limit));
            }
        }
        // From some limit on it is always answered.
        let least = answered[0];
        assert!(least < 40, "{base_url:?}: {least}");
        assert_eq!(answered, (least..=64).collect::<Vec<_>>(), "{base_url:?}");
    }
}

#[test]
fn a_question_to_a_provider_without_files_is_told_so_at_once() {
    let mut serving = Running::start(&mut with_files(24, &["loopback", "--hold-open"]));
    let base_url = serving.until_stdout(|text| text.ends_with('\n'));
    // Each has its answer, and its connection is held open behind it.
    let base_url = base_url.trim_end();
    let address = base_url
        .trim_start_matches("http://")
        .trim_end_matches("/v1");
    let held: Vec<_> = (0..24)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("a connection");
            send_request(&mut stream);
            let mut first = [0; 12];
            stream.read_exact(&mut first).expect("an answer");
            assert!(
                ["HTTP/1.1 200", "HTTP/1.1 503"]
                    .map(str::as_bytes)
                    .contains(&&first[..])
            );
            stream
        })
        .collect();
    let ran = run(&asking(base_url, &["--max-attempts=1"]));
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(
        ran.stderr.contains("too many open files (limit 24)"),
        "{ran:?}"
    );
    drop(held);
}

fn send_request(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "POST /v1/responses HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let request = format!("{head}content-length: 13\r\n\r\n{{\"model\":\"m\"}}");
    // Who is refused may be so before this.
    let _ = stream.write_all(request.as_bytes());
}

/// What a client gets that sends a request and reads to the end.
fn answer(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    send_request(&mut stream);
    let mut answer = String::new();
    // What has come stays there if the connection is reset behind it.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_provider_serves_two_hundred_clients_with_few_files() {
    let mut started = Vec::new();
    for limit in 4..=64 {
        let mut serving = Running::start(&mut with_files(limit, &["loopback"]));
        let line = serving.until_stdout_or_end(|text| text.ends_with('\n'));
        let Some(base_url) = line else {
            assert!(!succeeded(limit, &serving.finish()));
            continue;
        };
        started.push(limit);
        if ![started[0], 24, 64].contains(&limit) {
            continue;
        }
        let address = base_url
            .trim_start_matches("http://")
            .trim_end_matches("/v1\n");
        let clients: Vec<_> = (0..200)
            .map(|_| {
                let address = address.to_owned();
                thread::spawn(move || answer(&address))
            })
            .collect();
        let named = format!("too many open files (limit {limit})");
        for client in clients {
            let answer = client.join().expect("an answer");
            let is_whole = answer.starts_with("HTTP/1.1 200 ");
            let is_told = answer.starts_with("HTTP/1.1 503 ") && answer.contains(&named);
            assert!(is_whole || is_told, "{limit}: {answer}");
        }
        assert!(answer(address).starts_with("HTTP/1.1 200 "), "{limit}");

        // Those that say nothing keep nobody out who does.
        let silent = || TcpStream::connect(address).expect("a connection");
        let silent: Vec<_> = (0..50).map(|_| silent()).collect();
        let ran = run(&asking(base_url.trim_end(), &[]));
        assert_eq!(ran.status, Some(0), "{limit}: {ran:?}");
        drop(silent);
        serving.signal("INT");
        let ran = serving.finish();
        assert_eq!(ran.status, Some(130), "{limit}: {ran:?}");
        assert!(ran.stderr.contains(&named), "{limit}: {ran:?}");
    }
    assert_eq!(started, (started[0]..=64).collect::<Vec<_>>());
}
