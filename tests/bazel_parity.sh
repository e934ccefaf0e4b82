#!/usr/bin/env bash
# Checks that Bazel knows what Cargo knows: every test by its name, every crate,
# feature and lint, and the version. Prints the counts, and fails with what differs.
# The packages tests/axum and tests/otel are Cargo's alone, for all that they compile.
# BAZEL_FLAGS are passed to each command of Bazel's that builds. With PARITY_ALL the names of the benchmarks are compared, too, for which
# Cargo has to build them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
read -r -d '' -a flags <<<"${BAZEL_FLAGS:-}" || true
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# compare WHAT: what Cargo knows against what Bazel knows, a line each.
compare() {
  sort -o "$work/cargo" "$work/cargo"
  sort -o "$work/bazel" "$work/bazel"
  if diff "$work/cargo" "$work/bazel" >"$work/difference"; then
    echo "$1: cargo $(wc -l <"$work/cargo"), bazel $(wc -l <"$work/bazel"), the same"
  else
    echo "$1: cargo $(wc -l <"$work/cargo"), bazel $(wc -l <"$work/bazel"); they differ:"
    sed -n -e 's/^</  only cargo:/p' -e 's/^>/  only bazel:/p' "$work/difference"
    failed=1
  fi
}

# section NAME [FILE]: the keys of a table of Cargo.toml, with what is right of `=`.
section() {
  awk -v table="[$1]" '/^\[/ { inside = $0 == table; next } inside && /^[a-z]/ { print }' "${2:-Cargo.toml}"
}

# --- Versions, crates, features, lints ------------------------------------------

third_party/crates/vendor.sh --check

section package | sed -n 's/^version = "\(.*\)"/\1/p' >"$work/cargo"
sed -n 's/^ *version = "\(.*\)",$/\1/p' MODULE.bazel | head -n 1 >"$work/bazel"
compare versions

# For each target a line for each of its crates and features, its edition and its version. Cargo gives every target all of
# [dependencies], Bazel leaves those that only the command uses out of the library, and the feature `default` with `cli`.
cargo metadata --locked --format-version 1 --no-deps | jq -r '
  .packages[] | select(.name | test("-(axum|otel)$") | not) | . as $package
  | def closure: [., ($package.features[.][] | select(startswith("dep:") or contains("/") | not) | closure)] | flatten | unique;
  def crates($dev; $features):
    [$features[] | $package.features[.][] | select(startswith("dep:")) | ltrimstr("dep:")] as $asked
    | [.dependencies[] | select(if .kind == "dev" then $dev else (.optional | not) or IN(.name; $asked[]) end)
      | .name | select(. != "actix-responses")] | unique;
  ("default" | closure) as $default
  | (.name == "actix-responses-bench") as $bench
  | .targets[]
  | (if .kind == ["lib"] then {name, dev: false, features: ($default - ["cli", "default"])}
    elif .kind == ["bin"] then {name, dev: false, features: $default}
    elif .kind == ["test"] then {name: "\(.name)_test", dev: true, features: $default}
    elif .kind == ["bench"] then {name: "\(.name)_bench", dev: true, features: []}
    elif $bench then empty
    else ({name}, {name: "\(.name)_example_test"} | . + {dev: true, features: $default}) end) as $target
  | ($package | crates($target.dev; $target.features)[] | "\($target.name) crate \(.)"),
    ($target.features[] | "\($target.name) feature \(.)"),
    "\($target.name) edition \($package.edition)", "\($target.name) version \($package.version)"
' >"$work/cargo"
bazel cquery "${flags[@]}" --output=build 'kind("rust_(library|binary|test) rule", //:all)' 2>/dev/null | awk '
  function each(line, what) {
    while (match(line, /"[^"]*"/)) {
      item = substr(line, RSTART + 1, RLENGTH - 2)
      line = substr(line, RSTART + RLENGTH)
      if (what == "feature" || sub(/^@+[^\/]*actix_responses_crates\/\/:/, "", item)) lines[++count] = what " " item
    }
  }
  /^rust_/ { count = 0; name = ""; version = "0.0.0"; own = 1 }
  /^  name = / { split($0, part, "\""); name = part[2] }
  /^  version = / { split($0, part, "\""); version = part[2] }
  /^  edition = / { split($0, part, "\""); lines[++count] = "edition " part[2] }
  /^  crate = / { own = 0 }
  /^  deps = / { each($0, "crate") }
  /^  crate_features = / { each($0, "feature") }
  # Unit tests have their crates from the target that they test.
  /^\)/ && name && own { for (i = 1; i <= count; i++) print name, lines[i]; print name, "version", version; name = "" }
' >"$work/bazel"
compare "crates, features, editions and versions of targets"

