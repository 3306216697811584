#!/usr/bin/env bash
# Processes that only burn CPU start in the midst of a session: which repetitions are marked, and is a verdict given?
# Usage: hog.sh LAB. Needs a quiet machine and about two minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
lab=$(realpath "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LAB_STORE="$scratch/lab.sqlite"

show() {
  python3 - "$1" <<'PYTHON'
import json, sys
for own in json.load(open(sys.argv[1]))["executions"]:
    validity, speed = own["validity"], own["metrics"]["tokens_per_sec"]
    print(f"repetition {own['repetition']}: {speed:6.2f} tokens/s, {validity['state']:8} {'; '.join(validity['reasons'])}")
PYTHON
}

# Runs a session, starts a command in its midst, and says what became of it.
disturbed_by() {
  "$lab" run plans/smollm2-q8.toml --repeat 6 --format json 2> /dev/null > "$scratch/session.json" &
  local session=$!
  sleep 12
  "$@" &
  local hog=$!
  wait "$session" || true
  kill "$hog" 2> /dev/null || true
  wait "$hog" 2> /dev/null || true
  show "$scratch/session.json"
  local status=0
  "$lab" compare "$quiet" @latest --format json > "$scratch/report.json" || status=$?
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["headline"])' "$scratch/report.json"
  echo "lab compare ended with $status"
}

# Pinned like the engine: unpinned, both share the core that the engine leaves idle, and disturb nothing.
heavy() { exec timeout 12 taskset -c 0 sh -c 'while :; do :; done & while :; do :; done'; }
light() {
  exec timeout 12 taskset -c 0 python3 -c '
import time
while True:
    end = time.monotonic() + 0.012
    while time.monotonic() < end: pass
    time.sleep(0.088)'
}

"$lab" run plans/smollm2-q8.toml --repeat 6 --format json 2> /dev/null > "$scratch/session.json"
quiet=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["session"]["id"])' "$scratch/session.json")
echo "two processes that burn CPU on the engine's core, from second 12 to 24 of the session:"
disturbed_by heavy
echo
echo "one that takes an eighth of the engine's core, from second 12 to 24:"
disturbed_by light
