//! Started with a stream closed, as a shell does that is told `>&-`.

use std::{
    fs::OpenOptions,
    net::{TcpListener, TcpStream},
    process::Command,
};

use actix_responses::loopback::{Loopback, Reply};
use tokio::time::Instant;

use crate::support::{
    PATIENCE, Ran, Running, always, asking, completed, program, run, sse, text_delta,
};

const CLOSED: &str = "actix-responses: can't write to standard output: it is closed\n";

/// The program as a shell starts it that redirects its streams so.
fn redirected(arguments: &[&str], redirection: &str) -> Command {
    let of_program = program(arguments);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$@\" {redirection}"), "sh"]);
    shell
        .arg(of_program.get_program())
        .args(of_program.get_args());
    for (name, value) in of_program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

fn ran(arguments: &[&str], redirection: &str) -> Ran {
    Running::start(&mut redirected(arguments, redirection)).finish()
}

fn answering() -> Loopback {
    always(Reply::sse(sse(&[text_delta("one"), completed()])))
}

#[test]
fn without_stdout_nothing_is_asked() {
    let provider = answering();
    let base_url = provider.base_url();
    for arguments in [
        &asking(&base_url, &[])[..],
        &asking(&base_url, &["--json"]),
        &["models", "--base-url", &base_url],
        &["decode"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
        &["ask", "-h"],
    ] {
        let ran = ran(arguments, ">&-");
        assert_eq!(
            (ran.status, ran.stderr.as_str()),
            (Some(1), CLOSED),
            "{arguments:?}"
        );
    }
    assert_eq!(provider.request_count(), 0);
    // With all of them closed there is nobody to tell.
    assert_eq!(ran(&asking(&base_url, &[]), ">&- 2>&- <&-").status, Some(1));
}

/// As Python and node give a child's stdout that is not wanted.
#[test]
fn who_wants_no_output_gives_a_null_device() {
    let provider = answering();
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let mut command = program(&asking(&provider.base_url(), &[]));
    let ran = command.stdout(null.expect("a device")).output();
    let ran = ran.expect("the program");
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    assert_eq!(provider.request_count(), 1);
}

#[test]
fn stdin_and_stderr_may_be_closed() {
    for redirection in ["<&-", "2>&-", "<&- 2>&-"] {
        // Nothing of the program goes where its sockets are.
        for (reply, status, answer) in [
            (
                Reply::sse(sse(&[text_delta("one"), completed()])),
                Some(0),
                "one\n",
            ),
            (Reply::sse(sse(&[text_delta("half")])), Some(1), "half\n"),
        ] {
            let provider = always(reply);
            let ran = ran(&asking(&provider.base_url(), &["-vv"]), redirection);
            assert_eq!(
                (ran.status, ran.stdout.as_str()),
                (status, answer),
                "{redirection}"
            );
            let body = provider.requests()[0]
                .json()
                .expect("the body that was meant");
            assert_eq!(body["input"][0]["content"][0]["text"], "hello");
        }
    }
}

/// Who starts it so knows the port.
#[test]
fn servers_go_on_without_stdout() {
    for server in ["loopback", "serve"] {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("a port");
        drop(free);
        let listen = format!("--listen={address}");
        let running = Running::start(&mut redirected(&[server, &listen], ">&-"));
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{server}");
        }
        let ran = run(&asking(&format!("http://{address}/v1"), &[]));
        assert_eq!(ran.status, Some(0), "{server}: {ran:?}");
        running.signal("INT");
        let ran = running.finish();
        assert_eq!(ran.status, Some(130), "{server}: {ran:?}");
    }
}
