//! `relay.toml`, as a file on disk.

use std::{ffi::OsString, fs, path::PathBuf};

use actix_responses::{
    ApiError,
    relay::{Configuration, OnePiece, RelayConfig, RouteTable, Tokens},
};

/// A file that is removed with its test.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("actix-responses-relay-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).expect("a file");
        Self(path)
    }

    fn name(&self) -> &str {
        self.0
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name")
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // The machine's folder of such files is emptied anyway.
        let _ = fs::remove_file(&self.0);
    }
}

fn variables(name: &str) -> Option<OsString> {
    let value = match name {
        "KEY_A" | "KEY_C" => "hunter2",
        "KEY_B" => "hunter2-b",
        "TEAM_KEY" => "hunter2-team",
        _ => return None,
    };
    Some(value.into())
}

fn read(name: &str, text: &str) -> Result<Configuration, ApiError> {
    let file = Written::new(name, text);
    Configuration::from_file(&file.0, variables)
}

const LOCAL: &str = "[providers.local]\nbase_url = 'http://127.0.0.1:9/v1'\n";

#[test]
fn first_matching_route_wins_and_renames() {
    let text = format!(
        "{LOCAL}[providers.other]\nbase_url = 'http://127.0.0.1:10/v1'\nwire = 'chat'\n\
         [[route]]\nmodel = 'gpt-5'\nprovider = 'local'\nrename = 'qwen'\nfallback = ['other', {{ provider = 'other', rename = 'glm' }}]\n\
         [[route]]\nmodel = 'gpt-*'\nprovider = 'other'\ntools = 'functions'\ncompaction = false\none_piece = 'server'\n"
    );
    let read = read("routes.toml", &text).expect("a configuration");
    let named = |table: &RouteTable, model: &str| {
        let route = table.find(model)?;
        let targets = route.targets.iter();
        let named = targets.map(|target| (target.provider.name().to_owned(), target.model.clone()));
        Some((
            named.collect::<Vec<_>>(),
            route.lowers_tools,
            route.refuses_compaction,
            route.one_piece,
        ))
    };
    let other = || "other".to_owned();
    assert_eq!(
        named(&read.routes, "gpt-5"),
        Some((
            vec![
                ("local".to_owned(), Some("qwen".to_owned())),
                (other(), None),
                (other(), Some("glm".to_owned())),
            ],
            false,
            false,
            None
        ))
    );
    assert_eq!(
        named(&read.routes, "gpt-6"),
        Some((vec![(other(), None)], true, true, Some(OnePiece::Server)))
    );
    assert_eq!(named(&read.routes, "o3"), None);
}

#[test]
fn one_provider_needs_no_route_and_every_knob_is_read() {
    let text = format!(
        "[relay]\nlisten = ['127.0.0.1:0', '[::1]:0']\nallow_anonymous = true\nmax_body_bytes = 1\nmax_running_body_bytes = 7\nmax_streams = 2\n\
         max_connections = 3\nhead_time = '9s'\nbody_time = '10s'\nkeepalive = '1s'\nhead_patience = '2s'\npreamble_patience = '3s'\nslow_client = '4s'\n\
         retention = '5s'\nretention_bytes = 6\ngrace = '7s'\ndrain_notice = '8s'\none_piece = 'server'\nhosts = 'relay.internal'\n\
         origins = ['https://app.example']\n{LOCAL}"
    );
    let read = read("knobs.toml", &text).expect("a configuration");
    assert_eq!(read.listen, ["127.0.0.1:0", "[::1]:0"]);
    assert!(read.allow_anonymous);
    let relay = format!("{:?}", read.relay);
    let knobs = "RelayConfig { max_body_bytes: 1, max_running_body_bytes: 7, max_streams: 2, max_connections: 3, head_time: 9s, body_time: 10s, keepalive: 1s, head_patience: 2s, \
         preamble_patience: 3s, slow_client: 4s, retention: 5s, retention_bytes: 6, grace: 7s, drain_notice: 8s, one_piece: Server, \
         hosts: [\"relay.internal\"], origins: [\"https://app.example\"]";
    assert!(relay.starts_with(knobs), "{relay}");
    assert_eq!(
        read.routes.find("anything").unwrap().targets[0]
            .provider
            .name(),
        "local"
    );
}

