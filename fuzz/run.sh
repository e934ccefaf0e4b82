#!/usr/bin/env bash
# Runs every fuzz target for so many seconds (60 unless told), prints what was covered, and fails on a finding.
#
#   fuzz/run.sh [SECONDS] [TARGET...]
#   fuzz/run.sh --install              nothing but cargo-fuzz, where it is missing
#
# It needs no nightly: cargo-fuzz is told to leave out the sanitizers, which alone need one; the crate has no unsafe code for
# them to watch. The instrumentation that libFuzzer steers by is in stable rustc, and libFuzzer itself comes with libfuzzer-sys
# and a C++ compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

seconds=${1:-60}
shift || true
at_once=$(getconf _NPROCESSORS_ONLN)
targets=("$@")
if ((${#targets[@]} == 0)); then
  targets=(sse responses chat errors items bodies)
fi

if ! command -v cargo-fuzz >/dev/null; then
  export PATH=$PWD/target/tools/bin:$PATH
  if ! command -v cargo-fuzz >/dev/null; then
    CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-fuzz --version 0.13.2 --debug --locked --root target/tools
  fi
fi
[[ $seconds != --install ]] || exit 0

export CARGO_TERM_COLOR=never
# As many units as there are for any crate: with one, which is cargo-fuzz's choice, the crate keeps one processor busy for minutes.
build=(--sanitizer none --codegen-units 16)
cargo fuzz build "${build[@]}"

mkdir -p target/logs
# fuzz TARGET: a line of what it did; fails on a finding.
fuzz() {
  local target=$1 log=target/logs/$1.log found=0 counters covered features runs
  mkdir -p "target/corpus/$target"
  # What is found new goes to the first folder, which is not committed; the seeds are.
  cargo fuzz run "${build[@]}" "$target" "target/corpus/$target" "seeds/$target" -- \
    -max_total_time="$seconds" -max_len=2048 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=256 \
    -dict=dictionaries/server.dict -print_final_stats=1 >"$log" 2>&1 || found=1
  counters=$(sed -n 's/.*Loaded [0-9]* modules *(\([0-9]*\) inline.*/\1/p' "$log" | head -1)
  covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  features=$(sed -n 's/.* ft: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  runs=$(sed -n 's/stat::number_of_executed_units: *//p' "$log")
  printf '%-10s %10s runs, %6s edges of %s in the whole program, %6s features\n' \
    "$target" "${runs:-?}" "${covered:-?}" "${counters:-?}" "${features:-?}"
  return "$found"
}

# As many at a time as there are processors.
failed=()
for ((first = 0; first < ${#targets[@]}; first += at_once)); do
  declare -A running=()
  for target in "${targets[@]:first:at_once}"; do
    fuzz "$target" &
    running[$target]=$!
  done
  for target in "${!running[@]}"; do
    wait "${running[$target]}" || failed+=("$target")
  done
done

if ((${#failed[@]})); then
  echo "findings in: ${failed[*]} (inputs in fuzz/artifacts, reports in fuzz/target/logs)" >&2
  exit 1
fi
