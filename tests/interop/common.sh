# What the interop scripts share; sourced by them. The caller has set `program`.

# Processes are ended by the id that starting them gave, and the folder goes with them.
work=$(mktemp -d)
started=()
clean_up() {
  for id in "${started[@]}"; do kill "$id" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT

# Starts a server in the background; its output goes to a file of that name in the folder.
start() {
  local name=$1
  shift
  "$@" >"$work/$name.log" 2>&1 &
  started+=($!)
}

# Waits until a server's output says something.
await() {
  local name=$1 said=$2 seconds=$3
  for ((i = 0; i < seconds * 10; i++)); do
    grep -q -- "$said" "$work/$name.log" 2>/dev/null && return
    sleep 0.1
  done
  echo "$name does not start:" >&2
  cat "$work/$name.log" >&2
  return 1
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null ||
    node -e 's = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'
}

checks=0
# Runs the program and checks its exit status and that its output, both streams, has a line that matches.
expect() {
  local status=$1 pattern=$2 actual=0 output
  shift 2
  output=$(timeout 60 "$program" "$@" 2>&1 </dev/null) || actual=$?
  if [[ $actual != "$status" ]] || ! grep -qE -- "$pattern" <<<"$output"; then
    printf 'actix-responses %s\n  ended with %s and said:\n%s\n  instead of %s and %s\n' \
      "$*" "$actual" "$output" "$status" "$pattern" >&2
    return 1
  fi
  checks=$((checks + 1))
}

# Says how many of the events that the program printed as JSON lines are of a type.
count_events() {
  local type=$1
  shift
  timeout 60 "$program" "$@" --json 2>/dev/null </dev/null | grep -c "^{\"type\":\"$type\"" || true
}

expect_count() {
  local count=$1 type=$2 actual
  shift 2
  actual=$(count_events "$type" "$@")
  if [[ $actual != "$count" ]]; then
    echo "actix-responses $*: $actual events $type instead of $count" >&2
    return 1
  fi
  checks=$((checks + 1))
}
