"""Runs `lab ab` many times on known changes and counts its verdicts: how often is it wrong, how often does it see, how long
does it take? Resumable: every trial is one line of a file, and what is there is not run again.

usage: trials.py LAB PLAN FILE [--trials N] [--rows NAME,NAME] [--print]
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import tempfile
import time

# Name, arguments of `lab ab`, what should be concluded.
ROWS = {
    "A/A": ([], "equivalent"),
    "6 % uniform": (["--delay-b", "uniform:0.06"], "regressed"),
    "6 % on every tenth token": (["--delay-b", "tenth:{tenth}"], "regressed"),
    "6 % in prefill alone": (["--delay-b", "prefill:{prefill}"], "regressed"),
    "10 % uniform": (["--delay-b", "uniform:0.10"], "regressed"),
    "3 %, the boundary": (["--delay-b", "uniform:0.03"], "inconclusive"),
    "1.5 %": (["--delay-b", "uniform:0.015"], "equivalent"),
    "A/A at 1 %": ([], "equivalent"),
}
TIGHT = {"A/A at 1 %": 0.01}


def clopper_pearson(k, n):
    """One-sided 95 % bounds of a rate, by bisection on the binomial tail."""

    def tail(p, wanted):
        return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in wanted)

    def solve(wanted, rising):
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            if (tail(middle, wanted) < 0.05) == rising:
                low = middle
            else:
                high = middle
        return low

    lower = 0.0 if k == 0 else solve(range(k, n + 1), True)
    upper = 1.0 if k == n else solve(range(0, k + 1), False)
    return lower, upper


def plan_with_tolerance(plan, tolerance, folder):
    text = pathlib.Path(plan).read_text()
    path = pathlib.Path(folder) / pathlib.Path(plan).name
    path.write_text(text + f"\n[tolerances]\ntokens_per_sec = {{ percent = {tolerance * 100:g} }}\n")
    return str(path)


def shares(lab, plan):
    """How much longer every tenth token, or the prefill, must take for the official speed to fall by 6 %."""
    with tempfile.TemporaryDirectory() as folder:
        command = [lab, "run", plan, "--repeat", "3", "--format", "json", "--store", f"{folder}/lab.sqlite"]
        document = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    values = [own["metrics"] for own in document["executions"]]
    total = statistics.mean(own["latency_total_ms"] for own in values)
    first = statistics.mean(own["unofficial"]["lab.v1"]["ttft_ms"] for own in document["executions"])
    n = statistics.mean(own["tokens_total"] for own in values)
    longer = total * (1 / 0.94 - 1)
    tenth = (total - first) / (n - 1) * ((n - 1) // 10)
    return {"tenth": round(longer / tenth, 4), "prefill": round(longer / first, 4)}


def trial(lab, plan, arguments, seed):
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        command = [lab, "ab", plan, *arguments, "--seed", str(seed), "--format", "json"]
        done = subprocess.run([*command, "--store", f"{folder}/lab.sqlite"], capture_output=True, text=True)
        seconds = time.monotonic() - begun
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr}")
    report = json.loads(done.stdout)
    row = next(own for own in report["metrics"] if own["metric"].endswith("/tokens_per_sec"))
    interval = row["interval"].get("value")
    paired = report["paired"]
    return {
        "conclusion": report["conclusion"],
        "seconds": round(seconds, 1),
        "pairs": paired["pairs"],
        "changes": [round(own, 5) for own in paired["changes"]],
        "interval": interval and [interval["low"], interval["high"]],
        "turns": paired["turns"],
        "turns_left_out": paired["turns_left_out"],
        "contradicted": paired["contradicted"],
        "slow_launches": report["slow_launches"],
    }


def show(results):
    print("| change | trials | regressed | improved | equivalent | inconclusive | as it should be | median time | median pairs | sd of a pair |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, (_, expected) in ROWS.items():
        own = [result for result in results if result["row"] == name]
        if not own:
            continue
        n = len(own)
        count = {word: sum(result["conclusion"] == word for result in own) for word in ("regressed", "improved", "equivalent", "inconclusive")}
        low, high = clopper_pearson(count[expected], n)
        spread = statistics.mean(statistics.stdev(result["changes"]) for result in own if len(result["changes"]) > 1)
        print(
            f"| {name} | {n} | {count['regressed']} | {count['improved']} | {count['equivalent']} | {count['inconclusive']} "
            f"| {expected}: {count[expected] / n:.0%} ({low:.0%} to {high:.0%}) | {statistics.median(r['seconds'] for r in own):.0f} s "
            f"| {statistics.median(r['pairs'] for r in own):.0f} | {spread:.2%} |"
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lab")
    parser.add_argument("plan")
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--print", action="store_true", dest="only_print")
    arguments = parser.parse_args()
    lines = arguments.file.read_text().splitlines() if arguments.file.exists() else []
    results = [json.loads(line) for line in lines]
    if not arguments.only_print:
        run(arguments, results)
    show(results)


def run(arguments, results):
    longer = shares(arguments.lab, arguments.plan)
    # Row by row in turn, so that an unfinished file says something of every row.
    for seed in range(arguments.trials):
        for name in arguments.rows.split(","):
            if any(result["row"] == name and result["seed"] == seed for result in results):
                continue
            words = [word.format(**longer) for word in ROWS[name][0]]
            with tempfile.TemporaryDirectory() as folder:
                plan = arguments.plan
                if name in TIGHT:
                    plan, words = plan_with_tolerance(plan, TIGHT[name], folder), [*words, "--pairs", "92"]
                result = {"row": name, "seed": seed, **trial(arguments.lab, plan, words, seed)}
            results.append(result)
            with arguments.file.open("a") as file:
                file.write(json.dumps(result) + "\n")


main()
