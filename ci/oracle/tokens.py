"""Asks llama.cpp for the token ids of every text in `texts.json` and writes them as a golden file."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama import LlamaServer, OracleError, end_after, file_sha256

TEXTS = Path(__file__).with_name("texts.json")

# The server's own defaults for a text prompt. `ids_plain` holds the other setting where it matters.
FLAGS = {"add_special": True, "parse_special": True}

# Tokenising needs no context, but the server insists on one; the smallest keeps memory low.
CONTEXT_TOKENS = 256

TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Text:
    """One text to tokenise, and the trap it is there for."""

    name: str
    text: str


def main() -> int:
    """Runs the command line; returns the exit code."""
    options = parse_options()
    end_after(TIMEOUT_SECONDS)
    try:
        options.out.write_text(render(ask(options.model, load_texts(options.texts))), encoding="ascii")
    except OracleError as error:
        print(f"tokens: {error}", file=sys.stderr)
        return 1
    return 0


def parse_options() -> argparse.Namespace:
    """Returns the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="GGUF file whose tokenizer is asked")
    parser.add_argument(
        "--texts", type=Path, default=TEXTS, metavar="FILE", help="texts to tokenise (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="golden JSON file to write")
    return parser.parse_args()


def load_texts(path: Path) -> list[Text]:
    """Loads the texts; an entry with `repeat` stands for its text that many times over."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    texts = [Text(entry["name"], entry["text"] * entry.get("repeat", 1)) for entry in entries]
    names = [text.name for text in texts]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise OracleError(f"`{path}` names these texts twice: {', '.join(duplicates)}")
    return texts


def ask(model: Path, texts: list[Text]) -> dict[str, Any]:
    """Returns the golden document for one model."""
    digest = file_sha256(model)
    with LlamaServer(model, CONTEXT_TOKENS) as server:
        return {
            "oracle": server.build(),
            "model_sha256": digest,
            "flags": FLAGS,
            "cases": [tokenize(server, text) for text in texts],
        }


def tokenize(server: LlamaServer, text: Text) -> dict[str, Any]:
    """Returns one golden case; `ids_plain` (no special tokens parsed) only where it differs from `ids`."""
    case = {"name": text.name, "text": text.text, "ids": server.tokenize(text.text, parse_special=True)}
    plain = server.tokenize(text.text, parse_special=False)
    return case if plain == case["ids"] else {**case, "ids_plain": plain}


def render(document: dict[str, Any]) -> str:
    """Returns the document as JSON, one case a line, in ASCII so that no editor can normalise a text."""
    head = [f"{json.dumps(key)}: {json.dumps(document[key])}" for key in ("oracle", "model_sha256", "flags")]
    cases = ",\n".join(json.dumps(case) for case in document["cases"])
    return "{" + ",\n".join(head) + ',\n"cases": [\n' + cases + "\n]}\n"


if __name__ == "__main__":
    sys.exit(main())
