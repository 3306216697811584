"""Checks where the built-in engine's code lies in the program: before all else of lab, from a page's first byte, in whole lines of the cache,
so that a build with the same engine has it at the same places (docs/decisions/0024-engine-code-first.md).

usage: placement.py LAB
"""

import re
import subprocess
import sys

PAGE = 4096
LINE = 64
ENGINE = re.compile(r"^<?&?(lab_candle|candle_core|candle_nn|candle_transformers|gemm_\w+)::")
COMMAND = re.compile(r"^<?&?lab_cli::")
# What is computed with, by name: a check that finds none of it would pass for nothing.
KERNEL = "vec_dot_q8_0_q8_0"


def start_of_code(lab):
    sections = subprocess.run(["readelf", "-SW", lab], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"\.text\s+PROGBITS\s+([0-9a-f]+)", sections)[1], 16)


def functions(lab):
    lines = subprocess.run(["nm", "-C", lab], capture_output=True, text=True, check=True).stdout.splitlines()
    matches = (re.match(r"([0-9a-f]+) [tT] (.*)", line) for line in lines)
    return [(int(own[1], 16), own[2]) for own in matches if own]


def main():
    lab = sys.argv[1]
    start = start_of_code(lab)
    engine = [own for own in functions(lab) if ENGINE.match(own[1])]
    command = [own for own in functions(lab) if COMMAND.match(own[1])]
    kernel = next((address for address, name in engine if KERNEL in name), None)
    if kernel is None or not command:
        sys.exit(f"error: {lab} has no symbols, no `{KERNEL}` or no `lab_cli`: built with another engine, or by an older lab?")
    last, first = max(engine), min(command)
    wrong = {
        f"code begins at {start:#x}, within a page": start % PAGE != 0,
        f"`{last[1]}` at {last[0]:#x} lies behind `{first[1]}` at {first[0]:#x}": last > first,
        "a function of the engine begins within a line of the cache": any(address % LINE for address, _ in engine),
    }
    for words in (words for words, is_wrong in wrong.items() if is_wrong):
        print(f"error: {words}", file=sys.stderr)
    print(f"{len(engine)} functions of the engine in the first {(last[0] - start) / 1e6:.1f} MB of code; `{KERNEL}` at +{kernel - start:#x}")
    sys.exit(any(wrong.values()))


main()
