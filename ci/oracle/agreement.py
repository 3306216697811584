"""Feeds a fixed text to llama.cpp one token at a time and records what it would have said next.

Every request holds the tokens up to one position and asks for one more. The prompt cache keeps all but the last,
so each position costs one evaluation of one token, and every logit comes from the same sequence of such evaluations.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from llama import THREADS, LlamaServer, OracleError, end_after, file_sha256

TEXT = Path(__file__).with_name("agreement_text.txt")

CONTEXT_TOKENS = 1024

TIMEOUT_SECONDS = 1800

# The server sorts and prints as many candidates as it is asked for, and the whole vocabulary takes about a second;
# most next tokens are among the first few.
FIRST_CANDIDATES = 64

# llama.cpp writes the logarithm of a probability that underflowed to zero as the lowest 32-bit float.
UNDERFLOWED_LOGPROB = -1e30


def main() -> int:
    """Runs the command line; returns the exit code."""
    options = parse_options()
    end_after(TIMEOUT_SECONDS)
    try:
        options.out.write_text(render(ask(options.model, options.tokens_from)), encoding="ascii")
    except OracleError as error:
        print(f"agreement: {error}", file=sys.stderr)
        return 1
    return 0


def parse_options() -> argparse.Namespace:
    """Returns the parsed command line."""
    parser = argparse.ArgumentParser(description="Record llama.cpp's next-token choices along a fixed text.")
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="GGUF file to run")
    parser.add_argument("--tokens-from", type=Path, default=TEXT, metavar="TEXT", help="text to feed (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="golden JSON file to write")
    return parser.parse_args()


def ask(model: Path, text: Path) -> dict[str, Any]:
    """Returns the golden document for one model and one text."""
    digest = file_sha256(model)
    with LlamaServer(model, CONTEXT_TOKENS) as server:
        tokens = server.tokenize(text.read_text(encoding="utf-8"), parse_special=False)
        if not 2 <= len(tokens) < CONTEXT_TOKENS:
            raise OracleError(f"`{text}` has {len(tokens)} tokens, expected 2 to {CONTEXT_TOKENS - 1}")
        vocabulary = server.vocabulary_size()
        return {
            "oracle": server.build(),
            "model_sha256": digest,
            "threads": THREADS,
            "tokens": tokens,
            "positions": [ask_position(server, tokens, index, vocabulary) for index in range(len(tokens) - 1)],
        }


def ask_position(server: LlamaServer, tokens: list[int], index: int, vocabulary: int) -> dict[str, Any]:
    """Returns the record of the choice made after `tokens[index]`, the last token llama.cpp has seen."""
    following = tokens[index + 1]
    candidates = ask_candidates(server, tokens[: index + 1], FIRST_CANDIDATES)
    found = logprob_of(following, candidates)
    if found is None:
        found = logprob_of(following, ask_candidates(server, tokens[: index + 1], vocabulary))
    best, second = candidates[:2]
    return {
        "index": index,
        "next": following,
        "best": best["id"],
        "second": second["id"],
        "margin": rounded(best["logprob"] - second["logprob"]),
        "best_logprob": rounded(best["logprob"]),
        "next_logprob": None if found is None else rounded(found),
    }


def ask_candidates(server: LlamaServer, prompt: list[int], count: int) -> list[dict[str, Any]]:
    """Returns the `count` likeliest next tokens, likeliest first, and proves that one token was evaluated."""
    answer = server.complete(prompt, n_predict=1, n_probs=count)
    evaluated = answer["timings"]["prompt_n"]
    if evaluated != 1:
        raise OracleError(f"position {len(prompt) - 1} evaluated {evaluated} tokens, expected 1")
    chosen = answer["completion_probabilities"][0]
    candidates = chosen["top_logprobs"]
    if len(candidates) < count:
        raise OracleError(f"position {len(prompt) - 1} has {len(candidates)} candidates, expected {count}")
    return candidates


def logprob_of(token: int, candidates: list[dict[str, Any]]) -> float | None:
    """Returns the log-probability of `token`, or None where it is absent or underflowed."""
    for candidate in candidates:
        if candidate["id"] == token:
            return candidate["logprob"] if candidate["logprob"] > UNDERFLOWED_LOGPROB else None
    return None


def rounded(value: float) -> float:
    """Returns `value` to six decimals, the resolution of a 32-bit log-probability of this size."""
    return round(value, 6)


def render(document: dict[str, Any]) -> str:
    """Returns the document as JSON, one position a line."""
    keys = ("oracle", "model_sha256", "threads", "tokens")
    head = [f"{json.dumps(key)}: {json.dumps(document[key])}" for key in keys]
    positions = ",\n".join(json.dumps(position) for position in document["positions"])
    return "{" + ",\n".join(head) + ',\n"positions": [\n' + positions + "\n]}\n"


if __name__ == "__main__":
    sys.exit(main())
