//! The checks see what they are for: small made-up crates that break one rule each.

use crate::{
    rules::{Known, Room, check_circles, check_ranks, check_users},
    source::{Binding, Source},
    tree::{Arrow, Tree},
};

const ROOMS: [Room; 5] = [
    room("sse", 0),
    room("wire", 1),
    room("actors", 2),
    room("lib", 3),
    room("main", 4),
];

const fn room(name: &'static str, rank: u8) -> Room {
    Room { name, rank }
}

const fn known(from: &'static str, to: &'static str) -> Known {
    Known {
        from,
        to,
        why: "for now",
    }
}

/// A crate of three rooms, in which one file says something more.
fn files_with(file: &'static str, more: &'static str) -> Vec<(&'static str, String)> {
    let files = [
        (
            "lib.rs",
            "pub mod actors; pub mod sse; mod wire; pub use wire::Wire;",
        ),
        ("main.rs", "use actix_responses::Wire; fn main() {}"),
        ("actors/mod.rs", "mod audience; pub use audience::Delivery;"),
        (
            "actors/audience.rs",
            "pub struct Delivery; pub enum End { Whole }",
        ),
        ("sse/mod.rs", "mod decoder; mod lines;"),
        ("sse/decoder.rs", "use super::lines::Lines;"),
        ("sse/lines.rs", "pub struct Lines;"),
        ("wire/mod.rs", "use crate::sse; pub struct Wire;"),
    ];
    let more_of = |name| if name == file { more } else { "" };
    let texts = files.map(|(name, text)| (name, format!("{text}\n{}", more_of(name))));
    texts.into_iter().collect()
}

