//! `serve --store`: where its answers are kept.

use crate::support::{Folder, Running, program, run};

const PROVIDER: &str = "[providers.local]\nbase_url = 'http://127.0.0.1:9/v1'\n";

/// A URL that holds a secret, of a port that nobody listens on.
const SECRET: &str = "redis://ada:hunter2@127.0.0.1:9/0";

#[test]
fn a_password_is_taken_from_a_file_or_the_environment_and_is_not_printed() {
    let folder = Folder::new();
    let path = folder.write("url", format!("# ours\n\n{SECRET}\n"));
    let of_file = ["serve", "--check", "--store-file", &path];
    let mut of_variable = program(&["serve", "--check"]);
    of_variable.env("RESPONSES_STORE", SECRET);
    let checked = [run(&of_file), Running::start(&mut of_variable).finish()];
    for ran in &checked {
        if cfg!(feature = "redis") {
            assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
        } else {
            assert_eq!(ran.status, Some(2), "{ran:?}");
            assert!(ran.stderr.contains("feature `redis`"), "{ran:?}");
        }
    }
    let told = run(&["serve", "--check", "--store", SECRET]);
    assert_eq!(told.status, Some(2), "{told:?}");
    for way_out in ["--store-file", "RESPONSES_STORE"] {
        assert!(told.stderr.contains(way_out), "{told:?}");
    }
    for ran in checked.iter().chain([&told]) {
        assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    }
}

#[test]
fn what_is_no_store_is_refused_with_its_place_and_not_quoted() {
    let folder = Folder::new();
    let empty = folder.write("empty", "# none\n");
    let missing = folder.path("nowhere");
    for (flags, said) in [
        (&["--store", "postgres://hunter2"][..], "--store"),
        (&["--store", "hunter2"], "--store"),
        (&["--store-file", &empty], "there is no URL in it"),
        (&["--store-file", &missing], "can't be read"),
        (&["--store=memory", "--store-file", &empty], "--store-file"),
        (
            &["--store=redis://127.0.0.1", "--claim-time=0s"],
            "the claim time is from",
        ),
        (
            &["--store=redis://127.0.0.1", "--claim-time=none"],
            "the claim time is from",
        ),
        // Whatever the store.
        (&["--claim-time=none"], "the claim time is from"),
        (
            &["--store=memory", "--claim-time=400ms"],
            "the claim time is from",
        ),
    ] {
        let ran = run(&[&["serve", "--check"], flags].concat());
        assert_eq!(
            (ran.status, ran.stdout.as_str()),
            (Some(2), ""),
            "{flags:?}: {ran:?}"
        );
        let needs = cfg!(feature = "redis") || !flags[0].contains("redis");
        assert!(!needs || ran.stderr.contains(said), "{said}: {ran:?}");
        assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    }
}

#[test]
fn a_file_says_it_with_its_line_and_flags_go_before_it() {
    let folder = Folder::new();
    folder.write("url", SECRET);
    let check = |store: &str, flags: &[&str]| {
        let path = folder.write("relay.toml", format!("{PROVIDER}[store]\n{store}\n"));
        run(&[&["serve", "--check", "--config", &path], flags].concat())
    };
    for (store, said) in [
        ("url = 'redis://:hunter2@127.0.0.1'", "`url_file`"),
        (
            "url_env = 'NOT_SET_ANYWHERE'",
            "NOT_SET_ANYWHERE is not set",
        ),
        ("url = 'memory'\nurl_file = 'url'", "more than one"),
        ("url_file = 'nowhere'", "can't be read"),
    ] {
        let ran = check(store, &[]);
        assert_eq!(ran.status, Some(2), "{ran:?}");
        assert!(
            ran.stderr.contains("relay.toml: line 3: [store]: ") && ran.stderr.contains(said),
            "{store}: {ran:?}"
        );
        assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    }
    let ran = check("claim_time = 'hunter2'", &[]);
    assert!(ran.stderr.contains("relay.toml: line 4: "), "{ran:?}");
    let whole = "url_file = 'url'\nprefix = 'relay'\nanswer_bytes = 1000000\nfull_at_percent = 70\nnode = 'a'\nclaim_time = '5s'";
    let ran = check(whole, &[]);
    assert_eq!(ran.status == Some(0), cfg!(feature = "redis"), "{ran:?}");
    // A file for several nodes can be tried with one.
    for store in ["url = 'memory'", "node = 'a'\nclaim_time = '5s'"] {
        assert_eq!(check(store, &["--store=memory"]).status, Some(0));
    }
    for (store, flags) in [
        ("url = 'memory'", &["--store=memory", "--node=b"][..]),
        ("", &["--node=b"]),
        ("", &["--claim-time=5s"]),
        ("node = 'a'", &[]),
        ("claim_time = '5s'", &[]),
    ] {
        let ran = check(store, flags);
        assert_eq!(ran.status, Some(2), "{store} {flags:?}: {ran:?}");
        assert!(ran.stderr.contains("name one with --store"), "{ran:?}");
    }
    let ran = check("", &["--store=memory", "--node=a\u{7}"]);
    assert!(ran.stderr.contains("name one with --store"), "{ran:?}");
    let ran = check("node = \"a\\u0007\"", &[]);
    assert!(
        ran.stderr
            .contains("relay.toml: line 4: `node` (--node) is not a name"),
        "{ran:?}"
    );
}

#[cfg(all(unix, feature = "redis"))]
#[test]
fn a_store_that_is_down_holds_nobody_up_and_is_told_of_once() {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    // Nobody listens there any more.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let folder = Folder::new();
    let path = folder.write("url", format!("redis://ada:hunter2@{address}"));
    let flags = [
        "serve",
        "--listen=127.0.0.1:0",
        "-vv",
        "--store-file",
        &path,
    ];
    let mut relaying = Running::start(&mut program(&flags));
    let line = relaying.until_stdout(|text| text.ends_with('\n'));
    let at = line.trim().trim_start_matches("http://");
    let at = at.trim_end_matches("/v1").to_owned();
    let said = "the store does not answer";
    relaying.until_stderr(|text| text.contains(said));
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&at).expect("a connection");
        let head = format!("GET {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    assert!(get("/healthz").starts_with("HTTP/1.1 200 "));
    assert!(get("/readyz").starts_with("HTTP/1.1 503 "));
    relaying.signal("INT");
    let ran = relaying.finish();
    let told = ran.stderr.lines().filter(|line| line.contains(said));
    assert!(
        told.filter(|line| line.starts_with("actix-responses"))
            .count()
            <= 1,
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
}