#[test]
fn every_error_has_its_line_and_none_quotes_a_secret() {
    let route = "[[route]]\nmodel = '*'\nprovider = 'local'\n";
    for (text, said) in [
        (
            "[relay]\nkeepalive = 'hunter2'",
            "line 2: `keepalive` is not a time such as",
        ),
        (
            "[relay]\nmax_streams = 'hunter2'",
            "line 2: `max_streams` is not a whole number from 0 on",
        ),
        (
            "[relay]\nallow_anonymous = 'hunter2'",
            "line 2: `allow_anonymous` is not true or false",
        ),
        (
            "[relay]\nhosts = ['hunter2', 5]",
            "line 2: `hosts` is not a string",
        ),
        (
            "[store]\nfull_at_percent = 256",
            "line 2: `full_at_percent` is not a whole number from 0 to 255",
        ),
        (
            "[route]\nmodel = 'hunter2'",
            "line 1: `route` is not a list",
        ),
        ("[relay]\nhunter = 1", "line 2: unknown field `hunter`"),
        ("\n\nlisten = 'hunter2'", "line 3: unknown key `listen`"),
        ("x = \"hunter2", "line 1: this is not TOML"),
        ("[relay]", "line 1: there is no [[route]]"),
        (
            &format!("{LOCAL}{route}{route}"),
            "line 6: the route \"*\" is there already, in line 3",
        ),
        (
            &format!("{LOCAL}{route}[[route]]\nmodel = 'gpt-*'\nprovider = 'local'"),
            "line 6: nothing comes to the route \"gpt-*\": \"*\" in line 3",
        ),
        (
            &format!("{LOCAL}{route}fallback = ['local']"),
            "line 3: the fallback \"local\" goes round in a loop",
        ),
        (
            &format!("[relay]\nlisten = '127.0.0.1:9'\n{LOCAL}{route}"),
            "line 5: provider \"local\" is this relay itself",
        ),
        (
            &format!("{LOCAL}{route}[providers.more]\npreset = 'ollama'"),
            "line 6: no route asks the provider \"more\"",
        ),
        (
            &format!("{LOCAL}{route}[keys.other]\nenv = 'KEY_A'"),
            "line 6: no route asks \"other\", whose keys these are",
        ),
        (
            &format!("{LOCAL}{route}[keys.local]\nenv = 'UNSET'"),
            "line 3: keys of \"local\": environment variable UNSET is not set",
        ),
        (
            &format!("{LOCAL}{route}[keys.local]\nenv = 'sk-hunter2'"),
            "line 3: keys of \"local\": environment variable (not shown, for it may be a key",
        ),
        (
            &format!("{LOCAL}{route}[keys.local]\nenv = ['KEY_A', 'KEY_C']"),
            "line 3: keys of \"local\": the same key is there twice",
        ),
        (
            &format!("{LOCAL}key_env = 'sk-hunter2'\n{route}"),
            "line 4: provider \"local\": environment variable (not shown, for it may be a key",
        ),
        (
            &format!("{LOCAL}max_attempts = 101\n{route}"),
            "line 3: provider \"local\": `max_attempts` is not a whole number from 1 to 100",
        ),
        (
            &format!("{LOCAL}{route}rename = ''"),
            "line 3: `rename` is empty: leave it out",
        ),
        (
            &format!("{LOCAL}{route}fallback = [{{ provider = 'local', rename = '' }}]"),
            "line 3: `rename` is empty: leave it out",
        ),
        (
            "[[route]]\nmodel = '*'\nprovider = 'gork'",
            "line 1: no provider is named \"gork\"",
        ),
        (
            "[[route]]\nmodel = '*'\nprovider = 'local'\ntools = 'hunter2'",
            "line 4: `tools` is not ",
        ),
        (
            "[relay]\none_piece = 'hunter2'",
            "line 2: `one_piece` is not \"",
        ),
        (
            "[relay]\none_piece = 1",
            "line 2: `one_piece` is not a string",
        ),
        (
            "[providers.a]\nbase_url = 'x'\nheaders = 'hunter2'",
            "line 3: provider \"a\": `headers` is not a table",
        ),
    ] {
        let file = Written::new("wrong.toml", text);
        let error = Configuration::from_file(&file.0, variables).expect_err(text);
        let report = error.report();
        assert!(
            report.contains(&format!("{}: {said}", file.name())),
            "{text}: {report}"
        );
        assert!(!report.contains("hunter2"), "{report}");
    }
}