fn tree_of(files: &[(&'static str, String)]) -> Tree {
    Tree::new(files.iter().map(|(name, text)| (*name, &**text)))
}

fn arrows_with(file: &'static str, more: &'static str) -> Vec<String> {
    let arrows = tree_of(&files_with(file, more)).uses().into_keys();
    let arrows = arrows.filter(|arrow| arrow.from == file);
    arrows.map(|Arrow { to, .. }| to).collect()
}

/// What the ranks say to a text more in a file.
fn ranks_with(file: &'static str, more: &'static str, known: &[Known]) -> Vec<String> {
    let files = files_with(file, more);
    let arrows = tree_of(&files).uses_and_exports();
    check_ranks(files.iter().map(|(name, _)| *name), &arrows, &ROOMS, known)
}

fn circles_with(file: &'static str, more: &'static str, known: &[Known]) -> Vec<String> {
    check_circles(&tree_of(&files_with(file, more)).uses(), known)
}

#[test]
fn the_made_up_crate_is_right() {
    assert_eq!(ranks_with("", "", &[]), [""; 0]);
    assert_eq!(circles_with("", "", &[]), [""; 0]);
}

#[test]
fn a_use_against_the_ranks_is_seen_however_it_is_written() {
    for more in [
        "use crate::actors::Delivery;",
        "use crate::{actors::Delivery, wire::Wire};",
        "use crate::{\n    wire::{self},\n    actors::{\n        Delivery as Sent,\n    },\n};",
        "use super::super::actors::Delivery;",
        "use super::super::{actors};",
        "use crate::actors::*; fn f(_: Delivery) {}",
        "use crate::actors as others; fn f(_: others::Delivery) {}",
        "fn f() { use crate::actors::Delivery; }",
        "fn f(_: crate::actors::Delivery) {}",
        "fn f() -> Vec<crate::actors::Delivery> { Vec::new() }",
        "impl From<crate::actors::Delivery> for X {}",
        "pub use crate::actors::Delivery;",
        "#[cfg(not(test))] use crate::actors::Delivery;",
        "#[derive(crate::actors::Delivery)] struct S;",
        "#[serde(with = \"crate::actors::Delivery\")] struct S;",
        "macro_rules! m { () => { $crate::actors::Delivery } }",
        "fn f<'a>(c: char) -> &'a str { if c == '\"' { crate::actors::f() } else { \"\" } }",
    ] {
        let wrong = ranks_with("sse/decoder.rs", more, &[]);
        let said = "sse/decoder.rs (rank 0) uses actors/";
        assert!(
            wrong.iter().any(|wrong| wrong.starts_with(said)),
            "{more}: {wrong:?}"
        );
    }
}

#[test]
fn a_use_by_way_of_another_name_is_one_of_what_it_stands_for() {
    // lib.rs passes on what wire/ defines.
    assert_eq!(
        ranks_with("sse/decoder.rs", "use crate::Wire;", &[]),
        ["sse/decoder.rs (rank 0) uses wire/mod.rs (rank 1): crate::Wire"]
    );
    assert_eq!(
        arrows_with("wire/mod.rs", "use crate::actors::Delivery;"),
        ["actors/audience.rs", "sse/mod.rs"]
    );
    assert_eq!(
        arrows_with("actors/mod.rs", "use crate::Wire as W; use W::Chat;"),
        ["wire/mod.rs"]
    );
    // The command knows the library by its name.
    assert_eq!(
        arrows_with("main.rs", "fn f() { actix_responses::sse::f(); }"),
        ["sse/mod.rs", "wire/mod.rs"]
    );
}

#[test]
fn what_is_no_use_is_not_taken_for_one() {
    for more in [
        "// use crate::actors::Delivery;",
        "/* /* */ use crate::actors::Delivery; */",
        "/// See [`crate::actors::Delivery`].\nstruct S;",
        "const S: &str = \"use crate::actors::Delivery;\";",
        "const S: &str = r#\"\" use crate::actors::Delivery; \"#;",
        "const S: &str = \"\\\" use crate::actors::Delivery;\";",
        "#[cfg(test)]\nmod tests {\n    use crate::actors::Delivery;\n}",
        "#[cfg(all(test, feature = \"zstd\"))]\nmod tests { use crate::actors::Delivery; }",
        "#[cfg(test)]\n#[allow(unused)]\nfn f() { crate::actors::f(); }",
        "#[cfg(test)]\nuse crate::{actors::Delivery};",
        "pub(in crate::actors) struct S;",
        "use actors::Delivery;",
        "fn f() -> impl Sized + use<> {}",
    ] {
        assert_eq!(ranks_with("sse/decoder.rs", more, &[]), [""; 0], "{more}");
    }
    // What follows is seen again.
    let more = "#[cfg(test)] mod tests { fn f() {} } use crate::actors::Delivery;";
    assert_eq!(ranks_with("sse/decoder.rs", more, &[]).len(), 1);
    // A file of tests.
    let mut files = files_with("sse/lines.rs", "#[cfg(test)] mod tests;");
    files.push((
        "sse/lines/tests.rs",
        "mod more; use crate::actors;".to_owned(),
    ));
    files.push(("sse/lines/tests/more.rs", "use crate::actors;".to_owned()));
    let tree = tree_of(&files);
    assert!(tree.reached.contains("sse/lines/tests/more.rs"));
    assert!(
        tree.uses()
            .keys()
            .all(|arrow| !arrow.from.contains("tests"))
    );
}

#[test]
fn a_file_without_a_rank_and_a_rank_without_a_file_are_told() {
    let mut files = files_with("lib.rs", "mod relay;");
    files.push(("relay/mod.rs", String::new()));
    files.retain(|(name, _)| *name != "main.rs");
    let arrows = tree_of(&files).uses();
    let names = files.iter().map(|(name, _)| *name);
    assert_eq!(
        check_ranks(names, &arrows, &ROOMS, &[]),
        ["relay/mod.rs has no rank", "main has a rank and no file"]
    );
}

#[test]
fn rooms_of_one_rank_do_not_use_each_other() {
    let rooms = ROOMS.map(|Room { name, rank }| room(name, rank.saturating_sub(1)));
    let files = files_with("", "");
    let arrows = tree_of(&files).uses();
    assert_eq!(
        check_ranks(files.iter().map(|(name, _)| *name), &arrows, &rooms, &[]),
        ["wire/mod.rs (rank 0) uses sse/mod.rs (rank 0): crate::sse"]
    );
}

#[test]
fn a_circle_of_files_is_told_with_what_closes_it() {
    assert_eq!(
        circles_with("sse/lines.rs", "use super::decoder::Decoder;", &[]),
        [
            "a circle: sse/decoder.rs -> sse/lines.rs (super::lines::Lines) -> sse/decoder.rs (super::decoder::Decoder)"
        ]
    );
    // Of three files, one of which defines what another passes on.
    let three = circles_with("sse/lines.rs", "fn f(_: crate::actors::Delivery) {}", &[]);
    assert_eq!(three, [""; 0]);
    let mut files = files_with("sse/lines.rs", "fn f(_: crate::actors::Delivery) {}");
    let audience = files
        .iter_mut()
        .find(|(name, _)| *name == "actors/audience.rs");
    audience
        .unwrap()
        .1
        .push_str("use crate::sse::decoder::Decoder;");
    let wrong = check_circles(&tree_of(&files).uses(), &[]);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].starts_with("a circle: actors/audience.rs -> sse/decoder.rs"));
    assert!(wrong[0].ends_with("-> actors/audience.rs (crate::actors::Delivery)"));
}

