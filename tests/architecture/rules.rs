//! What arrows between files are held to. Each check says what is wrong, a sentence each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::tree::{Arrow, Arrows, Tree};

/// A folder of `src`, or a file right in it, and how high it stands: it uses those below it alone.
pub(crate) struct Room {
    pub(crate) name: &'static str,
    pub(crate) rank: u8,
}

/// An arrow that should not be there and still is.
pub(crate) struct Known {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) why: &'static str,
}

impl Known {
    fn arrow(&self) -> Arrow {
        Arrow {
            from: self.from.to_owned(),
            to: self.to.to_owned(),
        }
    }

    fn told_stale(&self) -> String {
        let Self { from, to, why } = self;
        format!("{from} -> {to} ({why}) breaks no rule any more: take it off the list")
    }
}

/// The room of a file.
pub(crate) fn room_of(file: &str) -> &str {
    let room = file.split('/').next().unwrap_or_default();
    room.trim_end_matches(".rs")
}

/// Every file has a rank, and no arrow goes up or sideways from one room to another.
pub(crate) fn check_ranks<'a>(
    files: impl IntoIterator<Item = &'a str>,
    arrows: &Arrows,
    rooms: &[Room],
    known: &[Known],
) -> Vec<String> {
    let ranks: BTreeMap<_, _> = rooms.iter().map(|room| (room.name, room.rank)).collect();
    let mut wrong = Vec::new();
    let mut empty: BTreeSet<_> = ranks.keys().copied().collect();
    for file in files {
        empty.remove(room_of(file));
        if !ranks.contains_key(room_of(file)) {
            wrong.push(format!("{file} has no rank"));
        }
    }
    wrong.extend(
        empty
            .iter()
            .map(|room| format!("{room} has a rank and no file")),
    );

    let mut needed = BTreeSet::new();
    for (arrow, path) in arrows {
        let Arrow { from, to } = arrow;
        let (Some(own), Some(other)) = (ranks.get(room_of(from)), ranks.get(room_of(to))) else {
            continue;
        };
        if room_of(from) == room_of(to) || other < own {
            continue;
        }
        if known.iter().any(|known| known.arrow() == *arrow) {
            needed.insert(arrow);
        } else {
            wrong.push(format!(
                "{from} (rank {own}) uses {to} (rank {other}): {path}"
            ));
        }
    }
    let stale = known
        .iter()
        .filter(|known| !needed.contains(&known.arrow()));
    wrong.extend(stale.map(Known::told_stale));
    wrong
}

/// No file uses itself by way of others.
pub(crate) fn check_circles(arrows: &Arrows, known: &[Known]) -> Vec<String> {
    let known_arrows: BTreeSet<_> = known.iter().map(Known::arrow).collect();
    let mut graph: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for arrow in arrows.keys().filter(|arrow| !known_arrows.contains(arrow)) {
        graph.entry(&arrow.from).or_default().push(&arrow.to);
    }

    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for from in graph.keys() {
        // One circle for each file is enough to see what to do.
        if seen.contains(from) {
            continue;
        }
        let mut back = graph[from].iter().filter_map(|to| way(&graph, to, from));
        if let Some(way) = back.next() {
            seen.extend(way.iter().copied());
            let circle = [&[*from][..], &way].concat();
            let why = circle.windows(2).map(|pair| {
                let [from, to] = [pair[0].to_owned(), pair[1].to_owned()];
                let path = &arrows[&Arrow { from, to }];
                format!("{} ({path})", pair[1])
            });
            let why: Vec<_> = why.collect();
            wrong.push(format!("a circle: {from} -> {}", why.join(" -> ")));
        }
    }
    let stale = known.iter().filter(|known| {
        !arrows.contains_key(&known.arrow()) || way(&graph, known.to, known.from).is_none()
    });
    wrong.extend(stale.map(Known::told_stale));
    wrong
}

/// The shortest way from one file to another, both included.
fn way<'a>(
    graph: &BTreeMap<&'a str, Vec<&'a str>>,
    from: &'a str,
    to: &str,
) -> Option<Vec<&'a str>> {
    let mut ways = VecDeque::from([vec![from]]);
    let mut seen = BTreeSet::from([from]);
    while let Some(way) = ways.pop_front() {
        let last = way[way.len() - 1];
        if last == to {
            return Some(way);
        }
        for next in graph.get(last).into_iter().flatten() {
            if seen.insert(next) {
                ways.push_back([&way[..], &[*next]].concat());
            }
        }
    }
    None
}

/// A crate is named by files that begin so, and by one at least.
pub(crate) fn check_users(tree: &Tree, name: &str, only: &[&str]) -> Vec<String> {
    let users = tree.users_of(name);
    let is_other = |user: &&&str| !only.iter().any(|only| user.starts_with(only));
    let others = users.iter().filter(is_other);
    let mut wrong: Vec<_> = others.map(|user| format!("{user} names {name}")).collect();
    if users.is_empty() && !only.is_empty() {
        wrong.push(format!("nobody names {name}"));
    }
    wrong
}
