"""The record of a run: one JSON file, there as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid

from .errors import ArtifactError


def prepare(folder: str | os.PathLike[str]) -> str:
    """Makes the folder and returns its absolute path, so that a run may change its working directory.

    Raises ``ArtifactError`` when the folder cannot be made or takes no file: better before the work than after it.
    """
    path = os.fspath(folder)
    try:
        path = os.path.abspath(path)
        os.makedirs(path, exist_ok=True)
        trial = _temporary(path)
        with open(trial, "x", encoding="ascii"):
            pass
        os.unlink(trial)
    except OSError as cause:
        raise ArtifactError(path, cause) from cause
    return path


def write(folder: str, run_id: str, text: str) -> str:
    """Writes ``<folder>/<run_id>.json`` and returns its path. Readers see the whole file, the one before, or none.

    The file has the permissions that the process gives to any other (its umask). Raises ``ArtifactError`` and leaves no
    partial file behind when the disk is full, say.
    """
    path = os.path.join(folder, f"{run_id}.json")
    temporary = _temporary(folder)
    try:
        # The run may have removed the folder: pipelines clean up their outputs.
        os.makedirs(folder, exist_ok=True)
        with open(temporary, "x", encoding="ascii", newline="\n") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException as cause:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(cause, OSError):
            raise ArtifactError(path, cause) from cause
        raise
    return path


def _temporary(folder: str) -> str:
    # In the same folder: replacing is atomic within a file system only. Hidden, and not called `.json`: no pattern takes it.
    return os.path.join(folder, f".{uuid.uuid4().hex}.tmp")
