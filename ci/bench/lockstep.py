"""Is what turns find what uninterrupted runs find? Measures pairs of builds in lock-step, with uninterrupted repetitions of
both sides behind every pair, and prints the ratio of the two effects.

usage: lockstep.py LAB OTHER FILE [--pairs N] [--rows WORDS] [--print]
  LAB    a build of lab: side A, and what measures
  OTHER  another build of lab, of an engine that is faster or slower by a few percent or more
  FILE   keeps what was measured, a line a workload; what it has of these two builds is not measured again
"""

import argparse
import hashlib
import json
import math
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The small model decodes at the speed of its memory; a long prompt is bound by arithmetic.
PLANS = {
    "decode (memory), 1 thread": ({"random": 64}, 128, 1),
    "decode (memory), 2 threads": ({"random": 64}, 128, 2),
    "prefill (compute), 1 thread": ({"random": 256}, 2, 1),
    "prefill (compute), 2 threads": ({"random": 256}, 2, 2),
}


def plan(text, prompt, generate, threads):
    cores = ", ".join(str(core) for core in range(threads))
    head, _, _ = text.partition("[workload]")
    return (
        f"{head}[workload]\nprompt = {{ random = {prompt['random']} }}\ngenerate = {generate}\nseed = 1\n\n"
        f"[engine]\nthreads = {threads}\ncores = [{cores}]\n"
    )


def measure(lab, other, path, pairs, folder):
    command = [lab, "ab", path, "--engine-b", other, "--pairs", str(pairs), "--fixed", "--each-pair", "2", "--seed", "1"]
    done = subprocess.run([*command, "--format", "json", "--store", f"{folder}/lab.sqlite"], capture_output=True, text=True)
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"`{' '.join(map(str, command))}` ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)["paired"]


def ratio(turns, alone):
    """Returns the ratio of the mean effects with its standard error by the delta method; pairs are independent."""
    x, y = statistics.mean(turns), statistics.mean(alone)
    errors = [own / math.sqrt(len(values)) for own, values in ((statistics.stdev(v), v) for v in (turns, alone))]
    return x / y, abs(x / y) * math.hypot(errors[0] / x, errors[1] / y)


def read(file):
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def digests(arguments):
    return [hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() for path in (arguments.lab, arguments.other)]


def run(arguments, known):
    text = (ROOT / "plans/smollm2-q8.toml").read_text()
    builds = digests(arguments)
    for name, (prompt, generate, threads) in PLANS.items():
        if arguments.rows not in name or any((own["workload"], own["builds"]) == (name, builds) for own in known):
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "lockstep.toml"
            path.write_text(plan(text, prompt, generate, threads))
            paired = measure(arguments.lab, arguments.other, path, arguments.pairs, folder)
        kept = {key: paired[key] for key in ("pairs", "pairs_left_out", "changes", "uninterrupted_changes")}
        with arguments.file.open("a") as opened:
            opened.write(json.dumps({"workload": name, "builds": builds, **kept}) + "\n")


def show(results):
    print("| workload | pairs | in turns | uninterrupted | ratio of the effects |\n| --- | --- | --- | --- | --- |")
    for own in results:
        turns, alone = ([math.log1p(value) for value in own[key]] for key in ("changes", "uninterrupted_changes"))
        if min(len(turns), len(alone)) < 2:
            print(f"| {own['workload']} | {len(turns)} count, {own['pairs_left_out']} left out | | | |")
            continue
        value, error = ratio(turns, alone)
        percent = [math.expm1(statistics.mean(side)) for side in (turns, alone)]
        print(f"| {own['workload']} | {len(turns)} | {percent[0]:+.1%} | {percent[1]:+.1%} | {value:.3f} ± {error:.3f} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lab")
    parser.add_argument("other")
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--rows", default="", help="only rows whose name holds this")
    parser.add_argument("--print", action="store_true", dest="only_print")
    arguments = parser.parse_args()
    if arguments.only_print:
        return show(read(arguments.file))
    run(arguments, read(arguments.file))
    builds = digests(arguments)
    show([own for own in read(arguments.file) if own["builds"] == builds and arguments.rows in own["workload"]])


main()
