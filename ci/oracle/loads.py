"""Loads a GGUF file in llama.cpp, lets it generate a few tokens, and checks that its probabilities are numbers."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from llama import LlamaServer, OracleError, end_after, file_sha256

# Token ids rather than text, so that a file with random weights and a toy vocabulary can be tried too.
PROMPT = [1, 300, 301, 302]

GENERATED_TOKENS = 8

CANDIDATES = 5

CONTEXT_TOKENS = 64

TIMEOUT_SECONDS = 300


def main() -> int:
    """Runs the command line; returns the exit code."""
    options = parse_options()
    end_after(TIMEOUT_SECONDS)
    try:
        print(json.dumps(ask(options.model, options.prompt)))
    except OracleError as error:
        print(f"loads: {error}", file=sys.stderr)
        return 1
    return 0


def parse_options() -> argparse.Namespace:
    """Returns the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="GGUF file to load")
    parser.add_argument(
        "--prompt",
        type=int,
        nargs="+",
        default=PROMPT,
        metavar="ID",
        help="token ids to begin with (default: %(default)s)",
    )
    return parser.parse_args()


def ask(model: Path, prompt: list[int]) -> dict[str, Any]:
    """Returns what the model generates greedily after `prompt`, with the log-probability of each token."""
    digest = file_sha256(model)
    with LlamaServer(model, CONTEXT_TOKENS) as server:
        refuse_unknown(prompt, server.vocabulary_size())
        answer = server.complete(prompt, n_predict=GENERATED_TOKENS, n_probs=CANDIDATES)
        build = server.build()
    steps = answer["completion_probabilities"]
    if len(steps) != GENERATED_TOKENS:
        raise OracleError(f"`{model}` generated {len(steps)} tokens, expected {GENERATED_TOKENS}")
    refuse_infinite(model, steps)
    return {
        "oracle": build,
        "model_sha256": digest,
        "prompt": prompt,
        "ids": [step["id"] for step in steps],
        "logprobs": [round(step["logprob"], 6) for step in steps],
    }


def refuse_unknown(prompt: list[int], vocabulary: int) -> None:
    """Raises when a prompt token is outside the vocabulary."""
    if unknown := [token for token in prompt if not 0 <= token < vocabulary]:
        raise OracleError(f"prompt tokens {unknown} are outside the vocabulary of {vocabulary} tokens")


def refuse_infinite(model: Path, steps: list[dict[str, Any]]) -> None:
    """Raises when a top log-probability is not a finite number; JSON carries a NaN as null."""
    for position, step in enumerate(steps):
        for candidate in step["top_logprobs"]:
            logprob = candidate["logprob"]
            if logprob is None or not math.isfinite(logprob):
                raise OracleError(
                    f"`{model}` gives token {candidate['id']} the log-probability {logprob} "
                    f"at generated position {position}, expected a finite number"
                )


if __name__ == "__main__":
    sys.exit(main())
