"""Checks where the built-in engine's code lies in the program: before the code of lab's other crates, from a page's first byte, in whole
lines of the cache (docs/decisions/0024-engine-code-first.md). With a second program: whether all of it lies at the same places there.

usage: placement.py LAB [OTHER]
Exit status: 0 as it should be, 1 otherwise.
"""

import re
import subprocess
import sys

PAGE = 4096
LINE = 64
ENGINE = re.compile(r"^<?&?(lab_candle|candle_core|candle_nn|candle_transformers|gemm_\w+)::")
OTHERS = re.compile(r"^<?&?lab_(cli|compare|formats|measure|model|mqtt|runner|store)::")
# What is computed with, by name: a check that finds none of it would pass for nothing.
KERNEL = "vec_dot_q8_0_q8_0"


def start_of_code(lab):
    sections = subprocess.run(["readelf", "-SW", lab], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"\.text\s+PROGBITS\s+([0-9a-f]+)", sections)[1], 16)


def functions(lab):
    """Returns the functions of a program by name and distance from the start of its code, with where its code starts."""
    start = start_of_code(lab)
    lines = subprocess.run(["nm", "-C", lab], capture_output=True, text=True, check=True).stdout.splitlines()
    matches = (re.match(r"([0-9a-f]+) [tT] (.*)", line) for line in lines)
    return start, [(int(own[1], 16) - start, own[2]) for own in matches if own]


def engine_of(all_functions):
    return sorted(own for own in all_functions if ENGINE.match(own[1]))


def check(lab):
    start, all_functions = functions(lab)
    engine = engine_of(all_functions)
    others = [own for own in all_functions if OTHERS.match(own[1])]
    kernel = next((at for at, name in engine if KERNEL in name), None)
    if kernel is None or not others:
        sys.exit(f"error: {lab} has no symbols, no `{KERNEL}` or no `lab_cli`: built with another engine, or by an older lab?")
    last, first = engine[-1], min(others)
    wrong = {
        f"code begins at {start:#x}, within a page": start % PAGE != 0,
        f"`{last[1]}` at +{last[0]:#x} lies behind `{first[1]}` at +{first[0]:#x}": last > first,
        "a function of the engine begins within a line of the cache": any(at % LINE for at, _ in engine),
    }
    print(f"{len(engine)} functions of the engine in the first {last[0] / 1e6:.1f} MB of code; `{KERNEL}` at +{kernel:#x}")
    return [words for words, is_wrong in wrong.items() if is_wrong], engine


def main():
    complaints, engine = check(sys.argv[1])
    for other in sys.argv[2:]:
        theirs = engine_of(functions(other)[1])
        moved = set(engine) ^ set(theirs)
        if moved:
            complaints.append(f"{len(moved)} functions lie elsewhere in {other}, or are not in both")
        else:
            print(f"all of them lie at the same places in {other}")
    for words in complaints:
        print(f"error: {words}", file=sys.stderr)
    sys.exit(bool(complaints))


main()
