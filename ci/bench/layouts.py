"""Who should lie where in memory? Measures one engine against itself under each way to lay out its launches, in turn, and
prints by how much pairs vary and how many launches are slow throughout.

usage: layouts.py LAB PLAN [--pairs N] [--rounds N]
"""

import argparse
import json
import math
import statistics
import subprocess
import tempfile

WAYS = {
    "shared": "one layout a pair, the same for both sides",
    "each": "a layout for each launch",
    "fixed": "one layout for the whole experiment",
    "kernel": "left to the kernel",
}


def experiment(lab, plan, way, pairs, seed):
    with tempfile.TemporaryDirectory() as folder:
        command = [lab, "ab", plan, "--layouts", way, "--pairs", str(pairs), "--fixed", "--closing", "0", "--seed", str(seed)]
        done = subprocess.run([*command, "--format", "json", "--store", f"{folder}/lab.sqlite"], capture_output=True, text=True)
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr}")
    report = json.loads(done.stdout)
    slow = report["slow_launches"] or {"baseline": 0, "candidate": 0}
    changes = [math.log1p(own) for own in report["paired"]["changes"]]
    return changes, [slow["baseline"], slow["candidate"]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lab")
    parser.add_argument("plan")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    seen = {way: ([], [0, 0]) for way in WAYS}
    # Way by way in turn: what the machine does in some minutes, it does to all of them.
    for seed in range(arguments.rounds):
        for way in WAYS:
            changes, slow = experiment(arguments.lab, arguments.plan, way, arguments.pairs, seed)
            seen[way] = (seen[way][0] + changes, [sum(own) for own in zip(seen[way][1], slow)])
    print("| layouts | pairs | mean change | sd of a pair | median distance from the median | slow launches (A, B) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for way, (changes, (of_a, of_b)) in seen.items():
        middle = statistics.median(changes)
        distance = statistics.median(abs(own - middle) for own in changes)
        print(
            f"| {WAYS[way]} | {len(changes)} | {math.expm1(statistics.mean(changes)):+.2%} "
            f"| {statistics.stdev(changes):.2%} | {distance:.2%} | {of_a}, {of_b} |"
        )


main()
