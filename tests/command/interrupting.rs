//! Signals, and readers who have had enough.
#![cfg(unix)]

use std::{
    io::{BufRead, BufReader, Write},
    sync::mpsc,
    time::Duration,
};

use actix_responses::loopback::{Chunks, Reply, Side};
use http::StatusCode;
use serde_json::json;

use crate::support::{
    COMPLETED, DELTA, FIRST, HEAD, PATIENCE, Running, accept_request, always, asking, chunk,
    closed, completed, program, serve, sse, text_delta, url, whole_answer,
};

#[test]
fn interrupt_cancels_the_request_and_closes_its_connection() {
    let stream = sse(&[text_delta("half"), completed()]);
    for signal in ["INT", "TERM"] {
        let provider = always(Reply::sse(stream.clone()).stall_after_events(1));
        let base_url = provider.base_url();
        let mut running = Running::start(&mut program(&asking(&base_url, &["--json"])));
        running.until_stdout(|text| text.contains("half"));
        running.signal(signal);
        let ran = running.finish();
        assert_eq!(
            (ran.end(), ran.status),
            (json!({"type": "cancelled"}), Some(130))
        );
        assert_eq!(ran.stderr, "");
        assert_eq!(closed(&provider, FIRST).by, Side::Client);
    }
}

#[test]
fn interrupted_text_ends_its_line() {
    let stream = sse(&[text_delta("half"), completed()]);
    let provider = always(Reply::sse(stream).stall_after_events(1));
    let mut running = Running::start(&mut program(&asking(&provider.base_url(), &[])));
    running.until_stdout(|text| text == "half");
    running.signal("INT");
    let ran = running.finish();
    assert_eq!((ran.stdout.as_str(), ran.status), ("half\n", Some(130)));
}

#[test]
fn interrupt_is_heard_before_the_answer_and_between_attempts() {
    let busy = Reply::error(StatusCode::TOO_MANY_REQUESTS).with_header("retry-after", "60");
    for reply in [Reply::default().never_head(), busy] {
        let provider = always(reply);
        let base_url = provider.base_url();
        let running = Running::start(&mut program(&asking(&base_url, &["--json"])));
        assert!(provider.wait_until(PATIENCE, |provider| provider.request_count() == 1));
        running.signal("INT");
        let ran = running.finish();
        assert_eq!(
            (ran.end()["type"].clone(), ran.status),
            (json!("cancelled"), Some(130))
        );
    }
}

/// A stream that goes on for longer than a test waits, and is larger than a pipe.
fn endless() -> Reply {
    let deltas = vec![text_delta(&"word ".repeat(2_000)); 4_000];
    Reply::sse(sse(&deltas)).with_chunks(Chunks::Event)
}

#[test]
fn closed_stdout_cancels_the_request_in_silence() {
    for arguments in [&[][..], &["--json"]] {
        let provider = always(endless().with_pace(Duration::from_millis(5)));
        let base_url = provider.base_url();
        let mut running = Running::start_unread(&mut program(&asking(&base_url, arguments)));
        let mut stdout = BufReader::new(running.take_stdout());
        // What `head -c 1` does.
        assert!(!stdout.fill_buf().expect("output").is_empty());
        drop(stdout);
        assert_eq!(closed(&provider, FIRST).by, Side::Client);
        let ran = running.finish();
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    }
}

/// Nobody has had enough of it: it is lost.
#[cfg(target_os = "linux")]
#[test]
fn a_stdout_that_takes_nothing_is_a_failure() {
    let provider = always(Reply::sse(sse(&[text_delta("text"), completed()])));
    let base_url = provider.base_url();
    for arguments in [&[][..], &["--json"]] {
        let full = std::fs::File::create("/dev/full").expect("a full device");
        let mut command = program(&asking(&base_url, arguments));
        let ran = command.stdout(full).output().expect("the program");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(
            said.contains("can't write to standard output: No space left"),
            "{said}"
        );
        assert_eq!(ran.status.code(), Some(1));
    }
}

#[test]
fn interrupt_is_heard_while_nobody_reads_stdout() {
    let provider = always(endless());
    let mut running = Running::start_unread(&mut program(&asking(&provider.base_url(), &[])));
    let stdout = running.take_stdout();
    // As soon as the pipe, the mailbox, the log and the sockets are full, the server can write no more; long before that,
    // the program can't.
    assert!(provider.wait_until(PATIENCE, |provider| {
        provider
            .connection(FIRST)
            .is_some_and(|record| record.bytes_written > 1 << 20)
    }));
    running.signal("INT");
    let ran = running.finish();
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(130), ""));
    assert_eq!(closed(&provider, FIRST).by, Side::Client);
    drop(stdout);
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process stands still for that long, which no clock of ours can be told"
)]
fn stand_still(time: Duration) {
    std::thread::sleep(time);
}

/// A process that was stopped for longer than a limit finds its timers due, and the answer in its socket.
#[test]
fn what_came_while_the_process_was_stopped_is_not_late() {
    for flag in [
        "--idle-timeout",
        "--response-head-timeout",
        "--progress-timeout",
    ] {
        let is_head = flag == "--response-head-timeout";
        let (seen, is_seen) = mpsc::channel::<()>();
        let (go, goes_on) = mpsc::channel::<()>();
        let (address, _) = serve(move |listener| {
            let mut stream = accept_request(&listener);
            if !is_head {
                stream
                    .write_all(format!("{HEAD}{}", chunk(DELTA)).as_bytes())
                    .unwrap();
            }
            seen.send(()).unwrap();
            goes_on.recv().unwrap();
            let answer = match is_head {
                true => whole_answer(),
                false => format!("{}0\r\n\r\n", chunk(COMPLETED)),
            };
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let base_url = url(address);
        let arguments = [
            &asking(&base_url, &["--max-attempts", "1"])[..],
            &[flag, "400ms"],
        ]
        .concat();
        let mut running = Running::start(&mut program(&arguments));
        match is_head {
            true => is_seen.recv_timeout(PATIENCE).unwrap(),
            false => _ = running.until_stdout(|text| text.contains("some")),
        }
        running.signal("STOP");
        go.send(()).unwrap();
        stand_still(Duration::from_millis(600));
        running.signal("CONT");
        let ran = running.finish();
        assert_eq!(
            (ran.stdout.trim(), ran.status),
            ("some text", Some(0)),
            "{flag}: {}",
            ran.stderr
        );
    }
}
