"""What `lab measure` costs: a command under it, with measuring on and off, against the bare command.

The three take turns, in an order that changes from round to round, so that a slow spell of the machine meets them all. Two
things are asked. What does a person wait for: the whole time of each way, process start, fingerprint and record included. And
what does the command itself lose while it is watched: the `elapsed_sec` of the summary against the bare run. Medians of the
differences within a round, with an interval from the sign test (no distribution is assumed).

    cargo build --release
    python3 ci/bench/measure.py target/release/lab --rounds 40
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Pure arithmetic, the same every time: about a quarter of a second.
WORK = "total = 0\nfor i in range(3_000_000):\n    total += i * i"


def timed(command: list, environment: dict) -> tuple[float, str]:
    """Runs a command and returns its whole time in milliseconds and what it printed."""
    begun = time.perf_counter()
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    taken = 1e3 * (time.perf_counter() - begun)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return taken, done.stdout


def sign_interval(differences: list[float], confidence: float = 0.95) -> tuple[float, float]:
    """Returns the interval of the median that the sign test gives: between order statistics (Conover 1999, section 3.2)."""
    ordered, n = sorted(differences), len(differences)
    below, rank = 0.5**n, 0
    # The greatest rank such that the chance of fewer values below the median is within half of what is left over.
    while rank + 1 <= n // 2 and below + math.comb(n, rank + 1) * 0.5**n <= (1 - confidence) / 2:
        rank += 1
        below += math.comb(n, rank) * 0.5**n
    return ordered[rank], ordered[n - 1 - rank]


def told(name: str, differences: list[float], unit: str) -> str:
    low, high = sign_interval(differences)
    return f"{name:<46} {statistics.median(differences):+8.2f} {unit}  (95 %: {low:+.2f} to {high:+.2f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lab", type=Path, help="the release binary")
    parser.add_argument("--rounds", type=int, default=40, help="at least 6, below which a sign test says nothing")
    parser.add_argument("--interval", default="0.1", help="seconds between two looks at memory")
    arguments = parser.parse_args()
    if arguments.rounds < 6:
        parser.error("--rounds must be at least 6")
    command = [sys.executable, "-c", WORK]
    with tempfile.TemporaryDirectory() as folder:
        words = ["--output-dir", f"{folder}/runs", "--interval", arguments.interval, "--rows", "1", "--format", "json"]
        measure = [str(arguments.lab.resolve()), "--store", f"{folder}/lab.sqlite", "measure", *words, "--", *command]
        plain = {**os.environ, "LAB_MEASURE": ""}
        ways = {
            "bare": lambda: timed(command, plain),
            "off": lambda: timed(measure, {**plain, "LAB_MEASURE": "off"}),
            "on": lambda: timed(measure, {**plain, "LAB_MEASURE": "on"}),
        }
        for way in ways.values():
            way()
        rounds = []
        for index in range(arguments.rounds):
            names = list(ways)
            turn = index % len(names)
            rounds.append({name: ways[name]() for name in names[turn:] + names[:turn]})
    whole = {name: [own[name][0] for own in rounds] for name in ways}
    inside = [1e3 * json.loads(own["on"][1])["elapsed_sec"] for own in rounds]
    print(f"{arguments.rounds} rounds, the bare command takes {statistics.median(whole['bare']):.1f} ms (median)")
    for name in ("off", "on"):
        print(told(f"whole time, measuring {name}, over bare", [a - b for a, b in zip(whole[name], whole["bare"])], "ms"))
    print(told("whole time, on over off", [a - b for a, b in zip(whole["on"], whole["off"])], "ms"))
    # The bare run's time holds the start of a process by Python, which the summary's does not: the difference is a bound from
    # below, and its change with `--interval` is what looking costs.
    print(told("elapsed_sec of the summary over bare", [a - b for a, b in zip(inside, whole["bare"])], "ms"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
