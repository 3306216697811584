"""What the harness costs without a model, as whole processes: `lab list` on a store of 1,000 runs, and `lab compare` of two
sessions of 50 launches of 256 tokens.

The stores are filled by real sessions of the scripted engine. Time is the median of many processes; memory is the peak
resident set that the kernel reports.

    cargo build --release
    python3 ci/bench/store.py
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Every brace of TOML is doubled: the text is a format.
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
prompt = {{ random = 4 }}
generate = {generate}
[engine]
name = "scripted"
script = {{ load_us = 1, prefill_us = 10, token_us = 1 }}
[run]
warmup = 0
isolation = "{isolation}"
"""


def fill(lab: Path, folder: Path, runs: int, repeat: int, generate: int, isolation: str) -> Path:
    """Records sessions and returns their store."""
    plan, store = folder / "recorded.toml", folder / f"{runs}.sqlite"
    plan.write_text(PLAN.format(generate=generate, isolation=isolation))
    command = [lab, "--store", store, "--cache", folder / "cache", "run", plan, "--repeat", str(repeat)]
    for _ in range(runs):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return store


def times(command: list, processes: int) -> str:
    """Runs a command many times and says how long it takes. A verdict of any kind is an answer."""
    taken = []
    for _ in range(processes):
        begun = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        taken.append(1e3 * (time.perf_counter() - begun))
        if done.returncode not in (0, 1, 3):
            raise SystemExit(done.stderr.decode())
    return f"median {statistics.median(taken):.1f} ms, slowest {max(taken):.1f} ms"


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
    lab, processes = arguments.lab, arguments.processes
    with tempfile.TemporaryDirectory() as folder:
        store = fill(lab, Path(folder), arguments.runs, 5, 8, "session")
        print(f"store of {arguments.runs} runs: {store.stat().st_size / 1e6:.1f} MB")
        for limit in ("20", str(arguments.runs)):
            command = [lab, "--store", store, "list", "--limit", limit]
            print(f"lab list --limit {limit}: {times(command, processes)}")
        peak = peak_megabytes(command)
        print(f"peak resident memory with --limit {arguments.runs}: at most {peak:.1f} MB")
        store = fill(lab, Path(folder), 2, 50, 256, "launch")
        command = [lab, "--store", store, "compare", "@latest~1", "@latest"]
        print(f"lab compare, two sessions of 50 launches of 256 tokens: {times(command, processes)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
