#!/usr/bin/env bash
# Clients that others wrote, asked the same with and without the relay between them and the server: openai's packages for Python
# and Node, Vercel's AI SDK, openai-agents, the Codex CLI. What differs is printed, and fails.
#
#   tests/clients/run.sh [--light] [--program PROGRAM] [CLIENT ...]     the program, else the debug build's
#   tests/clients/run.sh --loopback [--program PROGRAM] [CLIENT ...]    the embedded provider alone: whether it is a server for them,
#                                                                       with `llm`, and LLMock, which grades `ask`
#
# Needs node with npm, and python3 with venv. The clients are installed from their registries into a folder that is kept (600 MB,
# of them Codex 400; with --light, the first two alone, 130; with --loopback 60 more). It ends with 77 where nothing can be checked.
#
# Environment:
#   CLIENTS_CACHE   that folder   (default ~/.cache/actix-responses-clients)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CLIENTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/actix-responses-clients}
program=$here/../../target/debug/actix-responses
node_packages=(openai@7.57.0 ai@7.0.173 @ai-sdk/openai@4.0.118 zod@4.6.7 @copilotkit/aimock@1.43.0)
python_packages=(openai==3.57.0 openai-agents==0.24.0)
more_packages=(llm==0.36 llmock==0.2.2)
codex=@openai/codex@0.169.0

clients=() script=compare.py
while (($#)); do
  case $1 in
    --light) clients+=(openai-python openai-node) ;;
    --loopback) script=loopback.py ;;
    --program) program=$2 && shift ;;
    *) clients+=("$1") ;;
  esac
  shift
done
if ! ((${#clients[@]})); then
  clients=(openai-python openai-node vercel-ai openai-agents codex)
  [[ $script == compare.py ]] || clients+=(llm llmock)
fi

for tool in node npm python3; do
  command -v "$tool" >/dev/null || { echo "there is no $tool here: nothing is checked" >&2; exit 77; }
done

# Installs what is not there yet: a folder's stamp says what it has.
installed() {
  local folder=$1 stamp="$cache/$1/.installed" wanted=$2
  shift 2
  [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && return
  rm -rf "${cache:?}/$folder" && mkdir -p "$cache/$folder"
  if ! "$@" >&2; then
    echo "$folder: $wanted can't be installed here: nothing is checked" >&2
    exit 77
  fi
  printf '%s\n' "$wanted" >"$stamp"
}
python() { python3 -m venv "$1" && "$1/bin/pip" install --quiet "${@:2}"; }
node_modules() { npm install --prefix "$@" --no-fund --no-audit --silent; }

installed node "${node_packages[*]}" node_modules "$cache/node" "${node_packages[@]}"
for client in "${clients[@]}"; do
  case $client in
    openai-python | openai-agents) installed python "${python_packages[*]}" python "$cache/python" "${python_packages[@]}" ;;
    llm | llmock) installed more "${more_packages[*]}" python "$cache/more" "${more_packages[@]}" ;;
    codex) installed codex "$codex" node_modules "$cache/codex" "$codex" ;;
  esac
done
# Node looks for packages beside the script that asks for them.
cp "$here"/*.mjs "$cache/node/"

compare=(python3 "$here/$script" --program "$(realpath "$program")" --cache "$cache" ${ONLY:+--only "$ONLY"} ${DIRECT:+--direct})
# Nothing of it needs more than this machine; where that can be had, there is no more.
if command -v ip >/dev/null && unshare --net true 2>/dev/null; then
  exec unshare --net bash -c 'ip link set lo up && exec "$@"' alone "${compare[@]}" "${clients[@]}"
fi
exec "${compare[@]}" "${clients[@]}"
