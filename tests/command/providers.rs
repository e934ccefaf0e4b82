//! `--provider` and `--providers-file`: what reaches a server of that kind.

use actix_responses::{
    loopback::{RecordedRequest, Script},
    provider::Preset,
};
use serde_json::json;

use crate::support::{Folder, Running, program, provider, run};

/// Asks a loopback provider through the options, with environment variables, and gives what it saw.
fn sent(arguments: &[&str], variables: &[(&str, &str)]) -> RecordedRequest {
    let loopback = provider(Script::default());
    let base_url = loopback.base_url();
    let mut command = program(&["ask", "hi", "--model=m", "--base-url", &base_url]);
    command.args(arguments).envs(variables.iter().copied());
    let ran = Running::start(&mut command).finish();
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(!ran.stdout.is_empty());
    loopback.requests().remove(0)
}

#[test]
fn named_provider_brings_its_wire_its_key_and_its_quirks() {
    for (name, variable, header, value, path) in [
        (
            "azure-openai",
            "AZURE_OPENAI_API_KEY",
            "api-key",
            "sesame-1",
            "/v1/responses",
        ),
        (
            "groq",
            "GROQ_API_KEY",
            "authorization",
            "Bearer sesame-1",
            "/v1/chat/completions",
        ),
        (
            "openai",
            "OPENAI_API_KEY",
            "authorization",
            "Bearer sesame-1",
            "/v1/responses",
        ),
    ] {
        let request = sent(&["--provider", name], &[(variable, "sesame-1")]);
        assert_eq!(request.path, path, "{name}");
        assert_eq!(request.headers[header], value, "{name}");
    }
    let request = sent(
        &["--provider=mistral", "--max-output-tokens=70"],
        &[("MISTRAL_API_KEY", "sesame-1")],
    );
    let body = request.json().unwrap();
    assert_eq!(
        (&body["max_tokens"], body.get("stream_options")),
        (&json!(70), None)
    );
}

#[test]
fn help_names_every_provider() {
    let help = run(&["ask", "--help"]).stdout;
    let words: Vec<_> = help
        .split(|letter: char| letter.is_whitespace() || letter == ',')
        .collect();
    for preset in Preset::ALL {
        assert!(words.contains(&preset.name), "{}: {help}", preset.name);
    }
}

#[test]
fn options_go_before_what_the_provider_says() {
    let arguments = [
        "--provider=groq",
        "--wire=responses",
        "--api-key-env=MY_KEY",
        "--header=X-Team: search",
        "--query=region=eu",
    ];
    let request = sent(
        &arguments,
        &[("MY_KEY", "sesame-2"), ("GROQ_API_KEY", "sesame-1")],
    );
    assert_eq!(request.path, "/v1/responses");
    assert_eq!(request.headers["authorization"], "Bearer sesame-2");
    assert_eq!(request.headers["x-team"], "search");
    assert_eq!(request.query.as_deref(), Some("region=eu"));
}

