"""What other ways of comparing two builds come to on this machine, beside `lab ab` on the same plan and the same change.

Three peers, each as its users run it:
  hyperfine     10 runs a side of the whole command (the program itself, `--export-json`), then Welch's t-test at 5 %
  llama-bench   5 repetitions in one process a side, means compared, red beyond 3 %
  Mann-Whitney  10 launches a side, their tokens per second, two-sided at 5 %

Launches are real, A and B in blocks one after the other, as the peers do it. Red on two blocks of A is false. Needs
`hyperfine`, SciPy (ci/oracle/statistics-requirements.txt), a quiet machine and about half an hour; resumable.

usage: peers.py LAB PLAN FILE [--blocks N] [--trials FILE ...] [--print]
"""

import argparse
import itertools
import json
import math
import pathlib
import shlex
import statistics
import subprocess
import tempfile

from scipy import stats

RUNS = 10
LOSS = 0.06
SIDES = {"a": [], "b": ["--delay", f"uniform:{LOSS}"]}
# What all are held to: no more false reds than this, and no more misses of the planted loss.
FALSE_RED, MISS = 0.01, 0.05


def speeds(lab, store, sessions):
    """Returns the tokens per second of each repetition in the newest sessions of a store."""
    ids = json.loads(subprocess.check_output([lab, "list", "--store", store, "--limit", str(sessions), "--format", "json"]))
    found = []
    for own in reversed(ids["sessions"]):
        shown = json.loads(subprocess.check_output([lab, "show", own["id"], "--store", store, "--format", "json"]))
        found += [execution["metrics"]["tokens_per_sec"] for execution in shown["executions"]]
    return found


def launches(lab, plan, side):
    """Ten runs of a whole command under hyperfine: their wall times, and what lab recorded in them."""
    with tempfile.TemporaryDirectory() as folder:
        store, export = f"{folder}/lab.sqlite", f"{folder}/times.json"
        command = [lab, "run", plan, "--repeat", "1", "--store", store, *SIDES[side]]
        subprocess.run(
            ["hyperfine", "--shell=none", "--warmup", "0", "--runs", str(RUNS), "--export-json", export, shlex.join(command)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        seconds = json.loads(pathlib.Path(export).read_text())["results"][0]["times"]
        return {"kind": "launches", "side": side, "seconds": seconds, "speeds": speeds(lab, store, RUNS)}


def process(lab, plan, side):
    """Five repetitions in one process."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / pathlib.Path(plan).name
        path.write_text(pathlib.Path(plan).read_text() + '\n[run]\nisolation = "session"\n')
        store = f"{folder}/lab.sqlite"
        command = [lab, "run", path, "--repeat", "5", "--store", store, *SIDES[side]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return {"kind": "process", "side": side, "speeds": speeds(lab, store, 1)}


def collect(arguments, results):
    """Blocks of A and B in turn, so that an unfinished file says something of all."""
    for block, side, measure in itertools.product(range(arguments.blocks), SIDES, (launches, process)):
        kind = measure.__name__
        if any((own["kind"], own["side"], own["block"]) == (kind, side, block) for own in results):
            continue
        result = {"block": block, **measure(arguments.lab, arguments.plan, side)}
        results.append(result)
        with arguments.file.open("a") as file:
            file.write(json.dumps(result) + "\n")


def welch(ours, theirs):
    return stats.ttest_ind(ours, theirs, equal_var=False).pvalue < 0.05 and statistics.mean(theirs) > statistics.mean(ours)


def means(ours, theirs):
    return statistics.mean(theirs) < 0.97 * statistics.mean(ours)


def mann_whitney(ours, theirs):
    return stats.mannwhitneyu(ours, theirs).pvalue < 0.05 and statistics.median(theirs) < statistics.median(ours)


def share(pairs, is_red):
    reds = sum(is_red(ours, theirs) for ours, theirs in pairs)
    interval = stats.binomtest(reds, len(pairs)).proportion_ci(method="exact")
    return f"{reds / len(pairs):.0%} of {len(pairs)} ({interval.low:.0%} to {interval.high:.0%})"


def blocks(results, kind, side, key):
    own = sorted((own for own in results if (own["kind"], own["side"]) == (kind, side)), key=lambda own: own["block"])
    return [result[key] for result in own]


def row(name, a, b, seconds, is_red):
    """A peer's rates: every block of A against every other, and against every one of B."""
    false = share([(ours, theirs) for ours, theirs in itertools.permutations(a, 2)], is_red)
    seen = share(list(itertools.product(a, b)), is_red)
    print(f"| {name} | {false} | {seen} | {seconds:.0f} s |")


def needed(a, per_launch):
    """Launches a side that would be no more often wrong than lab: one-sided normal bounds, from the spread of launches."""
    logs = [math.log(own) for block in a for own in block]
    spread = statistics.stdev(logs)
    z = stats.norm.ppf(1 - FALSE_RED) + stats.norm.ppf(1 - MISS)
    n = math.ceil(2 * (spread * z / -math.log(1 - LOSS)) ** 2)
    return spread, n, 2 * n * per_launch


def show(results, trials):
    a_seconds, b_seconds = (blocks(results, "launches", side, "seconds") for side in SIDES)
    a_speeds, b_speeds = (blocks(results, "launches", side, "speeds") for side in SIDES)
    a_means, b_means = (blocks(results, "process", side, "speeds") for side in SIDES)
    if min(len(a_seconds), len(b_seconds), len(a_means), len(b_means)) < 2:
        raise SystemExit("too few blocks to show")
    of_launch = statistics.mean(own for block in a_seconds for own in block)
    of_process = 6 / statistics.mean(own for block in a_means for own in block) * 128
    print(f"| way of comparing | red on A against A | red on {LOSS:.0%} slower | machine time |\n| --- | --- | --- | --- |")
    row("hyperfine, 10 runs a side, Welch 5 %", a_seconds, b_seconds, 2 * RUNS * of_launch, welch)
    row("means of 5 repetitions in a process, 3 %", a_means, b_means, 2 * of_process, means)
    row("Mann-Whitney, 10 launches a side, 5 %", a_speeds, b_speeds, 2 * RUNS * of_launch, mann_whitney)
    if not trials:
        return
    of = {name: [own for own in trials if own["row"] == name] for name in ("A/A", "6 % uniform")}
    red = [f"{sum(own['conclusion'] == 'regressed' for own in rows) / len(rows):.0%} of {len(rows)}" for rows in of.values()]
    seconds = statistics.median(own["seconds"] for own in of["6 % uniform"])
    print(f"| `lab ab` | {red[0]} | {red[1]} | {seconds:.0f} s |")
    spread, n, long = needed(a_speeds, of_launch)
    print(
        f"\nLaunches vary by {spread:.1%}. For {FALSE_RED:.0%} false reds and {MISS:.0%} misses, separate launches would take "
        f"{n} a side, {long:.0f} s: {long / seconds:.1f} times the machine time of `lab ab`. That counts no drift."
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lab")
    parser.add_argument("plan")
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--trials", type=pathlib.Path, nargs="+", default=[], help="what trials.py recorded: the row of lab itself")
    parser.add_argument("--print", action="store_true", dest="only_print")
    arguments = parser.parse_args()
    lines = arguments.file.read_text().splitlines() if arguments.file.exists() else []
    results = [json.loads(line) for line in lines]
    if not arguments.only_print:
        collect(arguments, results)
    trials = [line for file in arguments.trials for line in file.read_text().splitlines()]
    show(results, [own for own in map(json.loads, trials) if "row" in own])


main()
