"""A real llama.cpp server on a free local port, and the few calls the oracle needs.

Knows nothing of goldens: `tokens.py`, `agreement.py` and `loads.py` decide what to ask and what to keep.
"""

from __future__ import annotations

import enum
import faulthandler
import hashlib
import http.client
import json
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import xllamacpp

# More threads spin against each other on a shared machine; one also keeps the order of every sum fixed.
THREADS = 1

# A loopback request that evaluates a few tokens takes milliseconds; a minute means the server hangs.
REQUEST_TIMEOUT_SECONDS = 60

# llama.cpp's log level for errors only (0 is silent, 3 is the default).
LOG_ERRORS_ONLY = 1


class OracleError(Exception):
    """The oracle could not answer; the message is a sentence fragment for the user."""


class Attention(enum.Enum):
    """How llama.cpp computes attention: two roads to the same logits, but for rounding."""

    # What a user gets: flash attention where supported, keys and values kept as 16-bit floats.
    DEFAULT = "flash attention auto, 16-bit cache"
    PLAIN = "flash attention off, 32-bit cache"


class LlamaServer:
    """Runs llama-server inside this process; a context manager that shuts it down on exit."""

    def __init__(self, model: Path, context_tokens: int, attention: Attention = Attention.DEFAULT) -> None:
        self._model = model
        self._context_tokens = context_tokens
        self._attention = attention
        self._server: xllamacpp.Server | None = None
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> LlamaServer:
        if not self._model.is_file():
            raise OracleError(f"no model file `{self._model}`")
        try:
            self._server = xllamacpp.Server(_parameters(self._model, self._context_tokens, self._attention))
        except Exception as error:  # The binding raises bare RuntimeError and friends.
            raise OracleError(f"llama.cpp cannot load `{self._model}`: {error}") from error
        address = urlsplit(self._server.listening_address)
        # http.client, unlike urllib, never sends a loopback request through a proxy.
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=REQUEST_TIMEOUT_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._connection.close()
        # The binding stops its threads when the last reference goes.
        self._connection = self._server = None

    def tokenize(self, text: str, *, parse_special: bool) -> list[int]:
        """Returns the token ids of `text`, with the model's own BOS where it asks for one."""
        flags = {"add_special": True, "parse_special": parse_special}
        tokens: list[int] = self._ask("POST", "/tokenize", {"content": text, **flags})["tokens"]
        return tokens

    def complete(self, prompt: list[int], *, n_predict: int, n_probs: int) -> dict[str, Any]:
        """Returns the raw `/completion` answer of a greedy run, probabilities before any sampler."""
        request = {
            "prompt": prompt,
            "n_predict": n_predict,
            "n_probs": n_probs,
            "temperature": 0,
            "cache_prompt": True,
            "post_sampling_probs": False,
            "ignore_eos": True,
        }
        answer: dict[str, Any] = self._ask("POST", "/completion", request)
        return answer

    def vocabulary_size(self) -> int:
        """Returns the number of tokens in the model's vocabulary."""
        size: int = self._ask("GET", "/v1/models")["data"][0]["meta"]["n_vocab"]
        return size

    def build(self) -> str:
        """Returns the name of this build: what llama.cpp says of itself, and the package that carries it."""
        told = self._ask("GET", "/props")["build_info"]
        return f"llama.cpp {told} (xllamacpp {xllamacpp.__version__})"

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        if self._connection is None:
            raise OracleError("the server is not running")
        payload = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, payload, {"Content-Type": "application/json"})
            reply = self._connection.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise OracleError(f"`{path}` failed: {error!r}") from error
        if reply.status != http.client.OK:
            raise OracleError(f"`{path}` answered {reply.status}: {content.decode(errors='replace')}")
        return json.loads(content)


def end_after(seconds: float) -> None:
    """Ends this process with a stack trace after `seconds`, even while llama.cpp holds the interpreter."""
    faulthandler.dump_traceback_later(seconds, exit=True)


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in lower-case hexadecimal digits."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise OracleError(f"cannot read `{path}`: {error.strerror}") from error


def _parameters(model: Path, context_tokens: int, attention: Attention) -> xllamacpp.CommonParams:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx = context_tokens
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = THREADS
    parameters.cpuparams_batch.n_threads = THREADS
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0  # The system picks a free one; `listening_address` tells which.
    parameters.endpoint_props = True
    parameters.warmup = False
    parameters.verbosity = LOG_ERRORS_ONLY
    if attention is Attention.PLAIN:
        parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return parameters
