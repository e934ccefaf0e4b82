#!/usr/bin/env bash
# Licences, bans, sources and advisories of everything in Cargo.lock, as deny.toml says.
#
#   supply_chain.sh [ADVISORY_DB]
#   supply_chain.sh --install       nothing but cargo-deny, where it is missing
#
# And the same of a program that embeds the crate, with the deny.toml that src/guide/supply_chain.md gives it.
#
# ADVISORY_DB is a folder with a copy of the RustSec database, for a machine that can't fetch it; without one it is fetched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v cargo-deny >/dev/null; then
  # It runs for seconds. As it is released it is linked as a whole, which takes minutes.
  CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --debug --locked cargo-deny --version 0.20.2
fi
[[ ${1:-} != --install ]] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The embedder, with our Cargo.lock, so that nothing newer is looked for.
mkdir -p "$work/embedder/src"
echo 'fn main() {}' >"$work/embedder/src/main.rs"
cp Cargo.lock "$work/embedder"
cat >"$work/embedder/Cargo.toml" <<END
[package]
name = "embedder"
version = "0.1.0"
edition = "2024"
license = "MIT"
publish = false

[dependencies]
actix-responses = { version = "0.1", path = "$PWD", default-features = false, features = ["runtime"] }

[workspace]
END
sed -n '/^```toml$/,/^```$/{/^```/d;p}' src/guide/supply_chain.md >"$work/embedder/deny.toml"
embedder=(--manifest-path "$work/embedder/Cargo.toml")

if [[ -z ${1:-} ]]; then
  cargo deny check
  cargo deny "${embedder[@]}" check
  exit
fi

# cargo-deny keeps its database as a git checkout whose name is made of the database's URL.
db=$work/dbs/advisory-db-3157b0e258782691
mkdir -p "$work/dbs"
cp -r "$1" "$db"
git -C "$db" init --quiet
git -C "$db" add --all
git -C "$db" -c user.name=ci -c user.email=ci@localhost commit --quiet --message "a copy"
touch "$db/.git/FETCH_HEAD"
sed "s|^\[advisories\]|&\ndb-path = \"$work/dbs\"|" deny.toml >"$work/deny.toml"
# Those for other targets too: they are judged, and no build has fetched them.
cargo fetch --quiet --locked
cargo deny --offline --config "$work/deny.toml" check
sed -i "s|^\[advisories\]|&\ndb-path = \"$work/dbs\"|" "$work/embedder/deny.toml"
# What the guide excepts must be there: an exception too many is a sentence that is no longer true.
cargo deny --offline "${embedder[@]}" --config "$work/embedder/deny.toml" check \
  --deny advisory-not-detected --deny license-not-encountered
