#!/usr/bin/env bash
# Puts the .crate files that Cargo fetches into Bazel's repository cache, so
# that the bazel of install.sh finds every crate of Cargo.lock there, by its
# sha256, and downloads none. Run it again when the lock file has changed.
#
#   prime-crates.sh CARGO_PROJECT
#
# Environment:
#   BAZEL_PREFIX   where install.sh has unpacked Bazel   (default /opt/bazel7)
set -euo pipefail

project=$1
cache=${BAZEL_PREFIX:-/opt/bazel7}/repository_cache/content_addressable/sha256
registry=${CARGO_HOME:-$HOME/.cargo}/registry

cargo fetch --quiet --locked --manifest-path "$project/Cargo.toml"

# The generator of rules_rust 0.54 looks for the registry's index under the name
# that Cargo gave it before 1.85.
for new in "$registry"/index/*-1949cf8c6b5b557f; do
  old=${new%-*}-6f17d22bba15001f
  [[ -e $old || ! -e $new ]] || ln -s "${new##*/}" "$old"
done

crates=0
while read -r file sum; do
  crates=$((crates + 1))
  entry=$cache/$sum
  [[ -f $entry/file ]] && continue
  for fetched in "$registry"/cache/*/"$file"; do
    [[ -f $fetched ]] || continue
    mkdir -p "$entry"
    # Whole or not at all: what is there is taken to be right.
    cp "$fetched" "$entry/file.part"
    mv "$entry/file.part" "$entry/file"
    break
  done
  [[ -f $entry/file ]] || {
    echo "prime-crates.sh: Cargo has not fetched $file" >&2
    exit 1
  }
done < <(awk -F '"' '
  $1 ~ /^name = / { name = $2 }
  $1 ~ /^version = / { version = $2 }
  $1 ~ /^checksum = / { print name "-" version ".crate", $2 }
' "$project/Cargo.lock")
echo "all $crates crates of $project/Cargo.lock are in Bazel's repository cache"
