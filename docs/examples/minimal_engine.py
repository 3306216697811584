#!/usr/bin/env python3
"""A minimal engine for lab: speaks protocol version 1 and executes no model. See docs/engine-protocol.md."""

import hashlib
import json
import os
import sys
import time

VOCABULARY = 32_000
answers = open(int(os.environ["LAB_PROTOCOL_FD"]), "w", encoding="utf-8")
build = hashlib.sha256(open(__file__, "rb").read()).hexdigest()
generation = None  # what `begin` starts and `step` continues


def tokens(request_ns, n):
    """Generates n tokens; each is stamped when it is ready to be shown."""
    forced = generation["forced"]  # an engine with a model feeds forced[k] in place of the k-th token it chose
    if forced is not None and generation["n"] + n > len(forced) + 1:
        return {"answer": "error", "message": f"asked for {n} tokens, more than it is to be fed"}
    ids, stamps = [], []
    for _ in range(n):
        time.sleep(0.001)  # the work of a forward pass
        ids.append((generation["sum"] + 31 * generation["n"]) % VOCABULARY)
        stamps.append(time.monotonic_ns())
        generation["n"] += 1
    return {"answer": "tokens", "request_ns": request_ns, "ids": ids, "stamps_ns": stamps}


def answer(request, request_ns):
    global generation
    kind = request["request"]
    if kind == "hello" and request["protocol"] == 1:
        return {"answer": "hello", "protocol": 1, "name": "minimal", "version": "1", "build": build, "device": "cpu",
                "settings": {"threads": os.environ["OMP_NUM_THREADS"]}, "clock_resolution_ns": 1,
                "features": ["forced"]}
    if kind == "load":
        return {"answer": "loaded", "request_ns": request_ns, "ready_ns": time.monotonic_ns(), "vocabulary": VOCABULARY}
    if kind in ("begin", "generate"):
        generation = {"sum": sum(request["prompt"]), "n": 0, "forced": request.get("forced")}
        return tokens(request_ns, request.get("generate", 1))
    if kind == "step" and generation:
        return tokens(request_ns, request["n"])
    if kind in ("finish", "exit"):
        generation = None
        return {"answer": "finished" if kind == "finish" else "bye"}
    return {"answer": "error", "message": f"cannot do `{kind}` now"}


for line in sys.stdin:
    now_ns = time.monotonic_ns()
    reply = answer(json.loads(line), now_ns)
    answers.write(json.dumps(reply) + "\n")
    answers.flush()
    if reply["answer"] == "bye":
        break
