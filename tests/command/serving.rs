//! The embedded provider alone.

use serde_json::json;

use crate::support::{Folder, Ran, Running, completed, program, run, sse, text_delta};

struct Serving {
    running: Running,
    base_url: String,
}

impl Serving {
    fn start(arguments: &[&str]) -> Self {
        let mut running = Running::start(&mut program(&[&["loopback"], arguments].concat()));
        let line = running.until_stdout(|text| text.ends_with('\n'));
        assert!(line.starts_with("http://127.0.0.1:"), "{line}");
        Self {
            running,
            base_url: line.trim_end().to_owned(),
        }
    }

    fn ask(&self) -> Ran {
        run(&[
            "ask",
            "hello",
            "--json",
            "--max-attempts=2",
            "--base-url",
            &self.base_url,
        ])
    }
}

#[test]
fn faults_are_flags() {
    let folder = Folder::new();
    let recording = folder.write("recorded.sse", sse(&[text_delta("recorded"), completed()]));
    for (arguments, status, kind) in [
        (&[][..], 0, None),
        (&["--hold-open", "--chunk=1"], 0, None),
        (&["--recording", &recording], 0, None),
        (
            &["--status=429", "--header=retry-after-ms: 1", "--times=1"],
            0,
            None,
        ),
        (&["--status=400"], 1, Some("invalid_request")),
        (&["--cut-after-bytes=100"], 1, Some("truncated")),
        (&["--cut-after-events=3"], 1, Some("truncated")),
        (&["--end-after-events=3"], 1, Some("truncated")),
        (&["--listen=localhost:0", "--tool-calls"], 0, None),
    ] {
        let serving = Serving::start(arguments);
        let ran = serving.ask();
        assert_eq!(ran.status, Some(status), "{arguments:?}: {ran:?}");
        assert_eq!(ran.end()["error"]["kind"].as_str(), kind, "{arguments:?}");
    }
}

#[test]
fn script_says_what_each_request_gets() {
    let folder = Folder::new();
    folder.write("recorded.sse", sse(&[text_delta("recorded"), completed()]));
    let script = json!({"replies": [{"status": 503}, {"body": {"sse_file": "recorded.sse"}}]});
    let script = folder.write("script.json", script.to_string());
    let serving = Serving::start(&["--script", &script]);
    let ran = serving.ask();
    assert_eq!(
        (ran.events()[1]["delta"].clone(), ran.status),
        (json!("recorded"), Some(0))
    );
}

#[test]
fn help_shows_the_form_of_a_script() {
    let help = run(&["loopback", "--help"]).stdout;
    for said in ["\"replies\": [", "\"repeat_last\"", "--end-after-events"] {
        assert!(help.contains(said), "{help}");
    }
}

#[test]
fn address_that_is_not_of_the_machines_loopback_is_refused() {
    for address in ["0.0.0.0:0", "example.com:80", "localhost", "localhost:x"] {
        let ran = run(&["loopback", "--listen", address]);
        assert_eq!(ran.status, Some(2), "{address}");
        assert!(ran.stderr.contains("localhost:PORT"), "{ran:?}");
    }
}

#[test]
fn taken_port_is_named_with_the_way_out() {
    let serving = Serving::start(&[]);
    let (_, port) = serving
        .base_url
        .trim_end_matches("/v1")
        .rsplit_once(':')
        .unwrap();
    let ran = run(&["loopback", "--port", port]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
    for named in [port, "another program listens", "--port or --listen"] {
        assert!(ran.stderr.contains(named), "{ran:?}");
    }
}

#[cfg(unix)]
#[test]
fn requests_are_logged_until_an_interrupt() {
    let serving = Serving::start(&[]);
    serving.ask();
    serving.running.signal("INT");
    let ran = serving.running.finish();
    assert_eq!(ran.status, Some(130));
    assert!(ran.stderr.contains("/v1/responses"), "{ran:?}");

    let serving = Serving::start(&["--quiet"]);
    serving.ask();
    serving.running.signal("TERM");
    assert_eq!(serving.running.finish().stderr, "");
}
