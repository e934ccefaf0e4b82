//! Which file may use what. See ARCHITECTURE.md, "Directions".

mod made_up;
mod options;
mod rules;
mod source;
mod tree;

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rules::{Known, Room, check_circles, check_ranks, check_users, room_of};
use tree::Tree;

/// Every folder of `src` and every file right in it.
const ROOMS: &[Room] = &[
    room("json", 0),
    room("sse", 0),
    room("duration", 0),
    room("files", 0),
    room("options", 0),
    room("protocol", 1),
    room("wire", 2),
    room("secret", 2),
    room("telemetry", 3),
    room("retry", 3),
    room("loopback", 3),
    room("transport", 4),
    room("provider", 5),
    room("store", 5),
    room("actors", 6),
    room("runtime", 7),
    room("testing", 7),
    room("relay", 8),
    room("guide", 8),
    room("lib", 9),
    room("fuzzing", 9),
    room("cli", 10),
    room("main", 11),
];

/// What `loopback` needs of the crate. The command alone uses it.
const LOOPBACK_USES: [&str; 5] = ["protocol", "json", "wire", "duration", "files"];

/// Arrows against the ranks that are known. There is none.
const AGAINST_THE_RANKS: &[Known] = &[];

/// Without these arrows no file is in a circle. There is none.
const IN_CIRCLES: &[Known] = &[];

const fn room(name: &'static str, rank: u8) -> Room {
    Room { name, rank }
}

/// The folder `src`: named by the build where its tests run elsewhere, beside the manifest otherwise.
fn source_root() -> PathBuf {
    match env::var_os("ARCHITECTURE_SOURCE_ROOT") {
        Some(root) => root.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
    }
}

/// What is in `src`: every Rust file with its path and its text, and the modules that these are.
struct Sources {
    texts: Vec<(String, String)>,
    tree: Tree,
}

impl Sources {
    fn get() -> &'static Self {
        static SOURCES: OnceLock<Sources> = OnceLock::new();
        SOURCES.get_or_init(|| {
            let texts = texts();
            let tree = Tree::new(texts.iter().map(|(name, text)| (&**name, &**text)));
            Self { texts, tree }
        })
    }
}

fn texts() -> Vec<(String, String)> {
    let root = source_root();
    let mut folders = vec![root.clone()];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder of the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("below the root");
                let name = name.to_string_lossy().replace('\\', "/");
                texts.push((name, fs::read_to_string(&path).expect("a text")));
            }
        }
    }
    assert!(
        texts.len() > 50,
        "only {} sources below {}",
        texts.len(),
        root.display()
    );
    texts
}

#[track_caller]
fn assert_right(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_file_is_a_module_and_arrows_between_rooms_point_one_way() {
    let Sources { texts, tree } = Sources::get();
    let names = || texts.iter().map(|(name, _)| &**name);
    let lost: Vec<_> = names()
        .filter(|name| !tree.reached.contains(*name))
        .collect();
    assert!(lost.is_empty(), "no `mod` reaches {lost:?}");
    let arrows = tree.uses_and_exports();
    assert!(arrows.len() > 300, "only {} arrows are seen", arrows.len());
    assert_right(&check_ranks(names(), &arrows, ROOMS, AGAINST_THE_RANKS));
}

#[test]
fn no_file_uses_itself_by_way_of_others() {
    assert_right(&check_circles(&Sources::get().tree.uses(), IN_CIRCLES));
}

#[test]
fn loopback_is_used_by_the_command_alone_and_needs_little() {
    for (arrow, path) in Sources::get().tree.uses_and_exports() {
        let [from, to] = [room_of(&arrow.from), room_of(&arrow.to)];
        if from == to {
            continue;
        }
        assert!(to != "loopback" || from == "cli", "{arrow:?}: {path}");
        assert!(
            from != "loopback" || LOOPBACK_USES.contains(&to),
            "{arrow:?}: {path}"
        );
    }
}

#[test]
fn plain_rooms_know_no_actor_no_client_and_no_runtime() {
    let plain = ["protocol", "json", "sse", "wire", "retry", "duration"];
    let tree = &Sources::get().tree;
    for name in [
        "actix",
        "actix_http",
        "actix_rt",
        "actix_service",
        "actix_tls",
        "awc",
        "rustls",
        "tokio",
    ] {
        for user in tree.users_of(name) {
            assert!(!plain.contains(&room_of(user)), "{user} names {name}");
        }
    }
}

#[test]
fn one_file_names_each_crate_that_is_kept_apart() {
    let tree = &Sources::get().tree;
    for (name, only) in [
        ("awc", "transport/awc"),
        ("actix_codec", "transport/awc/"),
        ("actix_tls", "transport/awc/dialer.rs"),
        ("backoff", "retry/backoff.rs"),
    ] {
        assert_right(&check_users(tree, name, &[only]));
    }
    // The relay's server watches what it accepts.
    let of_http = ["transport/awc", "relay/service.rs"];
    assert_right(&check_users(tree, "actix_http", &of_http));
    let of_metrics = ["actors/observing/metrics.rs", "relay/metrics"];
    assert_right(&check_users(tree, "metrics", &of_metrics));
    assert_right(&check_users(tree, "clap", &["cli/", "main.rs"]));
}
