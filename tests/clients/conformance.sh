#!/usr/bin/env bash
# The suite of the openresponses specification over HTTP: against the embedded provider, and through the relay.
#
#   OPENRESPONSES=FOLDER tests/clients/conformance.sh [PROGRAM]     the program, else the debug build's
#
# The suite is a repository of its own, and no package: the folder is a copy of it in which `npm install` (or `bun install`) was run,
# with `tsx` beside it. It ends with 77 where there is none. Its cases over WebSocket are left out: the relay has none yet.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath "${1:-$here/../../target/debug/actix-responses}")
. "$here/../interop/common.sh"

suite=${OPENRESPONSES:-}
if [[ ! -f $suite/bin/compliance-test.ts || ! -x $suite/node_modules/.bin/tsx ]]; then
  echo "OPENRESPONSES names no folder with the suite: nothing is checked" >&2
  exit 77
fi
cases=$(grep -oE '^    id: "[a-z-]+"' "$suite/src/lib/compliance-tests.ts" | cut -d '"' -f 2 | grep -v '^websocket-')

start loopback "$program" loopback --tool-calls
await loopback '^http' 10
server=$(grep -m1 '^http' "$work/loopback.log")
start relay "$program" serve --listen 127.0.0.1:0 --base-url "$server"
await relay '^http' 10
status=0
for url in "$server" "$(grep -m1 '^http' "$work/relay.log")"; do
  (cd "$suite" && node_modules/.bin/tsx bin/compliance-test.ts --base-url "$url" --api-key sk-clients --filter "$(paste -sd, <<<"$cases")") || status=$?
done
exit "$status"
