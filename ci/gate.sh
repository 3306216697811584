#!/usr/bin/env bash
# Builds a commit and what it is to be held against, measures both with `lab ab`, and lets `lab gate` judge.
#
# Usage: ci/gate.sh [BASE] [PLAN] [FURTHER ARGUMENTS OF lab ab...]
#   BASE  the commit to hold against; the parent of HEAD when absent
#   PLAN  what is measured, as BASE has it; plans/smollm2-q8.toml when absent
# LAB_GATE_FORMAT is the format of the verdict (table, json, markdown, junit, github); LAB_STORE keeps the recordings.
# Exit status: that of `lab gate`: 0 passed, 1 regressed, 3 inconclusive, 4 refused.
set -euo pipefail
cd "$(dirname "$0")/.."
base=${1:-HEAD^}
plan=${2:-plans/smollm2-q8.toml}
shift $(($# > 2 ? 2 : $#))

scratch=$(mktemp -d)
trap 'git worktree remove --force "$scratch/base" 2> /dev/null || true; rm -rf "$scratch"' EXIT
git worktree add --quiet --detach "$scratch/base" "$base"
[ -f "$scratch/base/$plan" ] || { echo "error: $base has no $plan" >&2; exit 2; }

# One folder for both builds: what they depend on is compiled once. Their own crates have the same names in it, and cargo looks at
# times alone to tell whether those are up to date: the sources of one build are older than what the other has just compiled. So they
# are compiled anew for either.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
target=$CARGO_TARGET_DIR
mkdir -p "$target"
build() {
  local members
  members=$(cd "$1" && cargo metadata --no-deps --format-version 1 \
    | python3 -c 'import json, sys; print(*("--package=" + own["name"] for own in json.load(sys.stdin)["packages"]))')
  # shellcheck disable=SC2086  # one word a package
  (cd "$1" && cargo clean --quiet --release $members && cargo build --release --locked)
  cp "$target/release/lab" "$2"
}
build "$scratch/base" "$scratch/lab-base"
build "$PWD" "$scratch/lab-candidate"
# The commits may differ where no code does; where it does and the builds are one, something was not compiled.
if cmp -s "$scratch/lab-base" "$scratch/lab-candidate" && ! git diff --quiet "$base" -- 'crates/*/src' .cargo Cargo.lock; then
  echo "note: both builds are the same, byte for byte" >&2
fi

# Plan, measuring and judgement are the base's: no commit loosens the gate that it stands before.
export LAB_STORE=${LAB_STORE:-$target/gate.sqlite}
lab="$scratch/lab-base"
status=0
"$lab" ab "$scratch/base/$plan" --engine-a "$scratch/lab-base" --engine-b "$scratch/lab-candidate" "$@" \
  --format json > "$scratch/report.json" || status=$?
[[ $status =~ ^(0|1|3|4)$ ]] || exit "$status"
side() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]]["session"])' "$scratch/report.json" "$1"; }
"$lab" gate --baseline "$(side baseline)" --candidate "$(side candidate)" --vary engine \
  --format "${LAB_GATE_FORMAT:-table}"
