"""What measuring costs: decode speed inside lab over that of a bare candle loop.

Both load the same file, pinned to the same core by the same launcher with the same environment, and generate the same
tokens after one warm-up. Launches alternate, so that a slow spell of the machine meets both sides.

    cargo build --release --examples -p lab-candle && cargo build --release
    python3 ci/bench/overhead.py --pairs 10
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "plans" / "smollm2-q8.toml"


def lab_run(lab: Path, store: Path) -> dict:
    """Runs one launch of the plan through lab and returns its session document."""
    command = [lab, "--store", store, "run", PLAN, "--repeat", "1", "--format", "json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)


def prompt_ids(store: Path) -> list[int]:
    """Reads the prompt's token ids back from the recorded session."""
    import sqlite3

    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
        (body,) = connection.execute("SELECT body FROM session LIMIT 1").fetchone()
    return json.loads(body)["workload"]["prompt"]


def model_path(lab: Path, digest: str) -> Path:
    """Finds the model in lab's cache by its digest."""
    cache = os.environ.get("LAB_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lab"
    return Path(cache) / "blobs" / "sha256" / f"{digest}.gguf"


def bare_run(lab: Path, bare: Path, model: Path, prompt: list[int], generate: int, backend: dict) -> float:
    """Runs one launch of the bare loop under lab's launcher and returns its decode speed in tokens per second."""
    command = [lab, "launch-engine", "--harness", str(os.getpid()), "--cores", backend["cores"], "--", bare, model]
    command += [",".join(map(str, prompt)), str(generate)]
    environment = backend["environment"]
    done = subprocess.run(command, check=True, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    return json.loads(done.stderr)["decode_tokens_per_sec"]


def decode_speed(session: dict) -> float:
    """Returns the decode speed of a session of one repetition."""
    return session["executions"][0]["unofficial"]["lab.v1"]["decode_tokens_per_sec"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10, help="launches of each side")
    parser.add_argument("--lab", type=Path, default=ROOT / "target/release/lab")
    parser.add_argument("--bare", type=Path, default=ROOT / "target/release/examples/bare_loop")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "overhead.sqlite"
        first = lab_run(arguments.lab, store)
        model = model_path(arguments.lab, first["fingerprint"]["model"]["identity"]["weights_sha256"])
        generate = first["fingerprint"]["plan"]["identity"]["generate"]
        backend = first["fingerprint"]["backend"]["identity"]
        prompt = prompt_ids(store)
        ratios = []
        for index in range(arguments.pairs):
            sides = {}
            for side in ("lab", "bare") if index % 2 == 0 else ("bare", "lab"):
                if side == "lab":
                    sides[side] = decode_speed(lab_run(arguments.lab, store))
                else:
                    sides[side] = bare_run(arguments.lab, arguments.bare, model, prompt, generate, backend)
            ratios.append(math.log(sides["lab"] / sides["bare"]))
            print(f"pair {index + 1:2}: lab {sides['lab']:6.2f}  bare {sides['bare']:6.2f} tokens/s", flush=True)
    mean, spread = statistics.mean(ratios), statistics.stdev(ratios)
    print(
        f"decode speed inside lab / bare loop, {len(ratios)} pairs: geometric mean {math.exp(mean):.4f}, "
        f"median {math.exp(statistics.median(ratios)):.4f}, spread (sd of log ratio) {100 * spread:.2f} %, "
        f"standard error {100 * spread / math.sqrt(len(ratios)):.2f} %"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
