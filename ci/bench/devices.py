"""What importing the metrics folders of edge devices costs: time, peak memory, and the size of the store.

Writes N files of M inferences from a seed, imports them with `lab import device`, imports them again (nothing is new), shows
them and exports every inference. A single file larger than memory is asked for with `--large-mb`.

    cargo build --release
    python3 ci/bench/devices.py                                   1,000 files of 1,000 inferences
    python3 ci/bench/devices.py --files 20000 --inferences 50     the same number in the files that devices write
    python3 ci/bench/devices.py --large-mb 2048                   one file of 2 GB
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("microsoft/Phi-3.5-mini-instruct", "google/gemma-3-270m", "HuggingFaceTB/SmolLM2-135M-Instruct")
KEYS = {
    "inference_time_ms": "inference_time_ms",
    "memory_usage_mb": "memory_used_mb",
    "cpu_usage_percent": "cpu_percent_avg",
    "energy_consumption_mj": "energy_consumed_mj",
}


def inference(draw: random.Random, device: str, model: str, at: datetime) -> dict:
    """Draws one inference."""
    return {
        "timestamp": at.isoformat(timespec="microseconds"),
        "device_id": device,
        "model_name": model,
        "inference_time_ms": round(draw.lognormvariate(7.3, 0.2), 2),
        "memory_used_mb": round(draw.gauss(45, 2), 2),
        "cpu_percent_avg": round(draw.uniform(70, 90), 1),
        "energy_consumed_mj": round(draw.gauss(18.5, 1), 2),
        "compute_device": "cpu",
    }


def summary(inferences: list[dict]) -> dict:
    """Sums inferences up as devices do, rounded to two decimals."""
    first = inferences[0]
    figures = {"device_id": first["device_id"], "model_name": first["model_name"], "total_inferences": len(inferences)}
    for name, key in KEYS.items():
        values = [one[key] for one in inferences]
        figures[name] = {"min": min(values), "max": max(values), "avg": round(sum(values) / len(values), 2)}
    figures["energy_consumption_mj"]["total"] = round(sum(one["energy_consumed_mj"] for one in inferences), 2)
    return figures


def write(folder: Path, draw: random.Random, files: int, n: int, devices: int) -> int:
    """Writes files of n inferences into folders of devices and returns their bytes."""
    size = 0
    for index in range(files):
        number = index % devices
        device = f"00:0f:00:70:{number // 256:02x}:{number % 256:02x}"
        begun = datetime(2025, 10, 7) + timedelta(minutes=index)
        rows = [
            inference(draw, device, MODELS[number % len(MODELS)], begun + timedelta(seconds=1.7 * second))
            for second in range(n)
        ]
        own = folder / f"edge-device-{number:02}"
        own.mkdir(parents=True, exist_ok=True)
        path = own / f"inference_metrics_{device}_{begun:%Y%m%d_%H%M%S}.json"
        size += path.write_text(json.dumps({"summary": summary(rows), "detailed_metrics": rows}, indent=2))
    return size


def write_large(folder: Path, draw: random.Random, megabytes: int) -> int:
    """Writes one valid file of this size: a thousand inferences over and over, without a summary of them."""
    device = "00:0f:00:70:91:0a"
    begun = datetime(2025, 10, 7)
    rows = [inference(draw, device, MODELS[0], begun + timedelta(seconds=second)) for second in range(1000)]
    block = ",\n".join(json.dumps(row, indent=2) for row in rows)
    own = folder / "edge-device-large"
    own.mkdir(parents=True)
    path = own / f"inference_metrics_{device}_20251007_103015.json"
    with path.open("w") as file:
        written = file.write('{"detailed_metrics": [\n' + block)
        while written < megabytes * 1_000_000:
            written += file.write(",\n" + block)
        written += file.write("\n]}\n")
    return written


def measured(command: list) -> tuple[float, float, str]:
    """Returns the seconds and the peak resident megabytes of a command, and what it printed.

    The kernel's peak is that of the largest process the starter has waited for: the command has a starter of its own, whose
    own interpreter (about 10 MB) is a lower bound of the figure.
    """
    code = (
        "import resource, subprocess, sys; "
        "done = subprocess.run(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); "
        "sys.exit(done.returncode)"
    )
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True)
    taken = time.perf_counter() - begun
    if done.returncode != 0:
        raise SystemExit(f"{command}: {done.stderr}")
    return taken, int(done.stderr.split()[-1]) * 1024 / 1e6, done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--inferences", type=int, default=1000, help="in each file")
    parser.add_argument("--devices", type=int, default=10)
    parser.add_argument("--large-mb", type=int, default=0, help="one file of this size instead")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lab", type=Path, default=ROOT / "target/release/lab")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder when absent")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        metrics, store = Path(name) / "metrics", Path(name) / "lab.sqlite"
        if arguments.large_mb:
            size = write_large(metrics, draw, arguments.large_mb)
            print(f"one file: {size / 1e6:.1f} MB")
        else:
            size = write(metrics, draw, arguments.files, arguments.inferences, arguments.devices)
            print(f"{arguments.files} files of {arguments.inferences} inferences: {size / 1e6:.1f} MB")
        steps = {
            "lab import device": ["import", "device", metrics],
            "the same again": ["import", "device", metrics],
            "lab devices": ["devices"],
            "lab devices --export-csv": ["devices", "--export-csv", Path(name) / "out.csv"],
            "lab verify": ["verify"],
        }
        for step, words in steps.items():
            seconds, megabytes, printed = measured([arguments.lab, "--store", store, *words])
            said = printed.splitlines()[0] if step.startswith(("lab import", "the same")) else ""
            print(f"{step}: {seconds:.2f} s, peak {megabytes:.1f} MB {said}".rstrip())
        print(f"store: {store.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
