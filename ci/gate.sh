#!/usr/bin/env bash
# Builds a commit and what it is to be held against, and asks `lab ab` whether it is faster or slower.
#
# Usage: ci/gate.sh [BASE] [PLAN] [FURTHER ARGUMENTS OF lab ab...]
#   BASE  the commit to hold against; the parent of HEAD when absent
#   PLAN  what is measured; plans/smollm2-q8.toml when absent
# Exit status: that of `lab ab`: 0 equivalent or improved, 1 regressed, 3 inconclusive, 4 refused.
set -euo pipefail
cd "$(dirname "$0")/.."
base=${1:-HEAD^}
plan=${2:-plans/smollm2-q8.toml}
shift $(($# > 2 ? 2 : $#))

scratch=$(mktemp -d)
trap 'git worktree remove --force "$scratch/base" 2> /dev/null || true; rm -rf "$scratch"' EXIT
git worktree add --quiet --detach "$scratch/base" "$base"

# One folder for both builds: what does not differ between them is compiled once.
target=${CARGO_TARGET_DIR:-$PWD/target}
(cd "$scratch/base" && CARGO_TARGET_DIR="$target" cargo build --release --locked)
cp "$target/release/lab" "$scratch/lab-base"
CARGO_TARGET_DIR="$target" cargo build --release --locked
cp "$target/release/lab" "$scratch/lab-candidate"

"$scratch/lab-candidate" ab "$plan" --engine-a "$scratch/lab-base" --engine-b "$scratch/lab-candidate" "$@"
