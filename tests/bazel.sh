#!/usr/bin/env bash
# Bazel's part of CI, from a machine that may not have Bazel yet. A second run
# takes what has not changed from the disk cache.
#
# What takes longer is in .ci/full. With --install it brings Bazel and its crates
# here, and does no more.
#
# Environment:
#   BAZEL_DISK_CACHE   where that is   (default ~/.cache/actix-responses-bazel)
#   BAZEL_JOBS         how many actions at a time   (default: twice as many as there are processors, for tests wait more than they work)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
prefix=${BAZEL_PREFIX:-/opt/bazel7}
flags=("--disk_cache=${BAZEL_DISK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/actix-responses-bazel}" --noshow_progress)
jobs=${BAZEL_JOBS:-$((2 * $(getconf _NPROCESSORS_ONLN)))}
flags+=("--jobs=$jobs" "--local_resources=cpu=$jobs")

step() {
  local name=$1 start=$SECONDS
  shift
  "$@" || { echo "bazel.sh: $name failed" >&2; exit 1; }
  echo "bazel.sh: $name: $((SECONDS - start)) s"
}

recent_enough() {
  local version
  version=$(bazel --version 2>/dev/null) || return 1
  version=${version#bazel }
  ((${version%%.*} >= 7))
}

# One of install.sh's making is brought up to date; another's is left alone.
if [[ -f $prefix/.installed ]] || ! recent_enough; then
  step install third_party/bazel/install.sh
fi
if [[ -f $prefix/.installed ]]; then
  for locked in . tests/monorepo/our_crates tests/monorepo/one_hub; do
    step "prime $locked" third_party/bazel/prime-crates.sh "$locked"
  done
fi

[[ ${1:-} != --install ]] || exit 0
trap 'bazel shutdown' EXIT

step 'test //...' bazel test "${flags[@]}" //...
step 'parity with Cargo' env BAZEL_FLAGS="${flags[*]}" tests/bazel_parity.sh
# What people depend on; Cargo lints all of it, and so does .ci/full by Bazel.
step 'lint' bazel build "${flags[@]}" --keep_going --config=lint //:actix_responses //:actix-responses
step 'run the command' bazel run "${flags[@]}" //:actix-responses -- ask hello
# WORKSPACE gives the same targets their crates under other names, so that all are compiled again: here all are analysed, and what needs
# few crates is built. .ci/full builds and runs all of it.
workspace=("${flags[@]}" --config=workspace)
step 'analyse //... --config=workspace' bazel build "${workspace[@]}" --nobuild //...
step 'build without features --config=workspace' bazel build "${workspace[@]}" --//:loopback=false --//:runtime=false //:actix_responses
# Each compiles all crates again under other names: here they are analysed, and .ci/full builds them.
step "somebody else's monorepos" env ANALYSED=1 tests/monorepo.sh "${flags[@]}"
echo "bazel.sh: $SECONDS s in all"
