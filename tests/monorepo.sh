#!/usr/bin/env bash
# Builds this repository as somebody else's monorepos do, from a copy of the checkout that they may not write into:
#
#   smallest     bazel_dep and local_path_override, and nothing else of ours
#   our_crates   a service with actix-web from a hub of its own, into which go the crates that it shares with us
#   one_hub      the same service, with one hub of the monorepo's for all
#
# Arguments are flags of each command of Bazel's. MONOREPOS names which are built (default: all). With ANALYSED they are analysed, and in
# the first is built what needs few crates: each has names of its own for all of them, which are compiled again for that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
flags=("$@")
read -r -d '' -a ways <<<"${MONOREPOS:-smallest our_crates one_hub}" || true
checkout=$PWD
work=$(mktemp -d)

finish() {
  for way in "${ways[@]}"; do
    [[ -d $work/$way ]] && (cd "$work/$way" && bazel clean --expunge >/dev/null 2>&1)
  done
  chmod -R u+w "$work"
  rm -rf "$work"
}
trap finish EXIT

# What is committed and what would be: nothing that Cargo or Bazel have left here.
mkdir "$work/checkout"
git ls-files -z --cached --others --exclude-standard --deduplicate | while IFS= read -r -d '' file; do
  [[ ! -e $file ]] || printf '%s\0' "$file"
done | tar -c --null --files-from=- | tar -x -C "$work/checkout"
chmod -R a-w "$work/checkout"
sums() { (cd "$work/checkout" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }
sums >"$work/before"

# README's blocks are files here, or parts of them: N is which of its Python blocks.
block() { awk -v n="$1" '/^```python$/ { inside = ++seen == n; next } /^```$/ { inside = 0 } inside' README.md; }
as_in_readme() {
  diff <(block "$1") <(sed "$3" "tests/monorepo/$2") || { echo "monorepo.sh: README does not show tests/monorepo/$2" >&2; exit 1; }
}
as_in_readme 1 smallest/MODULE.bazel '1,2d'
as_in_readme 2 smallest/BUILD.bazel ''

for way in "${ways[@]}"; do
  start=$SECONDS
  cp -R "$checkout/tests/monorepo/common" "$work/$way"
  cp -R "$checkout/tests/monorepo/$way/." "$work/$way/"
  cd "$work/$way"
  mkdir third_party
  ln -s "$work/checkout" third_party/actix-responses
  [[ $way != smallest ]] || rm -r services
  if [[ -n ${ANALYSED:-} ]]; then
    bazel build "${flags[@]}" --nobuild //...
    [[ $way != smallest ]] ||
      bazel build "${flags[@]}" --@actix_responses//:loopback=false --@actix_responses//:runtime=false @actix_responses
    answer=
  elif [[ $way == smallest ]]; then
    answer=$(bazel run "${flags[@]}" //:ask -- "hello from the monorepo")
  else
    bazel test "${flags[@]}" //...
    answer=$(bazel run "${flags[@]}" //services/answers -- "hello from the monorepo")
  fi
  if [[ $way != smallest ]]; then
    # One System and one runtime: each of these is there once, from whichever hub.
    bazel cquery "${flags[@]}" 'kind("rust_library rule", deps(//services/answers))' 2>/dev/null | sed 's/ (.*//' | sort -u |
      sed -n 's/^.*__\(actix\|actix-rt\|bytes\|futures-core\|tokio\)-[0-9][^/]*\/\/.*/\1/p' | sort | uniq -c >"$work/copies"
    awk '$1 != 1 { exit 1 } END { exit NR != 5 }' "$work/copies" || { cat "$work/copies" >&2; echo "monorepo.sh: $way: more than one copy" >&2; exit 1; }
    echo "$way: one copy each of $(awk '{ print $2 }' "$work/copies" | paste -s -d ' ')"
  fi
  [[ -n ${ANALYSED:-} || $answer == *"hello from the monorepo"* ]] || { echo "monorepo.sh: $way answered: $answer" >&2; exit 1; }
  echo "$way: ${answer:-analysed}"
  echo "$way: $((SECONDS - start)) s"
done

sums | diff "$work/before" - || { echo "monorepo.sh: something wrote into the checkout" >&2; exit 1; }
did=built
[[ -z ${ANALYSED:-} ]] || did=analysed
echo "monorepo.sh: ${ways[*]}: $did from a checkout that nothing wrote into"
