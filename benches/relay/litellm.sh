#!/usr/bin/env bash
# Measures litellm's proxy beside the relay: the rows `litellm` of `cargo bench`.
#
#   benches/relay/litellm.sh
#
# `litellm[proxy]` has 740 MB. It is taken from $LITELLM, the path of its `litellm`, or installed into a temporary folder with
# python3 and pip, as tests/interop/litellm.sh does.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
version=1.106.2
if [[ -z ${LITELLM:-} ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet "litellm[proxy]==$version"
  LITELLM=$work/venv/bin/litellm
fi
export LITELLM
cargo bench --manifest-path "$root/Cargo.toml" --locked --bench relay -- litellm
