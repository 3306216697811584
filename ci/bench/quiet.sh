#!/usr/bin/env bash
# Runs sessions for some time on a machine where nothing else runs, and counts how often each rule of validity fires.
# Usage: quiet.sh LAB MINUTES
set -euo pipefail
cd "$(dirname "$0")/../.."
lab=$(realpath "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LAB_STORE="$scratch/lab.sqlite"
end=$((SECONDS + $2 * 60))
while [ "$SECONDS" -lt "$end" ]; do
  for plan in plans/smollm2-q8.toml plans/smollm2.toml plans/quickstart.toml; do
    "$lab" run "$plan" --repeat 10 --format json 2> /dev/null > "$scratch/$SECONDS.json" || true
  done
done
python3 - "$scratch" <<'PYTHON'
import collections, json, pathlib, sys
counts, states, greatest, total = collections.Counter(), collections.Counter(), {}, collections.Counter()
for path in pathlib.Path(sys.argv[1]).glob("*.json"):
    document = json.loads(path.read_text())
    plan = document["session"]["plan"]
    for own in document["executions"]:
        validity = own["validity"]
        total[plan] += 1
        states[plan, validity["state"]] += 1
        counts.update((plan, reason.split(":")[0]) for reason in validity["reasons"])
        for rule, value in validity["signals"].items():
            if value is not None:
                greatest[rule] = max(greatest.get(rule, 0.0), value)
for plan, n in sorted(total.items()):
    print(f"{plan}: {n} repetitions, " + ", ".join(f"{m} {state}" for (of, state), m in sorted(states.items()) if of == plan))
for (plan, rule), n in sorted(counts.items()):
    print(f"  {plan}: {rule} fired {n} times")
print("greatest signal seen: " + ", ".join(f"{rule} {value:.3g}" for rule, value in greatest.items()))
PYTHON
