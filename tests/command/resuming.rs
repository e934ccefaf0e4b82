//! Answers in the background, which outlive the command.
#![cfg(unix)]

use actix_responses::loopback::{DefaultAnswer, Reply, Script};
use http::StatusCode;

use crate::support::{Running, asking, program, provider, run};

#[test]
fn a_killed_ask_is_gone_on_with() {
    let provider = provider(Script::new([Reply::default().stall_after_events(6)]));
    let base_url = provider.base_url();
    let mut running = Running::start(&mut program(&asking(&base_url, &["--background"])));
    let said = running.until_stderr(|said| said.ends_with('\n'));
    let id = said
        .split_whitespace()
        .find(|word| word.starts_with("resp_"));
    let id = id
        .expect("an id")
        .trim_end_matches([',', ';', ':', '.'])
        .to_owned();
    running.signal("KILL");
    running.finish();

    let request = provider.requests()[0].json().expect("a body");
    assert_eq!(
        (&request["background"], &request["store"]),
        (&true.into(), &true.into())
    );
    let answer = DefaultAnswer::to_request(&request, 1);
    let resume =
        |more: &[&str]| run(&[&["ask", "--base-url", &base_url, "--resume", &id], more].concat());
    let ran = resume(&[]);
    assert_eq!(ran.stdout, answer.text.concat() + "\n", "{}", ran.stderr);
    assert_eq!((ran.status, &*ran.stderr), (Some(0), ""));
    // What stood before the event is known; from there on it goes on.
    let events: Vec<serde_json::Value> = answer
        .responses_events()
        .iter()
        .map(|event| serde_json::from_str(&event.data).expect("JSON"))
        .collect();
    let is_delta = |event: &&serde_json::Value| event["type"] == "response.output_text.delta";
    let first = events
        .iter()
        .position(|event| is_delta(&event))
        .expect("a delta");
    let deltas = events[first + 1..].iter().filter(is_delta);
    let rest: String = deltas
        .map(|event| event["delta"].as_str().expect("a text"))
        .collect();
    let ran = resume(&["--after", &first.to_string()]);
    assert_eq!(ran.stdout, rest + "\n", "{}", ran.stderr);
    assert_eq!((ran.status, &*ran.stderr), (Some(0), ""));
    assert_eq!(
        provider
            .requests()
            .iter()
            .filter(|it| it.method == "POST")
            .count(),
        1
    );

    // Behind its last event nothing follows, which is said at once.
    let asked = provider.requests().len();
    for after in [events.len() - 1, events.len() + 7] {
        let ran = resume(&["--after", &after.to_string()]);
        assert_eq!((ran.status, &*ran.stdout), (Some(1), ""));
        let said = format!("nothing follows the event {after} of {id}");
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    }
    assert_eq!(provider.requests().len(), asked + 2);

    let ran = run(&["ask", "--base-url", &base_url, "--resume", "resp_unknown"]);
    assert_eq!((ran.status, &*ran.stdout), (Some(1), ""));
    assert!(ran.stderr.contains("not found"), "{}", ran.stderr);
}

#[test]
fn an_interrupted_answer_says_how_it_is_gone_on_with() {
    let provider = provider(Script::new([Reply::default().stall_after_events(18)]));
    let base_url = provider.base_url();
    let background = asking(&base_url, &["--background"]);
    let mut running = Running::start(&mut program(&background));
    let said = running.until_stderr(|said| said.ends_with('\n'));
    let begun = running.until_stdout(|text| !text.is_empty());
    running.signal("INT");
    let ran = running.finish();
    assert_eq!(ran.status, Some(130));
    let typed = ran.stderr[said.len()..].split('`').nth(1);
    let typed: Vec<_> = typed.expect("a command").split(' ').collect();
    assert_eq!(typed[..2], ["ask", "--resume"], "{}", ran.stderr);
    assert_eq!(typed[3..], ["--after", "17"], "{}", ran.stderr);

    let rest = run(&[&typed, &["--base-url", &base_url][..]].concat());
    assert_eq!((rest.status, &*rest.stderr), (Some(0), ""));
    let whole = run(&["ask", "--base-url", &base_url, "--resume", typed[2]]);
    let both = ran.stdout.trim_end_matches('\n').to_owned() + &rest.stdout;
    assert_eq!(both, whole.stdout, "begun with {begun:?}");
}

