#!/usr/bin/env bash
# Asks litellm's proxy, somebody else's server of both APIs. Behind it is its own mock, or the embedded provider, so that nothing
# leaves this machine once it is installed.
#
#   tests/interop/litellm.sh [PROGRAM]    the program, else the debug build's
#
# Not a part of the gate: `litellm[proxy]` has 740 MB. It is taken from $LITELLM, the path of its `litellm`, or installed into a
# temporary folder with python3 and pip:
#
#   python3 -m venv venv && venv/bin/pip install 'litellm[proxy]==1.106.2'
#   LITELLM=venv/bin/litellm tests/interop/litellm.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath "${1:-$here/../../target/debug/actix-responses}")
. "$here/common.sh"

version=1.106.2
litellm=${LITELLM:-}
if [[ -z $litellm ]]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet "litellm[proxy]==$version"
  litellm=$work/venv/bin/litellm
fi

# The upstreams: one that is well, and one whose streams are cut after some events.
start upstream "$program" loopback
start cut "$program" loopback --cut-after-events 20
await upstream '^http' 10
await cut '^http' 10
upstream=$(grep -m1 '^http' "$work/upstream.log")
cut=$(grep -m1 '^http' "$work/cut.log")

# `relayed` and `cut` have the Responses API themselves; for `bridged` litellm makes its events out of Chat's.
cat >"$work/config.yaml" <<CONFIG
model_list:
  - model_name: mock
    litellm_params: {model: openai/gpt-4o, api_key: sk-none, mock_response: "hello from litellm"}
  - model_name: relayed
    litellm_params: {model: openai/gpt-4o, api_base: "$upstream", api_key: sk-none}
  - model_name: bridged
    litellm_params: {model: deepseek/deepseek-chat, api_base: "$upstream", api_key: sk-none}
  - model_name: cut
    litellm_params: {model: openai/gpt-4o, api_base: "$cut", api_key: sk-none}
CONFIG
LITELLM_MASTER_KEY=sk-interop-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export LITELLM_MASTER_KEY
port=$(free_port)
start litellm "$litellm" --config "$work/config.yaml" --host 127.0.0.1 --port "$port"
await litellm 'Uvicorn running' 120

at=(--base-url "http://127.0.0.1:$port/v1" --api-key-env LITELLM_MASTER_KEY --max-attempts 2)
expect 0 '^hello from litellm$' ask "${at[@]}" --wire chat --model mock hello
expect_count 1 completed ask "${at[@]}" --wire chat --model mock hello
# On the Responses wire this version's mock does not stream: what it sends instead is HTTP 500 with an SSE content type.
expect 1 'server_error \(HTTP 500\): .*attempt 2 of 2' ask "${at[@]}" --model mock hello
for model in relayed bridged; do
  for wire in responses chat; do
    ask=(ask "${at[@]}" --wire "$wire" --model "$model")
    expect 0 'You said: .hello.' "${ask[@]}" hello
    expect_count 1 completed "${ask[@]}" hello
    expect 0 '"token_usage":\{"input_tokens":[1-9]' "${ask[@]}" hello --json
  done
done
expect 0 '"name":"lookup_weather"' ask "${at[@]}" --model relayed hello --json
for wire in responses chat; do
  expect_count 0 completed ask "${at[@]}" --wire "$wire" --model cut hello
  expect_count 1 failed ask "${at[@]}" --wire "$wire" --model cut hello
done
expect 1 '\(HTTP 400\)|\(HTTP 404\)' ask "${at[@]}" --model nobody hello
printf '[{"type":"message","role":"user","content":"hello"}]' >"$work/conversation.json"
expect 0 '"type":"compaction"' compact "${at[@]}" --model relayed --input "$work/conversation.json"
expect 0 '^relayed$' models "${at[@]}"

echo "litellm $version: $checks checks passed"
