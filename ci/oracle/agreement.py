"""Feeds a fixed text to llama.cpp one token at a time and records what it would have said next.

Every request holds the tokens up to one position and asks for one more. The prompt cache keeps all but the last,
so each position costs one evaluation of one token, and every logit comes from the same sequence of such evaluations.

llama.cpp does not agree with itself to the last digit: activations are rounded to 8 bits in every layer, and a
difference in the order of one sum grows from there. So the text is fed twice, with two ways of computing attention,
and `noise` says how far they lie apart: no other engine can be asked to come closer than that.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from llama import THREADS, Attention, LlamaServer, OracleError, end_after, file_sha256

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
    parser.add_argument(
        "--tokens-from", type=Path, default=TEXT, metavar="TEXT", help="text to feed (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="golden JSON file to write")
    return parser.parse_args()


def ask(model: Path, text: Path) -> dict[str, Any]:
    """Returns the golden document for one model and one text."""
    digest = file_sha256(model)
    with LlamaServer(model, CONTEXT_TOKENS) as server:
        tokens = load_tokens(server, text)
        build = server.build()
        positions = ask_positions(server, tokens)
    with LlamaServer(model, CONTEXT_TOKENS, Attention.PLAIN) as server:
        noise = derive_noise(positions, ask_positions(server, tokens))
    return {
        "oracle": build,
        "model_sha256": digest,
        "threads": THREADS,
        "attention": Attention.DEFAULT.value,
        "perplexity": perplexity(positions),
        "noise": {"attention": Attention.PLAIN.value, **noise},
        "tokens": tokens,
        "positions": positions,
    }


def load_tokens(server: LlamaServer, text: Path) -> list[int]:
    """Returns the tokens of the text; raises when they don't fit the context."""
    tokens = server.tokenize(text.read_text(encoding="utf-8"), parse_special=False)
    if not 2 <= len(tokens) < CONTEXT_TOKENS:
        raise OracleError(f"`{text}` has {len(tokens)} tokens, expected 2 to {CONTEXT_TOKENS - 1}")
    return tokens


def ask_positions(server: LlamaServer, tokens: list[int]) -> list[dict[str, Any]]:
    """Returns one record per token but the last, which nothing follows."""
    vocabulary = server.vocabulary_size()
    return [ask_position(server, tokens, index, vocabulary) for index in range(len(tokens) - 1)]


def derive_noise(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """Derives how far two runs over the same tokens lie apart, in log-probability where not a count."""
    pairs = list(zip(ours, theirs, strict=True))
    distances = [abs(one["best_logprob"] - other["best_logprob"]) for one, other in pairs]
    flipped = [one["margin"] for one, other in pairs if one["best"] != other["best"]]
    return {
        "flips": len(flipped),
        "largest_flipped_margin": max(flipped, default=0.0),
        "largest_distance": rounded(max(distances)),
        "mean_distance": rounded(sum(distances) / len(distances)),
        "perplexity": perplexity(theirs),
    }


def perplexity(positions: list[dict[str, Any]]) -> float | None:
    """Returns exp of the mean negative log-probability of the actual tokens, or None when one is unknown."""
    logprobs = [position["next_logprob"] for position in positions]
    if None in logprobs:
        return None
    return rounded(math.exp(-sum(logprobs) / len(logprobs)))


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
    candidates: list[dict[str, Any]] = answer["completion_probabilities"][0]["top_logprobs"]
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
    head = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in document.items() if key != "positions"]
    positions = ",\n".join(json.dumps(position) for position in document["positions"])
    return "{" + ",\n".join(head) + ',\n"positions": [\n' + positions + "\n]}\n"


if __name__ == "__main__":
    sys.exit(main())
