#!/usr/bin/env bash
# The public names of the crate with all features, compared with tests/public_api.txt: so a break is seen in review.
#
#   public_api.sh [--write]      --write makes the file anew
#
# Exit status 77: not checked, because this compiler's rustdoc writes another format than the tool reads.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Of rustdoc's JSON, as `public-api` in tests/public_api/Cargo.toml reads it.
format=57
list=tests/public_api.txt

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The JSON is unstable. Only rustdoc is told, so that Cargo builds nothing anew.
cat >"$work/rustdoc" <<'END'
#!/bin/sh
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
END
chmod +x "$work/rustdoc"
RUSTDOC=$work/rustdoc RUSTDOCFLAGS="-Z unstable-options --output-format json --cap-lints allow" \
  cargo doc --quiet --locked --no-deps --lib --package actix-responses --features full
json=${CARGO_TARGET_DIR:-target}/doc/actix_responses.json

if ! grep -qE "\"format_version\":$format[,}]" "$json"; then
  echo "public_api: $(rustc --version) writes another format than $format" >&2
  exit 77
fi
target=$(realpath "${CARGO_TARGET_DIR:-target}")
CARGO_TARGET_DIR=$target/public_api cargo run --quiet --locked --manifest-path tests/public_api/Cargo.toml -- "$json" >"$work/list"
rm "$json"

if [[ ${1:-} == --write ]]; then
  cp "$work/list" "$list"
elif ! diff -u "$list" "$work/list"; then
  echo "public_api: the public names have changed. If that is meant: tests/public_api.sh --write, and a line in CHANGELOG.md" >&2
  exit 1
fi
