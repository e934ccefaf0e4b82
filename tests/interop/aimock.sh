#!/usr/bin/env bash
# Asks aimock, somebody else's server of both APIs, with its faults switched on one after the other.
#
#   tests/interop/aimock.sh [PROGRAM]     the program, else the debug build's
#
# Needs node and npm. aimock is installed into a temporary folder (12 MB, some seconds), or taken from $AIMOCK, the path of its
# `llmock`. Where it can't be installed nothing is checked, and that is said.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath "${1:-$here/../../target/debug/actix-responses}")
. "$here/common.sh"

version=1.43.0
llmock=${AIMOCK:-}
if [[ -z $llmock ]]; then
  if ! npm install --prefix "$work/npm" --no-fund --no-audit --silent "@copilotkit/aimock@$version" >&2; then
    echo "aimock $version can't be installed here: nothing is checked"
    exit 0
  fi
  llmock=$work/npm/node_modules/.bin/llmock
fi
port=$(free_port)
start aimock "$llmock" -p "$port" -h 127.0.0.1 -f "$here/aimock.json" --validate-on-load
await aimock "listening on" 20

at=(--base-url "http://127.0.0.1:$port/v1")
for wire in responses chat; do
  ask=(ask "${at[@]}" --model gpt-4o --wire "$wire" --max-attempts 2)
  expect 0 '^Hello from aimock, in words enough for several chunks\.$' "${ask[@]}" hello
  expect 0 '"type":"completed"' "${ask[@]}" hello --json
  expect 0 '"name":"paint".*"type":"function_call"|"type":"function_call".*"name":"paint"' "${ask[@]}" paint --json
  expect_count 1 output_item_done "${ask[@]}" paint
  expect_count 1 completed "${ask[@]}" paint
  expect 0 '^four$' "${ask[@]}" think
  expect 0 'two and two|"delta":"two' "${ask[@]}" think --json

  # Cut in the middle of the answer: never taken for whole, and told after the part that came.
  expect 1 'truncated|connection' "${ask[@]}" cut
  expect 1 'This answer' "${ask[@]}" cut
  expect_count 1 failed "${ask[@]}" cut
  expect_count 0 completed "${ask[@]}" cut
  expect_count 1 restarted "${ask[@]}" --retry-after-output restart cut

  expect 1 'invalid_request \(HTTP 400\): no such thing .*attempt 1 of 2' "${ask[@]}" refuse
  expect 1 'server_error \(HTTP 500\): .*attempt 2 of 2' "${ask[@]}" hello --header 'x-aimock-chaos-drop: 1'
  expect 1 'connection: .*attempt 2 of 2' "${ask[@]}" hello --header 'x-aimock-chaos-disconnect: 1'
  expect 1 'protocol: .*no event stream .*attempt 1 of 2' "${ask[@]}" hello --header 'x-aimock-chaos-malformed: 1'
  expect 1 'rate_limited \(HTTP 429\).*asks to wait 1\.0 s' "${ask[@]}" hello --header 'x-aimock-chaos-ratelimit: 1'
  expect 0 '^Hello' "${ask[@]}" hello --header 'x-aimock-chaos-latency: 300'
  expect 1 'response_head_timeout' "${ask[@]}" hello --header 'x-aimock-chaos-latency: 2000' --response-head-timeout 200ms
done
# The same over a WebSocket, of which aimock has one too.
ask=(ask "${at[@]}" --model gpt-4o --max-attempts 2 --transport websocket)
expect 0 '^Hello from aimock, in words enough for several chunks\.$' "${ask[@]}" hello
expect 0 '"name":"paint".*"type":"function_call"|"type":"function_call".*"name":"paint"' "${ask[@]}" paint --json
expect_count 1 completed "${ask[@]}" paint
expect 0 '^four$' "${ask[@]}" think
expect 1 'truncated: .*attempt 1 of 2' "${ask[@]}" cut
expect 1 'invalid_request: no such thing .*attempt 1 of 2' "${ask[@]}" refuse

# Half of all requests fail; the retries make up for it.
expect 0 '^Hello' ask "${at[@]}" --model gpt-4o --max-attempts 30 hello --header 'x-aimock-chaos-drop: 0.5' --header 'x-aimock-chaos-disconnect: 0.3'
expect 0 '^gpt-4o$' models "${at[@]}"

# By name, with what that provider needs.
export OPENROUTER_API_KEY=sk-interop
expect 0 '^Hello' ask --provider openrouter "${at[@]}" --model gpt-4o hello

echo "aimock $version: $checks checks passed"
