"""How should two sides share a machine? Measures one engine against itself in each of several ways, in turn, and prints by how
much pairs vary as a whole, and in prefill and decode (there with those pairs, too, that others disturbed), how fast the engine
was, and how many launches are slow throughout.

usage: ways.py LAB PLAN layouts|turns [--pairs N] [--rounds N]
"""

import argparse
import json
import math
import statistics
import subprocess
import tempfile

WAYS = {
    # Who should lie where in memory?
    "layouts": {
        "one layout a pair, the same for both sides": ["--layouts", "shared"],
        "a layout for each launch": ["--layouts", "each"],
        "one layout for the whole experiment": ["--layouts", "fixed"],
        "left to the kernel": ["--layouts", "kernel"],
    },
    # How long should a turn be?
    "turns": {
        "prompt at once, 4 tokens": ["--slice", "0", "--tokens", "4"],
        "prompt at once, 2 tokens": ["--slice", "0", "--tokens", "2"],
        "slices of 80 ms, 2 tokens": ["--slice", "80", "--tokens", "2"],
        "slices of 40 ms, 4 tokens": ["--slice", "40", "--tokens", "4"],
        "slices of 40 ms, 2 tokens": ["--slice", "40", "--tokens", "2"],
        "slices of 40 ms, 1 token": ["--slice", "40", "--tokens", "1"],
        "slices of 20 ms, 2 tokens": ["--slice", "20", "--tokens", "2"],
    },
}


def run(command, admitted=(0,)):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in admitted:
        raise SystemExit(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)


def speeds(lab, store, session):
    """Tokens per second of prefill, of decode and of the whole in each launch of one side."""
    shown = run([lab, "show", session, "--format", "json", "--store", store])
    figures = [(own["unofficial"]["lab.v1"], own["metrics"]) for own in shown["executions"]]
    return [
        {"prefill": more["prefill_tokens_per_sec"], "decode": more["decode_tokens_per_sec"], "all": own["tokens_per_sec"]}
        for more, own in figures
    ]


def experiment(lab, plan, way, pairs, seed):
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/lab.sqlite"
        asked = ["ab", plan, *way, "--pairs", str(pairs), "--fixed", "--closing", "0", "--each-pair", "0", "--seed", str(seed)]
        # What each host makes of it (0, 1, 3) is not asked here.
        report = run([lab, *asked, "--format", "json", "--store", store], (0, 1, 3))
        sides = [speeds(lab, store, report[side]["session"]) for side in ("baseline", "candidate")]
    slow = report["slow_launches"] or {"baseline": 0, "candidate": 0}
    changes = [math.log1p(own) for own in report["paired"]["changes"]]
    apart = {part: [math.log(b[part] / a[part]) for a, b in zip(*sides)] for part in ("prefill", "decode")}
    return {
        "changes": changes,
        **apart,
        "speed": [own["all"] for side in sides for own in side],
        "slow": [slow["baseline"] + slow["candidate"]],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lab")
    parser.add_argument("plan")
    parser.add_argument("ways", choices=WAYS)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    ways = WAYS[arguments.ways]
    seen = {way: [] for way in ways}
    # Way by way in turn: what the machine does in some minutes, it does to all of them.
    for seed in range(arguments.rounds):
        for way, options in ways.items():
            seen[way].append(experiment(arguments.lab, arguments.plan, options, arguments.pairs, seed))
    print(
        "| way | pairs | mean change | sd of a pair | median distance from the median "
        "| sd of prefill | sd of decode | tokens/s | slow launches |"
    )
    print("| --- |" + " --- |" * 8)
    for way, experiments in seen.items():
        all_of = {name: [own for one in experiments for own in one[name]] for name in experiments[0]}
        changes = all_of["changes"]
        middle = statistics.median(changes)
        distance = statistics.median(abs(own - middle) for own in changes)
        print(
            f"| {way} | {len(changes)} | {math.expm1(statistics.mean(changes)):+.2%} | {statistics.stdev(changes):.2%} "
            f"| {distance:.2%} | {statistics.stdev(all_of['prefill']):.2%} | {statistics.stdev(all_of['decode']):.2%} "
            f"| {statistics.mean(all_of['speed']):.2f} | {sum(all_of['slow'])} |"
        )


main()
