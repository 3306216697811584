"""One measured run: from entering a block to leaving it.

The clock runs for the block alone. Making the folder, starting and joining the thread, and writing the record lie outside
it.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import time
import uuid
from typing import Any, Callable, TypeVar

from . import artifact, peak
from .errors import OptionError, RowsError, RowsNotToldError
from .options import Measure, parse_rows, shown
from .switch import is_on

_log = logging.getLogger("lab_measure")
T = TypeVar("T")

# `elapsed_sec` has three decimals. A run below half a millisecond took more than nothing, and shows so.
_SHORTEST_ELAPSED_SEC = 0.001
# MB as everywhere in lab: 10^6 bytes.
_BYTES_PER_MB = 1e6


class MeasuredRun:
    """A run that is measured while its ``with`` block is carried out. Made by ``measure_run_context``; used once.

    run_id: the id, as in the summary.
    enabled: whether anything is measured.
    summary: ``None`` until the block is left, and where measuring is off; then a dictionary of the four keys, in order.
    artifact_path: where the record lies; ``None`` where there is none.
    """

    def __init__(self, options: Measure) -> None:
        self.enabled = is_on(options.enabled)
        self.run_id = str(options.run_id or uuid.uuid4())
        self.summary: dict[str, Any] | None = None
        self.artifact_path: str | None = None
        self._options = options
        self._rows_used = None if options.rows is None or callable(options.rows) else parse_rows(options.rows)
        self._stage = "new"
        self._pid = os.getpid()
        self._folder: str | None = None
        self._watch: peak.ProcWatch | peak.RusageWatch | None = None
        self._begun_sec = 0.0
        self._elapsed_sec = 0.0
        self._peak_bytes = 0

    @property
    def rows_used(self) -> int | None:
        """The number of input rows that the model used; ``None`` as long as nobody told it."""
        return self._rows_used

    @rows_used.setter
    def rows_used(self, rows: Any) -> None:
        if self._stage == "ended":
            raise RowsError(f"run `{self.run_id}` has ended: set `rows_used` inside the block")
        self._rows_used = parse_rows(rows)

    def __enter__(self) -> MeasuredRun:
        if self._stage != "new":
            raise OptionError(f"run `{self.run_id}` was begun before: call `measure_run_context` for each run")
        if self.enabled:
            self._begin()
        self._stage = "running"
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if self._is_ours() and kind is None:
                self._close()
                self._require_rows()
            elif self._is_ours():
                self._close_after_failure()
        finally:
            self._stage = "ended"

    def _begin(self) -> None:
        self._pid = os.getpid()
        if self._options.write:
            self._folder = artifact.prepare(self._options.output_dir)
        watch = peak.watch(self._options.interval_sec)
        watch.start()
        self._watch = watch
        self._begun_sec = time.perf_counter()

    def _is_ours(self) -> bool:
        # A process that was forked inside the block may leave it too; the run is its parent's.
        return self.enabled and os.getpid() == self._pid

    def _stop(self) -> None:
        """Stops the clock and the watch; later calls do nothing."""
        if self._watch is not None and self._is_ours():
            self._elapsed_sec = time.perf_counter() - self._begun_sec
            watch, self._watch = self._watch, None
            self._peak_bytes = watch.stop()

    def _close(self) -> None:
        self._stop()
        self.summary = {
            "run_id": self.run_id,
            "elapsed_sec": max(round(self._elapsed_sec, 3), _SHORTEST_ELAPSED_SEC),
            "rows_used": self._rows_used,
            "peak_memory_mb": round(self._peak_bytes / _BYTES_PER_MB, 1),
        }
        text = json.dumps(self.summary, indent=2) + "\n"
        try:
            if self._folder is not None:
                self.artifact_path = artifact.write(self._folder, self.run_id, text)
        finally:
            # A record that could not be written must not cost the printed one.
            if self._options.format == "json":
                # One piece, so that runs of several threads do not mix. A stream that was given is its owner's to flush.
                print(text, end="", file=self._options.stream, flush=self._options.stream is None)

    def _close_after_failure(self) -> None:
        """Leaves a record of a block that raised, and lets nothing come before that exception."""
        try:
            self._close()
        except Exception as failure:
            with contextlib.suppress(Exception):
                _log.warning("run `%s` failed, and its summary could not be delivered: %s", self.run_id, failure)

    def _require_rows(self) -> None:
        if self._rows_used is None:
            where = f"; its record `{self.artifact_path}` says null" if self.artifact_path else ""
            raise RowsNotToldError(
                f"run `{self.run_id}` ended and nobody told how many rows it used: set `run.rows_used = n` inside the "
                f"block, or pass `rows=n`{where}"
            )


def measure_run_context(
    run_id: str | uuid.UUID | None = None,
    *,
    rows: int | None = None,
    output_dir: str | os.PathLike[str] = "outputs/model_runs",
    write: bool = True,
    interval_sec: float = 0.1,
    enabled: bool | None = None,
    format: str | None = None,
    stream: Any = None,
) -> MeasuredRun:
    """Returns a run to be used in a ``with`` statement; the options are those of ``Measure``.

    Set ``run.rows_used`` inside the block, or pass ``rows``. After the block, ``run.summary`` has the figures. An exception
    of the block passes through unchanged, after a record was left; ``rows_used`` is null in it where it was not told.

    Raises, before the block: ``MeasureError`` for wrong options, ``ArtifactError`` where the folder takes no file. After it:
    ``RowsNotToldError``, ``ArtifactError``, and whatever ``stream`` raises; never in place of the block's own exception.
    """
    options = Measure(run_id, rows, output_dir, write, interval_sec, enabled, format, stream)
    if callable(rows):
        raise RowsError("`rows` can be a function in `measure_and_run` only: a block has no result; set `run.rows_used`")
    return MeasuredRun(options)


def measure_and_run(
    func: Callable[..., T], measure: Measure | None = None, /, *args: Any, **kwargs: Any
) -> tuple[T, dict[str, Any] | None]:
    """Calls ``func(*args, **kwargs)`` and returns its result and the summary (``None`` where measuring is off).

    ``func`` and ``measure`` are given by position only: every keyword belongs to ``func``, whatever its name. Where
    ``measure.rows`` is a function, it is called with the result once the clock has stopped, and only where measuring is on.

    Raises ``RowsNotToldError`` before the call when ``measure`` tells no rows, and otherwise as ``measure_run_context``.
    """
    run = MeasuredRun(_checked(func, measure))
    with run:
        result = func(*args, **kwargs)
        run._stop()
        if run._is_ours() and callable(run._options.rows):
            run.rows_used = run._options.rows(result)
    return result, run.summary


def _checked(func: Any, measure: Any) -> Measure:
    if measure is not None and not isinstance(measure, Measure):
        raise OptionError(
            f"the second argument must be a `Measure`, not {shown(measure)}: "
            "measure_and_run(func, Measure(rows=n), *args, **kwargs)"
        )
    if measure is None or measure.rows is None:
        raise RowsNotToldError(
            "nobody told how many rows the run uses: measure_and_run(func, Measure(rows=n), *args, **kwargs), where `n` is "
            "a number or a function of the result, such as `len`"
        )
    if any(is_lazy(func) for is_lazy in _LAZY):
        raise OptionError(
            f"`{getattr(func, '__name__', func)}` does nothing when it is called, only when its result is awaited or "
            "iterated: do that in `with measure_run_context()`"
        )
    return measure


_LAZY = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
