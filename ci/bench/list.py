"""What the harness costs without a model: `lab list` on a store of 1,000 runs, as a whole process.

The store is filled by 1,000 real sessions of the scripted engine. Time is the median of many processes; memory is the
peak resident set that the kernel reports.

    cargo build --release
    python3 ci/bench/list.py
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLAN = """\
version = 1
name = "listed"
[model]
name = "tiny-synthetic"
[model.source.synthetic]
seed = 1
layers = 1
embedding = 256
feed_forward = 256
heads = 4
kv_heads = 2
vocabulary = 512
context = 512
rope_base = 10000
quantization = "q4_k"
[workload]
prompt = { random = 4 }
generate = 8
[engine]
name = "scripted"
script = { load_us = 1, prefill_us = 10, token_us = 1 }
[run]
warmup = 0
isolation = "session"
"""


def fill(lab: Path, folder: Path, runs: int) -> Path:
    """Records sessions and returns the store."""
    plan, store = folder / "listed.toml", folder / "listed.sqlite"
    plan.write_text(PLAN)
    command = [lab, "--store", store, "--cache", folder / "cache", "run", plan, "--repeat", "5"]
    for _ in range(runs):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return store


def peak_megabytes(command: list) -> float:
    """Returns the peak resident memory of a process that does nothing but run the command.

    The kernel counts the starting interpreter too (about 10 MB), so this is an upper bound.
    """
    code = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, command)], check=True, stdout=subprocess.PIPE)
    return int(done.stdout) * 1024 / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--lab", type=Path, default=ROOT / "target/release/lab")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = fill(arguments.lab, Path(folder), arguments.runs)
        size = store.stat().st_size
        timings = {}
        for limit in ("20", str(arguments.runs)):
            command = [arguments.lab, "--store", store, "list", "--limit", limit]
            timings[limit] = []
            for _ in range(arguments.processes):
                begun = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                timings[limit].append(1e3 * (time.perf_counter() - begun))
        peak = peak_megabytes(command)
    print(f"store of {arguments.runs} runs: {size / 1e6:.1f} MB")
    for limit, times in timings.items():
        print(f"lab list --limit {limit}: median {statistics.median(times):.1f} ms, slowest {max(times):.1f} ms")
    print(f"peak resident memory with --limit {arguments.runs}: at most {peak:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
