//! Peers that break, stand still or are killed: what the command says of each, at once. The runtime's part is in `tests/faults`.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
    time::Duration,
};

use actix_responses::loopback::{LoopbackOptions, Reply, Script};
use tokio::time::Instant;

use crate::support::{
    DELTA, HEAD, PATIENCE, ServerProcess, accept, accept_request, always, asking, chunk, program,
    run, serve, until_closed, url,
};

/// The kind of the error that the command's last event tells, in good time.
fn reported_kind(base_url: &str, arguments: &[&str]) -> String {
    let begun = Instant::now();
    let arguments = [&["--json", "--max-attempts=1"], arguments].concat();
    let ran = run(&asking(base_url, &arguments));
    assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
    assert_eq!(ran.status, Some(1), "{ran:?}");
    let kind = ran.end()["error"]["kind"].as_str().map(str::to_owned);
    kind.unwrap_or_else(|| panic!("{ran:?}"))
}

#[test]
fn reset_in_the_middle_is_reported() {
    // In the middle of a line, and between two events.
    for bytes in [700, 20] {
        let loopback = always(Reply::default().reset_after_bytes(bytes));
        let kind = reported_kind(&loopback.base_url(), &[]);
        assert!(["connection", "truncated"].contains(&&*kind), "{kind}");
    }
}

#[test]
fn killed_server_process_is_reported_at_once() {
    let mut options = LoopbackOptions::default();
    options.script = Script::always(Reply::default().stall_after_events(4));
    let name = "peers::killed_server_process_is_reported_at_once";
    let mut server = ServerProcess::start(name, options);
    // What would end it without a word of the death, however busy the machine is.
    let idle = Duration::from_secs(10);
    let arguments = ["--json", "--max-attempts=1", "--idle-timeout=10s"];
    let mut child = program(&asking(&server.base_url, &arguments))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    // Behind the head, which may come alone.
    let mut read = String::new();
    while !read.contains(r#"{"type":"created""#) {
        assert_ne!(stdout.read_line(&mut read).expect("an event"), 0, "{read}");
    }
    server.kill();
    let killed = Instant::now();
    let last = stdout.lines().last().expect("an end").expect("a line");
    let status = child.wait().expect("its end");
    assert!(killed.elapsed() < idle, "{:?}", killed.elapsed());
    assert_eq!(status.code(), Some(1));
    assert!(
        last.contains(r#""kind":"connection""#) || last.contains(r#""kind":"truncated""#),
        "{last}"
    );
}

#[test]
fn server_that_goes_silent_after_a_part_is_given_up_at_the_idle_timeout() {
    let (address, _) = serve(|listener| {
        let mut connection = accept_request(&listener);
        let begun = format!("{HEAD}{}", chunk(DELTA));
        connection.write_all(begun.as_bytes()).expect("a reader");
        until_closed(&mut connection);
    });
    let kind = reported_kind(&url(address), &["--idle-timeout=300ms"]);
    assert_eq!(kind, "idle_timeout");
}

#[test]
fn tls_handshake_that_stalls_ends_at_the_connect_timeout() {
    let (address, _) = serve(|listener| until_closed(&mut accept(&listener)));
    let base_url = format!("https://{address}/v1");
    let kind = reported_kind(&base_url, &["--connect-timeout=300ms"]);
    assert_eq!(kind, "connect_timeout");
}
