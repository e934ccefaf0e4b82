#!/usr/bin/env bash
# Many streams at once, for as long as asked: tests/soak.sh SECONDS [STREAMS]
# The debug build that `cargo test` makes is used again: building for release takes longer than it saves in a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:?usage: tests/soak.sh SECONDS [STREAMS]}
streams=${2:-10000}
# A descriptor for each stream, and some.
needed=$((streams + 200))
if (($(ulimit -n) < needed)) && ! ulimit -n "$needed" 2>/dev/null; then
  echo "soak: $streams streams need $needed descriptors, and the limit is $(ulimit -n)" >&2
  exit 1
fi
SOAK_SECONDS=$seconds SOAK_STREAMS=$streams cargo test --locked --test soak -- --nocapture
