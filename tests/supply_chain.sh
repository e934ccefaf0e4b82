#!/usr/bin/env bash
# Licences, bans, sources and advisories of everything in Cargo.lock, as deny.toml says.
#
#   supply_chain.sh [ADVISORY_DB]
#
# ADVISORY_DB is a folder with a copy of the RustSec database, for a machine that can't fetch it; without one it is fetched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v cargo-deny >/dev/null; then
  cargo install --quiet --locked cargo-deny --version 0.20.2
fi

if [[ -z ${1:-} ]]; then
  exec cargo deny check
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
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
