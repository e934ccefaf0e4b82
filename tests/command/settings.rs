//! What the environment, flags and files of providers say, each in every way in which it can be said.

use std::io::Write as _;

use actix_responses::loopback::Script;
use serde_json::json;

use crate::support::{
    Folder, Identity, Ran, Running, accept, asking, program, provider, read_request, serve,
    whole_answer,
};

/// Runs the program with a variable that holds something like a key and is not UTF-8.
#[cfg(unix)]
fn run_with_bytes(variable: &str, arguments: &[&str]) -> Ran {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let mut command = program(arguments);
    command.env(variable, OsStr::from_bytes(b"sesame\xffsesame"));
    Running::start(&mut command).finish()
}

#[cfg(unix)]
#[test]
fn variable_that_is_not_utf8_is_named_and_not_shown() {
    let folder = Folder::new();
    let file = folder.write(
        "providers.toml",
        "[providers.a]\nbase_url = 'http://127.0.0.1:9'\nkey_env = 'TEAM_KEY'\n\
         [providers.b]\nbase_url = 'http://127.0.0.1:9'\nenv_headers = { x-team = 'TEAM_NAME' }\n",
    );
    let of_file = |name| vec!["models", "--providers-file", &file, "--provider", name];
    let of_preset = |name| vec!["models", "--provider", name];
    let ask = vec![
        "ask",
        "hi",
        "--base-url=http://127.0.0.1:9",
        "--max-attempts=1",
    ];
    let ask_with = |flag| [&ask[..], &[flag]].concat();
    let ask_elsewhere = vec![
        "ask",
        "hi",
        "--base-url=http://nobody.invalid",
        "--max-attempts=1",
    ];
    let ask_over_tls = vec!["ask", "hi", "--base-url=https://127.0.0.1:9"];
    for (variable, arguments) in [
        ("OPENAI_API_KEY", vec!["ask", "hi"]),
        ("OPENAI_BASE_URL", vec!["ask", "hi"]),
        ("OPENAI_MODEL", ask.clone()),
        ("OPENAI_API_KEY", ask.clone()),
        ("MY_KEY", ask_with("--api-key-env=MY_KEY")),
        ("RUST_LOG", ask_with("-v")),
        ("RESPONSES_STORE", vec!["serve", "--check"]),
        ("TEAM_KEY", of_file("a")),
        ("TEAM_NAME", of_file("b")),
        ("GROQ_API_KEY", of_preset("groq")),
        ("OLLAMA_API_KEY", of_preset("ollama")),
        ("AZURE_OPENAI_ENDPOINT", of_preset("azure-openai")),
        ("NO_PROXY", ask.clone()),
        ("no_proxy", ask.clone()),
        ("all_proxy", ask_elsewhere),
        ("SSL_CERT_FILE", ask_over_tls.clone()),
        ("SSL_CLIENT_CERT_FILE", ask_over_tls.clone()),
        ("SSL_CLIENT_KEY_FILE", ask_over_tls),
    ] {
        let ran = run_with_bytes(variable, &arguments);
        assert_ne!(ran.status, Some(0), "{variable}: {ran:?}");
        assert!(ran.stderr.contains(variable), "{variable}: {ran:?}");
        // A path is used as it is.
        if !variable.starts_with("SSL") {
            assert!(ran.stderr.contains("not UTF-8"), "{variable}: {ran:?}");
            assert!(!ran.stderr.contains("sesame"), "{variable}: {ran:?}");
        }
    }
}

#[test]
fn what_is_logged_is_chosen_by_target_and_level() {
    let provider = provider(Script::default());
    let base_url = provider.base_url();
    for (chosen, status, has_debug, has_trace) in [
        (None, 0, true, false),
        (Some("actix_responses=warn"), 0, false, false),
        (Some("off,actix_responses=debug"), 0, true, false),
        (Some("trace"), 0, true, true),
        (Some("actix_responses=loud"), 2, false, false),
        (Some("actix_responses[request]=debug"), 2, false, false),
    ] {
        let mut command = program(&["ask", "hi", "-v", "--base-url", &base_url]);
        command.envs(chosen.map(|chosen| ("RUST_LOG", chosen)));
        let ran = Running::start(&mut command).finish();
        assert_eq!(ran.status, Some(status), "{chosen:?}: {ran:?}");
        let has = |part: &str| ran.stderr.lines().any(|line| line.contains(part));
        assert_eq!(has(" DEBUG "), has_debug, "{chosen:?}: {ran:?}");
        assert_eq!(has(" TRACE "), has_trace, "{chosen:?}: {ran:?}");
        assert_eq!(has("RUST_LOG"), status == 2, "{chosen:?}: {ran:?}");
    }
}

