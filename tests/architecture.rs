//! Which module may import what. See ARCHITECTURE.md, "Directions".

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The folder `src`: named by the build where its tests run elsewhere, beside the manifest otherwise.
fn source_root() -> PathBuf {
    match env::var_os("ARCHITECTURE_SOURCE_ROOT") {
        Some(root) => root.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
    }
}

/// Every Rust file with its path below `src` and its text without comments and tests.
fn sources() -> Vec<(String, String)> {
    let root = source_root();
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder of the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(&root)
                    .expect("below the root")
                    .to_string_lossy()
                    .replace('\\', "/");
                if !name.ends_with("tests.rs") {
                    sources.push((name, code(&fs::read_to_string(&path).expect("a text"))));
                }
            }
        }
    }
    assert!(
        sources.len() > 50,
        "only {} sources below {}",
        sources.len(),
        root.display()
    );
    sources
}

fn code(text: &str) -> String {
    let text = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a path beginning with the crate's name is used.
fn names(code: &str, krate: &str) -> bool {
    code.match_indices(krate).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + krate.len()..];
        let starts =
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '"');
        starts && after.starts_with("::")
    })
}

#[test]
fn plain_layers_know_no_actor_no_client_and_no_runtime() {
    let plain = [
        "protocol/",
        "json/",
        "sse/",
        "wire/",
        "retry/",
        "duration.rs",
    ];
    for (file, code) in sources() {
        if plain.iter().any(|layer| file.starts_with(layer)) {
            for krate in ["actix", "actix_rt", "actix_http", "awc", "tokio"] {
                assert!(!names(&code, krate), "{file} names {krate}");
            }
        }
    }
}

#[test]
fn arrows_between_modules_point_one_way() {
    let ranks = [
        ("protocol", 0),
        ("json", 0),
        ("sse", 0),
        ("wire", 1),
        ("secret", 1),
        ("transport", 2),
        ("provider", 3),
        ("retry", 4),
        ("actors", 5),
        ("runtime", 6),
        ("cli", 7),
    ];
    for (file, code) in sources() {
        let own = ranks.iter().find(|(layer, _)| {
            file.starts_with(&format!("{layer}/")) || file == format!("{layer}.rs")
        });
        let Some((_, own)) = own else { continue };
        for (layer, rank) in ranks.iter().filter(|(_, rank)| rank > own) {
            let imported = code.contains(&format!("crate::{layer}::"))
                || code.contains(&format!("    {layer}::"));
            assert!(
                !imported,
                "{file} (rank {own}) imports {layer} (rank {rank})"
            );
        }
    }
}

#[test]
fn one_file_names_each_crate_that_is_kept_apart() {
    for (krate, only) in [
        ("awc", "transport/awc.rs"),
        ("actix_http", "transport/awc.rs"),
        ("actix_tls", "transport/awc.rs"),
        ("backoff", "retry/backoff.rs"),
        ("clap", "cli/"),
    ] {
        let users: Vec<_> = sources()
            .into_iter()
            .filter(|(_, code)| names(code, krate))
            .map(|(file, _)| file)
            .collect();
        assert!(
            users
                .iter()
                .all(|file| file.starts_with(only) || (krate == "clap" && file == "main.rs")),
            "{krate}: {users:?}"
        );
        assert!(!users.is_empty() || krate == "clap", "nobody names {krate}");
    }
}