# A monorepo's hub that replaces ours has what we need, feature for feature.
{
  section dependencies
  section "target.'cfg(unix)'.dependencies"
} | grep -v -e '^clap ' -e '^clap_complete ' -e '^ctor-lite ' -e '^tracing-subscriber ' |
  sed -e 's/, optional = true//' -e 's/^\([a-z0-9_-]*\) = { version = \("[^"]*"\) }/\1 = \2/' >"$work/cargo"
# Its services have a feature more of one crate.
section dependencies tests/monorepo/one_hub/Cargo.toml | sed -e '/^actix-web /s/, features = \["macros"\]//' >"$work/bazel"
compare "crates that a hub in place of ours has"

# rules_rust does not tell the compiler which features there are, so unexpected_cfgs
# would find each of them unexpected.
for tool in rust clippy; do
  section "lints.$tool" | grep -v '^unexpected_cfgs ' |
    sed -n -e 's/ *#.*//' -e 's/^\([a-z0-9_]*\) = .*"\(allow\|warn\|deny\|forbid\)".*/\2 \1/p' |
    sed -e "s/ / $tool::/" -e 's/rust:://'
done >"$work/cargo"
sed -n 's/^build:lint .*clippy_flag=-\([AWDF]\)\(.*\)$/\1 \2/p' .bazelrc | grep -v '^D warnings$' |
  sed -e 's/^A/allow/' -e 's/^W/warn/' -e 's/^D/deny/' -e 's/^F/forbid/' >"$work/bazel"
compare lints

# --- Tests ----------------------------------------------------------------------

# A line each: the target, a blank, the test. Cargo names a target by its root
# file, Bazel by the rules at the top of BUILD.bazel.
# rules_rust tells rustdoc of no feature: what stands behind one in the docs is run by
# Cargo alone, and by how much that is more is printed where all is compared.
bare=(--package actix-responses --no-default-features)
kinds=(--lib --bins --tests)
left_out='_(example_test|bench)$'
if [[ -n ${PARITY_ALL:-} ]]; then
  kinds=(--all-targets)
  left_out='_example_test$'
fi
cargo test --quiet "${kinds[@]}" --no-run 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
cargo test --doc "${bare[@]}" -- --list >"$work/docs" 2>&1 || { cat "$work/docs" >&2; exit 1; }
{
  cargo test "${kinds[@]}" -- --list 2>&1
  cat "$work/docs"
} | sed -n \
  -e 's/^ *Running .*\/\(actix_responses_axum\|spans\)-.*/target elsewhere/p;t' \
  -e 's/^ *Running \(unittests \)\?\([^ ]*\) (.*/target \2/p' \
  -e 's/^ *Doc-tests .*/target doc/p' \
  -e 's/: \(test\|bench\|benchmark\)$//p' >"$work/listed"
awk '
  $1 == "target" {
    target = $2
    sub(/(\/main)?\.rs$/, "", target)
    if (target == "src/lib") target = "unit"
    else if (target == "src") target = "command_unit"
    else if (sub(/^examples\//, "", target)) target = target "_example"
    # What is left is of the package in benches/, and named from there.
    else if (target != "doc" && !sub(/^tests\//, "", target)) target = target "_bench"
    next
  }
  target != "elsewhere_bench" { print target, $0 }
' "$work/listed" >"$work/cargo"

# Each test writes its list to its log; doctests can't list, so they are run. An
# example has no harness of tests: its target runs it.
quiet=(--noshow_progress --ui_event_filters=-info,-warning --test_summary=none)
bazel query 'kind("rust_test rule", //...)' "${quiet[@]:0:2}" | grep -Ev "$left_out" >"$work/targets"
bazel test "${flags[@]}" "${quiet[@]}" --test_arg=--list --target_pattern_file="$work/targets"
bazel test "${flags[@]}" "${quiet[@]}" //:doc_test
logs=$(bazel info "${flags[@]}" bazel-testlogs 2>/dev/null)
sed 's|^//:||' "$work/targets" | while read -r target; do
  sed -n 's/: \(test\|bench\|benchmark\)$//p' "$logs/$target/test.log" | sed "s|^|${target%_test} |"
done >"$work/bazel"
sed -n 's/^test \(.* (line [0-9]*)\).* \.\.\. .*/doc \1/p' "$logs/doc_test/test.log" >>"$work/bazel"
sed -i 's/^\(doc .* (line [0-9]*)\).*/\1/' "$work/cargo"
compare tests
if [[ -n ${PARITY_ALL:-} ]]; then
  docs=$(cargo test --doc -- --list 2>/dev/null | grep -c ': test$')
  echo "examples in docs that Cargo alone runs: $((docs - $(grep -c ': test$' "$work/docs")))"
fi

exit "$failed"