#[test]
fn key_among_the_arguments_is_warned_of_and_not_shown() {
    let loopback = provider(Script::default());
    let base_url = loopback.base_url();
    for (argument, named) in [
        (
            "--header=Authorization: Bearer sesame",
            Some("--header Authorization"),
        ),
        ("--header=x-api-key: sesame", Some("--header x-api-key")),
        ("--header=cookie: a=sesame", Some("--header cookie")),
        ("--query=key=sesame", Some("--query key")),
        ("--query=access_token=sesame", Some("--query access_token")),
        ("--header=x-team: sesame", None),
        ("--query=api-version=sesame", None),
    ] {
        let ran = Running::start(&mut program(&asking(&base_url, &[argument]))).finish();
        assert_eq!(ran.status, Some(0), "{ran:?}");
        assert_eq!(
            ran.stderr.lines().count(),
            usize::from(named.is_some()),
            "{ran:?}"
        );
        for said in named.into_iter().chain(named.map(|_| "--api-key-env")) {
            assert!(ran.stderr.contains(said), "{argument}: {ran:?}");
        }
        assert!(!ran.stderr.contains("sesame"), "{ran:?}");
    }
    let with_key = format!("{base_url}?code=sesame");
    let ran = Running::start(&mut program(&asking(&with_key, &[]))).finish();
    assert!(ran.stderr.contains("a key in --base-url"), "{ran:?}");
}

const TIMES: [&str; 9] = [
    "--connect-timeout",
    "--response-head-timeout",
    "--first-event-timeout",
    "--idle-timeout",
    "--progress-timeout",
    "--trailer-timeout",
    "--total-timeout",
    "--tcp-keepalive",
    "--tcp-user-timeout",
];

/// More than any clock can count, and than fits into a duration.
const AGES: &str = "5000000000000000h";
const TOO_LONG: &str = "18446744073709551615h";

#[test]
fn every_time_can_be_for_ever() {
    let loopback = provider(Script::default());
    let base_url = loopback.base_url();
    for time in ["none", "forever", AGES] {
        let times = TIMES.map(|flag| format!("{flag}={time}"));
        for wire in ["--wire=responses", "--wire=chat"] {
            let mut arguments: Vec<_> = times.iter().map(String::as_str).collect();
            arguments.push(wire);
            let ran = Running::start(&mut program(&asking(&base_url, &arguments))).finish();
            assert_eq!((ran.status, &*ran.stderr), (Some(0), ""), "{time}");
        }
        let folder = Folder::new();
        let keys = [
            "connect",
            "response_head",
            "compaction_head",
            "whole_answer",
            "first_event",
            "idle",
            "progress",
            "trailer",
            "total",
        ];
        let keys = keys
            .map(|key| format!("timeouts.{key} = '{time}'\n"))
            .concat();
        let providers = format!("[providers.a]\nbase_url = '{base_url}'\n{keys}");
        let file = folder.write("providers.toml", providers);
        let by_file = ["ask", "hi", "--provider=a", "--providers-file", &file];
        let ran = Running::start(&mut program(&by_file)).finish();
        assert_eq!((ran.status, &*ran.stderr), (Some(0), ""), "{time}");
    }
    for flag in TIMES {
        let argument = format!("{flag}={TOO_LONG}");
        let ran = Running::start(&mut program(&asking(&base_url, &[&argument]))).finish();
        assert_eq!(ran.status, Some(2), "{ran:?}");
        for said in [flag, TOO_LONG, "write forever"] {
            assert!(ran.stderr.contains(said), "{ran:?}");
        }
    }
}

#[test]
fn loopback_can_wait_for_ever_too() {
    let folder = Folder::new();
    let scripts = ["forever", AGES].map(|time| {
        let stall = json!({"faults": [{"at": "start", "do": {"stall": time}}]});
        let comments = json!({"every": time, "lasting": time});
        let comments = json!({"faults": [{"at": {"events": 1}, "do": {"comments": comments}}]});
        [json!({"pace": time}), stall, comments].map(|reply| {
            let name = format!("{}.json", reply.to_string().len());
            folder.write(&name, json!({"replies": [reply]}).to_string())
        })
    });
    let [of_word, of_ages] = &scripts;
    let scripts = of_word.iter().zip(of_ages);
    let scripts = scripts.map(|(word, ages)| ("--script", [&**word, ages], false));
    let flags = [
        ("--pace", ["forever", AGES], false),
        ("--delay-head", ["forever", AGES], false),
        ("--request-timeout", ["none", AGES], true),
    ];
    for (flag, times, is_answered) in flags.into_iter().chain(scripts) {
        for time in times {
            let mut serving = Running::start(&mut program(&["loopback", flag, time]));
            let line = serving.until_stdout(|text| text.ends_with('\n'));
            let mut arguments = asking(line.trim_end(), &["--max-attempts=1"]);
            arguments.extend(["--first-event-timeout=50ms", "--response-head-timeout=50ms"]);
            arguments.extend(["--idle-timeout=50ms"]);
            let ran = Running::start(&mut program(&arguments)).finish();
            assert_eq!(ran.status == Some(0), is_answered, "{flag} {time}: {ran:?}");
            let said = ran.stderr.contains("within 50ms") || ran.stderr.contains("for 50ms");
            assert_eq!(said, !is_answered, "{flag} {time}: {ran:?}");
        }
    }
}