#[test]
fn provider_of_a_file_is_asked_as_the_file_says() {
    let folder = Folder::new();
    let file = folder.write(
        "providers.toml",
        "[providers.team]\npreset = 'deepseek'\nkey_env = 'TEAM_KEY'\nauth_header = 'x-api-key'\n\
         env_headers = { x-user = 'TEAM_USER' }\nquery = { v = '2' }\nrequest_compression = 'zstd'\n",
    );
    let loopback = provider(Script::default());
    let base_url = loopback.base_url();
    let variables = [("TEAM_KEY", "sesame-3"), ("TEAM_USER", "ada")];
    let mut command = program(&[
        "models",
        "--provider=team",
        "--providers-file",
        &file,
        "--base-url",
        &base_url,
    ]);
    let ran = Running::start(command.envs(variables)).finish();
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let request = &loopback.requests()[0];
    assert_eq!(
        (&*request.path, request.query.as_deref()),
        ("/v1/models", Some("v=2"))
    );
    assert_eq!(request.headers["x-api-key"], "sesame-3");
    assert_eq!(request.headers["x-user"], "ada");
    assert!(!request.headers.contains_key("authorization"));

    let mut command = program(&[
        "ask",
        "hi",
        "--model=m",
        "--provider=team",
        "--providers-file",
        &file,
        "--base-url",
        &base_url,
    ]);
    let ran = Running::start(command.envs(variables)).finish();
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let request = loopback.requests().remove(1);
    assert_eq!(request.headers["content-encoding"], "zstd");
    assert_eq!(request.path, "/v1/chat/completions");
    let body = zstd::decode_all(&*request.body).unwrap();
    assert!(
        String::from_utf8(body)
            .unwrap()
            .contains(r#""content":"hi""#)
    );
}

#[test]
fn what_is_wrong_with_a_provider_is_said_before_anything_is_sent() {
    let folder = Folder::new();
    let file = folder.write(
        "providers.toml",
        "[providers.team]\nbase_url = 'http://127.0.0.1:9'\nwires = 'chat'",
    );
    let absent = folder.path("absent.toml");
    for (arguments, named) in [
        (
            &["--provider=gork"][..],
            &["--provider", "gork", "openrouter", "vllm"][..],
        ),
        (
            &["--provider=groq"],
            &["--provider", "groq", "GROQ_API_KEY"],
        ),
        (&["--provider=azure-openai"], &["AZURE_OPENAI_ENDPOINT"]),
        (
            &["--provider=team", "--providers-file", &file],
            &["providers.toml", "team", "`wires`", "base_url"],
        ),
        (
            &["--provider=team", "--providers-file", &absent],
            &["absent.toml", "can't be read"],
        ),
        (&["--providers-file", &file], &["--provider"]),
        (
            &["--provider=openai", "--api-key-env=NO_SUCH_KEY"],
            &["--api-key-env", "NO_SUCH_KEY"],
        ),
    ] {
        let mut command = program(&["ask", "hi", "--model=m"]);
        let unset = ["GROQ_API_KEY", "AZURE_OPENAI_ENDPOINT"];
        for variable in unset {
            command.env_remove(variable);
        }
        let ran = Running::start(command.args(arguments)).finish();
        assert_eq!(
            (ran.status, &*ran.stdout),
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
}

#[test]
fn file_of_authorities_that_can_not_be_used_is_named_with_its_variable() {
    let mut command = program(&["ask", "hi", "--model=m", "--base-url=https://127.0.0.1:9"]);
    let ran = Running::start(command.env("SSL_CERT_FILE", "no-such-file.pem")).finish();
    assert_eq!(ran.status, Some(2), "{ran:?}");
    for named in ["SSL_CERT_FILE", "no-such-file.pem", "can't read the file"] {
        assert!(ran.stderr.contains(named), "{ran:?}");
    }
}

#[test]
fn transport_is_that_of_the_option_else_of_the_file() {
    // The embedded provider has no WebSocket, and says so.
    let loopback = provider(Script::default());
    let base_url = loopback.base_url();
    let folder = Folder::new();
    let file = format!("[providers.own]\nbase_url = \"{base_url}\"\ntransport = \"websocket\"\n");
    let file = folder.write("providers.toml", file);
    let ask = |arguments: &[&str]| {
        let fixed = ["ask", "hello", "--model=m", "--base-url", &base_url];
        run(&[&fixed, arguments].concat())
    };
    let own = ["--provider=own", "--providers-file", &file];
    for (arguments, status) in [
        (&["--transport=auto"][..], 0),
        (&["--transport=sse"], 0),
        (&["--transport=websocket"], 1),
        (&own, 1),
        (&[&own[..], &["--transport=auto"]].concat(), 0),
    ] {
        let ran = ask(arguments);
        assert_eq!(ran.status, Some(status), "{arguments:?}: {ran:?}");
        assert_eq!(ran.stdout.is_empty(), status != 0, "{ran:?}");
        assert_eq!(ran.stderr.contains("HTTP 426"), status == 1, "{ran:?}");
    }
}