/// An answer whose stream broke at an event, which its server then knows nothing of, and another that hangs.
fn given_up(cut: usize) -> Script {
    Script::new([
        Reply::default().cut_after_events(cut),
        Reply::error(StatusCode::NOT_FOUND).with_path("/responses/"),
        Reply::default().stall_after_events(18),
    ])
}

#[test]
fn an_answer_that_begins_anew_is_gone_on_with_by_its_own_id() {
    // In the second the first answer had no output: it is void in silence.
    for (cut, is_told) in [(18, true), (2, false)] {
        let provider = provider(given_up(cut));
        let base_url = provider.base_url();
        let arguments = ["--background", "--retry-after-output", "restart"];
        let mut running = Running::start(&mut program(&asking(&base_url, &arguments)));
        let is_both = |said: &str| said.matches("goes on with it").count() == 2;
        let said = running.until_stderr(is_both);
        running.until_stdout(|text| text.matches("You said").count() == 1 + usize::from(is_told));
        running.signal("INT");
        let ran = running.finish();
        assert_eq!(ran.status, Some(130));
        assert_eq!(said.contains("restarted"), is_told, "{said}");
        let words = said.split([' ', ';', '`', '\n']);
        let mut ids: Vec<_> = words.filter(|word| word.starts_with("resp_")).collect();
        ids.dedup();
        assert_eq!(ids.len(), 2, "{said}");
        let typed = ran.stderr[said.len()..].split('`').nth(1);
        let expected = format!("ask --resume {} --after 17", ids[1]);
        assert_eq!(typed, Some(&*expected), "{}", ran.stderr);
        let typed: Vec<_> = expected.split(' ').collect();
        let rest = run(&[&typed, &["--base-url", &base_url][..]].concat());
        assert_eq!((rest.status, &*rest.stderr), (Some(0), ""));
    }
}

#[test]
fn an_answer_that_begins_anew_has_no_id_until_it_is_known() {
    let provider = provider(Script::new([
        Reply::default().cut_after_events(18),
        Reply::error(StatusCode::NOT_FOUND).with_path("/responses/"),
        Reply::default().stall_after_events(0),
    ]));
    let base_url = provider.base_url();
    let arguments = ["--background", "--retry-after-output", "restart"];
    let mut running = Running::start(&mut program(&asking(&base_url, &arguments)));
    running.until_stderr(|said| said.contains("attempt 3 begins"));
    running.signal("INT");
    let ran = running.finish();
    assert_eq!(ran.status, Some(130));
    assert!(!ran.stderr.contains("goes on from here"), "{}", ran.stderr);
}

#[test]
fn the_embedded_provider_keeps_nothing_for_later() {
    for arguments in [
        &["ask", "hello", "--background"][..],
        &["ask", "--resume", "resp_1"],
    ] {
        let ran = run(arguments);
        assert_eq!((ran.status, &*ran.stdout), (Some(2), ""), "{arguments:?}");
        assert!(ran.stderr.contains("loopback"), "{}", ran.stderr);
    }
}

#[test]
fn what_goes_with_a_resumed_answer_and_what_does_not() {
    for (arguments, said) in [
        (
            &["--resume", "resp_1", "hello"][..],
            "'--model <NAME>' cannot be used with '--resume <ID>'",
        ),
        (
            &["--resume", "resp_1", "--background"],
            "cannot be used with '--background'",
        ),
        (&["--after", "3", "hello"], "--resume"),
        (&["--background", "--store=false", "hello"], "--store=false"),
        (&["--resume", ".."], "no id of a response"),
    ] {
        let more = ["ask", "--base-url", "http://127.0.0.1:9/v1", "--model", "m"];
        let more = if arguments.contains(&"hello") {
            &more[..]
        } else {
            &more[..3]
        };
        let ran = run(&[more, arguments].concat());
        assert_eq!(ran.status, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
}
