#!/usr/bin/env bash
# Builds the library and the command twice from nothing, in two places, without
# a cache, and compares the digests. Arguments are flags of `bazel build`, for
# example `-c opt`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)

finish() {
  for base in "$work"/build*; do
    [[ -d $base ]] && bazel --output_base="$base" clean --expunge >/dev/null 2>&1
  done
  chmod -R u+w "$work"
  rm -rf "$work"
}
trap finish EXIT

for base in "$work/build" "$work/build-elsewhere"; do
  mkdir "$base"
  bazel --output_base="$base" build --disk_cache= --noshow_progress --symlink_prefix=/ "$@" \
    //:actix_responses //:actix-responses
  root=$(bazel --output_base="$base" info execution_root 2>/dev/null)
  bazel --output_base="$base" cquery "$@" --output=files \
    'set(//:actix_responses //:actix-responses)' 2>/dev/null | sort -u | (cd "$root" && xargs sha256sum) >"$base.sums"
done
cat "$work/build.sums"
diff "$work/build.sums" "$work/build-elsewhere.sums"
echo "two builds in two places: the same digests"