#[test]
fn what_can_not_work_is_said_with_its_line_and_what_to_write() {
    for (knob, said) in [
        (
            "max_streams = 0",
            "`max_streams` is 0, so nobody could ask: write 1 or more",
        ),
        ("max_body_bytes = 0", "`max_body_bytes` is 0"),
        (
            "max_running_body_bytes = 0",
            "`max_running_body_bytes` is 0",
        ),
        ("max_connections = 0", "`max_connections` is 0"),
        (
            "head_time = '0s'",
            "`head_time` is below 50ms: write a longer time, or \"none\"",
        ),
        ("body_time = '49ms'", "`body_time` is below 50ms"),
        ("keepalive = '0s'", "`keepalive` is below 50ms"),
        ("slow_client = '1ns'", "`slow_client` is below 50ms"),
        ("drain_notice = 'none'", "`drain_notice` has no end"),
        (
            "hosts = ['relay', '*']",
            "`hosts` (--allow-host): \"*\": there is no name for all",
        ),
        (
            "hosts = ''",
            "`hosts` (--allow-host): \"\": write a name alone",
        ),
        (
            "origins = 'null'",
            "`origins` (--allow-origin): \"null\": pages of anybody",
        ),
        (
            "origins = 'https://a:hunter2@b'",
            "`origins` (--allow-origin): write its scheme",
        ),
        ("listen = []", "`listen` names no address"),
    ] {
        let error = read("knob.toml", &format!("{LOCAL}[relay]\n{knob}\n")).expect_err(knob);
        let report = error.report();
        assert!(
            report.contains(&format!("line 4: {said}")),
            "{knob}: {report}"
        );
        assert!(!report.contains("hunter2"), "{report}");
    }
    for knob in [
        "head_time",
        "body_time",
        "keepalive",
        "head_patience",
        "preamble_patience",
        "slow_client",
        "retention",
        "grace",
    ] {
        read("knob.toml", &format!("{LOCAL}[relay]\n{knob} = 'none'\n")).expect(knob);
    }
    for knob in [
        "head_patience",
        "preamble_patience",
        "retention",
        "grace",
        "drain_notice",
    ] {
        read("knob.toml", &format!("{LOCAL}[relay]\n{knob} = '0s'\n")).expect(knob);
    }
}

#[test]
fn several_mistakes_are_said_together() {
    let text = "[relay]\nmax_streams = 0\nkeepalive = '0s'\nhosts = ['*', 'x:80']\n[[route]]\nmodel = '*'\nprovider = 'gork'\n";
    let report = read("several.toml", text).expect_err("mistakes").report();
    for said in [
        "line 2: `max",
        "line 3: `keep",
        "\"*\": there",
        "\"x:80\": write",
        "line 5: no provider",
    ] {
        assert!(report.contains(said), "{said}: {report}");
    }
    let text = "[relay]\nmax_streams = 'x'\n[providers.a]\nwire = 'x'\n";
    let report = read("several.toml", text).expect_err("mistakes").report();
    for said in ["line 2: `max_streams` is not", "line 4: provider \"a\""] {
        assert!(report.contains(said), "{said}: {report}");
    }
    for text in ["x = [", "[foo]", "x = 1\nproviders = 1"] {
        let report = read("several.toml", text).expect_err("a mistake").report();
        assert_eq!(report.matches("several.toml").count(), 1, "{report}");
    }
}

#[test]
fn a_config_of_a_program_is_checked_when_it_asks() {
    assert!(RelayConfig::default().check().is_ok());
    let config = RelayConfig::default()
        .with_max_streams(0)
        .with_node("a b".to_owned())
        .with_origins(vec!["*".to_owned()]);
    let report = config.check().expect_err("mistakes").report();
    for said in ["`max_streams` is 0", "`node` (--node) is not", "`origins`"] {
        assert!(report.contains(said), "{said}: {report}");
    }
}

#[test]
fn several_keys_are_one_server_and_a_session_stays_with_one() {
    let keys = Written::new("keys", "# ours\nhunter2-c\n\nhunter2-d\n");
    let text = format!(
        "{LOCAL}[keys.local]\nenv = ['KEY_A', 'KEY_B']\nfile = '{}'\n",
        keys.name()
    );
    let read = read("keys.toml", &text).expect("a configuration");
    assert_eq!(
        read.secrets(),
        ["hunter2", "hunter2-b", "hunter2-c", "hunter2-d"]
    );
    let target = &read.routes.find("x").unwrap().targets[0];
    assert!(!target.passes_key());
    let [first, again] = [0, 1].map(|_| target.choose(Some("session")));
    assert!(std::sync::Arc::ptr_eq(&first, &again));
    let printed = format!("{read:?}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn without_a_key_the_clients_own_goes_to_the_server() {
    for (text, passes) in [
        (LOCAL, true),
        ("[[route]]\nmodel = '*'\nprovider = 'groq'", true),
        (
            "[providers.local]\npreset = 'groq'\nkey_env = 'TEAM_KEY'",
            false,
        ),
    ] {
        let read = read("passing.toml", text).expect("a configuration");
        assert_eq!(
            read.routes.routes()[0].targets[0].passes_key(),
            passes,
            "{text}"
        );
    }
}

#[test]
fn token_file_is_named_with_its_line_and_never_quoted() {
    let file = Written::new("tokens", "\nada hunter2");
    let error = Tokens::from_file(&file.0).unwrap_err().report();
    assert!(
        error.contains(&format!("{}: line 2", file.name())),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
}
