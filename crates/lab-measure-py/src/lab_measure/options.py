"""What a caller may say about a run, checked before anything starts."""

from __future__ import annotations

import operator
import os
import re
import uuid
from dataclasses import dataclass
from typing import Any, Callable

from .errors import OptionError, RowsError, RunIdError

# The id becomes a file's name: nothing that leaves the folder, hides the file or needs quoting.
_RUN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
# Below a millisecond looking would be most of what the process does; above an hour is a mistake of unit.
_SHORTEST_INTERVAL_SEC = 0.001
_LONGEST_INTERVAL_SEC = 3600.0


@dataclass(frozen=True)
class Measure:
    """How a run is measured. Wrong values raise a ``MeasureError`` here, whether measuring is on or off.

    run_id: text or ``uuid.UUID``; a random UUID (version 4) when ``None``. Letters, digits and ``._-``, at most 64, no
        dot in front. A record of the same id in the same folder is replaced.
    rows: the number of input rows that the model uses, or (for ``measure_and_run``) a function of the result.
    output_dir: the folder of the record, made where it is absent; relative to where the run begins.
    write: whether there is a record, ``<output_dir>/<run_id>.json``.
    interval_sec: seconds between two looks at the memory of the process tree, 0.001 to 3600.
    enabled: ``True`` or ``False`` wins over ``LAB_MEASURE``; ``None`` asks it.
    format: ``"json"`` prints the summary; ``None`` prints nothing.
    stream: what it is printed to; standard output, as it is when the run ends, when ``None``.
    """

    run_id: str | uuid.UUID | None = None
    rows: int | Callable[[Any], int] | None = None
    output_dir: str | os.PathLike[str] = "outputs/model_runs"
    write: bool = True
    interval_sec: float = 0.1
    enabled: bool | None = None
    format: str | None = None
    stream: Any = None

    def __post_init__(self) -> None:
        if self.run_id is not None:
            check_run_id(self.run_id)
        if self.rows is not None and not callable(self.rows):
            parse_rows(self.rows)
        self._check_words()
        _check_interval(self.interval_sec)

    def _check_words(self) -> None:
        # `enabled="off"` would be true, and so would `write="no"`.
        if self.enabled is not None and not isinstance(self.enabled, bool):
            raise OptionError(f"`enabled` can be `True`, `False` or `None`, not {shown(self.enabled)}")
        if not isinstance(self.write, bool):
            raise OptionError(f"`write` can be `True` or `False`, not {shown(self.write)}")
        if self.format not in (None, "json"):
            raise OptionError(f"unknown `format` {shown(self.format)}: it can be `json`, or `None` to print nothing")
        if not isinstance(self.output_dir, (str, os.PathLike)) or not os.fspath(self.output_dir):
            raise OptionError(f"`output_dir` must be the path of a folder, not {shown(self.output_dir)}")
        if self.stream is not None and not callable(getattr(self.stream, "write", None)):
            raise OptionError(f"`stream` must have a method `write`, as open text files do; it is {shown(self.stream)}")


def check_run_id(run_id: Any) -> None:
    """Raises ``RunIdError`` unless an id may become the name of a file."""
    if isinstance(run_id, uuid.UUID) or (isinstance(run_id, str) and _RUN_ID.fullmatch(run_id)):
        return
    raise RunIdError(
        f"the run's id {shown(run_id)} cannot name its record: it must have 1 to 64 letters (a to z), digits or `._-`, "
        "and no dot in front"
    )


def parse_rows(rows: Any) -> int:
    """Returns a number of rows as an ``int``; numbers of NumPy pass. Raises ``RowsError`` for anything else."""
    try:
        n_rows = -1 if isinstance(rows, bool) else operator.index(rows)
    except TypeError:
        n_rows = -1
    if n_rows < 0:
        raise RowsError(
            f"the number of rows must be a whole number of 0 or more, not {shown(rows)}; of a table it is `len(table)`"
        )
    return n_rows


def shown(value: Any) -> str:
    """Returns a value as messages show it: numbers and short texts themselves, of everything else the type."""
    # The text of a data frame is a page, and takes a while.
    if isinstance(value, (bool, int, float, str)) and len(repr(value)) <= 100:
        return f"`{value}`"
    return f"a `{type(value).__name__}`"


def _check_interval(interval_sec: Any) -> None:
    is_number = isinstance(interval_sec, (int, float)) and not isinstance(interval_sec, bool)
    # Written so that a NaN fails.
    if not (is_number and _SHORTEST_INTERVAL_SEC <= interval_sec <= _LONGEST_INTERVAL_SEC):
        raise OptionError(f"`interval_sec` must be seconds from 0.001 to 3600, not {shown(interval_sec)}")
