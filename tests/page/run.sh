#!/usr/bin/env bash
# The page of the relay in Chromium: what it shows, what it keeps to itself, by keyboard, on a phone, in the dark.
#
#   tests/page/run.sh [--pictures FOLDER] [PROGRAM]     the program, else the debug build's; the pictures are for a look at it
#
# Needs node with npm, and Chromium. playwright-core, which drives it, is installed from npm into a folder that is kept (14 MB). It ends with
# 77 where nothing can be checked.
#
# Environment:
#   PAGE_CACHE   that folder             (default ~/.cache/actix-responses-page)
#   CHROMIUM     the browser's program   (default chromium)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PAGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/actix-responses-page}
version=1.65.1
pictures=
program=$here/../../target/debug/actix-responses
while (($#)); do
  case $1 in
    --pictures) mkdir -p "$2" && pictures=$(realpath "$2") && shift ;;
    *) program=$1 ;;
  esac
  shift
done
program=$(realpath "$program")
for tool in node npm "${CHROMIUM:=chromium}"; do
  command -v "$tool" >/dev/null || { echo "there is no $tool here: nothing is checked" >&2; exit 77; }
done
. "$here/../interop/common.sh"

if [[ ! -f $cache/$version ]]; then
  mkdir -p "$cache"
  if ! npm install --prefix "$cache" --no-fund --no-audit --silent "playwright-core@$version" >&2; then
    echo "playwright-core $version can't be installed here: nothing is checked" >&2
    exit 77
  fi
  touch "$cache/$version"
fi

# The servers: one that talks slowly, one whose every text is HTML, one that is down at first, one that fails in mid-stream.
node "$here/scripts.mjs" "$work"
for name in slow html flaky broken; do
  start "$name" "$program" loopback --quiet --script "$work/$name.json"
  await "$name" '^http' 20
done
{
  for name in slow html flaky broken; do
    printf '[providers.%s]\nbase_url = "%s"\n[[route]]\nmodel = "%s*"\nprovider = "%s"\n' "$name" "$(<"$work/$name.log")" "$name" "$name"
  done
} >"$work/relay.toml"
token=page-test-$RANDOM$RANDOM
printf 'ada %s\n' "$(printf %s "$token" | sha256sum | cut -d ' ' -f 1)" >"$work/tokens"
start open "$program" serve --listen 127.0.0.1:0 --config "$work/relay.toml"
start guarded "$program" serve --listen 127.0.0.1:0 --config "$work/relay.toml" --tokens "$work/tokens"
for name in open guarded; do await "$name" '^http' 20; done
url() { head -n 1 "$work/$1.log" | sed 's|/v1$||'; }

export CHROMIUM=$(command -v "$CHROMIUM") MODULES=$cache PROFILE=$work/profile PICTURES=$pictures
node "$here/page.mjs" "$(url open)" "$(url guarded)" "$token"
