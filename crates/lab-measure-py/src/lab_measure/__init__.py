"""Measures one run of a model from inside its Python process: time, rows and peak memory, as a small JSON document.

The document (contract ``smoke.v1``) has exactly four keys, in this order::

    {"run_id": "…", "elapsed_sec": 0.123, "rows_used": 100, "peak_memory_mb": 45.6}

The command ``lab measure`` writes the same document from outside. What the figures mean, and what the peak does not see,
stands in ``docs/modeling.md``. Nothing here compares or judges: that is ``lab``.
"""

from .errors import (
    ArtifactError,
    MeasureError,
    OptionError,
    PlatformError,
    RowsError,
    RowsNotToldError,
    RunIdError,
    SwitchError,
)
from .options import Measure
from .run import MeasuredRun, measure_and_run, measure_run_context

__version__ = "0.1.0"

__all__ = [
    "ArtifactError",
    "Measure",
    "MeasureError",
    "MeasuredRun",
    "OptionError",
    "PlatformError",
    "RowsError",
    "RowsNotToldError",
    "RunIdError",
    "SwitchError",
    "measure_and_run",
    "measure_run_context",
]
