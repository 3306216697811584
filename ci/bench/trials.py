"""Runs `lab ab` many times on known changes and counts its verdicts: how often is it wrong, how often does it see, how long
does it take? Resumable: every trial is one line of a file, and what is there is not run again.

usage: trials.py LAB PLAN FILE [--trials N] [--rows NAME,NAME] [--minutes N] [--keep FOLDER] [--print]
                 [--from-seed N] [--also FILE ...]
"""

import argparse
import json
import math
import pathlib
import shutil
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
    "3 %: the boundary": (["--delay-b", "uniform:0.03"], "inconclusive"),
    "1.5 %": (["--delay-b", "uniform:0.015"], "equivalent"),
    "A/A at 1 %": ([], "equivalent"),
}
TIGHT = {"A/A at 1 %": 0.01}
# Trials of a row that are enough, where they take minutes.
ENOUGH = {"A/A at 1 %": 20}
# Standard deviation of a pair that the goals are stated for.
QUIET = 0.02
# No pair of equal launches lies so far off for what a pair usually varies by.
FAR = 0.08


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


def delays(arguments, file):
    """The delays are learnt once and stand in the file's first line: all trials of a row plant the same one."""
    lines = file.read_text().splitlines() if file.exists() else []
    for line in lines:
        if "delays" in (own := json.loads(line)):
            return own["delays"]
    longer = shares(arguments.lab, arguments.plan)
    with file.open("a") as opened:
        opened.write(json.dumps({"delays": longer}) + "\n")
    return longer


def read(file):
    """Returns the trials in a file. A last line that a kill cut short is taken out of it: its trial is run again."""
    if not file.exists():
        return []
    text = file.read_text()
    whole, _, rest = text.rpartition("\n")
    if rest:
        file.write_text(whole + "\n" if whole else "")
    return [own for own in map(json.loads, whole.splitlines()) if "row" in own]


def trial(lab, plan, arguments, seed, keep):
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/lab.sqlite"
        begun = time.monotonic()
        command = [lab, "ab", plan, *arguments, "--seed", str(seed), "--format", "json"]
        done = subprocess.run([*command, "--store", store], capture_output=True, text=True)
        seconds = time.monotonic() - begun
        if keep:
            shutil.move(store, keep)
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
        "uninterrupted": paired["uninterrupted"],
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
        spread = math.sqrt(statistics.mean(statistics.variance(r["changes"]) for r in own if len(r["changes"]) > 1))
        seconds = statistics.median(r["seconds"] for r in own)
        pairs = statistics.median(r["pairs"] for r in own)
        # Pairs needed grow with the square of their spread: on a host as quiet as the goals ask for it would have taken less.
        quiet = f" ({max(4, pairs * (QUIET / spread) ** 2) / pairs * seconds:.0f} s at {QUIET:.0%})" if spread > QUIET else ""
        print(
            f"| {name} | {n} | {count['regressed']} | {count['improved']} | {count['equivalent']} | {count['inconclusive']} "
            f"| {expected}: {count[expected] / n:.0%} ({low:.0%} to {high:.0%}) | {seconds:.0f} s{quiet} | {pairs:.0f} | {spread:.2%} |"
        )
    pairs = [abs(change - statistics.median(own["changes"])) for own in results for change in own["changes"]]
    far = sum(distance > FAR for distance in pairs)
    print(f"\npairs further than {FAR:.0%} from the middle of their experiment: {far} of {len(pairs)}")
    unchanged = [own for own in results if ROWS[own["row"]][1] == "equivalent"]
    # Equal sides that are called better are called different, too.
    reds = sum(own["conclusion"] in ("regressed", "improved") for own in unchanged)
    if unchanged:
        upper = clopper_pearson(reds, len(unchanged))[1]
        print(f"\nfalse verdicts in all rows without a change to call: {reds} of {len(unchanged)} (at most {upper:.1%} with 95 % confidence)")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lab")
    parser.add_argument("plan")
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no trial after so long")
    parser.add_argument("--keep", type=pathlib.Path, help="keep the store of every trial in a folder")
    parser.add_argument("--print", action="store_true", dest="only_print")
    parser.add_argument("--also", type=pathlib.Path, nargs="+", default=[], help="print the trials of further files with them")
    parser.add_argument("--from-seed", type=int, default=0, help="count only trials of this seed and later ones")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.rows.split(",") if name not in ROWS]:
        parser.error(f"no row `{unknown[0]}`: there are {', '.join(f'`{name}`' for name in ROWS)}")
    results = read(arguments.file)
    if not arguments.only_print:
        run(arguments, results)
    further = [own for file in arguments.also for own in read(file)]
    show([result for result in results + further if result["seed"] >= arguments.from_seed])


def run(arguments, results):
    until = time.monotonic() + 60 * arguments.minutes
    longer = delays(arguments, arguments.file)
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    # Row by row in turn, so that an unfinished file says something of every row.
    for seed in range(arguments.trials):
        for name in arguments.rows.split(","):
            if seed >= ENOUGH.get(name, arguments.trials):
                continue
            if any(result["row"] == name and result["seed"] == seed for result in results):
                continue
            if time.monotonic() > until:
                return
            words = [word.format(**longer) for word in ROWS[name][0]]
            with tempfile.TemporaryDirectory() as folder:
                plan = arguments.plan
                if name in TIGHT:
                    plan, words = plan_with_tolerance(plan, TIGHT[name], folder), [*words, "--pairs", "92"]
                keep = arguments.keep and arguments.keep / f"{name} {seed}.sqlite".replace("/", "-")
                result = {"row": name, "seed": seed, "arguments": words, **trial(arguments.lab, plan, words, seed, keep)}
            results.append(result)
            with arguments.file.open("a") as file:
                file.write(json.dumps(result) + "\n")


main()
