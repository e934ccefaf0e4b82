#!/usr/bin/env bash
# Cuts the network under a running answer: tests/netns_cut.sh [PROGRAM]
# In a network namespace of its own the loopback device goes down, so that packets vanish and neither side is told. The
# command must report it when its idle timeout is over, and a request into the cut network must not hang either.
# Where that can't be had it does nothing, says why, and ends with 77.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

program=${1:-target/debug/actix-responses}
[[ -x $program ]] || cargo build --locked

# A name of our own; nobody else's namespace is touched.
namespace=actix-responses-$$
if ! command -v ip >/dev/null || ! ip netns add "$namespace" 2>/dev/null; then
  echo "netns_cut: skipped: this needs 'ip netns', and to be root"
  exit 77
fi
work=$(mktemp -d)
server=
client=
cleanup() {
  for process in $server $client; do kill -9 "$process" 2>/dev/null || true; done
  ip netns delete "$namespace"
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "netns_cut: $*" >&2; exit 1; }
inside() { exec ip netns exec "$namespace" "$@"; }
# Waits until a file has a line with such a text.
until_in() {
  for _ in $(seq 200); do
    grep -q "$1" "$2" 2>/dev/null && return
    sleep 0.05
  done
  fail "no $1 in $2: $(cat "$2")"
}

ip -n "$namespace" link set lo up
inside "$program" loopback --quiet --pace 100ms >"$work/server" &
server=$!
# The shell is not to tell how it ends.
disown
until_in http "$work/server"
base_url=$(cat "$work/server")

# A cut in the middle of an answer.
inside env -u OPENAI_API_KEY "$program" ask --json --base-url "$base_url" --max-attempts 1 --idle-timeout 1s hello \
  >"$work/answer" 2>"$work/errors" </dev/null &
client=$!
until_in output_text "$work/answer"
started=$(date +%s%N)
ip -n "$namespace" link set lo down
status=0
wait "$client" || status=$?
client=
took=$((($(date +%s%N) - started) / 1000000))
[[ $status == 1 ]] || fail "status $status: $(cat "$work/errors")"
tail -n 1 "$work/answer" | grep -q '"kind":"idle_timeout"' || fail "it ended with $(tail -n 1 "$work/answer")"
((took >= 500 && took < 5000)) || fail "the idle timeout of 1 s was over after $took ms"
echo "netns_cut: a cut in the middle was reported after $took ms"

# The device is still down: nobody answers, and the connect timeout or the missing route says so.
started=$(date +%s%N)
status=0
(inside "$program" ask --json --base-url "$base_url" --max-attempts 1 --connect-timeout 1s hello) \
  >"$work/answer" 2>"$work/errors" </dev/null || status=$?
took=$((($(date +%s%N) - started) / 1000000))
[[ $status == 1 ]] || fail "status $status: $(cat "$work/errors")"
tail -n 1 "$work/answer" | grep -Eq '"kind":"(connect|connect_timeout)"' || fail "it ended with $(tail -n 1 "$work/answer")"
((took < 5000)) || fail "the connect timeout of 1 s was over after $took ms"
echo "netns_cut: a request into the cut network was given up after $took ms"
