//! Arguments that can't be meant.

use crate::support::{Folder, Running, program, run, run_with_stdin};

/// Runs it and checks that nothing was printed but an error that names something.
fn check(arguments: &[&str], named: &[&str]) {
    let ran = run(arguments);
    assert_eq!(
        (ran.status, ran.stdout.as_str()),
        (Some(2), ""),
        "{arguments:?}: {ran:?}"
    );
    for name in named {
        assert!(
            ran.stderr.contains(name),
            "{arguments:?}: {name} is not in {}",
            ran.stderr
        );
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (arguments, named) in [
        (&[][..], &["Usage:"][..]),
        (&["asq"], &["asq"]),
        (&["ask", "--colour", "hi"], &["--colour"]),
        (&["decode", "hi", "ho"], &["ho"]),
        (&["completions", "csh"], &["csh", "bash", "fish", "zsh"]),
        (&["ask", "--wire=soap", "hi"], &["--wire", "soap"]),
        (
            &["ask", "--header=X-Team", "hi"],
            &["--header", "Name: value"],
        ),
        (
            &["ask", "--header=X Team: a", "hi"],
            &["--header", "X Team"],
        ),
        (
            &["ask", "--header=X-Team: a\nb", "hi"],
            &["--header", "x-team"],
        ),
        (
            &["ask", "--header=Content-Length: 1", "hi"],
            &["--header", "content-length"],
        ),
        (&["ask", "--query=region", "hi"], &["--query", "name=value"]),
        (
            &["ask", "--base-url=localhost:8000/v1", "hi"],
            &["--base-url", "no scheme", "http://localhost:8000/v1"],
        ),
        (&["ask", "--base-url=", "hi"], &["--base-url"]),
        (&["ask", "--base-url=http://", "hi"], &["--base-url"]),
        (
            &["ask", "--base-url=ftp://host/", "hi"],
            &["--base-url", "ftp"],
        ),
        (
            &["ask", "--base-url=https://u:p@host/", "hi"],
            &["--base-url", "credentials"],
        ),
        (
            &["ask", "--idle-timeout=5", "hi"],
            &["--idle-timeout", "\"5\""],
        ),
        (&["ask", "--idle-timeout=0s", "hi"], &["idle"]),
        (&["ask", "--max-attempts=0", "hi"], &["--max-attempts"]),
        (
            &["ask", "--retry-after-output=maybe", "hi"],
            &["--retry-after-output"],
        ),
        (
            &["ask", "--api-key-env=NO_SUCH_KEY_IS_SET", "hi"],
            &["NO_SUCH_KEY_IS_SET", "not set"],
        ),
        (
            &["ask", "--ca-file=/no/such/file", "hi"],
            &["/no/such/file"],
        ),
        (&["ask", "--temperature=NaN", "hi"], &["temperature"]),
        (&["ask", " \n"], &["blank"]),
        (
            &["ask", "--input=/no/such/file", "hi"],
            &["--input", "/no/such/file"],
        ),
        (&["ask", "--tools=/", "hi"], &["--tools", "directory"]),
        (&["decode", "--chunk=0"], &["--chunk"]),
        (&["decode", "/no/such/file"], &["/no/such/file"]),
        (&["decode", "/"], &["directory"]),
        (&["loopback", "--status=99"], &["--status", "99"]),
        (
            &["loopback", "--script=/no/such/file"],
            &["--script", "/no/such/file"],
        ),
        (
            &["loopback", "--script=a", "--hold-open"],
            &["--script", "--hold-open"],
        ),
        (
            &["loopback", "--recording=/no/such/file"],
            &["/no/such/file"],
        ),
        (&["loopback", "--port=66000"], &["--port"]),
        (&["loopback", "--times=100001"], &["--times", "100000"]),
    ] {
        check(arguments, named);
    }
}

#[test]
fn files_of_the_wrong_shape_are_named() {
    let folder = Folder::new();
    for (flag, content, named) in [
        ("--input", "", "not JSON"),
        ("--input", "[1", "not JSON"),
        ("--input", "{}", "no JSON array"),
        ("--input", r#"[{"type": "message"}, 1]"#, "item 2"),
        ("--tools", r#""a""#, "no JSON array"),
        ("--tools", r#"[{"name": "f"}]"#, "tool 1 has no `type`"),
        ("--output-schema", "[]", "no JSON object"),
        ("--output-schema", "{} {}", "not JSON"),
    ] {
        let file = folder.write("wrong.json", content);
        check(&["ask", "hi", flag, &file], &[flag, &file, named]);
    }
    let file = folder.write("wrong.json", format!("[{}{{}}]", "{},".repeat(100_000)));
    for flag in ["--input", "--tools"] {
        check(
            &["ask", "hi", flag, &file],
            &[flag, &file, "`RawJson::MAX_TREE_BYTES`"],
        );
    }
    let file = folder.write("empty.json", "[]");
    check(&["ask", "--input", &file], &["no item"]);
    let file = folder.write("latin1.json", [b'"', 0xe9, b'"']);
    check(&["ask", "hi", "--input", &file], &[&file, "UTF-8"]);
    let file = folder.write("script.json", r#"{"replies": [{"stattus": 1}]}"#);
    check(
        &["loopback", "--script", &file],
        &[&file, "`stattus`", "line 1"],
    );
}

#[test]
fn blank_stdin_is_no_prompt() {
    let ran = run_with_stdin(&["ask"], " \n");
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("standard input is blank"), "{ran:?}");
}

#[test]
fn openai_itself_wants_a_model() {
    let mut command = program(&["ask", "hi"]);
    command.env("OPENAI_API_KEY", "sk-x");
    let ran = Running::start(&mut command).finish();
    assert_eq!(ran.status, Some(2));
    assert!(
        ran.stderr.contains("--model") && ran.stderr.contains("OPENAI_MODEL"),
        "{ran:?}"
    );
}

#[test]
fn key_that_no_header_can_hold_is_refused_without_showing_it() {
    let mut command = program(&["ask", "hi"]);
    command.env("OPENAI_API_KEY", "sk-with\nline");
    let ran = Running::start(&mut command).finish();
    assert_eq!(ran.status, Some(2));
    assert!(
        ran.stderr.contains("OPENAI_API_KEY") && !ran.stderr.contains("sk-with"),
        "{ran:?}"
    );
}

#[test]
fn a_key_in_place_of_the_name_of_its_variable_is_not_repeated() {
    let ran = run(&["ask", "--api-key-env=sk-hunter2", "hi"]);
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("such as TEAM_KEY) is not set") && !ran.stderr.contains("hunter2"),
        "{ran:?}"
    );
}

#[test]
fn header_without_a_colon_is_not_repeated() {
    let ran = run(&["ask", "--header=Authorization Bearer sk-secret", "hi"]);
    assert_eq!(ran.status, Some(2));
    assert!(!ran.stderr.contains("sk-secret"), "{ran:?}");
}

#[test]
fn help_and_version_are_on_stdout() {
    let version = run(&["--version"]);
    assert_eq!(
        version.stdout,
        concat!("actix-responses ", env!("CARGO_PKG_VERSION"), "\n")
    );
    for arguments in [
        &["--help"][..],
        &["ask", "--help"],
        &["decode", "-h"],
        &["loopback", "-h"],
    ] {
        let help = run(arguments);
        assert!(
            help.stdout.contains("Usage:") && help.status == Some(0),
            "{help:?}"
        );
    }
}

#[test]
fn a_bad_key_is_not_said_of_the_base_url() {
    let mut asking = program(&["ask", "hi", "--base-url", "http://127.0.0.1:9/v1"]);
    asking.env("OPENAI_API_KEY", "sk-never\nseen");
    let ran = asking.output().expect("the program");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2));
    assert!(
        said.contains("the key: ") && said.contains("OPENAI_API_KEY"),
        "{said}"
    );
    assert!(
        !said.contains("--base-url") && !said.contains("never"),
        "{said}"
    );
}

#[test]
fn a_base_url_in_the_environment_is_told_its_scheme_too() {
    let mut command = program(&["ask", "hi"]);
    command.env("OPENAI_BASE_URL", "api.example.com");
    let ran = Running::start(&mut command).finish();
    let said = "OPENAI_BASE_URL: the URL has no scheme: write https://api.example.com/v1";
    assert!(ran.stderr.contains(said), "{ran:?}");
    assert_eq!(ran.status, Some(2));
}

#[test]
fn a_long_name_of_a_provider_is_cut() {
    let name = "n".repeat(10_000);
    let ran = run(&["ask", "hi", "--provider", &name]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.stderr.contains("known are openai,"), "{ran:?}");
    assert!(ran.stderr.contains("nnn\u{2026}"), "{ran:?}");
    assert!(ran.stderr.len() < 400, "{ran:?}");
}

#[test]
fn help_says_the_common_options_first_and_groups_the_others() {
    let help = run(&["ask", "--help"]).stdout;
    let mut at = 0;
    for heading in [
        "\nOptions:",
        "-m, --model",
        "-s, --system",
        "-f, --file",
        "--json",
        "--provider ",
        "--base-url",
        "--api-key-env",
        "-h, --help",
        "\nConversation:",
        "--input",
        "\nAnswer:",
        "--tools",
        "\nRetries:",
        "\nProvider:",
        "--wire",
        "\nTimeouts ",
        "\nConnection:",
    ] {
        let found = help[at..].find(heading);
        at += found.unwrap_or_else(|| panic!("{heading}: {}", &help[at..]));
    }
}