#[test]
fn a_file_that_uses_what_it_passes_on_is_in_the_circle() {
    let uses_parent = "use super::Decoder;";
    let files = |parent| {
        let mut files = files_with("sse/mod.rs", parent);
        files.push(("sse/inner.rs", uses_parent.to_owned()));
        check_circles(&tree_of(&files).uses(), &[])
    };
    let only_passed_on = "mod inner; pub use inner::Inner; pub struct Decoder;";
    assert_eq!(files(only_passed_on), [""; 0]);
    let used = "mod inner; pub use inner::Inner; pub struct Decoder(Inner);";
    assert_eq!(files(used).len(), 1);
}

#[test]
fn an_exception_holds_as_long_as_it_is_needed() {
    const STALE: &str = "breaks no rule any more: take it off the list";
    let up = [known("sse/decoder.rs", "actors/audience.rs")];
    let more = "use crate::actors::Delivery;";
    assert_eq!(ranks_with("sse/decoder.rs", more, &up), [""; 0]);
    let stale = ranks_with("sse/decoder.rs", "", &up);
    assert!(stale.len() == 1 && stale[0].ends_with(STALE), "{stale:?}");

    let back = [known("sse/lines.rs", "sse/decoder.rs")];
    let more = "use super::decoder::Decoder;";
    assert_eq!(circles_with("sse/lines.rs", more, &back), [""; 0]);
    let stale = circles_with("sse/lines.rs", "", &back);
    assert!(stale.len() == 1 && stale[0].ends_with(STALE), "{stale:?}");
    // An arrow that is there, in no circle.
    let harmless = [known("sse/decoder.rs", "sse/lines.rs")];
    let stale = circles_with("", "", &harmless);
    assert!(stale.len() == 1 && stale[0].ends_with(STALE), "{stale:?}");
}

#[test]
fn another_crate_is_seen_by_its_name_and_a_module_of_that_name_is_not() {
    for more in [
        "use awc::Client;",
        "use {awc::{Client as C}};",
        "fn f() { awc::Client::new(); }",
        "use ::awc;",
        "#[awc::main] fn f() {}",
    ] {
        let tree = tree_of(&files_with("sse/lines.rs", more));
        assert_eq!(tree.users_of("awc"), ["sse/lines.rs"], "{more}");
        assert_eq!(check_users(&tree, "awc", &["sse/lines.rs"]), [""; 0]);
        assert_eq!(check_users(&tree, "awc", &["wire/"]).len(), 1);
    }
    let tree = tree_of(&files_with("sse/mod.rs", "pub use lines::Lines;"));
    assert_eq!(tree.users_of("lines"), [""; 0]);
    assert_eq!(
        check_users(&tree, "lines", &["sse/"]),
        ["nobody names lines"]
    );
}

#[test]
fn use_trees_are_read_to_their_leaves() {
    let text = "pub(crate) use a::{self, b::{c as d, *}, super::e as _}; use f;";
    let imports = Source::read(text).imports.into_iter();
    let leaves: Vec<_> = imports
        .map(|import| (import.path.join("::"), import.binding, import.is_public))
        .collect();
    let name = |name: &str| Binding::Name(name.to_owned());
    assert_eq!(
        leaves,
        [
            ("a".to_owned(), name("a"), true),
            ("a::b::c".to_owned(), name("d"), true),
            ("a::b".to_owned(), Binding::All, true),
            ("a::super::e".to_owned(), Binding::Nothing, true),
            ("f".to_owned(), name("f"), false),
        ]
    );
}