#[test]
fn certificate_of_ones_own_comes_from_flags_a_file_or_variables() {
    let [identity, client, other] = [(); 3].map(|()| Identity::new("127.0.0.1"));
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (cert, key) = (path(&client.ca_file), path(&client.key_file));
    let wrong = path(&other.ca_file);
    let wrong_key = path(&other.key_file);
    let ca_file = path(&identity.ca_file);

    // Beside the file, and named without a folder.
    let folder = Folder::new();
    folder.write("cert.pem", std::fs::read(&cert).unwrap());
    folder.write("key.pem", std::fs::read(&key).unwrap());
    let both = std::fs::read_to_string(&cert).unwrap() + &std::fs::read_to_string(&key).unwrap();
    folder.write("both.pem", &both);
    let file = folder.write(
        "providers.toml",
        "[providers.two]\nbase_url = 'https://127.0.0.1'\nclient_cert = 'cert.pem'\nclient_key = 'key.pem'\n\
         [providers.one]\nbase_url = 'https://127.0.0.1'\nclient_cert = 'both.pem'\n",
    );
    let flags = ["--client-cert", &cert, "--client-key", &key];
    let of_file = |name| ["--providers-file", &*file, "--provider", name];
    let [two, one] = ["two", "one"].map(of_file);
    let variables = |cert, key| [("SSL_CLIENT_CERT_FILE", cert), ("SSL_CLIENT_KEY_FILE", key)];
    let right = variables(&*cert, &*key);
    let others = variables(&*wrong, &*wrong_key);
    let in_one = folder.path("both.pem");
    for (arguments, variables, is_known) in [
        (&flags[..], &[][..], true),
        (&two, &[], true),
        (&one, &[], true),
        (&[], &right, true),
        (&[], &[("SSL_CLIENT_CERT_FILE", &*in_one)], true),
        // What is nearer goes before the environment.
        (&flags, &others, true),
        (&one, &others, true),
        (&[], &others, false),
        (&[], &[], false),
    ] {
        let server = identity.server_for(&client);
        let (address, _) = serve(move |listener| {
            let mut stream = Identity::over_tls(&server, accept(&listener));
            // A client without the certificate gets no further than this.
            if stream.flush().is_ok() && stream.conn.complete_io(&mut stream.sock).is_ok() {
                read_request(&mut stream);
                let _ = stream.write_all(whole_answer().as_bytes());
            }
        });
        let base_url = format!("https://{address}/v1");
        let fixed = ["--ca-file", &ca_file, "--model=m", "--max-attempts=1"];
        let mut command = program(&asking(&base_url, &[&fixed, arguments].concat()));
        let ran = Running::start(command.envs(variables.iter().copied())).finish();
        assert_eq!(
            ran.status == Some(0),
            is_known,
            "{arguments:?} {variables:?}: {ran:?}"
        );
        assert_eq!(ran.stderr.contains("certificate"), !is_known, "{ran:?}");
    }

    let https = asking("https://127.0.0.1:9", &["--max-attempts=1"]);
    for (variables, said) in [
        (&right[1..], &["SSL_CLIENT_KEY_FILE", "no certificate"][..]),
        (
            &variables("absent", &*key),
            &["SSL_CLIENT_CERT_FILE", "absent", "can't read the file"],
        ),
        (
            &variables(&*cert, "absent"),
            &["SSL_CLIENT_KEY_FILE", "absent"],
        ),
        (&right[..1], &["SSL_CLIENT_CERT_FILE", "no PEM key"]),
    ] {
        let mut command = program(&https);
        let ran = Running::start(command.envs(variables.iter().copied())).finish();
        assert_eq!(ran.status, Some(2), "{ran:?}");
        for said in said {
            assert!(ran.stderr.contains(said), "{ran:?}");
        }
    }
}
