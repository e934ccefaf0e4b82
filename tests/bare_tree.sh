#!/usr/bin/env bash
# What each feature brings into the tree of a program that depends on the crate: without features no runtime, client, TLS or log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0

# tree FEATURES: the crates beside ours, a line each, those for other platforms too.
tree() {
  cargo tree --locked --package actix-responses --edges normal --target all --no-default-features --features "$1" \
    --prefix none --format '{p}' | tail -n +2 | cut -d ' ' -f 1 | sort -u
}

# lacks FEATURES CRATE...: none of the crates comes with the features. A name that the tree of all features
# does not have either is a mistake. A name is a regular expression.
lacks() {
  local features=$1 crates name found
  shift
  crates=$(tree "$features")
  echo "features '$features': $(wc -l <<<"$crates") crates"
  for name in "$@"; do
    grep -qx -- "$name" <<<"$all" || { echo "bare_tree: no crate is called $name" >&2; failed=1; }
    if found=$(grep -x -- "$name" <<<"$crates"); then
      echo "bare_tree: features '$features' bring" $found >&2
      failed=1
    fi
  done
}

all=$(tree full)
lacks '' metrics 'actix.*' awc 'tokio.*' mio socket2 'rustls.*' ring backoff 'tracing.*' 'futures.*' url toml 'zstd.*' 'clap.*' redis
lacks loopback metrics 'actix.*' awc 'rustls.*' ring backoff url toml 'zstd.*' 'clap.*' tracing-subscriber redis
lacks runtime metrics toml 'zstd.*' 'clap.*' tracing-subscriber redis
lacks cli redis
exit "$failed"
