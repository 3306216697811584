"""What can be wrong with a run that is to be measured: one class a situation.

Mistakes in how measuring was asked for are ``MeasureError``, a ``ValueError``. A record that cannot be written is an
``OSError``. Exceptions of the measured code are never wrapped.
"""

from __future__ import annotations


class MeasureError(ValueError):
    """Measuring was asked for in a way that cannot be."""


class RunIdError(MeasureError):
    """The id of a run cannot name a file."""


class RowsError(MeasureError):
    """The number of rows is no whole number of 0 or more, or was told at the wrong time."""


class RowsNotToldError(RowsError):
    """Nobody said how many rows the run used."""


class SwitchError(MeasureError):
    """The environment variable ``LAB_MEASURE`` is none of its three words."""


class OptionError(MeasureError):
    """An option has a value that it cannot have, or a run was used in a way that it cannot be."""


class PlatformError(MeasureError):
    """This system tells nothing of the memory of a process."""


class ArtifactError(OSError):
    """The record of a run cannot be written. ``errno`` is that of the cause."""

    def __init__(self, path: str, cause: OSError) -> None:
        super().__init__(cause.errno, cause.strerror)
        self.path = path

    def __str__(self) -> str:
        return (
            f"cannot write the run's record to `{self.path}`: {self.strerror or 'unknown cause'}; "
            "make room or give the right to write, name another `output_dir`, or pass `write=False`"
        )

    def __reduce__(self):
        # OSError's own would call the class with errno and text.
        return type(self), (self.path, OSError(self.errno, self.strerror))
